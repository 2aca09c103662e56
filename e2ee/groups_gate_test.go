package e2ee_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/trust"
)

// took returns what an engine has said to its person since the last time.
func (g *guest) took() (list []string) {
	for _, out := range g.out {
		switch out := out.(type) {
		case e2ee.GateChanged:
			list = append(list, out.From.String()+" > "+out.To.String())
		case e2ee.Asked:
			list = append(list, "ask "+out.Question.String())
		case e2ee.Notice:
			list = append(list, "line "+out.Code)
		}
	}
	g.out = nil
	return list
}

// want holds what was said against a script: events divided by ", ".
func (g *guest) want(what, script string) {
	g.h.t.Helper()
	if got := strings.Join(g.took(), ", "); got != script {
		g.h.t.Errorf("%s: %s was told\n    %s\nwant\n    %s\n%s", what, g.name, got, script, g.h.state())
	}
}

// closed fails the test unless nothing leaves.
func (g *guest) closed() {
	g.h.t.Helper()
	if _, err := g.seal("x"); g.Leave() != e2ee.LeaveNothing || !errors.Is(err, e2ee.ErrHeld) {
		g.h.t.Errorf("%s in %v: %v may leave, %v", g.name, g.State(), g.Leave(), err)
	}
	if _, _, err := g.SealText(g.h.now, noGroup, e2ee.Text{HTML: "x", Channel: 3}); !errors.Is(err, e2ee.ErrHeld) {
		g.h.t.Errorf("%s in %v: a text leaves: %v", g.name, g.State(), err)
	}
}

const toPriv = "Find > Held, line held, Held > Priv"

// Own connect (row 1), with whom is here.
func TestGroupsConnect(t *testing.T) {
	for regime := range groupRegimes {
		t.Run(regime, func(t *testing.T) {
			h := newHall(t, regime)
			alice := h.join("alice", 3)
			alice.closed()
			h.run(5 * time.Second)
			alice.want("alone", "Find > Alone")
			alice.closed()
			bob := h.join("bob", 3)
			h.until(20*time.Second, "the two are together", func() bool { return together(alice, bob) })
			alice.want("with Sotto", "Alone > Find, "+toPriv)
			bob.want("with Sotto", toPriv)
		})
	}
	t.Run("prefer, without", func(t *testing.T) {
		h := newHall(t, "E")
		h.bare("bob", 3)
		alice := h.join("alice", 3)
		alice.closed()
		h.run(2900 * time.Millisecond)
		alice.closed()
		h.run(time.Second)
		alice.want("without Sotto", "Find > Clear")
	})
	t.Run("require, without", func(t *testing.T) {
		h := newHall(t, "E")
		h.bare("bob", 3)
		alice := h.enter(h.groups("alice", e2ee.PolicyRequire), 3)
		h.run(4 * time.Second)
		alice.want("without Sotto", "Find > Asked, ask wait")
		alice.closed()
		alice.handle(e2ee.UserClear{})
		alice.handle(e2ee.UserClear{})
		alice.want("clear", "line gate, line gate")
		alice.handle(e2ee.Wait{})
		h.run(11 * time.Second)
		alice.want("wait", "Asked > Held, line held, Held > Asked, ask wait")
		alice.closed()
	})
	t.Run("alone, then without", func(t *testing.T) {
		h := newHall(t, "E")
		alice := h.join("alice", 3)
		h.run(5 * time.Second)
		h.bare("bob", 3)
		h.run(2 * time.Second)
		alice.closed()
		h.run(2 * time.Second)
		alice.want("somebody came", "Find > Alone, Alone > Find, Find > Clear")
	})
	t.Run("clear, then Sotto", func(t *testing.T) {
		h := newHall(t, "E")
		bob := h.bare("bob", 3)
		alice, carol := h.join("alice", 3), h.join("carol", 3)
		h.run(5 * time.Second)
		alice.want("mixed", "Find > Clear")
		h.run(15 * time.Second)
		alice.want("mixed, later", "")
		h.leave(bob, true)
		h.until(10*time.Second, "all have Sotto now", func() bool { return together(alice, carol) })
		alice.want("all have Sotto now", "Clear > Priv")
	})
}

// MS3: protected before with bob, who shows up without Sotto.
func TestGroupsSticky(t *testing.T) {
	for what, channel := range map[string]uint32{"same channel": 3, "same person": 4} {
		t.Run(what, func(t *testing.T) {
			h, list := meet(t, "E", "alice", "bob")
			alice, bob := list[0], list[1]
			h.leave(alice, false)
			h.leave(bob, false)
			h.bare("bob", channel)
			alice.took()
			h.enter(alice, channel) // a new run with the same Book
			h.run(4 * time.Second)
			alice.want("bob without Sotto", "Find > Asked, ask clear")
			alice.closed()
			alice.handle(e2ee.UserClear{})
			alice.want("the user says clear", "Asked > Clear")
		})
	}
	t.Run("somebody who came later", func(t *testing.T) {
		h, list := meet(t, "E", "alice", "bob")
		carol := h.join("carol", 3)
		h.until(20*time.Second, "three", func() bool { return together(append(list, carol)...) })
		h.run(2 * time.Second)
		for _, g := range append(list, carol) {
			h.leave(g, false)
		}
		h.bare("carol", 5)
		alice := list[0]
		alice.took()
		h.enter(alice, 5)
		h.run(4 * time.Second)
		alice.want("carol without Sotto", "Find > Asked, ask clear")
	})
	// The server hides bob until Find is over: nothing that is said when it shows
	// him reaches him.
	for what, rename := range map[string]bool{"who comes while we speak in clear": false, "who is named so then": true} {
		t.Run(what, func(t *testing.T) {
			h, list := meet(t, "E", "alice", "bob")
			alice := list[0]
			h.leave(alice, false)
			h.leave(list[1], false)
			carol := h.bare("carol", 5)
			alice.took()
			h.enter(alice, 5)
			h.run(4 * time.Second)
			alice.want("carol without Sotto", "Find > Clear")
			h.bare("dave", 5)
			h.run(4 * time.Second)
			alice.want("dave too", "")
			if rename {
				carol.name = "bob"
				h.tell(nil)
			} else {
				h.bare("bob", 5)
			}
			h.run(60 * time.Millisecond)
			alice.closed()
			alice.want("bob is here", "Clear > Find")
			h.run(4 * time.Second)
			alice.want("bob has no Sotto", "Find > Asked, ask clear")
			alice.handle(e2ee.UserClear{})
			h.run(time.Minute)
			alice.want("the user says clear", "Asked > Clear")
		})
	}
}

// Ghosts do not crowd friends out of the memory: only so many new people a day are
// remembered, those who were stay, and the user is told.
func TestGroupsMemoryShare(t *testing.T) {
	h, list := meet(t, "E", "alice", "bob")
	alice := list[0]
	fresh := func(name string) bool {
		for _, g := range list {
			if g.name == name {
				p := trust.Person{Identity: g.cfg.Device.Identity(), Name: name, CertHash: certOf(name)}
				return alice.cfg.Book.Fresh(h.now, hallAddress, p) > 0
			}
		}
		t.Fatal(name)
		return false
	}
	if fresh("bob") {
		t.Fatal("bob is not remembered")
	}
	alice.took()
	alice.FillMemory(h.now)
	for i := range 3 {
		list = append(list, h.join(fmt.Sprint("ghost", i), 3))
	}
	h.until(20*time.Second, "all", func() bool { return together(list...) })
	h.run(5 * time.Second)
	alice.want("ghosts", "line memory")
	if !fresh("ghost0") || fresh("bob") {
		t.Errorf("ghost is new: %v, bob is new: %v", fresh("ghost0"), fresh("bob"))
	}
	h.run(time.Hour)
	carol := h.join("carol", 3)
	list = append(list, carol)
	h.until(20*time.Second, "carol too", func() bool { return together(list...) })
	h.run(5 * time.Second)
	if fresh("carol") {
		t.Error("an hour later nobody new is remembered")
	}
}

// What the server causes (row 2): nothing leaves from the same Handle on.
func TestGroupsServerMoves(t *testing.T) {
	t.Run("move while talking", func(t *testing.T) {
		h, list := meet(t, "E", "alice", "bob")
		alice := list[0]
		h.bare("carol", 7)
		h.run(4 * time.Second)
		alice.took()
		h.shift(alice, 7)
		seen := false
		h.step = func(g *guest) {
			if g == alice && !seen && g.State() != e2ee.StatePriv {
				seen = true
				alice.closed()
			}
		}
		h.run(time.Second)
		alice.want("moved", "Priv > Held, line moved")
		alice.closed()
		h.run(11 * time.Second)
		alice.want("nobody with Sotto", "Held > Asked, ask clear")
		alice.closed()
	})
	t.Run("rename", func(t *testing.T) {
		h := newHall(t, "E")
		h.names[3] = "Lobby"
		h.bare("bob", 3)
		alice := h.join("alice", 3)
		h.run(4 * time.Second)
		h.names[3] = "Lobby!"
		h.tell(nil)
		h.run(time.Second)
		alice.want("renamed in Clear", "Find > Clear, Clear > Asked, ask clear")
	})
	t.Run("rename in Priv, link, unlink", func(t *testing.T) {
		h, list := meet(t, "E", "alice", "bob")
		alice, bob := list[0], list[1]
		alice.took()
		h.names[3] = "Lobby"
		h.tell(nil)
		h.run(time.Second)
		eve := h.join("eve", 8)
		h.run(5 * time.Second)
		h.links = [][2]uint32{{3, 8}}
		h.tell(nil)
		h.until(20*time.Second, "three", func() bool { return together(alice, bob, eve) })
		alice.want("renamed and linked", "")
		eve.want("linked", "Find > Alone, Alone > Held, line moved, Held > Priv")
		h.links = nil
		h.tell(nil)
		h.run(200 * time.Millisecond)
		eve.closed()
		h.until(20*time.Second, "two again", func() bool { return together(alice, bob) })
		eve.want("unlinked", "Priv > Held, Held > Alone")
	})
	t.Run("unlink takes the anchor away", func(t *testing.T) {
		h := newHall(t, "E")
		h.links = [][2]uint32{{3, 8}}
		alice, bob, carol := h.join("alice", 8), h.join("bob", 8), h.join("carol", 3)
		h.until(20*time.Second, "three", func() bool { return together(alice, bob, carol) })
		alice.took()
		h.links = nil
		h.tell(nil)
		h.run(60 * time.Millisecond)
		alice.closed()
		h.until(30*time.Second, "two in a group of their own", func() bool { return together(alice, bob) })
		alice.want("unlinked", "Priv > Held, line moved, Held > Priv")
	})
	t.Run("question stays", func(t *testing.T) {
		h := newHall(t, "E")
		h.bare("bob", 3)
		h.bare("carol", 4)
		alice := h.enter(h.groups("alice", e2ee.PolicyRequire), 3)
		h.run(4 * time.Second)
		h.shift(alice, 4)
		h.run(5 * time.Second)
		alice.want("moved", "Find > Asked, ask wait")
		alice.closed()
	})
}

// Own moves go to Find; one that the server does not do changes nothing.
func TestGroupsOwnMove(t *testing.T) {
	h, list := meet(t, "E", "alice", "bob")
	alice := list[0]
	h.bare("carol", 7)
	h.run(4 * time.Second)
	alice.took()
	alice.handle(e2ee.LocalMove{Channel: 7}) // and the server does not do it
	alice.closed()
	h.bare("eve", 3)
	h.run(9 * time.Second)
	alice.closed()
	h.run(2 * time.Second)
	alice.want("not moved", "Priv > Find, Find > Held, Held > Priv, line deaf")
	alice.handle(e2ee.UserClear{})
	alice.want("memory is kept", "line confirm")

	h.move(alice, 7)
	alice.closed()
	h.run(5 * time.Second)
	alice.want("moved", "Priv > Find, Find > Clear")
}
