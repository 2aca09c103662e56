package crypt

import "slices"

// legacyPingByte is the first byte of a bare ping in the protobuf format.
const legacyPingByte = 1

// Seal appends plaintext as a datagram to dst, Overhead bytes longer. Without a
// key it returns dst as it is. It allocates nothing if dst has room. plaintext
// must not overlap that room, or lie in it exactly where the ciphertext will be:
// Overhead bytes behind the end of dst.
func (cs *CryptState) Seal(dst, plaintext []byte) []byte {
	if !cs.valid {
		return dst
	}
	s := &cs.sender
	s.iv = s.iv.add(1)
	if cs.skipLegacy && byte(s.iv.lo) == legacyPingByte {
		s.iv = s.iv.add(1)
	}
	at := len(dst)
	dst = slices.Grow(dst, Overhead+len(plaintext))[:at+Overhead+len(plaintext)]
	tag := s.seal(dst[at+Overhead:], plaintext, s.iv.block())
	dst[at] = byte(s.iv.lo)
	dst[at+1], dst[at+2], dst[at+3] = byte(tag.hi>>56), byte(tag.hi>>48), byte(tag.hi>>40)
	return dst
}

// Open appends the plaintext of a datagram to dst, Overhead bytes shorter than
// the datagram. With an error it returns dst as it is, zeroes what it wrote behind
// it, and neither nonce nor counts have moved. It allocates nothing if dst has
// room. That room must not overlap datagram, or begin exactly at its ciphertext:
// dst may be datagram[Overhead:Overhead], and then an ErrTag costs the ciphertext.
//
// Of the IV only the lowest byte is known. Ahead of the newest by up to 128 it
// is a newer datagram, and what lies between counts as lost; behind by less than
// 30 it is a late one, which was counted as lost before; anything else, and what
// was opened already, is ErrReplay. After a wrong tag the state is what it was
// (Mumble src/crypto/CryptStateOCB2.cpp, CryptStateOCB2::decrypt).
//
// The errors are ErrNoKey, ErrShort, ErrReplay and ErrTag.
func (cs *CryptState) Open(dst, datagram []byte) ([]byte, error) {
	if !cs.valid {
		return dst, ErrNoKey
	}
	if len(datagram) < Overhead {
		return dst, ErrShort
	}
	r := &cs.receiver

	var nonce iv
	ahead := datagram[0] - byte(r.iv.lo) // modulo 256
	late := ahead > 256-lateLimit
	switch {
	case late:
		nonce = r.iv.sub(256 - uint64(ahead))
	case ahead > 0 && ahead <= maxAhead:
		nonce = r.iv.add(uint64(ahead))
	default:
		return dst, ErrReplay
	}
	if r.history.has(nonce) {
		return dst, ErrReplay
	}

	at, ciphertext := len(dst), datagram[Overhead:]
	out := slices.Grow(dst, len(ciphertext))[:at+len(ciphertext)]
	tag, genuine := r.open(out[at:], ciphertext, nonce.block())
	if !sameTag(tag, datagram[1:Overhead]) || !genuine {
		clear(out[at:])
		return dst, ErrTag
	}

	r.history.add(nonce)
	r.stats.Good++
	if late {
		r.stats.Late++
		// None is lost if a resync set the nonce past this one.
		r.stats.Lost -= min(r.stats.Lost, 1)
	} else {
		r.iv = nonce
		r.stats.Lost += uint32(ahead) - 1
	}
	return out, nil
}
