package mls

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/elliptic"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// CipherSuite is a set of algorithms (RFC 9420 §5.1, §17.1).
type CipherSuite uint16

// The suites. The two with Curve448 have a name so that they can be refused by
// it; the standard library has no such curve.
//
// MLKEM768X25519AES128GCM stands for the first row of draft-ietf-mls-pq-ciphersuites-06,
// whose number is not assigned yet. 0xF47A is of the private range. The number
// is part of what the key schedule hashes, so the suite under a new number will
// be another suite.
const (
	X25519AES128GCM         CipherSuite = 0x0001
	P256AES128GCM           CipherSuite = 0x0002
	X25519ChaCha20Poly1305  CipherSuite = 0x0003
	X448AES256GCM           CipherSuite = 0x0004 // not supported
	P521AES256GCM           CipherSuite = 0x0005
	X448ChaCha20Poly1305    CipherSuite = 0x0006 // not supported
	P384AES256GCM           CipherSuite = 0x0007
	MLKEM768X25519AES128GCM CipherSuite = 0xF47A
)

// suite is one row: the primitives, and the sizes that RFC 9180 calls Nh, Nk, Nn.
type suite struct {
	id   CipherSuite
	name string

	hpke    publicKeyEncryption
	newHash func() hash.Hash
	nh      int
	newAEAD func(key []byte) (cipher.AEAD, error)
	nk      int
	sig     signatureScheme
}

const nn = 12 // AEAD.Nn of all supported AEADs, RFC 9180 §7.3

// suites is the table. A new suite is a new row.
var suites = []*suite{
	{X25519AES128GCM, "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
		hpkeScheme{hpke.DHKEM(ecdh.X25519()), hpke.HKDFSHA256(), hpke.AES128GCM()}, sha256.New, 32, newGCM, 16, ed25519Scheme{}},
	{P256AES128GCM, "MLS_128_DHKEMP256_AES128GCM_SHA256_P256",
		hpkeScheme{hpke.DHKEM(ecdh.P256()), hpke.HKDFSHA256(), hpke.AES128GCM()}, sha256.New, 32, newGCM, 16, ecdsaScheme{elliptic.P256(), crypto.SHA256}},
	{X25519ChaCha20Poly1305, "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519",
		hpkeScheme{hpke.DHKEM(ecdh.X25519()), hpke.HKDFSHA256(), hpke.ChaCha20Poly1305()}, sha256.New, 32, chacha20poly1305.New, 32, ed25519Scheme{}},
	{P521AES256GCM, "MLS_256_DHKEMP521_AES256GCM_SHA512_P521",
		hpkeScheme{hpke.DHKEM(ecdh.P521()), hpke.HKDFSHA512(), hpke.AES256GCM()}, sha512.New, 64, newGCM, 32, ecdsaScheme{elliptic.P521(), crypto.SHA512}},
	{P384AES256GCM, "MLS_256_DHKEMP384_AES256GCM_SHA384_P384",
		hpkeScheme{hpke.DHKEM(ecdh.P384()), hpke.HKDFSHA384(), hpke.AES256GCM()}, sha512.New384, 48, newGCM, 32, ecdsaScheme{elliptic.P384(), crypto.SHA384}},
	{MLKEM768X25519AES128GCM, "MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519",
		hpkeScheme{hpke.MLKEM768X25519(), hpke.HKDFSHA256(), hpke.AES128GCM()}, sha256.New, 32, newGCM, 16, ed25519Scheme{}},
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Suites returns the supported suites in the order of their numbers.
func Suites() []CipherSuite {
	var out []CipherSuite
	for _, s := range suites {
		out = append(out, s.id)
	}
	return out
}

// Supported reports whether this package implements cs.
func (cs CipherSuite) Supported() bool {
	_, err := cs.suite()
	return err == nil
}

// String returns the registered name, e.g. "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519".
func (cs CipherSuite) String() string {
	switch cs {
	case X448AES256GCM:
		return "MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448"
	case X448ChaCha20Poly1305:
		return "MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448"
	}
	if s, err := cs.suite(); err == nil {
		return s.name
	}
	return fmt.Sprintf("cipher suite %#04x", uint16(cs))
}

func (cs CipherSuite) suite() (*suite, error) {
	for _, s := range suites {
		if s.id == cs {
			return s, nil
		}
	}
	switch cs {
	case X448AES256GCM, X448ChaCha20Poly1305:
		return nil, broken(ErrUnsupported, "17.1", "cipher suite %#04x (X448 and Ed448)", uint16(cs))
	}
	return nil, broken(ErrUnsupported, "17.1", "cipher suite %#04x", uint16(cs))
}
