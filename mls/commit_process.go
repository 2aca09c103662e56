package mls

import (
	"bytes"
	"slices"
	"time"
)

// stage processes a Commit whose signature is verified (RFC 9420 §12.4.2), up to
// the point where the new state would become the current one.
func (g *Group) stage(a *authenticatedContent, now time.Time) (*StagedCommit, error) {
	commit, sender := a.content.Commit, a.content.Sender
	list, err := g.resolve(commit.Proposals, sender)
	if err != nil {
		return nil, err
	}
	ch, err := g.applyReceived(list, sender)
	if err != nil {
		return nil, err
	}
	if commit.Path == nil && ch.needsPath {
		return nil, broken(ErrCommit, "12.4", "the path is missing")
	}
	c := g.newStaged(list, ch, sender)
	c.authenticatedData = a.content.AuthenticatedData
	c.path = commit.Path != nil
	c.committer = sender.Leaf
	if sender.Type == SenderNewMemberCommit {
		c.committer = ch.tree.emptyLeaf()
	}
	removed := slices.Contains(ch.removed, g.own)

	next := g.successor(ch)
	keys, err := g.ownKeys(ch)
	if err != nil {
		return nil, err
	}
	next.keys, next.signer = keys.keys, keys.signer
	defer func() {
		if c.next == nil {
			next.keys.wipe()
		}
	}()
	commitSecret := g.suite.zero()
	if commit.Path != nil {
		if commitSecret, err = next.takePath(commit.Path, ch, c.committer, g.tree.leaf(c.committer), sender, removed); err != nil {
			return nil, err
		}
	} else {
		if err := ch.checkTree(); err != nil {
			return nil, err
		}
		next.ctx.TreeHash = ch.tree.hash()
	}
	if removed {
		c.removesUs = true
		return c, nil
	}
	next.keys.prune(ch.tree)

	next.ctx.ConfirmedTranscriptHash = g.suite.confirmedTranscriptHash(g.interim, a)
	init, err := g.initSecret(ch)
	if err != nil {
		return nil, err
	}
	psks, err := g.lookupPSKs(ch.psks)
	if err != nil {
		return nil, err
	}
	context := next.ctx.append(nil)
	joiner := g.suite.joinerSecret(init, commitSecret, context)
	psk := g.suite.pskSecret(ch.psks, psks)
	epoch := g.suite.startEpoch(g.suite.memberSecret(joiner, psk), context)
	wipeAll(joiner, psk, commitSecret, init)
	if !g.suite.verifyMAC(epoch.confirmation, next.ctx.ConfirmedTranscriptHash, a.tag) {
		epoch.wipe()
		wipeAll(epoch.encryption, epoch.confirmation)
		return nil, broken(ErrConfirmationTag, "12.4.2", "the committer's epoch is not ours")
	}
	next.start(epoch)
	c.next = next
	return c, nil
}

func (g *Group) newStaged(list []CommittedProposal, ch *change, sender Sender) *StagedCommit {
	return &StagedCommit{
		base: g, serial: g.serial, epoch: g.ctx.Epoch + 1, sender: sender, proposals: list, members: ch.tree, ext: ch.ext,
		added: ch.addedLeaves, removed: ch.removed, updated: ch.updated,
	}
}

// successor is the group of the next epoch as far as proposals determine it.
func (g *Group) successor(ch *change) *Group {
	next := &Group{cfg: g.cfg, suite: g.suite, ctx: g.ctx, tree: ch.tree, own: g.own}
	next.ctx.Epoch++
	next.ctx.Extensions = ch.ext
	if ch.reinit != nil {
		next.state, next.reinit = stateReInit, ch.reinit
	}
	return next
}

// ownedKeys is what we hold after proposals are applied: our own Update, if it is
// among them, brings the keys that were made with it.
type ownedKeys struct {
	keys   privateKeys
	signer *SignaturePrivateKey
}

func (g *Group) ownKeys(ch *change) (ownedKeys, error) {
	k := ownedKeys{g.keys.clone(), g.signer}
	if !slices.Contains(ch.updated, g.own) {
		return k, nil
	}
	public := ch.tree.leaf(g.own).EncryptionKey
	at := slices.IndexFunc(g.updates, func(u pendingUpdate) bool { return bytes.Equal(u.public, public) })
	if at < 0 {
		return k, broken(ErrCommit, "12.4.2", "an Update of ours whose keys are gone")
	}
	k.keys.set(g.own.node(), slices.Clone(g.updates[at].private))
	k.signer = g.updates[at].signer
	return k, nil
}

// initSecret is the init secret of the last epoch, or that of the external init.
func (g *Group) initSecret(ch *change) (secret, error) {
	if ch.externalInit == nil {
		return slices.Clone(g.secrets.init), nil
	}
	private, _, err := g.suite.externalKey(g.secrets.external)
	if err != nil {
		return nil, err
	}
	init, err := g.suite.hpke.exportFrom(private, ch.externalInit.KEMOutput, externalInitLabel, g.suite.nh)
	private.wipe()
	if err != nil {
		return nil, brokenBy(ErrDecrypt, "8.3", err, "external_init")
	}
	return init, nil
}

// takePath validates the path of a Commit and applies it to the new tree
// (§12.4.2). It sets the tree hash and returns the commit secret; for one who is
// removed it makes the public checks only.
func (next *Group) takePath(p *UpdatePath, ch *change, committer LeafIndex, previous *LeafNode, sender Sender, removed bool) (secret, error) {
	if p.LeafNode.Source != LeafNodeSourceCommit {
		return nil, broken(ErrLeafNode, "12.4.2", "leaf_node_source %d in a path", p.LeafNode.Source)
	}
	if sender.Type == SenderNewMemberCommit {
		previous = ch.replaced
	}
	if previous != nil && bytes.Equal(previous.EncryptionKey, p.LeafNode.EncryptionKey) {
		return nil, broken(ErrUpdatePath, "12.4.2", "the leaf keeps its encryption_key")
	}
	if err := ch.rules.one(p.LeafNode, committer, previous); err != nil {
		return nil, err
	}
	path, copath, err := ch.tree.merge(committer, p)
	if err != nil {
		return nil, err
	}
	if err := ch.checkTree(committer); err != nil {
		return nil, err
	}
	next.ctx.TreeHash = ch.tree.hash()
	if removed {
		return nil, nil
	}
	// The private keys of the nodes that the path blanked or renewed are outdated,
	// but those of its resolutions are not on it: drop the former first, so that
	// none of them can be taken for a key of the new tree.
	direct, _ := directPath(committer, len(ch.tree.leaves))
	for _, x := range direct {
		if k, ok := next.keys[x]; ok {
			k.wipe()
			delete(next.keys, x)
		}
	}
	return ch.tree.open(p, path, copath, next.own, next.keys, ch.addedLeaves, next.ctx.append(nil))
}
