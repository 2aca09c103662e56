package events_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/events"
)

// patience bounds what a test waits for something that must come.
const patience = 10 * time.Second

// socket returns a path that fits into a socket address, however long the name
// of the test is.
func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "feed")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "guard.sock")
}

// serve starts a feed and sees at the end that Close leaves nothing behind.
func serve(t *testing.T, path string) *events.Feed {
	t.Helper()
	before := runtime.NumGoroutine()
	f, err := events.Serve(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.Close()
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
		// A goroutine that has done its last step counts for a moment more.
		for end := time.Now().Add(patience); runtime.NumGoroutine() > before; runtime.Gosched() {
			if time.Now().After(end) {
				t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
				return
			}
		}
	})
	return f
}

// reader is one program at the socket.
type reader struct {
	net.Conn
	t     *testing.T
	lines *bufio.Reader
}

func connect(t *testing.T, path string) *reader {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(patience))
	return &reader{c, t, bufio.NewReader(c)}
}

func (r *reader) next() (events.Event, error) {
	line, err := r.lines.ReadBytes('\n')
	if err != nil {
		return events.Event{}, err
	}
	var e events.Event
	return e, json.Unmarshal(line, &e)
}

// want reads one event for each name.
func (r *reader) want(names ...string) []events.Event {
	r.t.Helper()
	var got []events.Event
	for _, name := range names {
		e, err := r.next()
		if err != nil || e.Event != name {
			r.t.Fatalf("got %+v, %v; want %q", e, err, name)
		}
		got = append(got, e)
	}
	return got
}

// joined waits until the feed has taken the reader in, by letting it read a
// mark that everybody gets.
func joined(t *testing.T, f *events.Feed, r *reader) {
	t.Helper()
	r.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	for end := time.Now().Add(patience); ; {
		f.Publish(events.Event{Event: "mark"})
		e, err := r.next()
		if err == nil && e.Event == "mark" {
			break
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(end) {
			t.Fatalf("got %+v, %v", e, err)
		}
		r.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	}
	r.SetReadDeadline(time.Now().Add(patience))
}

// wantAfterMarks is want for a reader that may have several marks before it.
func (r *reader) wantAfterMarks(name string) {
	r.t.Helper()
	for {
		e, err := r.next()
		if err != nil {
			r.t.Fatalf("%v; want %q", err, name)
		}
		if e.Event == name {
			return
		}
		if e.Event != "mark" {
			r.t.Fatalf("got %+v, want %q", e, name)
		}
	}
}

func TestSocketIsOnlyForItsOwner(t *testing.T) {
	path := socket(t)
	serve(t, path)
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("%v, %v; want a socket of mode 0600", info.Mode(), err)
	}
}

// TestSnapshot: who comes late learns where things stand, and nothing of a
// session that is over.
func TestSnapshot(t *testing.T) {
	holds := true
	rows := []struct {
		publish events.Event
		want    []string
	}{
		{events.Event{}, nil},
		{events.Event{Event: "listening", Port: 64738, Policy: "prefer"}, []string{"listening"}},
		{events.Event{Event: "client_refused", Reason: "no"}, []string{"listening"}},
		{events.Event{Event: "connected", Server: "1.5.735"}, []string{"listening", "connected"}},
		{events.Event{Event: "joined", Session: 5, Name: "alice"}, []string{"listening", "connected", "joined"}},
		{events.Event{Event: "gate", State: "Find", Leave: "nothing"}, []string{"listening", "connected", "joined", "gate"}},
		{events.Event{Event: "holder", Session: 7, Name: "bob", Holds: &holds}, []string{"listening", "connected", "joined", "gate"}},
		{events.Event{Event: "gate", State: "Typed", Leave: "ciphertext"}, []string{"listening", "connected", "joined", "gate"}},
		{events.Event{Event: "disconnected", Reason: "gone"}, []string{"listening"}},
		{events.Event{Event: "gate", State: "Find", Leave: "nothing"}, []string{"listening", "gate"}},
	}
	path := socket(t)
	f := serve(t, path)
	for i, row := range rows {
		f.Publish(row.publish)
		r := connect(t, path)
		got := r.want(row.want...)
		if n := slices.Index(row.want, row.publish.Event); n >= 0 {
			// The last of its kind, not the first.
			sent, _ := json.Marshal(row.publish)
			came, _ := json.Marshal(got[n])
			if string(sent) != string(came) {
				t.Errorf("step %d: %s, want %s", i, came, sent)
			}
		}
		// Nothing else stands between the snapshot and what happens next.
		joined(t, f, r)
		r.Close()
	}
}

func TestEachEventIsOneLineForEverybody(t *testing.T) {
	path := socket(t)
	f := serve(t, path)
	var all []*reader
	for range 3 {
		r := connect(t, path)
		joined(t, f, r)
		all = append(all, r)
	}
	f.Publish(events.Event{Event: "notice", Text: "two\nlines, \"quoted\", \x1b[2J and \u2028"})
	f.Publish(events.Event{Event: "played"})
	for _, r := range all {
		r.wantAfterMarks("notice")
		r.want("played")
	}
}

// TestSlowReader: one that does not read is cut off and holds up nobody.
func TestSlowReader(t *testing.T) {
	path := socket(t)
	f := serve(t, path)
	slow, quick := connect(t, path), connect(t, path)
	joined(t, f, slow)
	joined(t, f, quick)
	f.Publish(events.Event{Event: "begin"})
	quick.wantAfterMarks("begin")
	const n = 1000 // more than the backlog and any socket buffer hold
	text := strings.Repeat("x", 16<<10)
	for i := range n {
		f.Publish(events.Event{Event: "notice", Session: uint32(i + 1), Text: text})
		e, err := quick.next()
		if err != nil || e.Session != uint32(i+1) {
			t.Fatalf("the quick reader got %d, %v at %d", e.Session, err, i)
		}
	}
	got := 0
	for {
		_, err := slow.next()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the slow reader ends with %v", err)
			}
			break
		}
		got++
	}
	t.Logf("the slow reader got %d of %d lines", got, n)
	if got >= n {
		t.Error("the slow reader got everything, so this shows nothing")
	}
	f.Publish(events.Event{Event: "end"})
	quick.want("end")
}

// TestCloseDoesNotWaitForSlowReaders: neither for one that reads nothing, nor
// for one that reads a little now and then.
func TestCloseDoesNotWaitForSlowReaders(t *testing.T) {
	path := socket(t)
	f := serve(t, path)
	r := connect(t, path)
	joined(t, f, r)
	text := strings.Repeat("x", 64<<10)
	for range 100 { // more than a socket buffer, less than the backlog
		f.Publish(events.Event{Event: "notice", Text: text})
	}
	began := time.Now()
	f.Close()
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("Close took %v", d)
	}
}

// TestCloseDelivers: the last event is seldom the least.
func TestCloseDelivers(t *testing.T) {
	path := socket(t)
	f := serve(t, path)
	r := connect(t, path)
	joined(t, f, r)
	f.Publish(events.Event{Event: "disconnected", Reason: "over"})
	f.Close()
	r.wantAfterMarks("disconnected")
	if _, err := r.next(); err != io.EOF {
		t.Errorf("then %v, want EOF", err)
	}
}

// TestCloseWhileReadersCome: a reader that is accepted while the feed closes
// neither stays nor keeps Close from returning.
func TestCloseWhileReadersCome(t *testing.T) {
	path := socket(t)
	for range 200 {
		f, err := events.Serve(path)
		if err != nil {
			t.Fatal(err)
		}
		f.Publish(events.Event{Event: "listening"})
		dialled := make(chan net.Conn, 1)
		go func() {
			c, _ := net.Dial("unix", path)
			dialled <- c
		}()
		runtime.Gosched()
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			f.Close()
		}()
		select {
		case <-closed:
		case <-time.After(patience):
			t.Fatal("Close does not return")
		}
		if c := <-dialled; c != nil {
			c.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("the reader is kept")
			}
			c.Close()
		}
	}
}

// TestReadersThatLeftGiveUpTheirPlace: a program that looks at the snapshot now
// and then must not use up the places while nothing happens.
func TestReadersThatLeftGiveUpTheirPlace(t *testing.T) {
	path := socket(t)
	f := serve(t, path)
	f.Publish(events.Event{Event: "listening"})
	for i := range 100 {
		for end := time.Now().Add(patience); ; {
			r := connect(t, path)
			e, err := r.next()
			r.Close()
			if err == nil && e.Event == "listening" {
				break
			}
			if time.Now().After(end) { // the one before may need a moment to be missed
				t.Fatalf("reader %d: %+v, %v", i, e, err)
			}
		}
	}
}

func TestTooManyReaders(t *testing.T) {
	path := socket(t)
	f := serve(t, path)
	f.Publish(events.Event{Event: "listening"})
	var in, out int
	for range 40 {
		r := connect(t, path)
		switch _, err := r.next(); err {
		case nil:
			in++
		default: // closed at once, however the system words it
			out++
		}
	}
	if in != 16 || out != 24 {
		t.Errorf("%d readers let in and %d not, want 16 and 24", in, out)
	}
}

func TestServeRefuses(t *testing.T) {
	t.Run("a second guard", func(t *testing.T) {
		path := socket(t)
		f := serve(t, path)
		if second, err := events.Serve(path); !errors.Is(err, events.ErrServed) || second != nil {
			t.Fatalf("%v, %v", second, err)
		}
		// The first goes on.
		r := connect(t, path)
		joined(t, f, r)
	})
	t.Run("a path too long", func(t *testing.T) {
		path := filepath.Join(filepath.Dir(socket(t)), strings.Repeat("x", 200))
		if f, err := events.Serve(path); err == nil {
			f.Close()
			t.Error("a path of more than 200 bytes is served")
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("something is left: %v", err)
		}
	})
	t.Run("no directory", func(t *testing.T) {
		if f, err := events.Serve(filepath.Join(filepath.Dir(socket(t)), "none", "guard.sock")); err == nil {
			f.Close()
			t.Error("served in a directory that is not there")
		}
	})
	for _, tt := range []struct {
		name string
		make func(path string) error
	}{
		{"a file", func(path string) error { return os.WriteFile(path, []byte("precious"), 0o600) }},
		{"a directory", func(path string) error { return os.Mkdir(path, 0o700) }},
		{"a link", func(path string) error { return os.Symlink("elsewhere", path) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := socket(t)
			if err := tt.make(path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(path)
			f, err := events.Serve(path)
			if err == nil {
				f.Close()
			}
			after, statErr := os.Lstat(path)
			if !errors.Is(err, events.ErrNotSocket) || statErr != nil || !os.SameFile(before, after) {
				t.Errorf("%v; then %v", err, statErr)
			}
		})
	}
}

// TestStaleSocket: a guard that was killed leaves its socket behind.
func TestStaleSocket(t *testing.T) {
	path := socket(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatalf("no stale socket to try with: %v", err)
	}
	f := serve(t, path)
	f.Publish(events.Event{Event: "listening"})
	connect(t, path).want("listening")
}

// TestEventOmits: fields that do not belong to an event are left out, and those
// that may be false are not lost.
func TestEventOmits(t *testing.T) {
	no := false
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		e    events.Event
		want string
	}{
		{events.Event{Time: at, Event: "joined"}, `{"time":"2026-01-31T12:00:00Z","event":"joined"}`},
		{events.Event{Time: at, Event: "holder", Session: 3, Name: "bob", Holds: &no},
			`{"time":"2026-01-31T12:00:00Z","event":"holder","session":3,"name":"bob","holds":false}`},
		{events.Event{Time: at, Event: "text", Encrypted: &no, Text: "<b>"},
			`{"time":"2026-01-31T12:00:00Z","event":"text","encrypted":false,"text":"\u003cb\u003e"}`},
	} {
		if got, err := json.Marshal(tt.e); err != nil || string(got) != tt.want {
			t.Errorf("%s, %v; want %s", got, err, tt.want)
		}
	}
}

// BenchmarkPublish is what one event costs with a reader that follows.
func BenchmarkPublish(b *testing.B) {
	f, err := events.Serve(filepath.Join(b.TempDir(), "s"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	e := events.Event{Event: "gate", State: "Typed", Was: "Find", Leave: "ciphertext", Reason: "bob holds the secret"}
	b.ReportAllocs()
	for b.Loop() {
		f.Publish(e)
	}
}
