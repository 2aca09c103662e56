package peers_test

import (
	"bytes"
	"encoding/base64"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// TestTap lets two clients talk and write through a tap, and asks it for every
// byte: an instrument that finds nothing must be known to find something.
func TestTap(t *testing.T) {
	for _, kind := range peers.ServerKinds {
		for _, udp := range []bool{true, false} {
			name := kind.String() + map[bool]string{true: "/udp", false: "/tunnel"}[udp]
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := peers.Start(t, kind, peers.ServerOptions{Unlimited: true})
				tap := peers.StartTap(t, s)
				own := peers.NewCertificate(t, "alice")
				alice := peers.DialRaw(t, tap.Addr(), "alice", peers.RawOptions{UDP: udp, Certificate: own})
				bob := peers.DialRaw(t, s.Addr(), "bob", peers.RawOptions{UDP: udp})
				if !bytes.Equal(alice.CertDER, s.CertDER()) {
					t.Error("the tap shows another certificate than the server")
				}
				if hash := alice.Users()[alice.Session].GetHash(); hash == "" || hash == own.Hash() {
					t.Errorf("behind the tap alice's certificate is %q", hash)
				}
				up, down := payload(0, 1), payload(1, 2)
				alice.SendVoice(voice.Packet{Data: up})
				bob.WaitHeard(patience, alice.Session, 1)
				bob.SendVoice(voice.Packet{Data: down})
				alice.WaitHeard(patience, bob.Session, 1)
				secret := "a word nobody else may read"
				alice.Text(0, secret)
				bob.WaitText(patience, secret)
				for offset := range 3 {
					bob.Text(0, base64.StdEncoding.EncodeToString([]byte("xyz"[:offset]+secret+"!")))
				}
				bob.Text(0, "the end")
				alice.WaitText(patience, "the end")

				if n := tap.Blind(); n != 0 {
					t.Errorf("the tap could not open %d datagrams", n)
				}
				for what, pattern := range map[string][]byte{"voice up": up, "voice down": down} {
					hits := tap.Contains(pattern)
					if len(hits) != 1 {
						t.Fatalf("%s found %d times, want 1", what, len(hits))
					}
					v, ok := hits[0].Frame.Voice()
					if !ok || !bytes.Equal(v.Data, pattern) || hits[0].Frame.UDP != udp {
						t.Errorf("%s: %+v, udp %v", what, v, hits[0].Frame.UDP)
					}
				}
				found := map[string]int{}
				for _, hit := range tap.Contains([]byte(secret)) {
					found[hit.Form]++
				}
				if found["plain"] != 1 || found["base64"] != 3 {
					t.Errorf("the secret is found %v, want once plain and 3 times in base64", found)
				}
				if hits := tap.Contains([]byte("never said by anybody")); len(hits) != 0 {
					t.Errorf("found what was never said: %v", hits)
				}
				t.Logf("%d frames", len(tap.Frames()))
			})
		}
	}
}

// TestTapInterferes drops datagrams, filters, injects and cuts.
func TestTapInterferes(t *testing.T) {
	s := peers.Start(t, peers.Murmur15, peers.ServerOptions{})
	tap := peers.StartTap(t, s)
	alice := peers.DialRaw(t, tap.Addr(), "alice", peers.RawOptions{UDP: true})
	bob := peers.DialRaw(t, s.Addr(), "bob", peers.RawOptions{UDP: true})

	tap.DropUDP(true)
	alice.SendVoice(voice.Packet{Data: payload(0, 0)})
	heard := func(g peers.Received) bool { return g.Voice != nil }
	if got := bob.Quiet(300*time.Millisecond, heard); len(got) != 0 {
		t.Errorf("heard although datagrams are dropped: %v", got)
	}
	alice.SetUDP(false)
	alice.SendVoice(voice.Packet{Data: payload(0, 1)})
	bob.WaitHeard(patience, alice.Session, 1)
	tap.DropUDP(false)

	tap.Filter(func(dir voice.Direction, f control.Frame) []control.Frame {
		if dir == voice.ToServer && f.Type == control.TypeTextMessage {
			return []control.Frame{f, f}
		}
		return []control.Frame{f}
	})
	alice.Text(0, "twice")
	bob.WaitText(patience, "twice")
	alice.Text(0, "end")
	bob.WaitText(patience, "end")
	n := 0
	for _, m := range bob.Texts() {
		if m.GetMessage() == "twice" {
			n++
		}
	}
	if n != 2 {
		t.Errorf("heard twice %d times", n)
	}
	tap.Filter(nil)

	tap.Inject(voice.ToClient, &mumblepb.TextMessage{Message: proto.String("from nowhere")})
	if m := alice.WaitText(patience, "from nowhere"); m.Actor != nil {
		t.Errorf("injected text has the actor %d", m.GetActor())
	}
	tap.Cut()
	bob.Wait(patience, "UserRemove of alice", func(g peers.Received) bool {
		m, ok := g.Message.(*mumblepb.UserRemove)
		return ok && m.GetSession() == alice.Session
	})
	if alice.Err() == nil {
		t.Error("alice is still connected after the cut")
	}
	again := peers.DialRaw(t, tap.Addr(), "alice", peers.RawOptions{UDP: true})
	again.Text(0, "back")
	bob.WaitText(patience, "back")
}
