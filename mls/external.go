package mls

import (
	"bytes"
	"slices"
	"time"
)

// ExternalOptions say how [JoinExternal] joins.
type ExternalOptions struct {
	Profile     Profile
	RatchetTree []byte // if the GroupInfo does not carry it
	// Replace names the leaf of a former self that the Commit removes ("resync",
	// §12.4.3.2); nil joins anew.
	Replace           *LeafIndex
	PSKs              []PreSharedKeyID // their keys come from Config.PSK; the nonces are made here
	AuthenticatedData []byte
}

// JoinExternal enters a group without a Welcome, by an external Commit (RFC 9420
// §12.4.3.2). It takes a GroupInfo of [Group.ExternalGroupInfo] and returns the
// group as it will be if the members take the Commit, which is a PublicMessage
// that the caller sends. If they take another, both are to be thrown away
// ([Group.Wipe]). It fails as [Join] does, with ErrGroupInfo without external_pub.
func JoinExternal(cfg *Config, gi *GroupInfo, o ExternalOptions, now time.Time) (*Group, *Message, error) {
	s, err := gi.GroupContext.CipherSuite.suite()
	if err != nil {
		return nil, nil, err
	}
	if err := o.Profile.check(s); err != nil {
		return nil, nil, err
	}
	data, ok := findExtension(gi.Extensions, ExtensionExternalPub)
	if !ok {
		return nil, nil, broken(ErrGroupInfo, "12.4.3.2", "no external_pub")
	}
	public, err := parse(data, (*reader).opaque)
	if err != nil {
		return nil, nil, err
	}
	g, err := fromGroupInfo(cfg, s, gi, o, now)
	if err != nil {
		return nil, nil, err
	}
	enc, init, err := s.hpke.exportTo(public, externalInitLabel, s.nh)
	if err != nil {
		return nil, nil, brokenBy(ErrGroupInfo, "8.3", err, "external_pub")
	}
	proposals := []Proposal{ExternalInit{enc}}
	if o.Replace != nil {
		proposals = append(proposals, Remove{*o.Replace})
	}
	for _, id := range o.PSKs {
		id.Nonce = nil
		proposals = append(proposals, withNonce(s, PreSharedKey{id}))
	}
	sender := Sender{Type: SenderNewMemberCommit}
	var list []CommittedProposal
	var refs []ProposalOrRef
	for _, p := range proposals {
		list = append(list, CommittedProposal{p, sender, false})
		refs = append(refs, ProposalOrRef{Proposal: p})
	}
	c, err := g.create(list, refs, sender, CommitOptions{Profile: &o.Profile, AuthenticatedData: o.AuthenticatedData}, init, now)
	if err != nil {
		return nil, nil, err
	}
	return c.next, c.message, nil
}

// fromGroupInfo verifies a GroupInfo and its tree, and makes the group that it
// describes, without any secret.
func fromGroupInfo(cfg *Config, s *suite, gi *GroupInfo, o ExternalOptions, now time.Time) (*Group, error) {
	t, err := treeOf(cfg, s, gi, o.RatchetTree)
	if err != nil {
		return nil, err
	}
	ctx := gi.GroupContext
	rules, err := newLeafRules(s, cfg, ctx.GroupID, ctx.Extensions)
	if err != nil {
		return nil, err
	}
	if err := gi.check(rules, t); err != nil {
		return nil, err
	}
	if o.Replace == nil {
		if err := cfg.checkUnused(ctx.GroupID); err != nil {
			return nil, err
		}
	}
	g := &Group{
		cfg: cfg, suite: s, ctx: ctx, context: ctx.append(nil), tree: t, signer: o.Profile.SignatureKey,
		interim: s.interimTranscriptHash(ctx.ConfirmedTranscriptHash, gi.ConfirmationTag), confirmationTag: gi.ConfirmationTag,
	}
	return g, g.checkExternalSenders(ctx.Extensions)
}

// ProposeJoin asks a group to add us (RFC 9420 §12.1.8, new_member_proposal). The
// group must be in that epoch when it commits. The message is a PublicMessage, which
// everybody can read.
func ProposeJoin(own *OwnKeyPackage, groupID []byte, epoch uint64) (*Message, error) {
	s, err := own.KeyPackage.CipherSuite.suite()
	if err != nil {
		return nil, err
	}
	return outsideProposal(s, own.signer, groupID, epoch, Sender{Type: SenderNewMemberProposal}, Add{KeyPackage: own.KeyPackage})
}

// ProposeExternal sends a proposal as entry index of the group's external_senders
// (RFC 9420 §12.1.8): add, remove, psk, reinit or group_context_extensions. The
// message is a PublicMessage. Other proposals give ErrUsage.
func ProposeExternal(cs CipherSuite, k *SignaturePrivateKey, index uint32, groupID []byte, epoch uint64, p Proposal) (*Message, error) {
	s, err := cs.suite()
	if err != nil {
		return nil, err
	}
	if err := complete(p); err != nil {
		return nil, err
	}
	if !p.Type().allowedExternal() {
		return nil, broken(ErrUsage, "12.1.8", "%T by an external sender", p)
	}
	return outsideProposal(s, k, groupID, epoch, Sender{Type: SenderExternal, Index: index}, withNonce(s, p))
}

func outsideProposal(s *suite, k *SignaturePrivateKey, groupID []byte, epoch uint64, sender Sender, p Proposal) (*Message, error) {
	a := &authenticatedContent{wireFormat: WireFormatPublicMessage, content: FramedContent{
		GroupID: bytes.Clone(groupID), Epoch: epoch, Sender: sender, ContentType: ContentProposal, Proposal: p,
	}}
	var err error
	if a.signature, err = s.signWithLabel(k, "FramedContentTBS", a.tbs(nil)); err != nil {
		return nil, err
	}
	m, err := protectPublic(s, a, nil, nil)
	if err != nil {
		return nil, err
	}
	return &Message{Public: m}, nil
}

// checkUnused: "Verify that the group_id is unique among the groups that the
// client is currently participating in" (§12.4.3.1).
func (c *Config) checkUnused(groupID []byte) error {
	if c.InUse != nil && c.InUse(slices.Clone(groupID)) {
		return broken(ErrGroupInfo, "12.4.3.1", "group_id is in use")
	}
	return nil
}
