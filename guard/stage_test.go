package guard_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/guard"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// patience is how long a test waits for what must come over loopback.
const patience = 10 * time.Second

func selfSigned(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// stage is a running guard between a scripted server and scripted clients, all on
// real loopback sockets.
type stage struct {
	t       *testing.T
	guard   *guard.Guard
	record  *keystore.Server
	cert    tls.Certificate
	address string
	udp     *net.UDPConn // the server's
	calls   chan *leg    // connections that reached the server, TLS done
	secret  string

	mu     sync.Mutex
	events []events.Event
	told   chan struct{} // one token: an event came
}

// leg is one control connection of a script: at the server, or at the client.
type leg struct {
	t      *testing.T
	conn   *client.Conn
	frames chan control.Frame
	own    func(control.Frame) bool // takes what is not the test's
	cert   []byte                   // the peer's, DER
	fence  uint32
}

// newLeg reads frames into a channel with room, so that scripts need no goroutines.
func newLeg(t *testing.T, nc net.Conn, own func(control.Frame) bool) *leg {
	l := &leg{t: t, conn: client.NewConn(nc), frames: make(chan control.Frame, 4096), own: own}
	l.conn.Authenticated()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(l.frames)
		for f := range l.conn.Frames() {
			if l.own == nil || !l.own(f) {
				l.frames <- f
			}
		}
	}()
	t.Cleanup(func() {
		l.conn.Close(0)
		<-done
	})
	return l
}

// send queues messages. That the peer has gone shows where its answer is awaited.
func (l *leg) send(messages ...proto.Message) {
	for _, m := range messages {
		l.conn.SendMessage(m)
	}
}

// next returns the next frame, or fails.
func (l *leg) next() control.Frame {
	l.t.Helper()
	select {
	case f, ok := <-l.frames:
		if !ok {
			l.t.Fatalf("the connection ended: %v", l.conn.Err())
		}
		return f
	case <-time.After(patience):
		l.t.Fatal("nothing comes")
	}
	panic("unreachable")
}

// until returns the next message of type T and what came before it.
func until[T proto.Message](l *leg) (T, []control.Frame) {
	l.t.Helper()
	var before []control.Frame
	for {
		f := l.next()
		if m, err := control.Decode(f); err == nil {
			if m, ok := m.(T); ok {
				return m, before
			}
		}
		before = append(before, f)
	}
}

// ended waits until the peer has closed, and returns what came before.
func (l *leg) ended() []control.Frame {
	l.t.Helper()
	var before []control.Frame
	for {
		select {
		case f, ok := <-l.frames:
			if !ok {
				return before
			}
			before = append(before, f)
		case <-time.After(patience):
			l.t.Fatal("the connection does not end")
		}
	}
}

// options of a stage.
type options struct {
	policy e2ee.Policy
	secret string
	named  []string
	accept *[32]byte
}

// newStage starts a guard. Without a secret in o and with a policy other than off,
// one is made.
func newStage(t *testing.T, o options) *stage {
	t.Helper()
	s := &stage{t: t, cert: selfSigned(t, "server"), calls: make(chan *leg, 8), told: make(chan struct{}, 1), secret: o.secret}
	if s.secret == "" && o.policy != e2ee.PolicyOff {
		s.secret = e2ee.NewSecret()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	s.address = l.Addr().String()
	if s.udp, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err != nil {
		t.Skipf("the UDP port of the same number is taken: %v", err)
	}
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			s.answer(nc)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		s.udp.Close()
		<-accepting
	})
	store, err := keystore.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	if s.record, err = store.Server("127.0.0.1", uint16(port)); err != nil {
		t.Fatal(err)
	}
	s.guard, err = guard.New(guard.Config{
		Address: s.address, Listen: []string{"127.0.0.1:0"}, Policy: o.policy, Secret: s.secret, Named: o.named,
		Store: store, Server: s.record, Accept: o.accept, Events: s.event,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.guard.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("guard ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("guard does not end")
		}
	})
	return s
}

func (s *stage) answer(nc net.Conn) {
	s.mu.Lock()
	cert := s.cert
	s.mu.Unlock()
	tc := tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if tc.HandshakeContext(ctx) != nil {
		nc.Close()
		return
	}
	l := newLeg(s.t, tc, func(f control.Frame) bool { return f.Type == control.TypePing })
	if certs := tc.ConnectionState().PeerCertificates; len(certs) > 0 {
		l.cert = certs[0].Raw
	}
	s.calls <- l
}

func (s *stage) event(e events.Event) {
	s.mu.Lock()
	s.events = append(s.events, e)
	s.mu.Unlock()
	select {
	case s.told <- struct{}{}:
	default:
	}
}

// wantEvent waits until an event came for which ok holds, and forgets it and all before.
func (s *stage) wantEvent(what string, ok func(events.Event) bool) events.Event {
	s.t.Helper()
	late := time.After(patience)
	for {
		s.mu.Lock()
		for i, e := range s.events {
			if ok(e) {
				s.events = s.events[i+1:]
				s.mu.Unlock()
				return e
			}
		}
		s.mu.Unlock()
		select {
		case <-s.told:
		case <-late:
			s.mu.Lock()
			defer s.mu.Unlock()
			s.t.Fatalf("no event: %s; there are %+v", what, s.events)
		}
	}
}

func (s *stage) wantKind(kind string) events.Event {
	s.t.Helper()
	return s.wantEvent(kind, func(e events.Event) bool { return e.Event == kind })
}

func (s *stage) wantState(state string) {
	s.t.Helper()
	s.wantEvent("gate "+state, func(e events.Event) bool { return e.Event == "gate" && e.State == state })
}

// connect opens a client's connection to guard.
func (s *stage) connect(cert *tls.Certificate) *leg {
	s.t.Helper()
	conf := &tls.Config{InsecureSkipVerify: true}
	if cert != nil {
		conf.Certificates = []tls.Certificate{*cert}
	}
	d := tls.Dialer{Config: conf}
	nc, err := d.DialContext(s.t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(s.guard.Port()))))
	if err != nil {
		s.t.Fatal(err)
	}
	l := newLeg(s.t, nc, nil)
	l.cert = nc.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw
	return l
}

// upstream waits for guard to come to the server.
func (s *stage) upstream() *leg {
	s.t.Helper()
	select {
	case l := <-s.calls:
		return l
	case <-time.After(patience):
		s.t.Fatal("guard does not come to the server")
		return nil
	}
}

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
	c.client.send(&mumblepb.Authenticate{Username: proto.String("alice"), Password: proto.String("pw"), Tokens: []string{"t1"}, Opus: proto.Bool(true)})
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

// fenced sends messages from one leg and returns what reaches the other because of
// them: QueryUsers passes both ways and marks the end.
func fenced(from, to *leg, send func()) []control.Frame {
	from.t.Helper()
	from.fence++
	mark := 1_000_000 + from.fence
	send()
	from.send(&mumblepb.QueryUsers{Ids: []uint32{mark}})
	var got []control.Frame
	for {
		f := to.next()
		if f.Type == control.TypeQueryUsers {
			if m, err := control.Decode(f); err == nil && slices.Equal(m.(*mumblepb.QueryUsers).GetIds(), []uint32{mark}) {
				return got
			}
		}
		got = append(got, f)
	}
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

// none demands that nothing came but guard's own handshake.
func none(t *testing.T, frames []control.Frame) {
	t.Helper()
	for _, f := range frames {
		if m, err := control.Decode(f); err == nil {
			if p, ok := m.(*mumblepb.PluginDataTransmission); ok && p.GetDataID() == "sotto/1" {
				continue
			}
			t.Errorf("%v came through: %v", f.Type, m)
			continue
		}
		t.Errorf("%v came through: % x", f.Type, f.Body)
	}
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
