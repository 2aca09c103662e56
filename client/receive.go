package client

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// frame treats one control frame.
func (c *Client) frame(now time.Time, f control.Frame) error {
	in, err := c.link.ReceiveFrame(now, f)
	if err != nil {
		return err
	}
	if in.Voice != nil {
		c.voice(now, in.Voice)
	}
	if in.Barred {
		c.emit(Notice{e2ee.Notice{Code: NoticeBarred, Text: BarredLine}})
	}
	if in.Pong != 0 && in.Pong == c.fence {
		c.fence = 0
		c.end.Fenced(now)
		c.drain(now)
	}
	if in.Frame == nil {
		return nil
	}
	m, err := control.Decode(*in.Frame)
	if err != nil {
		return nil // malformed or of a newer server: not for us
	}
	self := c.end.Mirror().Self()
	synced := c.end.Mirror().Synced()
	fate, events, err := c.end.FromServer(now, m)
	if err != nil {
		return err
	}
	if synced { // what the login brings is in State; a server may send it without end
		for _, ev := range events {
			c.emit(MirrorEvent{ev})
		}
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
		c.emit(Denied{Type: m.GetType(), Reason: m.GetReason(), Server: true})
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

// pendingDatagrams treats what has come before a control frame. Else the last
// words of somebody who leaves are lost when we are late: the news that he is
// gone would overtake them.
func (c *Client) pendingDatagrams() {
	for range maxDatagrams {
		select {
		case d, ok := <-c.link.Datagrams():
			if !ok {
				return
			}
			c.datagram(time.Now(), d)
		default:
			return
		}
	}
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
			c.quiet = now
		case endpoint.Fence:
			c.fence = c.link.Ping(now)
		case endpoint.Voice:
			c.link.SendVoice(&o.Packet)
		case endpoint.Gate:
			c.emit(GateChanged{o.GateChanged, StateLine(c.end)})
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
		case endpoint.Question:
			c.emit(Question{o.Asked})
		case endpoint.Roster:
			c.emit(c.roster(o))
		case endpoint.Memory:
			c.memory.Tick(now)
		case endpoint.Played:
			p := o.Packet
			c.heard(Voice{From: p.Session, At: now, Whisper: p.Context == 1 || p.Context == 2, Encrypted: true}, &p)
		case endpoint.ClearText:
			c.end.Passed(now, o.Message)
			c.link.SendMessage(o.Message)
			c.quiet = now
		}
	}
}

// roster words a change of a group.
func (c *Client) roster(o endpoint.Roster) Roster {
	r := Roster{Group: o.Group, Epoch: o.Epoch, Suite: o.Suite.String(), PostQuantum: o.PostQuantum, Direct: o.Direct, Home: o.Home}
	for _, s := range o.Members {
		r.Members = append(r.Members, c.name(s))
	}
	return r
}

// notRemembered says that what was remembered of others is not kept; nil: it is.
func (c *Client) notRemembered(err error) {
	if err != nil {
		c.emit(Notice{e2ee.Notice{Code: "memory", Text: "What Sotto remembers of people could not be saved: " + err.Error()}})
	}
}
