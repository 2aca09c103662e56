package endpoint_test

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// junk is what a stranger, a member or the server may throw at somebody: of every
// kind, whole and in parts, true once and altered, or nothing at all.
type junk struct {
	r    *rand.Rand
	from []uint32
	true [][]byte // that members sent
}

// crowd is somebody in a group, with strangers around.
func crowd(t testing.TB, strangers int) (*relay, *person, *junk) {
	r, alice, bob := groupPair(t)
	j := &junk{r: rand.New(rand.NewPCG(1, 2)), from: []uint32{bob.session, 0, 999}}
	for range strangers {
		j.from = append(j.from, r.join("stranger", 0, nil).session)
	}
	for _, m := range bob.sent {
		if p, ok := m.(*mumblepb.PluginDataTransmission); ok {
			j.true = append(j.true, p.Data)
		}
	}
	r.settle()
	return r, alice, j
}

// next is one message.
func (j *junk) next() *mumblepb.PluginDataTransmission {
	b := make([]byte, 1+j.r.IntN(900))
	for i := range b {
		b[i] = byte(j.r.Uint32())
	}
	kind := envelope.Kind(j.r.IntN(0x14))
	switch j.r.IntN(5) {
	case 0:
		if data, err := envelope.AppendSingle(nil, envelope.Object{Kind: kind, Body: b[:min(len(b), 800)]}); err == nil {
			b = data
		}
	case 1, 2: // parts of long objects that never come whole
		f := envelope.Fragment{Kind: kind, Index: byte(j.r.IntN(64)), Count: 64, Part: b[:min(len(b), 800)]}
		for i := range f.ID {
			f.ID[i] = byte(j.r.Uint32())
		}
		if data, err := f.Append(nil); err == nil {
			b = data
		}
	case 3:
		b = append([]byte(nil), j.true[j.r.IntN(len(j.true))]...)
		if j.r.IntN(2) == 0 && len(b) > 0 {
			b[j.r.IntN(len(b))] ^= 1 << j.r.IntN(8)
		}
	}
	return &mumblepb.PluginDataTransmission{
		SenderSession: proto.Uint32(j.from[j.r.IntN(len(j.from))]), Data: b, DataID: proto.String(envelope.DataID),
	}
}

// receiveQuietly hands p a message and forgets what it wants to do about it.
func receiveQuietly(t testing.TB, r *relay, p *person, m proto.Message) {
	if _, _, err := p.FromServer(r.now, m); err != nil {
		t.Fatal(err)
	}
	if at := p.Deadline(); !at.IsZero() && !at.After(r.now) {
		p.Tick(r.now)
	}
	for _, ok := p.Next(); ok; _, ok = p.Next() {
	}
}

// A thousand messages of junk a second cost less than a twentieth of a core: the
// quickest of ten seconds counts, since others use this machine too. Voice opens
// all the while, and nothing of it changes the gate.
func TestJunkIsCheap(t *testing.T) {
	r, alice, j := crowd(t, 20)
	bob := r.people[1]
	messages := make([]proto.Message, 10_000)
	for i := range messages {
		messages[i] = j.next()
	}
	best := time.Hour
	for second := range 10 {
		began := time.Now()
		for i, m := range messages[1000*second:][:1000] {
			r.now = r.now.Add(time.Millisecond)
			receiveQuietly(t, r, alice, m)
			if i%100 == 0 {
				bob.mustHearQuietly(t, alice)
			}
		}
		best = min(best, time.Since(began))
	}
	t.Logf("1,000 messages of junk take %v", best)
	if best > slower*50*time.Millisecond {
		t.Errorf("a second of junk takes %v, more than a twentieth of a core", best)
	}
	r.wantLeave(alice, e2ee.LeaveCiphertext)
}

// mustHearQuietly speaks one packet that another opens.
func (p *person) mustHearQuietly(t testing.TB, to *person) {
	t.Helper()
	in, mid, out := voice.Packet{Codec: voice.Opus, FrameNumber: p.number, Data: packet(20, 5)}, voice.Packet{}, voice.Packet{}
	p.number += 2
	if err := p.Protect(p.sealed[:0], p.r.now, &in, &mid); err != nil {
		t.Fatal(err)
	}
	mid.Session = p.session
	if err := to.Unprotect(to.opened[:0], p.r.now, &mid, &out); err != nil {
		t.Fatal(err)
	}
}

// What strangers make us keep is bounded: 64 KiB each (Sotto protocol §12).
func TestJunkIsForgotten(t *testing.T) {
	const strangers = 40
	r, alice, j := crowd(t, strangers)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	var most int64
	for range 10 {
		for range 4000 {
			r.now = r.now.Add(time.Millisecond)
			receiveQuietly(t, r, alice, j.next())
		}
		most = max(most, heap()-before)
	}
	t.Logf("at most %d KiB with %d strangers", most>>10, strangers)
	if limit := int64(strangers+4)*64<<10 + 1<<20; most > limit {
		t.Errorf("%d KiB, more than %d", most>>10, limit>>10)
	}
	for range 120 { // and it is forgotten in time
		r.now = r.now.Add(time.Second)
		alice.Tick(r.now)
		for _, ok := alice.Next(); ok; _, ok = alice.Next() {
		}
	}
	if left := heap() - before; left > 1<<20 {
		t.Errorf("two minutes later there are %d KiB", left>>10)
	}
	runtime.KeepAlive(alice)
}

// BenchmarkJunk is one message of junk; the share of a core is at 1,000 a second.
func BenchmarkJunk(b *testing.B) {
	r, alice, j := crowd(b, 20)
	messages := make([]proto.Message, 4096)
	for i := range messages {
		messages[i] = j.next()
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		r.now = r.now.Add(time.Millisecond)
		receiveQuietly(b, r, alice, messages[i%len(messages)])
	}
	b.ReportMetric(100*1000*b.Elapsed().Seconds()/float64(b.N), "%core")
}
