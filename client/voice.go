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
	"github.com/sotto-voip/sotto/opus"
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
// is of no use. The beginning of a whisper whose keys are being prepared is kept for
// up to 600 ms; a Notice says so if it was in vain.
func (c *Client) SendVoice(f Frame) error {
	return c.online(func() error {
		in := voice.Packet{
			Codec: voice.Opus, Target: f.Target, FrameNumber: f.FrameNumber, Data: f.Opus,
			Terminator: f.Terminator, HasPosition: f.HasPosition, Position: f.Position,
		}
		leave := c.leave()
		if !c.offline() {
			leave = c.end.LeaveFor(f.Target)
		}
		switch leave {
		case e2ee.LeaveClear:
			return c.link.SendVoice(&in)
		case e2ee.LeaveCiphertext:
			var out voice.Packet
			now := time.Now()
			err := c.end.Protect(c.sendBuf[:0], now, &in, &out)
			if errors.Is(err, endpoint.ErrKept) {
				c.drain(now)
				return nil
			}
			if err != nil {
				return err
			}
			return c.link.SendVoice(&out)
		case e2ee.LeaveNothing:
			if f.Target == 0 || c.offline() {
				return ErrHeld
			}
			var out voice.Packet
			if err := c.end.Protect(c.sendBuf[:0], time.Now(), &in, &out); errors.Is(err, endpoint.ErrKept) {
				return nil
			}
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
		switch {
		case err == nil:
			ev.Encrypted = true
			ev.Whisper = c.packet.Context == 1 || c.packet.Context == 2
		case errors.Is(err, endpoint.ErrNotSotto) && c.end.MayPlayClear(in.Session) && opus.Check(in.Data, 0) == nil:
			c.packet = *in
		default:
			return // counted
		}
	}
	c.heard(ev, &c.packet)
}

// heard hands out one packet, unless nobody reads.
func (c *Client) heard(ev Voice, p *voice.Packet) {
	if len(c.pending.list) > maxPendingVoice {
		c.overrun++
		return
	}
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
	switch c.end.LeaveForText(m) {
	case e2ee.LeaveClear:
		c.end.Passed(now, m)
		c.link.SendMessage(m)
		c.quiet = now
		return nil
	case e2ee.LeaveNothing:
		return ErrHeld
	case e2ee.LeaveCiphertext:
	}
	err := c.end.SendText(now, m)
	c.drain(now)
	return err
}

// Wait, Protect and Clear answer a Question, and Protect and Clear can be said at
// any time (Sotto protocol §11). Clear needs to be said twice where speech is
// protected; PolicyRequire refuses it.
func (c *Client) Wait() error {
	return c.act(func(now time.Time) { c.end.UserWait(now) })
}

// Protect says that the person wants protection, or goes on in spite of an alarm.
func (c *Client) Protect() error {
	return c.act(func(now time.Time) { c.end.UserProtect(now) })
}

// Clear says that the person wants to speak in clear.
func (c *Client) Clear() error {
	return c.act(func(now time.Time) { c.end.UserClear(now) })
}

// Lock closes the group of the own channel to newcomers, or opens it.
func (c *Client) Lock(locked bool) error {
	return c.act(func(now time.Time) { c.end.Lock(now, locked) })
}

func (c *Client) act(f func(now time.Time)) error {
	return c.online(func() error {
		now := time.Now()
		f(now)
		c.drain(now)
		return nil
	})
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
	Line    string   // StateLine
	Members []string // of the group of the own channel
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
		s.Line = StateLine(c.end)
		if g := c.end.Groups(); g != nil {
			for _, session := range g.Members() {
				s.Members = append(s.Members, c.name(session))
			}
		}
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
