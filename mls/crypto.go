package mls

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"slices"
)

// label is the prefix of all labels of the protocol (RFC 9420 §5.1.2, §8).
const labelPrefix = "MLS 1.0 "

// secret is key material. It is a type of its own so that it does not print
// itself, and so that a search for its uses finds them.
type secret []byte

// String hides the bytes.
func (secret) String() string { return "mls secret [redacted]" }

// GoString hides the bytes.
func (secret) GoString() string { return "mls.secret [redacted]" }

// wipe overwrites s. The garbage collector may have copied it; §9.2 is kept as
// far as Go allows.
func (s secret) wipe() { clear(s) }

func wipeAll(secrets ...secret) {
	for _, s := range secrets {
		s.wipe()
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	return b
}

// labelled encodes struct { opaque label<V>; opaque content<V>; } with the
// prefix: SignContent (§5.1.2) and EncryptContext (§5.1.3).
//
// The content may come in parts, so that a large one is copied once. It is appended
// to b.
func labelled(b []byte, label string, content ...[]byte) []byte {
	n := 0
	for _, part := range content {
		n += len(part)
	}
	b = slices.Grow(b, 2+len(labelPrefix)+len(label)+4+n)
	b = appendVarint(b, len(labelPrefix)+len(label))
	b = appendVarint(append(append(b, labelPrefix...), label...), n)
	for _, part := range content {
		b = append(b, part...)
	}
	return b
}

// signWithLabel is SignWithLabel of §5.1.2.
func (s *suite) signWithLabel(k *SignaturePrivateKey, label string, content []byte) ([]byte, error) {
	if k.scheme != s.sig {
		return nil, broken(ErrInvalidKey, "5.1.2", "signature key of another suite than %s", s.name)
	}
	return s.sig.sign(k.key, labelled(nil, label, content))
}

// verifyWithLabel is VerifyWithLabel of §5.1.2.
func (s *suite) verifyWithLabel(public []byte, label string, content, signature []byte) error {
	if !s.sig.verify(public, labelled(nil, label, content), signature) {
		return broken(ErrSignature, "5.1.2", "%s", label)
	}
	return nil
}

// encryptWithLabel is EncryptWithLabel of §5.1.3.
func (s *suite) encryptWithLabel(public []byte, label string, context, plaintext []byte) (HPKECiphertext, error) {
	enc, ct, err := s.hpke.seal(public, labelled(nil, label, context), plaintext)
	if err != nil {
		return HPKECiphertext{}, brokenBy(ErrInvalidKey, "5.1.3", err, "cannot encrypt %s", label)
	}
	return HPKECiphertext{enc, ct}, nil
}

// decryptWithLabel is DecryptWithLabel of §5.1.3.
func (s *suite) decryptWithLabel(private secret, label string, context []byte, c HPKECiphertext) (secret, error) {
	pt, err := s.hpke.open(private, labelled(nil, label, context), c.KEMOutput, c.Ciphertext)
	if err != nil {
		return nil, brokenBy(ErrDecrypt, "5.1.3", err, "%s", label)
	}
	return pt, nil
}

// refHash is RefHash of §5.2. The label carries its prefix already.
func (s *suite) refHash(label string, value []byte) []byte {
	b := make([]byte, 0, len(label)+len(value)+8)
	return s.hash(appendOpaque(appendOpaque(b, label), value))
}

func (s *suite) hash(parts ...[]byte) []byte {
	h := s.newHash()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(make([]byte, 0, s.nh))
}

func (s *suite) mac(key secret, data []byte) []byte {
	h := hmac.New(s.newHash, key)
	h.Write(data)
	return h.Sum(make([]byte, 0, s.nh))
}

// verifyMAC compares in constant time; a tag of the wrong length is wrong.
func (s *suite) verifyMAC(key secret, data, tag []byte) bool {
	return s.verifyMACTag(s.mac(key, data), tag)
}

func (s *suite) verifyMACTag(want, got []byte) bool {
	return len(want) == s.nh && subtle.ConstantTimeCompare(want, got) == 1
}

func (s *suite) zero() secret { return make(secret, s.nh) }

// extract is KDF.Extract (RFC 9180 §4).
func (s *suite) extract(salt, ikm secret) secret {
	prk, err := hkdf.Extract(s.newHash, ikm, salt)
	if err != nil {
		panic("mls: HKDF-Extract: " + err.Error()) // only with a FIPS restriction on key sizes
	}
	return prk
}

// expandWithLabel is ExpandWithLabel of §8; n is at most 255*Nh and 65535.
func (s *suite) expandWithLabel(from secret, label string, context []byte, n int) secret {
	info := make([]byte, 0, 4+len(labelPrefix)+len(label)+4+len(context))
	info = binary.BigEndian.AppendUint16(info, uint16(n))
	info = appendVarint(info, len(labelPrefix)+len(label))
	info = append(append(info, labelPrefix...), label...)
	info = appendOpaque(info, context)
	out, err := hkdf.Expand(s.newHash, from, string(info), n)
	if err != nil {
		panic("mls: HKDF-Expand: " + err.Error()) // callers bound n
	}
	return out
}

// deriveSecret is DeriveSecret of §8.
func (s *suite) deriveSecret(from secret, label string) secret {
	return s.expandWithLabel(from, label, nil, s.nh)
}

// deriveTreeSecret is DeriveTreeSecret of §9.1.
func (s *suite) deriveTreeSecret(from secret, label string, generation uint32, n int) secret {
	return s.expandWithLabel(from, label, binary.BigEndian.AppendUint32(nil, generation), n)
}

// aeadSeal and aeadOpen use a key once; nonces are of length nn.
func (s *suite) aeadSeal(key, nonce secret, aad, plaintext []byte) []byte {
	a, err := s.newAEAD(key)
	if err != nil {
		panic("mls: AEAD: " + err.Error()) // keys have the suite's length
	}
	return a.Seal(make([]byte, 0, len(plaintext)+a.Overhead()), nonce, plaintext, aad)
}

func (s *suite) aeadOpen(key, nonce secret, aad, ciphertext []byte) ([]byte, error) {
	a, err := s.newAEAD(key)
	if err != nil {
		panic("mls: AEAD: " + err.Error())
	}
	return a.Open(nil, nonce, ciphertext, aad)
}
