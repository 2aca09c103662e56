package e2ee_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/identity"
)

// Who comes and goes while speech is protected.
func TestGroupsPriv(t *testing.T) {
	h, list := meet(t, "E", "alice", "bob")
	alice, bob := list[0], list[1]
	alice.took()
	carol := h.bare("carol", 3)
	h.run(4 * time.Second)
	alice.want("carol enters without Sotto", "line deaf")
	if alice.MayPlayClear(bob.session) || !alice.MayPlayClear(carol.session) {
		t.Error("clear voice of a member is played, or that of somebody else is not")
	}
	h.leave(bob, true)
	h.run(3 * time.Second)
	alice.want("the last other member leaves", "line unheard")
	if alice.Leave() != e2ee.LeaveCiphertext {
		t.Errorf("%v may leave", alice.Leave())
	}
	h.leave(carol, true)
	h.run(3 * time.Second)
	alice.want("nobody is left", "")
	if alice.State() != e2ee.StatePriv {
		t.Errorf("%v, want Priv: who comes next without keys hears nothing", alice.State())
	}
	bob = h.enter(h.groups("bob", e2ee.PolicyPrefer), 3)
	bob.cfg = list[1].cfg
	h.run(5 * time.Second)
	if alice.State() != e2ee.StateAsked || alice.Question() != e2ee.QuestionIdentity {
		t.Errorf("bob comes back with another identity: %v %v", alice.State(), alice.Question())
	}
}

// Clear needs two acts in Priv; it leaves the group, lasts 30 min, and ends when the
// people change.
func TestGroupsUserClear(t *testing.T) {
	h, list := meet(t, "E", "alice", "bob")
	alice, bob := list[0], list[1]
	alice.took()
	alice.handle(e2ee.UserClear{})
	alice.want("one act", "line confirm")
	h.run(time.Minute) // time alone does not undo it
	alice.handle(e2ee.UserClear{})
	h.run(5 * time.Second)
	alice.want("two acts", "Priv > Clear")
	if id, _ := alice.Epoch(); !id.IsZero() {
		t.Error("alice speaks clear and is still a member")
	}
	if bob.IsMember(alice.session) || !bob.MayPlayClear(alice.session) {
		t.Errorf("bob still counts alice as a member\n%s", h.state())
	}
	h.run(29 * time.Minute)
	alice.want("29 min later", "")
	h.run(time.Minute)
	h.until(20*time.Second, "together again", func() bool { return together(alice, bob) })
	alice.want("clear is over", "Clear > Find, "+toPriv)

	alice.handle(e2ee.UserClear{})
	alice.handle(e2ee.UserProtect{})
	alice.handle(e2ee.UserClear{})
	alice.want("something in between", "line confirm, line confirm")
	alice.handle(e2ee.UserClear{})
	alice.want("twice", "Priv > Clear")
	carol := h.join("carol", 3)
	h.until(30*time.Second, "three", func() bool { return together(alice, bob, carol) })
	alice.want("the people change", "Clear > Find, "+toPriv)
}

// A member that the server shows gone and whom nobody can remove.
func TestGroupsOverdue(t *testing.T) {
	for policy, script := range map[e2ee.Policy]string{
		e2ee.PolicyPrefer:  "line leaving, line no-commit; Priv > Asked, ask remove",
		e2ee.PolicyRequire: "line leaving, line no-commit; Priv > Held, line held",
	} {
		t.Run(policy.String(), func(t *testing.T) {
			h := newHall(t, "E")
			alice := h.enter(h.groups("alice", policy), 3)
			bob, carol := h.join("bob", 3), h.join("carol", 3)
			h.until(20*time.Second, "three", func() bool { return together(alice, bob, carol) })
			h.run(8 * time.Second)
			h.drop = true // nothing gets through any more, so no Commit takes effect
			alice.took()
			h.leave(carol, true)
			h.run(9 * time.Second)
			alice.want("at first", strings.SplitN(script, "; ", 2)[0])
			h.run(2 * time.Second)
			alice.want("after 10 s", strings.SplitN(script, "; ", 2)[1])
			alice.closed()
			h.drop = false
			h.until(40*time.Second, "the two go on", func() bool { return together(alice, bob) })
		})
	}
}

// A known person with another identity closes the gate until the user accepts it.
func TestGroupsIdentity(t *testing.T) {
	for _, moves := range []bool{false, true} {
		h, list := meet(t, "E", "alice", "bob")
		alice, bob := list[0], list[1]
		h.leave(bob, true)
		h.run(3 * time.Second)
		alice.took()
		bob.cfg.Device = identity.New().NewDevice(0)
		h.enter(bob, 3)
		h.until(20*time.Second, "bob is in the group", func() bool { return alice.IsMember(bob.session) })
		alice.want("another bob", "Priv > Asked, ask identity")
		alice.closed()
		alice.handle(e2ee.Wait{})
		h.run(30 * time.Second)
		alice.want("waiting is no answer", "")
		alice.closed()
		if moves {
			h.move(bob, 4)
			h.move(alice, 4)
			h.until(30*time.Second, "asked again", func() bool { return alice.State() == e2ee.StateAsked })
			if script := strings.Join(alice.took(), ", "); !strings.HasSuffix(script, "ask identity") {
				t.Errorf("after an own move: %s", script)
			}
			h.run(2 * time.Second)
			alice.closed()
		}
		alice.handle(e2ee.UserProtect{})
		h.until(20*time.Second, "together", func() bool { return together(alice, bob) })
		alice.want("accepted", "Asked > Held, Held > Priv")
		h.leave(bob, true)
		h.run(3 * time.Second)
		h.enter(bob, alice.channel)
		alice.took()
		h.until(20*time.Second, "together", func() bool { return together(alice, bob) })
		h.run(3 * time.Second)
		if slices.ContainsFunc(alice.took(), func(s string) bool { return strings.HasPrefix(s, "ask") }) {
			t.Error("asked about who was accepted")
		}
	}
}

// A known person whom the server gives the name of another one.
func TestGroupsRenamed(t *testing.T) {
	h, list := meet(t, "E", "alice", "bob", "carol")
	alice, carol := list[0], list[2]
	alice.took()
	carol.name = "bob"
	h.tell(nil)
	h.run(time.Second)
	alice.want("carol is called bob", "Priv > Asked, ask identity")
	alice.handle(e2ee.UserClear{})
	alice.handle(e2ee.UserClear{})
	h.run(5 * time.Second)
	alice.want("clear", "line confirm, Asked > Clear")
	alice.handle(e2ee.UserProtect{})
	h.until(20*time.Second, "asked", func() bool { return alice.State() == e2ee.StateAsked })
	alice.want("speaking clear accepted nobody", "Clear > Find, Find > Held, line held, Held > Asked, ask identity")
}

// The server takes alice to people without Sotto. She asks to go back, and it
// refuses: that she is there is still not her own act.
func TestGroupsRefusedMoveIsNoArrival(t *testing.T) {
	h, list := meet(t, "E", "alice", "bob")
	alice := list[0]
	h.bare("eve", 9)
	h.run(4 * time.Second)
	h.step = func(g *guest) {
		if g == alice && alice.Leave() == e2ee.LeaveClear {
			t.Fatalf("%v: clear speech without an act of the user", h.now.Sub(dawn))
		}
	}
	h.shift(alice, 9)
	h.run(5 * time.Second)
	for range 3 {
		alice.handle(e2ee.LocalMove{Channel: 3})
		h.run(100 * time.Millisecond)
		alice.handle(h.world(alice, true)) // as an endpoint says when the server refuses
		h.run(20 * time.Second)
	}
	if s := alice.State(); s != e2ee.StateAsked && s != e2ee.StateHeld {
		t.Errorf("%v", s)
	}
}
