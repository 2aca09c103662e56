package audience_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// A server shows one member only the people of the group that it is not in, time
// after time: it goes over three times in ten minutes and no more.
func TestMovesAreFew(t *testing.T) {
	h, all := twoGroups(t, 150, 7)
	victim := all[0]
	h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
		a, _ := h.people[from].home()
		b, _ := h.people[to].home()
		switch {
		case to == victim.session && o.Kind == envelope.KindBeacon && a.Group == b.Group:
			return nil
		case from != victim.session && to != victim.session && a.Group != b.Group:
			return nil // the two groups stay two
		}
		return []time.Duration{h.delay()}
	}
	h.run(9 * time.Minute)
	if n := victim.m.Stats().Moves; n != 3 {
		t.Errorf("%d moves", n)
	}
	if victim.count(audience.NoticeTwoGroups) == 0 {
		t.Errorf("notices %+v", victim.notices)
	}
}

// Without echoes the evidence for a Commit is a Beacon of the epoch that it begins,
// not one of the same number.
func TestEvidenceOfAnotherCommit(t *testing.T) {
	h, all := meeting(t, 151, audience.RegimeNoEcho, mls.InsecureSuite(t), 3)
	h.run(80 * time.Second)
	alice, bob, carol := all[0], all[1], all[2]
	before := alice.epoch()
	h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
		if isCommit(o) && (from == alice.session || to == alice.session) {
			return nil
		}
		return []time.Duration{h.delay()}
	}
	alice.handle(audience.SetLocked{Locked: true})
	bob.handle(audience.SetLocked{Locked: true})
	if e, _ := alice.home(); !alice.m.Pending(e.Group) {
		t.Fatal("no Commit under way")
	}
	h.until(40*time.Second, "bob's Commit", func() bool { return bob.epoch() > before && carol.epoch() > before })
	h.run(2 * time.Second)
	if alice.epoch() != before {
		t.Errorf("alice is in epoch %d, by a Commit that nobody has", alice.epoch())
	}
	h.meddle = nil
	h.until(80*time.Second, "together", func() bool { return together(all...) && alice.epoch() > before })
}

// A KeyPackage is for one Welcome: who is in has no private key of one any more.
func TestKeyPackagesAreWiped(t *testing.T) {
	h := newHall(t, 152, audience.RegimeEcho, audience.SuiteClassic)
	all := []*person{h.arrive(3), h.arrive(3), h.arrive(3)}
	needles := map[*person]map[string]bool{}
	for _, p := range all {
		needles[p] = map[string]bool{}
	}
	h.before = func(p *person, out audience.Send) {
		if out.Object.Kind == envelope.KindHello {
			dump(reflect.ValueOf(p.m), nil, map[uintptr]bool{}, func(path []string, b []byte) {
				if slices.Contains(path, "offers") && len(b) == 32 && slices.Contains(path, "init") {
					needles[p][string(b)] = true
				}
			})
		}
	}
	h.until(30*time.Second, "together", func() bool { return together(all...) })
	found := 0
	for _, p := range all {
		found += len(needles[p])
		if n, where := remains(p.m, needles[p]); n > 0 || p.m.Sizes()["offers"] > 0 {
			t.Errorf("%s still has %d KeyPackages; %v", p.name, p.m.Sizes()["offers"], where)
		}
	}
	if found < len(all)-1 {
		t.Errorf("the search finds %d private keys", found)
	}
}

// Somebody who comes and goes all the time makes nobody say Hello more often than
// others would listen to.
func TestHellosHaveAPause(t *testing.T) {
	h := newHall(t, 153, audience.RegimeEcho, mls.InsecureSuite(t))
	alice, bob := h.newPerson(3), h.newPerson(3)
	hellos := 0
	h.meddle = func(from, _ uint32, o envelope.Object) []time.Duration {
		if from == bob.session && o.Kind != envelope.KindPresence {
			return nil // only its Presence comes through
		}
		if from == alice.session && o.Kind == envelope.KindHello {
			hellos++
		}
		return []time.Duration{h.delay()}
	}
	h.connect(alice)
	h.connect(bob)
	const seconds = 20
	for i := range 10 * seconds {
		h.move(bob, uint32(3+i%4/3)) // here for 300 ms, away for 100
		h.run(100 * time.Millisecond)
	}
	if hellos < 3 || hellos > seconds+1 {
		t.Errorf("%d Hellos in %d s", hellos, seconds)
	}
}

// Who is behind and gets no answer asks less and less often: those who should add it
// have the rest of their messages to send as well.
func TestBehindAsksLess(t *testing.T) {
	h, all := meeting(t, 154, audience.RegimeNoEcho, mls.InsecureSuite(t), 4)
	h.run(80 * time.Second)
	victim := last(all[:3])
	hellos := 0
	h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
		switch {
		case to == victim.session && (isCommit(o) || o.Kind == envelope.KindWelcome):
			return nil
		case from == victim.session && o.Kind == envelope.KindHello && to != all[3].session:
			hellos++
		}
		return []time.Duration{h.delay()}
	}
	h.leave(all[3], true)
	h.run(10 * time.Second)
	hellos = 0
	h.run(time.Minute)
	if n := hellos / 2; n < 2 || n > 6 { // each goes to two people
		t.Errorf("%d Hellos in a minute", n)
	}
	h.meddle = nil
	h.until(90*time.Second, "together", func() bool { return together(all[:3]...) })
}

// As long as a Welcome is on its way its sender adds nobody else.
func TestAddsWaitForTheWelcome(t *testing.T) {
	h, all := meeting(t, 155, audience.RegimeEcho, mls.InsecureSuite(t), 2)
	h.run(20 * time.Second)
	alice, bob := all[0], all[1]
	if last(all) == alice {
		alice, bob = bob, alice
	}
	h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
		if to != alice.session && o.Kind == envelope.KindHello {
			return nil // alice has to do it
		}
		return []time.Duration{h.delay()}
	}
	h.echo = func(_ *person, o envelope.Object) (time.Duration, bool) {
		return h.delay(), o.Kind != envelope.KindWelcome // the carrier gives it up after a while
	}
	before := alice.epoch()
	carol := h.arrive(3)
	h.until(5*time.Second, "carol is in", func() bool { return alice.epoch() == before+1 })
	dave := h.arrive(3)
	h.run(carrierPatience - time.Second)
	if alice.epoch() != before+1 {
		t.Errorf("%d epochs later, while a Welcome is on its way", alice.epoch()-before)
	}
	h.until(8*time.Second, "all together", func() bool { return together(alice, bob, carol, dave) })
}

// Who was just added again and asks once more is not added a third time while its
// Welcome may be on its way.
func TestNotAddedTwice(t *testing.T) {
	h, all := meeting(t, 156, audience.RegimeEcho, mls.InsecureSuite(t), 4)
	h.run(20 * time.Second)
	victim := last(all[:3])
	h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
		if to == victim.session && (isCommit(o) || o.Kind == envelope.KindWelcome) {
			return nil
		}
		return []time.Duration{h.delay()}
	}
	witness := all[0]
	if witness == victim {
		witness = all[1]
	}
	h.leave(all[3], true)
	adds := -1 // the first Remove is that of who left
	h.epoch = func(p *person, e audience.EpochBegan) {
		if p == witness && len(e.Removed) > 0 {
			adds++ // with a new leaf the old one goes
		}
	}
	h.until(20*time.Second, "added again", func() bool { return adds == 1 })
	h.run(5 * time.Second)
	if adds != 1 {
		t.Errorf("added %d times within 5 s", adds)
	}
	h.meddle = nil
	h.until(time.Minute, "together", func() bool { return together(all[:3]...) })
}
