package mls

import (
	"bytes"
	"slices"
	"time"
)

// Group is one member's state of a group in one epoch. It is not safe for
// concurrent use. A method that returns an error has changed nothing.
//
// Messages of others go through [Group.Read]. Commits, our own and others',
// change nothing until [Group.Merge].
type Group struct {
	cfg     *Config
	suite   *suite
	ctx     GroupContext
	context []byte // ctx, encoded
	tree    *tree

	own    LeafIndex
	signer *SignaturePrivateKey
	keys   privateKeys

	secrets  epochSecrets
	ratchets *secretTree

	interim         []byte // interim_transcript_hash
	confirmationTag []byte // of the Commit that began this epoch

	proposals  []cachedProposal // received and sent in this epoch, in order
	updates    []pendingUpdate  // keys of our own Update proposals
	past       []*pastEpoch     // newest first
	resumption []resumptionPSK  // of former epochs, newest first
	state      groupState
	reinit     *ReInit // set in stateReInit
	link       *link   // set before the first Commit of a successor group

	serial uint64 // counts merges, so that a StagedCommit knows its base
}

type groupState uint8

const (
	stateActive groupState = iota
	stateRemoved
	stateReInit
)

// pastEpoch is what is needed to read late application messages.
type pastEpoch struct {
	epoch      uint64
	context    []byte
	signers    [][]byte // signature keys by leaf, nil where blank
	senderData secret
	ratchets   *secretTree
}

func (p *pastEpoch) wipe() {
	p.senderData.wipe()
	p.ratchets.wipe()
}

type resumptionPSK struct {
	epoch uint64
	psk   secret
}

type pendingUpdate struct {
	public  []byte
	private secret
	signer  *SignaturePrivateKey
}

// Profile is what a client shows of itself in its leaf. Two leaves of one client
// may differ in it; the signature key may stay.
type Profile struct {
	Credential   Credential
	Capabilities Capabilities
	Extensions   []Extension // of the LeafNode, e.g. application_id
	SignatureKey *SignaturePrivateKey
}

func (p *Profile) check(s *suite) error {
	if p.SignatureKey == nil || p.SignatureKey.scheme != s.sig {
		return broken(ErrUsage, "5.1.2", "a signature key for %s is needed", s.name)
	}
	return checkExtensions(p.Extensions)
}

// leaf makes the part of a LeafNode that does not depend on where it goes.
func (p *Profile) leaf() *LeafNode {
	return &LeafNode{
		SignatureKey: p.SignatureKey.Public(), Credential: p.Credential,
		Capabilities: p.Capabilities, Extensions: slices.Clone(p.Extensions),
	}
}

// GroupOptions are the founder's choices for [NewGroup].
type GroupOptions struct {
	CipherSuite CipherSuite
	ID          []byte // should be random; empty makes a random one of KDF.Nh bytes
	Profile     Profile
	Lifetime    Lifetime // of the founder's leaf
	Extensions  []Extension
}

// NewGroup makes a group with its founder as the only member, in epoch 0 (RFC
// 9420 §11). Add others with [Group.Commit].
func NewGroup(cfg *Config, o GroupOptions, now time.Time) (*Group, error) {
	s, err := o.CipherSuite.suite()
	if err != nil {
		return nil, err
	}
	if err := o.Profile.check(s); err != nil {
		return nil, err
	}
	if err := checkExtensions(o.Extensions); err != nil {
		return nil, err
	}
	id := bytes.Clone(o.ID)
	if len(id) == 0 {
		id = random(s.nh)
	}
	if len(id) > 1<<16 {
		return nil, broken(ErrUsage, "11", "group ID of %d bytes", len(id))
	}
	private, public, err := s.hpke.generate()
	if err != nil {
		return nil, brokenBy(ErrInvalidKey, "11", err, "leaf key")
	}
	leaf := o.Profile.leaf()
	leaf.EncryptionKey, leaf.Source, leaf.Lifetime = public, LeafNodeSourceKeyPackage, o.Lifetime
	if err := leaf.sign(s, o.Profile.SignatureKey, id, 0); err != nil {
		return nil, err
	}
	ext := slices.Clone(o.Extensions)
	rules, err := newLeafRules(s, cfg, id, ext, now)
	if err != nil {
		return nil, err
	}
	if err := rules.unsigned(leaf, nil); err != nil {
		return nil, err
	}
	if err := checkLifetime(leaf.Lifetime, now); err != nil {
		return nil, err
	}
	if _, err := externalSenders(ext); err != nil {
		return nil, err
	}
	g := &Group{cfg: cfg, suite: s, tree: newTree(s, leaf), signer: o.Profile.SignatureKey, keys: privateKeys{0: private}}
	g.ctx = GroupContext{Version: MLS10, CipherSuite: s.id, GroupID: id, TreeHash: g.tree.hash(), Extensions: ext}
	g.start(s.fromEpochSecret(random(s.nh)))
	return g, nil
}

// start begins the epoch of g.ctx with its secrets: it sets the confirmation
// tag, the interim transcript hash and the secret tree.
func (g *Group) start(n *newEpoch) {
	g.context = g.ctx.append(nil)
	g.secrets = n.epochSecrets
	g.confirmationTag = g.suite.mac(n.confirmation, g.ctx.ConfirmedTranscriptHash)
	n.confirmation.wipe()
	g.interim = g.suite.interimTranscriptHash(g.ctx.ConfirmedTranscriptHash, g.confirmationTag)
	g.ratchets = newSecretTree(g.suite, len(g.tree.leaves), n.encryption)
}

// active fails in a group that takes no more messages.
func (g *Group) active() error {
	switch g.state {
	case stateRemoved:
		return broken(ErrInactive, "12.4.2", "we were removed")
	case stateReInit:
		return broken(ErrInactive, "12.4.2", "the group was reinitialized")
	}
	return nil
}

// Member is one leaf that is not blank.
type Member struct {
	Index LeafIndex
	Leaf  *LeafNode // must not be changed
}

func (t *tree) memberList() []Member {
	var list []Member
	for i, l := range t.members() {
		list = append(list, Member{i, l})
	}
	return list
}

// Members lists the members from the left. It is empty after our removal.
func (g *Group) Members() []Member {
	if g.state == stateRemoved {
		return nil
	}
	return g.tree.memberList()
}

// Member returns the leaf at i, or nil.
func (g *Group) Member(i LeafIndex) *LeafNode {
	if g.state == stateRemoved {
		return nil
	}
	return g.tree.leaf(i)
}

// OwnIndex is our own place in the tree.
func (g *Group) OwnIndex() LeafIndex { return g.own }

// ID returns the group ID.
func (g *Group) ID() []byte { return bytes.Clone(g.ctx.GroupID) }

// Epoch counts the Commits since the group began.
func (g *Group) Epoch() uint64 { return g.ctx.Epoch }

// CipherSuite returns the suite of the group.
func (g *Group) CipherSuite() CipherSuite { return g.suite.id }

// Context returns the GroupContext, which must not be changed.
func (g *Group) Context() GroupContext { return g.ctx }

// Active reports whether the group still takes and gives messages: false after
// our removal and after a ReInit.
func (g *Group) Active() bool { return g.state == stateActive }

// RatchetTree encodes the public tree as the ratchet_tree extension has it (RFC
// 9420 §12.4.3.3), for joiners whose Welcome does not carry it.
func (g *Group) RatchetTree() []byte {
	if g.state == stateRemoved {
		return nil
	}
	return g.tree.append(nil)
}

// Export derives a secret of n bytes, at most 255 hashes, for use outside of MLS
// (RFC 9420 §8.5). The same label and context give all members of an epoch the
// same bytes.
func (g *Group) Export(label string, context []byte, n int) ([]byte, error) {
	if g.state == stateRemoved {
		return nil, g.active()
	}
	if n < 0 || n > 255*g.suite.nh || n > 1<<16-1 || len(label) > 1<<16 {
		return nil, broken(ErrUsage, "8.5", "cannot export %d bytes", n)
	}
	return g.suite.export(g.secrets.exporter, label, context, n), nil
}

// EpochAuthenticator returns KDF.Nh bytes that are the same for all members who
// have the same view of this epoch (RFC 9420 §8.7). nil after our removal.
func (g *Group) EpochAuthenticator() []byte { return bytes.Clone(g.secrets.authenticator) }

// ResumptionPSK returns the resumption PSK of this epoch (RFC 9420 §8.6), for the
// PSK function of a group that refers to it. nil after our removal.
func (g *Group) ResumptionPSK() []byte { return bytes.Clone(g.secrets.resumption) }

// ForgetPast deletes the keys of all former epochs (RFC 9420 §9.2); late
// application messages of theirs are lost.
func (g *Group) ForgetPast() {
	for _, p := range g.past {
		p.wipe()
	}
	g.past = nil
}
