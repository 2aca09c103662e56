package mls

// GroupContext is what all members of a group agree on in one epoch (RFC 9420
// §8.1). It must not be changed.
type GroupContext struct {
	Version                 ProtocolVersion
	CipherSuite             CipherSuite
	GroupID                 []byte
	Epoch                   uint64
	TreeHash                []byte
	ConfirmedTranscriptHash []byte
	Extensions              []Extension
}

func (c *GroupContext) append(b []byte) []byte {
	b = appendUint16(appendUint16(b, c.Version), c.CipherSuite)
	b = appendUint64(appendOpaque(b, c.GroupID), c.Epoch)
	b = appendOpaque(appendOpaque(b, c.TreeHash), c.ConfirmedTranscriptHash)
	return appendExtensions(b, c.Extensions)
}

func decodeGroupContext(r *reader) GroupContext {
	return GroupContext{
		ProtocolVersion(r.uint16()), CipherSuite(r.uint16()), r.opaque(), r.uint64(),
		r.opaque(), r.opaque(), decodeExtensions(r),
	}
}

// Marshal encodes the GroupContext.
func (c *GroupContext) Marshal() []byte { return c.append(nil) }
