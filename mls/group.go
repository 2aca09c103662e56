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
	stateWiped
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
	if err := checkExtensions(p.Extensions); err != nil {
		return err
	}
	r := &reader{b: appendExtensions(p.Capabilities.append(p.Credential.append(nil)), p.Extensions)}
	decodeCredential(r)
	decodeCapabilities(r)
	decodeExtensions(r)
	if err := r.end(); err != nil {
		return broken(ErrUsage, "7.2", "a leaf that nobody can decode: %v", err)
	}
	return nil
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
// 9420 §11). Add others with [Group.Commit]. It fails with ErrUnsupported for the
// suite, ErrUsage for what others could not decode, ErrLeafNode if the founder's
// leaf does not meet the group's own requirements, and ErrAuthentication.
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
	rules, err := newLeafRules(s, cfg, id, ext)
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
