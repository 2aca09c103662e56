package audience_test

import (
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/identity"
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
	// Each has removed the other, and lets nobody in who is not a member: they unlock.
	h.meddle = nil
	h.run(time.Minute)
	for _, p := range all {
		p.handle(audience.SetLocked{})
	}
	h.until(5*time.Minute, "together again", func() bool { return len(all[0].groups) > 0 && together2(all[0], all[1]) })
}

// Who heard nothing of a locked group for a while, and so was alone in it, stays there,
// and comes back to the others by unlocking.
func TestLockedAfterDeafness(t *testing.T) {
	h, all := meeting(t, 307, audience.RegimeEcho, mls.InsecureSuite(t), 3)
	h.run(20 * time.Second)
	all[0].handle(audience.SetLocked{Locked: true})
	h.run(20 * time.Second)
	before, _ := all[0].home()
	h.meddle = func(from, to uint32, _ envelope.Object) []time.Duration {
		if to == all[0].session && from != to {
			return nil
		}
		return []time.Duration{h.delay()}
	}
	h.until(5*time.Minute, "alone", func() bool { e, _ := all[0].home(); return len(e.Leaves) == 1 })
	h.meddle = nil
	h.run(2 * time.Minute)
	if e, in := all[0].home(); !in || e.Group != before.Group || !e.Locked {
		t.Fatalf("in %x, locked: %v", e.Group[:4], e.Locked)
	}
	all[0].handle(audience.SetLocked{})
	h.until(5*time.Minute, "together again", func() bool { return together(all...) })
}

// Who was a member and went before the group was locked leads nobody out of it, though
// her former leaf's signature is still known: neither two of them, nor one where the
// server has silenced the others.
func TestLockedForkByFormerMembers(t *testing.T) {
	for name, silence := range map[string]bool{"two": false, "one and silence": true} {
		t.Run(name, func(t *testing.T) {
			h, all := meeting(t, 309, audience.RegimeEcho, mls.InsecureSuite(t), 4)
			alice, bob, former := all[0], all[1], all[2:]
			h.run(20 * time.Second)
			before, _ := alice.home()
			leaves := map[uint32]uint32{}
			for _, l := range before.Leaves {
				leaves[l.Session] = l.Index
			}
			var keys []mls.Profile
			for _, p := range former {
				profile, err := p.m.Profile(h.suites[0], envelope.SottoLeaf{Server: server, Session: p.session, Audience: envelope.AudienceChannel, Channel: 3})
				if err != nil {
					t.Fatal(err)
				}
				keys = append(keys, profile)
				h.move(p, 4)
			}
			h.until(30*time.Second, "they are removed", func() bool { return together(alice, bob) })
			alice.handle(audience.SetLocked{Locked: true})
			h.until(5*time.Second, "locked", func() bool { e, _ := bob.home(); return e.Locked })
			h.run(5 * time.Second)
			if silence {
				former = former[:1]
			}
			for _, p := range former {
				p.up = false // by hand from now on
				h.move(p, 3)
			}
			h.run(30 * time.Second)
			asked := 0
			h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
				if o.Kind == envelope.KindHello && from == alice.session {
					asked++
				}
				if silence && from+to == alice.session+bob.session && from != to {
					return nil
				}
				return []time.Duration{h.delay()}
			}
			for seq := range uint32(90) {
				cur, in := alice.home()
				if !in || cur.Group != before.Group || !cur.Locked {
					t.Fatal("alice is not in her locked group")
				}
				for i, p := range former {
					b := envelope.Beacon{Group: cur.Group, Suite: uint16(h.suites[0]), Epoch: cur.Epoch, Leaf: leaves[p.session], Seq: 1<<30 + seq}
					s, err := keys[i].SignatureKey.SignOutside(identity.SignContent(identity.LabelBeacon, b.SignedContent()))
					if err != nil {
						t.Fatal(err)
					}
					b.Signature = [envelope.SignatureLen]byte(s)
					alice.handle(audience.Received{From: p.session, Object: envelope.Object{Kind: envelope.KindBeacon, Body: b.Append(nil)}})
				}
				h.run(2 * time.Second)
			}
			if asked != 0 {
				t.Errorf("alice asked %d times to be let in elsewhere", asked)
			}
			if alice.count(audience.NoticeFork) == 0 {
				t.Error("nothing is said of the other branch")
			}
		})
	}
}
