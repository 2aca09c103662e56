package simnet_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/internal/simnet"
	"github.com/sotto-voip/sotto/mumble/voice"
	opuspkg "github.com/sotto-voip/sotto/opus"
)

// TestMSVoice: the server repeats, mixes up, makes up and re-encodes voice.
func TestMSVoice(t *testing.T) {
	play(t, []scenario{
		{"MS11", "plays voice again five seconds later, and an hour later: nothing is heard twice", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob")
			bob := all[1]
			s.forget()
			all[0].talk(2 * time.Second)
			s.run(3 * time.Second)
			n, _ := bob.hears(all[0].peer.Session())
			spoken := s.srv.RecordedVoice()
			for _, wait := range []time.Duration{2 * time.Second, time.Hour} {
				s.run(wait)
				before, late := bob.Stats().Unopened, len(bob.heard)
				for _, r := range spoken {
					s.srv.Replay(r)
				}
				s.run(time.Second)
				// What was lost the first time may come now, but not an hour later.
				if again := len(bob.heard) - late; n < 80 || again > 0 && wait == time.Hour {
					t.Errorf("after %v bob heard %d packets, first %d", wait, again, n)
				}
				if bob.Stats().Unopened == before {
					t.Error("nothing of it was counted")
				}
			}
			twice := map[uint64]bool{}
			for i, h := range bob.heard {
				if twice[h.frame] {
					t.Errorf("frame %d is heard twice", h.frame)
				}
				twice[h.frame] = true
				if h.from == all[0].peer.Session() && !bytes.Equal(h.opus, all[0].speech()) {
					t.Errorf("packet %d is not what alice said", i)
				}
			}
		}},
		{"MS12", "names alice as bob and bob as alice: dropped, and said; nobody lights up under a wrong name", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob", "carol")
			alice, bob, carol := all[0], all[1], all[2]
			s.forget()
			s.srv.Swap(alice.peer.Session(), bob.peer.Session())
			alice.talk(4 * time.Second)
			bob.talk(4 * time.Second)
			alice.write("I am alice")
			s.run(8 * time.Second)
			for _, h := range carol.heard {
				t.Errorf("carol hears %x of %d", h.opus[:4], h.from)
				break
			}
			if len(carol.texts) != 0 {
				t.Errorf("carol reads %v", carol.texts)
			}
			if !carol.told(endpoint.NoticeMixed, "does not fit the keys of that person") {
				t.Errorf("told %v", carol.notices)
			}
			// As somebody who is not in the group, or is not there at all.
			s.srv.Fair()
			s.forget()
			ghost := s.srv.Ghost("mallory", "", 0)
			s.srv.Hook(func(d *simnet.Delivery) {
				if d.Voice != nil && d.From == alice.peer.Session() {
					d.As(ghost)
				}
			})
			alice.talk(2 * time.Second)
			s.run(3 * time.Second)
			if len(carol.heard) != 0 {
				t.Error("carol hears a ghost")
			}
		}},
		{"MS25", "plays recorded clear audio as bob in a protected channel: not heard", func(t *testing.T, s *stage) {
			for _, policy := range []e2ee.Policy{e2ee.PolicyPrefer, e2ee.PolicyRequire} {
				all := s.join(policy, "alice"+policy.String(), "bob"+policy.String())
				stranger := s.srv.NewPeer("stranger"+policy.String(), nil)
				stranger.Connect()
				s.run(6 * time.Second)
				s.forget()
				for i := range 50 {
					s.clock.After(time.Duration(i)*20*time.Millisecond, func() {
						p := voice.Packet{Codec: voice.Opus, Session: all[1].peer.Session(), FrameNumber: uint64(2 * i), Data: opusPacket(0x29)}
						s.srv.InjectVoice(p, all[0].peer.Session())
						stranger.Say(0, opusPacket(0x2A))
					})
				}
				s.run(2 * time.Second)
				if n, clear := all[0].hears(all[1].peer.Session()); n+clear != 0 {
					t.Errorf("%v: heard as bob: %d encrypted, %d in clear", policy, n, clear)
				}
				// What somebody without keys says is marked as clear, or not heard.
				n, clear := all[0].hears(stranger.Session())
				if n != 0 || (policy == e2ee.PolicyRequire) == (clear > 0) {
					t.Errorf("%v: of a stranger %d encrypted, %d in clear", policy, n, clear)
				}
				if all[0].Stats().ClearVoice < 50 {
					t.Errorf("%v: counted %d", policy, all[0].Stats().ClearVoice)
				}
				for _, p := range all {
					p.peer.Disconnect()
				}
				stranger.Disconnect()
				s.run(2 * time.Second)
			}
		}},
		{"MS33", "cuts off padding, or encodes silence anew: said within three seconds", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob", "carol")
			s.forget()
			for _, how := range []struct {
				name  string
				strip func(b []byte) []byte
			}{
				{"the same packet without its padding", func(b []byte) []byte {
					d, _, _ := opuspkg.ParseCover(b)
					out, _ := opuspkg.AppendCover(nil, d, nil)
					return out
				}},
				{"one frame in its plainest form", func([]byte) []byte { return []byte{0xF8, 0xFF, 0xFE} }},
				{"padding of zeros in place of ours", func(b []byte) []byte {
					d, padding, _ := opuspkg.ParseCover(b)
					out, _ := opuspkg.AppendCover(nil, d, make([]byte, len(padding)))
					return out
				}},
			} {
				s.srv.Fair()
				s.run(11 * time.Minute) // so long nothing is said twice
				s.forget()
				s.srv.Hook(func(d *simnet.Delivery) {
					if d.Voice != nil {
						d.SetPayload(how.strip(d.Voice.Data))
					}
				})
				all[0].talk(4 * time.Second)
				s.run(3 * time.Second)
				for _, p := range all[1:] {
					if !p.told(endpoint.NoticeAltered, "The server alters audio; protection is impossible here") {
						t.Errorf("%s: %s is told %v", how.name, p.name, p.notices)
					}
					if len(p.heard) != 0 {
						t.Errorf("%s: heard %d", how.name, len(p.heard))
					}
				}
				s.run(2 * time.Second)
			}
		}},
	})
}
