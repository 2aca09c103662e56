package carrier_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/carrier"
	"github.com/sotto-voip/sotto/envelope"
)

// TestMeeting is ten minutes of 25 members: Beacons, chat, key updates, people
// who come and go, and Mumble clients with messages of their own. The server
// drops nothing of ours, nothing fails, everybody gets everything that is for
// them, and where there is an order it is one.
func TestMeeting(t *testing.T) {
	source := func(echo bool) model { // Murmur as its source reads, which refills sooner
		m := measured(echo)
		m.plugin.refill = 250 * time.Millisecond
		return m
	}
	plain := carrier.Limits{MessageLength: 5000}
	for _, tt := range []struct {
		name    string
		model   model
		limits  carrier.Limits
		welcome int // bytes
		commit  int // with path
		beacon  time.Duration
	}{
		{"Murmur 1.5", measured(true), murmur, 95_000, 43_000, 10 * time.Second},
		{"Murmur 1.5, by its source", source(true), murmur, 95_000, 43_000, 10 * time.Second},
		{"Murmur 1.5 without HTML", measured(true), plain, 50_000, 14_000, 10 * time.Second},
		{"uMurmur", umurmur(), murmur, 29_000, 11_000, 10 * time.Second},
		{"Murmur 1.3", measured(false), murmur, 95_000, 43_000, 30 * time.Second},
		{"Murmur 1.3, by its source", source(false), murmur, 95_000, 43_000, 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, uint64(len(tt.name))))
			tt.model.delay = func() time.Duration { return time.Duration(15+r.IntN(40)) * time.Millisecond }
			sessions := make([]uint32, 25)
			for i := range sessions {
				sessions[i] = uint32(3 + i*5)
			}
			w := newWorld(t, tt.model, sessions...)
			for _, s := range sessions {
				w.handle(s, tt.limits)
				w.handle(s, carrier.Members{Sessions: sessions})
			}
			const end = 10 * time.Minute
			token, sentAt := uint64(0), map[uint64]time.Duration{}
			prio := map[uint64]carrier.Priority{}
			expect := map[uint32]int{}
			send := func(at time.Duration, from uint32, kind envelope.Kind, n int, p carrier.Priority, to ...uint32) {
				token++
				tok := token
				sentAt[tok], prio[tok] = at, p
				for _, s := range to {
					if s != from {
						expect[s]++
					}
				}
				w.at(at, func() { w.send(from, tok, object(kind, tok, n), p, to...) })
			}
			jitter := func(d time.Duration) time.Duration { return d*9/10 + time.Duration(r.Int64N(int64(d)/5)) }
			for _, s := range sessions {
				for at := jitter(tt.beacon); at < end; at += jitter(tt.beacon) {
					send(at, s, envelope.KindBeacon, 184, carrier.PriorityBeacon, sessions...)
				}
				for at := jitter(20 * time.Second); at < end; at += jitter(40 * time.Second) {
					send(at, s, envelope.KindMLSMessage, 200+r.IntN(500), carrier.PriorityText, sessions...)
				}
				for at := jitter(15 * time.Second); at < end; at += jitter(30 * time.Second) {
					n := 1 + r.IntN(4)
					w.at(at, func() { w.localText(s, n) })
					w.at(at+time.Second, func() { w.localPlugin(s, n) })
				}
			}
			for i, at := 0, 20*time.Second; at < end; i, at = i+1, at+20*time.Second {
				author, other := sessions[i%25], sessions[(i+7)%25]
				commit := func(after time.Duration, n int, p carrier.Priority) {
					send(at+after, author, envelope.KindMLSMessage, n, p, sessions...)
					send(at+after, author, envelope.KindRef, 37, p, sessions...)
				}
				switch i % 3 {
				case 0:
					commit(0, tt.commit, carrier.PriorityRemove)
				case 1:
					send(at, other, envelope.KindHello, 3000, carrier.PriorityHello, sessions...)
					commit(time.Second, 3100, carrier.PriorityAdd)
					w.at(at, func() { w.handle(other, carrier.Solicit{Kind: envelope.KindWelcome}) })
					send(at+time.Second, author, envelope.KindWelcome, tt.welcome, carrier.PriorityWelcome, other)
				case 2:
					commit(0, tt.commit, carrier.PriorityUpdate)
				}
			}
			w.run(end + time.Minute)
			delivered, slowest := 0, map[carrier.Priority]time.Duration{}
			for _, s := range sessions {
				m := w.members[s]
				if len(m.failed) > 0 {
					t.Errorf("session %d: failed %v", s, m.failed)
				}
				if st := m.c.Stats(); st != (carrier.Stats{}) {
					t.Errorf("session %d: %+v", s, st)
				}
				if len(m.got) != expect[s] {
					t.Errorf("session %d received %d objects, want %d", s, len(m.got), expect[s])
				}
				delivered += len(m.delivered)
				for tok, at := range m.delivered {
					slowest[prio[tok]] = max(slowest[prio[tok]], at.Sub(start)-sentAt[tok])
				}
			}
			// What everybody gets comes in one order; a Welcome is for one alone.
			var common []string
			for i, s := range sessions {
				order := slices.DeleteFunc(slices.Clone(w.members[s].order), func(ref string) bool { return !w.forAll(ref, len(sessions)-1) })
				if i == 0 {
					common = order
				} else if !slices.Equal(order, common) {
					t.Errorf("session %d saw another order", s)
				}
			}
			if w.drops != 0 || delivered != int(token) {
				t.Errorf("%d drops, %d of %d delivered", w.drops, delivered, token)
			}
			t.Logf("%d objects, %d in one order, %d MB through the server, slowest %v", token, len(common), w.bytes>>20, fmt.Sprint(slowest))
		})
	}
}

// forAll reports whether an object was sent to n others.
func (w *world) forAll(ref string, n int) bool {
	o, ok := w.byRef[ref]
	return ok && o >= n
}
