package carrier

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/envelope"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// connected returns a carrier on a server that echoes, and the time.
func connected(tb testing.TB) (*Carrier, time.Time) {
	tb.Helper()
	c := New()
	c.Handle(noon, Connected{Session: 7})
	out, _ := c.Next()
	c.Handle(noon, PluginData{From: 7, ID: envelope.DataID, Data: out.(PluginOut).Data})
	for _, more := c.Next(); more; _, more = c.Next() {
	}
	if c.Regime() != RegimeEcho {
		tb.Fatal(c.Regime())
	}
	return c, noon.Add(10 * time.Second)
}

func body(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// texts returns the text parts of an object, of size bytes each.
func texts(tb testing.TB, kind envelope.Kind, body []byte, size int) (all []Text) {
	tb.Helper()
	id := envelope.RefOf(kind, body).ID()
	n := (len(body) + size - 1) / size
	for i := range n {
		b, err := envelope.AppendText(nil, envelope.TextPart{Kind: kind, ID: id, Index: i, Count: n, Part: body[i*size : min((i+1)*size, len(body))]}, size > envelope.MaxUMurmurPart)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, Text{From: 8, Message: string(b)})
	}
	return all
}

// weigh counts what the carrier holds by looking at every byte, and checks it
// against the bounds and against what the carrier believes.
func weigh(tb testing.TB, g *gather) (total int) {
	tb.Helper()
	large, strange := 0, 0
	for from, q := range g.peers {
		cost, open := 0, 0
		for _, p := range q.partials {
			n := partialCost + len(p.parts)*partSlotCost
			for _, b := range p.parts {
				n += cap(b)
			}
			if n != p.cost {
				tb.Fatalf("an object of %d bytes is thought to have %d", n, p.cost)
			}
			total += p.cost
			if p.large {
				if large++; p.cost > maxSolicited+partialCost+128*partSlotCost {
					tb.Fatalf("%d bytes of one object", p.cost)
				}
				continue
			}
			open++
			cost += p.cost
		}
		bound := maxStranger
		if g.members[from] {
			bound = maxMember
		} else {
			strange += cost
		}
		if cost != q.cost || cost > bound || open > maxPartials || len(q.partials) == 0 {
			tb.Fatalf("session %d has %d bytes, believed %d, in %d objects", from, cost, q.cost, open)
		}
	}
	if total != g.total || strange != g.strange || total > maxGathered || strange > maxStrangers || large != len(g.large) || large > maxLarge || len(g.solicits) > maxSolicits {
		tb.Fatalf("%d bytes, believed %d; %d of strangers, believed %d; %d large, believed %d", total, g.total, strange, g.strange, large, len(g.large))
	}
	return total
}

// TestGatherBounds has a thousand sessions that send all that they may, some of
// them members, some asked for: no bound is ever passed, and an hour later
// nothing is left.
func TestGatherBounds(t *testing.T) {
	c, now := connected(t)
	r := rand.New(rand.NewPCG(1, 1))
	var members []uint32
	for s := range uint32(40) {
		members = append(members, 100+s)
	}
	most := 0
	part := body(1, envelope.MaxImagePart)
	for step := range 25_000 {
		now = now.Add(time.Duration(r.IntN(3)) * time.Millisecond)
		from := uint32(100 + r.IntN(1000))
		switch r.IntN(200) {
		case 0:
			c.Handle(now, Solicit{From: from * uint32(r.IntN(2)), Kind: envelope.KindWelcome})
			continue
		case 1:
			r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
			c.Handle(now, Members{Sessions: members[:r.IntN(len(members)+1)]})
			continue
		case 2:
			now = now.Add(time.Duration(r.IntN(12)) * time.Second)
		}
		a := arrived{key: key{from: from, kind: envelope.KindWelcome}}
		a.id[0] = byte(r.IntN(6))
		if r.IntN(2) == 0 {
			a.path, a.count = pathPlugin, 2+r.IntN(63)
			a.part = part[:envelope.MaxPart]
		} else {
			a.path, a.count = pathText, []int{2, 8, 8, 8, 128}[r.IntN(5)]
			if a.part = part[:1+r.IntN(len(part))]; a.count > envelope.MaxImageParts {
				a.part = part[:min(len(a.part), envelope.MaxUMurmurPart)]
			}
		}
		a.index = r.IntN(a.count)
		c.now = now
		c.receive(a)
		c.gather.expire(now, &c.stats)
		if step%50 == 0 {
			most = max(most, weigh(t, &c.gather))
		}
	}
	weigh(t, &c.gather)
	if c.stats.OverBound == 0 || c.stats.Unfinished == 0 || most < maxStrangers*3/4 {
		t.Errorf("the bounds were not tried: %+v, at most %d bytes", c.stats, most)
	}
	t.Logf("at most %d bytes; %+v", most, c.stats)
	for range 200 {
		if d := c.Deadline(); !d.IsZero() {
			now = d
		}
		c.Handle(now, Tick{})
	}
	if weigh(t, &c.gather) != 0 || !c.Deadline().IsZero() {
		t.Errorf("%d bytes are left", c.gather.total)
	}
}

// TestSolicit: what is larger than its sender may send is taken if it was asked
// for, two at a time and for ten seconds.
func TestSolicit(t *testing.T) {
	welcome := body(1, 300_000)
	kind, ref := envelope.KindWelcome, envelope.RefOf(envelope.KindWelcome, welcome)
	parts := texts(t, kind, welcome, envelope.MaxImagePart)
	whole := func(c *Carrier, now time.Time) bool {
		got := false
		for _, p := range parts {
			c.Handle(now, p)
			for out, ok := c.Next(); ok; out, ok = c.Next() {
				got = bytes.Equal(out.(Received).Object.Body, welcome)
			}
		}
		weigh(t, &c.gather)
		return got
	}
	for _, tt := range []struct {
		name string
		in   []Input
		wait time.Duration
		want bool
	}{
		{"not asked for", nil, 0, false},
		{"of a member, not asked for", []Input{Members{[]uint32{8}}}, 0, false},
		{"by kind, of anybody", []Input{Solicit{Kind: kind}}, 0, true},
		{"by kind, of its sender", []Input{Solicit{From: 8, Kind: kind}}, 0, true},
		{"by kind, of somebody else", []Input{Solicit{From: 9, Kind: kind}}, 0, false},
		{"another kind", []Input{Solicit{Kind: envelope.KindMLSMessage}}, 0, false},
		{"by name", []Input{Solicit{Kind: kind, Ref: ref}}, 0, true},
		{"by another name", []Input{Solicit{Kind: kind, Ref: envelope.Ref{1}}}, 0, false},
		{"nearly ten seconds ago", []Input{Solicit{Kind: kind}}, 10*time.Second - 1, true},
		{"ten seconds ago", []Input{Solicit{Kind: kind}}, 10 * time.Second, false},
		{"with a new connection between", []Input{Solicit{Kind: kind}, Connected{Session: 9}}, 0, false},
	} {
		c, now := connected(t)
		for _, in := range tt.in {
			c.Handle(now, in)
		}
		for _, ok := c.Next(); ok; _, ok = c.Next() {
		}
		if got := whole(c, now.Add(tt.wait)); got != tt.want {
			t.Errorf("%s: received %v, %+v", tt.name, got, c.stats)
		}
	}

	t.Run("places", func(t *testing.T) {
		c, now := connected(t)
		c.Handle(now, Solicit{Kind: kind})
		other := texts(t, kind, body(4, 300_000), envelope.MaxImagePart)
		large := func(from uint32, p Text, after time.Duration) {
			p.From = from
			c.Handle(now.Add(after), p)
			weigh(t, &c.gather)
		}
		large(20, other[0], 0)
		large(21, other[0], 0)
		if large(22, other[0], 0); len(c.gather.large) != 2 || c.gather.peers[22] != nil {
			t.Fatal("a third place")
		}
		if large(20, texts(t, kind, body(5, 300_000), envelope.MaxImagePart)[0], 0); len(c.gather.peers[20].partials) != 1 {
			t.Fatal("two places for one session")
		}
		// What was asked for by name displaces what was not.
		c.Handle(now, Solicit{Kind: kind, Ref: ref})
		large(8, parts[0], time.Second)
		c.Handle(now, Solicit{Kind: kind, Ref: envelope.Ref{1}})
		if len(c.gather.large) != 2 || c.gather.peers[8] == nil || c.gather.peers[20] != nil {
			t.Fatal("the one asked for by name has no place")
		}
		// After ten seconds from its first part a place may be taken.
		large(21, other[1], 9*time.Second)
		c.Handle(now.Add(9*time.Second), Solicit{Kind: kind})
		if large(23, other[0], 9900*time.Millisecond); c.gather.peers[23] != nil {
			t.Fatal("displaced too early")
		}
		if large(23, other[0], 10*time.Second); c.gather.peers[23] == nil || c.gather.peers[21] != nil {
			t.Fatal("not displaced")
		}
		// And after ten seconds of silence it is free.
		c.Handle(now.Add(30*time.Second), Tick{})
		if len(c.gather.large) != 0 || len(c.gather.peers) != 0 {
			t.Fatal("a silent place is kept")
		}
	})
	t.Run("expectations are bounded", func(t *testing.T) {
		c, now := connected(t)
		for i := range uint32(1000) {
			c.Handle(now, Solicit{From: i, Kind: kind})
		}
		if len(c.gather.solicits) != maxSolicits {
			t.Error(len(c.gather.solicits))
		}
	})
}

// TestGatherTime: a stranger has thirty seconds for all parts, a member thirty
// from part to part.
func TestGatherTime(t *testing.T) {
	b := body(2, 5*3000)
	parts := texts(t, envelope.KindMLSMessage, b, 3000)
	for _, tt := range []struct {
		name   string
		member bool
		step   time.Duration
		want   bool
	}{
		{"a stranger in time", false, 7 * time.Second, true},
		{"a stranger too slow", false, 7500 * time.Millisecond, false},
		{"a member takes its time", true, 29 * time.Second, true},
		{"a member too slow", true, 30 * time.Second, false},
	} {
		c, now := connected(t)
		if tt.member {
			c.Handle(now, Members{[]uint32{8}})
		}
		got := false
		for _, p := range parts {
			for d := c.Deadline(); !d.IsZero() && !d.After(now); d = c.Deadline() {
				c.Handle(d, Tick{})
			}
			c.Handle(now, p)
			_, ok := c.Next()
			got = got || ok
			now = now.Add(tt.step)
		}
		if got != tt.want || tt.want != (c.stats.Unfinished == 0) {
			t.Errorf("%s: %v, %+v", tt.name, got, c.stats)
		}
	}
	// One who leaves the group has a stranger's bounds from then on.
	c, now := connected(t)
	c.Handle(now, Members{[]uint32{8}})
	c.Handle(now, parts[0])
	c.Handle(now.Add(29*time.Second), parts[1])
	c.Handle(now.Add(31*time.Second), Members{})
	if len(c.gather.peers) != 0 {
		t.Error("a stranger's object is kept for more than thirty seconds")
	}
}

// TestGatherFifth: the fifth unfinished object costs its sender the one that is
// silent for longest, and nobody else anything.
func TestGatherFifth(t *testing.T) {
	c, now := connected(t)
	var all [][]Text
	for i := range byte(5) {
		all = append(all, texts(t, envelope.KindMLSMessage, body(10+i, 3000), 1000))
	}
	for _, ts := range all[:4] {
		c.Handle(now, ts[0])
	}
	other := all[4][0]
	other.From = 9
	c.Handle(now, other)
	c.Handle(now, all[0][1]) // the first is heard of again
	c.Handle(now, all[4][0])
	left := slices.DeleteFunc([]int{0, 1, 2, 3, 4}, func(i int) bool {
		p, _ := envelope.ParseText(all[i][0].Message)
		return !slices.ContainsFunc(c.gather.peers[8].partials, func(o *partial) bool { return o.id == p.ID })
	})
	if !slices.Equal(left, []int{0, 2, 3, 4}) || c.gather.peers[9] == nil || c.stats.OverBound != 1 {
		t.Errorf("left are %v, %+v", left, c.stats)
	}
}

// TestGatherHeap holds the bound against the whole heap: 5,000 hostile sessions
// cost no more than the protocol allows.
func TestGatherHeap(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	c, now := connected(t)
	f := envelope.Fragment{Kind: envelope.KindHello, Count: 64, Part: body(1, envelope.MaxPart)}
	for i := range 40_000 {
		f.ID[0], f.ID[1] = byte(i), byte(i>>8)
		f.Index = uint8(i / 5000)
		data, err := f.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Millisecond / 20)
		c.Handle(now, PluginData{From: uint32(100 + i%5000), ID: envelope.DataID, Data: data})
	}
	used := int(heap() - before)
	t.Logf("%d bytes held, %d by the carrier's own count, %d peers", used, c.gather.total, len(c.gather.peers))
	if used > maxGathered+maxGathered/4 || c.gather.total < maxStrangers/2 {
		t.Errorf("%d bytes held", used)
	}
	runtime.KeepAlive(c)
}

// BenchmarkJunk is one junk message: at 1,000 of them a second, 50 µs are 5 % of
// a core.
func BenchmarkJunk(b *testing.B) {
	random := body(3, 1<<16)
	b0, _ := envelope.AppendText(nil, envelope.TextPart{Kind: envelope.KindWelcome, Count: 8, Part: random[:40_000]}, true)
	image := string(b0)
	for _, bb := range []struct {
		name string
		make func(i int) Input
	}{
		{"first-fragments", func(i int) Input {
			f := envelope.Fragment{Kind: envelope.KindHello, Count: 64, Part: random[:988]}
			f.ID = envelope.ID(fmt.Appendf(nil, "%08d", i%100_000_000))
			data, _ := f.Append(nil)
			return PluginData{From: uint32(10 + i%1000), ID: envelope.DataID, Data: data}
		}},
		{"wrong-singles", func(i int) Input {
			f := envelope.Fragment{Kind: envelope.KindHello, Count: 1, Part: random[:988]}
			data, _ := f.Append(nil)
			return PluginData{From: uint32(10 + i%1000), ID: envelope.DataID, Data: data}
		}},
		{"fresh-singles", func(i int) Input {
			o := envelope.Object{Kind: envelope.KindWant, Body: fmt.Appendf(nil, "%08d", i)}
			data, _ := envelope.AppendSingle(nil, o)
			return PluginData{From: uint32(10 + i%1000), ID: envelope.DataID, Data: data}
		}},
		{"own-echoes", func(i int) Input {
			f := envelope.Fragment{Kind: envelope.KindHello, Count: 1, Part: random[:988]}
			data, _ := f.Append(nil)
			return PluginData{From: 7, ID: envelope.DataID, Data: data}
		}},
		{"images", func(i int) Input { return Text{From: uint32(10 + i%1000), Message: image} }},
		{"no-fragments", func(i int) Input {
			return PluginData{From: uint32(10 + i%1000), ID: envelope.DataID, Data: random[i%60000 : i%60000+1000]}
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			c, now := connected(b)
			c.Handle(now, Solicit{Kind: envelope.KindWelcome})
			inputs := make([]Input, 5000)
			for i := range inputs {
				inputs[i] = bb.make(i)
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(time.Millisecond)
				c.Handle(now, inputs[i%len(inputs)])
				for _, ok := c.Next(); ok; _, ok = c.Next() {
				}
				c.Deadline()
				i++
			}
		})
	}
}
