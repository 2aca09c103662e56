package e2ee_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// A second implementation of the arithmetic, written from the text of RFC 5869,
// RFC 9605 and Sotto protocol §10 with nothing but hash and block cipher, so that
// the vectors in testdata do not merely repeat what the package does.

func refHMAC(key []byte, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, key)
	for _, p := range parts {
		mac.Write(p)
	}
	return mac.Sum(nil)
}

func refExpand(prk []byte, n int, info ...[]byte) []byte {
	var out, block []byte
	for i := byte(1); len(out) < n; i++ {
		parts := append([][]byte{block}, info...)
		block = refHMAC(prk, append(parts, []byte{i})...)
		out = append(out, block...)
	}
	return out[:n]
}

func u16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }
func u32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
func u64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

func join(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func refPRK(s, server []byte, channel uint32) []byte {
	salt := sha256.Sum256(join([]byte("sotto/1 secret"), server, u32(channel)))
	return refHMAC(salt[:], s)
}

func refGCM(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// refBase is the base key of a stream after so many ratchet steps.
func refBase(prk []byte, session uint32, nonce []byte, step int) []byte {
	base := refExpand(prk, 32, []byte("sotto/1 stream"), u32(session), nonce)
	for range step {
		base = refExpand(refHMAC(nil, base), 32, []byte("SFrame 1.0 Ratchet"))
	}
	return base
}

// refSFrame is RFC 9605 with suite 0x0004 for KIDs below 256.
func refSFrame(base []byte, kid, ctr uint64, metadata, plain []byte) []byte {
	secret := refHMAC(nil, base)
	key := refExpand(secret, 16, []byte("SFrame 1.0 Secret key "), u64(kid), u16(4))
	nonce := refExpand(secret, 12, []byte("SFrame 1.0 Secret salt "), u64(kid), u16(4))
	for i, x := range u64(ctr) {
		nonce[4+i] ^= x
	}
	header := []byte{0}
	if kid < 8 {
		header[0] |= byte(kid) << 4
	} else {
		header[0] |= 0x80
		header = append(header, byte(kid))
	}
	switch {
	case ctr < 8:
		header[0] |= byte(ctr)
	case ctr < 256:
		header[0] |= 0x08
		header = append(header, byte(ctr))
	default:
		header[0] |= 0x09
		header = append(header, u16(uint16(ctr))...)
	}
	return refGCM(key).Seal(header, nonce, plain, join(header, metadata))
}

// refVoice is one packet without its vk.
type refVoice struct {
	session uint32
	nonce   []byte
	n, step int
	ctr     uint64
	header  bool
	minute  uint32
	number  uint16
	end     byte
}

func (v refVoice) seal(server, prk, plain []byte) []byte {
	metadata := join([]byte("sotto/1 secret voice"), server, u32(v.session), v.nonce)
	var before []byte
	if v.header {
		metadata = append(metadata, u32(v.minute)...)
		before = join(v.nonce, u32(v.minute))
	}
	metadata = join(metadata, u16(v.number), []byte{v.end})
	kid := uint64(v.n%16)<<4 | uint64(v.step%16)
	return append(before, refSFrame(refBase(prk, v.session, v.nonce, v.step), kid, v.ctr, metadata, plain)...)
}

// refPlain is a voice plaintext of size bytes.
func refPlain(flags int, opus, position []byte, size int) []byte {
	b := join(u16(uint16(flags<<12|len(opus))), opus, position)
	return append(b, make([]byte, size-len(b))...)
}

func refReady(prk []byte, session uint32, nonce []byte, minute uint32, keyID []byte) []byte {
	b := join(u32(session), nonce, u32(minute), []byte{byte(len(keyID))}, keyID)
	return append(b, refHMAC(refExpand(prk, 32, []byte("sotto/1 ready")), b)[:16]...)
}

func refText(prk []byte, session uint32, salt []byte, minute uint32, plain []byte) []byte {
	k := refExpand(prk, 28, []byte("sotto/1 text"), u32(session), salt)
	head := join(u32(session), salt, u32(minute))
	ct := refGCM(k[:16]).Seal(nil, k[16:], plain, head)
	return join(head, u16(1<<14|uint16(len(ct))), ct)
}

// refApp is an AppData of type 1 with short vectors, padded to size bytes.
func refApp(id []byte, seq uint32, ms uint64, scope byte, channel uint32, html string, size int) []byte {
	body := join([]byte{scope}, u32(channel), []byte{byte(len(html))}, []byte(html))
	b := join([]byte{1}, id, u32(seq), u64(ms), []byte{byte(len(body))}, body)
	return append(b, make([]byte, size-len(b))...)
}
