package mls

import (
	"bytes"
	"math"
)

// Marshal writes the staged Commit with the secrets of its epoch, for
// [Group.UnmarshalStagedCommit]. A client that sent a Commit must keep it until
// it knows whether it was taken: nobody can read a Commit of its own, so without
// it a restart in between means to join anew. It is as secret as the group.
func (c *StagedCommit) Marshal() ([]byte, error) {
	if c.base == nil {
		return nil, broken(ErrStale, "14", "merged or discarded")
	}
	b := []byte{stateVersion}
	b = appendOpaque(appendUint64(b, c.base.ctx.Epoch), c.base.interim)
	b = appendUint32(c.sender.append(b), c.committer)
	b = appendOpaque(b, c.authenticatedData)
	b = appendVector(b, func(b []byte) []byte {
		for _, p := range c.proposals {
			b = appendProposal(p.Sender.append(appendOptional(b, p.ByRef)), p.Proposal)
		}
		return b
	})
	for _, list := range [][]LeafIndex{c.added, c.removed, c.updated} {
		b = appendUint32s(b, list)
	}
	b = appendExtensions(appendOptional(b, c.path), c.ext)
	b = c.members.append(b)
	b = appendOptional(b, c.message != nil)
	if c.message != nil {
		b = appendOpaque(b, c.message.Marshal())
	}
	b = appendVector(b, func(b []byte) []byte {
		for _, w := range c.welcomes {
			b = w.append(b)
		}
		return b
	})
	b = appendOptional(b, c.key != nil)
	if c.key != nil {
		b = appendUint32(appendUint32(b, c.key.leaf), c.key.generation)
	}
	b = appendOptional(b, c.next != nil)
	if c.next != nil {
		next, err := c.next.Marshal()
		if err != nil {
			return nil, err
		}
		b = appendOpaque(b, next)
		clear(next)
	}
	return b, nil
}

// UnmarshalStagedCommit reads what [StagedCommit.Marshal] wrote. It fails with
// ErrStale if g is not in the epoch in which the Commit was staged.
func (g *Group) UnmarshalStagedCommit(b []byte) (*StagedCommit, error) {
	r := &reader{b: bytes.Clone(b)}
	if v := r.uint8(); r.err == nil && v != stateVersion {
		return nil, broken(ErrUnsupported, "14", "stored Commit of version %d", v)
	}
	epoch, interim := r.uint64(), r.opaque()
	if r.err == nil && (epoch != g.ctx.Epoch || !bytes.Equal(interim, g.interim)) {
		return nil, broken(ErrStale, "14", "staged in another epoch or group")
	}
	c := &StagedCommit{base: g, serial: g.serial, epoch: epoch + 1, sender: decodeSender(r), committer: LeafIndex(r.uint32()), authenticatedData: r.opaque()}
	in := r.vector()
	for in.more() {
		in.room(len(c.proposals), maxListed)
		p := CommittedProposal{ByRef: in.optional(), Sender: decodeSender(in)}
		p.Proposal = decodeProposal(in)
		c.proposals = append(c.proposals, p)
	}
	r.join(in)
	for _, list := range []*[]LeafIndex{&c.added, &c.removed, &c.updated} {
		in := r.vector()
		for in.more() {
			*list = append(*list, LeafIndex(in.uint32()))
		}
		r.join(in)
	}
	c.path, c.ext = r.optional(), decodeExtensions(r)
	before := r.b
	r.opaque()
	if r.err != nil {
		return nil, r.err
	}
	var err error
	if c.members, err = parseTreeOwned(g.suite, before[:len(before)-len(r.b)], math.MaxInt); err != nil {
		return nil, err
	}
	if r.optional() {
		if c.message, err = ParseMessage(r.opaque()); err != nil {
			return nil, err
		}
	}
	in = r.vector()
	for in.more() {
		c.welcomes = append(c.welcomes, decodeWelcome(in))
	}
	r.join(in)
	if r.optional() {
		c.key = &keyName{LeafIndex(r.uint32()), r.uint32()}
	}
	var next []byte
	if r.optional() {
		next = r.opaque()
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	c.removesUs = next == nil
	if next != nil {
		if c.next, err = UnmarshalGroup(g.cfg, next); err != nil {
			return nil, err
		}
		if !bytes.Equal(c.next.ctx.GroupID, g.ctx.GroupID) || c.next.ctx.Epoch != g.ctx.Epoch+1 || c.next.gone() {
			return nil, broken(ErrMalformed, "14", "stored Commit leads elsewhere")
		}
	}
	return c, nil
}
