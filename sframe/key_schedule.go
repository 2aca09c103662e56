package sframe

import (
	"crypto/hkdf"
	"encoding/binary"
	"errors"
	"fmt"
)

// minBaseKey is the shortest base key in bytes. RFC 9605 sets none; a key below
// the strength of the weakest suite can only be a mistake.
const minBaseKey = 16

// ErrBaseKey means that a base key has fewer than 16 bytes.
var ErrBaseKey = errors.New("sframe: base key is too short")

// deriveKeySalt is derive_key_salt of RFC 9605 §4.4.2.
func deriveKeySalt(suite Suite, kid uint64, baseKey []byte) (key, salt []byte, err error) {
	p, err := suite.params()
	if err != nil {
		return nil, nil, err
	}
	if len(baseKey) < minBaseKey {
		return nil, nil, ErrBaseKey
	}
	secret, err := hkdf.Extract(p.hash, baseKey, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("sframe: deriving the secret: %w", err)
	}
	key, err = hkdf.Expand(p.hash, secret, label("SFrame 1.0 Secret key ", kid, suite), p.nk)
	if err != nil {
		return nil, nil, fmt.Errorf("sframe: deriving the key: %w", err)
	}
	salt, err = hkdf.Expand(p.hash, secret, label("SFrame 1.0 Secret salt ", kid, suite), nonceLen)
	if err != nil {
		return nil, nil, fmt.Errorf("sframe: deriving the salt: %w", err)
	}
	return key, salt, nil
}

// label is text || uint64 KID || uint16 cipher_suite.
func label(text string, kid uint64, suite Suite) string {
	b := binary.BigEndian.AppendUint64([]byte(text), kid)
	return string(binary.BigEndian.AppendUint16(b, uint16(suite)))
}

// Ratchet returns the base key of the next ratchet step (RFC 9605 §5.1):
//
//	base_key[i+1] = HKDF-Expand(HKDF-Extract("", base_key[i]), "SFrame 1.0 Ratchet", n)
//
// with the suite's hash. The RFC takes n = suite.Nh(); a protocol that fixes the
// length of its base keys gives its own, at least 16. The errors are ErrSuite
// and ErrBaseKey. The caller erases the old key.
func Ratchet(suite Suite, baseKey []byte, n int) ([]byte, error) {
	p, err := suite.params()
	if err != nil {
		return nil, err
	}
	if len(baseKey) < minBaseKey || n < minBaseKey {
		return nil, ErrBaseKey
	}
	secret, err := hkdf.Extract(p.hash, baseKey, nil)
	if err != nil {
		return nil, fmt.Errorf("sframe: ratchet: %w", err)
	}
	next, err := hkdf.Expand(p.hash, secret, "SFrame 1.0 Ratchet", n)
	if err != nil {
		return nil, fmt.Errorf("sframe: ratchet: %w", err)
	}
	return next, nil
}
