package e2ee_test

import (
	"slices"
	"testing"

	"github.com/sotto-voip/sotto/e2ee"
)

// cellFacts are what a cell may look at: what the gate keeps, then the facts.
var cellFacts = append([]string{"alarm", "askedidentity", "second"},
	"groups", "moving", "require", "ownarrival", "sticky", "free", "kept", "met", "closure", "allsotto")

func cellFact(name string, g e2ee.Gate, f e2ee.Facts) bool {
	switch name {
	case "alarm":
		return g.Question().Alarm()
	case "askedidentity":
		return g.Question() == e2ee.QuestionIdentity
	case "second":
		return g.Confirming()
	case "free":
		return g.Memory() == e2ee.MemoryFree
	case "kept":
		return g.Memory() == e2ee.MemoryKept
	}
	return slices.Contains(namesOf(f), name)
}

// namesOf returns the names of the facts that are so.
func namesOf(f e2ee.Facts) []string { return factLists[f] }

var factLists = func() map[e2ee.Facts][]string {
	lists := map[e2ee.Facts][]string{}
	for bits := range 1 << len(factNames) {
		names := []string{}
		for i, name := range factNames {
			if bits>>i&1 == 1 {
				names = append(names, name)
			}
		}
		lists[factsOf(bits)] = names
	}
	return lists
}()

func fits(want map[string]bool, g e2ee.Gate, f e2ee.Facts) bool {
	for name, is := range want {
		if cellFact(name, g, f) != is {
			return false
		}
	}
	return true
}

// tried is one gate and one mix of facts, as bits over cellFacts, and what came of it.
type tried struct {
	bits    int
	outcome string
	cell    vcell
}

// cellVectors returns the cells of all reachable gates, with the facts that matter.
func cellVectors(t *testing.T) []vcell {
	t.Helper()
	var cells []vcell
	gates := reachable()
	mixes := mixesOfFacts()
	for s := range e2ee.StatePriv + 1 {
		for ev := range eventCount {
			var all []tried
			for _, g := range gates {
				if g.State() != s {
					continue
				}
				own := 0
				for i, name := range cellFacts {
					if cellFact(name, g, e2ee.Facts{}) {
						own |= 1 << i
					}
				}
				for _, m := range mixes {
					all = append(all, try(g, ev, m.facts, own|m.bits))
				}
			}
			cells = append(cells, split(all, map[string]bool{})...)
		}
	}
	return cells
}

type mix struct {
	facts e2ee.Facts
	bits  int
}

func mixesOfFacts() (all []mix) {
	for bits := range 1 << len(factNames) {
		m := mix{facts: factsOf(bits)}
		for i, name := range cellFacts {
			if at := slices.Index(factNames, name); at >= 0 && bits>>at&1 == 1 {
				m.bits |= 1 << i
			}
		}
		all = append(all, m)
	}
	return all
}

func try(g e2ee.Gate, ev e2ee.Event, f e2ee.Facts, bits int) tried {
	next := g
	effect := next.Step(ev, f)
	c := vcell{
		State: g.State().String(), Event: ev.String(), Next: next.State().String(),
		Leave: next.Leave().String(), Effects: effect.Names(),
	}
	if effect.Has(e2ee.EffectAsk) {
		c.Question = next.Question().String()
	}
	return tried{bits, string(record(c)), c}
}

// split divides what was tried by the facts that matter, until each part has one
// outcome.
func split(all []tried, facts map[string]bool) []vcell {
	if !slices.ContainsFunc(all, func(x tried) bool { return x.outcome != all[0].outcome }) {
		c := all[0].cell
		c.Facts = facts
		return []vcell{c}
	}
	outcomes := map[int]string{}
	for _, x := range all {
		outcomes[x.bits] = x.outcome
	}
	by := -1
	for i := range cellFacts {
		if slices.ContainsFunc(all, func(x tried) bool {
			other, ok := outcomes[x.bits^1<<i]
			return ok && other != x.outcome
		}) {
			by = i
			break
		}
	}
	if by < 0 { // two things that only go together
		by = slices.IndexFunc(cellFacts, func(name string) bool {
			i := slices.Index(cellFacts, name)
			return slices.ContainsFunc(all, func(x tried) bool { return (x.bits^all[0].bits)>>i&1 == 1 })
		})
	}
	var cells []vcell
	for _, is := range []bool{false, true} {
		var part []tried
		for _, x := range all {
			if (x.bits>>by&1 == 1) == is {
				part = append(part, x)
			}
		}
		with := map[string]bool{cellFacts[by]: is}
		for k, v := range facts {
			with[k] = v
		}
		cells = append(cells, split(part, with)...)
	}
	return cells
}

// twoActs are walks that chance does not meet: clear by two acts.
var twoActs = [][]vevent{
	append(priv[:3:3], vevent{"userclear", open}, vevent{"userclear", open}, vevent{"clearover", open}, vevent{"findwithout", open}),
	append(priv[:3:3], vevent{"grouplost", open}, vevent{"userclear", open}, vevent{"userclear", open}, vevent{"groupready", open}),
	append(typed[:2:2], vevent{"userclear", none}, vevent{"userclear", none}, vevent{"ready", []string{"met"}}, vevent{"clearover", none}, vevent{"ready", []string{"met"}}),
}

// walkVectors returns twoActs and sequences drawn by a generator that is the same
// everywhere.
func walkVectors(t *testing.T) (walks []vwalk) {
	t.Helper()
	for _, steps := range twoActs {
		g := e2ee.NewGate(e2ee.PolicyPrefer)
		var w vwalk
		for _, s := range steps {
			w.Steps = append(w.Steps, walkStep(&g, vstep{Event: s.Event, Facts: s.Facts}, eventOf(t, s.Event), factsNamed(t, s.Facts)))
		}
		walks = append(walks, w)
	}
	seed := uint32(1)
	draw := func(n int) int {
		seed = seed*1664525 + 1013904223
		return int(seed>>8) % n
	}
	for n := range 40 {
		g := e2ee.NewGate(e2ee.PolicyPrefer)
		own := vstep{Event: "connect", Facts: []string{"ownarrival"}}
		w := vwalk{[]vstep{walkStep(&g, own, e2ee.EventConnect, e2ee.Facts{OwnArrival: true})}}
		for range 11 {
			ev := e2ee.Event(draw(int(eventCount)))
			bits := draw(1<<len(factNames)) | 1<<3 // groups,
			if n%4 == 3 {
				bits &^= 1 << 3 // but a typed secret alone in each fourth
			}
			if draw(4) > 0 {
				bits &^= 1<<1 | 1<<2 // mostly not moving and prefer
			}
			s := vstep{Event: ev.String(), Facts: namesOf(factsOf(bits))}
			w.Steps = append(w.Steps, walkStep(&g, s, ev, factsOf(bits)))
		}
		walks = append(walks, w)
	}
	return walks
}

func walkStep(g *e2ee.Gate, s vstep, ev e2ee.Event, f e2ee.Facts) vstep {
	effect := g.Step(ev, f)
	s.Next, s.Question, s.Memory = g.State().String(), g.Question().String(), g.Memory().String()
	s.Leave, s.Effects = g.Leave().String(), effect.Names()
	return s
}

func eventOf(t *testing.T, name string) e2ee.Event {
	t.Helper()
	for ev := range eventCount {
		if ev.String() == name {
			return ev
		}
	}
	t.Fatalf("unknown event %q", name)
	return 0
}

func factsNamed(t *testing.T, names []string) e2ee.Facts {
	t.Helper()
	bits := 0
	for _, name := range names {
		i := slices.Index(factNames, name)
		if i < 0 {
			t.Fatalf("unknown fact %q", name)
		}
		bits |= 1 << i
	}
	return factsOf(bits)
}
