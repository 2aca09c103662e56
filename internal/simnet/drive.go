package simnet

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/voice"
)

// up puts something on the stream to the server.
func (p *Peer) up(c *conn, do func()) {
	c.lastUp = later(p.s.clock.Now().Add(p.s.segment(&c.net)), c.lastUp)
	p.s.clock.At(c.lastUp, do)
}

func (p *Peer) send(m proto.Message) {
	c := p.conn
	if c == nil {
		return
	}
	if p.sent++; p.OnSend != nil {
		p.OnSend(p.sent, m)
	}
	if p.conn == c {
		p.up(c, func() { c.s.receive(c, m) })
	}
}

func (p *Peer) voice(out *voice.Packet) {
	c := p.conn
	if c == nil {
		return
	}
	if c.net.Tunnel {
		p.up(c, func() { c.s.speak(c, out) })
		return
	}
	if p.s.chance(c.net.VoiceLoss) {
		return
	}
	p.s.clock.After(p.s.spread(c.net.VoiceDelay, c.net.VoiceJitter), func() { c.s.speak(c, out) })
}

// take gives one control message to the Node.
func (p *Peer) take(c *conn, m proto.Message) {
	if !c.down || p.conn != c {
		return
	}
	if p.asleep {
		p.inbox = append(p.inbox, func() { p.take(c, m) })
		return
	}
	if p.s.log != nil {
		p.s.log.line(p.name, "< %s", describe(m))
	}
	if p.node != nil {
		if err := p.node.FromServer(p.s.clock.Now(), m); err != nil {
			p.s.log.line(p.name, "gives up: %v", err)
			p.Disconnect()
			p.retry()
			return
		}
	}
	if p.OnMessage != nil {
		p.OnMessage(m)
	}
	p.settle()
}

// hear gives one voice packet to the Node.
func (p *Peer) hear(c *conn, in *voice.Packet) {
	if !c.down || p.conn != c || p.asleep {
		return
	}
	p.stats.Heard++
	var out voice.Packet
	var err error
	if p.node == nil {
		out = *in
	} else {
		err = p.node.Unprotect(p.buf[:0], p.s.clock.Now(), in, &out)
	}
	if err == nil {
		p.stats.Opened++
	}
	if p.s.log != nil {
		p.s.log.line(p.name, "< %s %v", describeVoice(in), err)
	}
	if p.OnVoice != nil {
		p.OnVoice(in, &out, err)
	}
	p.settle()
}

// lost tells the Node that its connection is over.
func (p *Peer) lost(c *conn, how string) {
	c.down = false
	p.conn = nil
	p.s.log.line(p.name, "%s", how)
	if p.node != nil {
		p.node.Disconnected(p.s.clock.Now())
	}
	p.settle()
}

// closed is the end of the stream from the server.
func (p *Peer) closed(c *conn) {
	if !c.down || p.conn != c {
		return
	}
	if p.asleep {
		p.inbox = append(p.inbox, func() { p.closed(c) })
		return
	}
	p.lost(c, "is disconnected")
	p.retry()
}

func (p *Peer) retry() {
	if p.Retry > 0 {
		p.s.clock.After(p.Retry, func() { p.Connect() })
	}
}

// settle carries out what the Node wants and sets its alarm.
func (p *Peer) settle() {
	if p.asleep {
		return
	}
	const most = 1 << 16
	for n := 0; p.node != nil; n++ { // OnSend may crash us
		o, ok := p.node.Next()
		if !ok {
			break
		}
		if n == most {
			p.s.clock.fail(fmt.Errorf("%w: %s wants more and more", ErrSpin, p.name))
			return
		}
		switch {
		case o.Message != nil:
			p.send(o.Message)
		case o.Voice != nil:
			p.voice(o.Voice)
		}
		if o.Note != "" {
			p.s.log.line(p.name, "%s", o.Note)
		}
	}
	if p.node != nil {
		p.arm()
	}
}

// arm makes sure that the Node is woken at its deadline. An alarm that is set for
// an earlier time stays and is set anew when it rings.
func (p *Peer) arm() {
	at := p.node.Deadline()
	if at.IsZero() || !p.armed.IsZero() && !at.Before(p.armed) {
		return
	}
	at = later(at, p.s.clock.Now())
	p.armed = at
	n := p.node
	p.s.clock.At(at, func() { p.ring(n, at) })
}

func (p *Peer) ring(n Node, at time.Time) {
	if p.node != n || !p.armed.Equal(at) || p.asleep {
		return
	}
	p.armed = time.Time{}
	now := p.s.clock.Now()
	if d := n.Deadline(); !d.IsZero() && !d.After(now) {
		n.Tick(now)
		if d := n.Deadline(); !d.IsZero() && !d.After(now) {
			p.s.clock.fail(fmt.Errorf("%w: %s is woken and its deadline stays", ErrSpin, p.name))
			return
		}
	}
	p.settle()
}
