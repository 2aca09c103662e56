package mls

import (
	"crypto/ecdh"
	"crypto/hpke"
	"errors"
	"fmt"
)

// publicKeyEncryption is what MLS needs of HPKE (RFC 9420 §5.1.3, §8.3). Keys
// are in the encodings of SerializePublicKey and SerializePrivateKey (RFC 9180
// §4), so that they can be stored and wiped.
type publicKeyEncryption interface {
	generate() (private secret, public []byte, err error)
	derive(ikm secret) (private secret, public []byte, err error)
	public(private secret) ([]byte, error)
	check(public []byte) error
	seal(public, info, plaintext []byte) (enc, ciphertext []byte, err error)
	open(private secret, info, enc, ciphertext []byte) ([]byte, error)
	exportTo(public []byte, label string, n int) (enc []byte, s secret, err error)
	exportFrom(private secret, enc []byte, label string, n int) (secret, error)
}

// hpkeScheme is HPKE in base mode, with crypto/hpke.
type hpkeScheme struct {
	kem  hpke.KEM
	kdf  hpke.KDF
	aead hpke.AEAD
}

func keyPair(k hpke.PrivateKey, err error) (secret, []byte, error) {
	if err != nil {
		return nil, nil, err
	}
	b, err := k.Bytes()
	return b, k.PublicKey().Bytes(), err
}

func (h hpkeScheme) generate() (secret, []byte, error) { return keyPair(h.kem.GenerateKey()) }

func (h hpkeScheme) derive(ikm secret) (secret, []byte, error) {
	return keyPair(h.kem.DeriveKeyPair(ikm))
}

func (h hpkeScheme) public(private secret) ([]byte, error) {
	k, err := h.kem.NewPrivateKey(private)
	if err != nil {
		return nil, err
	}
	return k.PublicKey().Bytes(), nil
}

func (h hpkeScheme) check(public []byte) error {
	switch h.kem {
	case mlkem768x25519:
		return checkMLKEM768X25519(public)
	case x25519:
		return checkX25519(public)
	}
	_, err := h.kem.NewPublicKey(public)
	return err
}

var (
	mlkem768x25519 = hpke.MLKEM768X25519()
	x25519         = hpke.DHKEM(ecdh.X25519())
)

// checkMLKEM768X25519 accepts the keys that NewPublicKey accepts, which expands a
// matrix each time; a joiner checks a thousand keys that it never uses. An
// encapsulation key is 1152 bytes of coefficients, 32 bytes of seed, and the 32
// bytes of X25519. FIPS 203 §7.2 wants each coefficient, two in three bytes, below
// q. A point of low order would fail in seal, and is refused here.
func checkMLKEM768X25519(public []byte) error {
	const q, coefficients, size = 3329, 1152, 1152 + 32 + 32
	if len(public) != size {
		return fmt.Errorf("%d bytes", len(public))
	}
	for i := 0; i < coefficients; i += 3 {
		a := uint16(public[i]) | uint16(public[i+1]&0x0f)<<8
		b := uint16(public[i+1])>>4 | uint16(public[i+2])<<4
		if a >= q || b >= q {
			return errors.New("coefficient out of range")
		}
	}
	return checkX25519(public[1152+32:])
}

func (h hpkeScheme) seal(public, info, plaintext []byte) (enc, ciphertext []byte, err error) {
	k, err := h.kem.NewPublicKey(public)
	if err != nil {
		return nil, nil, err
	}
	enc, ctx, err := hpke.NewSender(k, h.kdf, h.aead, info)
	if err != nil {
		return nil, nil, err
	}
	ciphertext, err = ctx.Seal(nil, plaintext)
	return enc, ciphertext, err
}

func (h hpkeScheme) open(private secret, info, enc, ciphertext []byte) ([]byte, error) {
	k, err := h.kem.NewPrivateKey(private)
	if err != nil {
		return nil, err
	}
	ctx, err := hpke.NewRecipient(enc, k, h.kdf, h.aead, info)
	if err != nil {
		return nil, err
	}
	return ctx.Open(nil, ciphertext)
}

func (h hpkeScheme) exportTo(public []byte, label string, n int) ([]byte, secret, error) {
	k, err := h.kem.NewPublicKey(public)
	if err != nil {
		return nil, nil, err
	}
	enc, ctx, err := hpke.NewSender(k, h.kdf, h.aead, nil)
	if err != nil {
		return nil, nil, err
	}
	s, err := ctx.Export(label, n)
	return enc, s, err
}

func (h hpkeScheme) exportFrom(private secret, enc []byte, label string, n int) (secret, error) {
	k, err := h.kem.NewPrivateKey(private)
	if err != nil {
		return nil, err
	}
	ctx, err := hpke.NewRecipient(enc, k, h.kdf, h.aead, nil)
	if err != nil {
		return nil, err
	}
	return ctx.Export(label, n)
}
