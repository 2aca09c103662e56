package guard_test

import (
	"crypto/sha256"
	"crypto/tls"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// call is one session: the client's leg and the server's, logged in.
type call struct {
	*stage
	client, server *leg
	announced      *mumblepb.Version // what guard told the server
	shown          *mumblepb.Version // what guard told the client
	login          *mumblepb.Authenticate
	bob            *endpoint.Endpoint
	down, up       voice.Format
	before         []control.Frame // what the client got before ServerSync
	sync           *mumblepb.ServerSync
}

func version(v control.Version) *mumblepb.Version {
	m := &mumblepb.Version{Release: proto.String("test"), Os: proto.String("os")}
	v.Set(m)
	return m
}

const (
	alice, bobby = 7, 8 // sessions: the client behind guard, and somebody else
)

// logIn brings a session up to ServerSync. own is the client's version, 0 for a
// client that sends none.
func (s *stage) logIn(own, server control.Version, cert *tls.Certificate) *call {
	s.t.Helper()
	c := &call{stage: s, client: s.connect(cert)}
	if own != 0 {
		v := version(own)
		if own < control.MakeVersion(1, 5, 0) {
			v.VersionV2 = nil // as those clients do
		}
		c.client.send(v)
	}
	c.client.send(&mumblepb.Authenticate{Username: proto.String("alice"), Password: proto.String("pw"), Tokens: []string{"t1"}, Opus: proto.Bool(false)})
	c.server = s.upstream()
	c.server.send(version(server))
	if own != 0 || server >= control.MakeVersion(1, 5, 0) {
		c.announced, _ = until[*mumblepb.Version](c.server)
	}
	c.login, _ = until[*mumblepb.Authenticate](c.server)
	c.shown, _ = until[*mumblepb.Version](c.client)
	c.down = voice.FormatFor(uint64(own), uint64(server))
	c.up = voice.FormatFor(uint64(control.VersionOf(c.announced)), uint64(server))
	c.server.send(
		&mumblepb.ChannelState{ChannelId: proto.Uint32(0), Name: proto.String("Root")},
		&mumblepb.ChannelState{ChannelId: proto.Uint32(1), Parent: proto.Uint32(0), Name: proto.String("Lobby")},
		user(bobby, 0, "bob"), user(alice, 0, "alice"),
		&mumblepb.ServerSync{Session: proto.Uint32(alice), MaxBandwidth: proto.Uint32(72000), WelcomeText: proto.String("hi")},
	)
	c.sync, c.before = until[*mumblepb.ServerSync](c.client)
	return c
}

func user(session, channel uint32, name string) *mumblepb.UserState {
	return &mumblepb.UserState{Session: proto.Uint32(session), ChannelId: proto.Uint32(channel), Name: proto.String(name)}
}

// goesUp returns what the server gets when the client sends messages; goesDown
// the other way round.
func (c *call) goesUp(messages ...proto.Message) []control.Frame {
	c.t.Helper()
	return fenced(c.client, c.server, func() { c.client.send(messages...) })
}

func (c *call) goesDown(messages ...proto.Message) []control.Frame {
	c.t.Helper()
	return fenced(c.server, c.client, func() { c.server.send(messages...) })
}

// tunnel sends a voice packet through the client's tunnel and returns what reaches
// the server.
func (c *call) tunnel(p *voice.Packet) []control.Frame {
	c.t.Helper()
	b, err := voice.Append(nil, c.down, voice.ToServer, p)
	if err != nil {
		c.t.Fatal(err)
	}
	return fenced(c.client, c.server, func() { c.client.conn.Send(control.TypeUDPTunnel, b) })
}

// tunnelDown sends a voice packet from the server and returns what the client gets.
func (c *call) tunnelDown(p *voice.Packet) []control.Frame {
	c.t.Helper()
	b, err := voice.Append(nil, c.up, voice.ToClient, p)
	if err != nil {
		c.t.Fatal(err)
	}
	return fenced(c.server, c.client, func() { c.server.conn.Send(control.TypeUDPTunnel, b) })
}

// withBob puts somebody with the secret beside the client: session 8, an endpoint
// in this process. The server passes plugin messages between the two and echoes.
func (c *call) withBob() {
	c.t.Helper()
	server := sha256.Sum256(c.cert.Certificate[0])
	secret, err := e2ee.ParseSecret(c.secret, server)
	if err != nil {
		c.t.Fatal(err)
	}
	if c.bob, err = endpoint.New(e2ee.Config{Secret: secret, Server: server}); err != nil {
		c.t.Fatal(err)
	}
	for _, m := range []proto.Message{
		&mumblepb.ChannelState{ChannelId: proto.Uint32(0), Name: proto.String("Root")},
		user(bobby, 0, "bob"), user(alice, 0, "alice"), &mumblepb.ServerSync{Session: proto.Uint32(bobby)},
	} {
		c.tell(m)
	}
	// Guard's handshake is relayed here from now on, and what came before is done now.
	c.relay()
}

// tell hands bob a message of the server and carries what he answers.
func (c *call) tell(m proto.Message) {
	if _, _, err := c.bob.FromServer(time.Now(), m); err != nil {
		c.t.Error(err)
	}
	for o, ok := c.bob.Next(); ok; o, ok = c.bob.Next() {
		if s, ok := o.(endpoint.Send); ok {
			if p, ok := s.Message.(*mumblepb.PluginDataTransmission); ok {
				c.plugin(bobby, p)
			}
		}
	}
}

// plugin is Murmur's way with a plugin message.
func (c *call) plugin(from uint32, p *mumblepb.PluginDataTransmission) {
	p = proto.CloneOf(p)
	p.SenderSession = proto.Uint32(from)
	for _, to := range p.GetReceiverSessions() {
		switch to {
		case alice:
			c.server.conn.SendMessage(p)
		case bobby:
			if c.bob != nil {
				c.tell(p)
			}
		}
	}
}

// relay serves what guard sends until its gate opens.
func (c *call) relay() {
	c.t.Helper()
	late := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case f, ok := <-c.server.frames:
			if !ok {
				c.t.Fatalf("the session ended: %v", c.server.conn.Err())
			}
			if m, err := control.Decode(f); err == nil {
				if p, ok := m.(*mumblepb.PluginDataTransmission); ok {
					c.plugin(alice, p)
				}
			}
		case <-tick.C:
			c.bob.Tick(time.Now())
			c.tell(&mumblepb.Ping{})
			if c.typed() && c.bob.Leave() == e2ee.LeaveCiphertext {
				return
			}
		case <-late:
			c.t.Fatalf("no gate opens: bob is in %v", c.bob.State())
		}
	}
}

// typed reports whether guard's gate has opened.
func (s *stage) typed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Event == "gate" && e.State == "Typed" {
			return true
		}
	}
	return false
}

// only returns the one message of type T among frames, and demands that there is
// no other frame but guard's own handshake and lines.
func only[T proto.Message](t *testing.T, frames []control.Frame) T {
	t.Helper()
	var found T
	n := 0
	for _, f := range frames {
		m, err := control.Decode(f)
		if err != nil {
			t.Errorf("%v: %v", f.Type, err)
			continue
		}
		if m, ok := m.(T); ok {
			found = m
			n++
			continue
		}
		t.Errorf("besides there is %v: %v", f.Type, m)
	}
	if n != 1 {
		t.Fatalf("%d messages of the type, want 1", n)
	}
	return found
}

// withoutOwn takes guard's handshake away from what the server got.
func withoutOwn(frames []control.Frame) []control.Frame {
	var rest []control.Frame
	for _, f := range frames {
		if f.Type == control.TypePluginDataTransmission {
			if m, err := control.Decode(f); err == nil && m.(*mumblepb.PluginDataTransmission).GetDataID() == "sotto/1" {
				continue
			}
		}
		rest = append(rest, f)
	}
	return rest
}
