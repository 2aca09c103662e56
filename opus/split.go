package opus

import "time"

// splitUnit is the shortest packet that Split makes, and what Mumble counts in.
const splitUnit = 10 * time.Millisecond

// Split cuts a packet of several frames into packets of one frame each, or, of
// frames shorter than 10 ms, of 10 ms each (code 3, variable length), without a
// codec: a frame stands for itself (RFC 6716 section 3.2). It returns them with the
// length of each. Padding is lost. A packet that is already so short comes back
// alone; one that is no multiple of 10 ms is ErrUneven.
func Split(b []byte) (parts [][]byte, each time.Duration, err error) {
	var p Packet
	if err := Parse(b, &p); err != nil {
		return nil, 0, err
	}
	each, n := p.TOC.FrameDuration(), 1
	if each < splitUnit {
		n = int(splitUnit / each)
		each = splitUnit
	}
	if p.Len()%n != 0 {
		return nil, 0, ErrUneven
	}
	if p.Len() == n {
		return [][]byte{b}, each, nil
	}
	for i := 0; i < p.Len(); i += n {
		parts = append(parts, p.part(i, n))
	}
	return parts, each, nil
}

// part writes n frames from frame i on as a packet: one with code 0, several with
// code 3 (section 3.2.5).
func (p *Packet) part(i, n int) []byte {
	toc := byte(p.TOC) &^ 3
	if n == 1 {
		return append([]byte{toc}, p.Frame(i)...)
	}
	out := []byte{toc | 3, 0x80 | byte(n)} // variable, without padding
	for k := i; k < i+n-1; k++ {
		out = appendFrameLen(out, len(p.Frame(k)))
	}
	for k := i; k < i+n; k++ {
		out = append(out, p.Frame(k)...)
	}
	return out
}

// appendFrameLen writes a frame length in one byte, or two from 252 on (section
// 3.2.1): the first is 252 and the length modulo 4, the second counts fours.
func appendFrameLen(dst []byte, n int) []byte {
	if n < 252 {
		return append(dst, byte(n))
	}
	first := 252 + n%4
	return append(dst, byte(first), byte((n-first)/4))
}
