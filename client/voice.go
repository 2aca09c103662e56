package client

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/mumble/mirror"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// ErrHeld means that a packet or text was not sent because the gate is closed.
var ErrHeld = endpoint.ErrHeld

// ErrNotConnected means that the connection is lost and not back yet. Nothing can
// leave then, so it is an ErrHeld as well.
var ErrNotConnected = notConnected{}

type notConnected struct{}

func (notConnected) Error() string        { return "client: not connected" }
func (notConnected) Is(target error) bool { return target == ErrHeld }

// Frame is one Opus packet to send.
type Frame struct {
	Target      uint8  // 0 speech, 1 to 29 a whisper target, 31 loopback
	FrameNumber uint64 // counts 10 ms: a 20 ms packet advances it by 2
	Opus        []byte
	Terminator  bool // last packet of the spurt
	HasPosition bool
	Position    [3]float32 // metres, Mumble's left-handed axes
}

// SendVoice sends one packet. It returns ErrHeld while the gate is closed, and
// ErrNotConnected without a connection; the packet is then dropped, as late voice
// is of no use.
func (c *Client) SendVoice(f Frame) error {
	return c.online(func() error {
		in := voice.Packet{
			Codec: voice.Opus, Target: f.Target, FrameNumber: f.FrameNumber, Data: f.Opus,
			Terminator: f.Terminator, HasPosition: f.HasPosition, Position: f.Position,
		}
		switch c.leave() {
		case e2ee.LeaveClear:
			return c.link.SendVoice(&in)
		case e2ee.LeaveCiphertext:
			var out voice.Packet
			now := time.Now()
			if err := c.end.Protect(c.sendBuf[:0], now, &in, &out); err != nil {
				return err
			}
			return c.link.SendVoice(&out)
		case e2ee.LeaveNothing:
		}
		return ErrHeld
	})
}

// online is call for what needs a connection.
func (c *Client) online(f func() error) error {
	return c.call(func() error {
		if c.offline() {
			return ErrNotConnected
		}
		return f()
	})
}

// voice treats one packet from the server.
func (c *Client) voice(now time.Time, in *voice.Packet) {
	ev := Voice{From: in.Session, At: now, Whisper: in.Context == 1 || in.Context == 2}
	if c.cfg.Policy == e2ee.PolicyOff {
		if in.Codec != voice.Opus {
			return
		}
		c.packet = *in
	} else {
		err := c.end.Unprotect(c.openBuf[:0], now, in, &c.packet)
		c.drain(now)
		if err != nil {
			return // counted; clear voice is not played while a secret is set
		}
		ev.Encrypted = true
	}
	if len(c.pending) > maxPendingVoice {
		c.overrun++
		return
	}
	p := &c.packet
	ev.Name = c.name(p.Session)
	ev.FrameNumber, ev.Terminator, ev.Opus = p.FrameNumber, p.Terminator, slices.Clone(p.Data)
	c.emit(ev)
}

// SendText sends a text, HTML as in Mumble, to the own channel.
func (c *Client) SendText(html string) error {
	return c.online(func() error {
		me, _ := c.end.Mirror().Own()
		return c.text(&mumblepb.TextMessage{ChannelId: []uint32{me.Channel}, Message: proto.String(html)})
	})
}

// SendPrivate sends a text to one session.
func (c *Client) SendPrivate(session uint32, html string) error {
	return c.online(func() error {
		return c.text(&mumblepb.TextMessage{Session: []uint32{session}, Message: proto.String(html)})
	})
}

func (c *Client) text(m *mumblepb.TextMessage) error {
	now := time.Now()
	switch c.leave() {
	case e2ee.LeaveClear:
		c.end.Spent(now, 1)
		c.link.SendMessage(m)
		c.quiet = now
		return nil
	case e2ee.LeaveNothing:
		// A private text is between its readers, whoever stands beside us.
		if len(m.Session) == 0 {
			return ErrHeld
		}
	case e2ee.LeaveCiphertext:
	}
	err := c.end.SendText(now, m)
	c.drain(now)
	return err
}

// Whisper sets voice target id (1 to 29) to these sessions; none removes it.
func (c *Client) Whisper(id uint8, sessions ...uint32) error {
	if id == 0 || id > 29 {
		return errors.New("client: whisper targets are 1 to 29")
	}
	return c.online(func() error {
		m := &mumblepb.VoiceTarget{Id: proto.Uint32(uint32(id))}
		if len(sessions) > 0 {
			m.Targets = []*mumblepb.VoiceTarget_Target{{Session: sessions}}
		}
		if c.cfg.Policy == e2ee.PolicyOff {
			c.link.SendMessage(m)
			return nil
		}
		now := time.Now()
		c.end.SetTarget(now, m)
		c.drain(now)
		return nil
	})
}

// Join moves to the channel at path, from the root. The server's answer
// arrives as events.
func (c *Client) Join(path string) error {
	return c.online(func() error {
		id, ok := c.end.Mirror().Find(path)
		if !ok {
			return ErrNoChannel
		}
		c.move(time.Now(), id)
		return nil
	})
}

// State is a look at the connection at one moment.
type State struct {
	Self    mirror.User
	Users   []mirror.User
	Gate    e2ee.State
	Leave   e2ee.Leave
	Holders []uint32
	OverUDP bool
	// MaxBandwidth is what the server allows each speaker, bit/s with 32 bytes
	// of overhead per packet counted in; 0: it did not say.
	MaxBandwidth uint32
	// Quiet is since when no message of the encryption and no text has left. What
	// the server's limits hold back leaves within a second or two of the last one.
	Quiet time.Time
	// Dropped counts voice that nobody read in time.
	Dropped uint64
	Stats   Stats
	Voice   endpoint.Stats
}

// State returns what is known now; without a connection, what is left of it.
func (c *Client) State() (State, error) {
	var s State
	err := c.call(func() error {
		m := c.end.Mirror()
		s.Self, _ = m.Own()
		s.Users = m.Users()
		s.Gate, s.Leave, s.Holders = c.end.State(), c.leave(), c.end.Holders()
		s.MaxBandwidth, s.Dropped, s.Quiet = c.maxBandwidth, c.overrun, c.quiet
		s.OverUDP, s.Stats, s.Voice = c.link.OverUDP(), c.link.Stats(), c.end.Stats()
		return nil
	})
	return s, err
}

// WaitReady waits until speech can leave: the gate is open, the server lets us
// speak, and it is measured whether voice goes by UDP or through the tunnel.
// Events must be read meanwhile.
func (c *Client) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	settled := time.Now().Add(2 * time.Second) // by then UDP has answered or is not there
	for {
		s, err := c.State()
		if err != nil {
			return err
		}
		if s.Leave != e2ee.LeaveNothing && s.Self.MaySpeak() && (s.OverUDP || c.cfg.NoUDP || time.Now().After(settled)) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
