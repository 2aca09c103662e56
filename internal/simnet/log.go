package simnet

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
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

// describe names a message for the log, without its fields but for what tells
// two of a kind apart.
func describe(m proto.Message) string {
	switch m := m.(type) {
	case *mumblepb.PluginDataTransmission:
		return fmt.Sprintf("plugin from %d %q %d bytes %s", m.GetSenderSession(), m.GetDataID(), len(m.GetData()), digest(m.GetData()))
	case *mumblepb.TextMessage:
		return fmt.Sprintf("text from %d to %v %v %v %d bytes %s", m.GetActor(), m.GetSession(), m.GetChannelId(), m.GetTreeId(),
			len(m.GetMessage()), digest([]byte(m.GetMessage())))
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s %x", m.ProtoReflect().Descriptor().Name(), b)
}

func describeVoice(p *voice.Packet) string {
	return fmt.Sprintf("voice from %d target %d context %d frame %d %d bytes %s", p.Session, p.Target, p.Context, p.FrameNumber, len(p.Data), digest(p.Data))
}
