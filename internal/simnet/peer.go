package simnet

import (
	"crypto/sha1"
	"encoding/hex"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// Node is the machine that a Peer drives: what one end does with one connection
// after the other. It has no IO and no clock of its own.
type Node interface {
	// FromServer takes one control message, which it must not change. An error
	// ends the connection.
	FromServer(now time.Time, m proto.Message) error
	// Next returns what to do, until false.
	Next() (Out, bool)
	// Deadline is when Tick must be called; zero: never.
	Deadline() time.Time
	Tick(now time.Time)
	// Protect makes what may leave of a voice packet, Unprotect what may be
	// played; the payload is appended to dst.
	Protect(dst []byte, now time.Time, in, out *voice.Packet) error
	Unprotect(dst []byte, now time.Time, in, out *voice.Packet) error
	Disconnected(now time.Time)
}

// Out is one thing that a Node wants done. A Note is only logged.
type Out struct {
	Message proto.Message
	Voice   *voice.Packet
	Note    string
}

// PeerStats counts a Peer's voice.
type PeerStats struct {
	Said    uint64 // packets sent
	Refused uint64 // packets that Protect did not let go
	Heard   uint64 // packets that arrived
	Opened  uint64 // of these, what Unprotect gave back
}

// Peer is one client: a Node on a connection. Set its fields before Connect.
type Peer struct {
	Hash    string   // of the certificate, as the server will tell it; made from the name at first
	Admin   bool     // may move, mute, kick, link
	Network *Network // nil: the server's
	// Retry is how long after a lost or refused connection the next is tried; 0: never.
	Retry time.Duration

	// OnSend sees every control message before it leaves; n counts them from 1
	// over the life of the Peer. It may call Crash: then the message does not leave.
	OnSend func(n uint64, m proto.Message)
	// OnMessage sees every control message that arrives, after the Node and
	// before what the Node makes of it leaves. It may call Crash.
	OnMessage func(m proto.Message)
	// OnVoice sees every voice packet that arrives: in as it came, out as the
	// Node opened it unless err. Both are valid during the call only.
	OnVoice func(in, out *voice.Packet, err error)

	s     *Server
	name  string
	node  Node
	conn  *conn
	armed time.Time // when the Node will be woken; zero: not at all
	frame uint64
	stats PeerStats
	buf   []byte
	sent  uint64

	sleeps uint64   // counts Suspend
	asleep bool     // suspended
	inbox  []func() // what arrives meanwhile
}

// NewPeer returns a client of s that is not connected. Without a Node it is
// somebody who has no Sotto: what it says leaves as it is.
func (s *Server) NewPeer(name string, n Node) *Peer {
	h := sha1.Sum([]byte(name))
	return &Peer{Hash: hex.EncodeToString(h[:]), s: s, name: name, node: n, buf: make([]byte, 0, 2048)}
}

// Name is the name it logs in with.
func (p *Peer) Name() string { return p.name }

// Node is the machine inside; nil after Crash.
func (p *Peer) Node() Node { return p.node }

// SetNode puts another machine inside: the program was started again.
func (p *Peer) SetNode(n Node) { p.node, p.armed = n, time.Time{} }

// Stats returns the counters.
func (p *Peer) Stats() PeerStats { return p.stats }

// Session is the session the server gave it; 0 while it has none.
func (p *Peer) Session() uint32 {
	if p.conn == nil {
		return 0
	}
	return p.conn.session
}

// Connected reports whether the server counts it among its users.
func (p *Peer) Connected() bool {
	if p.conn == nil {
		return false
	}
	u := p.s.user(p.conn.session)
	return u != nil && u.conn == p.conn
}

// Connect begins a connection: the login arrives after two round trips.
func (p *Peer) Connect() {
	if p.conn != nil {
		return
	}
	c := &conn{s: p.s, peer: p, net: p.s.network, up: true, down: true}
	if p.Network != nil {
		c.net = *p.Network
	}
	p.conn = c
	p.s.log.line(p.name, "connects")
	c.lastUp = p.s.clock.Now().Add(4 * c.net.Delay)
	name, hash, admin := p.name, p.Hash, p.Admin
	p.up(c, func() { p.s.login(c, name, hash, admin) })
}

// Disconnect says goodbye.
func (p *Peer) Disconnect() {
	c := p.conn
	if c == nil {
		return
	}
	p.up(c, func() { c.s.left(c, "left") })
	p.lost(c, "disconnects")
}

// Crash forgets everything without a goodbye. The server notices after its
// timeout, or when the same name comes again.
func (p *Peer) Crash() {
	if c := p.conn; c != nil {
		c.down = false
		p.conn = nil
		p.s.clock.After(p.s.profile.Timeout, func() { c.s.left(c, "timed out") })
	}
	p.s.log.line(p.name, "crashes")
	p.node, p.armed, p.asleep, p.inbox = nil, time.Time{}, false, nil
}

// Cut breaks the connection: the Node learns it now, the server after its
// timeout.
func (p *Peer) Cut() {
	if c := p.conn; c != nil {
		p.s.clock.After(p.s.profile.Timeout, func() { c.s.left(c, "timed out") })
		p.lost(c, "is cut off")
		p.retry()
	}
}

// Suspend stops the machine for a while, as a closed laptop does. What arrives
// is read afterwards, except for voice; after its timeout the server ends the
// connection.
func (p *Peer) Suspend(d time.Duration) {
	p.sleeps++
	gen, c := p.sleeps, p.conn
	p.asleep = true
	p.s.log.line(p.name, "sleeps")
	if c != nil {
		p.s.clock.After(p.s.profile.Timeout, func() {
			if p.asleep && p.sleeps == gen {
				c.s.left(c, "timed out")
			}
		})
	}
	p.s.clock.After(d, func() {
		if !p.asleep || p.sleeps != gen {
			return
		}
		p.s.log.line(p.name, "wakes")
		p.asleep = false
		in := p.inbox
		p.inbox = nil
		for _, f := range in {
			f()
		}
		p.armed = time.Time{}
		p.settle()
	})
}

// Send sends a control message as the client beside the Node does.
func (p *Peer) Send(m proto.Message) {
	if n, ok := p.node.(interface{ Spent(time.Time, int) }); ok {
		switch m.(type) {
		case *mumblepb.TextMessage, *mumblepb.UserState, *mumblepb.ChannelState:
			n.Spent(p.s.clock.Now(), 1)
		}
	}
	p.send(m)
	p.settle()
}

// Move asks the server for another channel, and tells the Node so if it has a
// method LocalMove(now, channel).
func (p *Peer) Move(channel uint32) {
	if n, ok := p.node.(interface{ LocalMove(time.Time, uint32) }); ok {
		n.LocalMove(p.s.clock.Now(), channel)
	}
	p.Send(&mumblepb.UserState{ChannelId: proto.Uint32(channel)})
}

// Say speaks one packet of 20 ms to a target. What the Node refuses comes back
// as an error.
func (p *Peer) Say(target uint8, opus []byte) error {
	in := voice.Packet{Codec: voice.Opus, Target: target, FrameNumber: p.frame, Data: opus}
	p.frame += 2
	return p.SayPacket(&in)
}

// SayPacket is Say for a packet with a position, a terminator or another length.
func (p *Peer) SayPacket(in *voice.Packet) error {
	out := new(voice.Packet)
	if p.node == nil {
		*out = *in
		out.Data = append([]byte(nil), in.Data...)
	} else if err := p.node.Protect(make([]byte, 0, len(in.Data)+128), p.s.clock.Now(), in, out); err != nil {
		p.stats.Refused++
		p.settle()
		return err
	}
	p.stats.Said++
	p.voice(out)
	p.settle()
	return nil
}

// Talk speaks a packet each 20 ms for a while, whatever becomes of them.
func (p *Peer) Talk(d time.Duration, opus []byte) {
	for at := time.Duration(0); at < d; at += 20 * time.Millisecond {
		p.s.clock.After(at, func() {
			if p.conn != nil && !p.asleep {
				p.Say(0, opus)
			}
		})
	}
}
