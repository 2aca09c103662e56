package e2ee_test

import (
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/trust"
)

// withSecret is somebody with a typed secret.
func (h *hall) withSecret(name, text string) *guest {
	g := h.groups(name, e2ee.PolicyPrefer)
	if text != "" {
		s, err := e2ee.ParseSecret(text, hallServer)
		if err != nil {
			h.t.Fatal(err)
		}
		g.cfg.Secret = s
	}
	return g
}

// A typed secret is a second lock on a group (§10.2): with the same together, with
// another or none outside, and nothing leaves.
func TestGroupsSecret(t *testing.T) {
	one, two := e2ee.NewSecret(), e2ee.NewSecret()
	for what, text := range map[string]string{"another": two, "none": ""} {
		t.Run(what, func(t *testing.T) {
			h := newHall(t, "E")
			alice, bob := h.enter(h.withSecret("alice", one), 3), h.enter(h.withSecret("bob", one), 3)
			h.until(20*time.Second, "the same secret", func() bool { return together(alice, bob) })
			if alice.KeyID() == "" || alice.KeyID() != bob.KeyID() {
				t.Errorf("ids %q and %q", alice.KeyID(), bob.KeyID())
			}
			h.run(2 * time.Second)
			if err := alice.say("x"); err != nil {
				t.Fatal(err)
			}
			eve := h.enter(h.withSecret("eve", text), 3)
			h.run(9 * time.Second)
			eve.want("with "+what, "Find > Held, line held, line secret")
			eve.closed()
			h.run(time.Minute)
			eve.closed()
			if len(eve.Members()) != 0 || len(eve.heard) != 0 {
				t.Errorf("eve is in: %v, heard %v", eve.Members(), eve.heard)
			}
			eve.took()
			before := eve.Agreement()
			eve.handle(e2ee.Wait{}) // an act of the user: once more
			h.run(9 * time.Second)
			if script := eve.took(); len(script) == 0 || script[len(script)-1] != "line secret" {
				t.Errorf("after wait: %q, %+v", script, before)
			}
			h.until(30*time.Second, "the two go on", func() bool {
				return alice.State() == e2ee.StatePriv && bob.State() == e2ee.StatePriv
			})
		})
	}
}

// People with a secret and people without come into one channel: both speak protected,
// and hear silence from the others, who is told once.
func TestGroupsSecretBeside(t *testing.T) {
	ours := e2ee.NewSecret()
	for _, order := range [][]string{{"eve", "frank", "alice", "bob"}, {"alice", "bob", "eve", "frank"}, {"eve", "alice", "frank", "bob"}} {
		t.Run(order[0]+order[1], func(t *testing.T) {
			h := newHall(t, "E")
			by := map[string]*guest{}
			for _, name := range order {
				secret := ""
				if name == "alice" || name == "bob" {
					secret = ours
				}
				by[name] = h.enter(h.withSecret(name, secret), 3)
				h.run(4 * time.Second)
			}
			pairs := [][2]*guest{{by["alice"], by["bob"]}, {by["eve"], by["frank"]}}
			h.until(2*time.Minute, "both pairs", func() bool { return together(pairs[0][0], pairs[0][1]) && together(pairs[1][0], pairs[1][1]) })
			for i, pair := range pairs {
				for _, g := range pairs[1-i] {
					g.heard = nil
				}
				h.until(time.Minute, "ready", func() bool { return pair[0].State() == e2ee.StatePriv })
				if err := pair[0].say("for my friend"); err != nil {
					t.Fatal(err)
				}
				h.run(time.Second)
				if len(pair[1].heard) == 0 {
					t.Errorf("%s does not hear %s", pair[1].name, pair[0].name)
				}
				for _, g := range pairs[1-i] {
					if len(g.heard) != 0 {
						t.Errorf("%s hears %d frames of %s", g.name, len(g.heard), pair[0].name)
					}
				}
			}
		})
	}
}

// What is remembered, and when the owner is told to write it: at first sight, and
// after a second in Priv.
func TestGroupsMemory(t *testing.T) {
	h := newHall(t, "E")
	alice, bob := h.join("alice", 3), h.join("bob", 3)
	people := []trust.Person{{Name: "bob"}}
	written := func() bool {
		n, _ := countOf[e2ee.MemoryChanged](alice)
		alice.out = nil
		was := alice.cfg.Book.Changed()
		if was != (n > 0) {
			t.Errorf("said %d times, changed: %v", n, was)
		}
		alice.cfg.Book.Saved()
		return was
	}
	h.until(20*time.Second, "together", func() bool { return together(alice, bob) })
	if !written() {
		t.Error("not written at first sight")
	}
	if j := alice.cfg.Book.Judge(hallAddress, trust.Person{Identity: bob.cfg.Device.Identity(), Name: "bob"}); j.Verdict != trust.Known {
		t.Errorf("bob is %v", j.Verdict)
	}
	h.run(900 * time.Millisecond)
	if _, sticky := alice.cfg.Book.Sticky(h.now, hallAddress, 9, people); sticky || written() {
		t.Error("remembered as protected before a second is over")
	}
	h.run(200 * time.Millisecond)
	if _, sticky := alice.cfg.Book.Sticky(h.now, hallAddress, 9, people); !sticky || !written() {
		t.Error("not remembered as protected after a second")
	}
	h.run(time.Minute)
	if written() {
		t.Error("written again for nothing")
	}
	carol := h.join("carol", 3)
	h.until(20*time.Second, "three", func() bool { return together(alice, bob, carol) })
	h.run(1200 * time.Millisecond)
	if _, sticky := alice.cfg.Book.Sticky(h.now, hallAddress, 9, []trust.Person{{Name: "carol"}}); !sticky || !written() {
		t.Error("who came later is not remembered as protected")
	}
	if _, sticky := alice.cfg.Book.Sticky(h.now, hallAddress, 3, nil); !sticky {
		t.Error("the channel is not remembered")
	}
}

// countOf counts the outputs of a kind and returns the last.
func countOf[T e2ee.Output](g *guest) (n int, last T) {
	for _, out := range g.out {
		if o, ok := out.(T); ok {
			n, last = n+1, o
		}
	}
	return n, last
}

// The hybrid suite, once; and a later run that meets only the classic one.
func TestGroupsSuites(t *testing.T) {
	h := newHall(t, "E")
	alice, bob := h.groups("alice", e2ee.PolicyPrefer), h.groups("bob", e2ee.PolicyPrefer)
	alice.cfg.Suites, bob.cfg.Suites = nil, nil
	h.enter(alice, 3)
	h.enter(bob, 3)
	h.until(20*time.Second, "together", func() bool { return together(alice, bob) })
	h.run(2 * time.Second)
	if err := alice.say("x"); err != nil {
		t.Fatal(err)
	}
	h.run(time.Second)
	if len(bob.heardOf(alice.session)) != 1 {
		t.Errorf("%v", bob.errs)
	}
	h.leave(alice, false)
	h.leave(bob, false)
	carol := h.join("carol", 5) // with the classic suite alone
	eve := h.join("eve", 5)
	h.until(20*time.Second, "together", func() bool { return together(carol, eve) })
	alice.took()
	h.enter(alice, 5)
	h.until(20*time.Second, "asked", func() bool { return alice.Question() == e2ee.QuestionWorse })
	alice.closed()
	h.move(carol, 6)
	h.move(eve, 6)
	h.until(30*time.Second, "together elsewhere", func() bool { return together(carol, eve) && carol.channel == 6 })
	h.move(alice, 6)
	h.until(20*time.Second, "asked again", func() bool { return alice.channel == 6 && alice.Question() == e2ee.QuestionWorse })
	alice.closed()
	alice.handle(e2ee.UserProtect{})
	h.until(20*time.Second, "together", func() bool { return together(alice, carol, eve) })
}
