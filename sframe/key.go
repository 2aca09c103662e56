package sframe

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

var (
	// ErrKID means that the header names another key than the one at hand.
	ErrKID = errors.New("sframe: unknown KID")
	// ErrAuth means that a frame was not made with this key and this metadata,
	// or was changed on its way.
	ErrAuth = errors.New("sframe: frame does not authenticate")
)

// Key encrypts or decrypts the frames of one KID: sframe_key and sframe_salt of
// RFC 9605 §4.4.2. It is immutable and safe for concurrent use. It holds secrets,
// so it does not print itself and does not compare with ==.
//
// RFC 9605 §4.4.1: a base key is "usable for encryption or decryption, never
// both", and by one sender only. Key leaves that to its owner.
type Key struct {
	_     [0]func() // not comparable
	suite Suite
	kid   uint64
	salt  [nonceLen]byte
	aead  cipher.AEAD
}

// NewKey derives the key of kid from baseKey, which it does not keep. A base key
// has at least 16 bytes. The errors are ErrSuite and ErrBaseKey.
func NewKey(suite Suite, kid uint64, baseKey []byte) (*Key, error) {
	secret, salt, err := deriveKeySalt(suite, kid, baseKey)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	aead, err := newAEAD(suite, secret)
	if err != nil {
		return nil, err
	}
	return &Key{suite: suite, kid: kid, salt: [nonceLen]byte(salt), aead: aead}, nil
}

// newAEAD returns the AEAD of the suite under an sframe_key of Nk bytes.
func newAEAD(suite Suite, key []byte) (cipher.AEAD, error) {
	p, err := suite.params()
	if err != nil {
		return nil, err
	}
	if p.nka > 0 {
		return newCTRHMAC(key, p.nka, p.nt)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// KID returns the key ID that the headers of this key carry.
func (k *Key) KID() uint64 { return k.kid }

// Overhead returns by how many bytes a ciphertext with the counter ctr is longer
// than its plaintext: header and tag.
func (k *Key) Overhead(ctr uint64) int {
	return Header{k.kid, ctr}.Len() + k.aead.Overhead()
}

// Seal appends header || ciphertext || tag of plaintext to dst. The metadata is
// authenticated and not sent. The caller gives each ctr once in the life of the
// key: the same ctr twice reveals both plaintexts and the power to forge (RFC
// 9605 §9.1).
//
// Seal uses the memory of dst beyond its length also for what it needs on the
// way. With room for 2*MaxHeaderLen + len(plaintext) + len(metadata) + 28 bytes
// the GCM suites allocate nothing. Neither plaintext nor metadata may lie in
// that memory.
func (k *Key) Seal(dst []byte, ctr uint64, metadata, plaintext []byte) []byte {
	h := Header{k.kid, ctr}
	hdr := h.Len()
	out := hdr + len(plaintext) + k.aead.Overhead()
	dst = slices.Grow(dst, out+nonceLen+hdr+len(metadata))

	// Behind the output: nonce || header || metadata. crypto/cipher wants the
	// AAD in one piece and apart from the output; arrays on the stack would
	// escape through its interface, an allocation for each frame.
	spare := dst[len(dst)+out : len(dst)+out]
	nonce := k.appendNonce(spare, ctr)
	aad := append(AppendHeader(nonce[nonceLen:], h), metadata...)

	dst = AppendHeader(dst, h)
	return k.aead.Seal(dst, nonce, plaintext, aad)
}

// Open appends the plaintext of frame, which is header || ciphertext || tag, to
// dst. The metadata must be what the sender gave. The errors are ErrHeader, ErrKID
// and ErrAuth; dst is then returned as it came. Whether the counter was seen
// before is the caller's to check, after Open (RFC 9605 §9.3).
//
// Open uses the memory of dst beyond its length also for what it needs on the
// way. With room for len(frame) + len(metadata) + 28 bytes the GCM suites allocate nothing.
// Neither frame nor metadata may lie in that memory.
func (k *Key) Open(dst, frame, metadata []byte) ([]byte, error) {
	h, hdr, err := ParseHeader(frame)
	if err != nil {
		return dst, err
	}
	if h.KID != k.kid {
		return dst, ErrKID
	}
	if len(frame) < hdr+k.aead.Overhead() {
		return dst, ErrAuth
	}
	out := len(frame) - hdr - k.aead.Overhead()
	dst = slices.Grow(dst, out+nonceLen+hdr+len(metadata))
	spare := dst[len(dst)+out : len(dst)+out]
	nonce := k.appendNonce(spare, h.CTR)
	aad := append(append(nonce[nonceLen:], frame[:hdr]...), metadata...)

	plain, err := k.aead.Open(dst, nonce, frame[hdr:], aad)
	if err != nil {
		return dst, ErrAuth
	}
	return plain, nil
}

// appendNonce appends the salt XOR the counter as a big-endian integer of Nn
// bytes (RFC 9605 §4.4.3).
func (k *Key) appendNonce(dst []byte, ctr uint64) []byte {
	n := len(dst)
	dst = append(dst, k.salt[:]...)
	low := dst[n+nonceLen-8:]
	binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)^ctr)
	return dst
}

const redacted = "sframe.Key(secret)"

// String returns a fixed text: a key never prints itself.
func (k Key) String() string { return redacted }

// GoString returns a fixed text: a key never prints itself.
func (k Key) GoString() string { return redacted }

// Format prints the fixed text whatever the verb is, so that no %x or %d
// reaches the fields.
func (k Key) Format(s fmt.State, _ rune) { io.WriteString(s, redacted) }
