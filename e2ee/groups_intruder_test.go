package e2ee_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/trust"
)

func anyKey() [32]byte { return [32]byte(identity.New().Public()) }

// ghostly is a direct group that eve made with alice, in whose tree another leaf
// of eve's claims bob's session: what audience makes of her Welcome.
func ghostly(eve, bob uint32, own audience.Leaf, first, second [32]byte) audience.EpochBegan {
	return audience.EpochBegan{
		Group: envelope.GroupID{0x99, 9}, Audience: envelope.AudienceDirect, Anchor: envelope.NoChannel, Place: -1,
		Epoch: 1, Own: 1, Joined: true, Committer: eve, Claimed: []uint32{eve, bob},
		Leaves: []audience.Leaf{
			{Index: 0, Session: eve, Who: audience.Who{Identity: first}},
			own,
			{Index: 2, Session: bob, Who: audience.Who{Identity: second}},
		},
	}
}

// A stranger makes a direct group with us and with leaves that claim the sessions
// of others. That is the stranger's word for who they are: it is no reason to close
// the channel's gate, and nobody is remembered by it.
func TestGroupsGhostIdentity(t *testing.T) {
	h, list := meet(t, "E", "alice", "bob")
	alice, bob := list[0], list[1]
	h.bare("eve", 9)
	h.bare("dora", 9)
	h.run(4 * time.Second)
	eve, dora := h.guests[2].session, h.guests[3].session
	one, two := anyKey(), anyKey()
	own := audience.Leaf{Index: 1, Session: alice.session}

	alice.took()
	alice.Began(h.now, ghostly(eve, bob.session, own, one, two))
	alice.handle(nil)
	if alice.State() != e2ee.StatePriv {
		t.Errorf("a stranger's word for who bob is led to %v, %v", alice.State(), alice.Question())
	}
	g := ghostly(eve, dora, own, one, two)
	g.Group[1] = 10
	alice.Began(h.now, g)
	alice.handle(nil)
	p := trust.Person{Identity: two, Name: "dora", CertHash: certOf("dora")}
	if j := alice.cfg.Book.Judge(hallAddress, p); j.Verdict == trust.Known {
		t.Errorf("a stranger's word for who dora is was remembered: %v", j.Verdict)
	}
	// Who does mean to write to them is asked.
	alice.handle(e2ee.OpenDirect{Token: 3, Sessions: []uint32{bob.session}})
	h.run(2 * time.Second)
	if alice.State() != e2ee.StatePriv {
		t.Errorf("writing to bob alone asks about eve's group: %v", alice.State())
	}
}

// MS34: a leaf of somebody who has not shown that it is theirs is the word of who
// added it, or of a server that played an old Hello again. They count as without
// Sotto until they show themselves.
func TestGroupsClaimedLeaf(t *testing.T) {
	for claimed, script := range map[bool]string{true: "line deaf", false: ""} {
		h, list := meet(t, "E", "alice", "bob")
		alice := list[0]
		mallory := h.bare("mallory", 3)
		h.run(time.Second)
		alice.took()
		b := alice.HomeEpoch()
		b.Epoch++
		b.Leaves = append(slices.Clone(b.Leaves), audience.Leaf{Index: 9, Session: mallory.session, Who: audience.Who{Identity: anyKey()}})
		for i := range b.Leaves {
			b.Leaves[i].BaseKey = anyKey()
		}
		if claimed {
			b.Claimed = []uint32{mallory.session}
		}
		alice.BeginEpoch(h.now, b)
		h.run(4 * time.Second)
		alice.want(fmt.Sprintf("claimed is %v", claimed), script)
	}
}

// A crowd without Sotto that a server shows at once costs as much as it is large, not
// its square: that was minutes in which nothing was said or heard.
func TestGroupsCrowd(t *testing.T) {
	h := newHall(t, "E")
	alice := h.join("alice", 3)
	h.run(time.Second)
	w := e2ee.World{Channel: 3, Version: 5}
	p := audience.Place{Channel: 3, Closure: []uint32{3}}
	for s := uint32(100); s < 4000; s++ {
		p.Hearers = append(p.Hearers, audience.Hearer{Session: s})
		w.Peers = append(w.Peers, e2ee.Peer{Session: s, Channel: 3, Name: fmt.Sprint("number ", s), Hears: true, CertHash: certOf(fmt.Sprint(s))})
	}
	w.Places = []audience.Place{p}
	alice.Handle(h.now, w)
	began := time.Now()
	alice.Handle(h.now.Add(4*time.Second), nil)
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("a crowd of %d takes %v", len(w.Peers), d)
	}
	if alice.Leave() == e2ee.LeaveCiphertext {
		t.Error("protected among strangers")
	}
}
