package simnet

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// log writes one line per event, with the virtual time in front. A nil log
// writes nothing and costs one comparison.
type log struct {
	clock *Clock
	w     io.Writer
	buf   bytes.Buffer
}

func newLog(c *Clock, w io.Writer) *log {
	if w == nil {
		return nil
	}
	return &log{clock: c, w: w}
}

// line writes "seconds.nanoseconds who what". A writer that fails ends the run,
// because the log would claim to be whole.
func (l *log) line(who, format string, args ...any) {
	if l == nil {
		return
	}
	l.buf.Reset()
	d := l.clock.Elapsed()
	fmt.Fprintf(&l.buf, "%d.%09d %s ", d/1e9, d%1e9, who)
	fmt.Fprintf(&l.buf, format, args...)
	l.buf.WriteByte('\n')
	if _, err := l.w.Write(l.buf.Bytes()); err != nil {
		l.clock.fail(err)
	}
}

// digest is enough of a hash to tell two byte strings apart in a log.
func digest(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:6])
}
