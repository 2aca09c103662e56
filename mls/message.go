package mls

// Message is MLSMessage (RFC 9420 §6), what goes over the wire. One of the
// pointers is set. Nothing in a parsed Message is verified: [Group.Read], [Join],
// [JoinExternal] and [KeyPackage.Verify] do that.
type Message struct {
	Public     *PublicMessage
	Private    *PrivateMessage
	Welcome    *Welcome
	GroupInfo  *GroupInfo
	KeyPackage *KeyPackage
}

// WireFormat says which pointer is set; 0 if none is.
func (m *Message) WireFormat() WireFormat {
	switch {
	case m.Public != nil:
		return WireFormatPublicMessage
	case m.Private != nil:
		return WireFormatPrivateMessage
	case m.Welcome != nil:
		return WireFormatWelcome
	case m.GroupInfo != nil:
		return WireFormatGroupInfo
	case m.KeyPackage != nil:
		return WireFormatKeyPackage
	}
	return 0
}

// Marshal encodes the message.
func (m *Message) Marshal() []byte {
	b := appendUint16(appendUint16(nil, MLS10), m.WireFormat())
	switch m.WireFormat() {
	case WireFormatPublicMessage:
		return m.Public.append(b)
	case WireFormatPrivateMessage:
		return m.Private.append(b)
	case WireFormatWelcome:
		return m.Welcome.append(b)
	case WireFormatGroupInfo:
		return m.GroupInfo.append(b)
	case WireFormatKeyPackage:
		return m.KeyPackage.append(b)
	}
	return b
}

// ParseMessage decodes an MLSMessage, which it copies. Errors match ErrMalformed
// or ErrUnsupported.
func ParseMessage(b []byte) (*Message, error) { return parse(b, decodeMessage) }

func decodeMessage(r *reader) *Message {
	m := &Message{}
	if v := r.uint16(); r.err == nil && ProtocolVersion(v) != MLS10 {
		r.failWith(broken(ErrUnsupported, "6", "protocol version %d", v))
	}
	switch f := WireFormat(r.uint16()); f {
	case WireFormatPublicMessage:
		m.Public = decodePublicMessage(r)
	case WireFormatPrivateMessage:
		m.Private = decodePrivateMessage(r)
	case WireFormatWelcome:
		m.Welcome = decodeWelcome(r)
	case WireFormatGroupInfo:
		m.GroupInfo = decodeGroupInfo(r)
	case WireFormatKeyPackage:
		m.KeyPackage = decodeKeyPackage(r)
		// "It MUST verify that the version field of the KeyPackage has the same
		// value as the version field of the MLSMessage" (§10).
		if r.err == nil && m.KeyPackage.Version != MLS10 {
			r.fail("10", "KeyPackage of version %d in a message of version %d", m.KeyPackage.Version, MLS10)
		}
	default:
		if r.err == nil {
			r.failWith(broken(ErrUnsupported, "17.2", "wire format %d", f))
		}
	}
	return m
}
