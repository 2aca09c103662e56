package guard_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/guard"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/mumble/control"
)

// patience is how long a test waits for what must come over loopback.
const patience = 10 * time.Second

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
	udp     *net.UDPConn // the server's; nil on paper
	paper   *paper
	calls   chan *leg // connections that reached the server, TLS done
	secret  string

	mu     sync.Mutex
	events []events.Event
	told   chan struct{} // one token: an event came
}

// options of a stage.
type options struct {
	policy e2ee.Policy
	secret string
	groups bool // no secret: keys are agreed on automatically
	named  []string
	accept *[32]byte
	hide   bool
	cert   *tls.Certificate // of the server; nil: one that is valid for long
	net    client.Net
	paper  *paper // the network, in virtual time; nil: real loopback sockets
}

// newStage starts a guard. Without a secret in o and with a policy other than off,
// one is made.
func newStage(t *testing.T, o options) *stage {
	t.Helper()
	s := &stage{t: t, cert: selfSigned(t, "server"), calls: make(chan *leg, 8), told: make(chan struct{}, 1), secret: o.secret}
	if s.secret == "" && !o.groups && o.policy != e2ee.PolicyOff {
		s.secret = e2ee.NewSecret()
	}
	if o.cert != nil {
		s.cert = *o.cert
	}
	var l net.Listener
	var open func(net.IP, string) (net.Listener, client.PacketConn, error)
	var wall func() time.Time
	if s.paper = o.paper; s.paper == nil {
		l, s.udp = bothPorts(t)
	} else {
		l, o.net, open, wall = s.paper.server, s.paper.net(), s.paper.open, s.paper.wall
	}
	s.address = l.Addr().String()
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
		if s.udp != nil {
			s.udp.Close()
		}
		<-accepting
	})
	store, err := keystore.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	if s.record, err = store.Server("127.0.0.1", uint16(l.Addr().(*net.TCPAddr).Port)); err != nil {
		t.Fatal(err)
	}
	s.guard, err = guard.New(guard.Config{
		Address: s.address, Listen: []string{"127.0.0.1:0"}, Policy: o.policy, Secret: s.secret, Named: o.named,
		Store: store, Server: s.record, Accept: o.accept, HideCertificate: o.hide, Events: s.event, Net: o.net, Open: open, Wall: wall,
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
	l := newLeg(s.t, tc, func(l *leg, f control.Frame) bool {
		if f.Type == control.TypePing && s.paper != nil {
			s.paper.pinged(l, f)
		}
		return f.Type == control.TypePing
	})
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
	tc := tls.Client(s.dial(), conf)
	if err := tc.HandshakeContext(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	l := newLeg(s.t, tc, nil)
	l.cert = tc.ConnectionState().PeerCertificates[0].Raw
	return l
}

// dial connects to guard.
func (s *stage) dial() net.Conn {
	s.t.Helper()
	if s.paper != nil {
		return s.paper.guard.dial()
	}
	nc, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(s.guard.Port()))))
	if err != nil {
		s.t.Fatal(err)
	}
	return nc
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
