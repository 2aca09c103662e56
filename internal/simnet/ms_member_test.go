package simnet_test

import (
	"bytes"
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/internal/simnet"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
	opuspkg "github.com/sotto-voip/sotto/opus"
	"github.com/sotto-voip/sotto/sframe"
)

// seal encrypts what no honest endpoint would let a member say, and sends it.
func (p *soul) seal(f e2ee.Frame, length time.Duration) {
	p.s.t.Helper()
	p.frame += 2
	f.FrameNumber = p.frame
	body, err := p.Groups().SealVoice(nil, p.s.clock.Now(), envelope.MaxVoiceBody(length, envelope.MaxVoice), &f)
	if err != nil {
		p.s.t.Fatal(err)
	}
	data, err := envelope.AppendVoice(nil, length, body)
	if err != nil {
		p.s.t.Fatal(err)
	}
	p.send(data)
}

// send lets the server take a voice packet for one of p.
func (p *soul) send(data []byte) {
	for _, q := range p.s.souls {
		if q != p && q.peer.Session() != 0 {
			p.s.srv.InjectVoice(voice.Packet{Codec: voice.Opus, Session: p.peer.Session(), FrameNumber: p.frame, Data: data}, q.peer.Session())
		}
	}
}

// TestMVoice: a member of the group, who has the keys, sends voice that is none.
func TestMVoice(t *testing.T) {
	play(t, []scenario{
		{"M9", "CTR of 2^64-1, jumps over steps, and far beyond: dropped, or followed within bounds", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob")
			alice, bob := all[0], all[1]
			s.forget()
			for _, h := range []sframe.Header{{CTR: math.MaxUint64}, {CTR: 1<<14 + 1}, {KID: math.MaxUint64}, {KID: 255, CTR: math.MaxUint64}, {KID: 7}} {
				body := append([]byte{envelope.VoiceMLS}, sframe.AppendHeader(nil, h)...)
				data, err := envelope.AppendVoice(nil, 20*time.Millisecond, append(body, make([]byte, 64)...))
				if err != nil {
					t.Fatal(err)
				}
				for range 100 {
					alice.frame += 2
					alice.send(data)
				}
			}
			s.run(2 * time.Second)
			if len(bob.heard) != 0 {
				t.Errorf("%d packets of nothing are heard", len(bob.heard))
			}
			// Steps are skipped: within the look-ahead of eight it is followed.
			skip := func(n int) {
				f := e2ee.Frame{Opus: alice.speech()}
				for range n << 14 {
					if _, err := alice.Groups().SealVoice(nil, s.clock.Now(), 600, &f); err != nil {
						t.Fatal(err)
					}
				}
				alice.talk(time.Second)
				s.run(2 * time.Second)
			}
			skip(3)
			if n, _ := bob.hears(alice.peer.Session()); n < 40 {
				t.Errorf("three steps on: heard %d", n)
			}
			s.forget()
			skip(10)
			if n, _ := bob.hears(alice.peer.Session()); n != 0 {
				t.Errorf("ten steps on: heard %d, more than the look-ahead", n)
			}
		}},
		{"M10", "illegal Opus of a member: nothing of it reaches the client", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob")
			alice, bob := all[0], all[1]
			s.forget()
			long := bytes.Repeat([]byte{0x55}, 600)
			bad := [][]byte{
				{0xF8}, {0xFF}, {0xFB, 0}, {0xFB, 49}, {0xFB, 0x80 | 2, 200, 1}, {0xFB, 0x40 | 1, 255, 255, 255}, {0xF9, 1, 2}, // counts and lengths that lie
				append([]byte{0xFB, 6}, long[:60]...),    // 120 ms
				append([]byte{0xE3, 48}, long[:48*2]...), // 48 frames of 2.5 ms
				append([]byte{0xFA, 252, 255}, long...),  // a frame that is longer than it may be
				append([]byte{0x78}, long[:30]...),       // 20 ms, in an envelope of another length below
			}
			for _, b := range bad {
				for _, length := range []time.Duration{10 * time.Millisecond, 60 * time.Millisecond} {
					alice.seal(e2ee.Frame{Opus: b}, length)
				}
			}
			for i := range 500 { // and anything
				b := make([]byte, 1+i%40)
				for j := range b {
					b[j] = byte(i*31 + j*i)
				}
				alice.seal(e2ee.Frame{Opus: b}, 20*time.Millisecond)
			}
			s.run(2 * time.Second)
			for _, h := range bob.heard {
				var p opuspkg.Packet
				if err := opuspkg.Parse(h.opus, &p); err != nil || p.Duration() > 60*time.Millisecond || opuspkg.Check(h.opus, p.Duration()) != nil {
					t.Errorf("% x reaches the client: %v", h.opus, err)
				}
			}
			if bob.Endpoint.Stats().Firewall < uint64(len(bad)) {
				t.Errorf("%+v", bob.Endpoint.Stats())
			}
		}},
		{"M12", "positions that are no numbers: none arrives, the voice does", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob")
			s.forget()
			nan, inf := float32(math.NaN()), float32(math.Inf(-1))
			for _, c := range []struct {
				p    [3]float32
				none bool
			}{{[3]float32{nan, 0, 0}, true}, {[3]float32{0, inf, 0}, true}, {[3]float32{1e38, -1e38, 0}, false}, {place, false}} {
				s.forget()
				all[0].seal(e2ee.Frame{Opus: all[0].speech(), HasPosition: true, Position: c.p}, 20*time.Millisecond)
				s.run(time.Second)
				if h := all[1].heard; len(h) > 1 || len(h) == 1 && h[0].hasPosition == c.none {
					t.Errorf("%v: %+v", c.p, h)
				}
			}
		}},
		{"M18", "an old member uses the keys that it kept: not heard, and within the grace of an epoch never for longer than two seconds", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob", "carol", "dave")
			alice, carol := all[0], all[2]
			s.forget()
			// carol does not follow any more, keeps her keys, and speaks.
			s.srv.Hook(simnet.Only(simnet.Withhold(0, envelope.KindMLSMessage, envelope.KindRef, envelope.KindWelcome), carol.peer.Session()))
			all[3].peer.Disconnect()
			s.within(10*time.Second, "dave is out", func() bool { return len(alice.Groups().Members()) == 3 })
			out := s.clock.Now()
			carol.talk(20 * time.Second)
			s.run(20 * time.Second)
			for _, h := range alice.heard {
				if h.from == carol.peer.Session() && h.at.Sub(out) > 2*time.Second+200*time.Millisecond {
					t.Errorf("heard with old keys %v after the change", h.at.Sub(out))
					break
				}
			}
			// And removed: not at all.
			s.srv.Fair()
			s.run(40 * time.Second)
			carol.talk(15 * time.Second)
			s.run(time.Second)
			s.forget()
			session := carol.peer.Session()
			others := []uint32{alice.peer.Session(), all[1].peer.Session()}
			s.srv.Inject(&mumblepb.UserRemove{Session: proto.Uint32(session)}, others...)
			s.srv.Hook(simnet.Only(simnet.Withhold(0, allKinds...), session))
			s.within(10*time.Second, "carol is out", func() bool { return len(alice.Groups().Members()) == 2 })
			s.forget()
			s.run(3 * time.Second)
			if n, _ := alice.hears(session); n != 0 || carol.peer.Stats().Said == 0 {
				t.Errorf("a removed member is heard %d times", n)
			}
		}},
	})
}

// TestMembership: who is out reads nothing that comes after, and who comes reads
// nothing from before, though the server relays and repeats all of it to them.
func TestMembership(t *testing.T) {
	play(t, []scenario{
		{"leaves", "removed, and the server still sends it everything: nothing opens once the change has come", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob", "carol")
			alice, carol := all[0], all[2]
			alice.talk(20 * time.Second)
			session := carol.peer.Session()
			s.srv.Hook(simnet.Only(simnet.Withhold(0, allKinds...), session))
			s.srv.Inject(&mumblepb.UserRemove{Session: proto.Uint32(session)}, alice.peer.Session(), all[1].peer.Session())
			gone := s.clock.Now()
			s.within(2*time.Second, "carol is out", func() bool { return len(alice.Groups().Members()) == 2 })
			s.run(500 * time.Millisecond)
			changed := s.clock.Now()
			s.forget()
			s.run(8 * time.Second)
			alice.write("not for carol")
			s.run(3 * time.Second)
			if n, _ := all[1].hears(alice.peer.Session()); n < 300 {
				t.Errorf("bob heard %d packets", n)
			}
			if len(carol.heard) != 0 || len(carol.texts) != 0 {
				t.Errorf("carol opens %d packets and %d texts after %v", len(carol.heard), len(carol.texts), changed.Sub(gone))
			}
		}},
		{"joins", "recorded before it came, and played to it later: nothing opens", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob")
			all[0].talk(5 * time.Second)
			all[0].write("from before")
			s.run(6 * time.Second)
			spoken, written := s.srv.RecordedVoice(), s.srv.Recorded()
			dave := s.soul("dave", e2ee.PolicyRequire)
			dave.peer.Connect()
			s.together(all[0], all[1], dave)
			s.forget()
			for _, r := range spoken {
				s.srv.Replay(r, dave.peer.Session())
			}
			for _, r := range written {
				if k, _ := r.Kind(); k == envelope.KindMLSMessage {
					s.srv.Replay(r, dave.peer.Session())
				}
			}
			s.run(5 * time.Second)
			if len(dave.heard) != 0 || len(dave.texts) != 0 {
				t.Errorf("dave opens %d packets and %d texts", len(dave.heard), len(dave.texts))
			}
			all[0].talk(time.Second)
			s.run(2 * time.Second)
			if n, _ := dave.hears(all[0].peer.Session()); n < 40 {
				t.Errorf("and %d of what comes after", n)
			}
		}},
	})
}
