package events

import (
	"encoding/json"
	"fmt"
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
)

// Serve starts a feed on a Unix socket at path, replacing what a guard that
// died has left there.
func Serve(path string) (*Feed, error) {
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("events: another guard serves %s", path)
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
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

// Publish hands one event to all readers. A reader too slow to follow is cut off.
func (f *Feed) Publish(e Event) {
	line, err := json.Marshal(e)
	if err != nil {
		return
	}
	line = append(line, '\n')
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remember(e)
	for r := range f.readers {
		select {
		case r.lines <- line:
		default:
			f.forget(r)
		}
	}
}

// remember keeps what a newcomer must know: the last of each state event, and
// nothing of a session that is over.
func (f *Feed) remember(e Event) {
	switch e.Event {
	case "listening", "connected", "joined", "gate":
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

// forget ends one reader; f.mu is held.
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
		if len(f.readers) >= maxReaders {
			f.mu.Unlock()
			conn.Close()
			continue
		}
		for _, e := range f.latest {
			if line, err := json.Marshal(e); err == nil {
				r.lines <- append(line, '\n')
			}
		}
		f.readers[r] = struct{}{}
		f.mu.Unlock()
		f.wg.Go(func() { f.serve(r) })
	}
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

// Close removes the socket and waits for all readers to have ended.
func (f *Feed) Close() {
	f.listener.Close()
	f.mu.Lock()
	for r := range f.readers {
		f.forget(r)
	}
	f.mu.Unlock()
	f.wg.Wait()
}
