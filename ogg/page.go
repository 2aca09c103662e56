package ogg

import (
	"encoding/binary"
	"errors"
	"io"
)

// Errors that damaged or foreign input causes. Errors from the underlying reader
// come through as they are; input that ends inside a page, a packet or the
// headers is io.ErrUnexpectedEOF.
var (
	ErrSync     = errors.New("ogg: no page where one must begin")
	ErrCRC      = errors.New("ogg: page checksum does not match")
	ErrSequence = errors.New("ogg: pages of the stream are missing or out of order")
	ErrPacket   = errors.New("ogg: packets do not fit the pages")
	ErrTooLong  = errors.New("ogg: packet too long")
	ErrNotOpus  = errors.New("ogg: no Opus stream")
	ErrChained  = errors.New("ogg: another stream begins inside this one")
)

const (
	flagContinued = 1
	flagBOS       = 2
	flagEOS       = 4

	pageHeaderLen = 27
	maxSegments   = 255
	maxPageBody   = maxSegments * 255

	noGranule = -1
)

// page is one page; segments and body alias buf.
type page struct {
	flags    byte
	granule  int64
	serial   uint32
	sequence uint32
	segments []byte
	body     []byte
	buf      []byte
}

// read reads exactly one page and no byte beyond it. io.EOF means that r ended
// before its first byte.
func (p *page) read(r io.Reader) error {
	p.buf = grow(p.buf, pageHeaderLen)
	if _, err := io.ReadFull(r, p.buf); err != nil {
		return err
	}
	// A version other than 0 is a format that RFC 3533 does not describe.
	if string(p.buf[:4]) != "OggS" || p.buf[4] != 0 {
		return ErrSync
	}
	n := int(p.buf[26])
	p.buf = grow(p.buf, pageHeaderLen+n)
	if err := readRest(r, p.buf[pageHeaderLen:]); err != nil {
		return err
	}
	size := 0
	for _, lacing := range p.buf[pageHeaderLen:] {
		size += int(lacing)
	}
	p.buf = grow(p.buf, pageHeaderLen+n+size)
	if err := readRest(r, p.buf[pageHeaderLen+n:]); err != nil {
		return err
	}
	h := p.buf
	sum := binary.LittleEndian.Uint32(h[22:])
	clear(h[22:26]) // the checksum is taken with its own field zero
	if crc(h) != sum {
		return ErrCRC
	}
	p.flags = h[5]
	p.granule = int64(binary.LittleEndian.Uint64(h[6:]))
	p.serial = binary.LittleEndian.Uint32(h[14:])
	p.sequence = binary.LittleEndian.Uint32(h[18:])
	p.segments = h[pageHeaderLen : pageHeaderLen+n]
	p.body = h[pageHeaderLen+n:]
	return nil
}

// grow returns b with length n, its first bytes kept.
func grow(b []byte, n int) []byte {
	if n <= cap(b) {
		return b[:n]
	}
	return append(b, make([]byte, n-len(b))...)
}

// readRest fills b; an end of input is never in place here.
func readRest(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// appendPage appends one page. It holds the lacing values in segments and body.
func appendPage(dst []byte, flags byte, granule int64, serial, sequence uint32, segments, body []byte) []byte {
	start := len(dst)
	dst = append(dst, "OggS\x00"...)
	dst = append(dst, flags)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(granule))
	dst = binary.LittleEndian.AppendUint32(dst, serial)
	dst = binary.LittleEndian.AppendUint32(dst, sequence)
	dst = append(dst, 0, 0, 0, 0, byte(len(segments)))
	dst = append(dst, segments...)
	dst = append(dst, body...)
	binary.LittleEndian.PutUint32(dst[start+22:], crc(dst[start:]))
	return dst
}

// crcTable is for the generator polynomial 0x04C11DB7, most significant bit
// first, no inversion (RFC 3533 section 6); hash/crc32 only has the reflected form.
var crcTable = func() (t [256]uint32) {
	for i := range t {
		c := uint32(i) << 24
		for range 8 {
			if c&(1<<31) != 0 {
				c = c<<1 ^ 0x04C11DB7
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}()

func crc(b []byte) (c uint32) {
	for _, x := range b {
		c = c<<8 ^ crcTable[byte(c>>24)^x]
	}
	return c
}
