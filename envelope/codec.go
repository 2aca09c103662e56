package envelope

import (
	"encoding/binary"
	"errors"
)

// Errors of the bodies, besides ErrTruncated and ErrTooLong.
var (
	ErrTrailing = errors.New("envelope: bytes behind the end")
	ErrVarint   = errors.New("envelope: length not in its shortest form")
	ErrValue    = errors.New("envelope: value out of range")
)

// reader takes a body apart and remembers the first error; after one, all it
// reads is zero. What it returns aliases the bytes it reads from.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

// need fails with ErrValue unless ok, which says that a field may have the
// value it has.
func (r *reader) need(ok bool) {
	if !ok {
		r.fail(ErrValue)
	}
}

func (r *reader) take(n int) []byte {
	if r.err != nil || len(r.b) < n {
		r.fail(ErrTruncated)
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) uint8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// fixed fills dst.
func (r *reader) fixed(dst []byte) { copy(dst, r.take(len(dst))) }

// vector reads opaque<V> of at most most bytes (RFC 9420 §2.1.2). A length that
// is not in its shortest form is an error.
func (r *reader) vector(what string, most int) []byte {
	first := r.uint8()
	n := int(first & 0x3f)
	switch first >> 6 {
	case 0:
	case 1:
		n = n<<8 | int(r.uint8())
		if r.err == nil && n < 1<<6 {
			r.fail(ErrVarint)
		}
	case 2:
		n = n<<8 | int(r.uint8())
		n = n<<16 | int(r.uint16())
		if r.err == nil && n < 1<<14 {
			r.fail(ErrVarint)
		}
	default:
		r.fail(ErrVarint)
	}
	if r.err == nil && n > most {
		r.fail(&LengthError{what, n, most})
	}
	return r.take(n)
}

// exactly reads opaque<V> that must fill dst, for fields whose length version 1
// knows.
func (r *reader) exactly(dst []byte) {
	b := r.vector("vector", len(dst))
	r.need(r.err != nil || len(b) == len(dst))
	copy(dst, b)
}

// optional is exactly for a vector that may also be empty; it reports whether
// it was not.
func (r *reader) optional(dst []byte) bool {
	b := r.vector("vector", len(dst))
	r.need(r.err != nil || len(b) == 0 || len(b) == len(dst))
	return copy(dst, b) > 0
}

// end returns the first error; bytes that are left over are one.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.err = ErrTrailing
	}
	return r.err
}

// appendVector appends opaque<V>. Bodies are far below the 2^30 bytes that a
// length can say.
func appendVector(dst, b []byte) []byte {
	switch n := len(b); {
	case n < 1<<6:
		dst = append(dst, byte(n))
	case n < 1<<14:
		dst = binary.BigEndian.AppendUint16(dst, 1<<14|uint16(n))
	default:
		dst = binary.BigEndian.AppendUint32(dst, 2<<30|uint32(n))
	}
	return append(dst, b...)
}

// GroupID names a group: 16 random bytes, the top bit of the first set (Sotto
// protocol §2). The zero GroupID means no group and is written as an empty vector.
type GroupID [16]byte

// IsZero reports whether g means no group.
func (g GroupID) IsZero() bool { return g == GroupID{} }

// Valid reports whether g names a group.
func (g GroupID) Valid() bool { return g[0]&0x80 != 0 }

// Tag returns the first four bytes, which long KIDs carry.
func (g GroupID) Tag() uint32 { return binary.BigEndian.Uint32(g[:4]) }

func (g GroupID) append(dst []byte) []byte {
	if g.IsZero() {
		return append(dst, 0)
	}
	return appendVector(dst, g[:])
}

// group reads the id of a group.
func (r *reader) group() (g GroupID) {
	r.exactly(g[:])
	r.need(r.err != nil || g.Valid())
	return g
}

// maybeGroup reads the id of a group or an empty vector.
func (r *reader) maybeGroup() (g GroupID) {
	if r.optional(g[:]) {
		r.need(g.Valid())
	}
	return g
}

// maxSuites bounds the cipher suites of a Presence or Hello.
const maxSuites = 32

func appendSuites(dst []byte, suites []uint16) []byte {
	b := make([]byte, 0, 2*maxSuites)
	for _, s := range suites {
		b = binary.BigEndian.AppendUint16(b, s)
	}
	return appendVector(dst, b)
}

// suites reads CipherSuite suites<V>, one at least.
func (r *reader) suites() []uint16 {
	b := r.vector("cipher suites", 2*maxSuites)
	r.need(r.err != nil || len(b) > 0 && len(b)%2 == 0)
	if r.err != nil {
		return nil
	}
	out := make([]uint16, len(b)/2)
	for i := range out {
		out[i] = binary.BigEndian.Uint16(b[2*i:])
	}
	return out
}

// AudienceKind says what sort of audience a group or a leaf is for (Sotto
// protocol §2.3, §3).
type AudienceKind uint8

// The audience kinds of version 1; others are refused.
const (
	AudienceChannel AudienceKind = 1 // the people of a channel
	AudienceDirect  AudienceKind = 2 // an explicit set of sessions
)

func (r *reader) audienceKind() AudienceKind {
	k := AudienceKind(r.uint8())
	r.need(r.err != nil || k == AudienceChannel || k == AudienceDirect)
	return k
}

// SignatureLen is the length of every signature in a body: Ed25519 in both
// suites.
const SignatureLen = 64
