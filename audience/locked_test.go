package audience_test

import (
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// strangeBeacon is what anybody can say: that it is in this group, with another history.
func (h *hall) strangeBeacon(to, from *person, seq uint32, now byte) {
	g, _ := to.home()
	b := envelope.Beacon{Group: g.Group, Suite: uint16(h.suites[0]), Epoch: g.Epoch, Leaf: 77, Seq: seq, Now: [16]byte{now}}
	to.handle(audience.Received{From: from.session, Object: envelope.Object{Kind: envelope.KindBeacon, Body: b.Append(nil)}})
}

// Those whom a locked group keeps out do not lead its members over, however many they
// are and whatever they say of another branch: that counts only if our leaves signed it.
func TestLockedForkByStrangers(t *testing.T) {
	h, all := meeting(t, 304, audience.RegimeEcho, mls.InsecureSuite(t), 2)
	h.run(20 * time.Second)
	all[0].handle(audience.SetLocked{Locked: true})
	h.run(20 * time.Second)
	eves := []*person{h.arrive(3), h.arrive(3), h.arrive(3)}
	h.run(60 * time.Second)
	before, _ := all[0].home()
	for seq := range uint32(20) {
		for _, p := range all {
			for _, e := range eves {
				h.strangeBeacon(p, e, seq+1, 0)
			}
		}
		h.run(5 * time.Second)
	}
	for _, p := range all {
		if e, in := p.home(); !in || e.Group != before.Group || len(e.Leaves) != 2 {
			t.Errorf("%s is with %d others in another group", p.name, len(e.Leaves))
		}
	}
}

// A stranger who says that there is a fork does not hide a true one: of that its
// members are named.
func TestForkBehindNoise(t *testing.T) {
	h, all, _ := fork(t, 43, audience.RegimeEcho, 6, 3)
	eve := h.newPerson(3)
	eve.want = false
	h.connect(eve)
	h.run(time.Second)
	noise := func(seq uint32) {
		for _, p := range all {
			h.strangeBeacon(p, eve, seq, 255)
		}
	}
	noise(1)
	h.run(5 * time.Second)
	h.meddle = nil // the true fork can be seen from now on
	for seq := range uint32(60) {
		h.run(time.Second)
		noise(seq + 2)
	}
	members := 0
	for _, p := range all {
		for _, n := range p.notices {
			if n.Code == audience.NoticeFork && n.Session != eve.session {
				members++
			}
		}
	}
	if members < 3 {
		t.Errorf("%d alarms name a member of the other branch", members)
	}
}

// A server that holds back what members of a locked group say makes nobody alone in
// it: they stay, whoever speaks for a heavier group beside it.
func TestLockedBehindSilence(t *testing.T) {
	h, all := meeting(t, 306, audience.RegimeEcho, mls.InsecureSuite(t), 2)
	h.run(20 * time.Second)
	all[0].handle(audience.SetLocked{Locked: true})
	h.run(20 * time.Second)
	for range 3 {
		h.arrive(3)
	}
	h.run(30 * time.Second)
	before, _ := all[0].home()
	h.meddle = func(from, to uint32, _ envelope.Object) []time.Duration {
		if from != to && (from == all[0].session && to == all[1].session || from == all[1].session && to == all[0].session) {
			return nil
		}
		return []time.Duration{h.delay()}
	}
	h.run(5 * time.Minute)
	for _, p := range all {
		if e, in := p.home(); !in || e.Group != before.Group {
			t.Errorf("%s is in another group, of %d", p.name, len(e.Leaves))
		}
	}
}
