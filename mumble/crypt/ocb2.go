package crypt

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
)

// blockSize is AES's, in bytes.
const blockSize = 16

// A block is 16 bytes as two big-endian numbers: polynomials over GF(2) of
// degree below 128, the coefficient of x^127 in the top bit of hi.
type block struct{ hi, lo uint64 }

func load(b []byte) block {
	_ = b[blockSize-1]
	return block{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

func (x block) store(b []byte) {
	_ = b[blockSize-1]
	binary.BigEndian.PutUint64(b, x.hi)
	binary.BigEndian.PutUint64(b[8:], x.lo)
}

func (x block) xor(y block) block { return block{x.hi ^ y.hi, x.lo ^ y.lo} }

// double multiplies by x modulo x^128 + x^7 + x^2 + x + 1.
func (x block) double() block {
	return block{x.hi<<1 | x.lo>>63, x.lo<<1 ^ -(x.hi>>63)&0x87}
}

// triple multiplies by x + 1.
func (x block) triple() block { return x.xor(x.double()) }

// ocb2 is the mode with one key. scratch keeps the blocks handed to AES out of
// the heap of each call, so two calls at once need two of them.
type ocb2 struct {
	aes     cipher.Block
	scratch [2 * blockSize]byte
}

func (o *ocb2) encrypt(x block) block {
	x.store(o.scratch[:blockSize])
	o.aes.Encrypt(o.scratch[:blockSize], o.scratch[:blockSize])
	return load(o.scratch[:blockSize])
}

func (o *ocb2) decrypt(x block) block {
	x.store(o.scratch[:blockSize])
	o.aes.Decrypt(o.scratch[:blockSize], o.scratch[:blockSize])
	return load(o.scratch[:blockSize])
}

// lengthBlock is the number of bits in the last block, as the paper's len.
func lengthBlock(n int) block { return block{0, uint64(n) * 8} }

// seal encrypts plain under nonce into out, which is as long, and returns the
// whole tag. out is plain or does not overlap it.
//
// With M[1..m] the blocks of plain, all whole but the last, and D = E(nonce):
//
//	C[i]  = E(M[i] ^ 2^i D) ^ 2^i D           i < m
//	Pad   = E(len(M[m]) ^ 2^m D)
//	C[m]  = M[m] ^ first bytes of Pad
//	Sum   = M[1] ^ ... ^ M[m-1] ^ (M[m] followed by the rest of Pad)
//	Tag   = E(Sum ^ 3 2^m D)
//
// An empty plain has one block of no bytes.
//
// Sender's half of the counter-measure (ePrint 2019/311, section 9): the attack
// needs M[m-1] = len(M[m]), that is 15 zero bytes and then at most 128. Such a
// block goes out with the lowest bit of its first byte set. Mumble once refused
// to send it, but digital silence produces it in masses (mumble issue 4719).
func (o *ocb2) seal(out, plain []byte, nonce block) (tag block) {
	delta := o.encrypt(nonce)
	var sum block
	for len(plain) > blockSize {
		delta = delta.double()
		m := load(plain)
		if len(plain) <= 2*blockSize && m.hi|m.lo>>8 == 0 {
			m.hi |= 1 << 56
		}
		sum = sum.xor(m)
		o.encrypt(m.xor(delta)).xor(delta).store(out)
		plain, out = plain[blockSize:], out[blockSize:]
	}
	delta = delta.double()
	pad := o.encrypt(lengthBlock(len(plain)).xor(delta))
	last := o.scratch[blockSize:]
	pad.store(last)
	copy(last, plain)
	m := load(last)
	sum = sum.xor(m)
	m.xor(pad).store(last)
	copy(out, last[:len(plain)])
	return o.encrypt(sum.xor(delta.triple()))
}

// open decrypts as seal encrypts and returns the tag that should have come.
// out is crypt or does not overlap it.
//
// genuine is false for the attack's pattern, the receiver's half of the
// counter-measure (ePrint 2019/311, section 9): in a forged datagram the last
// block, with the rest of Pad behind it, is 2^m D but for the length in its last
// byte. By chance that is so once in 2^120.
func (o *ocb2) open(out, crypt []byte, nonce block) (tag block, genuine bool) {
	delta := o.encrypt(nonce)
	var sum block
	for len(crypt) > blockSize {
		delta = delta.double()
		m := o.decrypt(load(crypt).xor(delta)).xor(delta)
		sum = sum.xor(m)
		m.store(out)
		crypt, out = crypt[blockSize:], out[blockSize:]
	}
	delta = delta.double()
	pad := o.encrypt(lengthBlock(len(crypt)).xor(delta))
	last := o.scratch[blockSize:]
	clear(last)
	copy(last, crypt)
	m := load(last).xor(pad)
	sum = sum.xor(m)
	m.store(last)
	copy(out, last[:len(crypt)])
	odd := m.xor(delta)
	return o.encrypt(sum.xor(delta.triple())), odd.hi|odd.lo>>8 != 0
}

// sameTag compares the three bytes of a tag that travel, in constant time.
func sameTag(tag block, sent []byte) bool {
	t := [tagSize]byte{byte(tag.hi >> 56), byte(tag.hi >> 48), byte(tag.hi >> 40)}
	return subtle.ConstantTimeCompare(t[:], sent) == 1
}
