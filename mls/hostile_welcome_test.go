package mls

import (
	"errors"
	"slices"
	"testing"
)

// hostileWelcome makes a Welcome of a group that may never have been: its key
// schedule begins with a joiner secret of the attacker's own choice.
type hostileWelcome struct {
	tree    func(*tree)
	context func(*GroupContext)
	secrets func(*groupSecrets)
	info    func(*GroupInfo)
	after   func(*GroupInfo) // signed
	welcome func(*Welcome)
	signer  LeafIndex
	outside bool // no tree in it
	raw     func([]byte) []byte
}

func (h *hostileWelcome) make(t testing.TB, g []*Group, own *OwnKeyPackage) *Welcome {
	t.Helper()
	m := g[h.signer]
	s := m.suite
	tree := m.tree.clone()
	tree.add(own.KeyPackage.LeafNode)
	if h.tree != nil {
		h.tree(tree)
		clear(tree.hashes)
	}
	ctx := m.ctx
	ctx.Epoch++
	ctx.TreeHash = tree.hash()
	if h.context != nil {
		h.context(&ctx)
	}
	gs := &groupSecrets{joiner: random(s.nh)}
	if h.secrets != nil {
		h.secrets(gs)
	}
	keys := make([]secret, len(gs.psks))
	for i := range gs.psks {
		keys[i] = secret("psk of " + string(gs.psks[i].ID))
	}
	psk := s.pskSecret(gs.psks, keys)
	n := s.startEpoch(s.memberSecret(gs.joiner, psk), ctx.append(nil))
	gi := &GroupInfo{GroupContext: ctx, ConfirmationTag: s.mac(n.confirmation, ctx.ConfirmedTranscriptHash), Signer: h.signer}
	if !h.outside {
		b := tree.append(nil)
		if h.raw != nil {
			b = h.raw(b)
		}
		gi.Extensions = []Extension{{0x0a0a, []byte("ignored")}, {ExtensionRatchetTree, b}}
	}
	if h.info != nil {
		h.info(gi)
	}
	if err := gi.sign(s, m.signer); err != nil {
		t.Fatal(err)
	}
	if h.after != nil {
		h.after(gi)
	}
	key, nonce := s.welcomeKey(s.welcomeSecret(s.memberSecret(gs.joiner, psk)))
	w := &Welcome{CipherSuite: s.id, EncryptedGroupInfo: s.aeadSeal(key, nonce, nil, gi.append(nil))}
	ct, err := s.encryptWithLabel(own.KeyPackage.InitKey, "Welcome", w.EncryptedGroupInfo, gs.append(nil))
	if err != nil {
		t.Fatal(err)
	}
	w.Secrets = []EncryptedGroupSecrets{{own.KeyPackage.ref(s), ct}}
	if h.welcome != nil {
		h.welcome(w)
	}
	return w
}

func TestHostileWelcomes(t *testing.T) {
	for _, cs := range []CipherSuite{X25519AES128GCM, MLKEM768X25519AES128GCM} {
		t.Run(cs.String(), func(t *testing.T) { testHostileWelcomes(t, cs) })
	}
}

func testHostileWelcomes(t *testing.T, cs CipherSuite) {
	g := testGroup(t, cs, 5)
	s := g[0].suite
	commitAll(t, g, 0, CommitOptions{})
	commitAll(t, g, 3, CommitOptions{})
	own := testKeyPackage(t, cs, testProfile(t, cs, "joiner"))
	other := must2(s.hpke.generate())
	testKeyPackageLeaf := testKeyPackage(t, cs, testProfile(t, cs, "another")).KeyPackage.LeafNode
	editLeaf := func(i LeafIndex, edit func(*LeafNode)) func(*tree) {
		return func(t *tree) {
			l := *t.leaf(i)
			edit(&l)
			l.encoded = nil
			t.update(i, &l)
		}
	}
	editParent := func(x nodeIndex, edit func(*ParentNode)) func(*tree) {
		return func(t *tree) {
			p := *t.parentNode(x)
			p.UnmergedLeaves = slices.Clone(p.UnmergedLeaves)
			edit(&p)
			t.setParent(x, &p)
		}
	}
	signed := func(i LeafIndex, edit func(*LeafNode)) func(*tree) {
		return editLeaf(i, func(l *LeafNode) {
			edit(l)
			if err := l.sign(s, g[i].signer, g[i].ctx.GroupID, i); err != nil {
				t.Fatal(err)
			}
		})
	}
	resumption := func(usage ResumptionPSKUsage) PreSharedKeyID {
		return PreSharedKeyID{Type: PSKResumption, Usage: usage, GroupID: g[0].ctx.GroupID, Epoch: 1, Nonce: make([]byte, s.nh)}
	}
	for name, row := range map[string]struct {
		h    hostileWelcome
		want error
	}{
		"for another KeyPackage":        {hostileWelcome{welcome: func(w *Welcome) { w.Secrets[0].NewMember[3] ^= 1 }}, ErrWelcome},
		"of another suite":              {hostileWelcome{welcome: func(w *Welcome) { w.CipherSuite = P256AES128GCM }}, ErrWelcome},
		"of an unknown suite":           {hostileWelcome{welcome: func(w *Welcome) { w.CipherSuite = 4 }}, ErrUnsupported},
		"secrets do not decrypt":        {hostileWelcome{welcome: func(w *Welcome) { w.Secrets[0].Secrets.Ciphertext[3] ^= 1 }}, ErrDecrypt},
		"group info is exchanged":       {hostileWelcome{welcome: func(w *Welcome) { w.EncryptedGroupInfo[3] ^= 1 }}, ErrDecrypt},
		"joiner secret short":           {hostileWelcome{secrets: func(gs *groupSecrets) { gs.joiner = gs.joiner[:8] }}, ErrWelcome},
		"signer is blank":               {hostileWelcome{info: func(gi *GroupInfo) { gi.Signer = 6 }}, ErrGroupInfo},
		"signer beyond the tree":        {hostileWelcome{info: func(gi *GroupInfo) { gi.Signer = 1 << 31 }}, ErrGroupInfo},
		"signer is another":             {hostileWelcome{info: func(gi *GroupInfo) { gi.Signer = 2 }}, ErrSignature},
		"signature wrong":               {hostileWelcome{after: func(gi *GroupInfo) { gi.Signature[3] ^= 1 }}, ErrSignature},
		"confirmation tag":              {hostileWelcome{info: func(gi *GroupInfo) { gi.ConfirmationTag[3] ^= 1 }}, ErrConfirmationTag},
		"confirmation tag short":        {hostileWelcome{info: func(gi *GroupInfo) { gi.ConfirmationTag = gi.ConfirmationTag[:4] }}, ErrConfirmationTag},
		"version 2":                     {hostileWelcome{context: func(c *GroupContext) { c.Version = 2 }}, ErrGroupInfo},
		"another suite inside":          {hostileWelcome{context: func(c *GroupContext) { c.CipherSuite = 2 }}, ErrGroupInfo},
		"tree hash":                     {hostileWelcome{context: func(c *GroupContext) { c.TreeHash = make([]byte, s.nh) }}, ErrTree},
		"extension that we do not have": {hostileWelcome{context: func(c *GroupContext) { c.Extensions = []Extension{{0xf999, nil}} }}, ErrLeafNode},
		"group in use":                  {hostileWelcome{context: func(c *GroupContext) { c.GroupID = []byte("in use") }}, ErrGroupInfo},
		"no tree":                       {hostileWelcome{outside: true}, ErrGroupInfo},
		"an extension twice":            {hostileWelcome{info: func(gi *GroupInfo) { gi.Extensions = append(gi.Extensions, gi.Extensions[0]) }}, ErrMalformed},
		"tree with blank nodes at its end": {hostileWelcome{raw: func(b []byte) []byte {
			r := &reader{b: b}
			return appendOpaque(nil, append(slices.Clone(r.opaque()), 0, 0))
		}}, ErrMalformed},
		"tree with an even number of nodes": {hostileWelcome{raw: func(b []byte) []byte {
			r := &reader{b: b}
			return appendOpaque(nil, g[0].tree.parents[0].append(append(slices.Clone(r.opaque()), 1, 2)))
		}}, ErrMalformed},
		"tree of nothing":                 {hostileWelcome{raw: func([]byte) []byte { return []byte{0} }}, ErrMalformed},
		"our leaf is missing":             {hostileWelcome{tree: func(t *tree) { t.leaves[5] = testKeyPackageLeaf }}, ErrWelcome},
		"parent with a foreign key":       {hostileWelcome{tree: editParent(1, func(p *ParentNode) { p.EncryptionKey = other })}, ErrTree},
		"root with a foreign key":         {hostileWelcome{tree: editParent(7, func(p *ParentNode) { p.EncryptionKey = other })}, ErrTree},
		"parent with a wrong parent hash": {hostileWelcome{tree: editParent(1, func(p *ParentNode) { p.ParentHash = random(s.nh) })}, ErrTree},
		"parent key that is none":         {hostileWelcome{tree: editParent(1, func(p *ParentNode) { p.EncryptionKey = make([]byte, 17) })}, ErrTree},
		"parent with a leaf's key":        {hostileWelcome{tree: func(t *tree) { editParent(1, func(p *ParentNode) { p.EncryptionKey = t.leaf(2).EncryptionKey })(t) }}, ErrTree},
		"two parents with one key": {hostileWelcome{tree: func(t *tree) {
			editParent(1, func(p *ParentNode) { p.EncryptionKey = t.parentNode(7).EncryptionKey })(t)
		}}, ErrTree},
		"unmerged leaf that is blank":       {hostileWelcome{tree: editParent(7, func(p *ParentNode) { p.UnmergedLeaves = append(p.UnmergedLeaves, 6) })}, ErrTree},
		"unmerged leaf of another subtree":  {hostileWelcome{tree: editParent(1, func(p *ParentNode) { p.UnmergedLeaves = []LeafIndex{4} })}, ErrTree},
		"unmerged leaf not merged below":    {hostileWelcome{tree: editParent(7, func(p *ParentNode) { p.UnmergedLeaves = []LeafIndex{0, 5} })}, ErrTree},
		"unmerged leaves out of order":      {hostileWelcome{tree: editParent(7, func(p *ParentNode) { p.UnmergedLeaves = []LeafIndex{5, 4} })}, ErrMalformed},
		"leaf with a wrong signature":       {hostileWelcome{tree: editLeaf(1, func(l *LeafNode) { l.Signature = make([]byte, 64) })}, ErrSignature},
		"leaf signed for another place":     {hostileWelcome{tree: func(tr *tree) { tr.leaves[4], tr.leaves[3] = tr.leaves[3], tr.leaves[4] }}, anyOf{ErrSignature, ErrTree}},
		"two leaves with a signature key":   {hostileWelcome{tree: editLeaf(1, func(l *LeafNode) { l.SignatureKey = g[2].signer.public })}, ErrLeafNode},
		"two leaves with an encryption key": {hostileWelcome{tree: editLeaf(1, func(l *LeafNode) { l.EncryptionKey = g[2].tree.leaf(2).EncryptionKey })}, anyOf{ErrLeafNode, ErrTree}},
		"leaf with an unlisted extension":   {hostileWelcome{tree: signed(1, func(l *LeafNode) { l.Extensions = []Extension{{0xf777, nil}} })}, ErrLeafNode},
		"leaf without the suite":            {hostileWelcome{tree: signed(1, func(l *LeafNode) { l.Capabilities.CipherSuites = nil })}, ErrLeafNode},
		"leaf that nobody accepts":          {hostileWelcome{tree: signed(1, func(l *LeafNode) { l.Credential = BasicCredential([]byte("nobody")) })}, ErrAuthentication},
		"PSK nonce":                         {hostileWelcome{secrets: func(gs *groupSecrets) { gs.psks = []PreSharedKeyID{{Type: PSKExternal, Nonce: []byte{1}}} }}, ErrWelcome},
		"branch from an unknown group":      {hostileWelcome{secrets: func(gs *groupSecrets) { gs.psks = []PreSharedKeyID{resumption(ResumptionBranch)} }}, ErrWelcome},
		"two branches": {hostileWelcome{secrets: func(gs *groupSecrets) {
			gs.psks = []PreSharedKeyID{resumption(ResumptionBranch), resumption(ResumptionReInit)}
		}}, ErrWelcome},
		"path secret of the wrong key":    {hostileWelcome{secrets: func(gs *groupSecrets) { gs.path = random(s.nh) }}, ErrUpdatePath},
		"path secret of the wrong length": {hostileWelcome{secrets: func(gs *groupSecrets) { gs.path = random(3) }}, ErrUpdatePath},
		"path whose secret is kept from us": {hostileWelcome{tree: func(tr *tree) {
			if _, err := tr.renew(3, tr.leaf(3), g[3].signer, g[3].ctx.GroupID); err != nil {
				t.Fatal(err)
			}
		}}, ErrWelcome},
		"signed by ourselves": {hostileWelcome{info: func(gi *GroupInfo) { gi.Signer = 5 }}, ErrSignature},
	} {
		t.Run(name, func(t *testing.T) {
			row.h.signer = 3
			w := row.h.make(t, g, own)
			cfg := hostileConfig()
			cfg.InUse = func(id []byte) bool { return string(id) == "in use" }
			m, err := ParseMessage((&Message{Welcome: w}).Marshal())
			if err == nil {
				_, err = Join(cfg, m.Welcome, own, JoinOptions{}, atTime)
			}
			t.Log(err)
			if list, ok := row.want.(anyOf); ok {
				if !slices.ContainsFunc(list, func(e error) bool { return errors.Is(err, e) }) {
					t.Errorf("got %v", err)
				}
			} else if !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
		})
	}
	h := hostileWelcome{signer: 3}
	if _, err := Join(hostileConfig(), h.make(t, g, own), own, JoinOptions{}, atTime); err != nil {
		t.Errorf("a Welcome without fault: %v", err)
	}
}
