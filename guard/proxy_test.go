package guard_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/crypt"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// recorder is a network that writes down whom guard speaks to.
type recorder struct {
	mu   sync.Mutex
	went []string
}

func (r *recorder) note(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.went = append(r.went, s)
}

func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.went
}

func (r *recorder) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	r.note("srv " + name)
	return "", nil, errors.New("none")
}

func (r *recorder) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	r.note(network + " " + host)
	return nil, errors.New("none")
}

func (r *recorder) net() client.Net {
	return client.Net{
		Resolver: r,
		DialTCP: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			r.note("tcp " + to.String())
			return new(net.Dialer).DialContext(ctx, "tcp", to.String())
		},
		DialUDP: func(to netip.AddrPort) (net.Conn, error) {
			r.note("udp " + to.String())
			return net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
		},
	}
}

// httpProxy connects by CONNECT and says what it was asked for.
func httpProxy(t *testing.T) (at string, asked <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	names := make(chan string, 8)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				in := bufio.NewReader(c)
				r, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				names <- r.RequestURI
				server, err := net.Dial("tcp", r.RequestURI)
				if err != nil {
					return
				}
				defer server.Close()
				io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
				wg.Go(func() { io.Copy(server, in); server.Close() })
				io.Copy(c, server)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String(), names
}

// With a proxy nothing goes around it: no voice and no ping by UDP, though the
// server gives a key and the client uses UDP, no question of a server list, no
// name looked up.
func TestNothingAroundTheProxy(t *testing.T) {
	at, asked := httpProxy(t)
	r := &recorder{}
	n := r.net()
	var err error
	if n.Proxy, err = client.ParseProxy("http://" + at); err != nil {
		t.Fatal(err)
	}
	s := newStage(t, options{policy: e2ee.PolicyOff, net: n})
	s.udp.SetReadDeadline(time.Now().Add(patience))
	call := s.logIn(v15, v15, nil)
	if got := <-asked; got != s.address {
		t.Errorf("the proxy is asked for %q", got)
	}
	var up crypt.CryptState
	up.GenerateKey()
	call.server.send(&mumblepb.CryptSetup{Key: up.Key(), ClientNonce: up.DecryptIV(), ServerNonce: up.EncryptIV()})
	setup, _ := until[*mumblepb.CryptSetup](call.client)
	var down crypt.CryptState
	if err := down.SetKey(setup.GetKey(), setup.GetClientNonce(), setup.GetServerNonce()); err != nil {
		t.Fatal(err)
	}
	sock, err := net.Dial("udp", net.JoinHostPort("127.0.0.1", portOf(s)))
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	// Pings by UDP are answered at once, for there is nobody to ask.
	for n := range uint64(3) {
		if _, err := sock.Write(down.Seal(nil, voice.AppendPing(nil, voice.Protobuf, &voice.Ping{Timestamp: n + 1}))); err != nil {
			t.Fatal(err)
		}
		in := make([]byte, 2048)
		sock.SetReadDeadline(time.Now().Add(patience))
		size, err := sock.Read(in)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := down.Open(nil, in[:size]); err != nil {
			t.Fatal(err)
		}
	}
	// A server list's question is not answered, so it shows nothing rather than us.
	for _, q := range [][]byte{voice.AppendListPing(nil, 5), voice.AppendPing(nil, voice.Protobuf, &voice.Ping{Timestamp: 5, RequestExtended: true})} {
		if _, err := sock.Write(q); err != nil {
			t.Fatal(err)
		}
	}
	sock.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if n, err := sock.Read(make([]byte, 2048)); err == nil {
		t.Errorf("the list's question gets %d bytes", n)
	}
	for n := range 20 {
		if got := call.tunnel(&voice.Packet{Codec: voice.Opus, FrameNumber: uint64(n), Data: speech(byte(n))}); len(got) != 1 {
			t.Fatalf("%d frames of voice reach the server", len(got))
		}
	}
	call.client.send(&mumblepb.Ping{Timestamp: proto.Uint64(1)})
	until[*mumblepb.Ping](call.client)
	for _, w := range r.all() {
		if w != "tcp "+at {
			t.Errorf("around the proxy goes %q", w)
		}
	}
	s.udp.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, _, err := s.udp.ReadFromUDP(make([]byte, 2048)); err == nil {
		t.Errorf("%d bytes reach the server by UDP", n)
	}
}

// A proxy that is away is no reason to go without.
func TestProxyAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	l.Close()
	r := &recorder{}
	n := r.net()
	if n.Proxy, err = client.ParseProxy("socks5://" + at); err != nil {
		t.Fatal(err)
	}
	s := newStage(t, options{policy: e2ee.PolicyOff, net: n})
	c := s.connect(nil)
	c.send(version(v15), &mumblepb.Authenticate{Username: proto.String("alice")})
	until[*mumblepb.Reject](c)
	if got := r.all(); len(got) != 1 || got[0] != "tcp "+at {
		t.Errorf("there went %q", got)
	}
}
