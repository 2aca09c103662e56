package mls

import (
	"time"
)

// Received is what [Group.Read] made of a message: [*ApplicationMessage],
// [*ReceivedProposal] or [*StagedCommit]. All are verified.
type Received interface{ received() }

// ApplicationMessage is data that a member sent (RFC 9420 §15).
type ApplicationMessage struct {
	Sender            LeafIndex // in the tree of Epoch
	Epoch             uint64
	AuthenticatedData []byte // was sent in the clear
	Data              []byte
}

// ReceivedProposal is a proposal that the next Commit may refer to. It is
// remembered until the epoch ends.
type ReceivedProposal struct {
	PendingProposal
	AuthenticatedData []byte
}

func (*ApplicationMessage) received() {}
func (*ReceivedProposal) received()   {}
func (*StagedCommit) received()       {}

// Read verifies a PublicMessage or PrivateMessage to the group. Proposals are
// remembered; Commits are staged, not merged; the key of an application message
// or proposal is deleted when it was read (RFC 9420 §9.2), so that a second copy
// gives ErrGeneration.
//
// Our own messages cannot be read: ErrOwnMessage. The lifetimes of those whom a
// Commit adds are checked against now.
//
// It fails with ErrWrongGroup or ErrWrongEpoch before anything is decrypted; with
// ErrDecrypt, ErrGeneration, ErrMembershipTag, ErrSender or ErrSignature if the
// message is not what a member sent or was read before; with ErrInactive in a group
// that ended; and for proposals and Commits with the rule that is broken:
// ErrProposal, ErrProposalList, ErrCommit, ErrUpdatePath, ErrKeyPackage, ErrLeafNode,
// ErrAuthentication, ErrPSK, ErrConfirmationTag. The group is then as it was.
func (g *Group) Read(m *Message, now time.Time) (Received, error) {
	if err := g.active(); err != nil {
		return nil, err
	}
	switch {
	case m.Private != nil:
		return g.readPrivate(m.Private, now)
	case m.Public != nil:
		return g.readPublic(m.Public, now)
	}
	return nil, broken(ErrUsage, "6", "wire format %d is no message to a group", m.WireFormat())
}

func (g *Group) readPublic(m *PublicMessage, now time.Time) (Received, error) {
	if err := sameGroup(&g.ctx, m.Content.GroupID, m.Content.Epoch); err != nil {
		return nil, err
	}
	a, err := m.unprotect(g.suite, g.secrets.membership, g.context)
	if err != nil {
		return nil, err
	}
	if s := a.content.Sender; s.Type == SenderMember && s.Leaf == g.own {
		return nil, broken(ErrOwnMessage, "14", "PublicMessage")
	}
	if err := g.verifySignature(a); err != nil {
		return nil, err
	}
	return g.accept(a, now)
}

func (g *Group) readPrivate(m *PrivateMessage, now time.Time) (Received, error) {
	if err := sameGroup(&g.ctx, m.GroupID, m.Epoch); err != nil {
		if p := g.pastEpoch(m); p != nil {
			return g.readPast(m, p)
		}
		return nil, err
	}
	d, err := m.openSenderData(g.suite, g.secrets.senderData)
	if err != nil {
		return nil, err
	}
	if d.leaf == g.own {
		return nil, broken(ErrOwnMessage, "14", "PrivateMessage")
	}
	// "The recipient MUST verify that the leaf index indicated in the leaf_index
	// field identifies a non-blank node" (§6.3.2).
	leaf := g.tree.leaf(d.leaf)
	if leaf == nil {
		return nil, broken(ErrSender, "6.3.2", "leaf %d is blank", d.leaf)
	}
	f, err := g.ratchets.find(d.leaf, m.ContentType.ratchet(), d.generation, g.cfg.maxForward(), g.cfg.outOfOrder())
	if err != nil {
		return nil, err
	}
	a, err := m.openContent(g.suite, d, f)
	if err != nil {
		return nil, err
	}
	if err := g.verifySignature(a); err != nil {
		return nil, err
	}
	r, err := g.accept(a, now)
	if err != nil {
		return nil, err
	}
	// The key of a Commit goes with the epoch, in Merge: staging changes nothing.
	if c, ok := r.(*StagedCommit); ok {
		f.messageKey.wipe()
		c.key = &keyName{d.leaf, d.generation}
	} else {
		f.consume()
	}
	return r, nil
}

func (g *Group) pastEpoch(m *PrivateMessage) *pastEpoch {
	if m.ContentType != ContentApplication || string(m.GroupID) != string(g.ctx.GroupID) {
		return nil
	}
	for _, p := range g.past {
		if p.epoch == m.Epoch {
			return p
		}
	}
	return nil
}

// readPast reads an application message of a former epoch (§15.3).
func (g *Group) readPast(m *PrivateMessage, p *pastEpoch) (Received, error) {
	d, err := m.openSenderData(g.suite, p.senderData)
	if err != nil {
		return nil, err
	}
	if d.leaf == g.own {
		return nil, broken(ErrOwnMessage, "14", "PrivateMessage of a former epoch")
	}
	if uint64(d.leaf) >= uint64(len(p.signers)) || p.signers[d.leaf] == nil {
		return nil, broken(ErrSender, "6.3.2", "leaf %d was blank", d.leaf)
	}
	f, err := p.ratchets.find(d.leaf, ratchetApplication, d.generation, g.cfg.maxForward(), g.cfg.outOfOrder())
	if err != nil {
		return nil, err
	}
	a, err := m.openContent(g.suite, d, f)
	if err != nil {
		return nil, err
	}
	if err := g.suite.verifyWithLabel(p.signers[d.leaf], "FramedContentTBS", a.tbs(p.context), a.signature); err != nil {
		return nil, err
	}
	f.consume()
	return &ApplicationMessage{d.leaf, m.Epoch, m.AuthenticatedData, a.content.Application}, nil
}

// verifySignature finds the key of the sender (§6.1) and verifies with it.
func (g *Group) verifySignature(a *authenticatedContent) error {
	key, err := g.senderKey(a)
	if err != nil {
		return err
	}
	return g.suite.verifyWithLabel(key, "FramedContentTBS", a.tbs(g.context), a.signature)
}

func (g *Group) senderKey(a *authenticatedContent) ([]byte, error) {
	c := &a.content
	switch c.Sender.Type {
	case SenderMember:
		if l := g.tree.leaf(c.Sender.Leaf); l != nil {
			return l.SignatureKey, nil
		}
		return nil, broken(ErrSender, "6.1", "leaf %d is blank", c.Sender.Leaf)
	case SenderExternal:
		if c.ContentType != ContentProposal || !c.Proposal.Type().allowedExternal() {
			return nil, broken(ErrSender, "12.1.8", "an external sender may not send this")
		}
		senders, err := externalSenders(g.ctx.Extensions)
		if err != nil {
			return nil, err
		}
		if int64(c.Sender.Index) >= int64(len(senders)) {
			return nil, broken(ErrSender, "12.1.8.1", "external sender %d of %d", c.Sender.Index, len(senders))
		}
		return senders[c.Sender.Index].SignatureKey, nil
	case SenderNewMemberProposal:
		if c.ContentType == ContentProposal {
			if add, ok := c.Proposal.(Add); ok {
				return add.KeyPackage.LeafNode.SignatureKey, nil
			}
		}
		return nil, broken(ErrSender, "6.1", "new_member_proposal that is no add")
	default: // SenderNewMemberCommit; decoding lets no others pass
		if c.ContentType != ContentCommit {
			return nil, broken(ErrSender, "6.1", "new_member_commit that is no Commit")
		}
		if c.Commit.Path == nil {
			return nil, broken(ErrCommit, "12.4.3.2", "external Commit without a path")
		}
		return c.Commit.Path.LeafNode.SignatureKey, nil
	}
}

// accept takes verified content.
func (g *Group) accept(a *authenticatedContent, now time.Time) (Received, error) {
	switch a.content.ContentType {
	case ContentApplication:
		return &ApplicationMessage{a.content.Sender.Leaf, a.content.Epoch, a.content.AuthenticatedData, a.content.Application}, nil
	case ContentProposal:
		if _, ok := a.content.Proposal.(ExternalInit); ok {
			return nil, broken(ErrProposal, "12.1.6", "external_init outside of an external Commit")
		}
		if err := g.checkProposal(a.content.Proposal, a.content.Sender); err != nil {
			return nil, err
		}
		if add, ok := a.content.Proposal.(Add); ok && a.content.Sender.Type != SenderMember {
			if err := g.checkAddFromOutside(add, now); err != nil {
				return nil, err
			}
		}
		p, err := g.remember(a)
		if err != nil {
			return nil, err
		}
		return &ReceivedProposal{p, a.content.AuthenticatedData}, nil
	default:
		c, err := g.stage(a, now)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
}

// checkAddFromOutside judges a KeyPackage before the proposal is remembered, since
// from then on nothing can be sent but a Commit: "External proposals that are not
// authorized are considered invalid" (§12.1.8), and no stranger shall silence us.
func (g *Group) checkAddFromOutside(add Add, now time.Time) error {
	rules, err := newLeafRules(g.suite, g.cfg, g.ctx.GroupID, g.ctx.Extensions)
	if err != nil {
		return err
	}
	if err := add.KeyPackage.check(rules); err != nil {
		return err
	}
	return checkLifetime(add.KeyPackage.LeafNode.Lifetime, now)
}
