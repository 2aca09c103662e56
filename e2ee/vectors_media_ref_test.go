package e2ee_test

import (
	"crypto/sha256"
	"encoding/binary"
	"math"

	"github.com/sotto-voip/sotto/internal/vectors"
)

// A second implementation of group media, from the text of RFC 9420 §8, RFC 9605
// and Sotto protocol §7, on hash and block cipher alone.

// refVec is opaque<V>.
func refVec(b []byte) []byte {
	if len(b) < 64 {
		return join([]byte{byte(len(b))}, b)
	}
	return join(u16(1<<14|uint16(len(b))), b)
}

// refExporter is MLS-Exporter of RFC 9420 §8.5 with SHA-256.
func refExporter(exporter []byte, label string, context []byte, n int) []byte {
	labelled := func(secret []byte, label string, context []byte, n int) []byte {
		return refExpand(secret, n, u16(uint16(n)), refVec([]byte("MLS 1.0 "+label)), refVec(context))
	}
	sum := sha256.Sum256(context)
	return labelled(labelled(exporter, label, nil, 32), "exported", sum[:], n)
}

// refSteps are the base keys of steps 0 to n.
func refSteps(base []byte, n int) (all []vectors.Hex) {
	for range n + 1 {
		all = append(all, base)
		base = refExpand(refHMAC(nil, base), 32, []byte("SFrame 1.0 Ratchet"))
	}
	return all
}

// refKey is key and salt of a KID (RFC 9605 §4.4.2, suite 0x0004).
func refKey(base []byte, kid uint64) (key, salt []byte) {
	secret := refHMAC(nil, base)
	return refExpand(secret, 16, []byte("SFrame 1.0 Secret key "), u64(kid), u16(4)),
		refExpand(secret, 12, []byte("SFrame 1.0 Secret salt "), u64(kid), u16(4))
}

// refNumber is n in as few bytes as possible, one at least.
func refNumber(n uint64) []byte {
	b := u64(n)
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	return b
}

// refHeader is the SFrame header (RFC 9605 §4.3).
func refHeader(kid, ctr uint64) []byte { return refWideHeader(kid, ctr, 0, 0) }

// refWideHeader says KID and CTR in so many bytes more than they need.
func refWideHeader(kid, ctr uint64, kidMore, ctrMore int) []byte {
	header := []byte{0}
	if kid < 8 && kidMore == 0 {
		header[0] |= byte(kid) << 4
	} else {
		n := refWide(kid, kidMore)
		header[0] |= 0x80 | byte(len(n)-1)<<4
		header = append(header, n...)
	}
	if ctr < 8 && ctrMore == 0 {
		header[0] |= byte(ctr)
	} else {
		n := refWide(ctr, ctrMore)
		header[0] |= 0x08 | byte(len(n)-1)
		header = append(header, n...)
	}
	return header
}

func refWide(n uint64, more int) []byte {
	if n < 8 {
		more-- // it needs no byte of its own
	}
	return append(make([]byte, max(0, more)), refNumber(n)...)
}

// refFrame is one frame of a group, before it is sealed.
type refFrame struct {
	group  []byte // 16 bytes
	base   []byte // of step 0
	epoch  uint64
	leaf   uint32
	step   int
	ctr    uint64
	long   bool
	kid    uint64 // if not 0, instead of the right one
	number uint16
	end    byte
	plain  []byte
	aad    int // 1 + index of a byte of the metadata that is changed
	// how many bytes more than they need KID and CTR take in the header, which is
	// authenticated so
	kidMore, ctrMore int
}

func (f refFrame) id() uint64 {
	switch {
	case f.kid != 0:
		return f.kid
	case f.long:
		return uint64(binary.BigEndian.Uint32(f.group))<<16 | f.epoch%256<<8 | uint64(f.step)%256
	}
	return f.epoch%16<<4 | uint64(f.step)%16
}

func (f refFrame) metadata() []byte {
	return join([]byte("sotto/1 voice"), []byte{0x10}, f.group, u64(f.epoch), u32(f.leaf), u16(f.number), []byte{f.end})
}

func (f refFrame) seal() []byte {
	kid := f.id()
	key, nonce := refKey(refSteps(f.base, f.step)[f.step], kid)
	for i, x := range u64(f.ctr) {
		nonce[4+i] ^= x
	}
	meta := f.metadata()
	if f.aad > 0 {
		meta[f.aad-1] ^= 1
	}
	header := refWideHeader(kid, f.ctr, f.kidMore, f.ctrMore)
	return refGCM(key).Seal(header, nonce, f.plain, join(header, meta))
}

// refPosition is PositionData of §7.3.
func refPosition(context, plugin []byte, x, y, z float32) (b []byte) {
	for _, v := range []float32{x, y, z} {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return append(b, refHMAC(context, plugin)[:4]...)
}
