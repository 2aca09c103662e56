package e2ee_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sotto-voip/sotto/e2ee"
)

// gateTable is the table of Sotto protocol §11 for a typed secret, cell by cell:
// event, what must be so (m: Met, v: Moving, r: Require; a capital means it is
// not), then where each state goes. Every event with every mix of facts must be
// in exactly one row.
const gateTable = `
event     facts   Off  Find   Held   Asked  Alone  Typed
connect   -       Off  Find   Find   Find   Find   Find
lost      -       Off  Find   Find   Find   Find   Find
moved     -       Off  Held   Held   Asked  Held   Held
peer      -       Off  Find   Held   Asked  Find   Typed
nobody    V       Off  Alone  Alone  Alone  Alone  Typed
nobody    v       Off  Find   Held   Asked  Alone  Typed
ready     mV      Off  Typed  Typed  Typed  Typed  Typed
ready     mv      Off  Find   Held   Asked  Alone  Typed
ready     M       Off  Find   Held   Asked  Alone  Typed
findends  V       Off  Held   Held   Asked  Alone  Typed
findends  v       Off  Find   Held   Asked  Alone  Typed
late      r       Off  Find   Asked  Asked  Alone  Typed
late      R       Off  Find   Held   Asked  Alone  Typed
wait      -       Off  Find   Held   Held   Alone  Typed
`

var events = map[string]e2ee.Event{
	"connect": e2ee.EventConnect, "lost": e2ee.EventLost, "moved": e2ee.EventMoved,
	"peer": e2ee.EventPeer, "nobody": e2ee.EventNobody, "ready": e2ee.EventReady,
	"findends": e2ee.EventFindEnds, "late": e2ee.EventLate, "wait": e2ee.EventWait,
}

// gateIn brings a new gate into the state of that name by lawful steps.
func gateIn(t *testing.T, state string) e2ee.Gate {
	t.Helper()
	g := e2ee.NewGate(e2ee.PolicyPrefer)
	switch state {
	case "Off":
		g = e2ee.NewGate(e2ee.PolicyOff)
	case "Find":
	case "Held":
		g.Step(e2ee.EventMoved, e2ee.Facts{})
	case "Asked":
		g.Step(e2ee.EventMoved, e2ee.Facts{})
		g.Step(e2ee.EventLate, e2ee.Facts{Require: true})
	case "Alone":
		g.Step(e2ee.EventNobody, e2ee.Facts{})
	case "Typed":
		g.Step(e2ee.EventReady, e2ee.Facts{Met: true})
	}
	if g.State().String() != state {
		t.Fatalf("cannot bring a gate to %s, it is in %v", state, g.State())
	}
	return g
}

// leaves is what may leave in each state; anything not here is nothing.
var leaves = map[string]e2ee.Leave{"Off": e2ee.LeaveClear, "Typed": e2ee.LeaveCiphertext}

func TestGateTable(t *testing.T) {
	rows := strings.Split(strings.TrimSpace(gateTable), "\n")
	states := strings.Fields(rows[0])[2:]
	covered := map[string]int{}
	cells := 0
	for _, row := range rows[1:] {
		f := strings.Fields(row)
		ev, ok := events[f[0]]
		if !ok || len(f) != 2+len(states) {
			t.Fatalf("cannot read row %q", row)
		}
		for bits := range 8 {
			facts := e2ee.Facts{Met: bits&1 != 0, Moving: bits&2 != 0, Require: bits&4 != 0}
			if !matches(f[1], facts) {
				continue
			}
			covered[fmt.Sprint(f[0], bits)]++
			for i, state := range states {
				cells++
				g := gateIn(t, state)
				g.Step(ev, facts)
				if got, want := g.State().String(), f[2+i]; got != want {
					t.Errorf("%s, %s, %+v: went to %s, want %s", state, f[0], facts, got, want)
				}
				if got, want := g.Leave(), leaves[f[2+i]]; got != want {
					t.Errorf("%s, %s, %+v: %v leaves, want %v", state, f[0], facts, got, want)
				}
			}
		}
	}
	for name := range events {
		for bits := range 8 {
			if n := covered[fmt.Sprint(name, bits)]; n != 1 {
				t.Errorf("event %s with facts %03b stands in %d rows, want 1", name, bits, n)
			}
		}
	}
	t.Logf("%d cells", cells)
}

func matches(cond string, f e2ee.Facts) bool {
	for _, c := range cond {
		ok := map[rune]bool{'-': true, 'm': f.Met, 'M': !f.Met, 'v': f.Moving, 'V': !f.Moving, 'r': f.Require, 'R': !f.Require}[c]
		if !ok {
			return false
		}
	}
	return true
}

// A gate nobody set up lets nothing leave, and neither does a state it does not know.
func TestGateZero(t *testing.T) {
	var g e2ee.Gate
	if g.Leave() != e2ee.LeaveNothing || g.State() != e2ee.StateFind {
		t.Errorf("zero gate: %v, %v leaves", g.State(), g.Leave())
	}
	if s := e2ee.State(99).String(); s != "unknown state" {
		t.Errorf("State(99) is %q", s)
	}
	if s := e2ee.Leave(99).String(); s != "unknown" {
		t.Errorf("Leave(99) is %q", s)
	}
}
