package identity

import (
	"crypto/ed25519"
	"encoding/binary"
)

// Label is the purpose of a signature.
type Label string

// The purposes of version 1 (Sotto protocol §2.1).
const (
	LabelDevice      Label = "Device"
	LabelSession     Label = "Session"
	LabelHello       Label = "Hello"
	LabelBeacon      Label = "Beacon"
	LabelReport      Label = "Report"
	LabelContact     Label = "Contact"
	LabelCertificate Label = "Certificate"
)

// maxVector is the longest vector that the lengths of RFC 9420 §2.1.2 can say.
const maxVector = 1<<30 - 1

// Sign signs content for the purpose label: SottoSign of the Sotto protocol
// §2.1. Content has at most 2^30-1 bytes; for more, and for the zero
// PrivateKey, the result is nil, which no Verify accepts.
func (k PrivateKey) Sign(label Label, content []byte) []byte {
	if k.reveal == nil || len(content) > maxVector {
		return nil
	}
	return ed25519.Sign(k.reveal(), SignContent(label, content))
}

// Verify reports whether signature was made by p's owner with Sign, for the
// same label and content. It refuses keys that Check refuses; S must be
// canonical and the equation is the cofactorless one (RFC 8032 §5.1.7), so that
// everybody agrees on what is valid.
func (p PublicKey) Verify(label Label, content, signature []byte) bool {
	if len(signature) != ed25519.SignatureSize || len(content) > maxVector || p.Check() != nil {
		return false
	}
	return ed25519.Verify(p[:], SignContent(label, content), signature)
}

// SignContent returns the bytes that are signed: label and content, each behind
// its length. Keys outside this package (a Mumble certificate's) sign the same
// bytes in their own way. It returns nil for a content or label longer than a
// vector can be.
func SignContent(label Label, content []byte) []byte {
	const prefix = "Sotto 1 "
	if len(label) > maxVector-len(prefix) || len(content) > maxVector {
		return nil
	}
	b := make([]byte, 0, len(prefix)+len(label)+len(content)+8)
	b = appendLength(b, len(prefix)+len(label))
	b = append(b, prefix...)
	b = append(b, label...)
	b = appendLength(b, len(content))
	return append(b, content...)
}

// appendLength appends the length of a vector: the two top bits say how many
// bytes it has, the shortest form is the only one (RFC 9420 §2.1.2).
func appendLength(b []byte, n int) []byte {
	switch {
	case n < 1<<6:
		return append(b, byte(n))
	case n < 1<<14:
		return binary.BigEndian.AppendUint16(b, 1<<14|uint16(n))
	default:
		return binary.BigEndian.AppendUint32(b, 2<<30|uint32(n))
	}
}
