package e2ee

import "encoding/binary"

// vecLen is the length in bytes of <V> before n bytes (RFC 9420 §2.1.2).
func vecLen(n int) int {
	switch {
	case n < 1<<6:
		return 1
	case n < 1<<14:
		return 2
	}
	return 4
}

// appendVec appends b as opaque<V>. b is shorter than 2^30 bytes.
func appendVec[B []byte | string](dst []byte, b B) []byte {
	switch n := len(b); vecLen(n) {
	case 1:
		dst = append(dst, byte(n))
	case 2:
		dst = binary.BigEndian.AppendUint16(dst, 1<<14|uint16(n))
	default:
		dst = binary.BigEndian.AppendUint32(dst, 2<<30|uint32(n))
	}
	return append(dst, b...)
}

// cutVec takes an opaque<V> from the front of b. As RFC 9420 §2.1.2 wants, a
// length in more bytes than it needs is refused, and so is the prefix 11.
func cutVec(b []byte) (v, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, false
	}
	size := 1 << (b[0] >> 6)
	if size > 4 || len(b) < size {
		return nil, nil, false
	}
	n := int(b[0] & 0x3F)
	for _, x := range b[1:size] {
		n = n<<8 | int(x)
	}
	b = b[size:]
	if vecLen(n) != size || n > len(b) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}

// vecFit is the longest content of an opaque<V> that takes at most space bytes,
// or -1 if not even an empty one fits.
func vecFit(space int) int {
	n := space - 1
	for n > 0 && vecLen(n)+n > space {
		n--
	}
	return n
}
