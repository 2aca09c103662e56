package mls

import (
	"bytes"
	"encoding/binary"
)

// maxVector is the largest length that a variable-size vector header can carry
// (RFC 9420 §2.1.2): 30 bits.
const maxVector = 1<<30 - 1

// reader decodes the TLS presentation language as RFC 9420 §2.1 extends it. The
// first error sticks, so callers read a whole struct and ask once. What it
// returns aliases its input; the exported Parse functions copy that once, which
// keeps memory in proportion to the input.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(section, format string, args ...any) {
	r.failWith(broken(ErrMalformed, section, format, args...))
}

func (r *reader) failWith(err error) {
	if r.err == nil {
		r.err, r.b = err, nil
	}
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.fail("2.1", "%d bytes missing", n-len(r.b))
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) uint8() uint8 {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if v := r.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if v := r.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if v := r.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

// varint reads the length header of a variable-size vector, §2.1.2.
func (r *reader) varint() int {
	first := r.uint8()
	prefix := first >> 6
	if prefix == 3 {
		r.fail("2.1.2", "vector length with the prefix 11")
		return 0
	}
	v := int(first & 0x3f)
	for _, b := range r.take(1<<prefix - 1) {
		v = v<<8 | int(b)
	}
	if prefix >= 1 && r.err == nil && v < 1<<(8*(1<<prefix)/2-2) {
		r.fail("2.1.2", "vector length %d in more bytes than needed", v)
		return 0
	}
	return v
}

// opaque reads opaque x<V>.
func (r *reader) opaque() []byte { return r.take(r.varint()) }

// vector returns a reader over the elements of x<V>.
func (r *reader) vector() *reader { return &reader{b: r.opaque(), err: r.err} }

// join takes over the error of a reader that vector returned.
func (r *reader) join(inner *reader) {
	if inner.err != nil {
		r.failWith(inner.err)
	}
}

// The decoders allocate at most ten times what they read, and 128 KiB: what is
// small on the wire and large in memory may not come in any number, and a key
// or a signature of a few bytes, which no suite has, is no key.
const (
	maxListed = 1024 // proposals, PSKs, external senders, types in capabilities
	maxFew    = 256  // extensions, certificates
	minKey    = 16
)

// key reads an opaque<V> that cannot be shorter than minKey.
func (r *reader) key(what string) []byte {
	b := r.opaque()
	if r.err == nil && len(b) < minKey {
		r.fail("5.1.1", "%s of %d bytes", what, len(b))
	}
	return b
}

// room fails if a list would grow beyond its limit.
func (r *reader) room(have, limit int) {
	if have >= limit {
		r.fail("2.1.2", "more than %d entries", limit)
	}
}

// more reports whether elements are left; it ends a loop on the first error.
func (r *reader) more() bool { return r.err == nil && len(r.b) > 0 }

// optional reads the presence octet of optional<T>, §2.1.1.
func (r *reader) optional() bool {
	switch p := r.uint8(); p {
	case 0:
		return false
	case 1:
		return r.err == nil
	default:
		r.fail("2.1.1", "presence octet %d", p)
		return false
	}
}

// end fails if bytes are left and returns the first error.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail("2.1", "%d bytes too many", len(r.b))
	}
	return r.err
}

// parse decodes all of b, which it copies.
func parse[T any](b []byte, decode func(*reader) T) (T, error) {
	return parseOwned(bytes.Clone(b), decode)
}

// parseOwned decodes all of b, which the result keeps.
func parseOwned[T any](b []byte, decode func(*reader) T) (T, error) {
	r := &reader{b: b}
	v := decode(r)
	if err := r.end(); err != nil {
		var zero T
		return zero, err
	}
	return v, nil
}

// appendVarint appends a vector length, §2.1.2. Lengths of 2^30 and more cannot
// be written; the exported functions bound what they are given, so reaching the
// panic is a mistake in this package.
func appendVarint(b []byte, n int) []byte {
	switch {
	case n < 1<<6:
		return append(b, byte(n))
	case n < 1<<14:
		return append(b, 0x40|byte(n>>8), byte(n))
	case n <= maxVector:
		return append(b, 0x80|byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	panic("mls: vector of 2^30 bytes or more")
}

func varintSize(n int) int {
	switch {
	case n < 1<<6:
		return 1
	case n < 1<<14:
		return 2
	}
	return 4
}

func appendOpaque[T ~[]byte | ~string](b []byte, v T) []byte {
	return append(appendVarint(b, len(v)), v...)
}

// appendVector appends x<V> whose elements body appends. The header's size is
// known only afterwards, so the elements move by a byte or three when it grows.
func appendVector(b []byte, body func([]byte) []byte) []byte {
	start := len(b)
	b = body(append(b, 0))
	n := len(b) - start - 1
	if extra := varintSize(n) - 1; extra > 0 {
		b = append(b, make([]byte, extra)...)
		copy(b[start+1+extra:], b[start+1:start+1+n])
	}
	appendVarint(b[:start], n)
	return b
}

func appendOptional(b []byte, present bool) []byte {
	if present {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendUint16s[T ~uint16](b []byte, v []T) []byte {
	b = appendVarint(b, 2*len(v))
	for _, x := range v {
		b = binary.BigEndian.AppendUint16(b, uint16(x))
	}
	return b
}

// decodeUint16s bounds the list, since lists of capabilities are compared with each
// other entry by entry.
func decodeUint16s[T ~uint16](r *reader) []T {
	in := r.vector()
	if len(in.b)/2 > maxListed {
		in.room(len(in.b)/2, maxListed)
	}
	v := make([]T, 0, len(in.b)/2)
	for in.more() {
		v = append(v, T(in.uint16()))
	}
	r.join(in)
	return v
}

func appendUint16[T ~uint16](b []byte, v T) []byte {
	return binary.BigEndian.AppendUint16(b, uint16(v))
}
func appendUint32[T ~uint32](b []byte, v T) []byte {
	return binary.BigEndian.AppendUint32(b, uint32(v))
}
func appendUint64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }
