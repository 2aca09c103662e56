package audience_test

import (
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// Who reconnects is replaced: the old leaf and the new one are never members
// together, and the new one has a fresh key.
func TestReconnect(t *testing.T) {
	for name, regime := range regimes {
		t.Run(name, func(t *testing.T) {
			h, all := meeting(t, 5, regime, mls.InsecureSuite(t), 4)
			alice := all[0]
			h.leave(alice, true)
			h.connect(alice)
			h.until(30*time.Second, "back", func() bool { return together(all...) })
			for _, p := range all[1:] {
				for _, e := range p.history {
					n := 0
					for _, l := range e.Leaves {
						if l.Who.Identity == alice.identity {
							n++
						}
					}
					if n > 1 {
						t.Errorf("%s saw alice %d times in epoch %d", p.name, n, e.Epoch)
					}
				}
			}
		})
	}
}

// A Hello whose session is a leaf replaces it in one Commit (§4): a machine that
// lost its state comes back under the same session (I12).
func TestReplacement(t *testing.T) {
	h, all := meeting(t, 6, audience.RegimeEcho, mls.InsecureSuite(t), 3)
	h.run(15 * time.Second)
	alice := all[0]
	before, _ := all[1].home()
	h.restart(alice)
	h.until(30*time.Second, "back", func() bool { return together(all...) })
	after, _ := all[1].home()
	if after.Epoch != before.Epoch+1 || len(after.Removed) != 1 {
		t.Errorf("epochs %d to %d, removed %v", before.Epoch, after.Epoch, after.Removed)
	}
	for _, p := range all[1:] {
		if n := p.count(audience.NoticeRemovedBy); n > 0 {
			t.Errorf("%s was told of a removal", p.name)
		}
	}
}

// Somebody else under a session that is a leaf is not let in for it, as long as
// the server has not shown the old user gone.
func TestNoReplacementByAnother(t *testing.T) {
	h, all := meeting(t, 7, audience.RegimeEcho, mls.InsecureSuite(t), 3)
	h.run(15 * time.Second)
	eve := all[0]
	before, _ := all[1].home()
	eve.identity[0] ^= 1
	h.restart(eve)
	h.run(10 * time.Second)
	for _, p := range all[1:] {
		e, _ := p.home()
		if e.Epoch != before.Epoch || !together2(all[1], all[2]) {
			t.Errorf("%s is in epoch %d with %d members", p.name, e.Epoch, len(e.Leaves))
		}
	}
	// Gone and back under the same number: the old leaf goes, the new one comes.
	number := eve.session
	h.leave(eve, true)
	h.run(100 * time.Millisecond)
	h.nextID = number
	h.connect(eve)
	h.until(30*time.Second, "in", func() bool { return together(all...) })
}

// together2 is together for some of the members.
func together2(a, b *person) bool {
	x, ok := a.home()
	y, too := b.home()
	return ok && too && x.Context == y.Context
}

// A locked group takes nobody new; its members may come back.
func TestLocked(t *testing.T) {
	h, all := meeting(t, 8, audience.RegimeEcho, mls.InsecureSuite(t), 3)
	h.run(15 * time.Second)
	all[1].handle(audience.SetLocked{Locked: true})
	h.until(5*time.Second, "locked", func() bool { e, _ := all[2].home(); return e.Locked })
	h.run(200 * time.Millisecond)
	for _, p := range all {
		i := slices.IndexFunc(p.notices, func(n audience.Notice) bool { return n.Code == audience.NoticeLocked })
		if i < 0 || p.notices[i].By != all[1].session || !p.notices[i].Locked {
			t.Errorf("%s: %+v", p.name, p.notices)
		}
	}
	dave := h.arrive(3)
	h.run(30 * time.Second)
	if e, _ := all[0].home(); len(e.Leaves) != 3 {
		t.Errorf("%d members", len(e.Leaves))
	}
	// Who may not come in has a group of its own, which a member that comes back
	// could not tell from the locked one.
	h.leave(dave, false)
	h.run(time.Second)
	h.restart(all[2])
	h.until(30*time.Second, "a member is back", func() bool { return together(all...) })
	dave = h.arrive(3)
	h.run(10 * time.Second)
	all[0].handle(audience.SetLocked{Locked: false})
	h.until(90*time.Second, "open", func() bool { return together(append(slices.Clone(all), dave)...) })
}

// Who wants into a locked group is told to its members once, also to one that is in
// an open group with the same person, and again when it comes again.
func TestKnocks(t *testing.T) {
	h, all := meeting(t, 8, audience.RegimeEcho, mls.InsecureSuite(t), 2)
	carol := h.arrive(7)
	h.run(10 * time.Second)
	all[0].listens = []uint32{7}
	h.tell()
	h.until(60*time.Second, "listening", func() bool { return len(all[0].groups) == 2 })
	all[1].handle(audience.SetLocked{Locked: true})
	h.until(5*time.Second, "locked", func() bool { e, _ := all[0].home(); return e.Locked })
	eve := h.newPerson(3)
	eve.listens = []uint32{7}
	h.connect(eve)
	h.until(60*time.Second, "in the open one", func() bool { e, ok := carol.home(); return ok && len(e.Leaves) == 3 })
	h.run(time.Minute)
	for _, p := range all {
		if p.count(audience.NoticeNotAdded) != 1 {
			t.Errorf("%s was told %+v", p.name, p.notices)
		}
	}
	if carol.count(audience.NoticeNotAdded) != 0 {
		t.Errorf("carol, whose group is open, was told %+v", carol.notices)
	}
	h.leave(eve, false)
	h.run(2 * time.Second)
	h.connect(eve)
	h.run(20 * time.Second)
	if all[0].count(audience.NoticeNotAdded) != 2 {
		t.Errorf("when it came again: %+v", all[0].notices)
	}
}

// Admission by contact: only who is known gets in.
func TestAdmission(t *testing.T) {
	suite := mls.InsecureSuite(t)
	h, all := meeting(t, 9, audience.RegimeEcho, suite, 2)
	h.run(15 * time.Second)
	x := all[1].turnHostile(t)
	x.commit(x.one(x.policy(func(g *envelope.SottoGroup) { g.Admission = envelope.AdmitKnown })))
	h.run(200 * time.Millisecond)
	// The hostile copy is ahead of its own machine, which comes back.
	h.leave(all[1], true)
	h.until(15*time.Second, "alone", func() bool { return together(all[0]) })
	carol := h.arrive(3)
	h.run(8 * time.Second)
	if _, ok := carol.home(); ok || all[0].count(audience.NoticeNotAdded) == 0 {
		t.Errorf("carol is in; notices %+v", all[0].notices)
	}
	all[0].admits = true
	h.until(40*time.Second, "admitted", func() bool { return together(all[0], carol) })
}

// Moves between channels: who goes is removed, who comes is added.
func TestMove(t *testing.T) {
	for name, regime := range regimes {
		t.Run(name, func(t *testing.T) {
			suite := mls.InsecureSuite(t)
			h, all := meeting(t, 10, regime, suite, 4)
			var others []*person
			for range 2 {
				others = append(others, h.arrive(5))
			}
			h.until(30*time.Second, "two groups", func() bool { return together(others...) && together(all...) })
			h.move(all[0], 5)
			moved := append([]*person{all[0]}, others...)
			h.until(60*time.Second, "moved", func() bool { return together(moved...) && together(all[1:]...) })
			i := slices.IndexFunc(all[0].lost, func(l audience.Lost) bool { return l.Reason == audience.LostLeft })
			if i < 0 {
				t.Errorf("lost %+v", all[0].lost)
			}
		})
	}
}

// Channels that are linked have one group, and when they are unlinked each has its
// own again: who keeps the anchor keeps the group.
func TestLinks(t *testing.T) {
	for name, regime := range regimes {
		t.Run(name, func(t *testing.T) {
			suite := mls.InsecureSuite(t)
			h, all := meeting(t, 11, regime, suite, 3)
			var others []*person
			for range 2 {
				others = append(others, h.arrive(5))
			}
			h.until(60*time.Second, "two groups", func() bool { return together(others...) && together(all...) })
			h.links = [][2]uint32{{3, 5}}
			h.tell()
			h.until(2*time.Minute, "linked", func() bool { return together(append(slices.Clone(all), others...)...) })
			h.links = nil
			h.tell()
			h.until(2*time.Minute, "unlinked", func() bool { return together(others...) && together(all...) })
		})
	}
}

// A listener has a leaf with role 1 in the group of the channel it listens to, and
// its home elsewhere.
func TestListener(t *testing.T) {
	for name, regime := range regimes {
		t.Run(name, func(t *testing.T) {
			h, all := meeting(t, 12, regime, mls.InsecureSuite(t), 2)
			carol, dave := h.newPerson(7), h.newPerson(7)
			h.connect(carol)
			h.connect(dave)
			h.until(60*time.Second, "a home", func() bool { return together(carol, dave) })
			carol.listens = []uint32{3}
			h.tell()
			h.until(60*time.Second, "listening", func() bool {
				e, ok := all[0].home()
				return ok && len(e.Leaves) == 3 && len(carol.groups) == 2
			})
			e, _ := all[0].home()
			for _, l := range e.Leaves {
				if want := l.Session == carol.session; want != (l.Role == envelope.RoleListener) {
					t.Errorf("leaf %+v", l)
				}
			}
			if g := carol.groups[e.Group]; g.Place != 1 || g.Context != e.Context {
				t.Errorf("place %d", g.Place)
			}
			carol.listens = nil
			h.tell()
			h.until(30*time.Second, "no longer", func() bool { return together(all...) && len(carol.groups) == 1 })
			if !together(carol, dave) {
				t.Error("home is lost")
			}
		})
	}
}

// A listener gets the keys of each epoch that comes, as those who sit there do, and of
// none after it has stopped to listen.
func TestListenerFollows(t *testing.T) {
	for name, regime := range regimes {
		t.Run(name, func(t *testing.T) {
			h, all := meeting(t, 16, regime, mls.InsecureSuite(t), 2)
			carol := h.arrive(7)
			carol.listens = []uint32{3}
			h.tell()
			ear := func() bool {
				e, ok := all[0].home()
				mine := carol.groups[e.Group]
				return ok && mine.Context == e.Context && mine.Epoch == e.Epoch && slices.Equal(mine.Leaves, e.Leaves)
			}
			h.until(60*time.Second, "listening", ear)
			epochs := map[uint64]bool{}
			h.epoch = func(p *person, e audience.EpochBegan) {
				if p == carol && e.Place == 1 {
					epochs[e.Epoch] = true
				}
			}
			before, _ := all[0].home()
			for range 4 {
				guest := h.arrive(3)
				h.until(90*time.Second, "a guest", func() bool { _, in := guest.home(); return in && ear() })
				h.leave(guest, true)
				h.until(90*time.Second, "the guest is gone", func() bool {
					e, _ := all[0].home()
					return len(e.Leaves) == 3 && ear()
				})
			}
			after, _ := all[0].home()
			for n := before.Epoch + 1; n <= after.Epoch; n++ {
				if !epochs[n] {
					t.Errorf("the listener never had the keys of epoch %d", n)
				}
			}
			if after.Epoch < before.Epoch+8 {
				t.Errorf("epochs %d to %d", before.Epoch, after.Epoch)
			}
			carol.listens = nil
			h.tell()
			h.until(90*time.Second, "no longer", func() bool { return together(all...) })
			last, _ := all[0].home()
			h.run(time.Minute)
			if e, in := carol.groups[last.Group]; in || epochs[last.Epoch] {
				t.Errorf("the listener of before has the keys of epoch %d, and %v", last.Epoch, e)
			}
		})
	}
}

// A typed secret: only who has it gets in, also as one of several that it tries.
func TestTypedSecret(t *testing.T) {
	for name, c := range map[string]struct {
		secrets []string
		in      bool
	}{
		"right": {[]string{"a"}, true}, "third of three": {[]string{"b", "c", "a"}, true},
		"wrong": {[]string{"b"}, false}, "fifth of five": {[]string{"b", "c", "d", "e", "a"}, false}, "none": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHall(t, 13, audience.RegimeEcho, mls.InsecureSuite(t))
			var all []*person
			for range 2 {
				p := h.newPerson(3)
				p.secrets = [][]byte{[]byte("a")}
				h.connect(p)
				all = append(all, p)
			}
			h.until(time.Minute, "two", func() bool { return together(all...) })
			if e, _ := all[0].home(); !e.PSK {
				t.Error("no secret is part of it")
			}
			carol := h.newPerson(3)
			for _, s := range c.secrets {
				carol.secrets = append(carol.secrets, []byte(s))
			}
			h.connect(carol)
			h.run(10 * time.Second)
			if _, in := carol.home(); in != c.in {
				t.Errorf("in is %v: %+v", in, carol.notices)
			}
			if !c.in {
				sent := h.sent[envelope.KindHello]
				h.run(2 * time.Minute)
				if carol.count(audience.NoticeSecret) != 1 || h.sent[envelope.KindHello] != sent {
					t.Errorf("notices %+v, Hellos %d", carol.notices, h.sent[envelope.KindHello]-sent)
				}
				if !together(all...) {
					t.Errorf("a leaf of carol is left:\n%s", h.state())
				}
			}
		})
	}
}

// Who has a secret does not join a group that has none: whoever came first without
// it would have taken the lock away.
func TestTypedSecretIsNotLeftOut(t *testing.T) {
	h, all := meeting(t, 15, audience.RegimeEcho, mls.InsecureSuite(t), 2)
	if e, _ := all[0].home(); e.PSK {
		t.Fatal("a secret is part of it")
	}
	var late []*person
	for range 2 {
		p := h.newPerson(3)
		p.secrets = [][]byte{[]byte("a")}
		h.connect(p)
		late = append(late, p)
	}
	h.run(10 * time.Second)
	sent := h.sent[envelope.KindHello]
	h.run(2 * time.Minute)
	for _, p := range late {
		if e, in := p.home(); in && !e.PSK {
			t.Errorf("%s is in a group without the secret", p.name)
		}
		if p.count(audience.NoticeSecret) != 1 {
			t.Errorf("%s: %+v", p.name, p.notices)
		}
	}
	if n := h.sent[envelope.KindHello] - sent; n != 0 {
		t.Errorf("%d more Hellos", n)
	}
	if !together(all...) {
		t.Errorf("a leaf is left:\n%s", h.state())
	}
}

// M3: who is removed though the server shows it says Hello again; the others learn
// who did it.
func TestWronglyRemoved(t *testing.T) {
	h, all := meeting(t, 14, audience.RegimeEcho, mls.InsecureSuite(t), 4)
	h.run(15 * time.Second)
	eve := all[3]
	x := eve.turnHostile(t)
	e, _ := eve.home()
	i := slices.IndexFunc(e.Leaves, func(l audience.Leaf) bool { return l.Session == all[0].session })
	x.commit(x.one(mls.Remove{Removed: mls.LeafIndex(e.Leaves[i].Index)}))
	h.run(100 * time.Millisecond)
	h.leave(eve, true) // its own machine knows nothing of it
	if _, in := all[0].home(); in || all[0].count(audience.NoticeRemovedUs) != 1 {
		t.Errorf("alice: %+v", all[0].notices)
	}
	for _, p := range all[1:3] {
		k := slices.IndexFunc(p.notices, func(n audience.Notice) bool { return n.Code == audience.NoticeRemovedBy })
		if k < 0 || p.notices[k].Session != all[0].session || p.notices[k].By != eve.session {
			t.Errorf("%s: %+v", p.name, p.notices)
		}
	}
	d := h.until(10*time.Second, "back", func() bool { return together(all[:3]...) })
	t.Logf("back after %v", d)
}

// Who goes clear says so, and is removed.
func TestGoClear(t *testing.T) {
	for name, regime := range regimes {
		t.Run(name, func(t *testing.T) {
			h, all := meeting(t, 15, regime, mls.InsecureSuite(t), 3)
			h.run(15 * time.Second)
			all[0].want = false
			all[0].handle(audience.Join{Want: false})
			if _, in := all[0].home(); in {
				t.Fatal("still a member")
			}
			h.until(15*time.Second, "out", func() bool { return together(all[1:]...) })
			h.run(time.Minute)
			if !together(all[1:]...) {
				t.Error("changed again")
			}
			all[0].want = true
			all[0].handle(audience.Join{Want: true})
			h.until(time.Minute, "in again", func() bool { return together(all...) })
		})
	}
}

// A crash is noticed when the session is gone; a kick is the same.
func TestCrash(t *testing.T) {
	for name, regime := range regimes {
		t.Run(name, func(t *testing.T) {
			h, all := meeting(t, 16, regime, mls.InsecureSuite(t), 5)
			h.run(20 * time.Second)
			for i := range 3 {
				h.leave(all[i], i%2 == 0)
				d := h.until(15*time.Second, "out", func() bool { return together(all[i+1:]...) })
				t.Logf("out after %v", d)
				if regime != audience.RegimeNoEcho && d > 300*time.Millisecond {
					t.Errorf("out after %v", d)
				}
				// Voice goes over at once after a Remove, and later after an Update.
				e, _ := all[4].home()
				if d := e.Switch.Sub(h.now); d > 0 {
					t.Errorf("voice goes over in %v", d)
				}
				h.run(2 * time.Second)
			}
		})
	}
}

// Two groups of one audience become one: the lighter goes to the heavier, in which
// nobody notices more than an Add.
func TestMerge(t *testing.T) {
	for name, regime := range regimes {
		t.Run(name, func(t *testing.T) {
			suite := mls.InsecureSuite(t)
			h := newHall(t, 17, regime, suite)
			apart := true
			h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
				if apart && from%3 == 0 != (to%3 == 0) {
					return nil
				}
				return []time.Duration{h.delay()}
			}
			var light, heavy []*person
			for i := range 6 {
				p := h.arrive(3)
				if p.session%3 == 0 {
					light = append(light, p)
				} else {
					heavy = append(heavy, p)
				}
				_ = i
			}
			h.until(2*time.Minute, "two groups", func() bool { return together(light...) && together(heavy...) })
			heaviest, _ := heavy[0].home()
			apart = false
			d := h.until(3*time.Minute, "one group", func() bool { return together(append(slices.Clone(light), heavy...)...) })
			t.Logf("one group after %v", d)
			if e, _ := light[0].home(); e.Group != heaviest.Group {
				t.Error("the heavier moved")
			}
			for _, p := range light {
				if s := p.m.Stats(); s.Moves != 1 {
					t.Errorf("%s moved %d times", p.name, s.Moves)
				}
			}
		})
	}
}
