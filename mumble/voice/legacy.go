package voice

import (
	"encoding/binary"
	"math"
)

const (
	legacyPing = 1 // number of the ping among the codecs

	lengthMask     = 0x1fff
	terminatorFlag = 0x2000

	positionSize = 3 * 4
)

// appendLegacy expects what Append has checked.
func appendLegacy(dst []byte, d Direction, p *Packet) ([]byte, error) {
	low := p.Target
	if d == ToClient {
		low = p.Context
	}
	switch p.Codec {
	case Opus:
	case CELTAlpha, Speex, CELTBeta:
		// Their payload says itself what is last and where; see Packet.Data.
		if p.Terminator || p.HasPosition {
			return dst, ErrCodec
		}
	default:
		return dst, ErrCodec
	}
	dst = append(dst, byte(p.Codec)<<5|low)
	if d == ToClient {
		dst = AppendVarint(dst, uint64(p.Session))
	}
	dst = AppendVarint(dst, p.FrameNumber)
	if p.Codec != Opus {
		return append(dst, p.Data...), nil
	}
	length := uint64(len(p.Data))
	if p.Terminator {
		length |= terminatorFlag
	}
	dst = AppendVarint(dst, length)
	dst = append(dst, p.Data...)
	if p.HasPosition {
		for _, v := range p.Position {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
		}
	}
	return dst, nil
}

// parseLegacy expects at least one byte and a reset packet.
func parseLegacy(b []byte, d Direction, p *Packet) error {
	switch codec := Codec(b[0] >> 5); codec {
	case CELTAlpha, Speex, CELTBeta, Opus:
		p.Codec = codec
	default:
		return ErrNotAudio
	}
	low := b[0] & 0x1f
	b = b[1:]
	if d == ToServer {
		p.Target = low
	} else {
		if low > ContextListener {
			return ErrContext
		}
		p.Context = low
		session, n, err := ParseVarint(b)
		if err != nil {
			return err
		}
		if session == 0 || session > math.MaxUint32 {
			return ErrSession
		}
		p.Session = uint32(session)
		b = b[n:]
	}
	number, n, err := ParseVarint(b)
	if err != nil {
		return err
	}
	p.FrameNumber = number
	b = b[n:]
	if p.Codec != Opus {
		p.Data = b
		return nil
	}
	return parseLegacyOpus(b, p)
}

func parseLegacyOpus(b []byte, p *Packet) error {
	length, n, err := ParseVarint(b)
	if err != nil {
		return err
	}
	if length > lengthMask|terminatorFlag {
		return ErrMalformed
	}
	b = b[n:]
	p.Terminator = length&terminatorFlag != 0
	size := int(length & lengthMask)
	if len(b) < size {
		return ErrShort
	}
	p.Data, b = b[:size:size], b[size:]

	// Anything but a whole position behind the payload makes 1.5 drop the
	// packet, while 1.3 passes it on: a place to hide data, so none.
	switch len(b) {
	case 0:
	case positionSize:
		p.HasPosition = true
		for i := range p.Position {
			p.Position[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
	default:
		return ErrTrailing
	}
	return nil
}
