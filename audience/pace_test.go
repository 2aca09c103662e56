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
	h := newHall(t, 150, audience.RegimeEcho, mls.InsecureSuite(t))
	w := worlds{}
	h.meddle = w.meddle(h)
	var all []*person
	for i := range 7 {
		w[uint32(i+1)] = i % 2
		all = append(all, h.arrive(3))
	}
	h.run(30 * time.Second)
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
