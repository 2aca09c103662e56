package mls

import (
	"bytes"
	"time"
)

// Propose sends a proposal for others to commit (RFC 9420 §12.1). For an Update
// of our own use [Group.ProposeUpdate]. A proposal that could not be committed by
// itself is an error, as [Group.Commit] would give it.
func (g *Group) Propose(p Proposal, authenticatedData []byte, now time.Time) (*Message, error) {
	if err := g.active(); err != nil {
		return nil, err
	}
	if err := complete(p); err != nil {
		return nil, err
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
	rules, err := newLeafRules(g.suite, g.cfg, g.ctx.GroupID, g.ctx.Extensions)
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
