package audience_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// Many come to a server without echoes, which allows a text a second: soon after the
// last one they are in one group.
func TestTextsCrowd(t *testing.T) {
	for _, gap := range []time.Duration{50 * time.Millisecond, 300 * time.Millisecond, 600 * time.Millisecond, time.Second, 2500 * time.Millisecond} {
		for _, n := range []int{10, 40} {
			t.Run(fmt.Sprintf("%v/%d", gap, n), func(t *testing.T) {
				var took []time.Duration
				for seed := range uint64(160 / n / 2) {
					h := newHall(t, 900+seed, audience.RegimeNoEcho, mls.InsecureSuite(t))
					h.texts = true
					var all []*person
					for range n {
						h.run(gap)
						all = append(all, h.arrive(3))
					}
					d := h.until(12*time.Second, "together", func() bool { return together(all...) })
					took = append(took, d.Round(100*time.Millisecond))
				}
				t.Logf("after %v", took)
			})
		}
	}
}

// Where Beacons are half a minute apart, one of an earlier epoch that comes soon after a
// Commit was on its way before it, and is no reason to send the Commit again; nor is one
// Beacon a reason to send it twice.
func TestTextsBehind(t *testing.T) {
	h, all := meeting(t, 910, audience.RegimeNoEcho, mls.InsecureSuite(t), 3)
	h.run(80 * time.Second)
	alice, bob := all[0], all[1]
	var beacons []envelope.Object // of bob, on their way
	h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
		switch {
		case from == bob.session && to == alice.session && o.Kind == envelope.KindBeacon:
			beacons = append(beacons, o)
			return nil
		case from == bob.session && o.Kind != envelope.KindBeacon,
			to == bob.session && (isCommit(o) || o.Kind == envelope.KindBeacon):
			return nil // it misses the Commit, and never learns that it is behind
		}
		return []time.Duration{h.delay()}
	}
	resent := 0
	h.before = func(_ *person, out audience.Send) {
		if isCommit(out.Object) && slices.Equal(out.To, []uint32{bob.session}) {
			resent++
		}
	}
	h.until(40*time.Second, "bob's Beacon", func() bool { return len(beacons) == 1 })
	before := alice.epoch()
	alice.handle(audience.SetLocked{Locked: true})
	h.until(5*time.Second, "alice's Commit", func() bool { return alice.epoch() > before })
	h.run(2 * time.Second)
	arrives := func(o envelope.Object) {
		alice.handle(audience.Received{From: bob.session, Object: o})
		h.run(20 * time.Second)
	}
	arrives(beacons[0])
	if resent != 0 {
		t.Fatalf("sent again %d times, for a Beacon of before", resent)
	}
	h.until(40*time.Second, "bob's next Beacon", func() bool { return len(beacons) > 1 })
	arrives(beacons[1])
	if resent != 1 {
		t.Errorf("sent again %d times", resent)
	}
}

// Who may yet say Hello does not spend a text on each newcomer: it answers a second or two
// later, all of them at once, and not at all if its Hello has told them.
func TestTextsAnswers(t *testing.T) {
	for _, wants := range []bool{false, true} {
		t.Run(fmt.Sprint(wants), func(t *testing.T) {
			h := newHall(t, 911, audience.RegimeNoEcho, mls.InsecureSuite(t))
			alice := h.newPerson(3)
			alice.want = false
			h.connect(alice)
			h.run(time.Second)
			sent := map[envelope.Kind]int{}
			told := map[uint32]bool{}
			h.before = func(p *person, out audience.Send) {
				if p == alice {
					sent[out.Object.Kind]++
					for _, s := range out.To {
						told[s] = true
					}
				}
			}
			var others []*person
			for range 3 {
				p := h.newPerson(3)
				p.want = false
				h.connect(p)
				others = append(others, p)
				h.run(200 * time.Millisecond)
			}
			if wants {
				h.run(400 * time.Millisecond) // all of them have said in voice that they are here
				alice.handle(audience.Join{Want: true})
			}
			h.run(8 * time.Second)
			t.Logf("sent %v", sent)
			if n := sent[envelope.KindPresence]; wants && n != 0 || !wants && (n < 1 || n > 2) {
				t.Errorf("%d texts that say only that she is here", n)
			}
			for _, p := range others {
				if !told[p.session] {
					t.Errorf("%s is told nothing", p.name)
				}
			}
		})
	}
}

// A newcomer says Hello again while its Welcome waits in a queue, and others are an epoch
// further when they hear that it is in: it is not added once more.
func TestTextsHelloAgain(t *testing.T) {
	h, all := meeting(t, 912, audience.RegimeNoEcho, mls.InsecureSuite(t), 3)
	h.run(80 * time.Second)
	var hello, beacon envelope.Object
	var bob *person
	h.meddle = func(from, _ uint32, o envelope.Object) []time.Duration {
		if bob != nil && from == bob.session {
			switch o.Kind {
			case envelope.KindHello:
				hello = o
			case envelope.KindBeacon:
				if beacon.Kind == 0 {
					beacon = o
				}
				return nil
			}
		}
		return []time.Duration{h.delay()}
	}
	bob = h.newPerson(3)
	h.connect(bob)
	h.until(20*time.Second, "bob is in", func() bool { return beacon.Kind != 0 && together(append(all, bob)...) })
	everybody := append(slices.Clone(all), bob, h.arrive(3))
	h.until(20*time.Second, "the next one", func() bool { return together(everybody...) })
	for _, p := range all {
		p.handle(audience.Received{From: bob.session, Object: hello})
		p.handle(audience.Received{From: bob.session, Object: beacon})
	}
	h.run(time.Minute)
	joined := 0
	for _, e := range bob.history {
		if e.Joined {
			joined++
		}
	}
	if joined != 1 || !together(everybody...) {
		t.Errorf("bob was added %d times\n%s", joined, h.state())
	}
}
