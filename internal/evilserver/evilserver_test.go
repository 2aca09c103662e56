package evilserver_test

import (
	"bytes"
	"fmt"
	"net"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/internal/evilserver"
	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

const patience = 10 * time.Second

// stage is a real murmurd, a proxy before it, and two people behind that.
type stage struct {
	t          *testing.T
	murmur     *peers.Server
	evil       *evilserver.Server
	alice, bob *peers.Raw
}

// ways of voice.
const (
	udp    = true
	tunnel = false
)

func newEvil(t *testing.T, murmur *peers.Server) *evilserver.Server {
	t.Helper()
	e, err := evilserver.Start(evilserver.Options{Upstream: murmur.Addr(), Certificate: murmur.Certificate.TLS, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func newStage(t *testing.T, way bool) *stage {
	t.Helper()
	return stageOf(t, peers.Murmur15, way)
}

func stageOf(t *testing.T, kind peers.ServerKind, way bool) *stage {
	t.Helper()
	s := &stage{t: t, murmur: peers.Start(t, kind, peers.ServerOptions{Unlimited: true})}
	s.evil = newEvil(t, s.murmur)
	s.alice = s.dial("alice", way)
	s.bob = s.dial("bob", way)
	return s
}

func (s *stage) dial(name string, way bool) *peers.Raw {
	s.t.Helper()
	return peers.DialRaw(s.t, s.evil.Addr(), name, peers.RawOptions{UDP: way, Certificate: certificateOf(s.t, name)})
}

var certificates = map[string]*peers.Certificate{}

func certificateOf(t *testing.T, name string) *peers.Certificate {
	if certificates[name] == nil {
		certificates[name] = peers.NewCertificate(t, name)
	}
	return certificates[name]
}

// plugin sends one Sotto object of the kind, in one fragment, and returns its data.
func (s *stage) plugin(from *peers.Raw, kind envelope.Kind, text string, to ...uint32) []byte {
	s.t.Helper()
	data, err := envelope.AppendSingle(nil, envelope.Object{Kind: kind, Body: []byte(text)})
	if err != nil {
		s.t.Fatal(err)
	}
	from.Send(&mumblepb.PluginDataTransmission{ReceiverSessions: to, Data: data, DataID: proto.String(envelope.DataID)})
	return data
}

// waitPlugin waits for that data and returns the message.
func (s *stage) waitPlugin(at *peers.Raw, data []byte) *mumblepb.PluginDataTransmission {
	s.t.Helper()
	got := at.Wait(patience, fmt.Sprintf("plugin data %q", data), func(g peers.Received) bool {
		m, ok := g.Message.(*mumblepb.PluginDataTransmission)
		return ok && bytes.Equal(m.GetData(), data)
	})
	return got.Message.(*mumblepb.PluginDataTransmission)
}

// plugins are the bodies of the Sotto objects that came so far.
func plugins(at *peers.Raw) (bodies []string) {
	for _, g := range at.All() {
		if m, ok := g.Message.(*mumblepb.PluginDataTransmission); ok {
			if f, err := envelope.ParseFragment(m.GetData()); err == nil {
				bodies = append(bodies, string(f.Part))
			}
		}
	}
	return bodies
}

// settle returns when everything that was on its way to a client is there: a
// text of one's own to oneself is not sent back, one from another is.
func (s *stage) settle(from, at *peers.Raw) {
	s.t.Helper()
	settled++
	text := fmt.Sprint("settled ", settled)
	from.TextTo(text, at.Session)
	at.WaitText(patience, text)
}

var settled int

func opus(n int) []byte { return append([]byte{0x78}, bytes.Repeat([]byte{byte(n)}, 20)...) }

// TestHonest tells no lie: nobody sees that somebody stands there, on either
// server, whichever way voice takes and whatever version the client has.
func TestHonest(t *testing.T) {
	for _, kind := range peers.ServerKinds {
		t.Run(kind.String(), func(t *testing.T) { honest(t, kind) })
	}
}

func honest(t *testing.T, kind peers.ServerKind) {
	s := stageOf(t, kind, udp)
	old := peers.DialRaw(t, s.evil.Addr(), "carol", peers.RawOptions{UDP: true, Version: peers.Version134})
	through := s.dial("dave", tunnel)
	if !bytes.Equal(s.alice.CertDER, s.murmur.CertDER()) {
		t.Error("another certificate than murmurd's")
	}
	all := []*peers.Raw{s.alice, s.bob, old, through}
	for i, from := range all {
		from.SendVoice(voice.Packet{Data: opus(i), FrameNumber: uint64(i), Terminator: true})
		for j, to := range all {
			if i == j {
				continue
			}
			heard := to.WaitHeard(patience, from.Session, 1)
			if p := heard[0]; !bytes.Equal(p.Data, opus(i)) || p.FrameNumber != uint64(i) || !p.Terminator {
				t.Errorf("%s hears %+v from %s", to.Name, p, from.Name)
			}
		}
	}
	if kind == peers.Murmur15 { // the older one knows no plugin data
		data := s.plugin(s.alice, envelope.KindBeacon, "hello", s.alice.Session, s.bob.Session)
		for _, at := range []*peers.Raw{s.alice, s.bob} {
			if m := s.waitPlugin(at, data); m.GetSenderSession() != s.alice.Session {
				t.Errorf("plugin data of session %d", m.GetSenderSession())
			}
		}
	}
	if got := s.bob.Users()[s.alice.Session].GetHash(); got != certificateOf(t, "alice").Hash() {
		t.Errorf("alice's certificate is %q, want her own", got)
	}
	c := s.evil.Client("alice", patience)
	if c == nil || c.Session() != s.alice.Session {
		t.Fatalf("the proxy knows alice as %+v", c)
	}
	if n := s.evil.Odd(); n != 0 {
		t.Errorf("%d things could not be passed on", n)
	}
	// Whoever leaves is gone on both sides.
	s.alice.Close()
	s.bob.Wait(patience, "UserRemove", func(g peers.Received) bool {
		m, ok := g.Message.(*mumblepb.UserRemove)
		return ok && m.GetSession() == s.alice.Session
	})
	wantDone(t, c)
	if n := len(s.evil.Clients()); n != 3 {
		t.Errorf("%d clients are left", n)
	}
}

func wantDone(t *testing.T, c *evilserver.Client) {
	t.Helper()
	select {
	case <-c.Done():
	case <-time.After(patience):
		t.Fatal("a client has left, but its connection runs on")
	}
}

// TestRefused lets murmurd refuse somebody: the reason arrives before the end.
func TestRefused(t *testing.T) {
	murmur := peers.Start(t, peers.Murmur15, peers.ServerOptions{Password: "right"})
	evil := newEvil(t, murmur)
	_, err := peers.TryRaw(evil.Addr(), "alice", peers.RawOptions{Password: "wrong"})
	if rejected, ok := err.(*peers.Rejected); !ok || rejected.Type != mumblepb.Reject_WrongServerPW {
		t.Errorf("the refusal arrives as %v", err)
	}
}

// TestClose ends with clients connected, delayed messages waiting, and one that
// never finishes its handshake; nothing is left running, or the test would hang.
func TestClose(t *testing.T) {
	s := newStage(t, udp)
	s.evil.LateFrom(evilserver.Everybody, time.Hour)
	s.alice.Text(0, "never")
	silent, err := net.Dial("tcp4", s.evil.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c := s.evil.Client("alice", patience)
	s.evil.Close()
	wantDone(t, c)
	s.evil.Close()
	if len(s.evil.Clients()) != 0 {
		t.Errorf("%d clients are left", len(s.evil.Clients()))
	}
	if _, err := peers.TryRaw(s.evil.Addr(), "carol", peers.RawOptions{}); err == nil {
		t.Error("still there")
	}
}

// TestUnknown passes on what it does not understand.
func TestUnknown(t *testing.T) {
	s := newStage(t, tunnel)
	s.alice.SendFrame(control.Type(200), []byte("who knows"))
	s.alice.Text(0, "still here")
	s.bob.WaitText(patience, "still here")
	whole := control.AppendFrame(nil, control.Type(201), []byte("unheard of"))
	bob := s.evil.Client("bob", patience)
	s.evil.InjectBytes(bob, whole[:8])
	s.evil.InjectBytes(bob, whole[8:])
	s.bob.Wait(patience, "the frame", func(g peers.Received) bool {
		return g.Frame.Type == 201 && string(g.Frame.Body) == "unheard of"
	})
	if s.alice.Err() != nil {
		t.Errorf("cut off: %v", s.alice.Err())
	}
}
