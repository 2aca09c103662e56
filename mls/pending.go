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

// maxTries bounds the work of fitting, for a hostile member who proposes much.
const maxTries = 64

// fitting chooses among pending proposals those that can be committed together,
// with value: others may have proposed what is invalid, or the same twice. It tries
// them all, then halves; what is not settled after maxTries is left out, and may be
// sent again (§12.4). It returns the places in pending of what is chosen.
func (g *Group) fitting(pending, value []CommittedProposal, sender Sender, now time.Time) (kept []int) {
	tries := 0
	fits := func(more []int) bool {
		var list []CommittedProposal
		for _, i := range slices.Concat(kept, more) {
			list = append(list, pending[i])
		}
		tries++
		ch, err := g.apply(append(list, value...), sender, now)
		if err != nil || ch.checkTree() != nil {
			return false
		}
		_, err = g.lookupPSKs(ch.psks)
		return err == nil
	}
	var settle func([]int)
	settle = func(more []int) {
		switch {
		case len(more) == 0 || tries >= maxTries:
		case fits(more):
			kept = append(kept, more...)
		case len(more) > 1:
			settle(more[:len(more)/2])
			settle(more[len(more)/2:])
		}
	}
	all := make([]int, len(pending))
	for i := range all {
		all[i] = i
	}
	settle(all)
	return kept
}
