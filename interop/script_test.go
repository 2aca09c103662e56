package interop_test

import (
	"crypto/tls"
	"net"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// scripted is a server that does what no Mumble server does: each connection is
// given to a function. It is the hostile end only, never a stand-in for a peer.
type scripted struct {
	t    *testing.T
	l    net.Listener
	work sync.WaitGroup

	mu    sync.Mutex
	cert  *peers.Certificate
	act   func(*tls.Conn)
	conns []net.Conn
}

// startScripted starts one that takes connections and says nothing.
func startScripted(t *testing.T, cert *peers.Certificate) *scripted {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{t: t, l: l, cert: cert}
	s.work.Go(s.accept)
	t.Cleanup(func() {
		l.Close()
		s.mu.Lock()
		for _, c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		s.work.Wait()
	})
	return s
}

func (s *scripted) addr() string { return s.l.Addr().String() }

// set changes what the next connections meet. A nil act says nothing and reads
// everything.
func (s *scripted) set(cert *peers.Certificate, act func(*tls.Conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cert, s.act = cert, act
}

func (s *scripted) accept() {
	for {
		nc, err := s.l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		cert, act := s.cert, s.act
		s.conns = append(s.conns, nc)
		s.mu.Unlock()
		s.work.Go(func() {
			defer nc.Close()
			c := tls.Server(nc, &tls.Config{
				Certificates: []tls.Certificate{cert.TLS}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12,
			})
			if c.Handshake() != nil {
				return
			}
			if act != nil {
				act(c)
				c.CloseWrite() // not a reset, which would take back what was said
			}
			swallow(c)
		})
	}
}

// swallow reads until the other end closes.
func swallow(c net.Conn) {
	for b := make([]byte, 4096); ; {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}

// post writes messages as a server would. Errors do not matter: the other end
// may close at any time.
func post(c *tls.Conn, messages ...proto.Message) {
	for _, m := range messages {
		if b, err := control.AppendMessage(nil, m); err == nil {
			c.Write(b)
		}
	}
}

// postFrame writes a frame of any type and body.
func postFrame(c net.Conn, typ control.Type, body []byte) {
	c.Write(control.AppendFrame(nil, typ, body))
}

// welcomed plays the login of a Mumble 1.5 server.
func welcomed(c *tls.Conn) {
	version := &mumblepb.Version{Release: proto.String("scripted")}
	peers.Version15.Set(version)
	key := make([]byte, 16)
	post(c, version,
		&mumblepb.CryptSetup{Key: key, ClientNonce: key, ServerNonce: key},
		&mumblepb.CodecVersion{Alpha: proto.Int32(0), Beta: proto.Int32(0), PreferAlpha: proto.Bool(true), Opus: proto.Bool(true)},
		&mumblepb.ChannelState{ChannelId: proto.Uint32(0), Name: proto.String("Root")},
		&mumblepb.UserState{Session: proto.Uint32(1), Name: proto.String("alice"), ChannelId: proto.Uint32(0)},
		&mumblepb.ServerSync{Session: proto.Uint32(1), MaxBandwidth: proto.Uint32(72000)},
		&mumblepb.ServerConfig{MessageLength: proto.Uint32(5000), AllowHtml: proto.Bool(true)},
	)
}
