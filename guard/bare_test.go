package guard

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/crypt"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
	"github.com/sotto-voip/sotto/opus"
)

// mode is how a bare session is protected.
type mode uint8

const (
	modeHeld    mode = iota // a secret that nobody else here holds
	modeTyped               // a secret that bob holds
	modeRequire             // automatic groups, and nobody has Sotto
	modePrefer              // the same, where clear is allowed
	modeOff
	modes
)

func (m mode) String() string { return [...]string{"held", "typed", "require", "prefer", "off"}[m] }

// protected reports whether nothing may leave in clear.
func (m mode) protected() bool { return m <= modeRequire }

// bare is a session whose loop does not run: the test hands it the frames of both
// legs, in the order and at the times it likes. What it sends goes through pipes.
type bare struct {
	t    testing.TB
	mode mode
	s    *session
	now  time.Time
	bob  *endpoint.Endpoint // of modeTyped
	far  *crypt.CryptState  // of the server, see serverKey

	up, down             *sink
	serverEnd, clientEnd net.Conn // where a test may write itself, if the session's loop runs
	err                  error    // of the session
	events               int
}

// sink is the far end of a pipe.
type sink struct {
	frames chan control.Frame
	err    error // why it ended, once frames is closed
}

func newSink(r io.Reader) *sink {
	k := &sink{frames: make(chan control.Frame, 1<<16)}
	go func() {
		defer close(k.frames)
		in := control.NewReader(r, control.MaxLen)
		for {
			f, err := in.Next()
			if err != nil {
				k.err = err
				return
			}
			f.Body = bytes.Clone(f.Body)
			k.frames <- f
		}
	}()
	return k
}

// drain returns what has come until the pipe ended.
func (k *sink) drain() (frames []control.Frame) {
	for f := range k.frames {
		frames = append(frames, f)
	}
	return frames
}

var bareCert = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// newBare makes a session between Version and login: the server has said nothing.
func newBare(t testing.TB, m mode, own control.Version) *bare {
	t.Helper()
	b := &bare{t: t, mode: m, now: time.Now()}
	var secret string
	policy := e2ee.PolicyRequire
	switch m {
	case modeHeld, modeTyped:
		secret = e2ee.NewSecret()
	case modePrefer:
		policy = e2ee.PolicyPrefer
	case modeOff:
		policy = e2ee.PolicyOff
	case modeRequire, modes:
	}
	g := &Guard{
		cfg: Config{Policy: policy, Secret: secret, Events: func(events.Event) { b.events++ }},
		log: slog.New(slog.DiscardHandler), arrivals: make(chan *arrival), datagrams: make(chan *client.Datagram),
		ends: client.Endpoints{Policy: policy, Secret: secret, Address: "server.example"},
	}
	link, err := client.DialLink(context.Background(), b.now, client.LinkConfig{
		Address: "server.example:64738", CheckServer: func([]byte) error { return nil }, Dial: b.dial,
	})
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	b.down, b.clientEnd = newSink(far), far
	v := &mumblepb.Version{}
	own.Set(v)
	a := &arrival{conn: client.NewConn(near), version: v, auth: &mumblepb.Authenticate{Username: proto.String("alice")}}
	b.s = &session{
		g: g, from: a, down: newDownstream(a, b.now), up: link, said: map[string]time.Time{}, marks: marks{},
		sealBuf: make([]byte, 0, 2048), openBuf: make([]byte, 0, 2048),
	}
	if b.s.end, err = g.ends.For(link.Server()); err != nil {
		t.Fatal(err)
	}
	if m == modeTyped {
		b.makeBob(secret, link.Server())
	}
	return b
}

func (b *bare) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	tc := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{bareCert()}})
	b.up, b.serverEnd = newSink(tc), tc
	return near, nil
}

func (b *bare) makeBob(secret string, server [sha256.Size]byte) {
	b.t.Helper()
	key, err := e2ee.ParseSecret(secret, server)
	if err != nil {
		b.t.Fatal(err)
	}
	if b.bob, err = endpoint.New(e2ee.Config{Secret: key, Server: server}); err != nil {
		b.t.Fatal(err)
	}
}

// server hands the session messages of the server, client those of the client.
func (b *bare) server(messages ...proto.Message) {
	for _, m := range messages {
		b.serverFrame(b.frame(m))
	}
}

func (b *bare) client(messages ...proto.Message) {
	for _, m := range messages {
		b.clientFrame(b.frame(m))
	}
}

func (b *bare) frame(m proto.Message) control.Frame {
	typ, ok := control.TypeOf(m)
	body, err := proto.MarshalOptions{AllowPartial: true}.Marshal(m)
	if !ok || err != nil {
		b.t.Fatalf("%T: %v", m, err)
	}
	return control.Frame{Type: typ, Body: body}
}

// ended reports whether one of the legs, or the session, is over.
func (b *bare) ended() bool {
	if b.err == nil {
		b.err = errors.Join(b.s.up.Err(), b.s.down.conn.Err())
	}
	return b.err != nil
}

func (b *bare) serverFrame(f control.Frame) {
	if b.ended() {
		return
	}
	b.now = b.now.Add(time.Millisecond)
	if err := b.s.fromServer(b.now, f); err != nil {
		b.err = err
	}
	b.tick()
}

func (b *bare) clientFrame(f control.Frame) {
	if b.ended() {
		return
	}
	b.now = b.now.Add(time.Millisecond)
	b.s.fromClient(b.now, f)
	b.tick()
}

func (b *bare) tick() {
	if d := b.s.deadline(); b.err == nil && !b.now.Before(d) {
		b.err = b.s.tick(b.now)
	}
}

const bareAlice, bareBob = 7, 8

// greeting is a login as servers give it.
func greeting(server control.Version) []proto.Message {
	v := &mumblepb.Version{Release: proto.String("bare")}
	server.Set(v)
	key := bytes.Repeat([]byte{7}, 16)
	return []proto.Message{
		v,
		&mumblepb.CryptSetup{Key: key, ClientNonce: key, ServerNonce: key},
		&mumblepb.CodecVersion{Alpha: proto.Int32(1), Beta: proto.Int32(2), PreferAlpha: proto.Bool(true), Opus: proto.Bool(true)},
		&mumblepb.ChannelState{ChannelId: proto.Uint32(0), Name: proto.String("Root")},
		&mumblepb.ChannelState{ChannelId: proto.Uint32(1), Parent: proto.Uint32(0), Name: proto.String("Lobby"), Links: []uint32{0}},
		&mumblepb.UserState{Session: proto.Uint32(bareBob), Name: proto.String("bob"), ChannelId: proto.Uint32(0)},
		&mumblepb.UserState{Session: proto.Uint32(bareAlice), Name: proto.String("alice"), ChannelId: proto.Uint32(0)},
		&mumblepb.ServerSync{Session: proto.Uint32(bareAlice), MaxBandwidth: proto.Uint32(72000)},
		&mumblepb.ServerConfig{MessageLength: proto.Uint32(5000), AllowHtml: proto.Bool(true)},
	}
}

// login lets the server greet, and brings modeTyped to where bob holds the secret.
func (b *bare) login(server control.Version) {
	b.t.Helper()
	hello := greeting(server)
	b.server(hello[0])
	b.s.up.SendMessage(b.s.versionUp())
	b.s.up.SendMessage(b.s.g.authenticateUp(b.s.from.auth))
	b.server(hello[1:]...)
	if b.mode != modeTyped {
		return
	}
	for _, m := range greeting(server)[3:7] {
		b.tell(m)
	}
	b.tell(&mumblepb.ServerSync{Session: proto.Uint32(bareBob)})
	for range 200 {
		for _, f := range b.arrived() {
			if m, err := control.Decode(f); err == nil {
				if p, ok := m.(*mumblepb.PluginDataTransmission); ok {
					b.plugin(bareAlice, p)
				}
			}
		}
		b.now = b.now.Add(50 * time.Millisecond)
		b.bob.Tick(b.now)
		b.tell(&mumblepb.Ping{})
		b.server(&mumblepb.Ping{})
		b.tick()
		if b.s.end.Leave() == e2ee.LeaveCiphertext && b.bob.Leave() == e2ee.LeaveCiphertext {
			return
		}
	}
	b.t.Fatalf("the gate does not open: %v", b.s.end.State())
}

func (b *bare) tell(m proto.Message) {
	if _, _, err := b.bob.FromServer(b.now, m); err != nil {
		b.t.Fatal(err)
	}
	for o, ok := b.bob.Next(); ok; o, ok = b.bob.Next() {
		if s, ok := o.(endpoint.Send); ok {
			if p, ok := s.Message.(*mumblepb.PluginDataTransmission); ok {
				b.plugin(bareBob, p)
			}
		}
	}
}

// plugin is Murmur's way with a plugin message.
func (b *bare) plugin(from uint32, p *mumblepb.PluginDataTransmission) {
	p = proto.CloneOf(p)
	p.SenderSession = proto.Uint32(from)
	for _, to := range p.GetReceiverSessions() {
		switch to {
		case bareAlice:
			b.server(p)
		case bareBob:
			b.tell(p)
		}
	}
}

// arrived returns what has reached the server: a question of the client's marks the
// end, for it passes in its turn.
func (b *bare) arrived() (frames []control.Frame) {
	b.t.Helper()
	mark := b.frame(&mumblepb.QueryUsers{Names: []string{"mark"}})
	b.s.up.Send(mark.Type, mark.Body)
	for f := range b.up.frames {
		if f.Type == mark.Type && bytes.Equal(f.Body, mark.Body) {
			return frames
		}
		frames = append(frames, f)
	}
	b.t.Fatalf("the connection to the server ended: %v", b.s.up.Err())
	return nil
}

// close ends the session and returns what reached the server and the client.
func (b *bare) close() (up, down []control.Frame) {
	b.ended()
	b.s.disconnected()
	b.s.up.Close(10 * time.Second)
	b.s.down.conn.Close(10 * time.Second)
	return b.up.drain(), b.down.drain()
}

// leaked returns what is wrong with a frame that has left for the server while
// nothing may leave in clear; "": nothing. What it lets pass is public on every
// server, or was made by Sotto.
func leaked(f control.Frame, format voice.Format) string {
	if _, known := control.New(f.Type); !known && f.Type != control.TypeUDPTunnel {
		return "a type that nobody knows"
	}
	if f.Type == control.TypeUDPTunnel {
		return leakedVoice(f.Body, format)
	}
	m, err := control.Decode(f)
	if err != nil {
		return "" // passed byte for byte: a row without function
	}
	switch m := m.(type) {
	case *mumblepb.TextMessage:
		if _, err := envelope.ParseText(m.GetMessage()); err != nil {
			return fmt.Sprintf("a text in clear: %.40q", m.GetMessage())
		}
	case *mumblepb.PluginDataTransmission:
		if m.GetDataID() != "sotto/1" {
			return "plugin data"
		}
	case *mumblepb.UserState:
		if m.PluginContext != nil || m.PluginIdentity != nil || len(m.TemporaryAccessTokens) > 0 {
			return "a place in a game, or a password in a join"
		}
	case *mumblepb.VoiceTarget:
		for _, to := range m.GetTargets() {
			if to.ChannelId != nil || to.Group != nil {
				return "a whisper target that the server expands"
			}
		}
	case *mumblepb.Reject, *mumblepb.ServerSync, *mumblepb.PermissionDenied, *mumblepb.ServerConfig, *mumblepb.SuggestConfig,
		*mumblepb.CodecVersion, *mumblepb.ContextActionModify:
		return "what only servers send"
	}
	return ""
}

func leakedVoice(b []byte, format voice.Format) string {
	var p voice.Packet
	if err := voice.Parse(b, format, voice.ToServer, &p); err != nil {
		return "voice that is none: " + err.Error()
	}
	if p.HasPosition {
		return "a position"
	}
	if _, _, _, ok := envelope.ParseVoice(p.Data); ok || bytes.Equal(p.Data, silence()) {
		return ""
	}
	return fmt.Sprintf("voice in clear: % x", p.Data)
}

// silence is the cover with nothing in it, with which the leg says which way it goes.
var silence = sync.OnceValue(func() []byte {
	b, err := opus.AppendCover(nil, 20*time.Millisecond, nil)
	if err != nil {
		panic(err)
	}
	return b
})
