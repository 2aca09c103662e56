package crypt_test

import (
	"crypto/aes"
	"testing"
)

// A slow OCB2, byte by byte from the formulas of Rogaway's paper of 2004, as
// oracle. It has no counter-measure, so it also plays the attacker's victim.

type bytes16 [16]byte

func xor16(a, b bytes16) (c bytes16) {
	for i := range c {
		c[i] = a[i] ^ b[i]
	}
	return c
}

// times2 shifts 128 bits to the left, one bit at a time.
func times2(a bytes16) (c bytes16) {
	carry := byte(0)
	for i := 15; i >= 0; i-- {
		c[i] = a[i]<<1 | carry
		carry = a[i] >> 7
	}
	if carry == 1 {
		c[15] ^= 0x87 // x^7 + x^2 + x + 1
	}
	return c
}

func times3(a bytes16) bytes16 { return xor16(a, times2(a)) }

// offset is 2^i times E(nonce).
func offset(e func(bytes16) bytes16, nonce bytes16, i int) bytes16 {
	d := e(nonce)
	for range i {
		d = times2(d)
	}
	return d
}

type reference struct {
	e, d func(bytes16) bytes16
}

func newReference(t testing.TB, key []byte) reference {
	t.Helper()
	b, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	return reference{
		e: func(x bytes16) (y bytes16) { b.Encrypt(y[:], x[:]); return y },
		d: func(x bytes16) (y bytes16) { b.Decrypt(y[:], x[:]); return y },
	}
}

// lastBlock returns the number of the last block, from 1, and its length.
func lastBlock(n int) (m, length int) {
	m = max(1, (n+15)/16)
	return m, n - 16*(m-1)
}

func (r reference) seal(nonce bytes16, plain []byte) (out []byte, tag bytes16) {
	m, n := lastBlock(len(plain))
	var sum bytes16
	for i := 1; i < m; i++ {
		block := bytes16(plain[16*(i-1):])
		sum = xor16(sum, block)
		z := offset(r.e, nonce, i)
		c := xor16(r.e(xor16(block, z)), z)
		out = append(out, c[:]...)
	}
	pad := r.e(xor16(bytes16{15: byte(8 * n)}, offset(r.e, nonce, m)))
	padded := pad
	for i, c := range plain[16*(m-1):] {
		padded[i] = c
		out = append(out, c^pad[i])
	}
	sum = xor16(sum, padded)
	return out, r.e(xor16(sum, times3(offset(r.e, nonce, m))))
}

func (r reference) open(nonce bytes16, crypt []byte) (out []byte, tag bytes16) {
	m, n := lastBlock(len(crypt))
	var sum bytes16
	for i := 1; i < m; i++ {
		z := offset(r.e, nonce, i)
		block := xor16(r.d(xor16(bytes16(crypt[16*(i-1):]), z)), z)
		sum = xor16(sum, block)
		out = append(out, block[:]...)
	}
	pad := r.e(xor16(bytes16{15: byte(8 * n)}, offset(r.e, nonce, m)))
	padded := pad
	for i, c := range crypt[16*(m-1):] {
		padded[i] = c ^ pad[i]
		out = append(out, padded[i])
	}
	sum = xor16(sum, padded)
	return out, r.e(xor16(sum, times3(offset(r.e, nonce, m))))
}

// datagram seals plain as Mumble puts it on the wire.
func (r reference) datagram(nonce bytes16, plain []byte) []byte {
	c, tag := r.seal(nonce, plain)
	return append([]byte{nonce[0], tag[0], tag[1], tag[2]}, c...)
}
