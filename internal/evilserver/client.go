package evilserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/crypt"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// Client is one client's connection through the proxy: the leg down to the
// client and the leg up to murmurd.
type Client struct {
	ID int // connections in order of arrival, from 1

	s    *Server
	ends [2]*tls.Conn // by voice.Direction: the end to write to
	out  [2]*queue    // likewise
	up   *net.UDPConn
	done chan struct{}

	mu      sync.Mutex
	name    string
	session uint32
	addr    *net.UDPAddr // where its datagrams come from; nil until one opened
	down    crypt.CryptState
	upper   crypt.CryptState
	setup   *mumblepb.CryptSetup // the last whole one told to the client
	// Versions: what an end said, and what the other end was told.
	saidServer, toldClient control.Version
	saidClient, toldServer control.Version
}

func newClient(s *Server, down, up *tls.Conn) (*Client, error) {
	if err := down.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	addr, err := net.ResolveUDPAddr("udp4", s.opts.Upstream)
	if err != nil {
		return nil, err
	}
	udp, err := net.DialUDP("udp4", nil, addr)
	if err != nil {
		return nil, err
	}
	c := &Client{s: s, up: udp, done: make(chan struct{})}
	c.ends[voice.ToServer], c.ends[voice.ToClient] = up, down
	c.out[voice.ToServer], c.out[voice.ToClient] = newQueue(), newQueue()
	return c, nil
}

// Name is the name the client asked for, "" before that.
func (c *Client) Name() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.name
}

// Session is the client's session on murmurd, 0 before ServerSync.
func (c *Client) Session() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// Done is closed when the connection has ended and nothing of it runs any more.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close cuts the client off, as a failing network would.
func (c *Client) Close() {
	for dir := range c.ends {
		c.out[dir].close()
		c.ends[dir].NetConn().Close() // not Close: its farewell waits for the other side
	}
	c.up.Close()
}

// serve relays until either side ends, and returns when nothing of the client
// runs any more.
func (c *Client) serve() error {
	var work sync.WaitGroup
	var errs [2]error
	for _, dir := range []voice.Direction{voice.ToServer, voice.ToClient} {
		work.Go(func() {
			errs[dir] = c.relay(dir)
			c.out[dir].push(entry{end: true}) // what came before still goes out, a Reject above all
		})
		work.Go(func() {
			c.write(dir)
			c.Close()
		})
	}
	work.Go(c.readUp)
	work.Wait()
	c.s.mu.Lock()
	c.s.clients = slices.DeleteFunc(c.s.clients, func(o *Client) bool { return o == c })
	c.s.signal()
	c.s.mu.Unlock()
	close(c.done)
	if err := errors.Join(c.out[0].failure(), c.out[1].failure()); err != nil {
		return fmt.Errorf("client %d: %w", c.ID, err)
	}
	for _, err := range errs {
		if tooLong := (*control.ErrTooLong)(nil); errors.As(err, &tooLong) {
			return fmt.Errorf("client %d: %w", c.ID, err)
		}
	}
	return nil // everything else is how connections end
}

func (c *Client) relay(dir voice.Direction) error {
	frames := control.NewReader(c.ends[1-dir], control.MaxLen)
	for {
		f, err := frames.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		c.frame(dir, f)
	}
}

// frame takes one frame on its way.
func (c *Client) frame(dir voice.Direction, f control.Frame) {
	if f.Type == control.TypeUDPTunnel {
		c.voice(dir, f.Body, false)
		return
	}
	m, err := control.Decode(f)
	if err != nil { // not for lies, but murmurd and client may know what it is
		c.out[dir].push(entry{frame: control.AppendFrame(nil, f.Type, f.Body)})
		return
	}
	if !c.learn(dir, m) {
		return
	}
	for _, it := range c.s.judge(c, dir, m) {
		c.send(dir, it.m, it.delay)
	}
}

// learn reads what an end says, and rewrites what belongs to one leg only. It
// reports whether the message goes on.
func (c *Client) learn(dir voice.Direction, m proto.Message) bool {
	switch m := m.(type) {
	case *mumblepb.Version:
		c.mu.Lock()
		if dir == voice.ToServer {
			c.saidClient = control.VersionOf(m)
		} else {
			c.saidServer = control.VersionOf(m)
		}
		c.mu.Unlock()
	case *mumblepb.Authenticate:
		c.mu.Lock()
		c.name = m.GetUsername()
		c.mu.Unlock()
	case *mumblepb.ServerSync:
		if dir == voice.ToClient {
			c.mu.Lock()
			c.session = m.GetSession()
			c.mu.Unlock()
			c.s.mu.Lock()
			c.s.signal()
			c.s.mu.Unlock()
		}
	case *mumblepb.UserState:
		if dir == voice.ToClient && m.Hash != nil {
			c.s.mu.Lock()
			if own, ok := c.s.hashes[m.GetHash()]; ok {
				m.Hash = &own
			}
			c.s.mu.Unlock()
		}
	case *mumblepb.CryptSetup:
		return c.cryptSetup(dir, m)
	}
	return true
}

// send encodes a message and lets it go after the delay.
func (c *Client) send(dir voice.Direction, m proto.Message, delay time.Duration) {
	if v, ok := m.(*mumblepb.Version); ok {
		c.mu.Lock()
		if dir == voice.ToServer {
			c.toldServer = control.VersionOf(v)
		} else {
			c.toldClient = control.VersionOf(v)
		}
		c.mu.Unlock()
	}
	b, err := control.AppendMessage(nil, m)
	if err != nil {
		c.s.strange()
		return
	}
	c.out[dir].push(entry{frame: b, due: delay})
}

// write lets out what is due until the queue ends.
func (c *Client) write(dir voice.Direction) {
	end := c.ends[dir]
	for {
		e, ok := c.out[dir].next()
		if !ok || e.end {
			return
		}
		if e.plain != nil {
			frame, done := c.writeVoice(dir, e)
			if done {
				continue
			}
			e.frame = frame
		}
		if end.SetWriteDeadline(time.Now().Add(ioLimit)) != nil {
			return
		}
		if _, err := end.Write(e.frame); err != nil {
			return
		}
	}
}
