package mls

import (
	"bytes"
	"slices"
)

// CommittedProposal is a proposal that a Commit covers.
type CommittedProposal struct {
	Proposal Proposal
	Sender   Sender // the committer if by value
	ByRef    bool   // sent before, and referred to by hash
}

// cachedProposal was sent or received in this epoch and can be committed by
// reference.
type cachedProposal struct {
	ref     []byte
	content *authenticatedContent
}

// resolve looks up the proposals of a Commit (RFC 9420 §12.4).
func (g *Group) resolve(list []ProposalOrRef, committer Sender) ([]CommittedProposal, error) {
	if len(list) > g.cfg.maxProposals() {
		return nil, broken(ErrProposalList, "12.2", "%d proposals", len(list))
	}
	seen := map[string]bool{}
	out := make([]CommittedProposal, 0, len(list))
	for _, p := range list {
		if p.Proposal != nil {
			out = append(out, CommittedProposal{p.Proposal, committer, false})
			continue
		}
		if seen[string(p.Reference)] {
			return nil, broken(ErrProposalList, "12.2", "the same ProposalRef twice")
		}
		seen[string(p.Reference)] = true
		k := slices.IndexFunc(g.proposals, func(c cachedProposal) bool { return bytes.Equal(c.ref, p.Reference) })
		if k < 0 {
			return nil, broken(ErrCommit, "12.4", "a ProposalRef to a proposal that we do not have")
		}
		c := g.proposals[k].content
		out = append(out, CommittedProposal{c.content.Proposal, c.content.Sender, true})
	}
	return out, nil
}

// checkProposal makes the checks of §12.1 that need no other proposal.
func (g *Group) checkProposal(p Proposal, sender Sender) error {
	switch p := p.(type) {
	case Update:
		if sender.Type != SenderMember {
			return broken(ErrProposal, "12.1.8", "update from outside of the group")
		}
		old := g.tree.leaf(sender.Leaf)
		if old == nil {
			return broken(ErrProposal, "12.1.2", "update of blank leaf %d", sender.Leaf)
		}
		if p.LeafNode.Source != LeafNodeSourceUpdate {
			return broken(ErrLeafNode, "7.3", "leaf_node_source %d in an Update", p.LeafNode.Source)
		}
		if bytes.Equal(p.LeafNode.EncryptionKey, old.EncryptionKey) {
			return broken(ErrLeafNode, "7.3", "Update with the old encryption_key")
		}
	case Remove:
		if g.tree.leaf(p.Removed) == nil {
			return broken(ErrProposal, "12.1.3", "leaf %d is blank", p.Removed)
		}
	case PreSharedKey:
		if len(p.PSK.Nonce) != g.suite.nh {
			return broken(ErrProposal, "12.1.4", "psk_nonce of %d bytes", len(p.PSK.Nonce))
		}
		if p.PSK.Type == PSKResumption && p.PSK.Usage != ResumptionApplication && !g.link.permits(&p.PSK) {
			return broken(ErrProposal, "12.1.4", "resumption PSK for reinit or branch in another place")
		}
	case ReInit:
		if p.Version < g.ctx.Version {
			return broken(ErrProposal, "12.1.5", "reinit to the lower version %d", p.Version)
		}
	}
	return nil
}

// checkList is §12.2 for the list as such; what it does to the tree is checked
// by apply.
func (g *Group) checkList(list []CommittedProposal, committer Sender) error {
	if committer.Type == SenderNewMemberCommit {
		return g.checkExternalList(list)
	}
	touched := map[LeafIndex]bool{}
	psks := map[string]bool{}
	extensions := false
	for _, c := range list {
		if err := g.checkProposal(c.Proposal, c.Sender); err != nil {
			return err
		}
		switch p := c.Proposal.(type) {
		case Update:
			if c.Sender.Leaf == committer.Leaf {
				return broken(ErrProposalList, "12.2", "update by the committer")
			}
			if touched[c.Sender.Leaf] {
				return broken(ErrProposalList, "12.2", "two proposals for leaf %d", c.Sender.Leaf)
			}
			touched[c.Sender.Leaf] = true
		case Remove:
			if p.Removed == committer.Leaf {
				return broken(ErrProposalList, "12.2", "the committer removes itself")
			}
			if touched[p.Removed] {
				return broken(ErrProposalList, "12.2", "two proposals for leaf %d", p.Removed)
			}
			touched[p.Removed] = true
		case PreSharedKey:
			id := string(p.PSK.append(nil))
			if psks[id] {
				return broken(ErrProposalList, "12.2", "the same PreSharedKeyID twice")
			}
			psks[id] = true
		case GroupContextExtensions:
			if extensions {
				return broken(ErrProposalList, "12.2", "two group_context_extensions proposals")
			}
			extensions = true
		case ReInit:
			if len(list) > 1 {
				return broken(ErrProposalList, "12.2", "reinit beside other proposals")
			}
		case ExternalInit:
			return broken(ErrProposalList, "12.2", "external_init from a member")
		}
	}
	return nil
}

// checkExternalList: exactly one ExternalInit, at most one Remove, PSKs, nothing
// else, and nothing by reference (§12.2, §12.4.3.2).
func (g *Group) checkExternalList(list []CommittedProposal) error {
	inits, removes := 0, 0
	psks := map[string]bool{}
	for _, c := range list {
		if c.ByRef {
			return broken(ErrProposalList, "12.4.3.2", "external Commit with a proposal by reference")
		}
		if err := g.checkProposal(c.Proposal, c.Sender); err != nil {
			return err
		}
		switch p := c.Proposal.(type) {
		case ExternalInit:
			inits++
		case Remove:
			removes++
		case PreSharedKey:
			if id := string(p.PSK.append(nil)); psks[id] {
				return broken(ErrProposalList, "12.2", "the same PreSharedKeyID twice")
			} else {
				psks[id] = true
			}
		default:
			return broken(ErrProposalList, "12.2", "%s in an external Commit", p.Type())
		}
	}
	if inits != 1 || removes > 1 {
		return broken(ErrProposalList, "12.2", "external Commit with %d external_init and %d remove", inits, removes)
	}
	return nil
}
