package ogg

import (
	"errors"
	"io"
	"time"

	"github.com/sotto-voip/sotto/opus"
)

// Errors of Writer.
var (
	ErrGranule = errors.New("ogg: granule position goes backwards or begins too early")
	ErrClosed  = errors.New("ogg: stream is closed")
)

// Writer writes one Ogg Opus stream. Each packet is on its way before
// WritePacket returns: it gets a page of its own (two or more if it is longer
// than 65 024 bytes), handed to the io.Writer in one Write. A recording that is
// cut off therefore lacks only its end-of-stream page, which players do without.
// The price is 28 to 31 bytes for each packet.
//
// After an error of the io.Writer all further calls return it. Not safe for
// concurrent use.
type Writer struct {
	w        io.Writer
	head     Head
	serial   uint32
	sequence uint32
	granule  int64 // of the last packet; -1 before the first
	err      error
	buf      []byte
}

// Samples returns how many samples of 48 kHz d lasts, rounded down: by so much a
// packet of duration d moves the granule position.
func Samples(d time.Duration) int64 { return int64(d) * (SampleRate / 1000) / int64(time.Millisecond) }

// NewWriter writes the headers h and t to w and returns the Writer for the
// packets. serial should be random, so that files can be joined. It returns
// ErrHead or ErrTooLong (tags above MaxTags bytes) before it writes anything.
func NewWriter(w io.Writer, serial uint32, h Head, t Tags) (*Writer, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	if t.size() > MaxTags {
		return nil, ErrTooLong
	}
	o := &Writer{w: w, head: h, serial: serial, granule: noGranule}
	o.appendPacket(flagBOS, h.append(nil), 0)
	o.appendPacket(0, t.append(nil), 0)
	if err := o.flush(); err != nil {
		return nil, err
	}
	return o, nil
}

// WritePacket writes the Opus packet data, whose last sample is number granule of
// the stream, in samples at 48 kHz and with the pre-skip. Granule positions may
// jump ahead, where something was lost, but never go back, and the first is at
// least the length of its packet (RFC 7845 section 4.5). The data is written as
// it is; with mapping family 0 it must parse (package opus), so that a recording
// holds nothing that players choke on. After such a refusal the Writer goes on.
func (o *Writer) WritePacket(data []byte, granule int64) error {
	if o.err != nil {
		return o.err
	}
	if len(data) > MaxPacket {
		return ErrTooLong
	}
	first := int64(0)
	if o.head.MappingFamily == 0 {
		d, err := opus.Duration(data)
		if err != nil {
			return err
		}
		first = Samples(d)
	}
	if granule < o.granule || o.granule == noGranule && granule < first {
		return ErrGranule
	}
	o.granule = granule
	o.appendPacket(0, data, granule)
	return o.flush()
}

// Close ends the stream with an empty page that carries the end-of-stream flag
// (RFC 3533 section 4 allows it); it does not close the io.Writer. Further calls
// return ErrClosed.
func (o *Writer) Close() error {
	if o.err != nil {
		return o.err
	}
	// "A special value of '-1' (in two's complement) indicates that no packets
	// finish on this page" (RFC 3533 section 6).
	o.buf = appendPage(o.buf, flagEOS, noGranule, o.serial, o.sequence, nil, nil)
	err := o.flush()
	if err == nil {
		o.err = ErrClosed
	}
	return err
}

// appendPacket puts data on pages of its own.
func (o *Writer) appendPacket(flags byte, data []byte, granule int64) {
	for {
		// A whole page of 255s goes on on the next one, which is empty but for a
		// lacing value of 0 if data ends just there.
		n := min(len(data), maxPageBody)
		var lacing [maxSegments]byte
		count := n / 255
		for i := range count {
			lacing[i] = 255
		}
		at := int64(noGranule)
		last := count < maxSegments
		if last {
			lacing[count] = byte(n % 255)
			count++
			at = granule
		}
		o.buf = appendPage(o.buf, flags, at, o.serial, o.sequence, lacing[:count], data[:n])
		o.sequence++
		if last {
			return
		}
		data = data[n:]
		flags = flags&^flagBOS | flagContinued
	}
}

// flush writes what has been put on pages, in one Write.
func (o *Writer) flush() error {
	_, err := o.w.Write(o.buf)
	o.buf = o.buf[:0]
	if err != nil {
		o.err = err
	}
	return err
}
