package control

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

const (
	// HeaderSize is the number of bytes in front of a body.
	HeaderSize = 6

	// MaxLen is the longest body in bytes. Murmur and the client cut the
	// connection at the first longer one (Mumble src/Connection.cpp,
	// Connection::socketRead: 0x7FFFFF passes, 0x800000 does not).
	MaxLen = 8<<20 - 1

	// firstRead bounds what an announced length alone makes Reader allocate.
	firstRead = 4096
)

// A Frame is one message of the connection, not decoded.
type Frame struct {
	Type Type
	Body []byte
}

// ErrTooLong says that a body is longer than allowed. From Reader it comes
// before anything of the body was read.
type ErrTooLong struct {
	Type Type
	// Len and Limit are in bytes.
	Len   int64
	Limit int
}

// Error implements error.
func (e *ErrTooLong) Error() string {
	return fmt.Sprintf("control: %v of %d bytes exceeds the limit of %d", e.Type, e.Len, e.Limit)
}

// AppendFrame appends header and body to dst. It does not look at the length:
// a body longer than MaxLen makes the peer cut the connection.
func AppendFrame(dst []byte, t Type, body []byte) []byte {
	dst = appendHeader(dst, t, len(body))
	return append(dst, body...)
}

func appendHeader(dst []byte, t Type, n int) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(t))
	return binary.BigEndian.AppendUint32(dst, uint32(n))
}

// A Reader takes frames from a stream. Not safe for concurrent use.
type Reader struct {
	r      *bufio.Reader
	limit  int
	err    error
	header [HeaderSize]byte
}

// NewReader returns a Reader that refuses bodies longer than limit bytes; a
// limit outside 1..MaxLen means MaxLen. It may read ahead of the frame it
// returns, so nothing else should read from r afterwards.
func NewReader(r io.Reader, limit int) *Reader {
	cr := &Reader{r: bufio.NewReaderSize(r, firstRead)}
	cr.SetLimit(limit)
	return cr
}

// SetLimit changes the limit for the frames that follow. A server keeps it low
// until the peer has logged in.
func (r *Reader) SetLimit(limit int) {
	if limit < 1 || limit > MaxLen {
		limit = MaxLen
	}
	r.limit = limit
}

// Next returns the next frame; its body belongs to the caller. Memory grows
// with the bytes that really arrive, never with the length they announce.
//
// It returns io.EOF if the stream ends between frames, io.ErrUnexpectedEOF if
// it ends inside one, an *ErrTooLong for a body over the limit, else what the
// stream returned. An error is final: frames cannot be found again in the
// middle of a stream, so every later call returns it too.
func (r *Reader) Next() (Frame, error) {
	if r.err != nil {
		return Frame{}, r.err
	}
	f, err := r.next()
	r.err = err
	return f, err
}

func (r *Reader) next() (Frame, error) {
	h := r.header[:]
	if _, err := io.ReadFull(r.r, h); err != nil {
		return Frame{}, err // io.EOF only if not one byte came
	}
	t := Type(binary.BigEndian.Uint16(h))
	length := binary.BigEndian.Uint32(h[2:])
	if int64(length) > int64(r.limit) {
		return Frame{}, &ErrTooLong{Type: t, Len: int64(length), Limit: r.limit}
	}
	body, err := r.readBody(int(length))
	if err != nil {
		return Frame{}, err
	}
	return Frame{Type: t, Body: body}, nil
}

// readBody reads n bytes into a slice that doubles as it fills.
func (r *Reader) readBody(n int) ([]byte, error) {
	body := make([]byte, min(n, firstRead))
	for at := 0; ; {
		m, err := io.ReadFull(r.r, body[at:])
		if err == io.EOF && n > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		at += m
		if at == n {
			return body, nil
		}
		grown := make([]byte, min(n, 2*len(body)))
		copy(grown, body)
		body = grown
	}
}
