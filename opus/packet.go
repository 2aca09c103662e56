package opus

import (
	"errors"
	"time"
)

// Limits of RFC 6716.
const (
	// MaxFrames is the largest number of frames in a packet: 120 ms of 2.5 ms.
	MaxFrames = 48
	// MaxFrameLen is the largest length of one frame in bytes (section 3.2.1).
	MaxFrameLen = 1275
	// MaxDuration is the longest packet (section 3.2.5).
	MaxDuration = 120 * time.Millisecond
)

// Errors of Parse, one for each requirement of RFC 6716 section 3.4.
var (
	ErrEmpty        = errors.New("opus: packet without a TOC byte (R1)")
	ErrFrameLen     = errors.New("opus: implicit frame length above 1275 bytes (R2)")
	ErrOddFrames    = errors.New("opus: two equal frames do not share an odd number of bytes (R3)")
	ErrFirstFrame   = errors.New("opus: first of two frames has no valid length (R4)")
	ErrFrameCount   = errors.New("opus: no frames, or more than 120 ms of them (R5)")
	ErrConstantRate = errors.New("opus: frames of one length do not fit the packet (R6)")
	ErrVariableRate = errors.New("opus: frames with lengths do not fit the packet (R7)")
)

// Packet is a parsed packet. It aliases the bytes given to Parse and is valid as
// long as they are unchanged. The zero value is a packet without frames; one
// Packet can be filled by Parse again and again. Not safe for concurrent use
// while it is being filled.
type Packet struct {
	// TOC is the first byte.
	TOC TOC
	// VBR is the v bit of a code 3 packet: each frame has a length of its own.
	VBR bool
	// Padding is the padding data of a code 3 packet, without the bytes that
	// count it. It is nil if the p bit is clear, else not nil but perhaps empty.
	Padding []byte

	body []byte            // the frames, back to back
	ends [MaxFrames]uint16 // where in body each frame ends; 48*1275 fits
	n    int
}

// Len returns the number of frames, 1 to 48 after a successful Parse.
func (p *Packet) Len() int { return p.n }

// Frame returns frame i, 0 <= i < Len, of 0 to 1275 bytes. A frame of 0 bytes
// means "nothing sent" (section 3.2.1: DTX or loss). It panics if i is out of
// range, as a slice does.
func (p *Packet) Frame(i int) []byte {
	start := 0
	ends := p.ends[:p.n]
	if i > 0 {
		start = int(ends[i-1])
	}
	end := int(ends[i])
	return p.body[start:end:end]
}

// Frames calls yield with the frames in order until it returns false; it has
// the shape that range takes.
func (p *Packet) Frames(yield func(i int, frame []byte) bool) {
	for i := range p.n {
		if !yield(i, p.Frame(i)) {
			return
		}
	}
}

// Duration returns the length of the whole packet, 2.5 to 120 ms.
func (p *Packet) Duration() time.Duration {
	return time.Duration(p.n) * p.TOC.FrameDuration()
}

// Parse reads b into p. It accepts exactly the packets that meet requirements R1
// to R7 of RFC 6716 section 3.4 and returns one of the errors above otherwise; p
// then has no meaning. It does not allocate.
func Parse(b []byte, p *Packet) error {
	if len(b) == 0 {
		return ErrEmpty
	}
	p.TOC, p.VBR, p.Padding, p.body, p.n = TOC(b[0]), false, nil, nil, 0
	rest := b[1:]
	switch p.TOC.Code() {
	case 0:
		return p.equal(rest, 1)
	case 1:
		if len(rest)%2 != 0 {
			return ErrOddFrames
		}
		return p.equal(rest, 2)
	case 2:
		size, used := frameLen(rest)
		if used == 0 || size > len(rest)-used {
			return ErrFirstFrame
		}
		p.body = rest[used:]
		p.add(size)
		return p.last()
	default:
		return p.counted(rest)
	}
}

// Duration returns the length of the packet b, or why it is none.
func Duration(b []byte) (time.Duration, error) {
	var p Packet
	if err := Parse(b, &p); err != nil {
		return 0, err
	}
	return p.Duration(), nil
}

// counted reads a code 3 packet from its frame count byte on (section 3.2.5):
// v, p, six bits M.
func (p *Packet) counted(rest []byte) error {
	if len(rest) == 0 {
		return ErrConstantRate // R6: at least two bytes
	}
	count, m := rest[0], int(rest[0]&0x3F)
	rest = rest[1:]
	p.VBR = count&0x80 != 0
	misfit := ErrConstantRate
	if p.VBR {
		misfit = ErrVariableRate
	}
	if m == 0 || time.Duration(m)*p.TOC.FrameDuration() > MaxDuration {
		return ErrFrameCount
	}
	if count&0x40 != 0 {
		padding, used := paddingLen(rest)
		if used == 0 || padding > len(rest)-used {
			return misfit
		}
		rest = rest[used:]
		p.Padding = rest[len(rest)-padding:]
		rest = rest[:len(rest)-padding]
	}
	if !p.VBR {
		if len(rest)%m != 0 {
			return ErrConstantRate
		}
		return p.equal(rest, m)
	}
	return p.variable(rest, m)
}

// variable reads m-1 lengths and then the frames; the last takes what is left.
func (p *Packet) variable(rest []byte, m int) error {
	var sizes [MaxFrames]int
	total := 0
	for i := range m - 1 {
		size, used := frameLen(rest)
		if used == 0 {
			return ErrVariableRate
		}
		sizes[i] = size
		total += size
		rest = rest[used:]
	}
	if total > len(rest) {
		return ErrVariableRate
	}
	p.body = rest
	for _, size := range sizes[:m-1] {
		p.add(size)
	}
	return p.last()
}

// equal cuts body into m frames of one length, which the caller knows to divide it.
func (p *Packet) equal(body []byte, m int) error {
	size := len(body) / m
	if size > MaxFrameLen {
		return ErrFrameLen
	}
	p.body = body
	for range m {
		p.add(size)
	}
	return nil
}

// last makes a frame of all that is left of body.
func (p *Packet) last() error {
	size := len(p.body)
	if p.n > 0 {
		size -= int(p.ends[p.n-1])
	}
	if size > MaxFrameLen {
		return ErrFrameLen
	}
	p.add(size)
	return nil
}

func (p *Packet) add(size int) {
	if p.n > 0 {
		size += int(p.ends[p.n-1])
	}
	p.ends[p.n] = uint16(size)
	p.n++
}

// frameLen reads a frame length of one or two bytes (section 3.2.1) and returns
// how many it used: 0 if b is too short. The largest value is 255*4+255 = 1275,
// so an explicit length never breaks R2.
func frameLen(b []byte) (size, used int) {
	switch {
	case len(b) == 0:
		return 0, 0
	case b[0] < 252:
		return int(b[0]), 1
	case len(b) == 1:
		return 0, 0
	default:
		return int(b[1])*4 + int(b[0]), 2
	}
}

// paddingLen reads the padding length of section 3.2.5 and returns how many
// bytes it used: 0 if b ends first. padding is less than 255*len(b).
func paddingLen(b []byte) (padding, used int) {
	for i, c := range b {
		if c != 255 {
			return padding + int(c), i + 1
		}
		padding += 254
	}
	return 0, 0
}
