package peers_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

const patience = 10 * time.Second

// TestRawVoice lets every pair of old and new client talk both ways over every
// pair of transports on both servers.
func TestRawVoice(t *testing.T) {
	versions := map[string]control.Version{"legacy": peers.Version134, "1.5": peers.Version15}
	for _, kind := range peers.ServerKinds {
		t.Run(kind.String(), func(t *testing.T) {
			s := peers.Start(t, kind, peers.ServerOptions{Unlimited: true})
			// Somebody stays: see Server about what an emptied one may do.
			peers.DialRaw(t, s.Addr(), "warden", peers.RawOptions{})
			for va, a := range versions {
				for vb, b := range versions {
					for _, udp := range [][2]bool{{true, true}, {true, false}, {false, false}} {
						name := fmt.Sprintf("%s-%s/udp-%v-%v", va, vb, udp[0], udp[1])
						t.Run(name, func(t *testing.T) { talk(t, s, a, b, udp) })
					}
				}
			}
		})
	}
}

func talk(t *testing.T, s *peers.Server, va, vb control.Version, udp [2]bool) {
	alice := peers.DialRaw(t, s.Addr(), "alice", peers.RawOptions{Version: va, UDP: udp[0]})
	bob := peers.DialRaw(t, s.Addr(), "bob", peers.RawOptions{Version: vb, UDP: udp[1]})
	defer bob.Close()
	defer alice.Close()
	want := voice.FormatFor(uint64(alice.ServerVersion), uint64(va))
	if alice.Format != want {
		t.Errorf("alice speaks %v to %v, want %v", alice.Format, alice.ServerVersion, want)
	}
	if !bytes.Equal(alice.CertDER, s.CertDER()) {
		t.Error("the server shows another certificate")
	}
	for i, pair := range [][2]*peers.Raw{{alice, bob}, {bob, alice}} {
		from, to := pair[0], pair[1]
		to.WaitUser(patience, from.Name)
		for n := range 5 {
			from.SendVoice(voice.Packet{FrameNumber: uint64(2 * n), Data: payload(i, n), Terminator: n == 4})
		}
		heard := to.WaitHeard(patience, from.Session, 5)
		for n, p := range heard {
			if !bytes.Equal(p.Data, payload(i, n)) || p.FrameNumber != uint64(2*n) || p.Terminator != (n == 4) {
				t.Errorf("%s hears %+v as packet %d", to.Name, p, n)
			}
		}
		for _, got := range to.All() {
			// Down the server takes the way the receiver last spoke, UDP
			// while he has not.
			if got.Voice != nil && i == 1 && got.UDP != udp[0] {
				t.Errorf("alice, udp %v, hears by udp %v", udp[0], got.UDP)
			}
		}
	}
	if alice.Bad() != 0 || bob.Bad() != 0 {
		t.Errorf("bad packets: alice %d, bob %d", alice.Bad(), bob.Bad())
	}
}

// payload is no Opus; servers do not look inside.
func payload(i, n int) []byte {
	return bytes.Repeat([]byte{byte(0x40 + 16*i + n)}, 60+n)
}

// TestRawLogin looks at refusals and passwords.
func TestRawLogin(t *testing.T) {
	for _, kind := range peers.ServerKinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			s := peers.Start(t, kind, peers.ServerOptions{Password: "open sesame"})
			var rejected *peers.Rejected
			_, err := peers.TryRaw(s.Addr(), "alice", peers.RawOptions{Password: "wrong"})
			if !errors.As(err, &rejected) || rejected.Type != mumblepb.Reject_WrongServerPW {
				t.Errorf("wrong password: %v", err)
			}
			own := peers.NewCertificate(t, "alice")
			r := peers.DialRaw(t, s.Addr(), "alice", peers.RawOptions{Password: "open sesame", Certificate: own})
			if got := r.Users()[r.Session].GetHash(); got != own.Hash() {
				t.Errorf("the server names the certificate %q, want %q", got, own.Hash())
			}
			s.Stop()
			if _, err := peers.TryRaw(s.Addr(), "alice", peers.RawOptions{}); err == nil {
				t.Error("a stopped server lets alice in")
			}
		})
	}
}

// TestRawRooms makes channels, links them, moves and writes.
func TestRawRooms(t *testing.T) {
	for _, kind := range peers.ServerKinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			s := peers.Start(t, kind, peers.ServerOptions{SuperUserPassword: "secret"})
			a, b := s.MakeChannel("red"), s.MakeChannel("blue")
			alice := peers.DialRaw(t, s.Addr(), "alice", peers.RawOptions{UDP: true})
			bob := peers.DialRaw(t, s.Addr(), "bob", peers.RawOptions{})
			alice.Join(a)
			bob.Join(b)
			alice.Text(b, "over the wall")
			if m := bob.WaitText(patience, "over the wall"); m.GetActor() != alice.Session {
				t.Errorf("text from %d, want %d", m.GetActor(), alice.Session)
			}
			spoken := func(g peers.Received) bool { return g.Voice != nil }
			alice.SendVoice(voice.Packet{Data: payload(0, 0)})
			if got := bob.Quiet(300*time.Millisecond, spoken); len(got) != 0 {
				t.Errorf("heard through the wall: %v", got)
			}
			s.Link(a, b)
			alice.SendVoice(voice.Packet{Data: payload(0, 1)})
			bob.WaitHeard(patience, alice.Session, 1)
			if got := alice.Channels()[a].GetName(); got != "red" {
				t.Errorf("channel %d is %q", a, got)
			}
			s.Admin().Unlink(a, b)
		})
	}
}
