package mls

import (
	"bytes"
	"math"
	"slices"
	"time"
)

// change is what a list of proposals does to a group (RFC 9420 §12.3).
type change struct {
	tree         *tree
	ext          []Extension
	rules        *leafRules
	addedLeaves  []LeafIndex
	added        []*KeyPackage
	updated      []LeafIndex
	removed      []LeafIndex
	replaced     *LeafNode // by an external Commit: the leaf that its Remove names
	psks         []PreSharedKeyID
	externalInit *ExternalInit
	reinit       *ReInit
	needsPath    bool
	extChanged   bool
}

// apply checks a list that we send and applies it to a copy of the tree.
func (g *Group) apply(list []CommittedProposal, committer Sender, now time.Time) (*change, error) {
	for _, p := range list {
		if a, ok := p.Proposal.(Add); ok {
			if err := checkLifetime(a.KeyPackage.LeafNode.Lifetime, now); err != nil {
				return nil, err
			}
		}
	}
	return g.applyReceived(list, committer)
}

// applyReceived checks a list and applies it to a copy of the tree, in the order
// of §12.3: extensions, updates, removes, adds. It does not ask a clock whether a
// lifetime holds, as §7.3 leaves open: members whose clocks differ would part.
func (g *Group) applyReceived(list []CommittedProposal, committer Sender) (*change, error) {
	if g.ctx.Epoch == math.MaxUint64 {
		return nil, broken(ErrCommit, "12", "the last epoch there is")
	}
	if err := g.checkList(list, committer); err != nil {
		return nil, err
	}
	c := &change{tree: g.tree.clone(), ext: g.ctx.Extensions, needsPath: len(list) == 0}
	for _, p := range list {
		c.needsPath = c.needsPath || p.Proposal.Type().needsPath()
		switch p := p.Proposal.(type) {
		case GroupContextExtensions:
			c.ext, c.extChanged = p.Extensions, true
		case PreSharedKey:
			c.psks = append(c.psks, p.PSK)
		case ExternalInit:
			c.externalInit = &p
		case ReInit:
			c.reinit = &p
		}
	}
	var err error
	if c.rules, err = newLeafRules(g.suite, g.cfg, g.ctx.GroupID, c.ext); err != nil {
		return nil, err
	}
	if c.extChanged {
		if err := g.checkExternalSenders(c.ext); err != nil {
			return nil, err
		}
	}
	if err := c.applyUpdates(list); err != nil {
		return nil, err
	}
	for _, p := range list {
		if r, ok := p.Proposal.(Remove); ok {
			if committer.Type == SenderNewMemberCommit {
				c.replaced = c.tree.leaf(r.Removed)
			}
			c.tree.leaves[r.Removed] = nil
			c.tree.blankDirectPath(r.Removed)
			c.removed = append(c.removed, r.Removed)
		}
	}
	// Truncated once, after all removes: an Add would otherwise see another tree
	// depending on the order, which §12.3 leaves open.
	c.tree.truncate()
	if err := c.applyAdds(list); err != nil {
		return nil, err
	}
	if c.extChanged {
		for i, l := range c.tree.members() {
			if err := c.rules.capabilities(l); err != nil {
				return nil, broken(ErrProposal, "12.1.7", "leaf %d does not support the new extensions: %v", i, err)
			}
		}
	}
	return c, nil
}

func (c *change) applyUpdates(list []CommittedProposal) error {
	for _, p := range list {
		if u, ok := p.Proposal.(Update); ok {
			if err := c.rules.one(u.LeafNode, p.Sender.Leaf, c.tree.leaf(p.Sender.Leaf)); err != nil {
				return err
			}
			c.tree.update(p.Sender.Leaf, u.LeafNode)
			c.updated = append(c.updated, p.Sender.Leaf)
		}
	}
	return nil
}

func (c *change) applyAdds(list []CommittedProposal) error {
	for _, p := range list {
		a, ok := p.Proposal.(Add)
		if !ok {
			continue
		}
		if err := a.KeyPackage.check(c.rules); err != nil {
			return err
		}
		if slices.ContainsFunc(c.added, func(k *KeyPackage) bool { return bytes.Equal(k.InitKey, a.KeyPackage.InitKey) }) {
			return broken(ErrProposalList, "10", "two KeyPackages with the same init_key")
		}
		c.added = append(c.added, a.KeyPackage)
		c.addedLeaves = append(c.addedLeaves, c.tree.add(a.KeyPackage.LeafNode))
	}
	return nil
}

// checkTree makes sure that the leaves that are new, and the committer's, fit
// the others: "after processing the Commit the ratchet tree is invalid" (§12.2).
func (c *change) checkTree(committer ...LeafIndex) error {
	changed := slices.Concat(c.updated, c.addedLeaves, committer)
	if len(changed) == 0 {
		return nil
	}
	if err := c.tree.notParents(changed); err != nil {
		return err
	}
	return c.tree.amongChanged(changed)
}

// checkExternalSenders: whoever may propose from outside must be known to the
// Authentication Service when the extension is set (§5.3.1).
func (g *Group) checkExternalSenders(ext []Extension) error {
	senders, err := externalSenders(ext)
	if err != nil {
		return err
	}
	for _, s := range senders {
		if err := g.suite.sig.check(s.SignatureKey); err != nil {
			return brokenBy(ErrProposal, "12.1.8.1", err, "signature key of an external sender")
		}
		if err := g.cfg.authenticate(Identity{GroupID: g.ctx.GroupID, Credential: s.Credential, SignatureKey: s.SignatureKey}); err != nil {
			return err
		}
	}
	return nil
}

// lookupPSKs finds the keys for IDs, in their order (§8.4).
func (g *Group) lookupPSKs(ids []PreSharedKeyID) ([]secret, error) {
	out := make([]secret, len(ids))
	for i := range ids {
		var err error
		if out[i], err = g.lookupPSK(&ids[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (g *Group) lookupPSK(id *PreSharedKeyID) (secret, error) {
	if id.Type == PSKResumption {
		if psk := g.ownResumptionPSK(id); psk != nil {
			return psk, nil
		}
	}
	return g.cfg.psk(id)
}

func (c *Config) psk(id *PreSharedKeyID) (secret, error) {
	if c.PSK == nil {
		return nil, broken(ErrPSK, "8.4", "no PSK function in the Config")
	}
	psk, err := c.PSK(*id)
	if err != nil {
		return nil, brokenBy(ErrPSK, "8.4", err, "not available")
	}
	if len(psk) == 0 { // nobody means to use a key that everybody knows
		return nil, broken(ErrPSK, "8.4", "not available")
	}
	return psk, nil
}

func (g *Group) ownResumptionPSK(id *PreSharedKeyID) secret {
	if g.link.permits(id) {
		return g.link.psk
	}
	if string(id.GroupID) != string(g.ctx.GroupID) {
		return nil
	}
	if id.Epoch == g.ctx.Epoch {
		return g.secrets.resumption
	}
	for _, r := range g.resumption {
		if r.epoch == id.Epoch {
			return r.psk
		}
	}
	return nil
}
