package interop_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
	"github.com/sotto-voip/sotto/opus"
)

// celt is a mono CELT packet of frames of 20 ms (TOC F8) with size bytes each, of
// anything that n tells apart.
func celt(n, frames, size int) []byte {
	b := []byte{0xF8}
	if frames > 1 {
		b = []byte{0xFB, byte(frames)}
	}
	for i := range frames * size {
		b = append(b, byte(n+i*7))
	}
	return b
}

// socksServer is a SOCKS 5 proxy without a login (RFC 1928) that knows names only. It
// returns where it is and the names that it was asked for.
func socksServer(t *testing.T) (at string, names func() []string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var asked []string
	var wg sync.WaitGroup
	serve := func(c net.Conn) {
		defer c.Close()
		b := make([]byte, 262)
		if _, err := io.ReadFull(c, b[:2]); err != nil {
			return
		}
		io.ReadFull(c, b[:b[1]])
		c.Write([]byte{5, 0})
		io.ReadFull(c, b[:5])
		if b[3] != 3 { // no name
			return
		}
		n := int(b[4])
		io.ReadFull(c, b[:n+2])
		name := net.JoinHostPort(string(b[:n]), strconv.Itoa(int(binary.BigEndian.Uint16(b[n:]))))
		mu.Lock()
		asked = append(asked, name)
		mu.Unlock()
		server, err := net.Dial("tcp4", name)
		if err != nil {
			return
		}
		defer server.Close()
		c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		wg.Go(func() { io.Copy(server, c); server.Close() })
		io.Copy(c, server)
	}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String(), func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(asked)
	}
}

// TestProxy leads a guard through a SOCKS proxy to a real server. Voice goes both
// ways, and no datagram passes but those of who is there without a proxy.
func TestProxy(t *testing.T) {
	t.Parallel()
	server := peers.Start(t, peers.Murmur15, peers.ServerOptions{})
	tap := peers.StartTap(t, server)
	secret := newSecret(t)
	at, names := socksServer(t)
	_, port, err := net.SplitHostPort(tap.Addr())
	if err != nil {
		t.Fatal(err)
	}
	typed := net.JoinHostPort("localhost", port)
	hers := startGuard(t, "alice's guard", typed, secret, "--proxy", "socks5://"+at)
	his := startGuard(t, "bob's guard", server.Addr(), secret)
	alice := peers.DialRaw(t, hers.addr(), "alice", peers.RawOptions{UDP: true})
	bob := peers.DialRaw(t, his.addr(), "bob", peers.RawOptions{UDP: true})
	hers.gate(0, "ciphertext")
	his.gate(0, "ciphertext")
	for n := range 20 {
		alice.SendVoice(voice.Packet{FrameNumber: uint64(2 * n), Data: celt(n, 1, 60)})
		bob.SendVoice(voice.Packet{FrameNumber: uint64(2 * n), Data: celt(n, 1, 61)})
		time.Sleep(20 * time.Millisecond)
	}
	for n, p := range bob.WaitHeard(patience, alice.Session, 20) {
		if !bytes.Equal(p.Data, celt(n, 1, 60)) {
			t.Errorf("packet %d arrives as another", n)
		}
	}
	alice.WaitHeard(patience, bob.Session, 20)
	// A client without a window goes the same way.
	carol := startClient(t, "chat", "carol", typed, "", []string{"--proxy", "socks5://" + at})
	if err := server.WaitUser("carol", patience); err != nil {
		t.Fatal(err)
	}
	carol.say("by way of the proxy")
	bob.Wait(patience, "carol's text", func(got peers.Received) bool {
		m, ok := got.Message.(*mumblepb.TextMessage)
		return ok && strings.Contains(m.GetMessage(), "by way of the proxy")
	})
	for _, f := range tap.Frames() {
		if f.UDP {
			t.Fatal("a datagram goes around the proxy")
		}
	}
	for _, n := range names() {
		if n != typed {
			t.Errorf("the proxy is asked for %s", n)
		}
	}
	if len(names()) != 3 {
		t.Errorf("the proxy is asked %d times", len(names()))
	}
}

// TestMixedPackets speaks packets of all lengths in turn through two guards and a real
// server, and packets that are cut because they are too large for an envelope.
func TestMixedPackets(t *testing.T) {
	for _, kind := range peers.ServerKinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			server := peers.Start(t, kind, peers.ServerOptions{Unlimited: true})
			tap := peers.StartTap(t, server)
			secret := newSecret(t)
			hers, his := startGuard(t, "alice's guard", tap.Addr(), secret), startGuard(t, "bob's guard", server.Addr(), secret)
			alice := peers.DialRaw(t, hers.addr(), "alice", peers.RawOptions{UDP: true, Version: peers.Version134})
			bob := peers.DialRaw(t, his.addr(), "bob", peers.RawOptions{UDP: true, Version: peers.Version134})
			hers.gate(0, "ciphertext")
			his.gate(0, "ciphertext")
			var want []voice.Packet
			number := uint64(0)
			say := func(data []byte, parts ...[]byte) {
				t.Helper()
				d, err := opus.Duration(data)
				if err != nil {
					t.Fatal(err)
				}
				alice.SendVoice(voice.Packet{FrameNumber: number, Data: data})
				if parts == nil {
					parts = [][]byte{data}
				}
				for i, p := range parts {
					want = append(want, voice.Packet{FrameNumber: number + 2*uint64(i), Data: p})
				}
				number += uint64(d / (10 * time.Millisecond))
				time.Sleep(d)
			}
			ten := func(n int) []byte { return append([]byte{0xF0}, celt(n, 1, 40)[1:]...) }
			for n := range 12 {
				say(celt(n, 1, 100))
				say(celt(n, 2, 100))
				say(ten(n))
				say(celt(n, 3, 80))
				whole := celt(n, 3, 320)
				say(whole, append([]byte{0xF8}, whole[2:322]...), append([]byte{0xF8}, whole[322:642]...), append([]byte{0xF8}, whole[642:]...))
			}
			got := bob.WaitHeard(patience, alice.Session, len(want))
			for i := range want {
				if got[i].FrameNumber != want[i].FrameNumber || !bytes.Equal(got[i].Data, want[i].Data) {
					t.Fatalf("packet %d is number %d with %d bytes, want number %d with %d", i, got[i].FrameNumber, len(got[i].Data), want[i].FrameNumber, len(want[i].Data))
				}
			}
			// The covers last as long as what they carry, and datagrams fit everywhere.
			lengths := map[time.Duration]int{}
			for _, f := range tap.Frames() {
				if p, ok := f.Voice(); ok && f.Dir == voice.ToServer {
					if d, _, _, ok := envelope.ParseVoice(p.Data); ok {
						lengths[d]++
					}
				}
				if len(f.Datagram)+48 >= 1280 {
					t.Errorf("a datagram of %d bytes", len(f.Datagram))
				}
			}
			for _, ms := range []time.Duration{10, 20, 40, 60} {
				if lengths[ms*time.Millisecond] < 12 {
					t.Errorf("covers by length: %v", lengths)
				}
			}
		})
	}
}

// TestLoopback: the client's loopback test comes back bit-exact and nothing of it
// reaches a real server, while held, while encrypted, and where there is nobody to be
// protected from.
func TestLoopback(t *testing.T) {
	t.Parallel()
	server := peers.Start(t, peers.Murmur15, peers.ServerOptions{})
	tap := peers.StartTap(t, server)
	loop := func(g *guarded, who string) {
		t.Helper()
		r := peers.DialRaw(t, g.addr(), who, peers.RawOptions{UDP: true})
		for n := range 10 {
			r.SendVoice(voice.Packet{Target: voice.TargetLoopback, FrameNumber: uint64(2 * n), Data: celt(n, 1, 90)})
			time.Sleep(20 * time.Millisecond)
		}
		for n, p := range r.WaitHeard(patience, r.Session, 10) {
			if !bytes.Equal(p.Data, celt(n, 1, 90)) || p.FrameNumber != uint64(2*n) || p.Context != voice.ContextNormal {
				t.Errorf("%s: packet %d comes back as %+v", who, n, p)
			}
		}
	}
	secret := newSecret(t)
	alone := startGuard(t, "alice's guard", tap.Addr(), automatic)
	loop(alone, "alice, alone with the server")
	held := startGuard(t, "bob's guard", tap.Addr(), secret)
	loop(held, "bob, held")
	typed := startGuard(t, "carol's guard", tap.Addr(), secret)
	loop(typed, "carol, encrypted")
	typed.gate(0, "ciphertext")
	for _, f := range tap.Frames() {
		if p, ok := f.Voice(); ok && f.Dir == voice.ToServer && p.Target == voice.TargetLoopback {
			t.Fatalf("the server gets %+v", p)
		}
	}
	for n := range 10 {
		if hits := tap.Contains(celt(n, 1, 90)[1:]); len(hits) > 0 {
			t.Errorf("packet %d was found in clear", n)
		}
	}
}

// TestServerStopped stops a real server for 20 s: its system goes on confirming, so
// guard waits, and the client notices nothing.
func TestServerStopped(t *testing.T) {
	if testing.Short() {
		t.Skip("stops a server for twenty seconds")
	}
	t.Parallel()
	server := peers.Start(t, peers.Murmur15, peers.ServerOptions{})
	g := startGuard(t, "guard", server.Addr(), newSecret(t))
	alice := peers.DialRaw(t, g.addr(), "alice", peers.RawOptions{UDP: true, NoPing: true})
	server.Freeze()
	unanswered := 0
	for n := range uint64(4) {
		alice.Send(&mumblepb.Ping{Timestamp: proto.Uint64(n + 1)})
		begin := time.Now()
		alice.Wait(patience, "answer to a ping", func(got peers.Received) bool {
			m, ok := got.Message.(*mumblepb.Ping)
			return ok && m.GetTimestamp() == n+1
		})
		if time.Since(begin) > 4*time.Second {
			unanswered++
		}
		time.Sleep(time.Until(begin.Add(5 * time.Second)))
	}
	server.Thaw()
	alice.Send(&mumblepb.UserStats{Session: &alice.Session})
	alice.Wait(patience, "answer of the server", func(got peers.Received) bool {
		_, ok := got.Message.(*mumblepb.UserStats)
		return ok
	})
	if unanswered > 0 || alice.Err() != nil {
		t.Errorf("%d pings were late; the session: %v", unanswered, alice.Err())
	}
}

// TestGuardStopped stops guard for 12 s, as a suspend does: the moment it runs again it
// asks the server, and then voice goes on in the same session.
func TestGuardStopped(t *testing.T) {
	if testing.Short() {
		t.Skip("stops a guard for twelve seconds")
	}
	t.Parallel()
	server := peers.Start(t, peers.Murmur15, peers.ServerOptions{})
	tap := peers.StartTap(t, server)
	hers, his := startGuard(t, "alice's guard", tap.Addr(), automatic), startGuard(t, "bob's guard", server.Addr(), automatic)
	alice := peers.DialRaw(t, hers.addr(), "alice", peers.RawOptions{UDP: true})
	bob := peers.DialRaw(t, his.addr(), "bob", peers.RawOptions{UDP: true})
	hers.together(0, 2)
	his.together(0, 2)
	hers.Signal(syscall.SIGSTOP)
	time.Sleep(12 * time.Second)
	mark := len(tap.Frames())
	woke := time.Now()
	hers.Signal(syscall.SIGCONT)
	waitFor(t, "the probe", func() bool {
		for _, f := range tap.Frames()[mark:] {
			if _, ok := f.Message().(*mumblepb.Ping); ok && f.Dir == voice.ToServer {
				return true
			}
		}
		return false
	})
	probed := time.Since(woke)
	number := uint64(10_000)
	waitFor(t, "voice", func() bool {
		alice.SendVoice(voice.Packet{FrameNumber: number, Data: celt(int(number), 1, 70)})
		number += 2
		time.Sleep(20 * time.Millisecond)
		return len(bob.Heard(alice.Session)) > 0
	})
	t.Logf("probed after %v, heard after %v", probed, time.Since(woke))
	if probed > 2*time.Second || alice.Err() != nil {
		t.Errorf("probed after %v; the session: %v", probed, alice.Err())
	}
}

// TestServerRestart: a server that bans who comes too often restarts under several
// guards. Each client comes back with one attempt, which costs one connection.
func TestServerRestart(t *testing.T) {
	t.Parallel()
	const people = 4
	server := peers.Start(t, peers.Murmur15, peers.ServerOptions{
		Ini: []string{"autobanAttempts=10", "autobanTimeframe=120", "autobanTime=300"},
	})
	guards := make([]*guarded, people)
	come := func(i int) (*peers.Raw, error) {
		return peers.TryRaw(guards[i].addr(), fmt.Sprintf("user%d", i), peers.RawOptions{UDP: true})
	}
	first := make([]*peers.Raw, people)
	for i := range guards {
		guards[i] = startGuard(t, fmt.Sprintf("guard %d", i), server.Addr(), automatic)
		var err error
		if first[i], err = come(i); err != nil {
			t.Fatal(err)
		}
		defer first[i].Close()
	}
	for _, g := range guards {
		g.together(0, people)
	}
	marks := make([]int, people)
	for i, g := range guards {
		marks[i] = g.mark()
	}
	server.Restart()
	began := time.Now()
	// The test itself connects too, to see that the server answers, and says nothing.
	connections := func() int { return strings.Count(server.Log(), "Client version ") }
	own := connections() // of before the restart
	for i := range guards {
		waitFor(t, "the end of the first session", func() bool { return first[i].Err() != nil })
		r, err := come(i)
		if err != nil {
			t.Fatalf("user%d: %v", i, err)
		}
		defer r.Close()
	}
	for i, g := range guards {
		g.together(marks[i], people)
	}
	t.Logf("encrypted again after %v", time.Since(began))
	if n := connections() - own; n != people {
		t.Errorf("%d connections reached the server for %d people", n, people)
	}
}

// TestTwoServers: one identity, one state directory, two servers, each with a guard
// and a client of its own. Each guard keeps its port.
func TestTwoServers(t *testing.T) {
	t.Parallel()
	state := shortDir(t)
	servers := []*peers.Server{peers.Start(t, peers.Murmur15, peers.ServerOptions{}), peers.Start(t, peers.Murmur134, peers.ServerOptions{})}
	begin := func(i int) *guarded {
		g := &guarded{sotto: start(t, fmt.Sprintf("guard %d", i), "guard", "--json", "--state", state, servers[i].Addr())}
		g.port = g.wait("listening", nil).Port
		return g
	}
	other := make([]*peers.Raw, 2)
	ports := make([]uint16, 2)
	guards := make([]*guarded, 2)
	for i, s := range servers {
		guards[i] = begin(i)
		ports[i] = guards[i].port
		his := startGuard(t, fmt.Sprintf("bob's guard %d", i), s.Addr(), automatic)
		other[i] = peers.DialRaw(t, his.addr(), "bob", peers.RawOptions{UDP: true})
	}
	alice := make([]*peers.Raw, 2)
	for i, g := range guards {
		alice[i] = peers.DialRaw(t, g.addr(), "alice", peers.RawOptions{UDP: true})
	}
	for i, g := range guards {
		g.together(0, 2)
		alice[i].SendVoice(voice.Packet{FrameNumber: 2, Data: celt(i, 1, 50)})
		if got := other[i].WaitHeard(patience, alice[i].Session, 1); !bytes.Equal(got[0].Data, celt(i, 1, 50)) {
			t.Errorf("server %d: bob hears %+v", i, got)
		}
	}
	if ports[0] == ports[1] {
		t.Errorf("both guards have port %d", ports[0])
	}
	guards[0].Terminate()
	guards[0].end(patience)
	if again := begin(0); again.port != ports[0] {
		t.Errorf("a guard had port %d and comes back with %d", ports[0], again.port)
	}
	if alice[1].Err() != nil {
		t.Errorf("the other session: %v", alice[1].Err())
	}
}
