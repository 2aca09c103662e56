package guard_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/crypt"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// paper is a network on paper, for a stage in virtual time: TCP is a pipe, a UDP
// socket a channel, and both do what the test says.
type paper struct {
	server *pipes // where guard goes
	guard  *pipes // where the client goes
	down   *packets
	up     *packets // the newest of guard's sockets to the server

	mu        sync.Mutex
	sleep     time.Duration // how far the wall clock is ahead of the monotonic one
	frozen    bool          // the server answers no ping
	confirms  bool          // but its system takes what it gets
	delay     time.Duration // before it answers
	upstream  crypt.CryptState
	pings     []time.Time // by TCP, that reached the server
	last      *mumblepb.Ping
	udpPings  []time.Time // by UDP
	voices    []time.Time // by UDP
	moved     bool        // another network
	dialled   int         // attempts of guard to reach the server
	sizes     []int       // of datagrams from guard
	deafUDP   bool        // no datagram reaches the server
	corruptUp bool        // datagrams of the server come broken
}

// onPaper runs f on a stage in virtual time.
func onPaper(t *testing.T, o options, f func(t *testing.T, s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o.paper = &paper{server: newPipes(serverAt), guard: newPipes(netip.MustParseAddrPort("127.0.0.1:5555")), down: newPackets()}
		f(t, newStage(t, o))
	})
}

var serverAt = netip.MustParseAddrPort("127.0.0.1:4444")

// pipes is a listener; dial is its other side.
type pipes struct {
	at   netip.AddrPort
	come chan net.Conn
	done chan struct{}
	once sync.Once
}

func newPipes(at netip.AddrPort) *pipes {
	return &pipes{at: at, come: make(chan net.Conn), done: make(chan struct{})}
}

func (p *pipes) Addr() net.Addr { return net.TCPAddrFromAddrPort(p.at) }
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.come:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	select {
	case p.come <- theirs:
		return ours
	case <-p.done:
		return nil
	}
}

// packets is a UDP socket: what was sent to it, and what it sends.
type packets struct {
	in, out chan packet
	done    chan struct{}
	once    sync.Once
}

type packet struct {
	b    []byte
	peer netip.AddrPort
}

func newPackets() *packets {
	return &packets{in: make(chan packet, 256), out: make(chan packet, 256), done: make(chan struct{})}
}

func (p *packets) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case got := <-p.in:
		return copy(b, got.b), got.peer, nil
	case <-p.done:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

func (p *packets) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	select {
	case p.out <- packet{append([]byte(nil), b...), to}:
	default: // lost, as UDP may
	}
	return len(b), nil
}

func (p *packets) Close() error { p.once.Do(func() { close(p.done) }); return nil }

// connected is a socket to one address.
type connected struct {
	net.Conn // nil: what is not below is not used
	*packets
}

func (c connected) Read(b []byte) (int, error) {
	n, _, err := c.ReadFromUDPAddrPort(b)
	return n, err
}
func (c connected) Write(b []byte) (int, error) { return c.WriteToUDPAddrPort(b, serverAt) }
func (c connected) Close() error                { return c.packets.Close() }

// tcp is guard's connection to the server.
type tcp struct {
	net.Conn
	p *paper
}

func (c tcp) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(serverAt) }
func (c tcp) Unconfirmed() (int, bool) {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	return 0, c.p.confirms
}

func (p *paper) net() client.Net {
	return client.Net{
		DialTCP: func(context.Context, netip.AddrPort) (net.Conn, error) {
			p.with(func() { p.dialled++ })
			c := p.server.dial()
			if c == nil {
				return nil, errors.New("refused")
			}
			return tcp{c, p}, nil
		},
		Source: func(netip.AddrPort) (netip.Addr, bool) {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.moved {
				return netip.MustParseAddr("192.0.2.7"), true
			}
			return netip.MustParseAddr("192.0.2.1"), true
		},
		DialUDP: func(netip.AddrPort) (net.Conn, error) {
			p.up = newPackets()
			go p.serveUDP(p.up)
			return connected{packets: p.up}, nil
		},
	}
}

func (p *paper) open(net.IP, string) (net.Listener, client.PacketConn, error) {
	return p.guard, p.down, nil
}

func (p *paper) wall() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Round(0).Add(p.sleep)
}

func (p *paper) dials() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dialled
}

// with changes what the network does.
func (p *paper) with(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// pinged is the server's answer to a ping by TCP.
func (p *paper) pinged(l *leg, f control.Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pings = append(p.pings, time.Now())
	if m, err := control.Decode(f); err == nil {
		p.last = m.(*mumblepb.Ping)
	}
	if !p.frozen {
		time.AfterFunc(p.delay, func() { l.conn.Send(f.Type, f.Body) })
	}
}

// serveUDP is the server's end of a UDP socket: it answers pings.
func (p *paper) serveUDP(c *packets) {
	for {
		select {
		case got := <-c.out:
			p.datagram(c, got.b)
		case <-c.done:
			return
		}
	}
}

func (p *paper) datagram(c *packets, b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sizes = append(p.sizes, len(b))
	if p.deafUDP || !p.upstream.Valid() {
		return
	}
	plain, err := p.upstream.Open(nil, b)
	if err != nil {
		return
	}
	if !voice.IsPing(plain, voice.Protobuf) {
		p.voices = append(p.voices, time.Now())
		return
	}
	p.udpPings = append(p.udpPings, time.Now())
	if !p.frozen {
		time.AfterFunc(p.delay, func() { p.with(func() { p.send(c, plain) }) })
	}
}

// send brings a plaintext of the server to guard. p.mu is held.
func (p *paper) send(c *packets, plain []byte) {
	sealed := p.upstream.Seal(nil, plain)
	if p.corruptUp {
		sealed[2] ^= 0xFF // in the tag
	}
	select {
	case c.in <- packet{sealed, serverAt}:
	default:
	}
}

// key gives guard its key for UDP upstream and returns the client's for its own leg.
func (c *call) key() *crypt.CryptState {
	c.t.Helper()
	p := c.paper
	var setup *mumblepb.CryptSetup
	p.with(func() {
		p.upstream.GenerateKey()
		setup = &mumblepb.CryptSetup{Key: p.upstream.Key(), ClientNonce: p.upstream.DecryptIV(), ServerNonce: p.upstream.EncryptIV()}
	})
	c.server.send(setup)
	got, _ := until[*mumblepb.CryptSetup](c.client)
	var down crypt.CryptState
	if err := down.SetKey(got.GetKey(), got.GetClientNonce(), got.GetServerNonce()); err != nil {
		c.t.Fatal(err)
	}
	return &down
}

var clientAt = netip.MustParseAddrPort("127.0.0.1:6666")

// sendUDP sends a plaintext from the client.
func (c *call) sendUDP(down *crypt.CryptState, plain []byte) {
	c.paper.down.in <- packet{down.Seal(nil, plain), clientAt}
	synctest.Wait()
}

// gotUDP are the plaintexts that came to the client by UDP.
func (c *call) gotUDP(down *crypt.CryptState) (got [][]byte) {
	synctest.Wait()
	for {
		select {
		case b := <-c.paper.down.out:
			if plain, err := down.Open(nil, b.b); err == nil {
				got = append(got, plain)
			}
		default:
			return got
		}
	}
}

// frames takes what has come to a leg.
func (l *leg) sofar() (got []control.Frame) {
	synctest.Wait()
	for {
		select {
		case f, ok := <-l.frames:
			if !ok {
				return got
			}
			got = append(got, f)
		default:
			return got
		}
	}
}

// lines are the texts of guard's among frames.
func linesOf(frames []control.Frame) (lines []string) {
	for _, f := range frames {
		if m, err := control.Decode(f); err == nil {
			switch m := m.(type) {
			case *mumblepb.TextMessage:
				lines = append(lines, m.GetMessage())
			case *mumblepb.PermissionDenied:
				lines = append(lines, "denied: "+m.GetReason())
			}
		}
	}
	return lines
}

// pingBoth is a stock client's ping: one by TCP and one by UDP, of the same number.
func (c *call) pingBoth(down *crypt.CryptState, n uint64) {
	c.client.send(&mumblepb.Ping{Timestamp: proto.Uint64(n)})
	c.sendUDP(down, voice.AppendPing(nil, voice.Protobuf, &voice.Ping{Timestamp: n}))
}
