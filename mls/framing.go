package mls

import "bytes"

// Sender says who sent a message (RFC 9420 §6).
type Sender struct {
	Type  SenderType
	Leaf  LeafIndex // if Type is SenderMember
	Index uint32    // if Type is SenderExternal: position in external_senders
}

func (s Sender) append(b []byte) []byte {
	b = append(b, byte(s.Type))
	switch s.Type {
	case SenderMember:
		return appendUint32(b, s.Leaf)
	case SenderExternal:
		return appendUint32(b, s.Index)
	}
	return b
}

func decodeSender(r *reader) Sender {
	s := Sender{Type: SenderType(r.uint8())}
	switch s.Type {
	case SenderMember:
		s.Leaf = LeafIndex(r.uint32())
	case SenderExternal:
		s.Index = r.uint32()
	case SenderNewMemberProposal, SenderNewMemberCommit:
	default:
		r.fail("6", "sender_type %d", s.Type)
	}
	return s
}

// FramedContent is the content of a message before protection (RFC 9420 §6). One
// of the last three fields is set, as ContentType says.
type FramedContent struct {
	GroupID           []byte
	Epoch             uint64
	Sender            Sender
	AuthenticatedData []byte
	ContentType       ContentType
	Application       []byte
	Proposal          Proposal
	Commit            *Commit

	// body is what appendContent appends, where that is known: a Commit is signed,
	// hashed and sent, and large.
	body []byte
}

func (c *FramedContent) append(b []byte) []byte {
	b = appendUint64(appendOpaque(b, c.GroupID), c.Epoch)
	b = appendOpaque(c.Sender.append(b), c.AuthenticatedData)
	return c.appendContent(append(b, byte(c.ContentType)))
}

// appendContent appends what the select on the content type gives.
func (c *FramedContent) appendContent(b []byte) []byte {
	if c.body != nil {
		return append(b, c.body...)
	}
	switch c.ContentType {
	case ContentApplication:
		return appendOpaque(b, c.Application)
	case ContentProposal:
		return appendProposal(b, c.Proposal)
	default:
		return c.Commit.append(b)
	}
}

func decodeFramedContent(r *reader) FramedContent {
	c := FramedContent{
		GroupID: r.opaque(), Epoch: r.uint64(), Sender: decodeSender(r),
		AuthenticatedData: r.opaque(), ContentType: ContentType(r.uint8()),
	}
	c.decodeContent(r)
	return c
}

func (c *FramedContent) decodeContent(r *reader) {
	switch c.ContentType {
	case ContentApplication:
		c.Application = r.opaque()
	case ContentProposal:
		c.Proposal = decodeProposal(r)
	case ContentCommit:
		c.Commit = decodeCommit(r)
	default:
		r.fail("6", "content_type %d", c.ContentType)
	}
}

// authenticatedContent is AuthenticatedContent with FramedContentAuthData (§6,
// §6.1): what is signed and, for a Commit, confirmed.
type authenticatedContent struct {
	wireFormat WireFormat
	content    FramedContent
	signature  []byte
	tag        []byte // confirmation_tag, of a Commit only
}

func (a *authenticatedContent) append(b []byte) []byte {
	return a.appendAuth(a.content.append(appendUint16(b, a.wireFormat)))
}

func (a *authenticatedContent) appendAuth(b []byte) []byte {
	b = appendOpaque(b, a.signature)
	if a.content.ContentType == ContentCommit {
		b = appendOpaque(b, a.tag)
	}
	return b
}

func (a *authenticatedContent) decodeAuth(r *reader) {
	a.signature = r.opaque()
	if a.content.ContentType == ContentCommit {
		a.tag = r.opaque()
	}
}

func decodeAuthenticatedContent(r *reader) *authenticatedContent {
	a := &authenticatedContent{wireFormat: WireFormat(r.uint16()), content: decodeFramedContent(r)}
	a.decodeAuth(r)
	return a
}

// tbs is FramedContentTBS. context is the encoded GroupContext; senders outside
// of the group do not sign it.
func (a *authenticatedContent) tbs(context []byte) []byte {
	b := make([]byte, 0, len(a.content.body)+len(a.content.GroupID)+len(a.content.AuthenticatedData)+len(context)+64)
	b = appendUint16(appendUint16(b, MLS10), a.wireFormat)
	b = a.content.append(b)
	switch a.content.Sender.Type {
	case SenderMember, SenderNewMemberCommit:
		b = append(b, context...)
	}
	return b
}

// proposalRef is the name by which a Commit refers to the proposal (§5.2).
func (a *authenticatedContent) proposalRef(s *suite) []byte {
	return s.refHash("MLS 1.0 Proposal Reference", a.append(nil))
}

// PublicMessage is a signed message that everybody can read (RFC 9420 §6.2).
// A parsed one is unverified.
type PublicMessage struct {
	Content         FramedContent
	Signature       []byte
	ConfirmationTag []byte // of a Commit
	MembershipTag   []byte // of a member
}

func (m *PublicMessage) authenticated() *authenticatedContent {
	return &authenticatedContent{WireFormatPublicMessage, m.Content, m.Signature, m.ConfirmationTag}
}

func (m *PublicMessage) append(b []byte) []byte {
	b = m.authenticated().appendAuth(m.Content.append(b))
	if m.Content.Sender.Type == SenderMember {
		b = appendOpaque(b, m.MembershipTag)
	}
	return b
}

func decodePublicMessage(r *reader) *PublicMessage {
	a := &authenticatedContent{content: decodeFramedContent(r)}
	a.decodeAuth(r)
	m := &PublicMessage{Content: a.content, Signature: a.signature, ConfirmationTag: a.tag}
	if m.Content.Sender.Type == SenderMember {
		m.MembershipTag = r.opaque()
	}
	return m
}

// protectPublic encodes a as a PublicMessage with its membership tag. Application
// data is refused: "Applications MUST use PrivateMessage to encrypt application
// messages" (§6).
func protectPublic(s *suite, a *authenticatedContent, membership secret, context []byte) (*PublicMessage, error) {
	if a.content.ContentType == ContentApplication {
		return nil, broken(ErrUsage, "6", "application data in a PublicMessage")
	}
	m := &PublicMessage{Content: a.content, Signature: a.signature, ConfirmationTag: a.tag}
	if a.content.Sender.Type == SenderMember {
		m.MembershipTag = s.mac(membership, a.appendAuth(a.tbs(context)))
	}
	return m, nil
}

// unprotect verifies the membership tag (§6.2) and gives the content, whose
// signature is not verified yet.
func (m *PublicMessage) unprotect(s *suite, membership secret, context []byte) (*authenticatedContent, error) {
	a := m.authenticated()
	if a.content.ContentType == ContentApplication {
		return nil, broken(ErrSender, "6", "application data in a PublicMessage")
	}
	if a.content.Sender.Type == SenderMember && !s.verifyMAC(membership, a.appendAuth(a.tbs(context)), m.MembershipTag) {
		return nil, broken(ErrMembershipTag, "6.2", "sender leaf %d", a.content.Sender.Leaf)
	}
	return a, nil
}

// sameGroup checks the two fields that each message to a group begins with.
func sameGroup(ctx *GroupContext, groupID []byte, epoch uint64) error {
	if !bytes.Equal(groupID, ctx.GroupID) {
		return broken(ErrWrongGroup, "6", "group_id differs")
	}
	if epoch != ctx.Epoch {
		return broken(ErrWrongEpoch, "14", "epoch %d in epoch %d", epoch, ctx.Epoch)
	}
	return nil
}
