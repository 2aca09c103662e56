package sframe

import (
	"errors"
	"math/bits"
)

// MaxHeaderLen is the length in bytes of the longest header: the config byte,
// eight bytes of KID and eight of CTR.
const MaxHeaderLen = 1 + 8 + 8

// ErrHeader means that bytes do not begin with a header as RFC 9605 §4.3 wants
// it: too short, or a value in more bytes than it needs.
var ErrHeader = errors.New("sframe: malformed header")

// Header is the SFrame header of RFC 9605 §4.3.
type Header struct {
	KID uint64 // key ID: which key encrypted the frame
	CTR uint64 // counter: the part of the nonce that changes from frame to frame
}

// Flags and fields of the config byte.
const (
	extendedKID = 0x80 // X
	extendedCTR = 0x08 // Y
	fieldMask   = 0x07 // K and C, three bits each
	kidShift    = 4
)

// Len returns the length in bytes of the encoded header, 1 to MaxHeaderLen.
func (h Header) Len() int { return 1 + fieldLen(h.KID) + fieldLen(h.CTR) }

// fieldLen is how many bytes after the config byte v takes: none below 8.
func fieldLen(v uint64) int {
	if v <= fieldMask {
		return 0
	}
	return (bits.Len64(v) + 7) / 8
}

// AppendHeader appends the encoding of h to dst, each value in the fewest bytes
// ("the value MUST be encoded with the minimum number of bytes required",
// RFC 9605 §4.3).
func AppendHeader(dst []byte, h Header) []byte {
	k, c := fieldLen(h.KID), fieldLen(h.CTR)
	config := byte(0)
	if k == 0 {
		config |= byte(h.KID) << kidShift
	} else {
		config |= extendedKID | byte(k-1)<<kidShift
	}
	if c == 0 {
		config |= byte(h.CTR)
	} else {
		config |= extendedCTR | byte(c-1)
	}
	dst = append(dst, config)
	dst = appendUint(dst, h.KID, k)
	return appendUint(dst, h.CTR, c)
}

func appendUint(dst []byte, v uint64, n int) []byte {
	for i := n - 1; i >= 0; i-- {
		dst = append(dst, byte(v>>(8*i)))
	}
	return dst
}

// ParseHeader reads the header at the start of b and returns it with its length
// in bytes. It is as strict as the encoder: a value that would have fit in fewer
// bytes is ErrHeader, so a header has exactly one encoding and equal headers are
// equal bytes.
func ParseHeader(b []byte) (Header, int, error) {
	if len(b) == 0 {
		return Header{}, 0, ErrHeader
	}
	config, n := b[0], 1
	kid, n, ok := parseField(b, n, config&extendedKID != 0, config>>kidShift&fieldMask)
	if !ok {
		return Header{}, 0, ErrHeader
	}
	ctr, n, ok := parseField(b, n, config&extendedCTR != 0, config&fieldMask)
	if !ok {
		return Header{}, 0, ErrHeader
	}
	return Header{KID: kid, CTR: ctr}, n, nil
}

// parseField returns the value that the three bits hold or, extended, announce
// at b[at:], and where the next field begins.
func parseField(b []byte, at int, extended bool, field byte) (v uint64, next int, ok bool) {
	if !extended {
		return uint64(field), at, true
	}
	n := int(field) + 1
	if len(b)-at < n {
		return 0, 0, false
	}
	for _, x := range b[at : at+n] {
		v = v<<8 | uint64(x)
	}
	return v, at + n, fieldLen(v) == n
}
