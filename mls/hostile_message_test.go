package mls

import (
	"errors"
	"math"
	"testing"
)

// privateFrom encrypts content as leaf at would, with hooks.
func privateFrom(t testing.TB, g *Group, at LeafIndex, generation uint32, edit func(*authenticatedContent), plain func([]byte) []byte) *Message {
	t.Helper()
	s := g.suite
	a := &authenticatedContent{wireFormat: WireFormatPrivateMessage, content: FramedContent{GroupID: g.ctx.GroupID, Epoch: g.ctx.Epoch,
		Sender: Sender{Type: SenderMember, Leaf: at}, ContentType: ContentApplication, Application: []byte("data")}}
	if edit != nil {
		edit(a)
	}
	var err error
	if len(a.signature) == 0 {
		if a.signature, err = s.signWithLabel(g.signer, "FramedContentTBS", a.tbs(g.context)); err != nil {
			t.Fatal(err)
		}
	}
	m := &PrivateMessage{GroupID: a.content.GroupID, Epoch: a.content.Epoch, ContentType: a.content.ContentType}
	d := senderData{leaf: at, generation: generation}
	key, nonce := secret(make([]byte, s.nk)), secret(make([]byte, nn))
	if f, err := g.ratchets.find(at, m.ContentType.ratchet(), generation, math.MaxInt32, 0); err == nil {
		key, nonce = f.key, f.nonce
	}
	b := a.appendAuth(a.content.appendContent(nil))
	if plain != nil {
		b = plain(b)
	}
	m.Ciphertext = s.aeadSeal(key, nonce, m.contentAAD(), b)
	key, nonce = s.senderDataKey(g.secrets.senderData, m.Ciphertext)
	m.EncryptedSenderData = s.aeadSeal(key, nonce, m.appendSenderDataAAD(nil), d.append(nil))
	return &Message{Private: m}
}

func TestHostileMessages(t *testing.T) {
	g := testGroup(t, X25519AES128GCM, 5)
	s := g[0].suite
	honest := func() *Message { return privateFrom(t, g[3], 3, 0, nil, nil) }
	edited := func(edit func(*PrivateMessage)) *Message { m := honest(); edit(m.Private); return m }
	public := func(p Proposal, sender Sender, k *SignaturePrivateKey, edit func(*PublicMessage)) *Message {
		a := &authenticatedContent{wireFormat: WireFormatPublicMessage, content: FramedContent{GroupID: g[3].ctx.GroupID, Epoch: g[3].ctx.Epoch,
			Sender: sender, ContentType: ContentProposal, Proposal: p}}
		var err error
		if a.signature, err = s.signWithLabel(k, "FramedContentTBS", a.tbs(g[3].context)); err != nil {
			t.Fatal(err)
		}
		m, err := protectPublic(s, a, g[3].secrets.membership, g[3].context)
		if err != nil {
			t.Fatal(err)
		}
		if edit != nil {
			edit(m)
		}
		return &Message{Public: m}
	}
	member := Sender{Type: SenderMember, Leaf: 3}
	propose := func(p Proposal) *Message { return public(p, member, g[3].signer, nil) }
	update := func(edit func(*LeafNode)) Update {
		l := *g[3].tree.leaf(3)
		l.Source, l.EncryptionKey, l.ParentHash = LeafNodeSourceUpdate, must2(s.hpke.generate()), nil
		edit(&l)
		if err := l.sign(s, g[3].signer, g[3].ctx.GroupID, 3); err != nil {
			t.Fatal(err)
		}
		return Update{&l}
	}
	_, publicAppErr := protectPublic(s, &authenticatedContent{content: FramedContent{ContentType: ContentApplication}}, nil, nil)
	if !errors.Is(publicAppErr, ErrUsage) {
		t.Error(publicAppErr)
	}
	publicApp := &Message{Public: &PublicMessage{Content: FramedContent{GroupID: g[3].ctx.GroupID, Epoch: g[3].ctx.Epoch, Sender: member,
		ContentType: ContentApplication, Application: []byte("x")}}}
	strangerKey, err := GenerateSignatureKey(s.id)
	if err != nil {
		t.Fatal(err)
	}
	stranger := func(name string, edit func(*KeyPackage)) Add {
		p := testProfile(t, s.id, name)
		p.SignatureKey = strangerKey
		kp := testKeyPackage(t, s.id, p).KeyPackage
		if edit != nil {
			edit(kp)
		}
		return Add{kp}
	}
	for name, row := range map[string]struct {
		m    *Message
		want error
	}{
		"002 other group":                         {edited(func(m *PrivateMessage) { m.GroupID = []byte("x") }), ErrWrongGroup},
		"003 other epoch":                         {edited(func(m *PrivateMessage) { m.Epoch++ }), ErrWrongEpoch},
		"003 former epoch, keys gone":             {edited(func(m *PrivateMessage) { m.Epoch-- }), ErrWrongEpoch},
		"004 sender is blank":                     {privateFrom(t, g[3], 6, 0, nil, nil), ErrSender},
		"004 sender is beyond the tree":           {privateFrom(t, g[3], 1<<31, 0, nil, nil), ErrSender},
		"004 sender is the receiver":              {privateFrom(t, g[3], 0, 0, nil, nil), ErrOwnMessage},
		"005 application data in a PublicMessage": {publicApp, ErrSender},
		"006 ciphertext":                          {edited(func(m *PrivateMessage) { m.Ciphertext[len(m.Ciphertext)-1] ^= 1 }), ErrDecrypt},
		"006 first byte, sampled for sender data": {edited(func(m *PrivateMessage) { m.Ciphertext[0] ^= 1 }), ErrDecrypt},
		"006 ciphertext empty":                    {edited(func(m *PrivateMessage) { m.Ciphertext = nil }), ErrDecrypt},
		"006 sender data":                         {edited(func(m *PrivateMessage) { m.EncryptedSenderData[0] ^= 1 }), ErrDecrypt},
		"006 authenticated data":                  {edited(func(m *PrivateMessage) { m.AuthenticatedData = []byte("other") }), ErrDecrypt},
		"006 another content type":                {edited(func(m *PrivateMessage) { m.ContentType = ContentProposal }), ErrDecrypt},
		"content type 9":                          {edited(func(m *PrivateMessage) { m.ContentType = 9 }), ErrMalformed},
		"007 membership tag missing":              {public(Remove{1}, member, g[3].signer, func(m *PublicMessage) { m.MembershipTag = nil }), ErrMembershipTag},
		"008 membership tag wrong":                {public(Remove{1}, member, g[3].signer, func(m *PublicMessage) { m.MembershipTag[31] ^= 1 }), ErrMembershipTag},
		"008 membership tag short":                {public(Remove{1}, member, g[3].signer, func(m *PublicMessage) { m.MembershipTag = m.MembershipTag[:16] }), ErrMembershipTag},
		"010 signature of a stranger":             {public(Remove{1}, member, strangerKey, nil), ErrSignature},
		"010 signature empty":                     {privateFrom(t, g[3], 3, 0, func(a *authenticatedContent) { a.signature = make([]byte, 64) }, nil), ErrSignature},
		"010 signed by another member":            {privateFrom(t, g[3], 2, 0, nil, nil), ErrSignature},
		"011 padding that is not zero":            {privateFrom(t, g[3], 3, 0, nil, func(b []byte) []byte { return append(b, 0, 0, 1, 0) }), ErrMalformed},
		"content cut off":                         {privateFrom(t, g[3], 3, 0, nil, func(b []byte) []byte { return b[:9] }), ErrMalformed},
		"generation out of reach":                 {privateFrom(t, g[3], 3, 2000, nil, nil), ErrGeneration},
		"generation at the end":                   {privateFrom(t, g[3], 3, math.MaxUint32, nil, nil), ErrGeneration},
		"108 remove of a blank leaf":              {propose(Remove{6}), ErrProposal},
		"109 update without the suite":            {propose(update(func(l *LeafNode) { l.Capabilities.CipherSuites = nil })), nil}, // judged when committed
		"110 update with the old encryption key":  {propose(update(func(l *LeafNode) { l.EncryptionKey = g[3].tree.leaf(3).EncryptionKey })), ErrLeafNode},
		"update with a leaf of a Commit":          {propose(update(func(l *LeafNode) { l.Source = LeafNodeSourceCommit })), ErrLeafNode},
		"112 update by a new member":              {public(update(func(*LeafNode) {}), Sender{Type: SenderNewMemberProposal}, g[3].signer, nil), ErrSender},
		"112 update by an external sender":        {public(update(func(*LeafNode) {}), Sender{Type: SenderExternal}, g[3].signer, nil), ErrSender},
		"external sender where there is none":     {public(Remove{1}, Sender{Type: SenderExternal}, g[3].signer, nil), ErrSender},
		"remove by a new member":                  {public(Remove{1}, Sender{Type: SenderNewMemberProposal}, g[3].signer, nil), ErrSender},
		"proposal as external Commit":             {public(Remove{1}, Sender{Type: SenderNewMemberCommit}, g[3].signer, nil), ErrSender},
		"new member whom nobody accepts":          {public(stranger("nobody", nil), Sender{Type: SenderNewMemberProposal}, strangerKey, nil), ErrAuthentication},
		"new member of another suite":             {public(stranger("eve", func(kp *KeyPackage) { kp.CipherSuite = P256AES128GCM }), Sender{Type: SenderNewMemberProposal}, strangerKey, nil), ErrKeyPackage},
		"new member with a KeyPackage of others":  {public(stranger("eve", func(kp *KeyPackage) { kp.InitKey = must2(s.hpke.generate()) }), Sender{Type: SenderNewMemberProposal}, strangerKey, nil), ErrSignature},
		"external_init as a proposal":             {propose(ExternalInit{make([]byte, 32)}), ErrProposal},
		"401 PSK nonce":                           {propose(PreSharedKey{PreSharedKeyID{Type: PSKExternal}}), ErrProposal},
		"welcome where a message should be":       {&Message{Welcome: &Welcome{}}, ErrUsage},
	} {
		if row.want != nil {
			t.Run(name, func(t *testing.T) { refuse(t, g[0], row.m, row.want) })
		}
	}

	// The honest one is read, once.
	m := honest()
	if _, err := g[0].Read(m, atTime); err != nil {
		t.Fatal(err)
	}
	refuse(t, g[0], m, ErrGeneration)

	// Bad Updates pass as proposals and fail in the Commit that refers to them.
	for name, edit := range map[string]func(*LeafNode){
		"109 without the suite":             func(l *LeafNode) { l.Capabilities.CipherSuites = nil },
		"110 encryption key of a member":    func(l *LeafNode) { l.EncryptionKey = g[1].tree.leaf(1).EncryptionKey },
		"update with an unlisted extension": func(l *LeafNode) { l.Extensions = []Extension{{0xf777, nil}} },
		"update with nobody's credential":   func(l *LeafNode) { l.Credential = BasicCredential([]byte("nobody")) },
		"101 signature key of a member":     func(l *LeafNode) { l.SignatureKey = g[1].signer.public },
	} {
		t.Run(name, func(t *testing.T) {
			m := propose(update(edit))
			for _, i := range []int{0, 2} {
				if _, err := g[i].Read(m, atTime); err != nil {
					t.Fatal(err)
				}
			}
			last := g[2].proposals[len(g[2].proposals)-1].content.content
			h := hostile{Group: g[2], list: []CommittedProposal{{last.Proposal, last.Sender, true}}}
			refuse(t, g[0], h.commit(t), anyOf{ErrLeafNode, ErrSignature, ErrAuthentication})
			for _, i := range []int{0, 2} {
				g[i].proposals = nil
			}
		})
	}
}

// anyOf matches one of several errors, as target of errors.Is.
type anyOf []error

func (anyOf) Error() string { return "any of several" }

func TestHostileExternalCommits(t *testing.T) {
	g := testGroup(t, X25519AES128GCM, 5)
	s := g[0].suite
	signer, err := GenerateSignatureKey(s.id)
	if err != nil {
		t.Fatal(err)
	}
	_, public, err := s.externalKey(g[0].secrets.external)
	if err != nil {
		t.Fatal(err)
	}
	enc, init, err := s.hpke.exportTo(public, externalInitLabel, s.nh)
	if err != nil {
		t.Fatal(err)
	}
	list := func(ps ...Proposal) (list []CommittedProposal) {
		for _, p := range ps {
			list = append(list, CommittedProposal{Proposal: p})
		}
		return list
	}
	in := ExternalInit{enc}
	psk := PreSharedKey{PreSharedKeyID{Type: PSKExternal, ID: []byte("a"), Nonce: make([]byte, s.nh)}}
	remove, err := g[3].Propose(Remove{1}, nil, atTime)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g[0].Read(remove, atTime); err != nil {
		t.Fatal(err)
	}
	ref := g[3].proposals[0].content.content
	for name, row := range map[string]struct {
		h    hostile
		want error
	}{
		"240 no external_init":       {hostile{list: list(psk)}, ErrProposalList},
		"241 two external_init":      {hostile{list: list(in, in)}, ErrProposalList},
		"242 add":                    {hostile{list: list(in, Add{testKeyPackage(t, s.id, testProfile(t, s.id, "x")).KeyPackage})}, ErrProposalList},
		"242 extensions":             {hostile{list: list(in, GroupContextExtensions{})}, ErrProposalList},
		"242 reinit":                 {hostile{list: list(in, ReInit{Version: MLS10})}, ErrProposalList},
		"243 two removes":            {hostile{list: list(in, Remove{1}, Remove{2})}, ErrProposalList},
		"remove of a blank leaf":     {hostile{list: list(in, Remove{6})}, ErrProposal},
		"244 by reference":           {hostile{list: append(list(in), CommittedProposal{ref.Proposal, ref.Sender, true})}, ErrProposalList},
		"245 no path":                {hostile{list: list(in), noPath: true}, ErrCommit},
		"246 signature of another":   {hostile{list: list(in), auth: func(a *authenticatedContent) { a.signature[5] ^= 1 }}, ErrSignature},
		"403 PSK twice":              {hostile{list: list(in, psk, psk)}, ErrProposalList},
		"kem_output of another":      {hostile{list: list(ExternalInit{public})}, ErrConfirmationTag},
		"kem_output that is none":    {hostile{list: list(ExternalInit{make([]byte, 5)})}, ErrDecrypt},
		"leaf with a member's key":   {hostile{list: list(in), leaf: func(l *LeafNode) { l.EncryptionKey = g[1].tree.leaf(1).EncryptionKey }}, ErrUpdatePath},
		"resync with the old key":    {hostile{list: list(in, Remove{1}), leaf: func(l *LeafNode) { l.EncryptionKey = g[1].tree.leaf(1).EncryptionKey }}, ErrUpdatePath},
		"credential that is refused": {hostile{list: list(in), leaf: func(l *LeafNode) { l.Credential = BasicCredential([]byte("nobody")) }}, ErrAuthentication},
		"signature key of a member":  {hostile{list: list(in), signer: g[1].signer}, ErrLeafNode},
		"leaf without the suite":     {hostile{list: list(in), leaf: func(l *LeafNode) { l.Capabilities.CipherSuites = nil }}, ErrLeafNode},
		"confirmation tag":           {hostile{list: list(in), auth: func(a *authenticatedContent) { a.tag[1] ^= 1 }}, ErrConfirmationTag},
		"other epoch":                {hostile{list: list(in), content: func(a *authenticatedContent) { a.content.Epoch++ }}, ErrWrongEpoch},
	} {
		t.Run(name, func(t *testing.T) {
			row.h.Group, row.h.sender, row.h.format, row.h.init = g[3], &Sender{Type: SenderNewMemberCommit}, WireFormatPublicMessage, init
			if row.h.signer == nil {
				row.h.signer = signer
			}
			refuse(t, g[0], row.h.commit(t), row.want)
		})
	}
	h := hostile{Group: g[3], sender: &Sender{Type: SenderNewMemberCommit}, format: WireFormatPublicMessage, init: init, signer: signer, list: list(in, Remove{1})}
	if _, err := g[0].Read(h.commit(t), atTime); err != nil {
		t.Errorf("an external Commit without fault: %v", err)
	}
}
