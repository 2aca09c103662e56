package sframe

import (
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
)

// ErrSuite means that a Suite is none of the five of RFC 9605 §4.5.
var ErrSuite = errors.New("sframe: unknown cipher suite")

// Suite is a cipher suite by its number in the IANA registry "SFrame Cipher
// Suites" (RFC 9605 §8.1). The zero value is none.
type Suite uint16

// The cipher suites of RFC 9605 §4.5, spelled as there.
const (
	AES_128_CTR_HMAC_SHA256_80 Suite = 0x0001
	AES_128_CTR_HMAC_SHA256_64 Suite = 0x0002
	AES_128_CTR_HMAC_SHA256_32 Suite = 0x0003
	AES_128_GCM_SHA256_128     Suite = 0x0004
	AES_256_GCM_SHA512_128     Suite = 0x0005
)

// nonceLen is AEAD.Nn, which is the same for all suites.
const nonceLen = 12

// params is a row of the table "SFrame Cipher Suite Constants" (RFC 9605 §4.5).
// Lengths are in bytes.
type params struct {
	name string
	hash func() hash.Hash
	nh   int // Hash.Nh
	nka  int // AEAD.Nka; 0 for GCM
	nk   int // AEAD.Nk
	nt   int // AEAD.Nt
}

var suites = [...]params{
	AES_128_CTR_HMAC_SHA256_80: {"AES_128_CTR_HMAC_SHA256_80", sha256.New, 32, 16, 48, 10},
	AES_128_CTR_HMAC_SHA256_64: {"AES_128_CTR_HMAC_SHA256_64", sha256.New, 32, 16, 48, 8},
	AES_128_CTR_HMAC_SHA256_32: {"AES_128_CTR_HMAC_SHA256_32", sha256.New, 32, 16, 48, 4},
	AES_128_GCM_SHA256_128:     {"AES_128_GCM_SHA256_128", sha256.New, 32, 0, 16, 16},
	AES_256_GCM_SHA512_128:     {"AES_256_GCM_SHA512_128", sha512.New, 64, 0, 32, 16},
}

// params returns the row of s, or ErrSuite.
func (s Suite) params() (*params, error) {
	if s == 0 || int(s) >= len(suites) {
		return nil, fmt.Errorf("%w 0x%04x", ErrSuite, uint16(s))
	}
	return &suites[s], nil
}

// Nh returns the length in bytes of a hash of the suite, 0 for an unknown suite.
func (s Suite) Nh() int {
	p, err := s.params()
	if err != nil {
		return 0
	}
	return p.nh
}

// Nt returns the length in bytes of the suite's tag, 0 for an unknown suite.
func (s Suite) Nt() int {
	p, err := s.params()
	if err != nil {
		return 0
	}
	return p.nt
}

// String returns the name of the suite in RFC 9605 §4.5, or its number.
func (s Suite) String() string {
	p, err := s.params()
	if err != nil {
		return fmt.Sprintf("Suite(0x%04x)", uint16(s))
	}
	return p.name
}
