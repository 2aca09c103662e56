package interop_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// TestPings freezes the server. The stock client hangs up after four unanswered
// pings, so guard answers by its own clock.
func TestPings(t *testing.T) {
	if testing.Short() {
		t.Skip("freezes a server for twelve seconds")
	}
	t.Parallel()
	server := peers.Start(t, peers.Murmur15, peers.ServerOptions{})
	g := startGuard(t, "guard", server.Addr(), newSecret(t))
	alice := peers.DialRaw(t, g.addr(), "alice", peers.RawOptions{UDP: true, Version: peers.Version134, NoPing: true})
	ping := func(n uint64) time.Duration {
		t.Helper()
		begin := time.Now()
		alice.Send(&mumblepb.Ping{Timestamp: proto.Uint64(n)})
		alice.Wait(patience, "answer to a ping", func(got peers.Received) bool {
			m, ok := got.Message.(*mumblepb.Ping)
			return ok && m.GetTimestamp() == n
		})
		return time.Since(begin)
	}
	lively := ping(1)
	echoes := alice.Echoes()
	server.Freeze()
	begin := time.Now()
	longest, n := time.Duration(0), uint64(2)
	for ; time.Since(begin) < 12*time.Second; n++ {
		longest = max(longest, ping(n))
	}
	frozen := alice.Echoes() - echoes
	server.Thaw()
	t.Logf("a ping took %v, %d while the server was frozen took %v at most; %d UDP pings came back meanwhile", lively, n-2, longest, frozen)
	if longest > 4*time.Second {
		t.Errorf("a ping was answered after %v", longest)
	}
	if frozen < 2 {
		t.Errorf("%d UDP pings came back in 12 s, the client sends one each 5 s", frozen)
	}
	alice.Send(&mumblepb.UserStats{Session: &alice.Session})
	alice.Wait(patience, "answer of the thawed server", func(got peers.Received) bool {
		_, ok := got.Message.(*mumblepb.UserStats)
		return ok
	})
	if d := ping(n); d > 4*time.Second || alice.Err() != nil {
		t.Errorf("after the thaw a ping takes %v, the session: %v", d, alice.Err())
	}
}

// TestUDPLost loses the datagrams between guard and server while both ends
// speak. Voice goes on through the tunnel, both ways, and comes back to UDP;
// the client below notices nothing.
func TestUDPLost(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the loss of UDP to be noticed, and for its return")
	}
	clip := peers.Speak(t, clipWords, 20)
	for _, kind := range peers.ServerKinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			server := peers.Start(t, kind, peers.ServerOptions{Bandwidth: 250000})
			tap := peers.StartTap(t, server)
			secret := newSecret(t)
			hers, his := startGuard(t, "alice's guard", tap.Addr(), secret), startGuard(t, "bob's guard", server.Addr(), secret)
			alice := peers.DialRaw(t, hers.addr(), "alice", peers.RawOptions{UDP: true, Version: peers.Version134})
			bob := peers.DialRaw(t, his.addr(), "bob", peers.RawOptions{UDP: true, Version: peers.Version134})
			talk(t, clip).who.Store(alice)
			talk(t, clip).who.Store(bob)
			hears := func(limit time.Duration) {
				t.Helper()
				alice.Forget()
				bob.Forget()
				alice.WaitHeard(limit, bob.Session, 25)
				bob.WaitHeard(limit, alice.Session, 25)
			}
			hears(patience)
			way := func(udp bool) time.Duration {
				t.Helper()
				mark, begin := len(tap.Frames()), time.Now()
				tap.DropUDP(!udp)
				for _, dir := range []voice.Direction{voice.ToServer, voice.ToClient} {
					waitFor(t, "voice by the other way", func() bool {
						for _, f := range tap.Frames()[mark:] {
							if v, ok := f.Voice(); ok && f.Dir == dir && f.UDP == udp && len(v.Data) > 5 {
								return true
							}
						}
						return false
					})
				}
				return time.Since(begin)
			}
			// Five seconds without an echo, of pings two seconds apart.
			lost := way(false)
			hears(patience)
			back := way(true)
			hears(patience)
			t.Logf("voice went by the tunnel, both ways, after %.1f s, and by UDP again after %.1f s", lost.Seconds(), back.Seconds())
			if limit := 8 * time.Second; lost > limit {
				t.Errorf("the loss of UDP was noticed after %v, want %v at most", lost, limit)
			}
			for _, got := range alice.All() {
				if got.Voice != nil && !got.UDP {
					t.Fatal("the client below got voice through its tunnel")
				}
			}
			if err := alice.Err(); err != nil {
				t.Errorf("the session ended: %v", err)
			}
		})
	}
}
