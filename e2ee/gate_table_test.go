package e2ee_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sotto-voip/sotto/e2ee"
)

// gateWhole is the table of Sotto protocol §11, written down from its text.
//
// facts: what must be so; a capital means it is not. m Met, v Moving, r Require,
// g Groups, s Sticky, o OwnArrival, c Closure, a AllSotto; of the gate: f its
// memory is free, k it is kept, t the first of two acts is done.
// A cell: where the state goes ("." stays), ?which question is asked, +effects.
// Alarm is Asked with a question that only the user ends. Clear under require is
// read in the column Find, where "." is Find.
const gateWhole = `
event         facts    Off      Find         Held         Asked          Alarm          Clear        Priv              Typed     Alone
connect       go       .        Find         Find         Find           Find           Find         Find              Find      Find
connect       Go       .        Find         Find         Find           Find           Find         Find              Find      Find
connect       GO       .        Find         Find         Find           .              Find         Find              Find      Find
connect       gO       .        Held         .            .              .              Held         Held              Held      Held
lost          g        .        Held         .            .              .              Held         Held              Held      Held
lost          G        .        Find         Find         Find           .              Find         Find              Find      Find
moved         gsc      .        Held         .            .              .              Held         .                 Held      Held
moved         gsC      .        Held         .            .              .              Held         Held              Held      Held
moved         gSc      .        Held         .            .              .              Asked?clear  .                 Held      Held
moved         gSC      .        Held         .            .              .              Asked?clear  Held              Held      Held
moved         G        .        Held         .            .              .              Held         Held              Held      Held
peer          ga       .        .            .            .              .              +hello       +mayjoin          .         Find
peer          gA       .        .            .            .              .              .            +mayjoin          .         Find
peer          G        .        .            .            .              .              .            .                 .         Find
beacon        Vga      .        Held         +hello       +join          +join          +hello       +merge            .         Find
beacon        VgA      .        Held         +hello       +join          +join          +join        +merge            .         Find
beacon        VG       .        .            .            .              .              .            .                 .         .
beacon        v        .        .            .            .              .              .            .                 .         .
nobody        V        .        Alone        Alone        Alone          .              Alone        .                 .         .
nobody        v        .        .            .            .              .              .            .                 .         .
findends      V        .        Held         .            .              .              .            .                 .         .
findends      v        .        .            .            .              .              .            .                 .         .
findwithout   Vgr      .        Asked?wait   Asked?wait   .              .              .            .                 .         .
findwithout   VgRs     .        Asked?clear  Asked?clear  .              .              .            .                 .         .
findwithout   VgRSO    .        Asked?clear  Asked?clear  .              .              .            .                 .         .
findwithout   VgRSoF   .        Asked?clear  Asked?clear  .              .              .            .                 .         .
findwithout   VgRSof   .        Clear        Clear        .              .              .            .                 .         .
findwithout   VG       .        Held         .            .              .              .            .                 .         .
findwithout   v        .        .            .            .              .              .            .                 .         .
groupready    Vg       .        Priv         Priv         Priv           .              Priv         .                 .         Priv
groupready    VG       .        .            .            .              .              .            .                 .         .
groupready    v        .        .            .            .              .              .            .                 .         .
ready         mVG      .        Typed        Typed        Typed          .              .            .                 .         Typed
ready         mVg      .        .            .            .              .              .            .                 .         .
ready         mv       .        .            .            .              .              .            .                 .         .
ready         M        .        .            .            .              .              .            .                 .         .
late          gr       .        Held+line    Asked?wait   .              .              .            .                 .         .
late          gR       .        Held+line    Asked?clear  .              .              +hello       .                 .         .
late          Gr       .        .            Asked?wait   .              .              .            .                 .         .
late          GR       .        .            .            .              .              .            .                 .         .
enters        Vgr      .        Asked?wait   .            .              .              .            +deaf             +deaf     Find
enters        VgRs     .        Asked?clear  .            .              .              .            +deaf             +deaf     Find
enters        VgRSO    .        Asked?clear  .            .              .              .            +deaf             +deaf     Find
enters        VgRSoF   .        Asked?clear  .            .              .              .            +deaf             +deaf     Find
enters        VgRSof   .        .            .            .              .              .            +deaf             +deaf     Find
enters        VG       .        .            .            .              .              .            +deaf             +deaf     Find
enters        v        .        .            .            .              .              .            .                 .         .
membersleft   V        .        .            .            .              .              .            +unheard          .         .
membersleft   v        .        .            .            .              .              .            .                 .         .
withoutleft   Vg       .        .            .            Find           .              +hello       .                 .         .
withoutleft   VG       .        .            .            Find           .              .            .                 .         .
withoutleft   v        .        .            .            .              .              .            .                 .         .
grouplost     -        .        Held         .            .              .              .            Held              .         .
removeoverdue r        .        .            .            .              .              .            Held              .         .
removeoverdue R        .        .            .            .              .              .            Asked?remove      .         .
identity      -        .        Asked?identity Asked?identity Asked?identity Asked?identity +line    Asked?identity    +line     Asked?identity
certificate   -        .        +line        +line        +line          +line          +line        +line+notprivate  .         +line
worse         -        .        Asked?worse  Asked?worse  Asked?worse    +line          +line        Asked?worse       .         Asked?worse
userclear     r        .        +policy      +policy      +policy        +policy        .            +policy           +policy   +policy
userclear     Rv       .        +line        +line        +line          +line          .            +line             +line     +line
userclear     RVt      .        Clear        Clear        Clear          Clear          .            Clear             Clear     +line
userclear     RVTgK    .        Clear        Clear        Clear          Clear          .            +confirm          +confirm  +line
userclear     RVTgk    .        +confirm     +confirm     +confirm       +confirm       .            +confirm          +confirm  +line
userclear     RVTG     .        +confirm     +confirm     +confirm       +confirm       .            +confirm          +confirm  +line
userprotect   -        +policy  Held         .            Held           Held           Find         .                 .         .
usersecret    -        +policy  Held         .            Held           Held           Held         Held              .         .
wait          -        .        .            .            Held           .              .            .                 .         .
userleave     -        .        .            .            +leave         +leave         .            .                 .         .
clearover     -        .        .            .            .              .              Find         .                 .         .
policy        -        .        .            .            .              .              .            .                 .         .
`

// binding are the events after which a free memory is bound.
var binding = []string{"moved", "lost", "grouplost", "wait", "userprotect", "usersecret", "userleave"}

// gateRow is a row of gateWhole taken apart.
type gateRow struct {
	cond  string
	cells map[string]string // by column
}

// readWhole returns the rows of gateWhole by event.
func readWhole(t *testing.T) map[string][]gateRow {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(gateWhole), "\n")
	columns := strings.Fields(lines[0])[2:]
	rows := map[string][]gateRow{}
	for _, line := range lines[1:] {
		f := strings.Fields(line)
		if len(f) != 2+len(columns) {
			t.Fatalf("cannot read row %q", line)
		}
		row := gateRow{f[1], map[string]string{}}
		for i, c := range columns {
			row.cells[c] = f[2+i]
		}
		rows[f[0]] = append(rows[f[0]], row)
	}
	return rows
}

// wantCell is what the table wants of g.
func wantCell(g e2ee.Gate, f e2ee.Facts, cell string) (state string, q e2ee.Question, effects []string) {
	state, q = g.State().String(), g.Question()
	if state == "Clear" && f.Require {
		state = "Find"
	}
	head, rest, _ := strings.Cut(cell, "+")
	if rest != "" {
		effects = strings.Split(rest, "+")
	}
	head, question, asks := strings.Cut(head, "?")
	if head != "." && head != "" {
		state = head
	}
	if asks {
		effects = append([]string{"ask"}, effects...)
		for q = e2ee.QuestionNone; q.String() != question; q++ {
		}
	} else if state != "Asked" {
		q = e2ee.QuestionNone
	}
	return state, q, effects
}

// wantMemory is what the gate is to keep in mind.
func wantMemory(g e2ee.Gate, event string, f e2ee.Facts, state string) e2ee.Memory {
	switch {
	case g.State() == e2ee.StateOff:
		return g.Memory()
	case state == "Priv" || state == "Typed":
		return e2ee.MemoryKept
	case event == "connect" && f.OwnArrival && !f.Moving:
		return e2ee.MemoryFree
	case g.Memory() != e2ee.MemoryFree:
		return g.Memory()
	case state == "Asked" || event == "connect" && !f.OwnArrival || slices.Contains(binding, event):
		return e2ee.MemoryBound
	}
	return e2ee.MemoryFree
}

// Every gate that can be, with every event and every mix of facts.
func TestGateWhole(t *testing.T) {
	rows := readWhole(t)
	gates := reachable()
	cells := 0
	for ev := range eventCount {
		event := ev.String()
		if rows[event] == nil {
			t.Fatalf("no row for event %s", event)
		}
		for _, g := range gates {
			for f := range allFacts {
				var found []gateRow
				for _, row := range rows[event] {
					if holds(row.cond, g, f) {
						found = append(found, row)
					}
				}
				if len(found) != 1 {
					t.Fatalf("%s, %+v, %+v stands in %d rows, want 1", event, g, f, len(found))
				}
				cell := found[0].cells[column(g, f)]
				state, question, effects := wantCell(g, f, cell)
				memory := wantMemory(g, event, f, state)
				next := g
				effect := next.Step(ev, f)
				got := fmt.Sprintln(next.State(), next.Question(), next.Memory(), effect.String(), next.Confirming())
				want := fmt.Sprintln(state, question, memory, strings.Join(effects, "+"), slices.Contains(effects, "confirm"))
				if got != want {
					t.Fatalf("%s in %v/%v/%v, %+v: %swant %s", event, g.State(), g.Question(), g.Memory(), f, got, want)
				}
				if next.Leave() != wantLeave[state] {
					t.Errorf("%v: %v leaves", state, next.Leave())
				}
				cells++
			}
		}
		if t.Failed() {
			return
		}
	}
	if len(rows) != int(eventCount) {
		t.Errorf("%d events in the table, %d in the package", len(rows), eventCount)
	}
	t.Logf("%d cells of %d gates", cells, len(gates))
}

var wantLeave = map[string]e2ee.Leave{
	"Off": e2ee.LeaveClear, "Clear": e2ee.LeaveClear,
	"Priv": e2ee.LeaveCiphertext, "Typed": e2ee.LeaveCiphertext,
	"Find": e2ee.LeaveNothing, "Held": e2ee.LeaveNothing, "Asked": e2ee.LeaveNothing, "Alone": e2ee.LeaveNothing,
}
