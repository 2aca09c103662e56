package e2ee

import (
	"crypto/subtle"
	"encoding/binary"
	"math"
)

// Layout of a voice plaintext (Sotto protocol §7.3).
const (
	lengthLen    = 2       // flags and Opus length
	positionLen  = 3*4 + 4 // x, y, z, tag
	maxOpus      = 1<<12 - 1
	flagPosition = 8
	flagReserved = 4 | 2 | 1
)

// ladder are the rungs: the sizes a plaintext is padded to.
var ladder = [...]int{16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896}

// rung returns the smallest one of the ladder that holds n bytes, 0 if none does.
func rung(n int) int {
	for _, s := range ladder {
		if s >= n {
			return s
		}
	}
	return 0
}

// paddedLen returns the length to which a frame of n bytes is padded: that of the
// stream, which is the rung that holds its longest frame so far, so that the
// sizes of a talk tell nothing. One that would exceed the room is left out: then
// it is the highest rung within room that holds the frame, or else n itself.
func paddedLen(n, stream, room int) int {
	best, most := n, min(room, max(stream, rung(n)))
	for _, s := range ladder {
		if s > most {
			break
		}
		if s >= n {
			best = s
		}
	}
	return best
}

// frameLen is the length of the plaintext of f before padding.
func frameLen(f *Frame, position bool) int {
	n := lengthLen + len(f.Opus)
	if position {
		n += positionLen
	}
	return n
}

// appendPlaintext appends f padded to size bytes. tag is nil when no position goes.
func appendPlaintext(dst []byte, f *Frame, tag *[tagLen]byte, size int) []byte {
	end := len(dst) + size
	flags := uint16(0)
	if tag != nil {
		flags = flagPosition
	}
	dst = binary.BigEndian.AppendUint16(dst, flags<<12|uint16(len(f.Opus)))
	dst = append(dst, f.Opus...)
	if tag != nil {
		for _, v := range f.Position {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
		}
		dst = append(dst, tag[:]...)
	}
	for len(dst) < end {
		dst = append(dst, 0)
	}
	return dst
}

// parsePlaintext reads a plaintext. The Opus bytes alias it; position is the
// three floats and the tag, nil if there are none.
func parsePlaintext(b []byte) (opus, position []byte, ok bool) {
	if len(b) < lengthLen {
		return nil, nil, false
	}
	head := binary.BigEndian.Uint16(b)
	flags, n := head>>12, int(head&maxOpus)
	b = b[lengthLen:]
	if flags&flagReserved != 0 || n > len(b) {
		return nil, nil, false
	}
	opus, b = b[:n], b[n:]
	if flags&flagPosition == 0 {
		return opus, nil, true
	}
	if len(b) < positionLen {
		return nil, nil, false
	}
	return opus, b[:positionLen], true
}

// readPosition returns the position, if the tag is ours: the speaker then plays
// the same game in the same place. Coordinates that are no numbers are none.
func readPosition(b []byte, tag *[tagLen]byte) (p [3]float32, ok bool) {
	if subtle.ConstantTimeCompare(b[12:positionLen], tag[:]) != 1 {
		return p, false
	}
	for i := range p {
		v := math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return [3]float32{}, false
		}
		p[i] = v
	}
	return p, true
}
