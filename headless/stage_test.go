package headless_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

const (
	ms   = time.Millisecond
	self = 1 // our session on the stage
)

// stage is a scripted server on a pipe, for one client in clear. It lets the
// client in and says what the test tells it to.
type stage struct {
	t    *testing.T
	cert tls.Certificate
	// What the server speaks; the client announces the same.
	version control.Version
	format  voice.Format

	mu     sync.Mutex
	conn   *client.Conn // the newest
	logins int
	mute   bool // the client may not speak
	heard  []packet
	texts  []string

	deny      string // the answer to each text
	denyAfter time.Duration
}

// packet is one packet that the client sent.
type packet struct {
	at         time.Time
	number     uint64
	terminator bool
	opus       []byte
}

// play runs f with a client on a stage, in virtual time; in clear if cfg has no
// secret.
func play(t *testing.T, cfg client.Config, f func(t *testing.T, s *stage, c *client.Client)) {
	t.Helper()
	cert := selfSigned(t)
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, cert: cert, version: client.Version, format: voice.Protobuf}
		if cfg.Announce != 0 {
			s.version, s.format = cfg.Announce, voice.Legacy
		}
		cfg.Address, cfg.Username, cfg.Dial, cfg.Policy = "stage.example:64738", "me", s.dial, e2ee.PolicyOff
		if cfg.Secret != "" {
			cfg.Policy = e2ee.PolicyRequire
		}
		cfg.CheckServer = func([]byte) error { return nil }
		c, err := client.Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		f(t, s, c)
	})
}

func selfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stage"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (s *stage) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go s.serve(theirs)
	return ours, nil
}

func (s *stage) serve(nc net.Conn) {
	tc := tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{s.cert}})
	if tc.Handshake() != nil {
		nc.Close()
		return
	}
	conn := client.NewConn(tc)
	v := &mumblepb.Version{}
	s.version.Set(v)
	conn.SendMessage(v)
	for f := range conn.Frames() {
		s.frame(conn, f)
	}
	conn.Close(0)
}

func (s *stage) frame(conn *client.Conn, f control.Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Type == control.TypeUDPTunnel {
		var p voice.Packet
		if err := voice.Parse(f.Body, s.format, voice.ToServer, &p); err != nil {
			s.t.Error(err)
		}
		s.heard = append(s.heard, packet{time.Now(), p.FrameNumber, p.Terminator, bytes.Clone(p.Data)})
		return
	}
	m, err := control.Decode(f)
	if err != nil {
		s.t.Error(err)
		return
	}
	switch m := m.(type) {
	case *mumblepb.Authenticate:
		s.conn = conn
		s.logins++
		conn.Authenticated()
		conn.SendMessage(&mumblepb.ChannelState{ChannelId: proto.Uint32(0), Name: proto.String("Root")})
		conn.SendMessage(&mumblepb.UserState{Session: proto.Uint32(self), Name: proto.String("me"), Mute: proto.Bool(s.mute)})
		conn.SendMessage(&mumblepb.ServerSync{Session: proto.Uint32(self), MaxBandwidth: proto.Uint32(72000)})
	case *mumblepb.Ping:
		conn.SendMessage(m)
	case *mumblepb.TextMessage:
		s.texts = append(s.texts, m.GetMessage())
		if s.deny != "" {
			time.AfterFunc(s.denyAfter, func() {
				conn.SendMessage(&mumblepb.PermissionDenied{Type: mumblepb.PermissionDenied_Text.Enum(), Reason: proto.String(s.deny)})
			})
		}
	}
}

// send says something to the client and waits until it has been taken in.
func (s *stage) send(m proto.Message) {
	s.t.Helper()
	s.mu.Lock()
	ok := s.conn.SendMessage(m)
	s.mu.Unlock()
	if !ok {
		s.t.Fatalf("%T cannot be sent", m)
	}
	synctest.Wait()
}

func (s *stage) come(session uint32, name string) {
	s.t.Helper()
	s.send(&mumblepb.UserState{Session: proto.Uint32(session), Name: proto.String(name)})
}

func (s *stage) leave(session uint32) {
	s.t.Helper()
	s.send(&mumblepb.UserRemove{Session: proto.Uint32(session)})
}

// say relays one Opus packet of somebody.
func (s *stage) say(session uint32, number uint64, opus []byte, more ...func(*voice.Packet)) {
	s.t.Helper()
	p := voice.Packet{Codec: voice.Opus, Session: session, FrameNumber: number, Data: opus}
	for _, f := range more {
		f(&p)
	}
	b, err := voice.Append(nil, s.format, voice.ToClient, &p)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	ok := s.conn.SendVoice(b)
	s.mu.Unlock()
	if !ok {
		s.t.Fatal("voice cannot be sent")
	}
	synctest.Wait()
}

func last(p *voice.Packet)    { p.Terminator = true }
func whisper(p *voice.Packet) { p.Context = voice.ContextWhisper }

// cut ends the connection, as a server that restarts.
func (s *stage) cut() {
	s.mu.Lock()
	conn := s.conn
	s.mu.Unlock()
	go conn.Close(0)
	synctest.Wait()
}

// speech returns a packet of n frames of 20 ms, valid for everybody that does
// not decode it, and other for each mark.
func speech(n int, mark byte) []byte {
	body := bytes.Repeat([]byte{0x10, mark, 0x20}, n)
	switch n {
	case 1:
		return append([]byte{0xF8}, body...)
	default:
		return append([]byte{0xFB, byte(n)}, body...)
	}
}
