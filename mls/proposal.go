package mls

// Proposal is a change that a Commit can bring about (RFC 9420 §12.1). It is one
// of [Add], [Update], [Remove], [PreSharedKey], [ReInit], [ExternalInit] and
// [GroupContextExtensions]; other types are refused when decoding, since their
// length is not known.
type Proposal interface {
	Type() ProposalType
	append(b []byte) []byte
}

// Add asks to add the client of a KeyPackage (§12.1.1).
type Add struct{ KeyPackage *KeyPackage }

// Update asks to replace the sender's leaf (§12.1.2).
type Update struct{ LeafNode *LeafNode }

// Remove asks to remove a member (§12.1.3).
type Remove struct{ Removed LeafIndex }

// PreSharedKey asks to mix a PSK into the key schedule (§12.1.4).
type PreSharedKey struct{ PSK PreSharedKeyID }

// ReInit asks to close the group and open another in its place (§12.1.5).
type ReInit struct {
	GroupID     []byte
	Version     ProtocolVersion
	CipherSuite CipherSuite
	Extensions  []Extension
}

// ExternalInit carries the init secret of one who joins by itself (§12.1.6).
type ExternalInit struct{ KEMOutput []byte }

// GroupContextExtensions replaces the group's extensions, all of them (§12.1.7).
type GroupContextExtensions struct{ Extensions []Extension }

// Type returns ProposalAdd.
func (Add) Type() ProposalType { return ProposalAdd }

// Type returns ProposalUpdate.
func (Update) Type() ProposalType { return ProposalUpdate }

// Type returns ProposalRemove.
func (Remove) Type() ProposalType { return ProposalRemove }

// Type returns ProposalPreSharedKey.
func (PreSharedKey) Type() ProposalType { return ProposalPreSharedKey }

// Type returns ProposalReInit.
func (ReInit) Type() ProposalType { return ProposalReInit }

// Type returns ProposalExternalInit.
func (ExternalInit) Type() ProposalType { return ProposalExternalInit }

// Type returns ProposalGroupContextExtensions.
func (GroupContextExtensions) Type() ProposalType { return ProposalGroupContextExtensions }

func (p Add) append(b []byte) []byte          { return p.KeyPackage.append(b) }
func (p Update) append(b []byte) []byte       { return p.LeafNode.append(b) }
func (p Remove) append(b []byte) []byte       { return appendUint32(b, p.Removed) }
func (p PreSharedKey) append(b []byte) []byte { return p.PSK.append(b) }
func (p ExternalInit) append(b []byte) []byte { return appendOpaque(b, p.KEMOutput) }
func (p GroupContextExtensions) append(b []byte) []byte {
	return appendExtensions(b, p.Extensions)
}

func (p ReInit) append(b []byte) []byte {
	b = appendUint16(appendUint16(appendOpaque(b, p.GroupID), p.Version), p.CipherSuite)
	return appendExtensions(b, p.Extensions)
}

func appendProposal(b []byte, p Proposal) []byte { return p.append(appendUint16(b, p.Type())) }

func decodeProposal(r *reader) Proposal {
	switch t := ProposalType(r.uint16()); t {
	case ProposalAdd:
		return Add{KeyPackage: decodeKeyPackage(r)}
	case ProposalUpdate:
		return Update{decodeLeafNode(r)}
	case ProposalRemove:
		return Remove{LeafIndex(r.uint32())}
	case ProposalPreSharedKey:
		return PreSharedKey{decodePreSharedKeyID(r)}
	case ProposalReInit:
		return ReInit{r.opaque(), ProtocolVersion(r.uint16()), CipherSuite(r.uint16()), decodeExtensions(r)}
	case ProposalExternalInit:
		return ExternalInit{r.opaque()}
	case ProposalGroupContextExtensions:
		return GroupContextExtensions{decodeExtensions(r)}
	default:
		if r.err == nil {
			r.failWith(broken(ErrUnsupported, "12.1", "%s", t))
		}
		return nil
	}
}

// complete fails with ErrUsage for a proposal of the caller that others could not
// decode: pointers to proposals, nil where something belongs, lists with an entry
// twice or too long.
func complete(p Proposal) error {
	ok := false
	switch p := p.(type) {
	case Add:
		ok = p.KeyPackage != nil && p.KeyPackage.LeafNode != nil
	case Update:
		ok = p.LeafNode != nil
	case Remove, PreSharedKey, ReInit, ExternalInit, GroupContextExtensions:
		ok = true
	}
	if !ok {
		return broken(ErrUsage, "12.1", "%T that is no proposal or incomplete", p)
	}
	if _, err := parseOwned(appendProposal(nil, p), decodeProposal); err != nil {
		return broken(ErrUsage, "12.1", "%s that nobody can decode: %v", p.Type(), err)
	}
	return nil
}

// needsPath reports whether a Commit of such a proposal must have a path (§12.4).
func (t ProposalType) needsPath() bool {
	switch t {
	case ProposalAdd, ProposalPreSharedKey, ProposalReInit:
		return false
	}
	return true
}

// allowedExternal reports whether an external sender may send it (§12.1.8).
func (t ProposalType) allowedExternal() bool {
	switch t {
	case ProposalAdd, ProposalRemove, ProposalPreSharedKey, ProposalReInit, ProposalGroupContextExtensions:
		return true
	}
	return false
}
