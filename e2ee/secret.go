package e2ee

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"
)

var (
	// ErrMachineMade means that a text begins as a machine-made secret and is
	// none: mistyped, cut short or in capitals. It is never taken for a phrase.
	ErrMachineMade = errors.New("e2ee: malformed machine-made secret")
	// ErrPhrase means that a phrase is shorter than 8 characters, longer than
	// 1024 bytes, or not UTF-8.
	ErrPhrase = errors.New("e2ee: unusable phrase")
)

const (
	machinePrefix = "sotto-secret-"
	machineLen    = 16 // bytes, 128 bits
	minPhrase     = 8  // characters
	maxPhrase     = 1024
)

// Parameters of Argon2id (Sotto protocol §10.1).
const (
	argonTime    = 3
	argonMemory  = 65536 // KiB
	argonThreads = 4
	argonLen     = 32
	argonSalt    = 16
)

// lowerBase32 is the alphabet of RFC 4648 §6 in lower case. 26 characters hold
// 128 bits and 2 more, which must be zero.
var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Secret is a typed secret, stretched for one server certificate: S of Sotto
// protocol §10.1. It is immutable and safe for concurrent use. It does not print
// itself and does not compare with ==.
type Secret struct {
	_       [0]func() // not comparable
	s       []byte    // 16 bytes machine-made, 32 of a phrase
	machine bool
	server  [32]byte
}

// NewSecret returns a new machine-made secret of 128 bits as people pass it on:
// "sotto-secret-" and 26 characters.
func NewSecret() string {
	var b [machineLen]byte
	rand.Read(b[:])
	return machinePrefix + lowerBase32.EncodeToString(b[:])
}

// ParseSecret reads a machine-made secret or a phrase and stretches it for the
// server whose certificate in DER has the SHA-256 server. White space around it
// does not matter, inside a phrase any run of it counts as one space.
//
// For a phrase this runs Argon2id over 64 MiB, a good part of a second; run one
// at a time and only when a person typed something (Sotto protocol §12). The
// errors are ErrMachineMade and ErrPhrase.
func ParseSecret(text string, server [32]byte) (*Secret, error) {
	text = strings.TrimSpace(text)
	if !IsPhrase(text) {
		s, err := parseMachineMade(text)
		if err != nil {
			return nil, err
		}
		return &Secret{s: s, machine: true, server: server}, nil
	}
	phrase, err := normalizePhrase(text)
	if err != nil {
		return nil, err
	}
	salt := sha256.Sum256(append([]byte("sotto/1 argon2"), server[:]...))
	s := argon2.IDKey([]byte(phrase), salt[:argonSalt], argonTime, argonMemory, argonThreads, argonLen)
	return &Secret{s: s, server: server}, nil
}

// IsPhrase reports whether ParseSecret would take a text for a phrase. A phrase can be
// guessed by who recorded ciphertext, and the person is to be told so (Sotto protocol
// §10.1).
func IsPhrase(text string) bool {
	text = strings.TrimSpace(text)
	return len(text) < len(machinePrefix) || !strings.EqualFold(text[:len(machinePrefix)], machinePrefix)
}

func parseMachineMade(text string) ([]byte, error) {
	code, ok := strings.CutPrefix(text, machinePrefix)
	if !ok {
		return nil, fmt.Errorf("%w: it is written in small letters", ErrMachineMade)
	}
	if want := lowerBase32.EncodedLen(machineLen); len(code) != want {
		return nil, fmt.Errorf("%w: %d characters follow %q, want %d", ErrMachineMade, len(code), machinePrefix, want)
	}
	s, err := lowerBase32.DecodeString(code)
	// The decoder passes over line breaks and over set bits behind the last
	// byte, so compare with the one text that means these bytes.
	if err != nil || lowerBase32.EncodeToString(s) != code {
		return nil, fmt.Errorf("%w: mistyped", ErrMachineMade)
	}
	return s, nil
}

// normalizePhrase makes one text of what people type alike: NFC, trimmed, inner
// white space to one space.
func normalizePhrase(text string) (string, error) {
	if len(text) > maxPhrase {
		return "", fmt.Errorf("%w: longer than %d bytes", ErrPhrase, maxPhrase)
	}
	if !utf8.ValidString(text) {
		return "", fmt.Errorf("%w: not UTF-8", ErrPhrase)
	}
	phrase := strings.Join(strings.Fields(norm.NFC.String(text)), " ")
	if n := utf8.RuneCountInString(phrase); n < minPhrase {
		return "", fmt.Errorf("%w: %d characters, want %d at least", ErrPhrase, n, minPhrase)
	}
	return phrase, nil
}

// MachineMade reports whether the secret has 128 random bits.
func (s *Secret) MachineMade() bool { return s.machine }

// KeyID returns the 8 hex digits by which people in one channel compare whether
// they typed the same. It is for the own screen only: for a phrase it lets
// anybody test guesses.
func (s *Secret) KeyID(channel uint32) string { return hex.EncodeToString(s.keyID(s.prk(channel))) }

func (s *Secret) keyID(prk []byte) []byte { return expand(prk, "sotto/1 key id", 4) }

// prk is the key from which all others of a channel come. The channel is that of
// the sender.
func (s *Secret) prk(channel uint32) []byte {
	b := append([]byte("sotto/1 secret"), s.server[:]...)
	salt := sha256.Sum256(binary.BigEndian.AppendUint32(b, channel))
	prk, err := hkdf.Extract(sha256.New, s.s, salt[:])
	if err != nil {
		// Extract fails only on keys below 112 bits in FIPS mode; S has 128.
		panic("e2ee: HKDF-Extract: " + err.Error())
	}
	return prk
}

// expand is HKDF-Expand with SHA-256 for the fixed, short lengths of §10.
func expand(prk []byte, info string, n int) []byte {
	b, err := hkdf.Expand(sha256.New, prk, info, n)
	if err != nil {
		// Expand fails only above 255 hashes; n is a constant far below.
		panic("e2ee: HKDF-Expand: " + err.Error())
	}
	return b
}

const redactedSecret = "e2ee.Secret(secret)"

// String returns a fixed text: a secret never prints itself.
func (s Secret) String() string { return redactedSecret }

// GoString returns a fixed text: a secret never prints itself.
func (s Secret) GoString() string { return redactedSecret }

// Format prints the fixed text whatever the verb is.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redactedSecret) }

// psk is what the secret gives as the external PSK of a group with this psk_id
// (Sotto protocol §10.1).
func (s *Secret) psk(id []byte) []byte {
	prk, err := hkdf.Extract(sha256.New, s.s, id)
	if err != nil {
		panic("e2ee: HKDF-Extract: " + err.Error()) // only with a FIPS restriction on key sizes
	}
	return expand(prk, "sotto/1 psk", 32)
}
