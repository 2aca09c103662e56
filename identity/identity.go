// Package identity holds who a person is in Sotto: one Ed25519 key (RFC 8032)
// that certifies the keys of the person's devices, and the forms in which
// people hand the public half around. It follows sections 2.1, 2.2, 9.2 and 9.3
// of the Sotto protocol (version 1).
//
// Strings of this package are bech32m (BIP 350), in lower case:
//
//	contact       sotto 1 | 01 || identity_key[32] || records | checksum
//	record        type (1) || length (1) || data
//	private key   sotto-identity- 1 | 01 || seed[32] | checksum
//	device key    sotto-device- 1 | 01 || seed[32] || not_after[8] | checksum
//
// A contact without records has 65 characters. What is signed is never the
// bare content but, in the presentation language of RFC 9420 §2.1,
//
//	struct { opaque label<V> = "Sotto 1 " || label; opaque content<V>; }
//
// so that a signature made for one purpose is none for another, and none in
// MLS, whose labels begin with "MLS 1.0 ".
//
// It knows no files (package keystore), no trust and no verdicts: that a key is
// well formed says nothing about whose it is.
package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
)

// ErrPrivateKey means that a text is not a private key of this version. It says
// no more, for the text may be a key with a typing error in it.
var ErrPrivateKey = errors.New("identity: not a private key of Sotto")

// privateHRP makes a key say what it is: sotto-identity-1...
const privateHRP = "sotto-identity-"

// keyVersion is the first byte of private keys and contacts.
const keyVersion = 1

// PrivateKey is the secret half of a person's identity. It does not print
// itself, whatever the verb, and cannot be compared with ==. Make one with New
// or ParsePrivateKey; the zero value signs nothing. It never changes and is
// safe for concurrent use.
type PrivateKey struct {
	// Behind a function, for package fmt calls no method of a value in somebody's
	// unexported field and follows pointers, but of a function it prints the
	// address. It also makes == impossible.
	reveal func() ed25519.PrivateKey
}

func fromSeed(seed []byte) *PrivateKey {
	key := ed25519.NewKeyFromSeed(seed)
	return &PrivateKey{func() ed25519.PrivateKey { return key }}
}

// New makes a fresh identity.
func New() *PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed) // never fails: crypto/rand ends the program instead
	return fromSeed(seed)
}

// ParsePrivateKey reads what Export wrote: all of it, nothing around it.
func ParsePrivateKey(text string) (*PrivateKey, error) {
	data, err := decodeBech32m(privateHRP, text)
	if err != nil || len(data) != 1+ed25519.SeedSize || data[0] != keyVersion {
		return nil, ErrPrivateKey
	}
	return fromSeed(data[1:]), nil
}

// Export returns the key as text, to be stored where nobody else reads it. It
// is deliberately not MarshalText, which loggers and JSON encoders call.
func (k PrivateKey) Export() string {
	if k.reveal == nil {
		return ""
	}
	return encodeBech32m(privateHRP, append([]byte{keyVersion}, k.reveal().Seed()...))
}

// Public returns the public half, the zero PublicKey for a zero PrivateKey.
func (k PrivateKey) Public() (p PublicKey) {
	if k.reveal != nil {
		copy(p[:], k.reveal()[ed25519.SeedSize:])
	}
	return p
}

// Equal reports in constant time whether both are the same key. A zero
// PrivateKey equals none.
func (k PrivateKey) Equal(other PrivateKey) bool {
	return k.reveal != nil && other.reveal != nil && subtle.ConstantTimeCompare(k.reveal(), other.reveal()) == 1
}

const redacted = "identity.PrivateKey(redacted)"

// String says what it is and nothing of the key.
func (k PrivateKey) String() string { return redacted }

// GoString is String.
func (k PrivateKey) GoString() string { return redacted }

// Format writes String for every verb, so that no %x or %+v finds the bytes.
func (k PrivateKey) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }
