package e2ee_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sotto-voip/sotto/e2ee"
)

const gateVectors = "../docs/spec/vectors/gate.json"

// gateFile is docs/spec/vectors/gate.json.
type gateFile struct {
	About   []string  `json:"about"`
	Cells   []vcell   `json:"cells"`
	Walks   []vwalk   `json:"walks"`
	MustNot []vnever  `json:"must_not"`
	Leave   []vleaves `json:"leave"`
}

type vleaves struct {
	State string `json:"state"`
	Leave string `json:"leave"`
}

// vcell is a cell of the table. Facts that are not named do not matter.
type vcell struct {
	State    string          `json:"state"`
	Event    string          `json:"event"`
	Facts    map[string]bool `json:"facts"`
	Next     string          `json:"next"`
	Question string          `json:"question,omitempty"`
	Leave    string          `json:"leave"`
	Effects  []string        `json:"effects"`
}

// vwalk is a sequence of events, from a new gate under prefer.
type vwalk struct {
	Steps []vstep `json:"steps"`
}

type vstep struct {
	Event    string   `json:"event"`
	Facts    []string `json:"facts"` // those that are so; all others are not
	Next     string   `json:"next"`
	Question string   `json:"question"`
	Memory   string   `json:"memory"`
	Leave    string   `json:"leave"`
	Effects  []string `json:"effects"`
}

// vnever is a sequence after which, and during whose last steps, this must not leave.
type vnever struct {
	Why   string   `json:"why"`
	Reach string   `json:"reach"` // the state after the first steps
	First []vevent `json:"first"`
	Then  []vevent `json:"then"`
	Never string   `json:"never"` // what must not leave after any step of then
}

type vevent struct {
	Event string   `json:"event"`
	Facts []string `json:"facts"`
}

var aboutGate = []string{
	"The gate of Sotto protocol, section 11. Cells: in state, with event and facts, the gate goes to next, leave may leave, and effects are to be carried out. A fact that a cell does not name does not matter.",
	"Facts: met, moving, require, groups, sticky, ownarrival, closure, allsotto. Of the gate itself: free (its memory is free), kept (its memory is kept), second (the first act of clear was the event before), alarm (the open question is identity or worse), askedidentity (it is identity).",
	"Question: of Asked. Without it in Asked the open question stays.",
	"Memory: a new gate is bound. Priv and Typed: kept. connect with ownarrival, without moving: free. Free becomes bound in Asked, with connect without ownarrival, and with moved, lost, grouplost, wait, userprotect, usersecret, userleave. Else it stays.",
	"Clear under require is Find before anything else. userclear that has the effect confirm is the first act; any other event undoes it.",
	"Walks: from a new gate under prefer. must_not: after the steps of first the gate is in reach; after no step of then may leave what never names.",
}

// record is a vector as it stands in the file: one line each.
func record(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSpace(b.Bytes())
}

func list[T any](b *bytes.Buffer, name string, all []T, last bool) {
	b.WriteString(" " + string(record(name)) + ": [\n")
	for i, v := range all {
		b.WriteString("  ")
		b.Write(record(v))
		if i < len(all)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString(" ]")
	if !last {
		b.WriteByte(',')
	}
	b.WriteByte('\n')
}

func (f gateFile) bytes() []byte {
	var b bytes.Buffer
	b.WriteString("{\n")
	list(&b, "about", f.About, false)
	list(&b, "leave", f.Leave, false)
	list(&b, "cells", f.Cells, false)
	list(&b, "walks", f.Walks, false)
	list(&b, "must_not", f.MustNot, true)
	b.WriteString("}\n")
	return b.Bytes()
}

// The published vectors are what this gate does. With -update they are made anew.
func TestGateVectors(t *testing.T) {
	made := gateFile{About: aboutGate, Cells: cellVectors(t), Walks: walkVectors(t), MustNot: mustNot}
	for _, s := range []string{"Find", "Off", "Held", "Asked", "Alone", "Typed", "Clear", "Priv"} {
		made.Leave = append(made.Leave, vleaves{s, wantLeave[s].String()})
	}
	want := made.bytes()
	if *update {
		if err := os.MkdirAll(filepath.Dir(gateVectors), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(gateVectors, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(gateVectors)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the gate does; look at the difference, then run this test with -update", gateVectors)
	}
	t.Logf("%d cells, %d walks, %d must not, %d bytes", len(made.Cells), len(made.Walks), len(made.MustNot), len(want))
}

// A reader that knows only the file comes to the same gate, whatever the facts.
func TestGateVectorsReplay(t *testing.T) {
	b, err := os.ReadFile(gateVectors)
	if err != nil {
		t.Fatal(err)
	}
	var file gateFile
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	byCell := map[string][]vcell{}
	for _, c := range file.Cells {
		byCell[c.State+" "+c.Event] = append(byCell[c.State+" "+c.Event], c)
	}
	for _, g := range reachable() {
		for ev := range eventCount {
			for f := range allFacts {
				var found []vcell
				for _, c := range byCell[g.State().String()+" "+ev.String()] {
					if fits(c.Facts, g, f) {
						found = append(found, c)
					}
				}
				if len(found) != 1 {
					t.Fatalf("%v, %v, %+v: %d cells", g.State(), ev, f, len(found))
				}
				next := g
				effect := next.Step(ev, f)
				c := found[0]
				if c.Next != next.State().String() || c.Leave != next.Leave().String() || !slices.Equal(c.Effects, effect.Names()) ||
					c.Question != "" && c.Question != next.Question().String() {
					t.Fatalf("%v, %v, %+v: %v, %v; the file says %+v", g.State(), ev, f, next, effect, c)
				}
			}
		}
	}
	for i, w := range file.Walks {
		g := e2ee.NewGate(e2ee.PolicyPrefer)
		for n, s := range w.Steps {
			effect := g.Step(eventOf(t, s.Event), factsNamed(t, s.Facts))
			if s.Next != g.State().String() || s.Question != g.Question().String() || s.Memory != g.Memory().String() ||
				s.Leave != g.Leave().String() || !slices.Equal(s.Effects, effect.Names()) {
				t.Fatalf("walk %d, step %d: %v, %v; the file says %+v", i, n, g, effect, s)
			}
		}
	}
	for _, m := range file.MustNot {
		g := e2ee.NewGate(e2ee.PolicyPrefer)
		for _, s := range m.First {
			g.Step(eventOf(t, s.Event), factsNamed(t, s.Facts))
		}
		if g.State().String() != m.Reach || len(m.Then) == 0 {
			t.Errorf("%s: reached %v, want %s", m.Why, g.State(), m.Reach)
		}
		for _, s := range m.Then {
			g.Step(eventOf(t, s.Event), factsNamed(t, s.Facts))
			if g.Leave().String() == m.Never {
				t.Errorf("%s: after %s, %v: %v leaves", m.Why, s.Event, g.State(), g.Leave())
			}
		}
	}
}
