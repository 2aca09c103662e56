package mls

import "slices"

// StagedCommit is a Commit that was checked, or made, and would begin the next
// epoch. [Group.Merge] does so; until then, and if it is never merged, the group
// is as it was. Look at it, apply the application's own rules, then merge it or
// call Discard.
type StagedCommit struct {
	base   *Group // nil once merged or discarded, as next
	serial uint64
	next   *Group // nil if it removes us

	epoch     uint64 // that it begins
	removesUs bool

	sender            Sender
	committer         LeafIndex // in the new tree
	authenticatedData []byte
	proposals         []CommittedProposal
	added, removed    []LeafIndex
	updated           []LeafIndex
	path              bool
	ext               []Extension
	members           *tree

	message  *Message
	welcomes []*Welcome

	key *keyName // that opened it, if it came as a PrivateMessage
}

// keyName names a key of the handshake ratchets.
type keyName struct {
	leaf       LeafIndex
	generation uint32
}

// Sender is who sent the Commit.
func (c *StagedCommit) Sender() Sender { return c.sender }

// Committer is the leaf of the committer in the new epoch; for an external
// Commit the leaf that joins.
func (c *StagedCommit) Committer() LeafIndex { return c.committer }

// AuthenticatedData is what the committer sent along in the clear.
func (c *StagedCommit) AuthenticatedData() []byte { return c.authenticatedData }

// Proposals lists what the Commit covers, in its order.
func (c *StagedCommit) Proposals() []CommittedProposal { return slices.Clone(c.proposals) }

// Added, Removed and Updated list the leaves that the proposals changed. Added
// and Updated count in the new tree, Removed in the old one.
func (c *StagedCommit) Added() []LeafIndex { return slices.Clone(c.added) }

// Removed lists the leaves that were removed.
func (c *StagedCommit) Removed() []LeafIndex { return slices.Clone(c.removed) }

// Updated lists the leaves that Update proposals changed.
func (c *StagedCommit) Updated() []LeafIndex { return slices.Clone(c.updated) }

// HasPath reports whether the Commit renews the committer's keys (RFC 9420 §12.4).
func (c *StagedCommit) HasPath() bool { return c.path }

// RemovesUs reports whether the group ends for us with this Commit.
func (c *StagedCommit) RemovesUs() bool { return c.removesUs }

// Epoch is the epoch that the Commit begins (RFC 9420 §12).
func (c *StagedCommit) Epoch() uint64 { return c.epoch }

// EpochAuthenticator is [Group.EpochAuthenticator] of the epoch that the Commit
// begins, KDF.Nh bytes: whoever shows the same has merged it. nil if the Commit
// removes us, is merged or discarded.
func (c *StagedCommit) EpochAuthenticator() []byte {
	if c.next == nil {
		return nil
	}
	return c.next.EpochAuthenticator()
}

// Export is [Group.Export] in the epoch that the Commit begins, before it is
// merged. It fails with ErrStale if the Commit is merged or discarded, and with
// ErrInactive if it removes us.
func (c *StagedCommit) Export(label string, context []byte, n int) ([]byte, error) {
	switch {
	case c.base == nil:
		return nil, broken(ErrStale, "14", "merged or discarded")
	case c.next == nil:
		return nil, broken(ErrInactive, "12.4.2", "we are removed")
	}
	return c.next.Export(label, context, n)
}

// Members lists the members of the new epoch.
func (c *StagedCommit) Members() []Member { return c.members.memberList() }

// Extensions lists the GroupContext extensions of the new epoch. They must not
// be changed.
func (c *StagedCommit) Extensions() []Extension { return c.ext }

// ReInit returns the reinit proposal that the Commit covers, or nil.
func (c *StagedCommit) ReInit() *ReInit {
	for _, p := range c.proposals {
		if r, ok := p.Proposal.(ReInit); ok {
			return &r
		}
	}
	return nil
}

// Message is the Commit to send, if it is our own; otherwise nil.
func (c *StagedCommit) Message() *Message { return c.message }

// Welcomes are for those whom our own Commit adds: "MUST NOT be delivered to a
// new joiner until it's clear that the Commit has been accepted" (RFC 9420 §14).
func (c *StagedCommit) Welcomes() []*Welcome { return c.welcomes }

// Discard wipes the secrets of the epoch that will not be. The StagedCommit
// cannot be merged afterwards.
func (c *StagedCommit) Discard() {
	if c.next != nil && c.base != nil {
		c.next.wipe()
	}
	c.base, c.next = nil, nil
}

// Merge makes the epoch of c the current one and deletes the secrets of the
// last, except what Config.PastEpochs and ResumptionEpochs keep. Own proposals
// that c does not cover are gone with the epoch (RFC 9420 §12.4).
//
// It fails with ErrStale if c was staged for another group, or was merged or
// discarded, or the group has merged another Commit since; and with ErrInactive.
func (g *Group) Merge(c *StagedCommit) error {
	if c.base != g || c.serial != g.serial {
		return broken(ErrStale, "14", "not staged in this epoch of this group")
	}
	if err := g.active(); err != nil {
		return err
	}
	defer func() { c.base, c.next = nil, nil }()
	if c.next == nil {
		g.wipe()
		g.state = stateRemoved
		g.serial++
		return nil
	}
	next := c.next
	next.past = g.retire(c.key)
	next.resumption = g.retireResumption()
	next.serial = g.serial + 1
	g.secrets.wipe()
	g.keys.wipe()
	for _, u := range g.updates {
		u.private.wipe()
	}
	if g.link != nil {
		g.link.psk.wipe()
	}
	*g = *next
	return nil
}

// retire moves what reads late application messages into the past. The key that
// opened the Commit is consumed now (§9.2), and with it the secrets above it.
func (g *Group) retire(used *keyName) []*pastEpoch {
	past := g.past
	if g.cfg.PastEpochs > 0 {
		if used != nil {
			if f, err := g.ratchets.find(used.leaf, ratchetHandshake, used.generation, g.cfg.maxForward(), 0); err == nil {
				f.consume()
			}
		}
		p := &pastEpoch{epoch: g.ctx.Epoch, context: g.context, senderData: slices.Clone(g.secrets.senderData), ratchets: g.ratchets}
		p.signers = make([][]byte, len(g.tree.leaves))
		for i, l := range g.tree.members() {
			p.signers[i] = l.SignatureKey
		}
		p.ratchets.dropHandshake()
		past = append([]*pastEpoch{p}, past...)
	} else {
		g.ratchets.wipe()
	}
	for len(past) > max(g.cfg.PastEpochs, 0) {
		past[len(past)-1].wipe()
		past = past[:len(past)-1]
	}
	return past
}

func (g *Group) retireResumption() []resumptionPSK {
	list := append([]resumptionPSK{{g.ctx.Epoch, slices.Clone(g.secrets.resumption)}}, g.resumption...)
	for len(list) > max(g.cfg.ResumptionEpochs, 0) {
		list[len(list)-1].psk.wipe()
		list = list[:len(list)-1]
	}
	return list
}
