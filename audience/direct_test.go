package audience_test

import (
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// talk has n people of different channels and opens a group of the first with all.
func talk(t *testing.T, seed uint64, regime audience.Regime, n int) (*hall, []*person, envelope.GroupID) {
	h := newHall(t, seed, regime, mls.InsecureSuite(t))
	var all []*person
	var to []uint32
	for i := range n {
		all = append(all, h.arrive(uint32(3+i)))
		if i > 0 {
			to = append(to, all[i].session)
		}
	}
	h.run(time.Second)
	all[0].handle(audience.OpenDirect{Token: 5, Sessions: to})
	h.until(5*time.Second, "ready", func() bool { return all[0].ready[5] != envelope.GroupID{} })
	id := all[0].ready[5]
	h.until(time.Second, "joined", func() bool { return same(id, all...) })
	return h, all, id
}

// same reports whether these people share an epoch of a group.
func same(id envelope.GroupID, list ...*person) bool {
	for _, p := range list {
		e, ok := p.groups[id]
		if !ok || e.Context != list[0].groups[id].Context || len(e.Leaves) != len(list) || e.Place != -1 || e.Audience != envelope.AudienceDirect {
			return false
		}
	}
	return true
}

func TestDirect(t *testing.T) {
	for name, regime := range regimes {
		t.Run(name, func(t *testing.T) {
			h, all, id := talk(t, 90, regime, 3)
			if err := all[1].say(id, "psst"); err != nil {
				t.Fatal(err)
			}
			h.run(time.Second)
			for _, p := range []*person{all[0], all[2]} {
				if len(p.apps) != 1 || string(p.apps[0].Data.Body) != "psst" || p.apps[0].Session != all[1].session || p.apps[0].Place != -1 {
					t.Errorf("%s: %+v", p.name, p.apps)
				}
			}
			// The same people: the same group, whoever asks.
			all[2].handle(audience.OpenDirect{Token: 7, Sessions: []uint32{all[1].session, all[0].session}})
			if all[2].ready[7] != id {
				t.Error("another group of the same people")
			}
			// Another set: another group.
			all[2].handle(audience.OpenDirect{Token: 8, Sessions: []uint32{all[1].session}})
			h.run(time.Second)
			if g := all[2].ready[8]; g == id || !same(g, all[2], all[1]) {
				t.Error("no group of two")
			}
		})
	}
}

// One without Sotto does not answer in 2 s.
func TestDirectWithout(t *testing.T) {
	h := newHall(t, 91, audience.RegimeEcho, mls.InsecureSuite(t))
	alice, bob := h.arrive(3), h.arrive(4)
	carol := h.newPerson(4)
	h.connect(carol)
	carol.up = false
	h.run(time.Second)
	alice.handle(audience.OpenDirect{Token: 1, Sessions: []uint32{bob.session, carol.session}})
	h.run(1900 * time.Millisecond)
	if len(alice.failed) > 0 {
		t.Error("given up too early")
	}
	h.run(200 * time.Millisecond)
	if !slices.Equal(alice.failed[1], []uint32{carol.session}) {
		t.Errorf("missing %v", alice.failed)
	}
	alice.handle(audience.OpenDirect{Token: 2, Sessions: []uint32{99}})
	if _, failed := alice.failed[2]; !failed {
		t.Error("nobody there, and no failure")
	}
}

// A KeyPackage for one direct group joins no other, and no channel group (§2.6).
func TestDirectKeyPackage(t *testing.T) {
	h, all, _ := talk(t, 92, audience.RegimeEcho, 2)
	var reply envelope.Object
	h.after = func(_ *person, out audience.Send) {
		if out.Object.Kind == envelope.KindKeyPackageReply {
			reply = out.Object
		}
	}
	h.run(30 * time.Second)
	carol := h.arrive(9)
	h.run(time.Second)
	carol.handle(audience.OpenDirect{Token: 3, Sessions: []uint32{all[0].session}})
	h.run(2 * time.Second)
	r, err := envelope.ParseKeyPackageReply(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	kp, err := mls.ParseKeyPackage(r.KeyPackage)
	if err != nil {
		t.Fatal(err)
	}
	h.after = nil
	// A member of another group adds alice by it.
	dave := h.arrive(3) // alice's channel
	h.until(30*time.Second, "dave and alice", func() bool { return together(all[0], dave) })
	h.run(15 * time.Second)
	x := dave.turnHostile(t)
	c, err := x.g.Commit(x.one(mls.Remove{Removed: 1 - x.g.OwnIndex()}, mls.Add{KeyPackage: kp}), h.now)
	if err != nil {
		t.Fatal(err)
	}
	epochs := len(all[0].history)
	for _, w := range c.Welcomes() {
		x.send(envelope.Object{Kind: envelope.KindWelcome, Body: (&mls.Message{Welcome: w}).Marshal()})
	}
	h.run(time.Second)
	if len(all[0].history) != epochs {
		t.Error("alice joined a channel group by a KeyPackage for a direct one")
	}
}

// At most one KeyPackage each ten seconds for one that asks, after a few.
func TestDirectFlood(t *testing.T) {
	h := newHall(t, 93, audience.RegimeEcho, mls.InsecureSuite(t))
	alice, eve := h.arrive(3), h.arrive(4)
	h.run(time.Second)
	n := 0
	h.before = func(p *person, out audience.Send) {
		if p == alice && out.Object.Kind == envelope.KindKeyPackageReply {
			n++
		}
	}
	for range 100 {
		for i := range 10 {
			r := envelope.KeyPackageRequest{Audience: envelope.AudienceDirect, Group: envelope.GroupID{0x80, byte(i)}, Suite: uint16(h.suites[0])}
			r.Nonce[0] = byte(h.rng.IntN(256))
			h.relay(eve, audience.Send{To: []uint32{alice.session}, Object: envelope.Object{Kind: envelope.KindKeyPackageRequest, Body: r.Append(nil)}})
		}
		h.run(200 * time.Millisecond)
	}
	if n < 3 || n > 5 {
		t.Errorf("%d KeyPackages in 20 s", n)
	}
	h.run(time.Minute)
	for range 40 {
		r := envelope.KeyPackageRequest{Audience: envelope.AudienceDirect, Group: envelope.GroupID{0x80, 99}, Suite: uint16(h.suites[0])}
		h.relay(eve, audience.Send{To: []uint32{alice.session}, Object: envelope.Object{Kind: envelope.KindKeyPackageRequest, Body: r.Append(nil)}})
		h.run(10 * time.Second)
	}
	if got := alice.m.Sizes()["offers"]; got > 8+2 {
		t.Errorf("%d KeyPackages are out", got)
	}
}

// Who leaves the server is removed from a direct group; who leaves alone is not
// added again.
func TestDirectLeave(t *testing.T) {
	for name, regime := range regimes {
		t.Run(name, func(t *testing.T) {
			h, all, id := talk(t, 94, regime, 4)
			h.move(all[1], 40) // channels do not matter
			h.run(time.Second)
			if !same(id, all...) {
				t.Error("a move changed a direct group")
			}
			h.leave(all[3], true)
			h.until(20*time.Second, "removed", func() bool { return same(id, all[:3]...) })
		})
	}
}

// Nobody uses it for ten minutes: it is forgotten.
func TestDirectIdle(t *testing.T) {
	h, all, id := talk(t, 95, audience.RegimeEcho, 2)
	h.run(5 * time.Minute)
	all[0].handle(audience.UseDirect{Group: id})
	if err := all[1].say(id, "still here"); err != nil {
		t.Fatal(err)
	}
	h.run(9 * time.Minute)
	if !same(id, all...) {
		t.Error("forgotten too early")
	}
	h.run(2 * time.Minute)
	for _, p := range all {
		if _, ok := p.groups[id]; ok {
			t.Errorf("%s still holds it", p.name)
		}
		if i := slices.IndexFunc(p.lost, func(l audience.Lost) bool { return l.Group == id && l.Reason == audience.LostIdle }); i < 0 {
			// The first to forget it says that it leaves.
			if i := slices.IndexFunc(p.lost, func(l audience.Lost) bool { return l.Group == id }); i < 0 {
				t.Errorf("%s: lost %+v", p.name, p.lost)
			}
		}
	}
}

// An Add to a direct group after its first Commit is invalid (§2.5).
func TestDirectIsClosed(t *testing.T) {
	h, all, id := talk(t, 96, audience.RegimeEcho, 3)
	g, err := all[2].m.Copy(id, lenient)
	if err != nil {
		t.Fatal(err)
	}
	x := &hostile{all[2], t, id, g}
	x.commit(x.one(x.add(90, func(l *envelope.SottoLeaf, _ *mls.Profile) {
		l.Audience, l.Channel = envelope.AudienceDirect, envelope.NoChannel
	})))
	h.run(time.Second)
	for _, p := range all[:2] {
		if p.groups[id].Epoch != 1 || p.m.Stats().Invalid != 1 {
			t.Errorf("%s: epoch %d, %+v", p.name, p.groups[id].Epoch, p.m.Stats())
		}
	}
}
