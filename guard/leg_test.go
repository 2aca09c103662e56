package guard_test

import (
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// leg is one control connection of a script: at the server, or at the client.
type leg struct {
	t      *testing.T
	conn   *client.Conn
	frames chan control.Frame
	own    func(*leg, control.Frame) bool // takes what is not the test's
	cert   []byte                         // the peer's, DER
	fence  uint32
}

// newLeg reads frames into a channel with room, so that scripts need no goroutines.
func newLeg(t *testing.T, nc net.Conn, own func(*leg, control.Frame) bool) *leg {
	l := &leg{t: t, conn: client.NewConn(nc), frames: make(chan control.Frame, 4096), own: own}
	l.conn.Authenticated()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(l.frames)
		for f := range l.conn.Frames() {
			if l.own == nil || !l.own(l, f) {
				l.frames <- f
			}
		}
	}()
	t.Cleanup(func() {
		l.conn.Close(0)
		<-done
	})
	return l
}

// send queues messages. That the peer has gone shows where its answer is awaited.
func (l *leg) send(messages ...proto.Message) {
	for _, m := range messages {
		l.conn.SendMessage(m)
	}
}

// next returns the next frame, or fails.
func (l *leg) next() control.Frame {
	l.t.Helper()
	select {
	case f, ok := <-l.frames:
		if !ok {
			l.t.Fatalf("the connection ended: %v", l.conn.Err())
		}
		return f
	case <-time.After(patience):
		l.t.Fatal("nothing comes")
	}
	panic("unreachable")
}

// until returns the next message of type T and what came before it.
func until[T proto.Message](l *leg) (T, []control.Frame) {
	l.t.Helper()
	var before []control.Frame
	for {
		f := l.next()
		if m, err := control.Decode(f); err == nil {
			if m, ok := m.(T); ok {
				return m, before
			}
		}
		before = append(before, f)
	}
}

// ended waits until the peer has closed, and returns what came before.
func (l *leg) ended() []control.Frame {
	l.t.Helper()
	var before []control.Frame
	for {
		select {
		case f, ok := <-l.frames:
			if !ok {
				return before
			}
			before = append(before, f)
		case <-time.After(patience):
			l.t.Fatal("the connection does not end")
		}
	}
}

// fenced sends messages from one leg and returns what reaches the other because of
// them: QueryUsers passes both ways and marks the end.
func fenced(from, to *leg, send func()) []control.Frame {
	from.t.Helper()
	from.fence++
	mark := 1_000_000 + from.fence
	send()
	from.send(&mumblepb.QueryUsers{Ids: []uint32{mark}})
	var got []control.Frame
	for {
		f := to.next()
		if f.Type == control.TypeQueryUsers {
			if m, err := control.Decode(f); err == nil && slices.Equal(m.(*mumblepb.QueryUsers).GetIds(), []uint32{mark}) {
				return got
			}
		}
		got = append(got, f)
	}
}
