package audience_test

import (
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

func (p *person) homeHealth() audience.Health {
	e, _ := p.home()
	return p.health[e.Group]
}

// A present member without proof of our epoch for 25 s (75 s in N) is unconfirmed,
// and a frame that opens is a proof.
func TestUnconfirmed(t *testing.T) {
	for name, window := range map[string]time.Duration{"E": 25 * time.Second, "N": 75 * time.Second} {
		t.Run(name, func(t *testing.T) {
			h, all := meeting(t, 100, regimes[name], mls.InsecureSuite(t), 3)
			silent := all[1].session
			var last time.Time // that a Beacon of it went out
			cut := false
			h.meddle = func(from, _ uint32, o envelope.Object) []time.Duration {
				switch {
				case from == silent && cut:
					return nil
				case from == silent && o.Kind == envelope.KindBeacon:
					last = h.now
				}
				return []time.Duration{h.delay()}
			}
			h.run(80 * time.Second)
			cut = true
			if n := all[0].homeHealth().Unconfirmed; len(n) > 0 {
				t.Fatalf("unconfirmed %v", n)
			}
			h.until(window+time.Second, "unconfirmed", func() bool { return slices.Equal(all[0].homeHealth().Unconfirmed, []uint32{silent}) })
			if d := h.now.Sub(last); last.IsZero() || d < window || d > window+time.Second {
				t.Errorf("%v after its last Beacon", d)
			}
			h.run(2 * time.Minute)
			if !together(all...) {
				t.Error("it was removed")
			}
			e, _ := all[0].home()
			i := slices.IndexFunc(e.Leaves, func(l audience.Leaf) bool { return l.Session == silent })
			all[0].handle(audience.Proof{Group: e.Group, Epoch: e.Epoch - 1, Leaf: e.Leaves[i].Index})
			if len(all[0].homeHealth().Unconfirmed) != 1 {
				t.Error("a frame of a former epoch proves nothing")
			}
			all[0].handle(audience.Proof{Group: e.Group, Epoch: e.Epoch, Leaf: e.Leaves[i].Index})
			if len(all[0].homeHealth().Unconfirmed) != 0 {
				t.Error("a frame proves nothing")
			}
		})
	}
}

// Somebody is gone, and its Remove does not get through: after 10 s it is overdue.
func TestOverdue(t *testing.T) {
	h, all := meeting(t, 101, audience.RegimeEcho, mls.InsecureSuite(t), 3)
	h.run(20 * time.Second)
	h.meddle = func(_, _ uint32, o envelope.Object) []time.Duration {
		if isCommit(o) {
			return nil
		}
		return []time.Duration{h.delay()}
	}
	h.echo = func(_ *person, o envelope.Object) (time.Duration, bool) { return h.delay(), !isCommit(o) }
	gone := all[2].session
	h.leave(all[2], true)
	h.run(5 * time.Second)
	if x := all[0].homeHealth(); !slices.Equal(x.Leaving, []uint32{gone}) || len(x.Overdue) > 0 {
		t.Errorf("%+v", x)
	}
	h.run(6 * time.Second)
	if x := all[0].homeHealth(); !slices.Equal(x.Overdue, []uint32{gone}) || len(x.Leaving) > 0 {
		t.Errorf("%+v", x)
	}
	h.meddle, h.echo = nil, nil
	h.until(10*time.Second, "out", func() bool { return together(all[:2]...) })
	if x := all[0].homeHealth(); len(x.Overdue)+len(x.Leaving) > 0 {
		t.Errorf("%+v", x)
	}
}

// A member that sees another server certificate is named.
func TestOtherServer(t *testing.T) {
	h := newHall(t, 102, audience.RegimeEcho, mls.InsecureSuite(t))
	alice, bob := h.arrive(3), h.newPerson(3)
	bob.server = [32]byte{9}
	h.connect(bob)
	h.until(10*time.Second, "together", func() bool { return together(alice, bob) })
	h.run(time.Second)
	if x := alice.homeHealth(); !slices.Equal(x.OtherServer, []uint32{bob.session}) {
		t.Errorf("%+v", x)
	}
	if x := bob.homeHealth(); !slices.Equal(x.OtherServer, []uint32{alice.session}) {
		t.Errorf("%+v", x)
	}
}

// committers counts who has committed.
func committers(history []audience.EpochBegan, from time.Time) map[uint32]int {
	n := map[uint32]int{}
	for _, e := range history {
		if e.Switch.After(from) {
			n[e.Committer]++
		}
	}
	return n
}

// Every member renews its own leaf, each 15 minutes or so, and not two within a
// minute.
func TestRenewal(t *testing.T) {
	h, all := meeting(t, 103, audience.RegimeEcho, mls.InsecureSuite(t), 4)
	h.run(20 * time.Second)
	from := h.now
	h.run(55 * time.Minute)
	n := committers(all[0].history, from)
	for _, p := range all {
		if n[p.session] < 3 || n[p.session] > 4 {
			t.Errorf("%s committed %d times", p.name, n[p.session])
		}
	}
	var before time.Time
	for _, e := range all[0].history {
		if e.Switch.After(from) {
			if !before.IsZero() && e.Switch.Sub(before) < time.Minute {
				t.Errorf("Updates %v apart", e.Switch.Sub(before))
			}
			before = e.Switch
		}
	}
	if !together(all...) {
		t.Error("apart")
	}
}

// Who was asleep renews at once, a minute after another Commit with path at the
// earliest, and only once.
func TestRenew(t *testing.T) {
	h, all := meeting(t, 113, audience.RegimeEcho, mls.InsecureSuite(t), 3)
	h.run(2 * time.Minute)
	from := h.now
	all[1].handle(audience.Renew{})
	h.run(time.Minute)
	if n := committers(all[0].history, from); n[all[1].session] != 1 || len(n) != 1 {
		t.Errorf("within a minute there committed %v", n)
	}
	from = h.now
	all[1].handle(audience.Renew{})
	all[2].handle(audience.Renew{})
	h.run(3 * time.Minute)
	if n := committers(all[0].history, from); n[all[1].session] != 1 || n[all[2].session] != 1 {
		t.Errorf("after both were asleep there committed %v", n)
	}
	if !together(all...) {
		t.Error("apart")
	}
}

// After path-less Adds somebody commits an Update, 5 to 10 s later, once.
func TestUpdateAfterBurst(t *testing.T) {
	h, all := meeting(t, 104, audience.RegimeEcho, mls.InsecureSuite(t), 3)
	h.run(20 * time.Second)
	for range 3 {
		all = append(all, h.arrive(3))
	}
	h.until(10*time.Second, "in", func() bool { return together(all...) })
	e := all[0].epoch()
	h.run(4500 * time.Millisecond)
	if all[0].epoch() != e {
		t.Error("too early")
	}
	h.run(6 * time.Second)
	if all[0].epoch() != e+1 {
		t.Errorf("%d epochs", all[0].epoch()-e)
	}
	h.run(time.Minute)
	if all[0].epoch() != e+1 {
		t.Error("more than one")
	}
}

// Own Updates that never take effect: after three intervals a warning.
func TestRefreshBlocked(t *testing.T) {
	h, all := meeting(t, 105, audience.RegimeEcho, mls.InsecureSuite(t), 2)
	h.run(20 * time.Second)
	h.meddle = func(_, _ uint32, o envelope.Object) []time.Duration {
		if isCommit(o) {
			return nil
		}
		return []time.Duration{h.delay()}
	}
	h.echo = func(_ *person, o envelope.Object) (time.Duration, bool) { return h.delay(), !isCommit(o) }
	h.run(44 * time.Minute)
	if n := all[0].count(audience.NoticeNoRefresh); n != 0 {
		t.Error("too early")
	}
	h.run(2 * time.Minute)
	if n := all[0].count(audience.NoticeNoRefresh); n != 1 {
		t.Errorf("%d warnings", n)
	}
}

// M1: two members that report the same Commit name its author, who is the one whom
// those who took it know.
func TestBlame(t *testing.T) {
	h, all := meeting(t, 106, audience.RegimeEcho, mls.InsecureSuite(t), 4)
	h.run(20 * time.Second)
	x := all[3].turnHostile(t)
	x.commit(x.one(x.add(90, func(_ *envelope.SottoLeaf, p *mls.Profile) { p.Credential.Identity[70] ^= 1 })))
	h.run(time.Second)
	for _, p := range all[:3] {
		if i := slices.IndexFunc(p.notices, func(n audience.Notice) bool {
			return n.Code == audience.NoticeBadCommit && n.Session == all[3].session
		}); i < 0 || p.count(audience.NoticeBlamed) != 1 {
			t.Errorf("%s: %+v", p.name, p.notices)
		}
	}
}

// At most three Commits for each change at 16 members (I10), whoever comes or goes.
func TestNoCommitStorm(t *testing.T) {
	for name, regime := range regimes {
		t.Run(name, func(t *testing.T) {
			h, all := meeting(t, 107, regime, mls.InsecureSuite(t), 16)
			h.run(30 * time.Second)
			for round := range 6 {
				before := commits(all)
				var changed *person
				if round%2 == 0 {
					changed = all[0]
					h.leave(changed, true)
					all = all[1:]
				} else {
					changed = h.arrive(3)
					all = append(all, changed)
				}
				h.until(time.Minute, "settled", func() bool { return together(all...) })
				h.run(30 * time.Second)
				if n := commits(all) - before + int(changed.m.Stats().Commits); n > 3 && round%2 == 1 || n > 3+int(changed.m.Stats().Commits) {
					t.Errorf("round %d: %d Commits", round, n)
				}
			}
		})
	}
}

func commits(list []*person) int {
	n := 0
	for _, p := range list {
		n += int(p.m.Stats().Commits)
	}
	return n
}
