package e2ee_test

import (
	"iter"
	"slices"
	"testing"

	"github.com/sotto-voip/sotto/e2ee"
)

// eventCount is the number of events: the first that has no name.
var eventCount = func() e2ee.Event {
	ev := e2ee.Event(0)
	for ev.String() != "unknown event" {
		ev++
	}
	return ev
}()

// factNames are the facts in the order of their bits.
var factNames = []string{"met", "moving", "require", "groups", "sticky", "ownarrival", "closure", "allsotto"}

func factsOf(bits int) e2ee.Facts {
	on := func(i int) bool { return bits>>i&1 == 1 }
	return e2ee.Facts{
		Met: on(0), Moving: on(1), Require: on(2), Groups: on(3),
		Sticky: on(4), OwnArrival: on(5), Closure: on(6), AllSotto: on(7),
	}
}

func allFacts(yield func(e2ee.Facts) bool) {
	for bits := range 1 << len(factNames) {
		if !yield(factsOf(bits)) {
			return
		}
	}
}

var _ iter.Seq[e2ee.Facts] = allFacts

// reachable returns every gate that any sequence of events and facts can make.
func reachable() []e2ee.Gate {
	gates := []e2ee.Gate{e2ee.NewGate(e2ee.PolicyPrefer), e2ee.NewGate(e2ee.PolicyOff)}
	known := map[e2ee.Gate]bool{gates[0]: true, gates[1]: true}
	for i := 0; i < len(gates); i++ {
		for ev := range eventCount {
			for f := range allFacts {
				g := gates[i]
				g.Step(ev, f)
				if !known[g] {
					known[g] = true
					gates = append(gates, g)
				}
			}
		}
	}
	return gates
}

// column is the column of gateWhole in which g is read.
func column(g e2ee.Gate, f e2ee.Facts) string {
	switch {
	case g.State() == e2ee.StateClear && f.Require:
		return "Find"
	case g.Question().Alarm():
		return "Alarm"
	}
	return g.State().String()
}

// holds says whether what stands in a row of gateWhole is so.
func holds(cond string, g e2ee.Gate, f e2ee.Facts) bool {
	is := map[rune]bool{
		'm': f.Met, 'v': f.Moving, 'r': f.Require, 'g': f.Groups, 's': f.Sticky, 'o': f.OwnArrival,
		'c': f.Closure, 'a': f.AllSotto,
		'f': g.Memory() == e2ee.MemoryFree, 'k': g.Memory() == e2ee.MemoryKept, 't': g.Confirming(),
	}
	for _, c := range cond {
		low := c | 0x20
		if c == '-' {
			continue
		}
		if _, ok := is[low]; !ok {
			panic("unknown fact " + string(c))
		}
		if is[low] != (c == low) {
			return false
		}
	}
	return true
}

// The walk over all gates meets every state and every question, and nothing that
// contradicts itself.
func TestGateReachable(t *testing.T) {
	gates := reachable()
	var states []e2ee.State
	var questions []e2ee.Question
	for _, g := range gates {
		states, questions = append(states, g.State()), append(questions, g.Question())
		if (g.State() == e2ee.StateAsked) != (g.Question() != e2ee.QuestionNone) {
			t.Errorf("%v with question %v", g.State(), g.Question())
		}
		protected := g.State() == e2ee.StatePriv || g.State() == e2ee.StateTyped
		if protected && g.Memory() != e2ee.MemoryKept {
			t.Errorf("%v with memory %v", g.State(), g.Memory())
		}
		if g.State() == e2ee.StateAsked && g.Memory() == e2ee.MemoryFree {
			t.Errorf("asked, and the memory is free")
		}
	}
	slices.Sort(states)
	slices.Sort(questions)
	if n := len(slices.Compact(states)); n != 8 {
		t.Errorf("%d states can be reached, want 8", n)
	}
	if n := len(slices.Compact(questions)); n != 6 {
		t.Errorf("%d questions can be reached, want 6", n)
	}
	t.Logf("%d gates", len(gates))
}

// What the enumerations do not know has a word, lets nothing leave and does nothing.
func TestGateUnknown(t *testing.T) {
	if s := e2ee.Event(99).String(); s != "unknown event" {
		t.Errorf("Event(99) is %q", s)
	}
	if s := e2ee.Question(99).String(); s != "unknown" {
		t.Errorf("Question(99) is %q", s)
	}
	if s := e2ee.Memory(99).String(); s != "unknown" {
		t.Errorf("Memory(99) is %q", s)
	}
	if e := e2ee.EffectAsk | e2ee.EffectLine; e.String() != "ask+line" || !e.Has(e2ee.EffectLine) || e.Has(e2ee.EffectLine|e2ee.EffectHello) {
		t.Errorf("effects %v", e)
	}
	for _, g := range reachable() {
		if g.State() == e2ee.StateClear {
			continue
		}
		next := g
		if effect := next.Step(e2ee.Event(99), e2ee.Facts{}); effect != 0 || next.State() != g.State() {
			t.Errorf("%v, an unknown event: %v, %v", g.State(), next.State(), effect)
		}
	}
}
