package mls

import (
	"bytes"
	"cmp"
)

// UnmarshalGroup reads what [Group.Marshal] wrote. It checks the form, not who
// wrote it: protect the bytes from change as well. Errors match ErrMalformed,
// ErrUnsupported or ErrInvalidKey.
func UnmarshalGroup(cfg *Config, b []byte) (*Group, error) {
	r := &reader{b: bytes.Clone(b)}
	if v := r.uint8(); r.err == nil && v != stateVersion {
		return nil, broken(ErrUnsupported, "9.2", "stored group of version %d", v)
	}
	g := &Group{cfg: cfg, state: groupState(r.uint8()), ctx: decodeGroupContext(r)}
	if r.err != nil {
		return nil, r.err
	}
	if g.state > stateWiped {
		return nil, broken(ErrMalformed, "9.2", "stored group in state %d", g.state)
	}
	var err error
	if g.suite, err = g.ctx.CipherSuite.suite(); err != nil {
		return nil, err
	}
	g.context = g.ctx.append(nil)
	before := r.b
	r.opaque()
	if g.tree, err = parseTree(g.suite, before[:len(before)-len(r.b)]); err != nil {
		return nil, err
	}
	g.own = LeafIndex(r.uint32())
	if g.signer, err = ParseSignatureKey(g.suite.id, r.opaque()); err != nil {
		return nil, cmp.Or(r.err, err)
	}
	g.keys = decodePrivateKeys(r)
	for _, s := range g.secrets.all() {
		*s = r.opaque()
	}
	g.ratchets = decodeSecretTree(r, g.suite)
	g.interim, g.confirmationTag = r.opaque(), r.opaque()
	in := r.vector()
	for in.more() {
		a := decodeAuthenticatedContent(in)
		if in.err == nil && a.content.ContentType != ContentProposal {
			in.fail("12.1", "stored proposal of content_type %d", a.content.ContentType)
		}
		if in.err == nil {
			g.proposals = append(g.proposals, cachedProposal{a.proposalRef(g.suite), a})
		}
	}
	r.join(in)
	g.decodeRest(r)
	if err := r.end(); err != nil {
		return nil, err
	}
	return g, g.checkState()
}

func (g *Group) decodeRest(r *reader) {
	in := r.vector()
	for in.more() {
		u := pendingUpdate{public: in.opaque(), private: in.opaque()}
		var err error
		if u.signer, err = ParseSignatureKey(g.suite.id, in.opaque()); err != nil {
			in.failWith(err)
		}
		g.updates = append(g.updates, u)
	}
	r.join(in)
	in = r.vector()
	for in.more() {
		p := &pastEpoch{epoch: in.uint64(), context: in.opaque()}
		keys := in.vector()
		for keys.more() {
			k := keys.opaque()
			if len(k) == 0 {
				k = nil
			}
			p.signers = append(p.signers, k)
		}
		in.join(keys)
		p.senderData = in.opaque()
		if p.ratchets = decodeSecretTree(in, g.suite); p.ratchets == nil {
			in.fail("9.2", "former epoch without keys")
		}
		g.past = append(g.past, p)
	}
	r.join(in)
	in = r.vector()
	for in.more() {
		g.resumption = append(g.resumption, resumptionPSK{in.uint64(), in.opaque()})
	}
	r.join(in)
	if r.optional() {
		g.reinit = &ReInit{r.opaque(), ProtocolVersion(r.uint16()), CipherSuite(r.uint16()), decodeExtensions(r)}
	}
	if r.optional() {
		g.link = &link{ResumptionPSKUsage(r.uint8()), r.opaque(), r.uint64(), r.opaque()}
	}
}

// checkState makes sure that methods can rely on what they find.
func (g *Group) checkState() error {
	if g.gone() {
		return nil
	}
	for _, s := range g.secrets.all() {
		if s == &g.secrets.exporter && len(*s) == 0 {
			continue // erased
		}
		if len(*s) != g.suite.nh {
			return broken(ErrMalformed, "8", "stored secret of %d bytes", len(*s))
		}
	}
	leaf := g.tree.leaf(g.own)
	if leaf == nil || !bytes.Equal(leaf.SignatureKey, g.signer.public) || g.ratchets == nil || len(g.keys[g.own.node()]) == 0 {
		return broken(ErrMalformed, "8", "stored group without our leaf or keys")
	}
	if g.state == stateReInit && g.reinit == nil {
		return broken(ErrMalformed, "11.2", "stored group without its reinit")
	}
	if !bytes.Equal(g.tree.hash(), g.ctx.TreeHash) {
		return broken(ErrMalformed, "7.8", "stored tree is not that of the GroupContext")
	}
	return nil
}

func decodePrivateKeys(r *reader) privateKeys {
	in := r.vector()
	k := privateKeys{}
	for in.more() {
		x := nodeIndex(in.uint32())
		k[x] = in.opaque()
	}
	r.join(in)
	return k
}

func decodeSecretTree(r *reader, s *suite) *secretTree {
	n := r.uint32()
	if n == 0 {
		return nil
	}
	if n&(n-1) != 0 || n > 1<<30 {
		r.fail("9", "secret tree of %d leaves", n)
		return nil
	}
	t := &secretTree{suite: s, leaves: int(n), nodes: decodePrivateKeys(r), ratchets: map[ratchetID]*ratchet{}}
	in := r.vector()
	for in.more() {
		id := ratchetID{LeafIndex(in.uint32()), ratchetKind(in.uint8())}
		rt := &ratchet{generation: in.uint32(), secret: in.opaque(), skipped: map[uint32]messageKey{}}
		keys := in.vector()
		for keys.more() {
			g := keys.uint32()
			k := messageKey{keys.opaque(), keys.opaque()}
			if keys.err == nil && (len(k.key) != s.nk || len(k.nonce) != nn) {
				keys.fail("9.1", "key of %d bytes, nonce of %d", len(k.key), len(k.nonce))
			}
			rt.skipped[g] = k
		}
		in.join(keys)
		t.ratchets[id] = rt
	}
	r.join(in)
	return t
}
