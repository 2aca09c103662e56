package mls

import (
	"bytes"
	"slices"
	"time"
)

// Capabilities lists what a client supports (RFC 9420 §7.2). The proposals and
// extensions of RFC 9420 itself are not listed; all else is.
//
// Each list may have 1024 entries.
type Capabilities struct {
	Versions     []ProtocolVersion
	CipherSuites []CipherSuite
	Extensions   []ExtensionType
	Proposals    []ProposalType
	Credentials  []CredentialType
}

// DefaultCapabilities supports MLS 1.0, all suites of this package and basic
// credentials.
func DefaultCapabilities() Capabilities {
	return Capabilities{
		Versions:     []ProtocolVersion{MLS10},
		CipherSuites: Suites(),
		Credentials:  []CredentialType{CredentialBasic},
	}
}

func (c *Capabilities) append(b []byte) []byte {
	b = appendUint16s(b, c.Versions)
	b = appendUint16s(b, c.CipherSuites)
	b = appendUint16s(b, c.Extensions)
	b = appendUint16s(b, c.Proposals)
	return appendUint16s(b, c.Credentials)
}

func decodeCapabilities(r *reader) Capabilities {
	return Capabilities{
		decodeUint16s[ProtocolVersion](r), decodeUint16s[CipherSuite](r), decodeUint16s[ExtensionType](r),
		decodeUint16s[ProposalType](r), decodeUint16s[CredentialType](r),
	}
}

// Lifetime is when a KeyPackage may be used, in seconds since 1970 (RFC 9420
// §7.2). Both ends belong to it.
type Lifetime struct {
	NotBefore, NotAfter uint64
}

// LifetimeAround is the Lifetime from before to after around now.
func LifetimeAround(now time.Time, before, after time.Duration) Lifetime {
	return Lifetime{uint64(max(now.Add(-before).Unix(), 0)), uint64(max(now.Add(after).Unix(), 0))}
}

// LeafNode is one client in the tree (RFC 9420 §7.2). It is signed and must not
// be changed; every change makes it invalid.
type LeafNode struct {
	EncryptionKey []byte
	SignatureKey  []byte
	Credential    Credential
	Capabilities  Capabilities
	Source        LeafNodeSource
	Lifetime      Lifetime // if Source is LeafNodeSourceKeyPackage
	ParentHash    []byte   // if Source is LeafNodeSourceCommit
	Extensions    []Extension
	Signature     []byte

	// encoded is the whole encoding and signed the length of it before the
	// signature: a joiner hashes and verifies all leaves and never encodes one.
	encoded []byte
	signed  int
}

func (l *LeafNode) appendUnsigned(b []byte) []byte {
	b = appendOpaque(b, l.EncryptionKey)
	b = appendOpaque(b, l.SignatureKey)
	b = l.Credential.append(b)
	b = l.Capabilities.append(b)
	b = append(b, byte(l.Source))
	switch l.Source {
	case LeafNodeSourceKeyPackage:
		b = appendUint64(appendUint64(b, l.Lifetime.NotBefore), l.Lifetime.NotAfter)
	case LeafNodeSourceCommit:
		b = appendOpaque(b, l.ParentHash)
	}
	return appendExtensions(b, l.Extensions)
}

func (l *LeafNode) append(b []byte) []byte {
	if l.encoded != nil {
		return append(b, l.encoded...)
	}
	return appendOpaque(l.appendUnsigned(b), l.Signature)
}

func decodeLeafNode(r *reader) *LeafNode {
	before := r.b
	l := &LeafNode{
		EncryptionKey: r.key("encryption_key"), SignatureKey: r.key("signature_key"), Credential: decodeCredential(r),
		Capabilities: decodeCapabilities(r), Source: LeafNodeSource(r.uint8()),
	}
	switch l.Source {
	case LeafNodeSourceKeyPackage:
		l.Lifetime = Lifetime{r.uint64(), r.uint64()}
	case LeafNodeSourceUpdate:
	case LeafNodeSourceCommit:
		l.ParentHash = r.opaque()
	default:
		r.fail("7.2", "leaf_node_source %d", l.Source)
	}
	l.Extensions = decodeExtensions(r)
	l.signed = len(before) - len(r.b)
	l.Signature = r.opaque()
	if r.err == nil {
		l.encoded = before[: len(before)-len(r.b) : len(before)-len(r.b)]
	}
	return l
}

// tbs is LeafNodeTBS in two parts: what is signed, and the group and leaf unless
// the leaf comes from a KeyPackage, which knows neither.
func (l *LeafNode) tbs(groupID []byte, index LeafIndex) (fields, place []byte) {
	if l.encoded != nil {
		fields = l.encoded[:l.signed]
	} else {
		fields = l.appendUnsigned(nil)
	}
	if l.Source != LeafNodeSourceKeyPackage {
		place = appendUint32(appendOpaque(nil, groupID), index)
	}
	return fields, place
}

func (l *LeafNode) sign(s *suite, k *SignaturePrivateKey, groupID []byte, index LeafIndex) (err error) {
	l.encoded = nil
	fields, place := l.tbs(groupID, index)
	if l.Signature, err = s.signWithLabel(k, "LeafNodeTBS", slices.Concat(fields, place)); err != nil {
		return err
	}
	l.signed = len(fields)
	l.encoded = appendOpaque(fields, l.Signature)
	return nil
}

// verify checks the signature (§7.3). buf is where what is signed is put together;
// it may serve for the next leaf.
func (l *LeafNode) verify(s *suite, buf *[]byte, groupID []byte, index LeafIndex) error {
	fields, place := l.tbs(groupID, index)
	*buf = labelled((*buf)[:0], "LeafNodeTBS", fields, place)
	if !s.sig.verify(l.SignatureKey, *buf, l.Signature) {
		return broken(ErrSignature, "5.1.2", "LeafNodeTBS")
	}
	return nil
}

func (l *LeafNode) equal(o *LeafNode) bool {
	return bytes.Equal(l.EncryptionKey, o.EncryptionKey) && bytes.Equal(l.append(nil), o.append(nil))
}

// Marshal encodes the LeafNode: some 200 bytes in suite 1 with a name of 32, and 1400
// in the post-quantum suite.
func (l *LeafNode) Marshal() []byte { return l.append(nil) }

// ParseLeafNode decodes a LeafNode, which it copies. It verifies nothing. Errors
// match ErrMalformed or ErrUnsupported.
func ParseLeafNode(b []byte) (*LeafNode, error) { return parse(b, decodeLeafNode) }
