package audience_test

import (
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// worlds lets objects pass among people of the same world only.
type worlds map[uint32]int

func (w worlds) meddle(h *hall) func(from, to uint32, o envelope.Object) []time.Duration {
	return func(from, to uint32, _ envelope.Object) []time.Duration {
		if w[from] != w[to] {
			return nil
		}
		return []time.Duration{h.delay()}
	}
}

// twoGroups lets n people arrive, every other one in another world, and waits until
// each world has its group.
func twoGroups(t *testing.T, seed uint64, n int) (*hall, []*person) {
	t.Helper()
	h := newHall(t, seed, audience.RegimeEcho, mls.InsecureSuite(t))
	w := worlds{}
	h.meddle = w.meddle(h)
	var all []*person
	for i := range n {
		w[uint32(i+1)] = i % 2
		all = append(all, h.arrive(3))
	}
	h.run(30 * time.Second)
	return h, all
}

// period is between two Beacons, at most.
func period(r audience.Regime) time.Duration {
	if r == audience.RegimeNoEcho {
		return 33 * time.Second
	}
	return 11 * time.Second
}

// fork shows the last `apart` of n people another history from now on, in which
// each world loses somebody else, or locks the group.
func fork(t *testing.T, seed uint64, regime audience.Regime, n, apart int) (*hall, []*person, worlds) {
	h, all := meeting(t, seed, regime, mls.InsecureSuite(t), n)
	h.run(80 * time.Second)
	w := worlds{}
	for _, p := range all[n-apart:] {
		w[p.session] = 1
	}
	h.meddle = w.meddle(h)
	all[0].handle(audience.SetLocked{Locked: true})
	all[n-1].handle(audience.SetLocked{Locked: true})
	h.until(3*time.Minute, "a fork", func() bool { return parted(all) })
	h.run(12 * time.Second) // past the Wants of before
	return h, all, w
}

// parted reports whether two of these people have other keys in the same epoch.
func parted(list []*person) bool {
	for _, a := range list {
		for _, b := range list {
			x, _ := a.home()
			y, _ := b.home()
			if x.Group == y.Group && x.Epoch == y.Epoch && x.Context != y.Context {
				return true
			}
		}
	}
	return false
}

// alarms counts the people who were told of a fork.
func alarms(list []*person) int {
	n := 0
	for _, p := range list {
		n += min(1, p.count(audience.NoticeFork))
	}
	return n
}

// A server shows two worlds different histories. Within two beacon periods after
// they meet again all know, and then the lighter branch comes over to the heavier.
func TestFork(t *testing.T) {
	for name, regime := range regimes {
		for _, apart := range []int{1, 2, 3} {
			if apart == 1 && regime == audience.RegimeNoEcho {
				continue // one alone has no evidence for its Commit, and is behind at most
			}
			t.Run(name+string(rune('0'+apart)), func(t *testing.T) {
				h, all, _ := fork(t, 40+uint64(apart), regime, 6, apart)
				heavy, _ := all[0].home()
				for _, p := range all {
					if p.count(audience.NoticeFork) > 0 {
						t.Fatalf("%s knows too early", p.name)
					}
				}
				h.meddle = nil
				d := h.until(2*period(regime), "alarm in both worlds", func() bool {
					one, other := alarms(all[:6-apart]), alarms(all[6-apart:])
					return one > 0 && other > 0 || one+other > 0 && together(all...)
				})
				t.Logf("alarm after %v", d)
				d = h.until(3*time.Minute, "healed", func() bool { return together(all...) })
				t.Logf("healed after %v", d)
				e, _ := all[0].home()
				if e.Group != heavy.Group {
					t.Error("another group")
				}
				if apart < 3 && slices.ContainsFunc(all[0].lost, func(l audience.Lost) bool { return true }) {
					t.Error("the heavier branch moved")
				}
				h.run(2 * period(regime))
				for _, p := range all {
					if forks, healed := p.count(audience.NoticeFork), p.count(audience.NoticeHealed); forks != healed {
						t.Errorf("%s was told %d times of a fork, and %d times of its end", p.name, forks, healed)
					}
				}
				for _, p := range []*person{all[0], all[5]} {
					for _, x := range p.health {
						if x.Fork {
							t.Errorf("%s still sees a fork", p.name)
						}
					}
				}
			})
		}
	}
}

// Three worlds, and in each people come whom the others never saw.
func TestForkGrown(t *testing.T) {
	h, all, w := fork(t, 50, audience.RegimeEcho, 6, 2)
	w[all[2].session], w[all[3].session] = 2, 2
	for i := range 3 {
		p := h.newPerson(3)
		w[h.nextID] = i
		h.connect(p)
		all = append(all, p)
	}
	all[0].handle(audience.SetLocked{Locked: false})
	all[5].handle(audience.SetLocked{Locked: false})
	h.run(2 * time.Minute)
	h.meddle = nil
	d := h.until(3*time.Minute, "healed", func() bool { return together(all...) })
	t.Logf("healed after %v", d)
}

// While forked the gate is told: the group has a fork, and who is elsewhere is
// unconfirmed.
func TestForkHealth(t *testing.T) {
	h, all, w := fork(t, 52, audience.RegimeEcho, 4, 2)
	// Beacons pass, nothing else: nobody can move.
	h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
		if w[from] != w[to] && o.Kind != envelope.KindBeacon {
			return nil
		}
		return []time.Duration{h.delay()}
	}
	h.run(2 * period(audience.RegimeEcho))
	for i, p := range all {
		e, _ := p.home()
		x := p.health[e.Group]
		others := []uint32{all[2].session, all[3].session}
		if i >= 2 {
			others = []uint32{all[0].session, all[1].session}
		}
		if !x.Fork || !slices.Equal(slices.Sorted(slices.Values(x.Unconfirmed)), others) {
			t.Errorf("%s: %+v", p.name, x)
		}
	}
}

// The weight rule under a server that shows everybody other Beacons (the last open
// point of the specification): it can keep people apart, and no more. Nobody moves
// more than three times in ten minutes, nobody is without keys for long, all alarms stand while it goes on, and when it ends all come together.
func TestWeightLies(t *testing.T) {
	for seed := range uint64(12) {
		h, all := twoGroups(t, 60+seed, 8)
		// From now on Beacons pass or not as the server likes, other for each, and
		// change every second; all else passes.
		shown := map[[2]uint32]bool{}
		var flip func()
		flip = func() {
			for _, a := range all {
				for _, b := range all {
					shown[[2]uint32{a.session, b.session}] = h.rng.IntN(2) == 0
				}
			}
			h.at(time.Second, flip)
		}
		flip()
		h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
			if o.Kind == envelope.KindBeacon && !shown[[2]uint32{from, to}] {
				return nil
			}
			return []time.Duration{h.delay()}
		}
		for range 10 {
			h.run(time.Minute)
			for _, p := range all {
				// Who never seems to follow is removed, and comes back at once.
				h.until(15*time.Second, p.name+" has keys", func() bool { _, in := p.home(); return in })
			}
		}
		for _, p := range all {
			if n := p.m.Stats().Moves; n > 3 {
				t.Errorf("seed %d: %s moved %d times", seed, p.name, n)
			}
		}
		h.meddle = nil
		h.until(11*time.Minute, "all together", func() bool { return together(all...) })
	}
}

// The strongest lie: two groups of equal size, each of whose members sees only the
// Beacons of the other group that make it the heavier. Both sides want to move, and
// swap places at most three times.
func TestBothMove(t *testing.T) {
	h, all := twoGroups(t, 80, 6)
	h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
		a, _ := h.people[from].home()
		b, _ := h.people[to].home()
		if o.Kind == envelope.KindBeacon && a.Group == b.Group {
			return nil // nobody sees its own group's people
		}
		return []time.Duration{h.delay()}
	}
	h.run(9 * time.Minute)
	confirmed := 0
	for _, p := range all {
		e, in := p.home()
		if p.m.Stats().Moves > 3 {
			t.Errorf("%s: %d moves", p.name, p.m.Stats().Moves)
		}
		if x := p.health[e.Group]; in && len(e.Leaves) > 1 && len(x.Unconfirmed) == 0 {
			confirmed++ // a Commit of the last seconds is a proof as well
		}
	}
	if confirmed == len(all) {
		t.Error("everybody takes its group for confirmed, though nobody sees a Beacon of it")
	}
	h.meddle = nil
	d := h.until(15*time.Minute, "all together", func() bool { return together(all...) })
	t.Logf("together %v after the server is fair", d)
}

// Somebody who is removed while there is a fork is told of its end when back.
func TestForkEndsForWhoIsRemoved(t *testing.T) {
	h, all := meeting(t, 140, audience.RegimeEcho, mls.InsecureSuite(t), 4)
	h.run(80 * time.Second)
	alice, carol := all[1], all[3]
	// Carol is kept back and goes on by herself; only alice sees it.
	w := worlds{carol.session: 1}
	mute := false
	h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
		if w[from] != w[to] && (from != carol.session || to != alice.session || o.Kind != envelope.KindBeacon) || mute && from == alice.session {
			return nil
		}
		return []time.Duration{h.delay()}
	}
	all[0].handle(audience.SetLocked{Locked: true})
	carol.handle(audience.SetLocked{Locked: true})
	h.until(2*time.Minute, "alice is told", func() bool { return alice.count(audience.NoticeFork) == 1 })
	// The others hear nothing of her for so long that they remove her.
	mute = true
	h.until(5*time.Minute, "alice is removed", func() bool { return alice.count(audience.NoticeRemovedUs) == 1 })
	if alice.count(audience.NoticeHealed) != 0 {
		t.Fatal("it was over before")
	}
	all[0].handle(audience.SetLocked{})
	carol.handle(audience.SetLocked{})
	h.meddle = nil
	h.until(3*time.Minute, "all together", func() bool { return together(all...) })
	h.run(30 * time.Second)
	for _, p := range all {
		if forks, healed := p.count(audience.NoticeFork), p.count(audience.NoticeHealed); forks != healed {
			t.Errorf("%s was told %d times of a fork, and %d times of its end", p.name, forks, healed)
		}
	}
}
