package peers

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// Tap is a man in the middle between clients and one server. It shows the
// server's own certificate, whose key it has, so nobody can tell the two apart;
// what passes is written down in clear. It changes nothing unless told to.
//
//	client --TLS--> Tap --TLS--> Server      control messages, tunnelled voice
//	client --OCB2-> Tap --OCB2-> Server      datagrams passed on unopened; copies
//	                                         are opened with the keys of CryptSetup
//
// The one thing a Tap cannot pass on is the client's certificate: towards the
// server it shows another one, the same for the same client certificate, and
// none for a client without. Its methods are safe for concurrent use.
type Tap struct {
	t      testing.TB
	server *Server
	tcp    net.Listener
	udp    *net.UDPConn
	work   sync.WaitGroup
	start  time.Time

	mu      sync.Mutex
	closed  bool
	dropUDP bool
	filter  func(voice.Direction, control.Frame) []control.Frame
	conns   []*tapConn
	ways    map[string]*tapWay // UDP, by client address
	certs   map[[32]byte]*Certificate
	frames  []TapFrame
	bytes   int
	blind   int
}

// maxTapBytes bounds what a Tap writes down.
const maxTapBytes = 512 << 20

// StartTap puts a Tap in front of the server. It ends with the test.
func StartTap(t testing.TB, server *Server) *Tap {
	t.Helper()
	p := &Tap{t: t, server: server, ways: map[string]*tapWay{}, certs: map[[32]byte]*Certificate{}, start: time.Now()}
	for range 5 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))
		tcp, err := net.Listen("tcp4", addr)
		if err != nil {
			continue
		}
		udp, err := net.ListenPacket("udp4", addr)
		if err != nil {
			tcp.Close()
			continue
		}
		p.tcp, p.udp = tcp, udp.(*net.UDPConn)
		break
	}
	if p.tcp == nil {
		t.Fatal("peers: no port for a tap")
	}
	t.Cleanup(p.Close)
	p.work.Go(p.accept)
	p.work.Go(p.readUDP)
	return p
}

// Addr is where clients connect, host:port for TCP and UDP.
func (p *Tap) Addr() string { return p.tcp.Addr().String() }

// CertDER is the certificate clients see: the server's.
func (p *Tap) CertDER() []byte { return p.server.Certificate.DER }

// Close cuts all connections, stops listening, and returns when nothing runs any
// more. It may be called twice.
func (p *Tap) Close() {
	p.mu.Lock()
	p.closed = true
	ways := p.ways
	p.ways = map[string]*tapWay{}
	p.mu.Unlock()
	p.tcp.Close()
	p.udp.Close()
	for _, w := range ways {
		w.up.Close()
	}
	p.Cut()
	p.work.Wait()
}

// Cut closes all connections, as a failing network would. Clients may come
// back.
func (p *Tap) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.close()
	}
}

// DropUDP loses all datagrams, both ways, from now on, after writing them down;
// false lets them pass again.
func (p *Tap) DropUDP(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropUDP = yes
}

// Filter lets f decide about every control frame: it returns what goes on in the
// frame's place, nothing to drop it. f must not call the Tap. The Tap writes down
// what came, before f. A nil f lets everything pass.
func (p *Tap) Filter(f func(dir voice.Direction, frame control.Frame) []control.Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.filter = f
}

// Inject sends a message of its own on the youngest living connection.
func (p *Tap) Inject(dir voice.Direction, m proto.Message) {
	p.t.Helper()
	b, err := control.AppendMessage(nil, m)
	if err != nil {
		p.t.Fatalf("peers: tap: %v", err)
	}
	p.mu.Lock()
	var c *tapConn
	for _, one := range p.conns {
		if !one.gone {
			c = one
		}
	}
	p.mu.Unlock()
	if c == nil {
		p.t.Fatal("peers: tap: nobody is connected")
	}
	if err := c.write(dir, b); err != nil {
		p.t.Fatalf("peers: tap: %v", err)
	}
}

func (p *Tap) accept() {
	cfg := &tls.Config{
		Certificates: []tls.Certificate{p.server.Certificate.TLS},
		ClientAuth:   tls.RequestClientCert,
		MinVersion:   tls.VersionTLS12,
	}
	for {
		c, err := p.tcp.Accept()
		if err != nil {
			return // closed
		}
		p.work.Go(func() {
			defer c.Close()
			if err := p.serve(tls.Server(c, cfg)); err != nil {
				p.say("tap: %v", err)
			}
		})
	}
}

// say logs while the test runs; t.Log after its end would panic.
func (p *Tap) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.t.Logf(format, args...)
	}
}

// certificate is the one shown to the server for a client.
func (p *Tap) certificate(client *tls.Conn) *Certificate {
	chain := client.ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return nil
	}
	id := sha256.Sum256(chain[0].Raw)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.certs[id] == nil {
		p.certs[id] = NewCertificate(p.t, fmt.Sprintf("behind a tap %d", len(p.certs)))
	}
	return p.certs[id]
}
