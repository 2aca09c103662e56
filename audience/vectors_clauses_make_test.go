package audience_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/internal/vectors"
	"github.com/sotto-voip/sotto/mls"
)

// clauseMaker makes Commits of session 1 from copies of groups.
type clauseMaker struct {
	t      *testing.T
	groups map[string]*mls.Group
	list   []commitVector
}

func (m *clauseMaker) copy(name string) *mls.Group {
	m.t.Helper()
	return copyGroup(m.t, m.groups[name], anything)
}

// commit of a group; clause is that which is broken, -1 if it is valid.
func (m *clauseMaker) commit(clause int, name, why string, o mls.CommitOptions) {
	m.t.Helper()
	m.message(clause, name, why, 1, m.copy(name), o)
}

func (m *clauseMaker) message(clause int, name, why string, from uint32, g *mls.Group, o mls.CommitOptions) {
	m.t.Helper()
	c, err := g.Commit(o, vectorNow)
	if err != nil {
		m.t.Fatalf("%s: %v", why, err)
	}
	v := commitVector{Case: vectors.Bad("%s", why), Clause: clause, Welcome: name, From: from, Commit: c.Message().Marshal()}
	if clause < 0 {
		v.Valid, v.Clause, v.begunEpoch = true, 0, epochOf(m.t, c)
	}
	m.list = append(m.list, v)
}

func (m *clauseMaker) proposals(list ...mls.Proposal) mls.CommitOptions {
	return mls.CommitOptions{Proposals: list}
}

// newcomer is the Add of session 90, changed.
func (m *clauseMaker) newcomer(name string, change func(*someone)) mls.Proposal {
	s := who(9, 90)
	if name == "direct" {
		s.leaf.Audience = envelope.AudienceDirect
	}
	if change != nil {
		change(&s)
	}
	return mls.Add{KeyPackage: s.keyPackage(m.t, m.groups[name].CipherSuite()).KeyPackage}
}

// policy is a GroupContextExtensions with a changed sotto_group, or list.
func (m *clauseMaker) policy(name string, change func(*envelope.SottoGroup), list func([]mls.Extension) []mls.Extension) mls.Proposal {
	all := append([]mls.Extension{}, m.groups[name].Context().Extensions...)
	for i, e := range all {
		if e.Type == 0xF511 && change != nil {
			ext, err := envelope.ParseSottoGroup(e.Data)
			if err != nil {
				m.t.Fatal(err)
			}
			change(&ext)
			all[i].Data = ext.Append(nil)
		}
	}
	if list != nil {
		all = list(all)
	}
	return mls.GroupContextExtensions{Extensions: all}
}

// ownLeaf is a Commit in which session 1 changes its leaf.
func (m *clauseMaker) ownLeaf(change func(*someone)) mls.CommitOptions {
	s := who(1, 1)
	change(&s)
	p := s.profile(m.t, audience.SuiteClassic)
	return mls.CommitOptions{Profile: &p}
}

// fewerRequired and otherRequired are not the required_capabilities of §2.
var (
	fewerRequired = mls.RequiredCapabilities{Extensions: []mls.ExtensionType{0xF511}, Credentials: []mls.CredentialType{mls.CredentialBasic}}.Extension()
	otherRequired = mls.RequiredCapabilities{Extensions: []mls.ExtensionType{0xF511, 0xF510}, Credentials: []mls.CredentialType{mls.CredentialBasic}}.Extension()
)

func commitCases(t *testing.T, groups map[string]*mls.Group) []commitVector {
	m := &clauseMaker{t: t, groups: groups}
	external := func(id []byte) mls.Proposal {
		return mls.PreSharedKey{PSK: mls.PreSharedKeyID{Type: mls.PSKExternal, ID: id}}
	}
	pskID := append([]byte{0x99}, bytes.Repeat([]byte{0x11}, 15)...)
	const good, carol = -1, mls.LeafIndex(2)
	m.commit(good, "channel", "an Update", mls.CommitOptions{})
	m.commit(good, "hybrid", "an Update, hybrid", mls.CommitOptions{})
	m.commit(good, "channel", "an Add without a path", mls.CommitOptions{Proposals: []mls.Proposal{m.newcomer("channel", nil)}, Path: mls.PathIfRequired})
	m.commit(good, "channel", "an Add with a path", m.proposals(m.newcomer("channel", nil)))
	m.commit(good, "channel", "a Remove", m.proposals(mls.Remove{Removed: carol}))
	m.commit(good, "channel", "a replacement: Remove and Add of one session", m.proposals(mls.Remove{Removed: carol}, m.newcomer("channel", func(s *someone) { *s = who(5, 5) })))
	m.commit(good, "channel", "an Add for this very group", m.proposals(m.newcomer("channel", func(s *someone) { s.leaf.ForGroup = envelope.GroupID(m.groups["channel"].ID()) })))
	m.commit(good, "channel", "an Add of another server's certificate", m.proposals(m.newcomer("channel", func(s *someone) { s.leaf.Server[0] ^= 1 })))
	m.commit(good, "channel", "an Add with any bytes for extra in its leaf", m.proposals(m.newcomer("channel", func(s *someone) { s.leaf.Extra = []byte{0xFF} })))
	m.commit(good, "channel", "locked", m.proposals(m.policy("channel", func(g *envelope.SottoGroup) { g.Flags = envelope.FlagLocked }, nil)))
	m.commit(good, "channel", "admission raised", m.proposals(m.policy("channel", func(g *envelope.SottoGroup) { g.Admission = envelope.AdmitAsked }, nil)))
	m.commit(good, "channel", "the committer sits in another channel", m.ownLeaf(func(s *someone) { s.leaf.Channel = 4 }))
	m.commit(good, "admission", "admission raised from 1 to 2", m.proposals(m.policy("admission", func(g *envelope.SottoGroup) { g.Admission = envelope.AdmitAsked }, nil)))
	m.commit(good, "channel", "authenticated_data, which means nothing", mls.CommitOptions{AuthenticatedData: []byte("anything")})
	m.commit(good, "locked", "opened", m.proposals(m.policy("locked", func(g *envelope.SottoGroup) { g.Flags = 0 }, nil)))
	m.commit(good, "locked", "a member comes back into a locked group", m.proposals(mls.Remove{Removed: carol}, m.newcomer("locked", func(s *someone) { *s = who(5, 5) })))
	m.commit(good, "psk", "an Add with the PSK", m.proposals(m.newcomer("psk", nil), external(pskID)))
	m.commit(good, "psk", "a Remove without the PSK", m.proposals(mls.Remove{Removed: carol}))
	m.commit(good, "direct", "a Remove in a direct group", m.proposals(mls.Remove{Removed: carol}))

	update := m.list[0]
	update.Case, update.From = vectors.Good("an Update of session 1, which another member passes on"), 5
	m.list = append(m.list, update)
	update.Case, update.From, update.begunEpoch = vectors.Bad("an Update of session 1, from who is no member"), 90, begunEpoch{}
	m.list = append(m.list, update)
	public := *anything
	public.Handshake = mls.WireFormatPublicMessage
	m.message(0, "channel", "an Update as PublicMessage", 1, copyGroup(t, groups["channel"], &public), mls.CommitOptions{})

	g := m.copy("channel")
	if _, err := g.Propose(mls.Remove{Removed: carol}, nil, vectorNow); err != nil {
		t.Fatal(err)
	}
	m.message(1, "channel", "a proposal by reference", 1, g, mls.CommitOptions{})
	m.commit(1, "channel", "a ReInit", m.proposals(mls.ReInit{GroupID: bytes.Repeat([]byte{0xC9}, 16), Version: mls.MLS10, CipherSuite: audience.SuiteClassic}))
	m.commit(3, "channel", "an Add whose device signature is not true", m.proposals(m.newcomer("channel", func(s *someone) { s.break_ = 80 })))
	m.commit(3, "channel", "an Add whose session signature is not true", m.proposals(m.newcomer("channel", func(s *someone) { s.break_ = 150 })))
	m.commit(3, "channel", "an Add whose statement is of version 2", m.proposals(m.newcomer("channel", func(s *someone) { s.break_ = 1 })))
	m.commit(3, "channel", "an Add whose statement is for another session", m.proposals(m.newcomer("channel", func(s *someone) { s.statedSession = 91 })))
	m.commit(3, "channel", "an Add without sotto_leaf", m.proposals(m.newcomer("channel", func(s *someone) { s.noLeaf = true })))
	m.commit(3, "channel", "an Add of session 0", m.proposals(m.newcomer("channel", func(s *someone) { s.leaf.Session = 0 })))
	m.commit(3, "channel", "the committer's own leaf for another session", m.ownLeaf(func(s *someone) { s.leaf.Session, s.statedSession = 91, 1 }))
	m.commit(4, "channel", "an Add for a direct group", m.proposals(m.newcomer("channel", func(s *someone) { s.leaf.Audience = envelope.AudienceDirect })))
	m.commit(4, "channel", "an Add for another group", m.proposals(m.newcomer("channel", func(s *someone) { s.leaf.ForGroup = envelope.GroupID{0: 0x80, 1: 1} })))
	m.commit(5, "channel", "an Add of a session that is a member", m.proposals(m.newcomer("channel", func(s *someone) { s.leaf.Session = 5 })))
	m.commit(5, "channel", "an Add of the receiver's session", m.proposals(m.newcomer("channel", func(s *someone) { s.leaf.Session = 2 })))
	m.commit(5, "channel", "one session twice", m.proposals(m.newcomer("channel", nil), m.newcomer("channel", func(s *someone) { s.key = vectorKey(0x77) })))
	m.commit(7, "psk", "an Add without the PSK", m.proposals(m.newcomer("psk", nil)))
	m.commit(7, "psk", "an Add with another psk_id", m.proposals(m.newcomer("psk", nil), external([]byte("0123456789abcdef"))))
	m.commit(7, "psk", "an Add with the PSK twice", m.proposals(m.newcomer("psk", nil), external(pskID), external(pskID)))
	m.commit(7, "channel", "a PSK where none is required", m.proposals(external(pskID)))
	m.commit(7, "channel", "a PSK of all zeros where none is required", m.proposals(external(make([]byte, 16))))
	m.commit(8, "locked", "an Add to a locked group", m.proposals(m.newcomer("locked", nil)))
	m.commit(8, "locked", "a stranger for a member of a locked group", m.proposals(mls.Remove{Removed: carol}, m.newcomer("locked", nil)))
	m.commit(8, "locked", "opened, and an Add at once", m.proposals(m.policy("locked", func(g *envelope.SottoGroup) { g.Flags = 0 }, nil), m.newcomer("locked", nil)))
	for why, change := range inOrder(map[string]func(*envelope.SottoGroup){
		"another anchor":           func(g *envelope.SottoGroup) { g.Anchor = 4 },
		"another server":           func(g *envelope.SottoGroup) { g.Server[0] ^= 1 },
		"another kind of audience": func(g *envelope.SottoGroup) { g.Audience, g.Anchor = envelope.AudienceDirect, envelope.NoChannel },
		"a PSK from now on":        func(g *envelope.SottoGroup) { g.Flags, g.PSKID[0] = envelope.FlagPSKRequired, 1 },
		"something extra":          func(g *envelope.SottoGroup) { g.Extra = []byte{0, 1, 0} },
	}) {
		m.commit(9, "channel", why, m.proposals(m.policy("channel", change, nil)))
	}
	m.commit(9, "admission", "admission lowered", m.proposals(m.policy("admission", func(g *envelope.SottoGroup) { g.Admission = envelope.AdmitPresent }, nil)))
	m.commit(9, "psk", "no PSK any more", m.proposals(m.policy("psk", func(g *envelope.SottoGroup) { g.Flags, g.PSKID = 0, [16]byte{} }, nil)))
	m.commit(9, "channel", "sotto_group of protocol 2", m.proposals(m.policy("channel", nil, func(l []mls.Extension) []mls.Extension {
		l[1].Data = append([]byte{0, 2}, l[1].Data[2:]...)
		return l
	})))
	m.commit(9, "channel", "no sotto_group", m.proposals(m.policy("channel", nil, func(l []mls.Extension) []mls.Extension { return l[:1] })))
	m.commit(9, "channel", "no required_capabilities", m.proposals(m.policy("channel", nil, func(l []mls.Extension) []mls.Extension { return l[1:] })))
	m.commit(9, "channel", "the two extensions the other way round", m.proposals(m.policy("channel", nil, func(l []mls.Extension) []mls.Extension { return []mls.Extension{l[1], l[0]} })))
	m.commit(9, "channel", "a third extension", m.proposals(m.policy("channel", nil, func(l []mls.Extension) []mls.Extension { return append(l, mls.Extension{Type: 5, Data: []byte{0}}) })))
	m.commit(9, "channel", "fewer required capabilities", m.proposals(m.policy("channel", nil, func(l []mls.Extension) []mls.Extension { l[0] = fewerRequired; return l })))
	m.commit(9, "channel", "the required capabilities in another order", m.proposals(m.policy("channel", nil, func(l []mls.Extension) []mls.Extension { l[0] = otherRequired; return l })))
	m.commit(9, "channel", "admission of an unknown number", m.proposals(m.policy("channel", func(g *envelope.SottoGroup) { g.Admission = 3 }, nil)))
	m.commit(11, "channel", "an Add with a lifetime of 49 h and 1 s", m.proposals(m.newcomer("channel", func(s *someone) { s.notAfter = 90_001 })))
	m.commit(10, "direct", "an Add to a direct group", m.proposals(m.newcomer("direct", nil)))
	m.commit(10, "direct", "a replacement in a direct group", m.proposals(mls.Remove{Removed: carol}, m.newcomer("direct", func(s *someone) { s.leaf.Session = 5 })))
	m.commit(12, "channel", "the committer's leaf with another signature key", m.ownLeaf(func(s *someone) { s.key = vectorKey(0x78) }))
	m.commit(12, "channel", "the committer's leaf of another session, with a true statement", m.ownLeaf(func(s *someone) { s.leaf.Session = 90 }))
	m.commit(12, "channel", "the committer's leaf of another identity, with a true statement", m.ownLeaf(func(s *someone) { s.id = vectorKey(9) }))
	m.commit(12, "locked", "the committer's leaf of another identity, in a locked group", m.ownLeaf(func(s *someone) { s.id, s.device = vectorKey(9), vectorKey(0x29) }))
	m.commit(12, "channel", "the committer's leaf as a listener", m.ownLeaf(func(s *someone) { s.leaf.Role = envelope.RoleListener }))
	m.commit(4, "channel", "the committer's leaf for a direct group", m.ownLeaf(func(s *someone) { s.leaf.Audience = envelope.AudienceDirect }))
	damaged := m.list[0]
	damaged.begunEpoch = begunEpoch{}
	damaged.Case, damaged.Commit = vectors.Bad("an Update whose last byte is changed"), bytes.Clone(damaged.Commit)
	damaged.Commit[len(damaged.Commit)-1] ^= 1
	m.list = append(m.list, damaged)
	return m.list
}

// messageCases are texts of session 1, padded as §2 has it.
func messageCases(t *testing.T, groups map[string]*mls.Group) (list []messageVector) {
	appData := func(scope byte, channel uint32) []byte {
		body := slices.Concat([]byte{scope}, be32(channel), mlsVec([]byte("hello")))
		return slices.Concat([]byte{1}, bytes.Repeat([]byte{0xA1}, 16), be32(0), be64(uint64(vectorNow.UnixMilli())), mlsVec(body))
	}
	add := func(c vectors.Case, name string, from uint32, data, authenticated []byte, change int) {
		padded := *anything
		padded.Padding = func(_ mls.ContentType, n int) int { return audience.Padding(false, len(mlsVec(make([]byte, n)))+66) }
		m, err := copyGroup(t, groups[name], &padded).Protect(data, authenticated)
		if err != nil {
			t.Fatal(err)
		}
		v := messageVector{Case: c, Welcome: name, From: from, Message: m.Marshal()}
		if change > 0 {
			v.Message[len(v.Message)-change] ^= 1
		}
		if c.Valid {
			v.Data = data
		}
		list = append(list, v)
	}
	text := appData(0, 3)
	add(vectors.Good("a text to the channel"), "channel", 1, text, nil, 0)
	add(vectors.Good("hybrid"), "hybrid", 1, text, nil, 0)
	add(vectors.Good("a private text in a direct group"), "direct", 1, appData(2, envelope.NoChannel), nil, 0)
	add(vectors.Good("authenticated_data, which means nothing"), "channel", 1, text, []byte("anything"), 0)
	add(vectors.Bad("of session 1, from another member"), "channel", 5, text, nil, 0)
	add(vectors.Bad("of session 1, from who is no member"), "channel", 90, text, nil, 0)
	add(vectors.Bad("a byte behind the AppData"), "channel", 1, append(slices.Clone(text), 0), nil, 0)
	add(vectors.Bad("its last byte is changed"), "channel", 1, text, nil, 1)
	add(vectors.Bad("a byte of authenticated_data is changed"), "channel", 1, text, []byte("anything"), 0)
	last := &list[len(list)-1]
	last.Message[bytes.Index(last.Message, []byte("anything"))] ^= 1
	return list
}
