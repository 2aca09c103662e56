package mls

import (
	"errors"
	"testing"
	"time"
)

// commitOffences are Commits of a member, each with one fault; the receiver must
// find it. The numbers are those of the list of semantic checks in OpenMLS' book.
func commitOffences(t testing.TB, g []*Group) map[string]struct {
	h    hostile
	want error
} {
	t.Helper()
	cs := g[0].suite.id
	kp := func(name string, edit func(*Profile)) *KeyPackage {
		p := testProfile(t, cs, name)
		if edit != nil {
			edit(&p)
		}
		return testKeyPackage(t, cs, p).KeyPackage
	}
	forged := func(edit func(*KeyPackage, *Profile)) Add {
		p := testProfile(t, cs, "new")
		o := testKeyPackage(t, cs, p)
		k := *o.KeyPackage
		leaf := *k.LeafNode
		k.LeafNode = &leaf
		edit(&k, &p)
		if err := leaf.sign(g[0].suite, p.SignatureKey, nil, 0); err != nil {
			t.Fatal(err)
		}
		var err error
		if k.Signature, err = g[0].suite.signWithLabel(p.SignatureKey, "KeyPackageTBS", k.appendUnsigned(nil)); err != nil {
			t.Fatal(err)
		}
		return Add{&k}
	}
	byValue := func(ps ...Proposal) (list []CommittedProposal) {
		for _, p := range ps {
			list = append(list, CommittedProposal{p, Sender{Type: SenderMember, Leaf: 3}, false})
		}
		return list
	}
	psk := func(id string, nonce int) PreSharedKey {
		return PreSharedKey{PreSharedKeyID{Type: PSKExternal, ID: []byte(id), Nonce: make([]byte, nonce)}}
	}
	twice := testProfile(t, cs, "twice")
	sameKey := func() *KeyPackage { return testKeyPackage(t, cs, twice).KeyPackage }
	victim := g[0].tree.leaf(1)
	ownUpdate := *g[3].tree.leaf(3)
	ownUpdate.Source, ownUpdate.EncryptionKey = LeafNodeSourceUpdate, victim.EncryptionKey
	if err := ownUpdate.sign(g[3].suite, g[3].signer, g[3].ctx.GroupID, 3); err != nil {
		t.Fatal(err)
	}
	pub := must2(g[0].suite.hpke.generate())

	type row = struct {
		h    hostile
		want error
	}
	rows := map[string]row{
		"101 added signature key of a member": {hostile{list: byValue(forged(func(k *KeyPackage, p *Profile) {
			p.SignatureKey = g[1].signer
			k.LeafNode.SignatureKey = g[1].signer.public
		}))}, ErrLeafNode},
		"101 two added with one signature key":        {hostile{list: byValue(Add{sameKey()}, Add{sameKey()})}, ErrLeafNode},
		"102 two added with one init key":             {hostile{list: byValue(forged(func(k *KeyPackage, _ *Profile) { k.InitKey = pub }), forged(func(k *KeyPackage, _ *Profile) { k.InitKey = pub }))}, ErrProposalList},
		"103 added encryption key of a member":        {hostile{list: byValue(forged(func(k *KeyPackage, _ *Profile) { k.LeafNode.EncryptionKey = victim.EncryptionKey }))}, ErrLeafNode},
		"16.7 added encryption key of a parent":       {hostile{noPath: true, list: byValue(forged(func(k *KeyPackage, _ *Profile) { k.LeafNode.EncryptionKey = g[0].tree.parents[0].EncryptionKey }))}, ErrLeafNode},
		"16.7 the same with a path":                   {hostile{list: byValue(forged(func(k *KeyPackage, _ *Profile) { k.LeafNode.EncryptionKey = g[0].tree.parents[0].EncryptionKey }))}, ErrLeafNode},
		"104 init key is encryption key":              {hostile{list: byValue(forged(func(k *KeyPackage, _ *Profile) { k.InitKey = k.LeafNode.EncryptionKey }))}, ErrKeyPackage},
		"105 other suite":                             {hostile{list: byValue(forged(func(k *KeyPackage, _ *Profile) { k.CipherSuite = 0x0003 ^ (cs & 2) }))}, ErrKeyPackage},
		"105 other version":                           {hostile{list: byValue(forged(func(k *KeyPackage, _ *Profile) { k.Version = 2 }))}, ErrKeyPackage},
		"106 without the group's suite":               {hostile{list: byValue(Add{kp("x", func(p *Profile) { p.Capabilities.CipherSuites = []CipherSuite{0x0a0a} })})}, ErrLeafNode},
		"106 without its own credential type":         {hostile{list: byValue(Add{kp("x", func(p *Profile) { p.Capabilities.Credentials = []CredentialType{CredentialX509} })})}, ErrLeafNode},
		"106 without required capabilities":           {hostile{list: byValue(GroupContextExtensions{[]Extension{RequiredCapabilities{Extensions: []ExtensionType{0xf001}}.Extension()}}, Add{kp("x", func(p *Profile) { p.Capabilities.Extensions = nil })})}, ErrLeafNode},
		"added leaf with an unlisted extension":       {hostile{list: byValue(forged(func(k *KeyPackage, _ *Profile) { k.LeafNode.Extensions = []Extension{{0xf777, nil}} }))}, ErrLeafNode},
		"added KeyPackage with an unlisted extension": {hostile{list: byValue(forged(func(k *KeyPackage, _ *Profile) { k.Extensions = []Extension{{0xf777, nil}} }))}, ErrKeyPackage},
		"added KeyPackage with an extension twice":    {hostile{list: byValue(forged(func(k *KeyPackage, _ *Profile) { k.Extensions = []Extension{{0xf001, nil}, {0xf001, nil}} }))}, ErrMalformed},
		"added leaf of a Commit":                      {hostile{list: byValue(forged(func(k *KeyPackage, _ *Profile) { k.LeafNode.Source = LeafNodeSourceCommit }))}, ErrKeyPackage},
		"added leaf with a bad key":                   {hostile{list: byValue(forged(func(k *KeyPackage, _ *Profile) { k.LeafNode.EncryptionKey = make([]byte, 17) }))}, ErrLeafNode},
		"added KeyPackage with a bad init key":        {hostile{list: byValue(forged(func(k *KeyPackage, _ *Profile) { k.InitKey = make([]byte, 7) }))}, ErrKeyPackage},
		"added KeyPackage valid for ever":             {hostile{list: byValue(forged(func(k *KeyPackage, _ *Profile) { k.LeafNode.Lifetime = Lifetime{0, 1 << 62} }))}, ErrLeafNode},
		"added KeyPackage with a reversed lifetime":   {hostile{list: byValue(forged(func(k *KeyPackage, _ *Profile) { k.LeafNode.Lifetime = Lifetime{9, 8} }))}, ErrLeafNode},
		"added credential that nobody accepts":        {hostile{list: byValue(Add{kp("nobody", nil)})}, ErrAuthentication},
		"107 remove twice":                            {hostile{list: byValue(Remove{1}, Remove{1})}, ErrProposalList},
		"108 remove of a blank leaf":                  {hostile{list: byValue(Remove{5})}, ErrProposal},
		"108 remove beyond the tree":                  {hostile{list: byValue(Remove{1 << 31})}, ErrProposal},
		"111 update by the committer":                 {hostile{list: byValue(Update{&ownUpdate})}, ErrProposalList},
		"200 self remove":                             {hostile{list: byValue(Remove{3})}, ErrProposalList},
		"201 remove without path":                     {hostile{list: byValue(Remove{1}), noPath: true}, ErrCommit},
		"201 extensions without path":                 {hostile{list: byValue(GroupContextExtensions{}), noPath: true}, ErrCommit},
		"201 empty without path":                      {hostile{noPath: true}, ErrCommit},
		"202 path too short":                          {hostile{path: func(p *UpdatePath) { p.Nodes = p.Nodes[:1] }}, ErrUpdatePath},
		"202 path too long":                           {hostile{path: func(p *UpdatePath) { p.Nodes = append(p.Nodes, UpdatePathNode{EncryptionKey: pub}) }}, ErrUpdatePath},
		"202 too many path secrets": {hostile{path: func(p *UpdatePath) {
			n := &p.Nodes[0]
			n.EncryptedPathSecret = append(n.EncryptedPathSecret, n.EncryptedPathSecret[0])
		}}, ErrUpdatePath},
		"203 path secret does not decrypt": {hostile{path: func(p *UpdatePath) {
			for i := range p.Nodes {
				for k := range p.Nodes[i].EncryptedPathSecret {
					p.Nodes[i].EncryptedPathSecret[k].Ciphertext[3] ^= 1
				}
			}
		}}, ErrDecrypt},
		"204 public key does not fit": {hostile{path: func(p *UpdatePath) { p.Nodes[len(p.Nodes)-1].EncryptionKey = pub }}, ErrUpdatePath},
		"204 path secret of another key": {hostile{sealed: func(p *UpdatePath, tree *tree, context []byte) {
			path, copath := tree.filteredDirectPath(3)
			for i := range path {
				for k, x := range tree.resolution(nil, copath[i], nil) {
					var err error
					if p.Nodes[i].EncryptedPathSecret[k], err = tree.suite.encryptWithLabel(tree.encryptionKey(x), "UpdatePathNode", context, random(tree.suite.nh)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}}, ErrUpdatePath},
		"path secret of the wrong length": {hostile{sealed: func(p *UpdatePath, tree *tree, context []byte) {
			path, copath := tree.filteredDirectPath(3)
			for i := range path {
				for k, x := range tree.resolution(nil, copath[i], nil) {
					var err error
					if p.Nodes[i].EncryptedPathSecret[k], err = tree.suite.encryptWithLabel(tree.encryptionKey(x), "UpdatePathNode", context, random(7)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}}, ErrUpdatePath},
		"205 confirmation tag wrong":                   {hostile{auth: func(a *authenticatedContent) { a.tag[0] ^= 1 }}, ErrConfirmationTag},
		"205 confirmation tag short":                   {hostile{auth: func(a *authenticatedContent) { a.tag = a.tag[:8] }}, ErrConfirmationTag},
		"009 confirmation tag empty":                   {hostile{auth: func(a *authenticatedContent) { a.tag = nil }}, ErrConfirmationTag},
		"206 path leaf with a member's encryption key": {hostile{leaf: func(l *LeafNode) { l.EncryptionKey = victim.EncryptionKey }}, ErrUpdatePath},
		"206 path leaf with its old encryption key":    {hostile{leaf: func(l *LeafNode) { l.EncryptionKey = g[3].tree.leaf(3).EncryptionKey }}, ErrUpdatePath},
		"207 path with a key twice":                    {hostile{path: func(p *UpdatePath) { p.Nodes[0].EncryptionKey = p.Nodes[1].EncryptionKey }}, ErrUpdatePath},
		"207 path with a key of the tree":              {hostile{path: func(p *UpdatePath) { p.Nodes[0].EncryptionKey = g[0].tree.parents[0].EncryptionKey }}, ErrUpdatePath},
		"path key that is none":                        {hostile{path: func(p *UpdatePath) { p.Nodes[0].EncryptionKey = make([]byte, 31) }}, ErrUpdatePath},
		"path leaf of an Update":                       {hostile{leaf: func(l *LeafNode) { l.Source = LeafNodeSourceUpdate }}, ErrLeafNode},
		"path leaf of a KeyPackage":                    {hostile{leaf: func(l *LeafNode) { l.Source, l.Lifetime = LeafNodeSourceKeyPackage, testLifetime }}, ErrLeafNode},
		"path leaf with a wrong parent hash":           {hostile{leaf: func(l *LeafNode) { l.ParentHash[0] ^= 1 }}, ErrUpdatePath},
		"path leaf with a wrong signature":             {hostile{leafAfter: func(l *LeafNode) { l.Signature[9] ^= 1; l.encoded = nil }}, ErrSignature},
		"path leaf with another's signature key":       {hostile{leafAfter: func(l *LeafNode) { l.SignatureKey, l.encoded = victim.SignatureKey, nil }}, ErrSignature},
		"path leaf with an unaccepted credential":      {hostile{leaf: func(l *LeafNode) { l.Credential = BasicCredential([]byte("nobody")) }}, ErrAuthentication},
		"path leaf without the suite":                  {hostile{leaf: func(l *LeafNode) { l.Capabilities.CipherSuites = nil }}, ErrLeafNode},
		"208 two lists of extensions":                  {hostile{list: byValue(GroupContextExtensions{}, GroupContextExtensions{})}, ErrProposalList},
		"209 extension that a member does not support": {hostile{list: byValue(GroupContextExtensions{[]Extension{{0xf999, nil}}})}, ErrProposal},
		"209 capability that a member does not have":   {hostile{list: byValue(GroupContextExtensions{[]Extension{RequiredCapabilities{Proposals: []ProposalType{0xf001}}.Extension()}})}, ErrProposal},
		"209 required capabilities that do not decode": {hostile{list: byValue(GroupContextExtensions{[]Extension{{ExtensionRequiredCapabilities, []byte{1}}}})}, ErrMalformed},
		"external sender that nobody accepts":          {hostile{list: byValue(GroupContextExtensions{[]Extension{ExternalSenders(ExternalSender{g[1].signer.public, BasicCredential([]byte("nobody"))})}})}, ErrAuthentication},
		"external sender with a bad key":               {hostile{list: byValue(GroupContextExtensions{[]Extension{ExternalSenders(ExternalSender{nil, BasicCredential([]byte("x"))})}})}, ErrProposal},
		"240 external_init by a member":                {hostile{list: byValue(ExternalInit{make([]byte, 32)})}, ErrProposalList},
		"401 PSK nonce of the wrong length":            {hostile{list: byValue(psk("a", 31))}, ErrProposal},
		"402 PSK for a branch":                         {hostile{list: byValue(PreSharedKey{PreSharedKeyID{Type: PSKResumption, Usage: ResumptionBranch, GroupID: []byte("x"), Nonce: make([]byte, g[0].suite.nh)}})}, ErrProposal},
		"402 PSK for a reinit":                         {hostile{list: byValue(PreSharedKey{PreSharedKeyID{Type: PSKResumption, Usage: ResumptionReInit, GroupID: []byte("x"), Nonce: make([]byte, g[0].suite.nh)}})}, ErrProposal},
		"403 the same PSK twice":                       {hostile{list: byValue(psk("a", g[0].suite.nh), psk("a", g[0].suite.nh))}, ErrProposalList},
		"reinit beside a remove":                       {hostile{list: byValue(ReInit{Version: MLS10, CipherSuite: cs}, Remove{1})}, ErrProposalList},
		"reinit to an older version":                   {hostile{list: byValue(ReInit{Version: 0, CipherSuite: cs})}, ErrProposal},
		"reference to an unknown proposal": {hostile{content: func(a *authenticatedContent) {
			a.content.Commit.Proposals = []ProposalOrRef{{Reference: make([]byte, 32)}}
		}}, ErrCommit},
		"002 other group":                  {hostile{content: func(a *authenticatedContent) { a.content.GroupID = []byte("another") }}, ErrWrongGroup},
		"003 earlier epoch":                {hostile{content: func(a *authenticatedContent) { a.content.Epoch-- }}, ErrWrongEpoch},
		"003 later epoch":                  {hostile{content: func(a *authenticatedContent) { a.content.Epoch++ }}, ErrWrongEpoch},
		"010 signature":                    {hostile{auth: func(a *authenticatedContent) { a.signature[7] ^= 1 }}, ErrSignature},
		"010 signature of another member":  {hostile{signer: g[2].signer, leafAfter: func(l *LeafNode) {}}, ErrSignature},
		"004 sender is a blank leaf":       {hostile{sender: &Sender{Type: SenderMember, Leaf: 5}, format: WireFormatPublicMessage}, ErrSender},
		"004 sender is beyond the tree":    {hostile{sender: &Sender{Type: SenderMember, Leaf: 1 << 31}, format: WireFormatPublicMessage}, ErrSender},
		"004 sender is the receiver":       {hostile{sender: &Sender{Type: SenderMember, Leaf: 0}, format: WireFormatPublicMessage}, ErrOwnMessage},
		"112 commit by an external sender": {hostile{sender: &Sender{Type: SenderExternal}, format: WireFormatPublicMessage}, ErrSender},
		"112 commit by a proposer":         {hostile{sender: &Sender{Type: SenderNewMemberProposal}, format: WireFormatPublicMessage}, ErrSender},
	}
	return rows
}

func TestHostileCommits(t *testing.T) {
	for _, cs := range []CipherSuite{X25519AES128GCM, P256AES128GCM, MLKEM768X25519AES128GCM} {
		t.Run(cs.String(), func(t *testing.T) {
			// Five members: the tree of eight has blank leaves, and a full left half.
			g := testGroup(t, cs, 5)
			commitAll(t, g, 0, CommitOptions{})
			commitAll(t, g, 3, CommitOptions{})
			rows := commitOffences(t, g)
			for name, row := range rows {
				t.Run(name, func(t *testing.T) {
					row.h.Group = g[3]
					refuse(t, g[0], row.h.commit(t), row.want)
				})
			}
			// The builder itself makes Commits that are accepted.
			h := hostile{Group: g[3], list: []CommittedProposal{{Remove{1}, Sender{}, false}}}
			if _, err := g[0].Read(h.commit(t), atTime); err != nil {
				t.Errorf("a Commit without fault: %v", err)
			}
			t.Logf("%d offences refused", len(rows))
		})
	}
}

// Clocks differ. What one member has added, all have, whatever theirs say (§7.3);
// who adds asks its own.
func TestLifetimeIsTheSendersToCheck(t *testing.T) {
	g := testGroup(t, X25519AES128GCM, 3)
	add := Add{testKeyPackage(t, X25519AES128GCM, testProfile(t, X25519AES128GCM, "new")).KeyPackage}
	for name, at := range map[string]time.Time{"too late": atTime.Add(1000 * time.Hour), "too early": atTime.Add(-1000 * time.Hour)} {
		if _, err := g[0].Commit(CommitOptions{Proposals: []Proposal{add}}, at); !errors.Is(err, ErrLeafNode) {
			t.Errorf("added %s: %v", name, err)
		}
		c, err := g[0].Commit(CommitOptions{Proposals: []Proposal{add}}, atTime)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g[1].Read(c.Message(), at); err != nil {
			t.Errorf("received %s: %v", name, err)
		}
		c.Discard()
	}
}
