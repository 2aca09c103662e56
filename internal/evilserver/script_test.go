package evilserver_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/internal/evilserver"
	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// TestPlainLies are the functions beneath all others: every direction, change,
// loss, injection into both ends.
func TestPlainLies(t *testing.T) {
	s := newStage(t, udp)
	alice, bob := s.evil.Client("alice", patience), s.evil.Client("bob", patience)

	up := s.evil.OnClient(func(from *evilserver.Client, m proto.Message) evilserver.Verdict {
		if text, ok := m.(*mumblepb.TextMessage); ok && from == alice {
			text.Message = proto.String("up " + text.GetMessage())
		}
		return evilserver.Pass()
	})
	down := s.evil.OnServer(func(to *evilserver.Client, m proto.Message) evilserver.Verdict {
		if text, ok := m.(*mumblepb.TextMessage); ok && to == bob {
			again := proto.Clone(m).(*mumblepb.TextMessage)
			again.Message = proto.String("and down " + text.GetMessage())
			return evilserver.Send(m, again)
		}
		return evilserver.Pass()
	})
	s.alice.Text(0, "said")
	s.bob.WaitText(patience, "up said")
	s.bob.WaitText(patience, "and down up said")
	up.Stop()
	down.Stop()

	s.evil.Inject(bob, &mumblepb.TextMessage{Actor: &s.alice.Session, Message: proto.String("never said")})
	s.bob.WaitText(patience, "never said")
	s.evil.InjectServer(alice, &mumblepb.TextMessage{Session: []uint32{s.bob.Session}, Message: proto.String("in her name")})
	if m := s.bob.WaitText(patience, "in her name"); m.GetActor() != s.alice.Session {
		t.Errorf("murmurd has it from %d", m.GetActor())
	}
	s.evil.InjectVoice(alice, voice.ToServer, voice.Packet{Codec: voice.Opus, Data: opus(3)})
	s.bob.WaitHeard(patience, s.alice.Session, 1)

	lie := s.evil.OnVoice(func(c *evilserver.Client, dir voice.Direction, p voice.Packet) ([]voice.Packet, time.Duration) {
		if dir == voice.ToClient && p.Data[1] == 4 {
			return nil, 0
		}
		if dir == voice.ToServer {
			p.Data[2] ^= 0xFF
		}
		return []voice.Packet{p, p}, 0
	})
	s.bob.Forget()
	s.alice.SendVoice(voice.Packet{Data: opus(4)})
	s.alice.SendVoice(voice.Packet{Data: opus(6)})
	heard := s.bob.WaitHeard(patience, s.alice.Session, 4) // doubled both ways
	for _, p := range heard {
		if p.Data[1] != 6 || p.Data[2] != 6^0xFF {
			t.Errorf("bob hears % x", p.Data)
		}
	}
	if lie.Told() == 0 {
		t.Error("nothing counted")
	}
	lie.Stop()

	s.evil.DropUDP(true)
	s.alice.SendVoice(voice.Packet{Data: opus(7)})
	s.alice.SetUDP(false)
	s.alice.SendVoice(voice.Packet{Data: opus(8)}) // murmurd sends on by UDP to bob
	s.alice.Text(0, "spoken")
	s.bob.WaitText(patience, "spoken")
	s.evil.DropUDP(false)
	s.alice.SetUDP(true)
	s.alice.SendVoice(voice.Packet{Data: opus(9)})
	heard = s.bob.WaitHeard(patience, s.alice.Session, 5)
	if p := heard[4]; p.Data[1] != 9 {
		t.Errorf("after the loss bob hears % x", p.Data)
	}
}

// TestRecord replays messages and voice, holds them back and lets them go in
// another order.
func TestRecord(t *testing.T) {
	for _, way := range []bool{tunnel, udp} {
		s := newStage(t, way)
		bob := s.evil.Client("bob", patience)
		forBob := func(e evilserver.Event) bool { return e.Client.Name() == "bob" && e.Dir == voice.ToClient }

		r := s.evil.Record(func(e evilserver.Event) bool {
			_, sotto := evilserver.Kind(e.Message)
			return forBob(e) && (sotto || e.Voice != nil)
		})
		s.plugin(s.alice, envelope.KindHello, "once", s.bob.Session)
		s.alice.SendVoice(voice.Packet{Data: opus(5), FrameNumber: 40})
		events, ok := r.Wait(2, patience)
		if !ok {
			t.Fatalf("%d events", len(events))
		}
		s.bob.WaitHeard(patience, s.alice.Session, 1)
		r.Stop()
		s.evil.Replay(events...)
		s.evil.ReplayTo(s.evil.Client("alice", patience), events...)
		heard := s.bob.WaitHeard(patience, s.alice.Session, 2)
		if !bytes.Equal(heard[0].Data, heard[1].Data) || heard[1].FrameNumber != 40 {
			t.Errorf("replayed %+v", heard[1])
		}
		s.alice.WaitHeard(patience, s.alice.Session, 1) // her own voice comes back to her
		s.settle(s.alice, s.bob)
		s.settle(s.bob, s.alice)
		if got := plugins(s.bob); !slices.Equal(got, []string{"once", "once"}) {
			t.Errorf("bob has %v", got)
		}
		if got := plugins(s.alice); !slices.Equal(got, []string{"once"}) {
			t.Errorf("alice has %v", got)
		}
		if n := len(r.Events()); n != 2 {
			t.Errorf("a replay was recorded: %d events", n)
		}

		s.bob.Forget()
		held := s.evil.Hold(func(e evilserver.Event) bool { _, sotto := evilserver.Kind(e.Message); return forBob(e) && sotto })
		for i := range 4 {
			s.plugin(s.alice, envelope.KindHello, fmt.Sprint(i), s.bob.Session)
		}
		if events, ok = held.Wait(4, patience); !ok {
			t.Fatal("not held")
		}
		s.settle(s.alice, s.bob)
		if got := plugins(s.bob); len(got) != 0 {
			t.Errorf("held, but bob has %v", got)
		}
		held.Stop()
		slices.Reverse(events)
		s.evil.ReplayTo(bob, events[:3]...)
		s.settle(s.alice, s.bob)
		if got := plugins(s.bob); !slices.Equal(got, []string{"3", "2", "1"}) {
			t.Errorf("released as %v", got)
		}
	}
}

// TestFacts lies about the server itself: certificate, version, limits, keys.
func TestFacts(t *testing.T) {
	s := newStage(t, udp)
	eve := certificateOf(t, "eve")
	s.evil.SetCertificate(eve.TLS)
	lie := evilserver.Rewrite(s.evil, evilserver.Everybody, func(_ *evilserver.Client, m *mumblepb.Version) {
		proto.Reset(m)
		m.VersionV1 = proto.Uint32(peers.Version124.V1())
	})
	limits := evilserver.Rewrite(s.evil, evilserver.Named("carol"), func(_ *evilserver.Client, m *mumblepb.ServerConfig) {
		m.MessageLength = proto.Uint32(0)
	})
	carol := s.dial("carol", udp)
	if !bytes.Equal(carol.CertDER, eve.DER) || !bytes.Equal(s.alice.CertDER, s.murmur.CertDER()) {
		t.Error("carol, and only she, should see eve's certificate")
	}
	if carol.ServerVersion != peers.Version124 || carol.Format != voice.Legacy || lie.Told() != 1 {
		t.Errorf("carol believes in version %v, told %d times", carol.ServerVersion, lie.Told())
	}
	carol.Wait(patience, "ServerConfig", func(g peers.Received) bool {
		m, ok := g.Message.(*mumblepb.ServerConfig)
		return ok && m.MessageLength != nil && m.GetMessageLength() == 0
	})
	limits.Stop()
	// The two legs speak two formats now; voice goes through both ways.
	carol.SendVoice(voice.Packet{Data: opus(1)})
	s.alice.WaitHeard(patience, carol.Session, 1)
	s.alice.SendVoice(voice.Packet{Data: opus(2)})
	carol.WaitHeard(patience, s.alice.Session, 1)

	// New keys, then the old ones with their nonces: the client follows, as raw
	// clients do, and the proxy understands it.
	c := s.evil.Client("carol", patience)
	for i, change := range []func(){c.NewKeys, func() { c.OldKeys() }, func() { c.OldKeys() }} {
		carol.Forget()
		change()
		carol.Wait(patience, "CryptSetup", func(g peers.Received) bool {
			m, ok := g.Message.(*mumblepb.CryptSetup)
			return ok && m.Key != nil
		})
		carol.SendVoice(voice.Packet{Data: opus(10 + i)})
		heard := s.alice.WaitHeard(patience, carol.Session, 2+i)
		if p := heard[1+i]; p.Data[1] != byte(10+i) {
			t.Errorf("change %d: alice hears % x", i, p.Data)
		}
	}
	c.Close()
	s.bob.Wait(patience, "UserRemove", func(g peers.Received) bool {
		m, ok := g.Message.(*mumblepb.UserRemove)
		return ok && m.GetSession() == carol.Session
	})
}
