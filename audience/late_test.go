package audience_test

import (
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// lateBeacon lets somebody join a group of three, and returns the last Beacon that
// bob sent before the Commit which added the newcomer reached him: one that names no
// epoch that the newcomer was in. Bob's later ones do not reach it.
func lateBeacon(t *testing.T, seed uint64, cut bool) (h *hall, bob, dora *person, late envelope.Object) {
	t.Helper()
	h, all := meeting(t, seed, audience.RegimeEcho, mls.InsecureSuite(t), 3)
	h.run(30 * time.Second)
	bob = all[2]
	e, _ := bob.home()
	joins := false
	h.before = func(p *person, out audience.Send) {
		if p != bob || out.Object.Kind != envelope.KindBeacon {
			return
		}
		if b, err := envelope.ParseBeacon(out.Object.Body); err == nil && b.Epoch == e.Epoch {
			late = out.Object
		}
	}
	h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
		if joins && (from == bob.session && o.Kind == envelope.KindBeacon || cut && to == bob.session) {
			return nil
		}
		return []time.Duration{h.delay()}
	}
	h.until(20*time.Second, "a Beacon of bob's", func() bool { return late.Kind != 0 })
	joins = true
	dora = h.arrive(3)
	h.until(20*time.Second, "dora is in", func() bool { _, in := dora.home(); return in })
	return h, bob, dora, late
}

// A Beacon that a member sent before it saw the Commit which adds somebody can reach
// the newcomer after its Welcome: from a member with a slower line, or as the Welcome
// goes before it in the sender's queue. That is no fork, and nobody is alarmed.
func TestLateBeacon(t *testing.T) {
	for seed := range uint64(4) {
		h, bob, dora, late := lateBeacon(t, 400+seed, false)
		stale := dora.m.Stats().Unverified
		dora.handle(audience.Received{From: bob.session, Object: late})
		if dora.m.Stats().Unverified != stale {
			t.Fatal("the Beacon is nobody's")
		}
		h.meddle = nil
		h.run(time.Minute)
		for _, s := range h.sessions() {
			if p := h.people[s]; alarms([]*person{p}) > 0 || p.m.Stats().Forks > 0 {
				t.Errorf("%s is told of a fork", p.name)
			}
		}
	}
}

// Who goes on saying so is on another history, and that is an alarm within two
// Beacons: on both sides, though neither names an epoch of the other.
func TestLateBeaconStays(t *testing.T) {
	h, bob, dora, late := lateBeacon(t, 410, true)
	dora.handle(audience.Received{From: bob.session, Object: late})
	if alarms([]*person{dora}) != 0 {
		t.Error("an alarm at once")
	}
	joined := h.now
	h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
		if to == bob.session && o.Kind != envelope.KindBeacon {
			return nil // bob is kept where he is, and only sees that others are elsewhere
		}
		return []time.Duration{h.delay()}
	}
	h.until(2*period(h.regime), "dora is told", func() bool {
		return slices.ContainsFunc(dora.notices, func(n audience.Notice) bool { return n.Code == audience.NoticeFork && n.Session == bob.session })
	})
	t.Logf("dora is told after %v", h.now.Sub(joined))
	h.until(2*period(h.regime)-h.now.Sub(joined), "bob is told", func() bool { return alarms([]*person{bob}) > 0 || bob.m.Stats().Forks > 0 })
}

// Where nothing is lost and each line keeps its order nobody is told of a fork that is
// none, however slow some lines are at times, whoever comes and goes. Real ones there
// are, and they are rare: a newcomer that a Commit reached before its Welcome, with a
// need of its own (§6.5).
func TestHonestNoFork(t *testing.T) {
	runs := uint64(100)
	if testing.Short() {
		runs = 40
	}
	epochs, real := 0, 0
	for seed := range runs {
		n, forked := honest(t, 500+seed)
		epochs += n
		if forked {
			real++
		}
	}
	t.Logf("%d epochs, %d of %d runs with a real fork", epochs, real, runs)
	if real*10 > int(runs) {
		t.Errorf("%d of %d runs had a fork", real, runs)
	}
}

// honest plays one run on an honest server, and reports the epochs that began, and
// whether there was a fork; from then on it does not look.
func honest(t *testing.T, seed uint64) (epochs int, forked bool) {
	t.Helper()
	regime := []audience.Regime{audience.RegimeEcho, audience.RegimeTextEcho}[seed%2]
	h := newHall(t, seed, regime, mls.InsecureSuite(t))
	h.delay = func() time.Duration {
		if h.rng.IntN(10) == 0 {
			return time.Duration(h.rng.IntN(700)) * time.Millisecond
		}
		return time.Duration(10+h.rng.IntN(30)) * time.Millisecond
	}
	type epoch struct {
		group envelope.GroupID
		n     uint64
	}
	keys := map[epoch][32]byte{}
	check := func() {
		for _, s := range h.sessions() {
			if p := h.people[s]; !forked && p.m.Stats().Forks > 0 {
				t.Fatalf("seed %d: %s is told of a fork that is none, before %v\n%s", seed, p.name, h.now.Sub(start), h.state())
			}
		}
	}
	h.epoch = func(_ *person, e audience.EpochBegan) {
		check() // an alarm before this epoch is not about it
		at := epoch{e.Group, e.Epoch}
		if known, ok := keys[at]; ok && known != e.Context {
			forked = true
		}
		keys[at] = e.Context
	}
	for range 3 {
		h.arrive(3)
	}
	for range 60 {
		h.run(time.Duration(h.rng.IntN(4000)) * time.Millisecond)
		check()
		list := h.sessions()
		p := h.people[list[h.rng.IntN(len(list))]]
		switch n := h.rng.IntN(10); {
		case n < 4 && len(list) < 10:
			h.arrive(3)
		case n < 6 && len(list) > 3:
			h.leave(p, n == 5)
		case n < 8:
			p.want = !p.want
			p.handle(audience.Join{Want: p.want})
		default:
			h.move(p, uint32(3+h.rng.IntN(2)))
		}
	}
	h.run(30 * time.Second)
	check()
	return len(keys), forked
}

// Somebody who misses a Commit sees the Beacon of whom it added, which names no epoch
// that the two share. That is to be behind, and no fork: it asks, and follows.
func TestMissedAdd(t *testing.T) {
	for seed := range uint64(4) {
		h, all := meeting(t, 430+seed, audience.RegimeEcho, mls.InsecureSuite(t), 3)
		h.run(30 * time.Second)
		bob := all[2]
		before, _ := bob.home()
		shown, missing := false, true
		h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
			switch {
			case missing && to == bob.session && (o.Kind == envelope.KindMLSMessage || o.Kind == envelope.KindRef || o.Kind == envelope.KindHello):
				return nil
			case to == bob.session && o.Kind == envelope.KindBeacon && h.people[from] != nil && !slices.Contains(all, h.people[from]):
				if e, _ := bob.home(); !shown && e.Epoch != before.Epoch {
					t.Error("bob has the Commit")
				}
				shown, missing = true, false
			case missing && to == bob.session && o.Kind == envelope.KindBeacon:
				return nil // of those who would tell him first
			}
			return []time.Duration{h.delay()}
		}
		dora := h.arrive(3)
		h.until(20*time.Second, "dora's Beacon is shown to bob", func() bool { return shown })
		h.until(20*time.Second, "together", func() bool { return together(append(all, dora)...) })
		if n := alarms(append(all, dora)); n > 0 || bob.m.Stats().Forks > 0 {
			t.Errorf("seed %d: %d alarms, bob counts %d forks", seed, n, bob.m.Stats().Forks)
		}
	}
}
