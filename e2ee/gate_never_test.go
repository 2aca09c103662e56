package e2ee_test

import (
	"slices"
	"testing"

	"github.com/sotto-voip/sotto/e2ee"
)

// userActs are the events only the user causes. So is EventConnect with OwnArrival.
var userActs = []e2ee.Event{
	e2ee.EventUserClear, e2ee.EventUserProtect, e2ee.EventUserSecret,
	e2ee.EventUserLeave, e2ee.EventWait, e2ee.EventPolicy,
}

func byUser(ev e2ee.Event, f e2ee.Facts) bool {
	return slices.Contains(userActs, ev) || ev == e2ee.EventConnect && f.OwnArrival
}

// steps calls yield for each step that any gate can make, with any facts.
func steps(yield func(from, to e2ee.Gate, ev e2ee.Event, f e2ee.Facts)) {
	for _, g := range reachable() {
		for ev := range eventCount {
			for f := range allFacts {
				next := g
				next.Step(ev, f)
				yield(g, next, ev, f)
			}
		}
	}
}

// Of any single step, whatever came before it.
func TestGateNever(t *testing.T) {
	opened := map[e2ee.Event]int{} // what led to Clear
	steps(func(from, to e2ee.Gate, ev e2ee.Event, f e2ee.Facts) {
		fail := func(what string) {
			t.Helper()
			t.Fatalf("%s: %v/%v/%v, %v, %+v: %v", what, from.State(), from.Question(), from.Memory(), ev, f, to.State())
		}
		if from.State() == e2ee.StateOff || to.State() == e2ee.StateOff {
			if from != to {
				fail("off is entered or left")
			}
			return
		}
		if to.State() == e2ee.StateClear && from.State() != e2ee.StateClear {
			opened[ev]++
			switch ev {
			case e2ee.EventUserClear:
				if from.Memory() == e2ee.MemoryKept && !from.Confirming() {
					fail("one act was enough")
				}
			case e2ee.EventFindWithout:
				if !f.OwnArrival || f.Sticky || !f.Groups || f.Moving || from.Memory() != e2ee.MemoryFree {
					fail("clear without own arrival, or in spite of memory")
				}
			default:
				fail("clear by somebody else's act")
			}
		}
		if f.Require && to.Leave() == e2ee.LeaveClear {
			fail("clear under require")
		}
		protected := from.Leave() == e2ee.LeaveCiphertext
		if protected && to.Leave() == e2ee.LeaveClear && !from.Confirming() {
			fail("from ciphertext to clear in one act")
		}
		if from.State() == e2ee.StatePriv && to.State() == e2ee.StateTyped {
			fail("typed from a protected group")
		}
		if from.Question().Alarm() && !to.Question().Alarm() && !byUser(ev, f) {
			fail("an alarm ended without the user")
		}
		if to.Confirming() && (ev != e2ee.EventUserClear || from.State() != to.State() || from.Confirming()) {
			fail("a first act that is none")
		}
	})
	if len(opened) != 2 || opened[e2ee.EventUserClear] == 0 || opened[e2ee.EventFindWithout] == 0 {
		t.Errorf("to Clear lead %v, want the user's act and the end of Find", opened)
	}
}

// walked is where a sequence of events has led, and how often the user said clear.
type walked struct {
	gate e2ee.Gate
	acts int
}

// walk follows all sequences of events of that length, each step with each mix of
// facts that may says can be, and calls seen with each place they lead to. It
// keeps the set of places, so no sequence is left out.
func walk(from []walked, length int, may func(e2ee.Event, e2ee.Facts) bool, seen func(walked)) []walked {
	at := from
	for range length {
		next := map[walked]bool{}
		for _, w := range at {
			for ev := range eventCount {
				for f := range allFacts {
					if !may(ev, f) {
						continue
					}
					to := w
					to.gate.Step(ev, f)
					if ev == e2ee.EventUserClear && to.acts < 3 {
						to.acts++
					}
					next[to] = true
				}
			}
		}
		at = at[:0:0]
		for w := range next {
			seen(w)
			at = append(at, w)
		}
	}
	return at
}

// inState returns all gates in s, with no act of clear counted.
func inState(s e2ee.State) (all []walked) {
	for _, g := range reachable() {
		if g.State() == s && !g.Confirming() {
			all = append(all, walked{gate: g})
		}
	}
	return all
}

const walkLength = 6

// A server that decides what happens and an owner that believes whatever facts the
// server likes do not bring a protected gate to Clear; nor does one act of the user.
func TestGateWalks(t *testing.T) {
	arrives := func(ev e2ee.Event, f e2ee.Facts) bool {
		return ev == e2ee.EventConnect && f.OwnArrival && !f.Moving
	}
	for _, start := range []e2ee.State{e2ee.StatePriv, e2ee.StateTyped} {
		cleared := 0
		at := walk(inState(start), walkLength, func(ev e2ee.Event, f e2ee.Facts) bool {
			return !arrives(ev, f) // with it the audience is another, by the user's own act
		}, func(w walked) {
			if w.gate.Leave() != e2ee.LeaveClear {
				return
			}
			cleared++
			if w.acts < 2 {
				t.Fatalf("from %v to %v with %d acts of the user", start, w.gate.State(), w.acts)
			}
		})
		if cleared == 0 || len(at) < 20 {
			t.Errorf("from %v: %d times clear, %d places: the walk sees nothing", start, cleared, len(at))
		}
	}
	// Without any act of the user: no matter where the gate stood, if not in Clear or Off.
	for _, g := range reachable() {
		if g.Leave() == e2ee.LeaveClear || g.Memory() == e2ee.MemoryFree || g.Confirming() {
			continue
		}
		walk([]walked{{gate: g}}, walkLength, func(ev e2ee.Event, f e2ee.Facts) bool { return !byUser(ev, f) }, func(w walked) {
			if w.gate.Leave() == e2ee.LeaveClear {
				t.Fatalf("from %v/%v to clear without the user", g.State(), g.Memory())
			}
		})
	}
}

// The own arrival somewhere else ends what was kept; what opens there is the end
// of Find, not anything the server shows.
func TestGateWalkAway(t *testing.T) {
	for _, start := range inState(e2ee.StatePriv) {
		hostile := func(ev e2ee.Event, f e2ee.Facts) bool {
			return ev != e2ee.EventUserClear && (ev != e2ee.EventFindWithout || f.Sticky || !f.OwnArrival || f.Require)
		}
		walk([]walked{start}, walkLength, hostile, func(w walked) {
			if w.gate.Leave() == e2ee.LeaveClear {
				t.Fatalf("clear without the end of Find after an own arrival")
			}
		})
	}
}

// A typed secret alone never goes clear but by two acts, and no gate of groups
// becomes Typed, nor one without groups Priv.
func TestGateWalkModes(t *testing.T) {
	fresh := []walked{{gate: e2ee.NewGate(e2ee.PolicyPrefer)}}
	walk(fresh, walkLength, func(_ e2ee.Event, f e2ee.Facts) bool { return !f.Groups }, func(w walked) {
		if w.gate.State() == e2ee.StatePriv || w.gate.Leave() == e2ee.LeaveClear && w.acts < 2 {
			t.Fatalf("typed secret alone: %v after %d acts", w.gate.State(), w.acts)
		}
	})
	walk(fresh, walkLength, func(_ e2ee.Event, f e2ee.Facts) bool { return f.Groups }, func(w walked) {
		if w.gate.State() == e2ee.StateTyped {
			t.Fatal("groups: Typed")
		}
	})
}
