package mls

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
)

// stateVersion is the first byte of what Marshal writes. It is no wire format:
// another version of this package may write another one, and reads this one.
const stateVersion = 1

// Marshal writes the whole group, with its secrets, in a form for
// [UnmarshalGroup]. Keep it where only its owner can read it, and replace the
// last copy with it after each method that changes the group: a group that is
// restored from an older copy sends with keys that were used, and can read again
// what was to be forgotten (RFC 9420 §6.3.1, §9.2).
//
// The same state gives the same bytes.
func (g *Group) Marshal() ([]byte, error) {
	b := append([]byte{stateVersion}, byte(g.state))
	b = g.ctx.append(b)
	b = g.tree.append(b)
	b = appendUint32(b, g.own)
	key, err := g.signer.Bytes()
	if err != nil {
		return nil, err
	}
	b = appendOpaque(b, key)
	clear(key)
	b = appendVector(b, g.keys.append)
	for _, s := range g.secrets.all() {
		b = appendOpaque(b, *s)
	}
	b = g.ratchets.append(b)
	b = appendOpaque(appendOpaque(b, g.interim), g.confirmationTag)
	b = appendVector(b, func(b []byte) []byte {
		for _, p := range g.proposals {
			b = p.content.append(b)
		}
		return b
	})
	for i := range g.updates {
		if _, err := g.updates[i].signer.Bytes(); err != nil {
			return nil, err
		}
	}
	b = appendVector(b, func(b []byte) []byte {
		for _, u := range g.updates {
			key, _ := u.signer.Bytes()
			b = appendOpaque(appendOpaque(appendOpaque(b, u.public), u.private), key)
		}
		return b
	})
	b = appendVector(b, func(b []byte) []byte {
		for _, p := range g.past {
			b = appendOpaque(appendUint64(b, p.epoch), p.context)
			b = appendVector(b, func(b []byte) []byte {
				for _, k := range p.signers {
					b = appendOpaque(b, k)
				}
				return b
			})
			b = p.ratchets.append(appendOpaque(b, p.senderData))
		}
		return b
	})
	b = appendVector(b, func(b []byte) []byte {
		for _, r := range g.resumption {
			b = appendOpaque(appendUint64(b, r.epoch), r.psk)
		}
		return b
	})
	b = appendOptional(b, g.reinit != nil)
	if g.reinit != nil {
		b = g.reinit.append(b)
	}
	b = appendOptional(b, g.link != nil)
	if g.link != nil {
		b = appendOpaque(append(b, byte(g.link.usage)), g.link.groupID)
		b = appendOpaque(appendUint64(b, g.link.epoch), g.link.psk)
	}
	return b, nil
}

func (k privateKeys) append(b []byte) []byte {
	for _, x := range slices.Sorted(maps.Keys(k)) {
		b = appendOpaque(appendUint32(b, x), k[x])
	}
	return b
}

func (t *secretTree) append(b []byte) []byte {
	if t == nil {
		return appendUint32(b, uint32(0))
	}
	b = appendUint32(b, uint32(t.leaves))
	b = appendVector(b, privateKeys(t.nodes).append)
	ids := slices.SortedFunc(maps.Keys(t.ratchets), func(a, b ratchetID) int {
		return cmp.Or(cmp.Compare(a.leaf, b.leaf), cmp.Compare(a.kind, b.kind))
	})
	return appendVector(b, func(b []byte) []byte {
		for _, id := range ids {
			r := t.ratchets[id]
			b = appendUint32(append(appendUint32(b, id.leaf), byte(id.kind)), r.generation)
			b = appendOpaque(b, r.secret)
			b = appendVector(b, func(b []byte) []byte {
				for _, g := range slices.Sorted(maps.Keys(r.skipped)) {
					k := r.skipped[g]
					b = appendOpaque(appendOpaque(appendUint32(b, g), k.key), k.nonce)
				}
				return b
			})
		}
		return b
	})
}

// UnmarshalGroup reads what [Group.Marshal] wrote. It checks the form, not who
// wrote it: protect the bytes from change as well.
func UnmarshalGroup(cfg *Config, b []byte) (*Group, error) {
	r := &reader{b: bytes.Clone(b)}
	if v := r.uint8(); r.err == nil && v != stateVersion {
		return nil, broken(ErrUnsupported, "9.2", "stored group of version %d", v)
	}
	g := &Group{cfg: cfg, state: groupState(r.uint8()), ctx: decodeGroupContext(r)}
	if r.err != nil {
		return nil, r.err
	}
	if g.state > stateReInit {
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
	if g.state == stateRemoved {
		return nil
	}
	for _, s := range g.secrets.all() {
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
	n := int(r.uint32())
	if n == 0 {
		return nil
	}
	if n&(n-1) != 0 || n > 1<<30 {
		r.fail("9", "secret tree of %d leaves", n)
		return nil
	}
	t := &secretTree{suite: s, leaves: n, nodes: decodePrivateKeys(r), ratchets: map[ratchetID]*ratchet{}}
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
