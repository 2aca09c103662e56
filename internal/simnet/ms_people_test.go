package simnet_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/internal/simnet"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/trust"
)

// TestMSPeople: the server lies about who is there, who they are, and what they
// can do.
func TestMSPeople(t *testing.T) {
	play(t, []scenario{
		{"MS6", "shows somebody known with another key (at the level of events: contacts come later): asked, never accepted by itself", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyPrefer, "alice", "bob", "carol")
			alice, bob := all[0], all[1]
			s.forget()
			bob.device = identity.New().NewDevice(0) // somebody else behind bob's name and certificate
			alice.talk(5 * time.Minute)
			bob.again()
			s.within(time.Minute, "the question", func() bool { return alice.asked(e2ee.QuestionIdentity, `"bob" has a new identity key`) })
			before := len(bob.heard)
			if alice.Leave() != e2ee.LeaveNothing {
				t.Errorf("leaves %v", alice.Leave())
			}
			// Neither time, nor keys, nor people who come and go, nor "wait" answer it.
			dave := s.soul("dave", e2ee.PolicyPrefer)
			dave.peer.Connect()
			s.run(10 * time.Second)
			alice.UserWait(s.clock.Now())
			s.run(40 * time.Second)
			if alice.State() != e2ee.StateAsked || len(bob.heard) != before {
				t.Errorf("%v, and bob heard %d", alice.State(), len(bob.heard)-before)
			}
			alice.UserProtect(s.clock.Now())
			alice.act()
			s.within(30*time.Second, "going on after the user's word", func() bool { return alice.State() == e2ee.StatePriv })
		}},
		{"MS8", "shows somebody who is not there: hears only noise, and is in no list of keys", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob")
			s.forget()
			ghost := s.srv.Ghost("mallory", "", 0)
			s.run(20 * time.Second)
			for _, p := range all {
				_, silence := p.Audience()
				if !slices.Equal(silence, []string{"“mallory”"}) || slices.Contains(p.Groups().Members(), ghost) || !p.told(e2ee.NoticeDeaf, "mallory” has no Sotto") {
					t.Errorf("%s: without keys %q, members %v, told %v", p.name, silence, p.Groups().Members(), p.notices)
				}
				if p.State() != e2ee.StatePriv {
					t.Errorf("%s: %v", p.name, p.State())
				}
			}
		}},
		{"MS9", "lets somebody with Sotto ask for a locked group: said, not added, hears nothing", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob")
			all[0].Lock(s.clock.Now(), true)
			all[0].act()
			s.run(10 * time.Second)
			s.forget()
			eve := s.soul("eve", e2ee.PolicyRequire)
			eve.peer.Connect()
			all[0].talk(40 * time.Second)
			s.run(40 * time.Second)
			for _, p := range all {
				if !p.told(audience.NoticeNotAdded, "“eve” wants to be in the group, which is locked") {
					t.Errorf("%s: told %v", p.name, p.notices)
				}
			}
			if n, _ := eve.hears(all[0].peer.Session()); n > 0 || len(all[1].Groups().Members()) != 2 {
				t.Errorf("eve heard %d; members %v", n, all[1].Groups().Members())
			}
			if _, silence := all[0].Audience(); !slices.Equal(silence, []string{"“eve”"}) {
				t.Errorf("hear silence: %q", silence)
			}
			if eve.State() == e2ee.StatePriv || !eve.asked(e2ee.QuestionWait, "") {
				t.Errorf("eve: %v, asked %v", eve.State(), eve.questions)
			}
		}},
		{"MS13", "gives two people each other's names and certificates: what is remembered goes with the key, and the user is asked", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyPrefer, "alice", "bob", "carol")
			alice, bob, carol := all[0], all[1].peer.Session(), all[2].peer.Session()
			s.forget()
			alice.talk(30 * time.Second)
			s.srv.Rename(bob, "carol", alice.peer.Session())
			s.srv.Rename(carol, "bob", alice.peer.Session())
			s.srv.Rehash(bob, all[2].peer.Hash, alice.peer.Session())
			s.srv.Rehash(carol, all[1].peer.Hash, alice.peer.Session())
			s.run(20 * time.Second)
			if alice.State() != e2ee.StateAsked || !alice.asked(e2ee.QuestionIdentity, "of somebody else") {
				t.Errorf("%v, asked %v", alice.State(), alice.questions)
			}
			if alice.Leave() != e2ee.LeaveNothing || alice.write("whose name is this?") == nil {
				t.Errorf("leaves %v, or a text", alice.Leave())
			}
			// The memory goes with the keys: each name still stands for the key that it had.
			for _, p := range all[1:] {
				for _, name := range []string{"bob", "carol"} {
					j := alice.book.Judge("voice.example.org:64738", trust.Person{Identity: p.device.Identity(), Name: name, CertHash: p.peer.Hash})
					if want := name == p.name; (j.Verdict == trust.Known) != want {
						t.Errorf("the key of %s under the name of %s is %v", p.name, name, j.Verdict)
					}
				}
			}
			before := [2]int{len(all[1].heard), len(all[2].heard)}
			s.run(10 * time.Second)
			if now := [2]int{len(all[1].heard), len(all[2].heard)}; now != before {
				t.Errorf("alice was heard meanwhile: %v packets, %v before", now, before)
			}
		}},
		{"MS14", "holds back what bob sends by a minute: said, and frames of old epochs are not played", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob", "carol")
			alice, bob := all[0], all[1]
			s.forget()
			s.srv.Hook(simnet.Hold(bob.peer.Session(), time.Minute))
			bob.talk(100 * time.Second)
			for range 3 { // the epochs go on
				s.run(20 * time.Second)
				all[2].again()
			}
			s.run(time.Minute)
			if !alice.told(endpoint.NoticeUnconfirmed, "“bob” has not shown the current keys") {
				t.Errorf("told %v, health %+v", alice.notices, alice.Groups().Health())
			}
			for _, h := range alice.heard {
				if h.from == bob.peer.Session() {
					t.Errorf("bob is heard a minute late, at %v", h.at)
					break
				}
			}
		}},
		{"MS15", "suppresses own key refreshes: said", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob")
			s.forget()
			s.srv.Hook(simnet.Withhold(all[0].peer.Session(), envelope.KindMLSMessage, envelope.KindRef))
			s.within(70*time.Minute, "the word about it", func() bool {
				return all[0].told(audience.NoticeNoRefresh, "Your key refresh is being blocked")
			})
			if all[1].told(audience.NoticeNoRefresh, "") {
				t.Error("bob is told too, whose refreshes go through")
			}
			s.run(time.Minute)
		}},
		{"MS23", "says to be older than before: asked, and nothing leaves lower than it did", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyPrefer, "alice", "bob")
			alice := all[0]
			// In the middle of a connection a version is only words: what was ciphertext
			// before it is ciphertext after it, and is heard.
			for _, v := range []uint32{1<<16 | 6<<8, 1<<16 | 2<<8, 0, 1<<32 - 1} {
				s.forget()
				alice.talk(4 * time.Second)
				s.srv.Inject(&mumblepb.Version{VersionV1: proto.Uint32(v)})
				s.run(2 * time.Second)
				text := fmt.Sprintf("under version %x", v)
				if err := alice.write(text); err != nil {
					t.Errorf("version %x: a text does not leave: %v", v, err)
				}
				s.run(4 * time.Second)
				if n, clear := all[1].hears(alice.peer.Session()); n < 180 || clear != 0 || len(all[1].texts) != 1 {
					t.Errorf("version %x: bob hears %d of 200 packets, %d in clear, and reads %v", v, n, clear, all[1].texts)
				}
				if alice.State() != e2ee.StatePriv {
					t.Errorf("version %x: %v, asked %v", v, alice.State(), alice.questions)
				}
			}
			s.forget()
			s.srv.Hook(func(d *simnet.Delivery) {
				if v, ok := d.Message.(*mumblepb.Version); ok {
					v = proto.CloneOf(v)
					v.VersionV1, v.VersionV2 = proto.Uint32(1<<16|2<<8), nil
					d.Message = v
				}
			})
			alice.again()
			alice.talk(40 * time.Second)
			s.run(30 * time.Second)
			if alice.State() != e2ee.StateAsked || !alice.asked(e2ee.QuestionWorse, "") {
				t.Errorf("%v, asked %v", alice.State(), alice.questions)
			}
			for _, v := range []uint32{1<<16 | 6<<8, 1<<16 | 2<<8, 0, 1<<32 - 1} {
				s.srv.Inject(&mumblepb.Version{VersionV1: proto.Uint32(v)})
			}
			s.run(10 * time.Second)
		}},
	})
}
