package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// ErrNoChannel means that the server has no channel at the path asked for.
var ErrNoChannel = errors.New("client: no such channel")

// ErrHungUp means that the server closed the connection before it announced its
// version: it listens, and does not want to hear anything of us. Murmur does so
// to addresses it has banned for a while (src/murmur/Server.cpp, newClient).
var ErrHungUp = errors.New("client: the server closed the connection before it said anything")

// errBeforeSync: what comes before ServerSync waits for somebody to read it.
var errBeforeSync = errors.New("client: the server says more than it should before it lets us in")

// hungUp adds ErrHungUp to an error that came before the server's Version, if it
// says that the server closed the connection.
func hungUp(err error) error {
	for _, closed := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, closed) {
			return fmt.Errorf("%w: %w", ErrHungUp, err)
		}
	}
	return err
}

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

// dial connects and finds the endpoint for the server. Both take their time, a
// new server also that of stretching the secret; calls are answered meanwhile.
func (c *Client) dial(ctx context.Context) (link *Link, end *endpoint.Endpoint, err error) {
	c.meanwhile(func() {
		link, err = DialLink(ctx, time.Now(), LinkConfig{
			Address: c.cfg.Address, Certificate: c.cfg.Certificate,
			CheckServer: c.cfg.CheckServer, CheckChain: c.cfg.CheckChain, NoUDP: c.cfg.NoUDP, SRV: c.cfg.SRV, Net: c.cfg.Net, Dial: c.cfg.Dial,
		})
		if err != nil {
			return
		}
		if end, err = c.ends.For(link.Server()); err != nil {
			link.Close(0)
		}
	})
	return link, end, err
}

// login brings up link and endpoint and waits for ServerSync. It runs before
// the owner loop (first login) or inside it (reconnect).
func (c *Client) login(ctx context.Context) (err error) {
	before := len(c.pending.list)
	link, end, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			c.meanwhile(func() { link.Close(0) })
			c.disconnected()
		}
	}()
	c.link, c.end, c.fence = link, end, 0
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
		case f := <-c.do:
			f() // answers that there is no connection
		case d := <-link.Datagrams():
			c.datagram(time.Now(), d)
		case f, ok := <-link.Frames():
			if !ok {
				if link.ServerVersion() == 0 {
					return hungUp(link.Err())
				}
				return fmt.Errorf("client: the server ended the connection: %w", link.Err())
			}
			if err := c.frame(time.Now(), f); err != nil {
				return err
			}
			if c.pending.check() != nil {
				return errBeforeSync
			}
		}
	}
	link.Authenticated()
	// What the login brought belongs to the new session, so it comes after this.
	c.pending.insert(before, Connected{end.Mirror().Self(), link.ServerVersion()})
	if err := c.join(); err != nil {
		return err
	}
	c.up = true
	return nil
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
