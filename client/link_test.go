package client_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/crypt"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// far is the other end of a Link on real loopback sockets. The Link's time is
// virtual: it is a parameter of its methods.
type far struct {
	t      *testing.T
	link   *client.Link
	now    time.Time
	conn   *client.Conn
	udp    *net.UDPConn
	from   *net.UDPAddr
	crypt  crypt.CryptState
	format voice.Format
}

// bothPorts listens on TCP and UDP ports of the same number on loopback.
func bothPorts(t testing.TB) (net.Listener, *net.UDPConn) {
	t.Helper()
	var last error
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: l.Addr().(*net.TCPAddr).Port})
		if err == nil {
			return l, udp
		}
		l.Close() // somebody has that one
		last = err
	}
	t.Fatalf("no number is free for both: %v", last)
	return nil, nil
}

func newFar(t *testing.T, server control.Version, noUDP bool) *far {
	t.Helper()
	return newFarBy(t, server, noUDP, client.Net{})
}

// confirmed is a TCP connection of which all is always confirmed: a Link's time is
// virtual here, and the system's is not.
func confirmed(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
	return &told{c, []int{0}}, err
}

// newFarBy is newFar by a network whose resolver, if it has one, knows the server.
func newFarBy(t *testing.T, server control.Version, noUDP bool, by client.Net) *far {
	t.Helper()
	cert := selfSigned(t)
	l, udp := bothPorts(t)
	defer l.Close()
	f := &far{t: t, udp: udp, now: time.Unix(1_800_000_000, 0)}
	accepted := make(chan *client.Conn, 1)
	go func() {
		nc, err := l.Accept()
		if err != nil {
			accepted <- nil
			return
		}
		tc := tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{cert}})
		if tc.Handshake() != nil {
			nc.Close()
			accepted <- nil
			return
		}
		accepted <- client.NewConn(tc)
	}()
	by.DialTCP = confirmed
	address := l.Addr().String()
	if by.Resolver != nil {
		address = fmt.Sprintf("far.example:%d", l.Addr().(*net.TCPAddr).Port)
	}
	var err error
	f.link, err = client.DialLink(t.Context(), f.now, client.LinkConfig{
		Address: address, NoUDP: noUDP, Net: by, CheckServer: func([]byte) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if f.conn = <-accepted; f.conn == nil {
		t.Fatal("no connection")
	}
	t.Cleanup(func() {
		f.link.Close(0)
		f.conn.Close(0)
		f.udp.Close()
	})
	if server != 0 {
		v := &mumblepb.Version{}
		server.Set(v)
		f.toLink(v)
		ours := &mumblepb.Version{}
		client.Version.Set(ours)
		f.link.SendMessage(ours)
		f.wantFrame(control.TypeVersion)
	}
	f.format = voice.FormatFor(uint64(server), uint64(client.Version))
	return f
}

// toLink sends a control message and hands it to the Link.
func (f *far) toLink(m proto.Message) client.Incoming {
	f.t.Helper()
	f.conn.SendMessage(m)
	frame, ok := <-f.link.Frames()
	if !ok {
		f.t.Fatalf("the link ended: %v", f.link.Err())
	}
	in, err := f.link.ReceiveFrame(f.now, frame)
	if err != nil {
		f.t.Fatal(err)
	}
	return in
}

// wantFrame returns the next frame of a type that the Link sent.
func (f *far) wantFrame(want control.Type) control.Frame {
	f.t.Helper()
	for frame := range f.conn.Frames() {
		if frame.Type == want {
			return frame
		}
	}
	f.t.Fatalf("the link ended before a %v: %v", want, f.conn.Err())
	return control.Frame{}
}

// key gives the Link its UDP key.
func (f *far) key() {
	f.t.Helper()
	f.crypt.GenerateKey()
	if in := f.toLink(&mumblepb.CryptSetup{Key: f.crypt.Key(), ClientNonce: f.crypt.DecryptIV(), ServerNonce: f.crypt.EncryptIV()}); !in.Keyed {
		f.t.Error("the key was not taken")
	}
}

// datagram returns the next datagram that the Link sent, opened.
func (f *far) datagram() []byte {
	f.t.Helper()
	b := make([]byte, 2048)
	f.udp.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, from, err := f.udp.ReadFromUDP(b)
	if err != nil {
		f.t.Fatal(err)
	}
	f.from = from
	plain, err := f.crypt.Open(nil, b[:n])
	if err != nil {
		f.t.Fatal(err)
	}
	return plain
}

// wantPing returns the next ping of the Link.
func (f *far) wantPing() voice.Ping {
	f.t.Helper()
	b := f.datagram()
	var p voice.Ping
	if err := voice.ParsePing(b, f.format, &p); err != nil {
		f.t.Fatalf("% x: %v", b, err)
	}
	return p
}

// send brings plaintext to the Link as a datagram.
func (f *far) send(plain []byte) client.Incoming {
	f.t.Helper()
	if _, err := f.udp.WriteToUDP(f.crypt.Seal(nil, plain), f.from); err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Second)
	defer cancel()
	select {
	case d := <-f.link.Datagrams():
		defer d.Free()
		return f.link.ReceiveDatagram(f.now, d.B)
	case <-ctx.Done():
		f.t.Fatal("the datagram did not arrive")
		return client.Incoming{}
	}
}

func (f *far) echo(p voice.Ping) client.Incoming {
	f.t.Helper()
	return f.send(voice.AppendPing(nil, f.format, &voice.Ping{Timestamp: p.Timestamp}))
}

// tick lets time pass.
func (f *far) tick(d time.Duration) error {
	f.now = f.now.Add(d)
	return f.link.Tick(f.now)
}

// Voice goes through the tunnel until a UDP ping has come back, over UDP until
// they stay away, and comes back by measurement. Each turn tells the server.
func TestLinkUDP(t *testing.T) {
	for name, server := range map[string]control.Version{"legacy": control.MakeVersion(1, 3, 4), "protobuf": control.MakeVersion(1, 5, 735)} {
		t.Run(name, func(t *testing.T) {
			f := newFar(t, server, false)
			if f.link.Format() != f.format || f.link.ServerVersion() != server {
				t.Fatalf("format %v with a server %v", f.link.Format(), f.link.ServerVersion())
			}
			speak := func() {
				t.Helper()
				if err := f.link.SendVoice(&voice.Packet{Codec: voice.Opus, FrameNumber: 4, Data: []byte{0xF8, 1, 2}}); err != nil {
					t.Fatal(err)
				}
			}
			wantVoice := func(b []byte, target uint8) {
				t.Helper()
				var p voice.Packet
				if err := voice.Parse(b, f.format, voice.ToServer, &p); err != nil || p.Target != target {
					t.Errorf("% x: target %d, %v", b, p.Target, err)
				}
			}
			speak()
			wantVoice(f.wantFrame(control.TypeUDPTunnel).Body, 0)
			f.key()
			ping := f.wantPing()
			speak()
			wantVoice(f.wantFrame(control.TypeUDPTunnel).Body, 0)
			f.now = f.now.Add(30 * time.Millisecond)
			if in := f.echo(ping); in.Pong != ping.Timestamp || !f.link.OverUDP() {
				t.Errorf("echo: %+v, over UDP %v", in, f.link.OverUDP())
			}
			wantVoice(f.datagram(), 30) // nobody registers that target: it only tells the way
			speak()
			wantVoice(f.datagram(), 0)
			if s := f.link.Stats(); s.UDPPing < 29 || s.UDPPing > 31 {
				t.Errorf("round trip %v ms", s.UDPPing)
			}

			// An echo of a number that was never sent, or somebody else's, is nothing.
			if in := f.echo(voice.Ping{Timestamp: 1 << 40}); in.Pong != 0 {
				t.Errorf("a foreign echo: %+v", in)
			}

			// No echo for 5 s.
			for range 8 {
				if err := f.tick(time.Second); err != nil {
					t.Fatal(err)
				}
			}
			if f.link.OverUDP() {
				t.Fatal("still over UDP")
			}
			wantVoice(f.wantFrame(control.TypeUDPTunnel).Body, 30)
			speak()
			wantVoice(f.wantFrame(control.TypeUDPTunnel).Body, 0)

			// And back, after two echoes. The pings of before lie in the socket.
			var last voice.Ping
			for !f.link.OverUDP() {
				if err := f.tick(time.Second); err != nil {
					t.Fatal(err)
				}
				f.conn.SendMessage(&mumblepb.TextMessage{Message: proto.String("alive")})
				if _, err := f.link.ReceiveFrame(f.now, <-f.link.Frames()); err != nil {
					t.Fatal(err)
				}
				f.udp.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				b := make([]byte, 2048)
				n, _, err := f.udp.ReadFromUDP(b)
				if err != nil {
					continue // none this second
				}
				plain, err := f.crypt.Open(nil, b[:n])
				if err != nil {
					t.Fatal(err)
				}
				if voice.IsPing(plain, f.format) && voice.ParsePing(plain, f.format, &last) == nil {
					f.echo(last)
				}
				if f.now.Sub(time.Unix(1_800_000_000, 0)) > 2*time.Minute {
					t.Fatal("UDP never comes back")
				}
			}
		})
	}
}

func TestLinkWithoutUDP(t *testing.T) {
	f := newFar(t, control.MakeVersion(1, 5, 735), true)
	f.key()
	for range 5 {
		if err := f.tick(5 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := f.link.PingUDP(f.now); ok || f.link.OverUDP() {
		t.Error("there is UDP")
	}
	if err := f.tick(5 * time.Second); err != client.ErrTimeout {
		t.Errorf("30 s without a frame: %v", err)
	}
}

// Voice that arrives either way is handed on; what is malformed is counted.
func TestLinkReceivesVoice(t *testing.T) {
	f := newFar(t, control.MakeVersion(1, 5, 735), false)
	f.key()
	f.wantPing()
	p := voice.Packet{Codec: voice.Opus, Session: 9, FrameNumber: 7, Data: []byte{0xF8, 1}}
	b, err := voice.Append(nil, f.format, voice.ToClient, &p)
	if err != nil {
		t.Fatal(err)
	}
	in := f.send(b)
	if in.Voice == nil || !in.UDP || in.Voice.Session != 9 || string(in.Voice.Data) != "\xF8\x01" {
		t.Errorf("by UDP: %+v", in)
	}
	in, err = f.link.ReceiveFrame(f.now, control.Frame{Type: control.TypeUDPTunnel, Body: b})
	if err != nil || in.Voice == nil || in.UDP || in.Voice.Session != 9 {
		t.Errorf("through the tunnel: %+v, %v", in, err)
	}
	before := f.link.Stats().Malformed
	for _, body := range [][]byte{nil, {0}, {0xFF, 0xFF}, {0, 0xFF}} {
		if in, err := f.link.ReceiveFrame(f.now, control.Frame{Type: control.TypeUDPTunnel, Body: body}); err != nil || in.Voice != nil {
			t.Errorf("% x: %+v, %v", body, in, err)
		}
	}
	for _, kind := range []control.Type{control.TypePing, control.TypeCryptSetup, control.TypeVersion} {
		if in, err := f.link.ReceiveFrame(f.now, control.Frame{Type: kind, Body: []byte{0xFF}}); err != nil || in.Frame != nil {
			t.Errorf("a malformed %v: %+v, %v", kind, in, err)
		}
	}
	if n := f.link.Stats().Malformed - before; n != 7 {
		t.Errorf("%d counted as malformed, want 7", n)
	}
	// Datagrams that do not open are nothing.
	for _, junk := range [][]byte{nil, {1}, make([]byte, 100)} {
		if in := f.link.ReceiveDatagram(f.now, junk); in != (client.Incoming{}) {
			t.Errorf("% x: %+v", junk, in)
		}
	}
}

// CryptSetup in its three forms: a key, the peer's nonce, and the question for ours.
func TestLinkResync(t *testing.T) {
	f := newFar(t, control.MakeVersion(1, 3, 4), false)
	f.key()
	f.wantPing()
	f.toLink(&mumblepb.CryptSetup{})
	m, err := control.Decode(f.wantFrame(control.TypeCryptSetup))
	if err != nil {
		t.Fatal(err)
	}
	if nonce := m.(*mumblepb.CryptSetup).GetClientNonce(); len(nonce) != crypt.NonceSize {
		t.Errorf("our nonce is % x", nonce)
	}
	// We cannot read the server: ask, but not in a flood.
	if err := f.tick(4 * time.Second); err != nil {
		t.Fatal(err)
	}
	asks := func() int {
		broken := f.crypt.Seal(nil, make([]byte, 60))
		broken[2] ^= 0xFF // in the tag; the nonce is the next one
		for range 100 {
			f.link.ReceiveDatagram(f.now, broken)
		}
		f.link.SendMessage(&mumblepb.TextMessage{Message: proto.String("fence")})
		n := 0
		for frame := range f.conn.Frames() {
			switch frame.Type {
			case control.TypeCryptSetup:
				n++
			case control.TypeTextMessage:
				return n
			}
		}
		return n
	}
	if n := asks(); n != 0 {
		t.Errorf("asked %d times after 4 s", n)
	}
	f.now = f.now.Add(2 * time.Second)
	if n := asks(); n != 1 {
		t.Errorf("asked %d times after 6 s, want 1", n)
	}
	f.toLink(&mumblepb.CryptSetup{ServerNonce: f.crypt.EncryptIV()})
	if s := f.link.Stats(); s.Received.Resync != 1 {
		t.Errorf("resyncs %d", s.Received.Resync)
	}
	// Nonces and keys of the wrong length change nothing.
	f.toLink(&mumblepb.CryptSetup{ServerNonce: []byte{1}})
	if in := f.toLink(&mumblepb.CryptSetup{Key: []byte{1}, ClientNonce: []byte{2}, ServerNonce: []byte{3}}); in.Keyed {
		t.Error("a key of one byte is taken")
	}
	if s := f.link.Stats(); s.Malformed != 2 {
		t.Errorf("malformed %d", s.Malformed)
	}
}

// Pings carry our true figures and their echo gives the round trip.
func TestLinkPing(t *testing.T) {
	f := newFar(t, control.MakeVersion(1, 5, 735), true)
	for n := range 3 {
		id := f.link.Ping(f.now)
		m, err := control.Decode(f.wantFrame(control.TypePing))
		if err != nil {
			t.Fatal(err)
		}
		ping := m.(*mumblepb.Ping)
		if ping.GetTimestamp() != id || int(ping.GetTcpPackets()) != n || n > 0 && ping.GetTcpPingAvg() != 20 {
			t.Errorf("ping %v", ping)
		}
		f.now = f.now.Add(20 * time.Millisecond)
		in := f.toLink(&mumblepb.Ping{Timestamp: proto.Uint64(id), Good: proto.Uint32(5), Lost: proto.Uint32(2)})
		if in.Pong != id {
			t.Errorf("pong %+v", in)
		}
	}
	if in := f.toLink(&mumblepb.Ping{Timestamp: proto.Uint64(0)}); in.Pong != 0 {
		t.Errorf("a foreign pong %+v", in)
	}
	if s := f.link.Stats(); s.TCPPing != 20 || s.Remote.Good != 5 || s.Remote.Lost != 2 {
		t.Errorf("stats %+v", s)
	}
}

// A probe is answered by what was asked after it began, not by what lay in a buffer,
// and UDP carries voice again after two echoes.
func TestLinkProbe(t *testing.T) {
	f := newFar(t, control.MakeVersion(1, 5, 735), false)
	f.key()
	f.echo(f.wantPing())
	if !f.link.OverUDP() {
		t.Fatal("no UDP to begin with")
	}
	old := f.link.Ping(f.now)
	f.now = f.now.Add(time.Minute)
	f.link.Probe(f.now)
	if !f.link.Probing() || f.link.OverUDP() {
		t.Errorf("probing %v, over UDP %v", f.link.Probing(), f.link.OverUDP())
	}
	f.toLink(&mumblepb.Ping{Timestamp: proto.Uint64(old)})
	if !f.link.Probing() {
		t.Error("answered by a pong of before")
	}
	f.toLink(&mumblepb.TextMessage{Message: proto.String("of before")})
	if !f.link.Probing() {
		t.Error("answered by a text")
	}
	if err := f.tick(2900 * time.Millisecond); err != nil {
		t.Errorf("before three seconds: %v", err)
	}
	f.toLink(&mumblepb.Ping{Timestamp: proto.Uint64(old + 1)})
	if f.link.Probing() {
		t.Error("not answered")
	}
	f.link.Probe(f.now)
	if err := f.tick(3 * time.Second); err != client.ErrUnreachable {
		t.Errorf("without an answer: %v", err)
	}
}

// twoFaced is a host whose first address refuses.
type twoFaced struct{}

func (twoFaced) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", nil, &net.DNSError{IsNotFound: true}
}

func (twoFaced) LookupNetIP(_ context.Context, network, _ string) ([]netip.Addr, error) {
	if network == "ip6" {
		return []netip.Addr{netip.MustParseAddr("::1")}, nil
	}
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

// Datagrams go to the address that TCP chose, not to another one of the host.
func TestLinkUDPFollowsTCP(t *testing.T) {
	f := newFarBy(t, control.MakeVersion(1, 5, 735), false, client.Net{Resolver: twoFaced{}})
	if got := f.link.Remote().Addr().String(); got != "127.0.0.1" {
		t.Fatalf("TCP goes to %v", got)
	}
	f.key()
	f.echo(f.wantPing())
	if !f.link.OverUDP() {
		t.Error("no UDP")
	}
}

func TestDialLinkNeedsACheck(t *testing.T) {
	if _, err := client.DialLink(t.Context(), time.Now(), client.LinkConfig{Address: "127.0.0.1:1"}); err == nil {
		t.Error("a link without CheckServer is dialled")
	}
}

// MS22: a key that comes a second time, with its nonces set back, would encrypt
// twice under one nonce. It is not taken, and nothing leaves by UDP any more.
func TestLinkOldKey(t *testing.T) {
	for _, c := range []struct {
		name   string
		attack func(f *far)
	}{
		{"the same key again", func(f *far) {
			setup := &mumblepb.CryptSetup{Key: f.crypt.Key(), ClientNonce: f.crypt.DecryptIV(), ServerNonce: f.crypt.EncryptIV()}
			if in := f.toLink(setup); in.Keyed || !in.Barred {
				t.Errorf("the same key: %+v", in)
			}
		}},
		{"a key of before", func(f *far) {
			setup := &mumblepb.CryptSetup{Key: f.crypt.Key(), ClientNonce: f.crypt.DecryptIV(), ServerNonce: f.crypt.EncryptIV()}
			f.key()
			if in := f.toLink(setup); in.Keyed || !in.Barred {
				t.Errorf("a key of before: %+v", in)
			}
		}},
		{"a key each second", func(f *far) {
			for n := 0; ; n++ {
				if n > 100 {
					t.Fatal("100 keys are taken")
				}
				f.crypt.GenerateKey()
				in := f.toLink(&mumblepb.CryptSetup{Key: f.crypt.Key(), ClientNonce: f.crypt.DecryptIV(), ServerNonce: f.crypt.EncryptIV()})
				if in.Barred {
					return
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFar(t, control.MakeVersion(1, 5, 735), false)
			f.key()
			f.echo(f.wantPing())
			if !f.link.OverUDP() {
				t.Fatal("no UDP to begin with")
			}
			f.datagram() // the turn
			c.attack(f)
			if f.link.OverUDP() {
				t.Error("still over UDP")
			}
			f.wantFrame(control.TypeUDPTunnel) // the turn
			for b := make([]byte, 2048); ; {   // pings of the time before
				f.udp.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				if _, _, err := f.udp.ReadFromUDP(b); err != nil {
					break
				}
			}
			for range 5 {
				if err := f.tick(4 * time.Second); err != nil {
					t.Fatal(err)
				}
				f.toLink(&mumblepb.CryptSetup{Key: f.crypt.Key(), ClientNonce: f.crypt.DecryptIV(), ServerNonce: f.crypt.EncryptIV()})
				f.link.PingUDP(f.now)
				if err := f.link.SendVoice(&voice.Packet{Codec: voice.Opus, FrameNumber: 4, Data: []byte{0xF8, 1, 2}}); err != nil {
					t.Fatal(err)
				}
				f.wantFrame(control.TypeUDPTunnel)
			}
			f.udp.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if n, _, err := f.udp.ReadFromUDP(make([]byte, 2048)); err == nil {
				t.Errorf("%d bytes leave by UDP", n)
			}
		})
	}
}
