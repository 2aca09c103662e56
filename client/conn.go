package client

import (
	"bufio"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/control"
)

// Bounds of one control connection.
const (
	// MaxBufferedBefore is what a peer may make us buffer before it is
	// authenticated, MaxBufferedAfter what it may afterwards; bytes.
	MaxBufferedBefore = 1 << 20
	MaxBufferedAfter  = control.MaxLen

	writeTimeout   = 15 * time.Second
	alertTimeout   = 200 * time.Millisecond // for the last word of TLS
	maxVoiceBehind = 32 << 10               // bytes queued beyond which tunnelled voice is dropped
)

// Errors that end a Conn.
var (
	ErrSlowPeer = errors.New("client: the peer does not take what is sent to it")
	ErrClosed   = errors.New("client: connection closed")
)

// Conn is a framed control connection. One goroutine reads, one writes; both
// have ended when Close returns. Send may be called from any goroutine.
type Conn struct {
	net    net.Conn
	frames chan control.Frame
	done   chan struct{} // closed by Close and by the first failure
	limit  atomic.Int64

	mu      sync.Mutex
	queue   []byte        // frames not yet given to the network
	closing bool          // the writer ends once the queue is empty
	wake    chan struct{} // one token: there is something to do for the writer

	fail sync.Once
	err  error // why it ended; read after done
	wg   sync.WaitGroup
}

// NewConn starts reading and writing on nc, which it owns from now on. Frames
// longer than MaxBufferedBefore end the connection until Authenticated is called.
func NewConn(nc net.Conn) *Conn {
	c := &Conn{
		net: nc,
		// Unbuffered: what was read but not taken is one frame, never more.
		frames: make(chan control.Frame),
		done:   make(chan struct{}),
		wake:   make(chan struct{}, 1),
	}
	c.limit.Store(MaxBufferedBefore)
	c.wg.Add(2)
	go c.read()
	go c.write()
	return c
}

// Authenticated raises the bounds to those of a peer that has logged in.
func (c *Conn) Authenticated() { c.limit.Store(MaxBufferedAfter) }

// Frames delivers what the peer sends, in order. It is closed when the
// connection has ended; Err then says why.
func (c *Conn) Frames() <-chan control.Frame { return c.frames }

// Err is the reason why the connection ended, nil while it lives.
func (c *Conn) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// Send queues one frame. It never blocks: a peer that does not read loses the
// connection (ErrSlowPeer) once the bound is reached. It reports whether the
// frame was queued.
func (c *Conn) Send(t control.Type, body []byte) bool {
	return c.enqueue(func(b []byte) ([]byte, error) { return control.AppendFrame(b, t, body), nil }, len(body))
}

// SendMessage queues one protobuf message.
func (c *Conn) SendMessage(m proto.Message) bool {
	return c.enqueue(func(b []byte) ([]byte, error) { return control.AppendMessage(b, m) }, proto.Size(m))
}

// SendVoice queues one UDPTunnel frame, unless the peer is so far behind that
// the packet would only arrive late: then it is dropped, as UDP would do.
func (c *Conn) SendVoice(packet []byte) bool {
	c.mu.Lock()
	behind := len(c.queue) > maxVoiceBehind
	c.mu.Unlock()
	if behind {
		return false
	}
	return c.Send(control.TypeUDPTunnel, packet)
}

func (c *Conn) enqueue(add func([]byte) ([]byte, error), size int) bool {
	if c.Err() != nil {
		return false
	}
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return false
	}
	if len(c.queue) > 0 && len(c.queue)+size > int(c.limit.Load()) {
		c.mu.Unlock()
		c.end(ErrSlowPeer)
		return false
	}
	q, err := add(c.queue)
	if err == nil {
		c.queue = q
	}
	c.mu.Unlock()
	if err != nil {
		c.end(err) // only a message we built ourselves without a required field
		return false
	}
	c.signal()
	return c.Err() == nil
}

func (c *Conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Close ends the connection, after what is queued was written or after grace
// at the latest, and waits for both goroutines.
func (c *Conn) Close(grace time.Duration) {
	if grace > 0 {
		c.mu.Lock()
		c.closing = true
		c.mu.Unlock()
		c.signal()
		t := time.NewTimer(grace)
		// Frames nobody takes any more must not hold the reader.
	flush:
		for {
			select {
			case <-c.done:
				break flush
			case <-t.C:
				break flush
			case _, ok := <-c.frames:
				if !ok {
					break flush
				}
			}
		}
		t.Stop()
	}
	c.end(ErrClosed)
	for range c.frames {
	}
	c.wg.Wait()
}

func (c *Conn) end(err error) {
	c.fail.Do(func() {
		c.err = err
		close(c.done)
		c.net.SetDeadline(time.Unix(1, 0)) // frees reader and writer at once
		// Not here: TLS says goodbye first, and waits for a peer that does not
		// take it. Whoever calls end must not.
		c.wg.Go(c.shut)
	})
}

// shut closes the network connection, with the TLS alert if the peer takes it in
// time.
func (c *Conn) shut() {
	if over, ok := c.net.(interface{ NetConn() net.Conn }); ok {
		t := time.AfterFunc(alertTimeout, func() { over.NetConn().Close() })
		defer t.Stop()
	}
	c.net.Close()
}

func (c *Conn) read() {
	defer c.wg.Done()
	defer close(c.frames)
	in := bufio.NewReaderSize(c.net, 16<<10)
	r := control.NewReader(in, MaxBufferedBefore)
	for {
		// The limit that counts is the one in force when a frame begins, not
		// when we began to wait for it.
		in.Peek(control.HeaderSize)
		r.SetLimit(int(c.limit.Load()))
		f, err := r.Next()
		if err != nil {
			c.end(err)
			return
		}
		select {
		case c.frames <- f:
		case <-c.done:
			return
		}
	}
}

// write takes all that waits at once: a burst of tunnelled voice costs one
// write and one TLS record.
func (c *Conn) write() {
	defer c.wg.Done()
	var out []byte
	for {
		select {
		case <-c.wake:
		case <-c.done:
			return
		}
		c.mu.Lock()
		out, c.queue = c.queue, out[:0]
		closing := c.closing
		c.mu.Unlock()
		if len(out) > 0 {
			c.net.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := c.net.Write(out); err != nil {
				c.end(err)
				return
			}
		}
		if closing {
			c.end(ErrClosed)
			return
		}
		if cap(out) > 64<<10 {
			out = nil // a burst at login must not be kept for ever
		}
	}
}
