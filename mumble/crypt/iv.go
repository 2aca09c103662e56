package crypt

import (
	"encoding/binary"
	"math/bits"
)

// An iv is a nonce: a number of 128 bits, little endian on the wire.
type iv struct{ lo, hi uint64 }

func loadIV(b []byte) iv {
	return iv{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}

func (v iv) bytes() []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, NonceSize), v.lo)
	return binary.LittleEndian.AppendUint64(b, v.hi)
}

// block returns the nonce as the cipher takes it: the same bytes in order.
func (v iv) block() block {
	return block{bits.ReverseBytes64(v.lo), bits.ReverseBytes64(v.hi)}
}

func (v iv) add(n uint64) iv {
	lo, carry := bits.Add64(v.lo, n, 0)
	return iv{lo, v.hi + carry}
}

func (v iv) sub(n uint64) iv {
	lo, borrow := bits.Sub64(v.lo, n, 0)
	return iv{lo, v.hi - borrow}
}

// The window, in datagrams from the newest one opened (Mumble
// src/crypto/CryptStateOCB2.cpp, CryptStateOCB2::decrypt): up to maxAhead newer,
// less than lateLimit older.
const (
	maxAhead  = 128
	lateLimit = 30
)

// A history remembers, for each value of an IV's lowest byte, the last IV opened
// with it. Upstream keeps the second byte alone and 0 for nothing, which makes
// it take new datagrams for replays while that byte is 0; this keeps 64 bits.
type history [256]uint64

// key is v's low 64 bits, with 1 in place of the byte that is the index: never 0.
func (history) key(v iv) uint64 { return v.lo&^0xff | 1 }

func (h *history) has(v iv) bool { return h[byte(v.lo)] == h.key(v) }
func (h *history) add(v iv)      { h[byte(v.lo)] = h.key(v) }
