package mls

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
)

// SignaturePrivateKey signs for a client (RFC 9420 §5.1.1). It cannot be
// compared with == and does not print itself. It is safe for concurrent use.
type SignaturePrivateKey struct {
	_      [0]func()
	scheme signatureScheme
	key    crypto.Signer
	public []byte
}

// signatureScheme is a signature algorithm with the encodings of §5.1.1, §5.1.2.
type signatureScheme interface {
	generate() (crypto.Signer, error)
	parse(private []byte) (crypto.Signer, error)
	bytes(crypto.Signer) ([]byte, error)
	public(crypto.Signer) []byte
	check(public []byte) error
	sign(k crypto.Signer, message []byte) ([]byte, error)
	verify(public, message, signature []byte) bool
}

// GenerateSignatureKey makes a new key for the signature scheme of cs (RFC 9420
// §5.1.2). It fails with ErrUnsupported for the suite.
func GenerateSignatureKey(cs CipherSuite) (*SignaturePrivateKey, error) {
	s, err := cs.suite()
	if err != nil {
		return nil, err
	}
	k, err := s.sig.generate()
	if err != nil {
		return nil, brokenBy(ErrInvalidKey, "5.1.2", err, "cannot generate")
	}
	return &SignaturePrivateKey{scheme: s.sig, key: k, public: s.sig.public(k)}, nil
}

// ParseSignatureKey reads a key as [SignaturePrivateKey.Bytes] writes it. It
// also takes the 64 byte form of an Ed25519 key, if its halves agree. Errors match
// ErrInvalidKey or ErrUnsupported.
func ParseSignatureKey(cs CipherSuite, b []byte) (*SignaturePrivateKey, error) {
	s, err := cs.suite()
	if err != nil {
		return nil, err
	}
	k, err := s.sig.parse(b)
	if err != nil {
		return nil, brokenBy(ErrInvalidKey, "5.1.2", err, "private key for %s", cs)
	}
	return &SignaturePrivateKey{scheme: s.sig, key: k, public: s.sig.public(k)}, nil
}

// Public returns the SignaturePublicKey: 32 bytes for Ed25519, an uncompressed
// point for ECDSA (65, 97 or 133 bytes).
func (k *SignaturePrivateKey) Public() []byte { return slices.Clone(k.public) }

// Bytes returns the private key: the seed of RFC 8032 for Ed25519, a big-endian
// integer of the length of the curve's order for ECDSA.
func (k *SignaturePrivateKey) Bytes() ([]byte, error) { return k.scheme.bytes(k.key) }

// Format hides the key, whatever the verb.
func (k *SignaturePrivateKey) Format(f fmt.State, _ rune) {
	fmt.Fprint(f, "mls signature private key [redacted]")
}

type ed25519Scheme struct{}

func (ed25519Scheme) generate() (crypto.Signer, error) {
	_, k, err := ed25519.GenerateKey(nil)
	return k, err
}

func (ed25519Scheme) parse(b []byte) (crypto.Signer, error) {
	if len(b) != ed25519.SeedSize && len(b) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("%d bytes", len(b))
	}
	k := ed25519.NewKeyFromSeed(b[:ed25519.SeedSize])
	if len(b) == ed25519.PrivateKeySize && !bytes.Equal(k[32:], b[32:]) {
		return nil, errors.New("public half does not belong to the seed")
	}
	return k, nil
}

func (ed25519Scheme) bytes(k crypto.Signer) ([]byte, error) {
	return k.(ed25519.PrivateKey).Seed(), nil
}

func (ed25519Scheme) public(k crypto.Signer) []byte {
	return []byte(k.Public().(ed25519.PublicKey))
}

func (ed25519Scheme) check(public []byte) error { return checkEd25519(public) }

func (ed25519Scheme) sign(k crypto.Signer, message []byte) ([]byte, error) {
	return k.Sign(nil, message, crypto.Hash(0))
}

func (s ed25519Scheme) verify(public, message, signature []byte) bool {
	return s.check(public) == nil && ed25519.Verify(public, message, signature)
}

// ecdsaScheme is comparable: a key belongs to a suite if the schemes are equal.
type ecdsaScheme struct {
	curve elliptic.Curve
	hash  crypto.Hash
}

func (s ecdsaScheme) generate() (crypto.Signer, error) {
	return ecdsa.GenerateKey(s.curve, rand.Reader)
}

// parse also takes an integer without its leading zeros, as some write P-521 keys.
func (s ecdsaScheme) parse(b []byte) (crypto.Signer, error) {
	full := make([]byte, (s.curve.Params().BitSize+7)/8)
	if len(b) == 0 || len(b) > len(full) {
		return nil, fmt.Errorf("%d bytes", len(b))
	}
	copy(full[len(full)-len(b):], b)
	defer clear(full)
	return ecdsa.ParseRawPrivateKey(s.curve, full)
}

func (s ecdsaScheme) bytes(k crypto.Signer) ([]byte, error) { return k.(*ecdsa.PrivateKey).Bytes() }

func (s ecdsaScheme) public(k crypto.Signer) []byte {
	b, err := k.(*ecdsa.PrivateKey).PublicKey.Bytes()
	if err != nil {
		panic("mls: ECDSA public key: " + err.Error()) // the key came from generate or parse
	}
	return b
}

func (s ecdsaScheme) check(public []byte) error {
	_, err := ecdsa.ParseUncompressedPublicKey(s.curve, public)
	return err
}

func (s ecdsaScheme) digest(message []byte) []byte {
	h := s.hash.New()
	h.Write(message)
	return h.Sum(nil)
}

func (s ecdsaScheme) sign(k crypto.Signer, message []byte) ([]byte, error) {
	return ecdsa.SignASN1(rand.Reader, k.(*ecdsa.PrivateKey), s.digest(message))
}

func (s ecdsaScheme) verify(public, message, signature []byte) bool {
	k, err := ecdsa.ParseUncompressedPublicKey(s.curve, public)
	return err == nil && ecdsa.VerifyASN1(k, s.digest(message), signature)
}
