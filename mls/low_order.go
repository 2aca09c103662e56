package mls

import (
	"errors"
	"fmt"
)

// Points of low order. Whoever puts one where a key belongs gives everybody the
// same secret or signature: X25519 with one fails (RFC 7748 §6.1, RFC 9180 §7.1.4),
// so that a single such leaf or parent node would stop each Commit that has to
// encrypt to it; and an Ed25519 key of small order verifies what nobody signed.

var errLowOrder = errors.New("point of low order")

// lowOrderU are the u-coordinates of Curve25519 of order 1, 2, 4 and 8, as they
// are written, and the two of them that can be written as p and p+1 too.
var lowOrderU = [][32]byte{
	{0},
	{1},
	{0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
		0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00},
	{0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
		0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57},
	offP(0xec), offP(0xed), offP(0xee),
}

// smallOrderY are the y-coordinates of edwards25519 of order 1, 2, 4 and 8. Those
// that can be written as p or more are no keys anyhow.
var smallOrderY = [][32]byte{
	{0},
	{1},
	{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
	{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
		0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
	offP(0xec),
}

// offP is a number near p = 2^255-19, of which the first byte is 0xed.
func offP(first byte) (b [32]byte) {
	for i := range b {
		b[i] = 0xff
	}
	b[0], b[31] = first, 0x7f
	return b
}

// listed reports whether a coordinate is in list, whatever its top bit, which is
// ignored by X25519 and the sign of x in Ed25519.
func listed(list [][32]byte, public []byte) bool {
	k := [32]byte(public)
	k[31] &= 0x7f
	for i := range list {
		if k == list[i] {
			return true
		}
	}
	return false
}

// checkX25519 takes any 32 bytes but points of low order.
func checkX25519(public []byte) error {
	if len(public) != 32 {
		return fmt.Errorf("%d bytes", len(public))
	}
	if listed(lowOrderU, public) {
		return errLowOrder
	}
	return nil
}

// checkEd25519 refuses points of small order, and y-coordinates of p and more, with
// which "decoding fails" (RFC 8032 §5.1.3). That y is on the curve shows when a
// signature is verified.
func checkEd25519(public []byte) error {
	if len(public) != 32 {
		return fmt.Errorf("%d bytes", len(public))
	}
	if listed(smallOrderY, public) {
		return errLowOrder
	}
	k := [32]byte(public)
	k[31] &= 0x7f
	if first := k[0]; first >= 0xed && k == offP(first) {
		return errors.New("coordinate out of range")
	}
	return nil
}
