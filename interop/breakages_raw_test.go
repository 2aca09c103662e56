package interop_test

import (
	"bytes"
	"fmt"
	"net"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// What is likeliest to break between a client and guard, as far as it shows with raw
// clients. The numbers are those of the list in docs/compat.md.

// twoBehind are two raw clients as old as 1.3.4, behind guards that agree on keys.
func twoBehind(t *testing.T, server *peers.Server) (alice, bob *peers.Raw, hers, his *guarded) {
	t.Helper()
	hers, his = startGuard(t, "alice's guard", server.Addr(), automatic), startGuard(t, "bob's guard", server.Addr(), automatic)
	alice = peers.DialRaw(t, hers.addr(), "alice", peers.RawOptions{UDP: true, Version: peers.Version134})
	bob = peers.DialRaw(t, his.addr(), "bob", peers.RawOptions{UDP: true, Version: peers.Version134})
	protected(hers, his)
	return alice, bob, hers, his
}

// protected waits until speech is protected at all of these guards.
func protected(all ...*guarded) {
	for _, g := range all {
		g.wait("gate", func(e event) bool { return e.State == "Priv" })
	}
}

// 9: a client that uses all the bandwidth it is told of loses nothing on 1.3.4, which
// drops what goes beyond.
func TestBreakageBandwidth(t *testing.T) {
	if testing.Short() {
		t.Skip("speaks for ten seconds")
	}
	t.Parallel()
	const allowed = 72_000
	server := peers.Start(t, peers.Murmur134, peers.ServerOptions{Bandwidth: allowed})
	alice, bob, _, _ := twoBehind(t, server)
	told := int(alice.MaxBandwidth())
	if told >= allowed || told < allowed/2 {
		t.Fatalf("told %d of %d bit/s", told, allowed)
	}
	// As the stock client counts: IP, UDP, OCB2, head, terminator and frames (its
	// AudioInput::getNetworkBandwidth).
	const overhead, perSecond = 20 + 8 + 4 + 1 + 2 + 2, 50
	size := told/8/perSecond - overhead
	packets := make([][]byte, 10*perSecond)
	for i := range packets {
		packets[i] = append([]byte{0xF8}, bytes.Repeat([]byte{byte(i) | 1}, size-1)...)
	}
	alice.Speak(packets, 20*time.Millisecond, 0)
	heard := bob.WaitHeard(patience, alice.Session, len(packets))
	if len(heard) != len(packets) {
		t.Errorf("%d of %d packets of %d bytes were heard", len(heard), len(packets), size)
	}
	t.Logf("told %d of %d bit/s: %d bytes a packet", told, allowed, size)
}

// 19: texts and changes of the own state share an allowance on 1.3.4, which drops
// what goes beyond: somebody who toggles mute ten times still gets the keys.
func TestBreakageMuteStorm(t *testing.T) {
	t.Parallel()
	server := peers.Start(t, peers.Murmur134, peers.ServerOptions{})
	hers := startGuard(t, "alice's guard", server.Addr(), automatic)
	alice := peers.DialRaw(t, hers.addr(), "alice", peers.RawOptions{UDP: true, Version: peers.Version134})
	for i := range 10 {
		alice.Send(&mumblepb.UserState{Session: &alice.Session, SelfMute: proto.Bool(i%2 == 0)})
	}
	waitFor(t, "the first of them", func() bool { return alice.Users()[alice.Session].SelfMute != nil })
	// The server drops those beyond its allowance, the last of all.
	for tries := 0; ; tries++ {
		time.Sleep(1100 * time.Millisecond)
		if !alice.Users()[alice.Session].GetSelfMute() {
			break
		}
		if tries == 15 {
			t.Fatal("alice stays muted")
		}
		alice.Send(&mumblepb.UserState{Session: &alice.Session, SelfMute: proto.Bool(false)})
	}
	his := startGuard(t, "bob's guard", server.Addr(), automatic)
	begin := time.Now()
	bob := peers.DialRaw(t, his.addr(), "bob", peers.RawOptions{UDP: true, Version: peers.Version134})
	protected(hers, his)
	t.Logf("keys after %v", time.Since(begin))
	for seq := uint32(1); len(bob.Heard(alice.Session)) == 0; seq++ {
		if time.Since(begin) > 2*patience {
			t.Fatal("bob does not hear alice")
		}
		alice.Speak([][]byte{markPacket(1, seq)}, 20*time.Millisecond, 0)
	}
}

// 20: what the stock client sends when nobody speaks is two bytes and 97 zeros, in
// which Mumble's OCB2 flips a bit. Five minutes of it arrive whole.
func TestBreakageSilence(t *testing.T) {
	if testing.Short() {
		t.Skip("sends 15,000 packets")
	}
	t.Parallel()
	server := peers.Start(t, peers.Murmur134, peers.ServerOptions{Unlimited: true, Bandwidth: 100_000_000})
	alice, bob, _, _ := twoBehind(t, server)
	silence := append([]byte{0xF8, 0xFF, 0xFE}, make([]byte, 97)...)
	packets := make([][]byte, 5*60*50)
	for i := range packets {
		packets[i] = silence
	}
	alice.Speak(packets, time.Millisecond, 0)
	heard := bob.WaitHeard(patience, alice.Session, len(packets)*999/1000)
	// A datagram can get lost on a busy machine; a frame that does not open would be
	// one in 256, or all.
	t.Logf("%d of %d frames opened", len(heard), len(packets))
}

// 21: the server restarts, and twelve people come back at once. Nobody is shut out by
// Murmur's autoban, and all are protected again.
func TestBreakageRestart(t *testing.T) {
	if testing.Short() {
		t.Skip("restarts a server with twelve people")
	}
	t.Parallel()
	server := peers.Start(t, peers.Murmur15, peers.ServerOptions{Ini: []string{"autobanAttempts=10", "autobanTimeframe=120", "autobanTime=300"}})
	var all crowd
	for i := range 12 {
		all = append(all, dialMember(t, server.Addr(), fmt.Sprintf("p%d", i), memberOptions{
			reconnect: true, from: net.IPv4(127, 0, 1, byte(i+1)), // servers count connections of an address
		}))
	}
	all.together(joinGroup)
	server.Restart()
	begin := time.Now()
	all.together(2 * joinGroup)
	t.Logf("twelve are protected again %v after the server is back", time.Since(begin))
	all.allHear(1)
}
