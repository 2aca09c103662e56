package mls

import "bytes"

// Protect encrypts data to the group (RFC 9420 §15), with authenticatedData sent
// in the clear beside it. Each call uses up one key of our application ratchet.
// The message is longer than data by the suite's signature, two AEAD tags, 12
// bytes of sender data, the group ID and some 30 bytes, and the padding.
//
// It fails with ErrUsage while proposals are pending: "A group member that has
// observed one or more valid proposals within an epoch MUST send a Commit message
// before sending application data" (§12.4).
func (g *Group) Protect(data, authenticatedData []byte) (*Message, error) {
	if err := g.active(); err != nil {
		return nil, err
	}
	if len(g.proposals) > 0 {
		return nil, broken(ErrUsage, "12.4", "%d proposals wait for a Commit", len(g.proposals))
	}
	if len(data) > 1<<28 || len(authenticatedData) > 1<<20 {
		return nil, broken(ErrUsage, "2.1.2", "%d bytes of data, %d authenticated", len(data), len(authenticatedData))
	}
	a := &authenticatedContent{wireFormat: WireFormatPrivateMessage, content: FramedContent{
		GroupID: g.ctx.GroupID, Epoch: g.ctx.Epoch, Sender: Sender{Type: SenderMember, Leaf: g.own},
		AuthenticatedData: bytes.Clone(authenticatedData), ContentType: ContentApplication, Application: data,
	}}
	var err error
	if a.signature, err = g.suite.signWithLabel(g.signer, "FramedContentTBS", a.tbs(g.context)); err != nil {
		return nil, err
	}
	content := len(a.appendAuth(a.content.appendContent(nil)))
	return g.protect(a, g.cfg.padding(ContentApplication, content))
}
