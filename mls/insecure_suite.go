package mls

import (
	"bytes"
	"crypto"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
)

// insecureID is of the private range, and not a number that anybody has.
const insecureID CipherSuite = 0xF0F0

// InsecureSuite returns a suite without cryptography, for tests of state machines
// that make thousands of groups: everybody can read and forge everything, at a
// tenth of the cost. The sizes of keys and messages are those of suite 1.
//
// It exists only from when a test asks for it until that test ends. The parameter
// is a *testing.T, B or F; its Setenv makes sure that the test is not parallel,
// since the table of suites changes. A test of this package fails if anything but
// tests calls it.
func InsecureSuite(t interface {
	Setenv(key, value string)
	Cleanup(func())
}) CipherSuite {
	t.Setenv("SOTTO_TEST_USES_INSECURE_SUITE", "1")
	if _, err := insecureID.suite(); err != nil {
		before := suites
		suites = append(suites[:len(suites):len(suites)], &suite{
			insecureID, "TEST_NO_SECURITY", insecureHPKE{}, sha256.New, 32,
			func([]byte) (cipher.AEAD, error) { return insecureAEAD{}, nil }, 16, insecureSignature{},
		})
		t.Cleanup(func() { suites = before })
	}
	return insecureID
}

func insecureHash(parts ...[]byte) []byte {
	h := sha256.Sum256(bytes.Join(parts, []byte{0}))
	return h[:]
}

// insecureAEAD appends a checksum.
type insecureAEAD struct{}

func (insecureAEAD) NonceSize() int { return nn }
func (insecureAEAD) Overhead() int  { return 16 }

func (insecureAEAD) Seal(dst, nonce, plaintext, aad []byte) []byte {
	return append(append(dst, plaintext...), insecureHash(nonce, aad, plaintext)[:16]...)
}

func (a insecureAEAD) Open(dst, nonce, ciphertext, aad []byte) ([]byte, error) {
	if len(ciphertext) < 16 {
		return nil, errors.New("too short")
	}
	plaintext, sum := ciphertext[:len(ciphertext)-16], ciphertext[len(ciphertext)-16:]
	if !bytes.Equal(insecureHash(nonce, aad, plaintext)[:16], sum) {
		return nil, errors.New("wrong checksum")
	}
	return append(dst, plaintext...), nil
}

// insecureHPKE has the hash of the private key as the public one, and seals with
// a checksum over it.
type insecureHPKE struct{}

func (insecureHPKE) generate() (secret, []byte, error) {
	private := random(32)
	return private, insecureHash(private), nil
}

func (insecureHPKE) derive(ikm secret) (secret, []byte, error) {
	private := insecureHash([]byte("derive"), ikm)
	return private, insecureHash(private), nil
}

func (insecureHPKE) public(private secret) ([]byte, error) { return insecureHash(private), nil }

func (insecureHPKE) check(public []byte) error {
	if len(public) != 32 {
		return errors.New("not 32 bytes")
	}
	return nil
}

func (insecureHPKE) seal(public, info, plaintext []byte) (enc, ciphertext []byte, err error) {
	enc = random(32)
	return enc, insecureAEAD{}.Seal(nil, enc, plaintext, append(bytes.Clone(public), info...)), nil
}

func (insecureHPKE) open(private secret, info, enc, ciphertext []byte) ([]byte, error) {
	return insecureAEAD{}.Open(nil, enc, ciphertext, append(insecureHash(private), info...))
}

func (insecureHPKE) exportTo(public []byte, label string, n int) ([]byte, secret, error) {
	enc := random(32)
	return enc, insecureHash(public, enc, []byte(label))[:n], nil
}

func (insecureHPKE) exportFrom(private secret, enc []byte, label string, n int) (secret, error) {
	return insecureHash(insecureHash(private), enc, []byte(label))[:n], nil
}

// insecureSignature is two hashes over the public key and the message.
type insecureSignature struct{}

type insecureKey []byte

func (k insecureKey) Public() crypto.PublicKey { return insecureHash(k) }

func (k insecureKey) Sign(_ io.Reader, message []byte, _ crypto.SignerOpts) ([]byte, error) {
	return bytes.Repeat(insecureHash(insecureHash(k), message), 2), nil
}

func (insecureSignature) generate() (crypto.Signer, error) {
	k := make(insecureKey, 32)
	rand.Read(k)
	return k, nil
}

func (insecureSignature) parse(private []byte) (crypto.Signer, error) {
	if len(private) != 32 {
		return nil, errors.New("not 32 bytes")
	}
	return insecureKey(bytes.Clone(private)), nil
}

func (insecureSignature) bytes(k crypto.Signer) ([]byte, error) {
	return bytes.Clone(k.(insecureKey)), nil
}

func (insecureSignature) public(k crypto.Signer) []byte { return insecureHash(k.(insecureKey)) }

func (insecureSignature) check(public []byte) error { return insecureHPKE{}.check(public) }

func (insecureSignature) sign(k crypto.Signer, message []byte) ([]byte, error) {
	return k.Sign(nil, message, nil)
}

func (insecureSignature) verify(public, message, signature []byte) bool {
	return bytes.Equal(bytes.Repeat(insecureHash(public, message), 2), signature)
}
