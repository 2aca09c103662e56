package voice

import (
	"encoding/binary"
	"math"
)

// First byte of a datagram (Mumble src/MumbleProtocol.h, UDPMessageType).
const (
	protobufAudio = 0
	protobufPing  = 1
)

// Wire types of protobuf.
const (
	wireVarint = 0
	wireI64    = 1
	wireBytes  = 2
	wireI32    = 5
)

// maxFieldNumber is protobuf's.
const maxFieldNumber = 1<<29 - 1

// The tag of field 16 takes two bytes.
const (
	terminatorTag0 = 0x80 | (16<<3|wireVarint)&0x7f
	terminatorTag1 = 16 << 3 >> 7
)

// appendProtobuf expects what Append has checked. Fields stand in the order in
// which the stock client and Murmur write them (Mumble src/MumbleProtocol.cpp,
// prepareAudioPacket_protobuf, updateAudioPacket_protobuf), so that packets do
// not differ from theirs.
func appendProtobuf(dst []byte, d Direction, p *Packet) ([]byte, error) {
	if p.Codec != Opus {
		return dst, ErrCodec
	}
	if len(p.Data) == 0 {
		return dst, ErrEmpty
	}
	dst = append(dst, protobufAudio)
	if d == ToClient {
		dst = appendUint(dst, 3, uint64(p.Session))
	}
	if p.FrameNumber != 0 {
		dst = appendUint(dst, 4, p.FrameNumber)
	}
	dst = append(dst, 5<<3|wireBytes)
	dst = binary.AppendUvarint(dst, uint64(len(p.Data)))
	dst = append(dst, p.Data...)
	if p.Terminator {
		dst = append(dst, terminatorTag0, terminatorTag1, 1)
	}
	if p.HasPosition {
		dst = append(dst, 6<<3|wireBytes, positionSize)
		for _, v := range p.Position {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
		}
	}
	if d == ToServer {
		return appendUint(dst, 1, uint64(p.Target)), nil
	}
	if p.HasVolume {
		if !finite(p.Volume) {
			return dst, ErrMalformed
		}
		if p.Volume != 0 { // 0 is how proto3 says absent
			dst = append(dst, 7<<3|wireI32)
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(p.Volume))
		}
	}
	// Written even if 0: in a oneof that is not the same as absent.
	return appendUint(dst, 2, uint64(p.Context)), nil
}

// appendUint appends a varint field with a number below 16.
func appendUint(dst []byte, number byte, v uint64) []byte {
	return binary.AppendUvarint(append(dst, number<<3|wireVarint), v)
}

// A field is one field of a protobuf message. v holds a number of any wire type,
// bytes the content of wireBytes.
type field struct {
	number uint32
	wire   uint8
	v      uint64
	bytes  []byte
}

// nextField takes the first field from b. Groups, which proto3 does not have,
// are ErrMalformed.
func nextField(b []byte) (f field, rest []byte, err error) {
	tag, n := binary.Uvarint(b)
	if n <= 0 {
		return field{}, nil, uvarintError(n)
	}
	b = b[n:]
	if tag>>3 == 0 || tag>>3 > maxFieldNumber {
		return field{}, nil, ErrMalformed
	}
	f.number, f.wire = uint32(tag>>3), uint8(tag&7)
	switch f.wire {
	case wireVarint, wireBytes:
		f.v, n = binary.Uvarint(b)
		if n <= 0 {
			return field{}, nil, uvarintError(n)
		}
		b = b[n:]
		if f.wire == wireBytes {
			if f.v > uint64(len(b)) {
				return field{}, nil, ErrShort
			}
			f.bytes, b = b[:f.v:f.v], b[f.v:]
		}
	case wireI32:
		if len(b) < 4 {
			return field{}, nil, ErrShort
		}
		f.v, b = uint64(binary.LittleEndian.Uint32(b)), b[4:]
	case wireI64:
		if len(b) < 8 {
			return field{}, nil, ErrShort
		}
		f.v, b = binary.LittleEndian.Uint64(b), b[8:]
	default:
		return field{}, nil, ErrMalformed
	}
	return f, b, nil
}

func uvarintError(n int) error {
	if n == 0 {
		return ErrShort
	}
	return ErrMalformed // more than 64 bits
}

// parseProtobuf expects at least one byte and a reset packet. As in any
// protobuf, a field may come twice, then the last one counts, and a field of
// unknown number or wire type is skipped. A session or volume in a packet to
// the server is skipped too; the server knows better.
func parseProtobuf(b []byte, d Direction, p *Packet) error {
	if b[0] != protobufAudio {
		return ErrNotAudio
	}
	p.Codec = Opus
	positions := 0
	for b = b[1:]; len(b) > 0; {
		f, rest, err := nextField(b)
		if err != nil {
			return err
		}
		b = rest
		switch {
		case f.number == 1 && f.wire == wireVarint:
			if d != ToServer {
				return ErrMalformed
			}
			if f.v > TargetLoopback {
				return ErrTarget
			}
			p.Target = uint8(f.v)
		case f.number == 2 && f.wire == wireVarint:
			if d != ToClient {
				return ErrMalformed
			}
			if f.v > ContextListener {
				return ErrContext
			}
			p.Context = uint8(f.v)
		case f.number == 3 && f.wire == wireVarint && d == ToClient:
			if f.v > math.MaxUint32 {
				return ErrSession
			}
			p.Session = uint32(f.v)
		case f.number == 4 && f.wire == wireVarint:
			p.FrameNumber = f.v
		case f.number == 5 && f.wire == wireBytes:
			p.Data = f.bytes
		case f.number == 6 && (f.wire == wireBytes || f.wire == wireI32):
			if positions, err = parsePosition(p, positions, &f); err != nil {
				return err
			}
		case f.number == 7 && f.wire == wireI32 && d == ToClient:
			p.Volume = math.Float32frombits(uint32(f.v))
		case f.number == 16 && f.wire == wireVarint:
			p.Terminator = f.v != 0
		}
	}
	return checkProtobuf(d, p, positions)
}

// parsePosition adds what f holds to the n numbers known: all of them packed
// together, or one by one.
func parsePosition(p *Packet, n int, f *field) (int, error) {
	if f.wire == wireI32 {
		if n == len(p.Position) {
			return n, ErrMalformed
		}
		p.Position[n] = math.Float32frombits(uint32(f.v))
		return n + 1, nil
	}
	if len(f.bytes)%4 != 0 || len(f.bytes)/4 > len(p.Position)-n {
		return n, ErrMalformed
	}
	for at := 0; at < len(f.bytes); at += 4 {
		p.Position[n] = math.Float32frombits(binary.LittleEndian.Uint32(f.bytes[at:]))
		n++
	}
	return n, nil
}

func checkProtobuf(d Direction, p *Packet, positions int) error {
	if len(p.Data) == 0 {
		return ErrEmpty
	}
	if d == ToClient && p.Session == 0 {
		return ErrSession
	}
	switch positions {
	case 0:
	case len(p.Position):
		p.HasPosition = true
	default:
		return ErrMalformed
	}
	// A volume that is no number reaches the listener's mixer as it is.
	if !finite(p.Volume) {
		return ErrMalformed
	}
	p.HasVolume = p.Volume != 0
	return nil
}
