package mls

import (
	"bytes"
	"slices"
	"time"
)

// PendingProposal was sent or received in this epoch and is not committed yet.
type PendingProposal struct {
	Ref      []byte // ProposalRef, KDF.Nh bytes
	Sender   Sender
	Proposal Proposal
}

// remember caches a proposal so that a Commit can refer to it (RFC 9420 §12.1).
func (g *Group) remember(a *authenticatedContent) (PendingProposal, error) {
	ref := a.proposalRef(g.suite)
	p := PendingProposal{ref, a.content.Sender, a.content.Proposal}
	if slices.ContainsFunc(g.proposals, func(c cachedProposal) bool { return bytes.Equal(c.ref, ref) }) {
		return p, nil
	}
	if len(g.proposals) >= g.cfg.maxProposals() {
		return p, broken(ErrProposal, "12.1", "more than %d proposals in one epoch", g.cfg.maxProposals())
	}
	g.proposals = append(g.proposals, cachedProposal{ref, a})
	return p, nil
}

// Pending lists the proposals of this epoch in the order they came.
func (g *Group) Pending() []PendingProposal {
	out := make([]PendingProposal, len(g.proposals))
	for i, c := range g.proposals {
		out[i] = PendingProposal{c.ref, c.content.content.Sender, c.content.content.Proposal}
	}
	return out
}

// ForgetProposal drops a pending proposal, such as one that the application does
// not allow. A Commit that refers to it can then not be read.
func (g *Group) ForgetProposal(ref []byte) {
	g.proposals = slices.DeleteFunc(g.proposals, func(c cachedProposal) bool { return bytes.Equal(c.ref, ref) })
}

// Propose sends a proposal for others to commit (RFC 9420 §12.1). For an Update
// of our own use [Group.ProposeUpdate].
func (g *Group) Propose(p Proposal, authenticatedData []byte, now time.Time) (*Message, error) {
	if err := g.active(); err != nil {
		return nil, err
	}
	if !complete(p) {
		return nil, broken(ErrUsage, "12.1", "a proposal that is nil or incomplete")
	}
	switch p.(type) {
	case Update, ExternalInit:
		return nil, broken(ErrUsage, "12.1", "%s cannot be proposed so", p.Type())
	}
	p = withNonce(g.suite, p)
	// A proposal that could not be committed by itself is a mistake of ours.
	nobody := Sender{Type: SenderMember, Leaf: ^LeafIndex(0)}
	ch, err := g.apply([]CommittedProposal{{p, Sender{Type: SenderMember, Leaf: g.own}, false}}, nobody, now)
	if err != nil {
		return nil, err
	}
	if err := ch.checkTree(); err != nil {
		return nil, err
	}
	return g.propose(p, authenticatedData)
}

// ProposeUpdate proposes to renew our own leaf (RFC 9420 §12.1.2), with new
// contents unless p is nil. Its private key is kept until the epoch ends.
func (g *Group) ProposeUpdate(p *Profile, authenticatedData []byte, now time.Time) (*Message, error) {
	if err := g.active(); err != nil {
		return nil, err
	}
	if len(g.updates) >= g.cfg.maxProposals() {
		return nil, broken(ErrUsage, "12.1.2", "%d updates in one epoch", len(g.updates))
	}
	old := g.tree.leaf(g.own)
	leaf, signer := *old, g.signer
	if p != nil {
		if err := p.check(g.suite); err != nil {
			return nil, err
		}
		leaf, signer = *p.leaf(), p.SignatureKey
	}
	private, public, err := g.suite.hpke.generate()
	if err != nil {
		return nil, brokenBy(ErrInvalidKey, "12.1.2", err, "leaf key")
	}
	leaf.EncryptionKey, leaf.Source, leaf.Lifetime, leaf.ParentHash = public, LeafNodeSourceUpdate, Lifetime{}, nil
	if err := leaf.sign(g.suite, signer, g.ctx.GroupID, g.own); err != nil {
		return nil, err
	}
	rules, err := newLeafRules(g.suite, g.cfg, g.ctx.GroupID, g.ctx.Extensions, now)
	if err != nil {
		return nil, err
	}
	if err := rules.unsigned(&leaf, old); err != nil {
		return nil, err
	}
	t := g.tree.clone()
	t.update(g.own, &leaf)
	if err := t.amongChanged([]LeafIndex{g.own}); err != nil {
		return nil, err
	}
	m, err := g.propose(Update{&leaf}, authenticatedData)
	if err != nil {
		return nil, err
	}
	g.updates = append(g.updates, pendingUpdate{public, private, signer})
	return m, nil
}

func (g *Group) propose(p Proposal, authenticatedData []byte) (*Message, error) {
	if len(authenticatedData) > 1<<20 {
		return nil, broken(ErrUsage, "6", "%d bytes of authenticated data", len(authenticatedData))
	}
	if len(g.proposals) >= g.cfg.maxProposals() {
		return nil, broken(ErrUsage, "12.1", "%d proposals in one epoch", len(g.proposals))
	}
	sender := Sender{Type: SenderMember, Leaf: g.own}
	a := &authenticatedContent{wireFormat: g.handshakeFormat(sender), content: FramedContent{
		GroupID: g.ctx.GroupID, Epoch: g.ctx.Epoch, Sender: sender, AuthenticatedData: bytes.Clone(authenticatedData),
		ContentType: ContentProposal, Proposal: p,
	}}
	var err error
	if a.signature, err = g.suite.signWithLabel(g.signer, "FramedContentTBS", a.tbs(g.context)); err != nil {
		return nil, err
	}
	m, err := g.protect(a, 0)
	if err != nil {
		return nil, err
	}
	_, err = g.remember(a)
	return m, err
}

// selectPending chooses the pending proposals of a Commit of ours so that they
// fit together as §12.2 wants: no Update of our own, for each leaf a Remove or
// the latest Update, one GroupContextExtensions, a ReInit only if alone.
func (g *Group) selectPending(choose func(PendingProposal) bool) ([]CommittedProposal, []ProposalOrRef) {
	var chosen []PendingProposal
	for _, p := range g.Pending() {
		if choose == nil || choose(p) {
			chosen = append(chosen, p)
		}
	}
	last := map[LeafIndex]int{} // which of chosen speaks for a leaf
	extensions, others := -1, 0
	for i, p := range chosen {
		switch q := p.Proposal.(type) {
		case Remove:
			if q.Removed != g.own {
				last[q.Removed] = i
			}
		case Update:
			if p.Sender.Leaf != g.own {
				if k, ok := last[p.Sender.Leaf]; !ok || chosen[k].Proposal.Type() != ProposalRemove {
					last[p.Sender.Leaf] = i
				}
			}
		case GroupContextExtensions:
			extensions = i
		case ReInit:
			continue
		}
		others++
	}
	var list []CommittedProposal
	var refs []ProposalOrRef
	for i, p := range chosen {
		keep := true
		switch q := p.Proposal.(type) {
		case Remove:
			k, ok := last[q.Removed]
			keep = ok && k == i
		case Update:
			k, ok := last[p.Sender.Leaf]
			keep = ok && k == i
		case GroupContextExtensions:
			keep = i == extensions
		case ReInit:
			keep = others == 0 && len(list) == 0
		}
		if keep {
			list = append(list, CommittedProposal{p.Proposal, p.Sender, true})
			refs = append(refs, ProposalOrRef{Reference: p.Ref})
		}
	}
	return list, refs
}
