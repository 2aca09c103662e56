package audience_test

import (
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// validity cases: one for each clause of Sotto protocol §2.5, as a Commit that RFC
// 9420 allows. bad ones are refused by all, the others take effect.
var validity = []struct {
	name string
	bad  bool
	psk  bool // in a group that requires a typed secret
	lock bool // in a locked group
	make func(x *hostile) mls.CommitOptions
}{
	{name: "an empty Commit with a path", make: func(x *hostile) mls.CommitOptions { return mls.CommitOptions{} }},
	{name: "an Add", make: func(x *hostile) mls.CommitOptions {
		return mls.CommitOptions{Proposals: []mls.Proposal{x.add(90, nil)}, Path: mls.PathIfRequired}
	}},
	{name: "64 proposals", make: func(x *hostile) mls.CommitOptions { return x.adds(64) }},
	{name: "65 proposals", bad: true, make: func(x *hostile) mls.CommitOptions { return x.adds(65) }},
	{name: "a statement that is not true", bad: true, make: func(x *hostile) mls.CommitOptions {
		return x.one(x.add(90, func(_ *envelope.SottoLeaf, p *mls.Profile) { p.Credential.Identity[70] ^= 1 }))
	}},
	{name: "a statement for another session", bad: true, make: func(x *hostile) mls.CommitOptions {
		return x.one(x.add(90, func(l *envelope.SottoLeaf, _ *mls.Profile) { l.Session = 91 }))
	}},
	{name: "a leaf without sotto_leaf", bad: true, make: func(x *hostile) mls.CommitOptions {
		return x.one(x.add(90, func(_ *envelope.SottoLeaf, p *mls.Profile) { p.Extensions = nil }))
	}},
	{name: "a leaf for the other kind of audience", bad: true, make: func(x *hostile) mls.CommitOptions {
		return x.one(x.add(90, func(l *envelope.SottoLeaf, _ *mls.Profile) { l.Audience = envelope.AudienceDirect }))
	}},
	{name: "a leaf for another group", bad: true, make: func(x *hostile) mls.CommitOptions {
		return x.one(x.add(90, func(l *envelope.SottoLeaf, _ *mls.Profile) { l.ForGroup = envelope.GroupID{0x80, 1} }))
	}},
	{name: "a leaf for this group", make: func(x *hostile) mls.CommitOptions {
		return x.one(x.add(90, func(l *envelope.SottoLeaf, _ *mls.Profile) { l.ForGroup = x.id }))
	}},
	{name: "a session that is a member", bad: true, make: func(x *hostile) mls.CommitOptions { return x.one(x.add(1, nil)) }},
	{name: "a session twice", bad: true, make: func(x *hostile) mls.CommitOptions { return x.one(x.add(90, nil), x.add(90, nil)) }},
	{name: "its own leaf for another session", bad: true, make: func(x *hostile) mls.CommitOptions {
		return x.leaf(func(l *envelope.SottoLeaf) { l.Session = 91 })
	}},
	{name: "its own leaf in another channel", make: func(x *hostile) mls.CommitOptions {
		return x.leaf(func(l *envelope.SottoLeaf) { l.Channel = 4 })
	}},
	{name: "its own leaf with another signature key", bad: true, make: func(x *hostile) mls.CommitOptions {
		o := x.leaf(func(*envelope.SottoLeaf) {})
		key, err := mls.GenerateSignatureKey(x.g.CipherSuite())
		if err != nil {
			x.t.Fatal(err)
		}
		o.Profile.SignatureKey = key
		o.Profile.Credential = mls.BasicCredential(statement(x.identity, x.device, key.Public(), server, x.session))
		return o
	}},
	{name: "its own leaf for another session, with a true statement", bad: true, make: func(x *hostile) mls.CommitOptions {
		return x.restated(x.identity, 91)
	}},
	{name: "its own leaf with another identity", bad: true, make: func(x *hostile) mls.CommitOptions {
		return x.restated([32]byte{9}, x.session)
	}},
	{name: "its own leaf with another identity in a locked group", bad: true, lock: true, make: func(x *hostile) mls.CommitOptions {
		return x.restated([32]byte{9}, x.session)
	}},
	{name: "its own leaf as a listener", bad: true, make: func(x *hostile) mls.CommitOptions {
		return x.leaf(func(l *envelope.SottoLeaf) { l.Role = envelope.RoleListener })
	}},
	{name: "its own leaf for a direct group", bad: true, make: func(x *hostile) mls.CommitOptions {
		return x.leaf(func(l *envelope.SottoLeaf) { l.Audience = envelope.AudienceDirect })
	}},
	{name: "a PSK where none is required", bad: true, make: func(x *hostile) mls.CommitOptions { return x.one(x.psk([]byte("0123456789abcdef"))) }},
	{name: "an Add without the PSK", bad: true, psk: true, make: func(x *hostile) mls.CommitOptions { return x.one(x.add(90, nil)) }},
	{name: "an Add with another PSK", bad: true, psk: true, make: func(x *hostile) mls.CommitOptions {
		return x.one(x.add(90, nil), x.psk([]byte("0123456789abcdef")))
	}},
	{name: "an Add with the PSK", psk: true, make: func(x *hostile) mls.CommitOptions {
		return x.one(x.add(90, nil), x.psk(x.pskID()))
	}},
	{name: "locked", make: func(x *hostile) mls.CommitOptions {
		return x.one(x.policy(func(g *envelope.SottoGroup) { g.Flags |= envelope.FlagLocked }))
	}},
	{name: "opened", lock: true, make: func(x *hostile) mls.CommitOptions {
		return x.one(x.policy(func(g *envelope.SottoGroup) { g.Flags &^= envelope.FlagLocked }))
	}},
	{name: "an Add to a locked group", bad: true, lock: true, make: func(x *hostile) mls.CommitOptions { return x.one(x.add(90, nil)) }},
	{name: "a stranger for a member in a locked group", bad: true, lock: true, make: func(x *hostile) mls.CommitOptions {
		return x.one(mls.Remove{Removed: x.other()}, x.add(90, nil))
	}},
	{name: "admission raised", make: func(x *hostile) mls.CommitOptions {
		return x.one(x.policy(func(g *envelope.SottoGroup) { g.Admission = envelope.AdmitAsked }))
	}},
	{name: "another anchor", bad: true, make: func(x *hostile) mls.CommitOptions {
		return x.one(x.policy(func(g *envelope.SottoGroup) { g.Anchor = 4 }))
	}},
	{name: "another kind of audience", bad: true, make: func(x *hostile) mls.CommitOptions {
		return x.one(x.policy(func(g *envelope.SottoGroup) { g.Audience, g.Anchor = envelope.AudienceDirect, envelope.NoChannel }))
	}},
	{name: "another server", bad: true, make: func(x *hostile) mls.CommitOptions {
		return x.one(x.policy(func(g *envelope.SottoGroup) { g.Server[0] ^= 1 }))
	}},
	{name: "a PSK from now on", bad: true, make: func(x *hostile) mls.CommitOptions {
		return x.one(x.policy(func(g *envelope.SottoGroup) { g.Flags |= envelope.FlagPSKRequired; g.PSKID[0] = 1 }))
	}},
	{name: "no PSK any more", bad: true, psk: true, make: func(x *hostile) mls.CommitOptions {
		return x.one(x.policy(func(g *envelope.SottoGroup) { g.Flags &^= envelope.FlagPSKRequired; g.PSKID = [16]byte{} }))
	}},
	{name: "something extra", bad: true, make: func(x *hostile) mls.CommitOptions {
		return x.one(x.policy(func(g *envelope.SottoGroup) { g.Extra = []byte{1} }))
	}},
	{name: "no sotto_group", bad: true, make: func(x *hostile) mls.CommitOptions {
		var list []mls.Extension
		for _, e := range x.g.Context().Extensions {
			if e.Type != mls.ExtensionType(envelope.ExtensionGroup) {
				list = append(list, e)
			}
		}
		return x.one(mls.GroupContextExtensions{Extensions: list})
	}},
	{name: "no required_capabilities", bad: true, make: func(x *hostile) mls.CommitOptions {
		var list []mls.Extension
		for _, e := range x.g.Context().Extensions {
			if e.Type != mls.ExtensionRequiredCapabilities {
				list = append(list, e)
			}
		}
		return x.one(mls.GroupContextExtensions{Extensions: list})
	}},
	{name: "other required_capabilities", bad: true, make: func(x *hostile) mls.CommitOptions {
		list := append([]mls.Extension{}, x.g.Context().Extensions...)
		for i, e := range list {
			if e.Type == mls.ExtensionRequiredCapabilities {
				list[i] = mls.RequiredCapabilities{Credentials: []mls.CredentialType{mls.CredentialBasic}}.Extension()
			}
		}
		return x.one(mls.GroupContextExtensions{Extensions: list})
	}},
	{name: "a Remove", make: func(x *hostile) mls.CommitOptions { return x.one(mls.Remove{Removed: x.other()}) }},
	{name: "129 members", bad: true, make: func(x *hostile) mls.CommitOptions { return x.adds(64) }},
}

func (x *hostile) one(list ...mls.Proposal) mls.CommitOptions {
	return mls.CommitOptions{Proposals: list}
}

func (x *hostile) adds(n int) mls.CommitOptions {
	var list []mls.Proposal
	for i := range n {
		list = append(list, x.add(uint32(100+len(x.g.Members())+i), nil))
	}
	return mls.CommitOptions{Proposals: list, Path: mls.PathIfRequired}
}

// leaf is a Commit that changes the committer's own leaf.
func (x *hostile) leaf(change func(*envelope.SottoLeaf)) mls.CommitOptions {
	l := envelope.SottoLeaf{Server: server, Session: x.session, Audience: envelope.AudienceChannel, Channel: x.channel}
	p, err := x.m.Profile(x.g.CipherSuite(), l)
	if err != nil {
		x.t.Fatal(err)
	}
	change(&l)
	p.Extensions = []mls.Extension{{Type: mls.ExtensionType(envelope.ExtensionLeaf), Data: l.Append(nil)}}
	return mls.CommitOptions{Profile: &p}
}

// restated is a Commit whose leaf is of another identity or session, with a true
// statement that says so: whoever has the signature key can have one made.
func (x *hostile) restated(id [32]byte, session uint32) mls.CommitOptions {
	o := x.leaf(func(l *envelope.SottoLeaf) { l.Session = session })
	o.Profile.Credential = mls.BasicCredential(statement(id, x.device, o.Profile.SignatureKey.Public(), server, session))
	return o
}

func (x *hostile) group() envelope.SottoGroup {
	for _, e := range x.g.Context().Extensions {
		if e.Type == mls.ExtensionType(envelope.ExtensionGroup) {
			g, _ := envelope.ParseSottoGroup(e.Data)
			return g
		}
	}
	return envelope.SottoGroup{}
}

// other is the leaf of somebody else.
func (x *hostile) other() mls.LeafIndex {
	if x.g.OwnIndex() == 1 {
		return 2
	}
	return 1
}

// M4 and M6: each row is a Commit that a member makes with a client of its own, and
// those that §2.5 does not allow take effect nowhere.
func TestCommitValidity(t *testing.T) {
	suite := mls.InsecureSuite(t)
	for i, c := range validity {
		t.Run(c.name, func(t *testing.T) {
			h := newHall(t, uint64(i), audience.RegimeEcho, suite)
			var all []*person
			for range 3 {
				p := h.newPerson(3)
				if c.psk {
					p.secrets = [][]byte{[]byte("secret")}
				}
				h.connect(p)
				all = append(all, p)
			}
			h.until(time.Minute, "together", func() bool { return together(all...) })
			if c.lock {
				all[0].handle(audience.SetLocked{Locked: true})
				h.until(time.Minute, "locked", func() bool { e, _ := all[2].home(); return e.Locked })
			}
			h.run(15 * time.Second) // the Update after the Adds is over
			eve := all[2]
			x := eve.turnHostile(t)
			if c.name == "129 members" {
				x.grow(t, all[:2])
			}
			before, _ := all[0].home()
			x.commit(c.make(x))
			h.run(500 * time.Millisecond)
			for _, p := range all[:2] {
				e, member := p.home()
				taken := !member || e.Epoch != before.Epoch
				if p.session == all[0].session || member {
					if taken == c.bad {
						t.Errorf("%s: taken is %v", p.name, taken)
					}
				}
				if c.bad && p.m.Stats().Invalid != 1 {
					t.Errorf("%s: %+v", p.name, p.m.Stats())
				}
				if c.bad && p.count(audience.NoticeBadCommit) != 1 {
					t.Errorf("%s: notices %+v", p.name, p.notices)
				}
			}
		})
	}
}

// grow adds people whom nobody ever sees, until two Commits of 64 pass the limit
// of members.
func (x *hostile) grow(t *testing.T, others []*person) {
	for s := range uint32(200) {
		x.h.people[100+s] = &person{h: x.h, session: 100 + s, channel: x.channel}
	}
	x.h.tell()
	x.h.run(100 * time.Millisecond)
	c := x.commit(x.adds(62))
	x.h.run(300 * time.Millisecond)
	if err := x.g.Merge(c); err != nil {
		t.Fatal(err)
	}
	for _, p := range others {
		if e, _ := p.home(); len(e.Leaves) != 65 {
			t.Fatalf("%d leaves", len(e.Leaves))
		}
	}
}

// M8: a Commit that refers to a proposal, which nobody knows as proposals are not
// read, and external Commits are refused.
func TestProposalsByReference(t *testing.T) {
	h, all := meeting(t, 1, audience.RegimeEcho, mls.InsecureSuite(t), 3)
	h.run(15 * time.Second)
	x := all[2].turnHostile(t)
	before, _ := all[0].home()
	m, err := x.g.Propose(mls.Remove{Removed: x.other()}, nil, h.now)
	if err != nil {
		t.Fatal(err)
	}
	x.send(envelope.Object{Kind: envelope.KindMLSMessage, Body: m.Marshal()})
	x.commit(mls.CommitOptions{})
	h.run(500 * time.Millisecond)
	for _, p := range all[:2] {
		if e, _ := p.home(); e.Epoch != before.Epoch {
			t.Errorf("%s took it", p.name)
		}
		if s := p.m.Stats(); s.Malformed != 1 || s.Invalid != 1 {
			t.Errorf("%+v", s)
		}
	}
}

func (x *hostile) pskID() []byte {
	id := x.group().PSKID
	return id[:]
}
