package audience_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/internal/vectors"
	"github.com/sotto-voip/sotto/mls"
)

var vectorPSK = bytes.Repeat([]byte{0x5E}, 32)

// anything is the configuration of a committer that checks nothing.
var anything = &mls.Config{
	Authenticate: func(mls.Identity) error { return nil },
	PSK:          func(mls.PreSharedKeyID) ([]byte, error) { return vectorPSK, nil },
	MaxProposals: 4096, MaxLifetime: 1000 * time.Hour,
}

// vectorFounder makes groups of session 1, with what is asked for.
type vectorFounder struct {
	t   *testing.T
	f   *commitFile
	own map[string]*mls.OwnKeyPackage
}

// groupPlan says how a group differs from that of channel 3.
type groupPlan struct {
	by5     bool // session 5 adds the receiver, instead of session 1
	cs      mls.CipherSuite
	id      []byte
	ext     func(*envelope.SottoGroup)
	list    func([]mls.Extension) []mls.Extension
	founder func(*someone)
	carol   func(*someone)
	offer   string
}

func (v *vectorFounder) offer(name string, cs mls.CipherSuite, forGroup []byte, change func(*someone)) {
	bob := who(2, 2)
	if forGroup != nil {
		bob.leaf.Audience, bob.leaf.ForGroup = envelope.AudienceDirect, envelope.GroupID(forGroup)
	}
	if change != nil {
		change(&bob)
	}
	own := bob.keyPackage(v.t, cs)
	v.own[name] = own
	b, err := own.Marshal()
	if err != nil {
		v.t.Fatal(err)
	}
	kp := own.KeyPackage.Marshal()
	rest := b[1+len(kp):]
	cut := func() vectors.Hex {
		n, size := int(rest[0]), 1
		if rest[0]&0x40 != 0 {
			n, size = int(rest[0]&0x3F)<<8|int(rest[1]), 2
		}
		part := rest[size : size+n]
		rest = rest[size+n:]
		return part
	}
	v.f.Offers = append(v.f.Offers, offerVector{name, forGroup, kp, cut(), cut(), cut()})
}

// found makes a group, adds bob and carol, and returns it with the Welcome.
func (v *vectorFounder) found(p groupPlan) (*mls.Group, []byte) {
	v.t.Helper()
	alice, carol := who(1, 1), who(5, 5)
	ext := envelope.SottoGroup{Audience: envelope.AudienceChannel, Anchor: 3, Server: [32]byte(vectorServer)}
	if p.ext != nil {
		p.ext(&ext)
	}
	alice.leaf.Audience, carol.leaf.Audience = ext.Audience, ext.Audience
	if p.founder != nil {
		p.founder(&alice)
	}
	if p.carol != nil {
		p.carol(&carol)
	}
	required := mls.RequiredCapabilities{Extensions: []mls.ExtensionType{0xF510, 0xF511}, Credentials: []mls.CredentialType{mls.CredentialBasic}}
	list := []mls.Extension{required.Extension(), {Type: 0xF511, Data: ext.Append(nil)}}
	if p.list != nil {
		list = p.list(list)
	}
	g, err := mls.NewGroup(anything, mls.GroupOptions{
		CipherSuite: p.cs, ID: p.id, Profile: alice.profile(v.t, p.cs), Lifetime: audience.NewLifetime(vectorNow), Extensions: list,
	}, vectorNow)
	if err != nil {
		v.t.Fatal(err)
	}
	five := carol.keyPackage(v.t, p.cs)
	proposals := []mls.Proposal{mls.Add{KeyPackage: v.own[p.offer].KeyPackage}, mls.Add{KeyPackage: five.KeyPackage}}
	if p.by5 {
		_, w := v.adds(g, proposals[1])
		if g, err = mls.Join(anything, w, five, mls.JoinOptions{}, vectorNow); err != nil {
			v.t.Fatal(err)
		}
		proposals = proposals[:1]
	}
	if ext.Flags&envelope.FlagPSKRequired != 0 {
		proposals = append(proposals, mls.PreSharedKey{PSK: mls.PreSharedKeyID{Type: mls.PSKExternal, ID: ext.PSKID[:]}})
	}
	g, w := v.adds(g, proposals...)
	return g, (&mls.Message{Welcome: w}).Marshal()
}

// adds commits proposals in a group.
func (v *vectorFounder) adds(g *mls.Group, proposals ...mls.Proposal) (*mls.Group, *mls.Welcome) {
	v.t.Helper()
	c, err := g.Commit(mls.CommitOptions{Proposals: proposals}, vectorNow)
	if err != nil {
		v.t.Fatal(err)
	}
	w := c.Welcomes()[0]
	if err := g.Merge(c); err != nil {
		v.t.Fatal(err)
	}
	return g, w
}

// again is the Welcome with which a group adds the receiver anew, in place of its
// old leaf.
func (v *vectorFounder) again(g *mls.Group, offer string) (*mls.Group, []byte) {
	v.t.Helper()
	g, w := v.adds(copyGroup(v.t, g, anything), mls.Remove{Removed: 1}, mls.Add{KeyPackage: v.own[offer].KeyPackage})
	return g, (&mls.Message{Welcome: w}).Marshal()
}

// hostileFile is testdata/hostile_commits.json: Commits that package mls makes nowhere
// but in its own tests (hostile_test.go there, with whatever stands in the way of the
// committer left out). What they are behind is kept with them, so that they are as
// good as on the day they were made.
type hostileFile struct {
	Offer   offerVector    `json:"offer"`
	Welcome vectors.Hex    `json:"welcome"`
	Epoch   uint64         `json:"epoch"`
	Begun   begunEpoch     `json:"begun"`
	Commits []commitVector `json:"commits"`
}

func (v *vectorFounder) hostile() {
	h := vectors.Read[hostileFile](v.t, "testdata/hostile_commits.json")
	v.f.Offers = append(v.f.Offers, h.Offer)
	v.f.Welcomes = append(v.f.Welcomes, welcomeVector{Case: vectors.Good("for Commits that no ordinary member makes"),
		Name: "hostile", Offer: h.Offer.Name, From: 1, Welcome: h.Welcome, Epoch: h.Epoch, begunEpoch: h.Begun})
	for _, c := range h.Commits {
		c.Welcome, c.From = "hostile", 1
		v.f.Commits = append(v.f.Commits, c)
	}
}

func copyGroup(t *testing.T, g *mls.Group, cfg *mls.Config) *mls.Group {
	t.Helper()
	b, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	g, err = mls.UnmarshalGroup(cfg, b)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// exporter is what an epoch's keys are taken from: a group, or a Commit that begins it.
type exporter interface {
	EpochAuthenticator() []byte
	Export(label string, context []byte, n int) ([]byte, error)
}

func epochOf(t *testing.T, e exporter) begunEpoch {
	t.Helper()
	base, err := e.Export("sotto/1 media", be32(0), 32)
	if err != nil {
		t.Fatal(err)
	}
	return begunEpoch{e.EpochAuthenticator(), base}
}

func (v *vectorFounder) add(c vectors.Case, name, offer, held string, g *mls.Group, welcome []byte, psk ...vectors.Hex) {
	v.t.Helper()
	v.put(welcomeVector{Case: c, Name: name, Offer: offer, PSK: psk, Held: held, From: 1, Welcome: welcome}, g)
}

func (v *vectorFounder) put(w welcomeVector, g *mls.Group) {
	v.t.Helper()
	if w.Valid {
		w.Epoch, w.begunEpoch = g.Epoch(), epochOf(v.t, g)
	}
	v.f.Welcomes = append(v.f.Welcomes, w)
}

// seqCases are Beacons of members of a group, with the digest of its epoch.
func seqCases(g *mls.Group) (list []seqVector) {
	now := hashOf([]byte("sotto/1 epoch"), g.ID(), be64(g.Epoch()), g.EpochAuthenticator())[:16]
	add := func(c vectors.Case, from, leaf, seq uint32, suite byte, key byte) {
		b := slices.Concat(mlsVec(g.ID()), []byte{0, suite}, be64(g.Epoch()), be32(leaf), be32(seq), now, mlsVec(nil))
		list = append(list, seqVector{c, from, append(b, mlsVec(sottoSign(vectorKey(key), "Beacon", b))...)})
	}
	add(vectors.Good("seq 5, the first of session 1"), 1, 0, 5, 1, 0x41)
	add(vectors.Bad("the same again"), 1, 0, 5, 1, 0x41)
	add(vectors.Bad("seq 4"), 1, 0, 4, 1, 0x41)
	add(vectors.Bad("seq 9, and it is not signed by that leaf"), 1, 0, 9, 1, 0x45)
	add(vectors.Bad("seq 9, with another suite than the group's"), 1, 0, 9, 2, 0x41)
	add(vectors.Good("seq 6: what was dropped moved nothing"), 1, 0, 6, 1, 0x41)
	add(vectors.Good("seq 3 of another leaf, which counts for itself"), 5, 2, 3, 1, 0x45)
	add(vectors.Bad("seq 7 of that leaf, from session 1"), 1, 2, 7, 1, 0x45)
	add(vectors.Good("seq 4 of that leaf"), 5, 2, 4, 1, 0x45)
	add(vectors.Good("the largest seq"), 1, 0, 1<<32-1, 1, 0x41)
	add(vectors.Bad("seq 7 behind that"), 1, 0, 7, 1, 0x41)
	return list
}

func makeCommits(t *testing.T) commitFile {
	f := commitFile{About: []string{
		"Welcomes and Commits: Sotto protocol, sections 2, 2.5, 4.3 and 10.2. The receiver is session 2 in channel 3, to which no other is linked; the server shows sessions 1, 5 and 90 there. now is its clock, Unix seconds.",
		"offers: KeyPackages of the receiver that are out, with their private keys as RFC 9420 has them (of 0xF47A: the seed that the keys come from). With for_group it answers the request for that direct group.",
		"welcomes: what comes from a session as an answer to offer, which leads the receiver into the group at epoch, or is dropped. The KeyPackage for_group was asked for by session 1. psk: what its typed secrets give for the psk_id; with any it uses a secret with groups, else none. held: it has joined by that Welcome before, has since heard of nobody but who sent it, and has not asked for another. asked: but it has, with a Hello whose KeyPackage is offer.",
		"commits: behind that Welcome comes a Commit from a session, first in the order, which takes effect or is skipped. clause is that of section 2.5 which is broken; 0: another rule. Clauses 2 and 6 have none here, because they are large.",
		"messages: behind that Welcome comes application data from a session, of which the AppData is data, or which is dropped.",
		"beacons: behind the Welcome with the name channel they come one after the other, a second apart; what is valid is taken as a proof of the leaf that it names, the others are dropped.",
		"epoch_authenticator (RFC 9420, 8.7) and base_key, which is that of leaf 0 at step 0 (7.1), are those of the epoch that the Welcome or Commit begins.",
		"The Ed25519 keys are those of seeds of one byte repeated: of session 1 01 identity, 21 device, 41 signature_key; of 2 02, 22, 42; of 5 05, 25, 45; of 90 09, 29, 49. Another signature_key, where why says so, is 77 or 78, another identity 09. KeyPackages, HPKE keys and tree are random.",
	}, Now: vectorNow.Unix()}
	v := &vectorFounder{t, &f, map[string]*mls.OwnKeyPackage{}}
	classic := audience.SuiteClassic
	id := func(b ...byte) []byte { return append(b, bytes.Repeat([]byte{0x11}, 16-len(b))...) }
	directID := id(0xD2, 0xD2, 0xD2, 0xD2)
	v.offer("classic", classic, nil, nil)
	v.offer("hybrid", audience.SuiteHybrid, nil, nil)
	v.offer("direct", classic, directID, nil)
	v.offer("again", classic, nil, nil)
	v.offer("direct again", classic, directID, nil)
	v.offer("listener", classic, nil, func(s *someone) { s.leaf.Role = envelope.RoleListener })

	plain, w := v.found(groupPlan{cs: classic, id: id(0xC1), offer: "classic"})
	v.add(vectors.Good("a channel group"), "channel", "classic", "", plain, w)
	flipped := bytes.Clone(w)
	flipped[len(flipped)-20] ^= 1
	v.add(vectors.Bad("a byte of encrypted_group_info changed"), "", "classic", "", nil, flipped)
	v.add(vectors.Bad("cut"), "", "classic", "", nil, w[:len(w)-1])
	v.add(vectors.Bad("a byte more"), "", "classic", "", nil, append(bytes.Clone(w), 0))
	v.add(vectors.Bad("for another KeyPackage"), "", "listener", "", nil, w)
	v.add(vectors.Bad("for another suite's KeyPackage"), "", "hybrid", "", nil, w)
	v.add(vectors.Bad("the group is held, and this is the same Welcome: its KeyPackage is used up (2.6)"), "", "classic", "channel", nil, w)
	v.put(welcomeVector{Case: vectors.Bad("the same, when it has asked to be added again: its KeyPackage is used up (2.6)"), Offer: "classic", Held: "channel", Asked: true, From: 1, Welcome: w}, nil)
	v.put(welcomeVector{Case: vectors.Bad("it comes from another member than the one that signed it"), Offer: "classic", From: 5, Welcome: w}, nil)
	v.put(welcomeVector{Case: vectors.Bad("it comes from somebody who is no member"), Offer: "classic", From: 90, Welcome: w}, nil)
	v.add(vectors.Bad("without psk_required, and a secret is used"), "", "classic", "", nil, w, vectorPSK)
	by5, w := v.found(groupPlan{cs: classic, id: id(0xC6), offer: "classic", by5: true})
	v.put(welcomeVector{Case: vectors.Good("session 5 has signed it, and sends it"), Offer: "classic", From: 5, Welcome: w}, by5)
	v.put(welcomeVector{Case: vectors.Bad("session 5 has signed it, the founder sends it"), Offer: "classic", From: 1, Welcome: w}, nil)

	rejoined, w := v.again(plain, "again")
	v.put(welcomeVector{Case: vectors.Good("the group is held, and it has asked to be added again: the new leaf replaces the old one"), Offer: "again", Held: "channel", Asked: true, From: 1, Welcome: w}, rejoined)
	v.put(welcomeVector{Case: vectors.Bad("the group is held, and it has not asked (4.3)"), Offer: "again", Held: "channel", From: 1, Welcome: w}, nil)
	moved, w := v.found(groupPlan{cs: classic, id: id(0xC7), offer: "again"})
	v.put(welcomeVector{Case: vectors.Good("another group is held here, and it has asked to move"), Offer: "again", Held: "channel", Asked: true, From: 1, Welcome: w}, moved)
	v.put(welcomeVector{Case: vectors.Bad("another group is held here, and it has not asked"), Offer: "again", Held: "channel", From: 1, Welcome: w}, nil)
	v.put(welcomeVector{Case: vectors.Bad("a locked group is held here: none leads to another (6.5)"), Offer: "again", Held: "locked", Asked: true, From: 1, Welcome: w}, nil)
	hybrid, w := v.found(groupPlan{cs: audience.SuiteHybrid, id: id(0xC2), offer: "hybrid"})
	v.add(vectors.Good("hybrid"), "hybrid", "hybrid", "", hybrid, w)
	isDirect := func(g *envelope.SottoGroup) { g.Audience, g.Anchor = envelope.AudienceDirect, envelope.NoChannel }
	direct, w := v.found(groupPlan{cs: classic, id: directID, ext: isDirect, offer: "direct"})
	v.add(vectors.Good("a direct group that was asked for"), "direct", "direct", "", direct, w)
	v.add(vectors.Good("a direct group, and a secret is used, which it never has"), "", "direct", "", direct, w, vectorPSK)
	v.put(welcomeVector{Case: vectors.Bad("a direct group, from another member than the one that signed it"), Offer: "direct", From: 5, Welcome: w}, nil)
	direct5, w := v.found(groupPlan{cs: classic, id: directID, ext: isDirect, offer: "direct", by5: true})
	v.put(welcomeVector{Case: vectors.Bad("a direct group, from a member that signed it and had not asked for the KeyPackage"), Offer: "direct", From: 5, Welcome: w}, direct5)
	_, w = v.again(direct, "direct again")
	v.add(vectors.Bad("the direct group is held: nobody is added to it again"), "", "direct again", "direct", nil, w)
	withPSK := func(g *envelope.SottoGroup) {
		g.Flags |= envelope.FlagPSKRequired
		g.PSKID = [16]byte(id(0x99))
	}
	locked, w := v.found(groupPlan{cs: classic, id: id(0xC3), offer: "classic", ext: func(g *envelope.SottoGroup) { g.Flags = envelope.FlagLocked }})
	v.add(vectors.Good("a locked group"), "locked", "classic", "", locked, w)
	lockedAgain, w := v.again(locked, "again")
	v.put(welcomeVector{Case: vectors.Good("the locked group is held, and it has asked to be added again"), Offer: "again", Held: "locked", Asked: true, From: 1, Welcome: w}, lockedAgain)
	admission, w := v.found(groupPlan{cs: classic, id: id(0xC8), offer: "classic", ext: func(g *envelope.SottoGroup) { g.Admission = envelope.AdmitKnown }})
	v.add(vectors.Good("admission 1"), "admission", "classic", "", admission, w)
	psk, w := v.found(groupPlan{cs: classic, id: id(0xC4), offer: "classic", ext: withPSK})
	other := vectors.Hex(bytes.Repeat([]byte{0x5F}, 32))
	v.add(vectors.Good("with a PSK"), "psk", "classic", "", psk, w, vectorPSK)
	v.add(vectors.Good("with a PSK, which is the fourth of the secrets"), "", "classic", "", psk, w, other, other, other, vectorPSK)
	v.add(vectors.Bad("with a PSK, which is the fifth"), "", "classic", "", nil, w, other, other, other, other, vectorPSK)
	v.add(vectors.Bad("with another PSK"), "", "classic", "", nil, w, other)
	v.add(vectors.Bad("with a PSK, and there is no secret"), "", "classic", "", nil, w)
	one, w := v.found(groupPlan{cs: classic, id: append(bytes.Clone(directID[:4]), bytes.Repeat([]byte{0x22}, 12)...), offer: "classic"})
	v.add(vectors.Good("a tag that no other group has"), "", "classic", "", one, w)
	v.add(vectors.Bad("the tag of a direct group that is held"), "", "classic", "direct", nil, w)

	for _, b := range []struct {
		why string
		p   groupPlan
	}{
		{"anchor 4 is not in the closure", groupPlan{id: id(0xC5), ext: func(g *envelope.SottoGroup) { g.Anchor = 4 }}},
		{"group_id without its top bit", groupPlan{id: id(0x41)}},
		{"group_id of 15 bytes", groupPlan{id: id(0xC5)[:15]}},
		{"group_id of 17 bytes", groupPlan{id: append(id(0xC5), 1)}},
		{"no sotto_group", groupPlan{id: id(0xC5), list: func(l []mls.Extension) []mls.Extension { return l[:1] }}},
		{"no required_capabilities", groupPlan{id: id(0xC5), list: func(l []mls.Extension) []mls.Extension { return l[1:] }}},
		{"the two extensions the other way round", groupPlan{id: id(0xC5), list: func(l []mls.Extension) []mls.Extension { return []mls.Extension{l[1], l[0]} }}},
		{"a third extension", groupPlan{id: id(0xC5), list: func(l []mls.Extension) []mls.Extension { return append(l, mls.Extension{Type: 5, Data: []byte{0}}) }}},
		{"fewer required_capabilities", groupPlan{id: id(0xC5), list: func(l []mls.Extension) []mls.Extension { l[0] = fewerRequired; return l }}},
		{"required_capabilities in another order", groupPlan{id: id(0xC5), list: func(l []mls.Extension) []mls.Extension { l[0] = otherRequired; return l }}},
		{"sotto_group of protocol 2", groupPlan{id: id(0xC5), list: func(l []mls.Extension) []mls.Extension { l[1].Data[1] = 2; return l }}},
		{"a member's statement is not true", groupPlan{id: id(0xC5), carol: func(s *someone) { s.break_ = 150 }}},
		{"the founder's statement is not true", groupPlan{id: id(0xC5), founder: func(s *someone) { s.break_ = 80 }}},
		{"two members of one session", groupPlan{id: id(0xC5), carol: func(s *someone) { s.leaf.Session = 1 }}},
		{"a member of the own session", groupPlan{id: id(0xC5), carol: func(s *someone) { s.leaf.Session = 2 }}},
		{"a member for a direct group", groupPlan{id: id(0xC5), carol: func(s *someone) { s.leaf.Audience = envelope.AudienceDirect }}},
		{"a member for another group", groupPlan{id: id(0xC5), carol: func(s *someone) { s.leaf.ForGroup = envelope.GroupID(id(0xC6)) }}},
		{"a member with a lifetime of 49 h and 1 s", groupPlan{id: id(0xC5), carol: func(s *someone) { s.notAfter = 90_001 }}},
		{"a direct group for a channel's KeyPackage", groupPlan{id: id(0xC5), ext: isDirect}},
		{"a direct group that was not asked for", groupPlan{id: id(0xC5), ext: isDirect, offer: "direct"}},
		{"a channel group for a direct KeyPackage", groupPlan{id: directID, offer: "direct"}},
	} {
		b.p.cs = classic
		if b.p.offer == "" {
			b.p.offer = "classic"
		}
		g, w := v.found(b.p)
		v.add(vectors.Bad("%s", b.why), "", b.p.offer, "", g, w)
	}
	groups := map[string]*mls.Group{"channel": plain, "hybrid": hybrid, "direct": direct, "locked": locked, "admission": admission, "psk": psk}
	f.Commits = commitCases(t, groups)
	v.hostile()
	f.Messages = messageCases(t, groups)
	f.Beacons = seqCases(plain)
	return f
}
