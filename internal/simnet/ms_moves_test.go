package simnet_test

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// TestMSMoves: the server says who is where, and who hears whom.
func TestMSMoves(t *testing.T) {
	play(t, []scenario{
		{"MS1", "moved by the server while talking: the microphone is held, and said to be", func(t *testing.T, s *stage) {
			far := s.srv.AddChannel(0, "far")
			for _, policy := range []e2ee.Policy{e2ee.PolicyPrefer, e2ee.PolicyRequire} {
				names := []string{"alice", "bob", "carol"}
				if policy == e2ee.PolicyRequire {
					names = []string{"erin", "frank", "grace"}
				}
				all := s.join(policy, names...)
				stranger := s.srv.NewPeer("stranger"+policy.String(), nil)
				stranger.Connect()
				s.run(5 * time.Second)
				stranger.Move(far)
				s.run(time.Second)
				s.forget()
				alice := all[0]
				alice.talk(25 * time.Second)
				alice.write("before")
				s.run(2 * time.Second)
				s.srv.Move(alice.peer.Session(), far)
				s.run(time.Second)
				if alice.Leave() != e2ee.LeaveNothing || !alice.told(e2ee.NoticeMoved, "your microphone is held. Here now: 1 person, of whom 0 can read you.") {
					t.Errorf("%v: %v, leaves %v, told %v", policy, alice.State(), alice.Leave(), alice.notices)
				}
				if alice.write("after the move") == nil {
					t.Errorf("%v: a text leaves where the server moved us", policy)
				}
				s.run(15 * time.Second)
				if alice.Leave() != e2ee.LeaveNothing || len(alice.questions) == 0 {
					t.Errorf("%v: after a while %v, asked %v", policy, alice.State(), alice.questions)
				}
				s.run(10 * time.Second)
				for _, p := range all[1:] {
					if n, clear := p.hears(alice.peer.Session()); n < 80 || clear != 0 {
						t.Errorf("%s heard %d, in clear %d", p.name, n, clear)
					}
				}
				for _, p := range all {
					p.peer.Disconnect()
				}
				stranger.Disconnect()
				s.run(2 * time.Second)
			}
		}},
		{"MS2", "renames, links and unlinks, and swaps the ids of channels: a group is its people", func(t *testing.T, s *stage) {
			lobby := s.srv.AddChannel(0, "lobby")
			all := s.join(e2ee.PolicyPrefer, "alice", "bob")
			group, _ := all[0].Groups().Epoch()
			for _, p := range all {
				p.talk(60 * time.Second)
			}
			s.forget()
			s.srv.RenameChannel(0, "Private room")
			s.run(2 * time.Second)
			if now, _ := all[0].Groups().Epoch(); now != group || !isTogether(all) {
				t.Error("a new name of the channel ended the group")
			}
			if !all[0].told(endpoint.NoticeChannel, "Private room") {
				t.Errorf("a new name is not told: %v", all[0].notices)
			}
			// Two channels change their names with each other.
			s.srv.RenameChannel(0, "lobby")
			s.srv.RenameChannel(lobby, "Private room")
			s.run(12 * time.Second)
			if now, _ := all[0].Groups().Epoch(); now != group || !isTogether(all) {
				t.Error("the group went with the name")
			}
			s.srv.Link(0, lobby, true)
			s.run(12 * time.Second)
			if !isTogether(all) || !all[0].told(endpoint.NoticeChannel, "links") {
				t.Errorf("linked: %v, told %v", all[0].State(), all[0].notices)
			}
			// alice is said to sit elsewhere, in a channel with the id of the other.
			s.srv.Link(0, lobby, false)
			s.srv.Pretend(all[0].peer.Session(), lobby)
			s.run(2 * time.Second)
			if all[0].Leave() != e2ee.LeaveNothing {
				t.Errorf("moved to the other id: %v", all[0].State())
			}
			s.run(30 * time.Second)
		}},
		{"MS28", "mutes, suppresses and deafens: the state is shown, the group stays", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob", "carol")
			alice := all[0]
			s.srv.Mute(alice.peer.Session(), true)
			s.srv.Suppress(all[1].peer.Session(), true)
			s.srv.Inject(&mumblepb.UserState{Session: proto.Uint32(all[2].peer.Session()), Deaf: proto.Bool(true)})
			s.forget()
			for _, p := range all {
				p.talk(5 * time.Second)
			}
			s.run(6 * time.Second)
			for i, p := range all {
				if me, _ := p.Mirror().Own(); (i < 2) == me.MaySpeak() {
					t.Errorf("%s may speak: %v", p.name, me.MaySpeak())
				}
			}
			if u, _ := all[0].Mirror().User(all[2].peer.Session()); !u.Deaf {
				t.Error("that carol is deaf is not shown")
			}
			if !isTogether(all) {
				t.Error("the group ended")
			}
		}},
		{"MS31", "says that somebody listens: listed as without keys, never as a member", func(t *testing.T, s *stage) {
			lobby := s.srv.AddChannel(0, "lobby")
			stranger := s.srv.NewPeer("stranger", nil)
			stranger.Connect()
			s.run(5 * time.Second)
			stranger.Move(lobby)
			s.run(5 * time.Second)
			all := s.join(e2ee.PolicyPrefer, "alice", "bob")
			s.forget()
			s.srv.Inject(&mumblepb.UserState{Session: proto.Uint32(stranger.Session()), ListeningChannelAdd: []uint32{0}})
			all[0].talk(8 * time.Second)
			s.run(8 * time.Second)
			_, silence := all[0].Audience()
			if len(silence) != 1 || len(all[0].Holders()) != 1 || !all[0].told(e2ee.NoticeDeaf, "“stranger” (listens from “lobby”)") {
				t.Errorf("without keys %q, members %v, told %v", silence, all[0].Groups().Members(), all[0].notices)
			}
			// And denies what is not denied: a whisper to the listener is not sent in clear.
			all[0].SetTarget(s.clock.Now(), &mumblepb.VoiceTarget{Id: proto.Uint32(1), Targets: []*mumblepb.VoiceTarget_Target{{Session: []uint32{stranger.Session()}}}})
			s.run(time.Second)
			if err := all[0].peer.Say(1, all[0].speech()); err == nil {
				t.Error("a whisper to somebody without keys leaves")
			}
			s.run(time.Second)
		}},
		{"MS32", "links channels: their people receive ciphertext, and it is said how many", func(t *testing.T, s *stage) {
			lobby := s.srv.AddChannel(0, "lobby")
			for _, name := range []string{"s1", "s2", "s3"} {
				p := s.srv.NewPeer(name, nil)
				p.Connect()
				s.run(3 * time.Second)
				p.Move(lobby)
			}
			s.run(5 * time.Second)
			all := s.join(e2ee.PolicyPrefer, "alice", "bob")
			s.forget()
			all[0].talk(20 * time.Second)
			s.srv.Link(0, lobby, true)
			s.run(20 * time.Second)
			_, silence := all[0].Audience()
			if !isTogether(all) || !slices.Equal(silence, []string{"“s1” (in “lobby”)", "“s2” (in “lobby”)", "“s3” (in “lobby”)"}) || !all[0].told(endpoint.NoticeChannel, "goes to 4 people, of whom 1 can read it") {
				t.Errorf("%v, without keys %q, told %v", all[0].State(), silence, all[0].notices)
			}
		}},
	})
}
