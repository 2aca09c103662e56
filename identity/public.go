package identity

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrPublicKey means that 32 bytes are not an acceptable Ed25519 key: not
// encoded canonically, or of small order (Sotto protocol §2.1).
var ErrPublicKey = errors.New("identity: not an acceptable public key")

// PublicKey is the public half of an identity: an Ed25519 key as RFC 8032
// §5.1.5 encodes it.
type PublicKey [ed25519.PublicKeySize]byte

// String returns the key's fingerprint for people: six groups of five decimal
// digits of SHA-256("sotto/1 pair" || key), the half of every pair number
// (Sotto protocol §9.2) that stands for this key.
func (p PublicKey) String() string {
	h := sha256.New()
	h.Write([]byte("sotto/1 pair"))
	h.Write(p[:])
	sum := h.Sum(nil)
	var groups [6]string
	for i := range groups {
		b := append([]byte{0, 0, 0}, sum[5*i:5*i+5]...)
		groups[i] = fmt.Sprintf("%05d", binary.BigEndian.Uint64(b)%100000)
	}
	return strings.Join(groups[:], " ")
}

// lowOrder are the y coordinates of the points whose order divides 8, little
// endian and without the sign of x. A signature under such a key can be made
// valid for many messages at once.
var lowOrder = [...]PublicKey{
	{},        // order 4
	{0: 0x01}, // order 1
	{ // order 8
		0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
	},
	{ // order 8
		0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
		0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
	},
	{ // order 2: p - 1
		0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
	},
}

// Check returns ErrPublicKey unless the key is encoded canonically and of large
// order. Whether it lies on the curve at all shows when it verifies.
func (p PublicKey) Check() error {
	p[31] &= 0x7f // the sign of x
	if !canonical(p) || slices.Contains(lowOrder[:], p) {
		return ErrPublicKey
	}
	return nil
}

// canonical reports whether y, little endian, is below 2^255 - 19.
func canonical(y PublicKey) bool {
	if y[31] != 0x7f {
		return true
	}
	for _, b := range y[1:31] {
		if b != 0xff {
			return true
		}
	}
	return y[0] < 0xed
}
