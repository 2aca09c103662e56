package client

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/voice"
	"github.com/sotto-voip/sotto/trust"
)

// Version is what this client announces. 1.5 is the first version whose voice
// is protobuf on the wire.
var Version = control.MakeVersion(1, 5, 735)

// Config says where to connect, as whom, and with which protection.
type Config struct {
	// Address is HOST:PORT.
	Address string
	// Username, Password and Tokens are those of Mumble's login.
	Username string
	Password string
	Tokens   []string
	// Bot announces the connection as a bot (client_type 1).
	Bot bool
	// Certificate is shown to the server; nil: none.
	Certificate *tls.Certificate
	// CheckServer and CheckChain must accept the server's certificate, as in
	// LinkConfig. With neither of them the system's roots must, for the host of Address.
	CheckServer func(der []byte) error
	CheckChain  func(chain [][]byte) error
	// Channel is the path to join after login, such as "Lobby/Red team"; "" stays
	// where the server puts us.
	Channel string

	// Policy rules the encryption. With PolicyOff the client is a plain Mumble
	// client. Otherwise keys are agreed on automatically with everybody in the
	// channel who runs Sotto; under PolicyRequire nothing leaves in clear.
	Policy e2ee.Policy
	// Secret is what people agreed on elsewhere. It protects alone, and nothing
	// leaves in clear; with GroupSecret it is mixed into the agreed keys instead.
	Secret      string
	GroupSecret bool
	// Named are the people who must hold the secret before anything leaves;
	// empty: one holder is enough. With a secret alone.
	Named []string
	// Device signs for this client in groups; nil: a new identity for this run.
	// Book remembers who was seen before and with whom speech was protected; it
	// belongs to the client until Close. MergeBook writes its changes, see Memory. All
	// may be nil.
	Device    *identity.Device
	Book      *trust.Book
	MergeBook func(trust.Patch) (*trust.Book, error)

	// NoUDP keeps voice in the TCP tunnel.
	NoUDP bool
	// SRV, Net and Dial are those of LinkConfig.
	SRV  bool
	Net  Net
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Wall is the wall clock, which goes on while the computer sleeps; nil: the system's.
	Wall func() time.Time
	// Announce replaces Version if not zero.
	Announce control.Version
	// Reconnect tries again, with back-off, when the connection is lost; not
	// after a refused login or a changed server certificate.
	Reconnect bool
}

// Times of login and reconnect.
const (
	loginTimeout = 20 * time.Second
	backoffFirst = time.Second
	backoffMost  = time.Minute
	closeGrace   = 500 * time.Millisecond
)

// Client is a connection that stays logged in. Its methods may be called from
// any goroutine; what happens arrives on Events, which must be read.
type Client struct {
	cfg    Config
	do     chan func()
	events chan Event
	cancel context.CancelFunc
	done   chan struct{}

	// Owned by run and what it calls.
	link         *Link
	up           bool // logged in over link; else what may leave is nothing
	end          *endpoint.Endpoint
	ends         Endpoints
	memory       Memory
	closeErr     error // of memory; to be read after done
	pending      backlog
	sleep        SleepWatch
	fence        uint64    // the ping that answers the endpoint's Fence; 0: none
	quiet        time.Time // when a message of end or a text last left
	overrun      uint64
	maxBandwidth uint32
	sendBuf      []byte
	openBuf      []byte
	packet       voice.Packet
}

// Dial connects and logs in. It returns when the server has let us in, or with
// the reason why not: *RejectError, the error of CheckServer, of e2ee for a bad
// secret, or of the network. The context bounds the login only.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	if cfg.CheckServer == nil && cfg.CheckChain == nil {
		host, _, err := net.SplitHostPort(cfg.Address)
		if err != nil {
			return nil, err
		}
		cfg.CheckChain = SystemRoots(host)
	}
	if cfg.Announce == 0 {
		cfg.Announce = Version
	}
	runCtx, cancel := context.WithCancel(context.Background())
	c := &Client{
		cfg: cfg, do: make(chan func()), events: make(chan Event), cancel: cancel,
		done: make(chan struct{}),
		ends: Endpoints{
			Policy: cfg.Policy, Secret: cfg.Secret, GroupSecret: cfg.GroupSecret, Named: cfg.Named,
			Address: cfg.Address, Device: cfg.Device, Book: cfg.Book,
		},
		sleep:   SleepWatch{Wall: cfg.Wall},
		memory:  Memory{Book: cfg.Book, Merge: cfg.MergeBook},
		sendBuf: make([]byte, 0, maxDatagram), openBuf: make([]byte, 0, maxDatagram),
	}
	loginCtx, stop := context.WithTimeout(ctx, loginTimeout)
	defer stop()
	if err := c.login(loginCtx); err != nil {
		cancel()
		return nil, err
	}
	go c.run(runCtx)
	return c, nil
}

// Events delivers what happens, in order. It is closed after Close, or after
// the connection ended for good (the last event is Disconnected). Voice is
// dropped when nobody reads; everything else waits.
func (c *Client) Events() <-chan Event { return c.events }

// Close leaves the server and waits until everything of the client has ended. The
// error is that of MergeBook at the end.
func (c *Client) Close() error {
	c.cancel()
	for range c.events {
	}
	<-c.done
	return c.closeErr
}

// meanwhile runs f beside the owner, who goes on answering calls until f ends. f
// must not touch what the owner owns.
func (c *Client) meanwhile(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	for {
		select {
		case <-done:
			return
		case g := <-c.do:
			g()
		}
	}
}

// call runs f in the owner goroutine and waits for it. The owner never waits for
// the network without answering meanwhile.
func (c *Client) call(f func() error) error {
	result := make(chan error, 1)
	select {
	case c.do <- func() { result <- f() }:
		return <-result
	case <-c.done:
		return ErrClosed
	}
}

// run is the owner loop: it alone touches link and endpoint.
func (c *Client) run(ctx context.Context) {
	defer close(c.done)
	defer close(c.events)
	defer func() { c.closeErr = c.memory.Flush() }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	c.drain(time.Now())
	for {
		due := c.deadline()
		timer.Reset(time.Until(due))
		out, next := c.pending.next(c.events)
		var err error
		select {
		case <-ctx.Done():
			c.link.Close(closeGrace)
			return
		case out <- next:
			c.pending.sent()
		case f := <-c.do:
			f()
		case d, ok := <-c.link.Datagrams():
			if ok {
				c.datagram(time.Now(), d)
			}
		case f, ok := <-c.link.Frames():
			c.pendingDatagrams()
			if !ok {
				err = c.link.Err()
			} else {
				err = c.frame(time.Now(), f)
			}
		case <-timer.C:
			now := time.Now()
			err = c.link.Tick(now)
			c.end.Tick(now)
			c.drain(now)
			c.memory.Tick(now)
		case m := <-c.memory.Done():
			c.notRemembered(c.memory.Ended(m))
		}
		if now := time.Now(); c.sleep.Woke(now, due) {
			c.link.Probe(now)
			c.end.Renew(now)
			c.drain(now)
		}
		if err == nil {
			err = c.pending.check()
		}
		if err != nil && !c.again(ctx, err) {
			return
		}
	}
}

func (c *Client) deadline() time.Time {
	d := c.link.Deadline()
	for _, e := range []time.Time{c.end.Deadline(), c.memory.Deadline()} {
		if !e.IsZero() && e.Before(d) {
			d = e
		}
	}
	return d
}
