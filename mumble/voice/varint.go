package voice

import "encoding/binary"

// AppendVarint appends v in Mumble's own variable-length form, which is not
// protobuf's (Mumble src/PacketDataStream.h, operator<<(quint64)):
//
//	0xxxxxxx                    7 bits
//	10xxxxxx + 1 byte          14 bits
//	110xxxxx + 2 bytes         21 bits
//	1110xxxx + 3 bytes         28 bits
//	11110000 + 4 bytes         32 bits
//	11110100 + 8 bytes         64 bits
//	11111000 + such a number   its complement
//	111111xx                   the complement of xx
//
// all big endian. The last two hold small negative numbers, as two's complement
// of 64 bits: v from 2^64-2^32 on.
func AppendVarint(dst []byte, v uint64) []byte {
	if n := ^v; n < 1<<32 {
		if n < 4 {
			return append(dst, 0xfc|byte(n))
		}
		return appendPositive(append(dst, 0xf8), n)
	}
	return appendPositive(dst, v)
}

func appendPositive(dst []byte, v uint64) []byte {
	switch {
	case v < 1<<7:
		return append(dst, byte(v))
	case v < 1<<14:
		return append(dst, 0x80|byte(v>>8), byte(v))
	case v < 1<<21:
		return append(dst, 0xc0|byte(v>>16), byte(v>>8), byte(v))
	case v < 1<<28:
		return append(dst, 0xe0|byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	case v < 1<<32:
		return binary.BigEndian.AppendUint32(append(dst, 0xf0), uint32(v))
	default:
		return binary.BigEndian.AppendUint64(append(dst, 0xf4), v)
	}
}

// ParseVarint reads a number from the front of b and returns it and the bytes it
// took. Forms longer than needed are read, as upstream reads them. A complement
// of a complement is ErrMalformed: no sender writes it, and upstream needs a
// recursion limit for it.
func ParseVarint(b []byte) (v uint64, n int, err error) {
	if len(b) == 0 {
		return 0, 0, ErrShort
	}
	switch b[0] & 0xfc {
	case 0xf8:
		if len(b) > 1 && b[1] >= 0xf8 {
			return 0, 0, ErrMalformed
		}
		v, n, err = parsePositive(b[1:])
		if err != nil {
			return 0, 0, err
		}
		return ^v, n + 1, nil
	case 0xfc:
		return ^uint64(b[0] & 3), 1, nil
	}
	return parsePositive(b)
}

// parsePositive reads the forms that begin with less than 0xf8.
func parsePositive(b []byte) (v uint64, n int, err error) {
	if len(b) == 0 {
		return 0, 0, ErrShort
	}
	first := b[0]
	switch {
	case first < 0x80:
		return uint64(first), 1, nil
	case first < 0xc0:
		n, v = 2, uint64(first&0x3f)
	case first < 0xe0:
		n, v = 3, uint64(first&0x1f)
	case first < 0xf0:
		n, v = 4, uint64(first&0x0f)
	case first < 0xf4:
		n = 5
	default:
		n = 9
	}
	if len(b) < n {
		return 0, 0, ErrShort
	}
	for _, c := range b[1:n] {
		v = v<<8 | uint64(c)
	}
	return v, n, nil
}
