package mls

import (
	"bytes"
	"slices"
	"time"
)

// PathPolicy says when a Commit of ours carries an UpdatePath.
type PathPolicy uint8

// The policies. "By default, the path field of a Commit MUST be populated" (RFC
// 9420 §12.4).
const (
	PathAlways     PathPolicy = iota // renew our keys with each Commit
	PathIfRequired                   // leave it out where the proposals allow
)

// TreePolicy says how joiners get the ratchet tree (RFC 9420 §12.4.3.3).
type TreePolicy uint8

// The policies.
const (
	TreeInWelcome TreePolicy = iota // as the extension ratchet_tree of the GroupInfo
	TreeElsewhere                   // from Group.RatchetTree, by another way
)

// CommitOptions say what [Group.Commit] puts into a Commit. The zero value
// commits the pending proposals, or none, with a path.
type CommitOptions struct {
	Proposals []Proposal // by value, after the pending ones
	// Pending chooses among the proposals that were sent in this epoch, which then
	// must be valid together. nil takes all that are, as §12.2 and §12.4 recommend:
	// what others proposed and cannot be committed is left out.
	Pending           func(PendingProposal) bool
	Path              PathPolicy
	Profile           *Profile // new contents for our leaf, with a path; nil keeps them
	AuthenticatedData []byte   // sent in the clear, authenticated
	Tree              TreePolicy
	WelcomeExtensions []Extension // further extensions of the GroupInfo in the Welcome
	// JoinersPerWelcome splits the new members over several Welcomes. 0 makes one.
	JoinersPerWelcome int
}

// Commit makes a Commit and the Welcomes for those whom it adds (RFC 9420
// §12.4.1). Send its Message, and when it is known to be the one that the group
// takes, Merge it and send the Welcomes.
//
// The group does not change, except that a PrivateMessage uses up one key of our
// handshake ratchet, which must not be used again for another Commit.
//
// It fails with ErrInactive in a group that ended, ErrUsage for options that make no
// Commit, and as [Group.Read] does for proposals that it would not take: ErrProposal,
// ErrProposalList, ErrKeyPackage, ErrLeafNode, ErrAuthentication, ErrPSK.
func (g *Group) Commit(o CommitOptions, now time.Time) (*StagedCommit, error) {
	if err := g.active(); err != nil {
		return nil, err
	}
	sender := Sender{Type: SenderMember, Leaf: g.own}
	value := o.Proposals
	if g.link != nil {
		value = append([]Proposal{PreSharedKey{g.link.id(g.suite)}}, value...)
	}
	pending, pendingRefs := g.selectPending(o.Pending)
	list, refs := slices.Clone(pending), slices.Clone(pendingRefs)
	for _, p := range value {
		if err := complete(p); err != nil {
			return nil, err
		}
		p = withNonce(g.suite, p)
		refs = append(refs, ProposalOrRef{Proposal: p})
		list = append(list, CommittedProposal{p, sender, false})
	}
	if len(list) > g.cfg.maxProposals() {
		return nil, broken(ErrUsage, "12.2", "%d proposals", len(list))
	}
	c, err := g.create(list, refs, sender, o, nil, now)
	if n := len(pending); err != nil && o.Pending == nil && n > 0 {
		kept := g.fitting(pending, list[n:], sender, now)
		if len(kept) == n {
			return nil, err // it is not for the proposals
		}
		var fit []CommittedProposal
		var fitRefs []ProposalOrRef
		for _, i := range kept {
			fit, fitRefs = append(fit, pending[i]), append(fitRefs, pendingRefs[i])
		}
		c, err = g.create(append(fit, list[n:]...), append(fitRefs, refs[n:]...), sender, o, nil, now)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// create makes a Commit of a member, or with init the external Commit of one who
// joins (then g is what the GroupInfo says of the group, without secrets).
func (g *Group) create(list []CommittedProposal, refs []ProposalOrRef, sender Sender, o CommitOptions, init secret, now time.Time) (*StagedCommit, error) {
	if len(o.AuthenticatedData) > 1<<20 {
		return nil, broken(ErrUsage, "6", "%d bytes of authenticated data", len(o.AuthenticatedData))
	}
	if err := checkExtensions(o.WelcomeExtensions); err != nil {
		return nil, err
	}
	ch, err := g.apply(list, sender, now)
	if err != nil {
		return nil, err
	}
	next := g.successor(ch)
	next.signer, next.keys = g.signer, g.keys.clone()
	c := g.newStaged(list, ch, sender)
	c.authenticatedData, c.committer = bytes.Clone(o.AuthenticatedData), g.own
	commit := &Commit{Proposals: refs}

	var path *newPath
	commitSecret := g.suite.zero()
	if external := sender.Type == SenderNewMemberCommit; ch.needsPath || o.Path == PathAlways || o.Profile != nil {
		if external {
			next.own = ch.tree.emptyLeaf()
			c.committer = next.own
		}
		if path, err = next.makePath(ch, o.Profile); err != nil {
			return nil, err
		}
		defer path.wipe()
		if commit.Path, err = path.seal(ch.tree, ch.addedLeaves, next.ctx.append(nil)); err != nil {
			return nil, err
		}
		commitSecret = path.commitSecret
		c.path = true
	} else {
		if err := ch.checkTree(); err != nil {
			return nil, err
		}
		next.ctx.TreeHash = ch.tree.hash()
	}
	next.keys.prune(ch.tree)

	a := &authenticatedContent{wireFormat: g.handshakeFormat(sender), content: FramedContent{
		GroupID: g.ctx.GroupID, Epoch: g.ctx.Epoch, Sender: sender,
		AuthenticatedData: c.authenticatedData, ContentType: ContentCommit, Commit: commit, body: commit.append(nil),
	}}
	signer := g.signer
	if sender.Type == SenderNewMemberCommit {
		signer = next.signer
	}
	if a.signature, err = g.suite.signWithLabel(signer, "FramedContentTBS", a.tbs(g.context)); err != nil {
		return nil, err
	}
	next.ctx.ConfirmedTranscriptHash = g.suite.confirmedTranscriptHash(g.interim, a)
	psks, err := g.lookupPSKs(ch.psks)
	if err != nil {
		return nil, err
	}
	if init == nil {
		init = slices.Clone(g.secrets.init)
	}
	context := next.ctx.append(nil)
	joiner := g.suite.joinerSecret(init, commitSecret, context)
	psk := g.suite.pskSecret(ch.psks, psks)
	member := g.suite.memberSecret(joiner, psk)
	welcome := g.suite.welcomeSecret(member)
	next.start(g.suite.startEpoch(member, context))
	defer wipeAll(init, commitSecret, joiner, psk, welcome)

	a.tag = next.confirmationTag
	if len(ch.added) > 0 {
		if c.welcomes, err = next.welcomeAll(ch, path, joiner, welcome, o); err != nil {
			return nil, err
		}
	}
	// Last, because it uses up a key.
	if c.message, err = g.protect(a, 0); err != nil {
		return nil, err
	}
	c.next = next
	return c, nil
}

// makePath renews our leaf and path in the new tree and takes over its keys.
func (next *Group) makePath(ch *change, p *Profile) (*newPath, error) {
	template := ch.tree.leaf(next.own)
	if p != nil {
		if err := p.check(next.suite); err != nil {
			return nil, err
		}
		template, next.signer = p.leaf(), p.SignatureKey
	}
	previous := ch.tree.leaf(next.own)
	if previous == nil {
		previous = ch.replaced
	}
	path, err := ch.tree.renew(next.own, template, next.signer, next.ctx.GroupID)
	if err != nil {
		return nil, err
	}
	if err := ch.rules.unsigned(path.leaf, previous); err != nil {
		return nil, err
	}
	if err := ch.checkTree(next.own); err != nil {
		return nil, err
	}
	next.ctx.TreeHash = ch.tree.hash()
	next.keys.set(next.own.node(), path.leafPrivate)
	for k, x := range path.path {
		next.keys.set(x, path.nodes[k].private)
	}
	return path, nil
}

// handshakeFormat: outsiders cannot encrypt (§12.1.8, §12.4.3.2).
func (g *Group) handshakeFormat(sender Sender) WireFormat {
	if sender.Type != SenderMember || g.cfg.Handshake == WireFormatPublicMessage {
		return WireFormatPublicMessage
	}
	return WireFormatPrivateMessage
}

// protect wraps a for the wire (§6.2, §6.3).
func (g *Group) protect(a *authenticatedContent, padding int) (*Message, error) {
	if a.wireFormat == WireFormatPublicMessage {
		m, err := protectPublic(g.suite, a, g.secrets.membership, g.context)
		if err != nil {
			return nil, err
		}
		return &Message{Public: m}, nil
	}
	m, err := protectPrivate(g.suite, a, g.secrets.senderData, g.ratchets, padding)
	if err != nil {
		return nil, err
	}
	return &Message{Private: m}, nil
}
