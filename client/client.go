package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
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
	// CheckServer must accept the server's DER certificate; nil: system roots.
	CheckServer func(der []byte) error
	// Channel is the path to join after login, such as "Lobby/Red team"; "" stays
	// where the server puts us.
	Channel string

	// Policy and Secret rule the encryption. With PolicyOff the client is a
	// plain Mumble client. Otherwise Secret is what people agreed on, and
	// nothing leaves in clear.
	Policy e2ee.Policy
	Secret string
	// Named are the people who must hold the secret before anything leaves;
	// empty: one holder is enough.
	Named []string

	// NoUDP keeps voice in the TCP tunnel.
	NoUDP bool
	// Dial makes the TCP connection; nil: directly. See LinkConfig.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Announce replaces Version if not zero.
	Announce control.Version
	// Reconnect tries again, with back-off, when the connection is lost; not
	// after a refused login or a changed server certificate.
	Reconnect bool
}

// Errors of a login.
var (
	ErrNoChannel = errors.New("client: no such channel")
)

// RejectError is the server's refusal of a login.
type RejectError struct {
	Type   mumblepb.Reject_RejectType
	Reason string
}

func (e *RejectError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("the server refused the login (%v)", e.Type)
	}
	return fmt.Sprintf("the server refused the login: %s", e.Reason)
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
	end          *endpoint.Endpoint
	secrets      map[[32]byte]*e2ee.Secret
	pending      []Event
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
	if cfg.CheckServer == nil {
		host, _, err := net.SplitHostPort(cfg.Address)
		if err != nil {
			return nil, err
		}
		cfg.CheckServer = SystemRoots(host)
	}
	if cfg.Announce == 0 {
		cfg.Announce = Version
	}
	runCtx, cancel := context.WithCancel(context.Background())
	c := &Client{
		cfg: cfg, do: make(chan func()), events: make(chan Event), cancel: cancel,
		done: make(chan struct{}), secrets: map[[32]byte]*e2ee.Secret{},
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

// Close leaves the server and waits until everything of the client has ended.
func (c *Client) Close() error {
	c.cancel()
	for range c.events {
	}
	<-c.done
	return nil
}

// call runs f in the owner goroutine and waits for it.
func (c *Client) call(f func() error) error {
	result := make(chan error, 1)
	select {
	case c.do <- func() { result <- f() }:
		return <-result
	case <-c.done:
		return ErrClosed
	}
}

// login brings up link and endpoint and waits for ServerSync. It runs before
// the owner loop (first login) or inside it (reconnect).
func (c *Client) login(ctx context.Context) (err error) {
	before := len(c.pending)
	link, err := DialLink(ctx, time.Now(), LinkConfig{
		Address: c.cfg.Address, Certificate: c.cfg.Certificate,
		CheckServer: c.cfg.CheckServer, NoUDP: c.cfg.NoUDP, Dial: c.cfg.Dial,
	})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			link.Close(0)
		}
	}()
	secret, err := c.secret(link.Server())
	if err != nil {
		return err
	}
	end, err := endpoint.New(e2ee.Config{
		Policy: c.cfg.Policy, Secret: secret, Server: link.Server(), Named: c.cfg.Named,
	})
	if err != nil {
		return err
	}
	c.link, c.end = link, end
	v := &mumblepb.Version{
		Release: proto.String("Sotto"), Os: proto.String(runtime.GOOS), OsVersion: proto.String(runtime.GOARCH),
	}
	c.cfg.Announce.Set(v)
	link.SendMessage(v)
	auth := &mumblepb.Authenticate{Username: proto.String(c.cfg.Username), Tokens: c.cfg.Tokens, Opus: proto.Bool(true)}
	if c.cfg.Password != "" {
		auth.Password = proto.String(c.cfg.Password)
	}
	if c.cfg.Bot {
		auth.ClientType = proto.Int32(1)
	}
	link.SendMessage(auth)
	for !end.Mirror().Synced() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("client: the server does not finish the login: %w", ctx.Err())
		case d := <-link.Datagrams():
			c.datagram(time.Now(), d)
		case f, ok := <-link.Frames():
			if !ok {
				return fmt.Errorf("client: the server ended the connection: %w", link.Err())
			}
			if err := c.frame(time.Now(), f); err != nil {
				return err
			}
		}
	}
	link.Authenticated()
	// What the login brought belongs to the new session, so it comes after this.
	c.pending = slices.Insert(c.pending, before, Event(Connected{end.Mirror().Self(), link.ServerVersion()}))
	return c.join()
}

// secret stretches the typed secret for one server certificate, once.
func (c *Client) secret(server [32]byte) (*e2ee.Secret, error) {
	if c.cfg.Policy == e2ee.PolicyOff {
		return nil, nil
	}
	if s, ok := c.secrets[server]; ok {
		return s, nil
	}
	s, err := e2ee.ParseSecret(c.cfg.Secret, server)
	if err != nil {
		return nil, err
	}
	if !s.MachineMade() {
		debug.FreeOSMemory() // Argon2id took 64 MiB for a moment
	}
	c.secrets[server] = s
	return s, nil
}

func (c *Client) join() error {
	if c.cfg.Channel == "" {
		return nil
	}
	id, ok := c.end.Mirror().Find(c.cfg.Channel)
	if !ok {
		return fmt.Errorf("%w: %s", ErrNoChannel, c.cfg.Channel)
	}
	if me, _ := c.end.Mirror().Own(); me.Channel != id {
		c.move(time.Now(), id)
	}
	return nil
}

func (c *Client) move(now time.Time, id uint32) {
	c.end.LocalMove(now, id)
	c.end.Spent(now, 1)
	c.link.SendMessage(&mumblepb.UserState{Session: proto.Uint32(c.end.Mirror().Self()), ChannelId: proto.Uint32(id)})
	c.drain(now)
}

// run is the owner loop: it alone touches link and endpoint.
func (c *Client) run(ctx context.Context) {
	defer close(c.done)
	defer close(c.events)
	timer := time.NewTimer(0)
	defer timer.Stop()
	c.drain(time.Now())
	for {
		timer.Reset(time.Until(c.deadline()))
		var out chan Event
		var next Event
		if len(c.pending) > 0 {
			out, next = c.events, c.pending[0]
		}
		var err error
		select {
		case <-ctx.Done():
			c.link.Close(closeGrace)
			return
		case out <- next:
			c.pending[0] = nil
			c.pending = c.pending[1:]
		case f := <-c.do:
			f()
		case d, ok := <-c.link.Datagrams():
			if ok {
				c.datagram(time.Now(), d)
			}
		case f, ok := <-c.link.Frames():
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
		}
		if err == nil && len(c.pending) > maxPending {
			err = errors.New("client: nobody reads the events")
		}
		if err != nil && !c.again(ctx, err) {
			return
		}
	}
}

func (c *Client) deadline() time.Time {
	d := c.link.Deadline()
	if e := c.end.Deadline(); !e.IsZero() && e.Before(d) {
		d = e
	}
	return d
}

// again closes the lost connection and, if wanted, logs in anew with growing
// pauses. It reports whether there is a connection again.
func (c *Client) again(ctx context.Context, cause error) bool {
	c.link.Close(closeGrace)
	wait := backoffFirst
	for attempt := 1; ; attempt++ {
		final := !c.cfg.Reconnect || !worthRetrying(cause)
		if final {
			wait = 0
		}
		// Up to a quarter more, so that a restarted server is not stormed.
		pause := wait + time.Duration(rand.Int64N(int64(wait)/4+1))
		c.emit(Disconnected{Err: cause, Retry: pause})
		if !c.deliver(ctx, pause) || final {
			return false
		}
		loginCtx, stop := context.WithTimeout(ctx, loginTimeout)
		cause = c.login(loginCtx)
		stop()
		if cause == nil {
			c.drain(time.Now())
			return true
		}
		wait = min(2*wait, backoffMost)
	}
}

// leave is what may leave now. Over a lost connection nothing does, whatever the
// gate of its endpoint said last.
func (c *Client) leave() e2ee.Leave {
	if c.link.Err() != nil {
		return e2ee.LeaveNothing
	}
	return c.end.Leave()
}

// deliver hands out pending events for the length of a pause (all of them if
// the pause is 0) and reports false when the context ended.
func (c *Client) deliver(ctx context.Context, pause time.Duration) bool {
	var over <-chan time.Time
	if pause > 0 {
		t := time.NewTimer(pause)
		defer t.Stop()
		over = t.C
	}
	for {
		var out chan Event
		var next Event
		if len(c.pending) > 0 {
			out, next = c.events, c.pending[0]
		} else if pause == 0 {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-over:
			return true
		case out <- next:
			c.pending = c.pending[1:]
		case f := <-c.do:
			f() // answers with what a dead link answers
		}
	}
}

// worthRetrying separates accidents from answers.
func worthRetrying(err error) bool {
	var reject *RejectError
	if errors.As(err, &reject) {
		return reject.Type == mumblepb.Reject_UsernameInUse || reject.Type == mumblepb.Reject_ServerFull ||
			reject.Type == mumblepb.Reject_NoNewConnections
	}
	var pin interface{ PinChanged() bool }
	if errors.As(err, &pin) {
		return false
	}
	var kicked *KickedError
	return !errors.As(err, &kicked) && !errors.Is(err, ErrNoChannel)
}

// frame treats one control frame.
func (c *Client) frame(now time.Time, f control.Frame) error {
	in, err := c.link.ReceiveFrame(now, f)
	if err != nil {
		return err
	}
	if in.Voice != nil {
		c.voice(now, in.Voice)
	}
	if in.Frame == nil {
		return nil
	}
	m, err := control.Decode(*in.Frame)
	if err != nil {
		return nil // malformed or of a newer server: not for us
	}
	self := c.end.Mirror().Self()
	fate, events, err := c.end.FromServer(now, m)
	if err != nil {
		return err
	}
	for _, ev := range events {
		c.emit(MirrorEvent{ev})
	}
	if fate == endpoint.Pass {
		if err := c.message(m, self); err != nil {
			return err
		}
	}
	c.drain(now)
	return nil
}

// message treats what concerns the person or ends the connection.
func (c *Client) message(m proto.Message, self uint32) error {
	switch m := m.(type) {
	case *mumblepb.ServerSync:
		c.maxBandwidth = m.GetMaxBandwidth()
	case *mumblepb.ServerConfig:
		if m.MaxBandwidth != nil {
			c.maxBandwidth = m.GetMaxBandwidth()
		}
	case *mumblepb.Reject:
		return &RejectError{m.GetType(), m.GetReason()}
	case *mumblepb.UserRemove:
		if m.GetSession() == self && self != 0 {
			return &KickedError{m.GetReason(), m.GetBan()}
		}
	case *mumblepb.TextMessage:
		c.emit(TextMessage{
			From: m.GetActor(), Name: c.name(m.GetActor()), Scope: scope(m), HTML: m.GetMessage(),
		})
	case *mumblepb.PermissionDenied:
		c.emit(Denied{m.GetType(), m.GetReason()})
	}
	return nil
}

// KickedError says that the server or an administrator threw us out.
type KickedError struct {
	Reason string
	Ban    bool
}

func (e *KickedError) Error() string {
	verb := "kicked"
	if e.Ban {
		verb = "banned"
	}
	if e.Reason == "" {
		return verb + " by the server"
	}
	return fmt.Sprintf("%s by the server: %s", verb, e.Reason)
}

func scope(m *mumblepb.TextMessage) uint8 {
	switch {
	case len(m.GetTreeId()) > 0:
		return e2ee.ScopeTree
	case len(m.GetChannelId()) > 0:
		return e2ee.ScopeChannel
	}
	return e2ee.ScopePrivate
}

func (c *Client) name(session uint32) string {
	if session == 0 {
		return ""
	}
	return c.end.Mirror().Name(session)
}

func (c *Client) datagram(now time.Time, d *Datagram) {
	if d == nil {
		return
	}
	in := c.link.ReceiveDatagram(now, d.B)
	if in.Voice != nil {
		c.voice(now, in.Voice)
	}
	d.Free()
}

// drain does what the endpoint asks for.
func (c *Client) drain(now time.Time) {
	for {
		o, ok := c.end.Next()
		if !ok {
			return
		}
		switch o := o.(type) {
		case endpoint.Send:
			c.link.SendMessage(o.Message)
		case endpoint.Voice:
			c.link.SendVoice(&o.Packet)
		case endpoint.Gate:
			c.emit(GateChanged{o.GateChanged})
		case endpoint.Holder:
			c.emit(Holder{o.Holder})
		case endpoint.OtherSecret:
			c.emit(OtherSecret{o.OtherSecret})
		case endpoint.TextIn:
			c.emit(TextMessage{
				From: o.From, Name: c.name(o.From), Scope: o.Text.Scope, HTML: o.Text.HTML, Encrypted: true,
			})
		case endpoint.TextFailed:
			c.emit(Denied{Reason: o.Reason})
		case endpoint.Notice:
			c.emit(Notice{o.Notice})
		}
	}
}
