package sframe

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"slices"
)

// ctrHMAC is the synthetic AEAD of RFC 9605 §4.5.1, AES-CTR then a truncated
// HMAC over ciphertext, nonce and AAD. It holds no state that changes, so it is
// safe for concurrent use, at the price of a new HMAC for each call.
type ctrHMAC struct {
	block   cipher.Block
	authKey []byte
	nt      int
}

// newCTRHMAC splits the AEAD key into the encryption subkey, its first Nka
// bytes, and the authentication subkey, the rest (derive_subkeys).
func newCTRHMAC(key []byte, nka, nt int) (*ctrHMAC, error) {
	block, err := aes.NewCipher(key[:nka])
	if err != nil {
		return nil, err
	}
	return &ctrHMAC{block, slices.Clone(key[nka:]), nt}, nil
}

func (c *ctrHMAC) NonceSize() int { return nonceLen }
func (c *ctrHMAC) Overhead() int  { return c.nt }

// Seal and Open are AEAD.Encrypt and AEAD.Decrypt of RFC 9605 §4.5.1. As with
// every cipher.AEAD, a nonce of the wrong length is a mistake of the caller.
func (c *ctrHMAC) Seal(dst, nonce, plaintext, aad []byte) []byte {
	n := len(dst)
	dst = append(dst, plaintext...)
	c.crypt(dst[n:], nonce)
	tag := c.tag(nonce, aad, dst[n:])
	return append(dst, tag[:c.nt]...)
}

func (c *ctrHMAC) Open(dst, nonce, ciphertext, aad []byte) ([]byte, error) {
	if len(ciphertext) < c.nt {
		return nil, ErrAuth
	}
	inner, got := ciphertext[:len(ciphertext)-c.nt], ciphertext[len(ciphertext)-c.nt:]
	want := c.tag(nonce, aad, inner)
	if subtle.ConstantTimeCompare(got, want[:c.nt]) != 1 {
		return nil, ErrAuth
	}
	n := len(dst)
	dst = append(dst, inner...)
	c.crypt(dst[n:], nonce)
	return dst, nil
}

// crypt encrypts or decrypts in place with the initial counter nonce || 0x00000000.
func (c *ctrHMAC) crypt(b, nonce []byte) {
	var iv [aes.BlockSize]byte
	copy(iv[:], nonce)
	cipher.NewCTR(c.block, iv[:]).XORKeyStream(b, b)
}

// tag is compute_tag before truncation.
func (c *ctrHMAC) tag(nonce, aad, ct []byte) [sha256.Size]byte {
	var lengths [24]byte
	binary.BigEndian.PutUint64(lengths[0:], uint64(len(aad)))
	binary.BigEndian.PutUint64(lengths[8:], uint64(len(ct)))
	binary.BigEndian.PutUint64(lengths[16:], uint64(c.nt))
	mac := hmac.New(sha256.New, c.authKey)
	mac.Write(lengths[:])
	mac.Write(nonce)
	mac.Write(aad)
	mac.Write(ct)
	var sum [sha256.Size]byte
	mac.Sum(sum[:0])
	return sum
}
