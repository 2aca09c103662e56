package identity

import (
	"errors"
	"fmt"
	"strings"
)

// maxString is the longest string read or written, in characters: BIP 350 stops
// at 90, the Sotto protocol at 200 (§9.3).
const maxString = 200

// Why a string is not bech32m (BIP 350) with the wanted prefix.
var (
	errLength   = errors.New("wrong length")
	errPrefix   = errors.New("wrong beginning")
	errAlphabet = errors.New("impossible character")
	errChecksum = errors.New("checksum does not match: a character is wrong, missing or too many")
	errPadding  = errors.New("impossible end")
)

const (
	alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

	// checksumLen is the number of characters of the checksum, and
	// checksumConst what it must come to; bech32 without m has 1 here.
	checksumLen   = 6
	checksumConst = 0x2bc830a3
)

// polymod advances the BCH code over GF(32) of BIP 173 by one value.
func polymod(chk uint32, v byte) uint32 {
	top := chk >> 25
	chk = (chk&0x1ffffff)<<5 ^ uint32(v)
	for i, g := range [...]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
		if top>>i&1 == 1 {
			chk ^= g
		}
	}
	return chk
}

// polymodHRP starts the code with the expanded human-readable part: the high
// bits of all characters, a zero, the low bits.
func polymodHRP(hrp string) uint32 {
	chk := uint32(1)
	for i := range len(hrp) {
		chk = polymod(chk, hrp[i]>>5)
	}
	chk = polymod(chk, 0)
	for i := range len(hrp) {
		chk = polymod(chk, hrp[i]&31)
	}
	return chk
}

// encodeBech32m returns hrp, which is in lower case, the separator, data and
// checksum.
func encodeBech32m(hrp string, data []byte) string {
	var b strings.Builder
	b.WriteString(hrp)
	b.WriteByte('1')
	chk := polymodHRP(hrp)
	put := func(v byte) {
		chk = polymod(chk, v)
		b.WriteByte(alphabet[v])
	}
	acc, bits := uint32(0), 0
	for _, c := range data {
		acc, bits = acc<<8|uint32(c), bits+8
		for bits >= 5 {
			bits -= 5
			put(byte(acc>>bits) & 31)
		}
	}
	if bits > 0 {
		put(byte(acc<<(5-bits)) & 31)
	}
	for range checksumLen {
		chk = polymod(chk, 0)
	}
	chk ^= checksumConst
	for i := range checksumLen {
		b.WriteByte(alphabet[chk>>(5*(checksumLen-1-i))&31])
	}
	return b.String()
}

// decodeBech32m reads a string with the human-readable part hrp, all of it, in
// lower case, and returns its data.
func decodeBech32m(hrp, s string) ([]byte, error) {
	if len(s) > maxString {
		return nil, errLength
	}
	body, ok := strings.CutPrefix(s, hrp+"1")
	if !ok {
		return nil, errPrefix
	}
	if len(body) < checksumLen {
		return nil, errLength
	}
	chk := polymodHRP(hrp)
	values := make([]byte, len(body))
	for i := range len(body) {
		v := strings.IndexByte(alphabet, body[i])
		if v < 0 {
			return nil, fmt.Errorf("%w %q", errAlphabet, body[i:i+1])
		}
		values[i] = byte(v)
		chk = polymod(chk, byte(v))
	}
	if chk != checksumConst {
		return nil, errChecksum
	}
	values = values[:len(values)-checksumLen]
	data := make([]byte, 0, len(values)*5/8)
	acc, bits := uint32(0), 0
	for _, v := range values {
		acc, bits = acc<<5|uint32(v), bits+5
		if bits >= 8 {
			bits -= 8
			data = append(data, byte(acc>>bits))
		}
	}
	// What is left is filling: fewer bits than a character has, all zero.
	if bits >= 5 || acc&(1<<bits-1) != 0 {
		return nil, errPadding
	}
	return data, nil
}
