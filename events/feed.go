package events

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"
)

// Feed hands events to everybody who connects to a Unix socket of mode 0600:
// first where things stand, then each event as one line of JSON.
type Feed struct {
	listener net.Listener
	mu       sync.Mutex
	latest   []Event // the last of each kind that describes a state
	readers  map[*feedReader]struct{}
	closed   bool
	wg       sync.WaitGroup
}

type feedReader struct {
	conn  net.Conn
	lines chan []byte
}

const (
	maxReaders   = 16
	feedBacklog  = 256 // lines a slow reader may be behind
	feedDeadline = 5 * time.Second
	feedGrace    = 500 * time.Millisecond // for the last lines, at the end
)

// Errors of Serve.
var (
	ErrServed    = errors.New("events: another guard serves this socket")
	ErrNotSocket = errors.New("events: something that is no socket is in the way")
)

// Serve starts a feed on a Unix socket at path, replacing what a guard that
// died has left there. The errors are ErrServed, ErrNotSocket, and those of the
// operating system, which takes no path of more than about 100 bytes.
func Serve(path string) (*Feed, error) {
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("%w: %s", ErrServed, path)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	f := &Feed{listener: l, readers: map[*feedReader]struct{}{}}
	f.wg.Go(f.accept)
	return f, nil
}

// removeStale removes a socket that nobody serves. Anything else was not left
// by a guard and stays.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%w: %s", ErrNotSocket, path)
	}
	return os.Remove(path)
}

// Publish hands one event to all readers. A reader too slow to follow is cut off.
func (f *Feed) Publish(e Event) {
	line, err := e.Line()
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remember(e)
	for r := range f.readers {
		select {
		case r.lines <- line:
		default:
			f.forget(r)
			r.conn.Close() // a write to it may be under way
		}
	}
}

// remember keeps what a newcomer must know: the last of each state event, and
// nothing of a session that is over.
func (f *Feed) remember(e Event) {
	switch e.Event {
	case "listening", "connected", "joined", "gate", "roster", "question":
	case "disconnected":
		kept := f.latest[:0]
		for _, old := range f.latest {
			if old.Event == "listening" {
				kept = append(kept, old)
			}
		}
		f.latest = kept
		return
	default:
		return
	}
	for i := range f.latest {
		if f.latest[i].Event == e.Event {
			f.latest[i] = e
			return
		}
	}
	f.latest = append(f.latest, e)
}

// forget ends one reader once it has what is queued for it; f.mu is held.
func (f *Feed) forget(r *feedReader) {
	if _, ok := f.readers[r]; ok {
		delete(f.readers, r)
		close(r.lines)
	}
}

func (f *Feed) accept() {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return
		}
		r := &feedReader{conn, make(chan []byte, feedBacklog)}
		f.mu.Lock()
		if f.closed || len(f.readers) >= maxReaders {
			f.mu.Unlock()
			conn.Close()
			continue
		}
		for _, e := range f.latest {
			if line, err := e.Line(); err == nil {
				r.lines <- line
			}
		}
		f.readers[r] = struct{}{}
		f.mu.Unlock()
		f.wg.Go(func() { f.serve(r) })
		f.wg.Go(func() { f.watch(r) })
	}
}

// watch notices that a reader is gone, which no write does while nothing
// happens: it would keep its place from others. What it sends is of no interest.
func (f *Feed) watch(r *feedReader) {
	io.Copy(io.Discard, r.conn)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget(r)
}

func (f *Feed) serve(r *feedReader) {
	defer r.conn.Close()
	for line := range r.lines {
		r.conn.SetWriteDeadline(time.Now().Add(feedDeadline))
		if _, err := r.conn.Write(line); err != nil {
			f.mu.Lock()
			f.forget(r)
			f.mu.Unlock()
			for range r.lines {
			}
			return
		}
	}
}

// Close removes the socket and waits for all readers to have ended. They get
// what was published before, unless they are slow to take it.
func (f *Feed) Close() {
	f.listener.Close()
	var left []net.Conn
	f.mu.Lock()
	f.closed = true // a reader that was accepted just now comes too late
	for r := range f.readers {
		f.forget(r)
		left = append(left, r.conn)
	}
	f.mu.Unlock()
	slow := time.AfterFunc(feedGrace, func() {
		for _, c := range left {
			c.Close()
		}
	})
	defer slow.Stop()
	f.wg.Wait()
}
