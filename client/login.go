package client

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// ErrNoChannel means that the server has no channel at the path asked for.
var ErrNoChannel = errors.New("client: no such channel")

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
			c.disconnected()
		}
	}()
	end, err := c.ends.For(link.Server())
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
