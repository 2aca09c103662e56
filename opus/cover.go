package opus

import (
	"errors"
	"time"
)

// A cover is a mono fullband CELT packet whose every frame is FF FE, the frame
// that the reference encoder itself makes from digital silence: decoders fade
// out what was playing and then give exact zeros. Frames of 0 bytes or one byte
// would start loss concealment instead, which buzzes for a second.
//
//	TOC      1   FB (frames of 20 ms) or F3 (one frame of 10 ms): code 3, mono
//	count    1   40 | M: padding, constant rate; M = 1, 2 or 3, with F3 only 1
//	padlen   L   P, in as few bytes as possible
//	frames   2M  FF FE each
//	padding  P   anything
//
// RFC 6716 section 3.2.5 wants encoders to write zeros there and decoders to
// accept any value; Sotto protocol section 1.5 says what it writes and why.
const (
	coverTOC20 = 0xFB
	coverTOC10 = 0xF3
	coverPad   = 0x40
	silence0   = 0xFF
	silence1   = 0xFE
)

// ErrDuration says that a cover has no such duration, or, from Check, that a
// packet is not as long as it ought to be.
var ErrDuration = errors.New("opus: wrong packet duration")

// coverShape returns TOC and M of a cover of duration d; m is 0 if there is none.
func coverShape(d time.Duration) (toc byte, m int) {
	switch d {
	case 10 * time.Millisecond:
		return coverTOC10, 1
	case 20 * time.Millisecond:
		return coverTOC20, 1
	case 40 * time.Millisecond:
		return coverTOC20, 2
	case 60 * time.Millisecond:
		return coverTOC20, 3
	}
	return 0, 0
}

// padLenLen returns how many bytes announce n bytes of padding: one up to 254,
// two up to 508, three up to 762.
func padLenLen(n int) int { return max(1, (n+253)/254) }

// CoverLen returns the length in bytes of a cover of duration d with paddingLen
// bytes of padding, or 0 if there is none.
func CoverLen(d time.Duration, paddingLen int) int {
	_, m := coverShape(d)
	if m == 0 || paddingLen < 0 {
		return 0
	}
	return 2 + padLenLen(paddingLen) + 2*m + paddingLen
}

// MaxCoverPadding returns the largest number of padding bytes with which a cover
// of duration d is not longer than total bytes, or -1 if there is none.
func MaxCoverPadding(d time.Duration, total int) int {
	_, m := coverShape(d)
	room := total - 2 - 2*m // for padlen and padding
	if m == 0 || room < 1 {
		return -1
	}
	// L+P <= room with L = ceil(P/254). At the first P of a longer L one byte of
	// room stays unused, because one more of padding costs two.
	return room - (room+254)/255
}

// AppendCover appends a cover of duration d (10, 20, 40 or 60 ms) that carries
// padding and returns the longer slice. Any other duration is ErrDuration, and
// dst comes back unchanged. padding must not overlap the free capacity of dst.
// It allocates only if that capacity is less than CoverLen.
func AppendCover(dst []byte, d time.Duration, padding []byte) ([]byte, error) {
	toc, m := coverShape(d)
	if m == 0 {
		return dst, ErrDuration
	}
	dst = append(dst, toc, coverPad|byte(m))
	n := len(padding)
	for ; n > 254; n -= 254 {
		dst = append(dst, 255)
	}
	dst = append(dst, byte(n))
	for range m {
		dst = append(dst, silence0, silence1)
	}
	return append(dst, padding...), nil
}

// ParseCover reports whether b is a cover, whole and in exactly the form that
// AppendCover writes, with its duration and its padding, which aliases b and may
// be empty. For every other input, silent or not, valid or not, ok is false.
func ParseCover(b []byte) (d time.Duration, padding []byte, ok bool) {
	if len(b) < 2 {
		return 0, nil, false
	}
	m := int(b[1] &^ coverPad)
	if b[1]&coverPad == 0 || m < 1 || m > 3 {
		return 0, nil, false
	}
	switch {
	case b[0] == coverTOC20:
		d = time.Duration(m) * 20 * time.Millisecond
	case b[0] == coverTOC10 && m == 1:
		d = 10 * time.Millisecond
	default:
		return 0, nil, false
	}
	n, used := paddingLen(b[2:])
	// A last byte 0 behind a 255 counts 254 in one byte more than needed: another
	// spelling of the same packet, which AppendCover never writes.
	if used == 0 || used != padLenLen(n) {
		return 0, nil, false
	}
	rest := b[2+used:]
	if len(rest) != 2*m+n {
		return 0, nil, false
	}
	for i := 0; i < 2*m; i += 2 {
		if rest[i] != silence0 || rest[i+1] != silence1 {
			return 0, nil, false
		}
	}
	return d, rest[2*m:], true
}
