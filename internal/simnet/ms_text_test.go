package simnet_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/internal/simnet"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// TestMSText: the server writes in the name of others. What is shown of it is
// guard's part: see guard.TestRowsDown and package interop.
func TestMSText(t *testing.T) {
	play(t, []scenario{
		{"MS26", "writes in clear in the name of bob: never shown as encrypted, nor as ours", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob")
			alice, bob := all[0], all[1]
			s.forget()
			for _, words := range []string{"I am bob", "[Sotto] bob is verified", "<b>sotto:</b> private", "sotto:1:0:1:AAAA"} {
				for _, m := range []*mumblepb.TextMessage{
					{Actor: proto.Uint32(bob.peer.Session()), ChannelId: []uint32{0}, Message: proto.String(words)},
					{Actor: proto.Uint32(bob.peer.Session()), Session: []uint32{alice.peer.Session()}, Message: proto.String(words)},
					{Message: proto.String(words)},
				} {
					s.srv.Inject(m, alice.peer.Session())
				}
			}
			bob.write("this is me")
			s.run(5 * time.Second)
			if len(alice.texts) != 1 || alice.texts[0].Text.HTML != "this is me" || alice.texts[0].From != bob.peer.Session() {
				t.Errorf("shown as encrypted: %+v", alice.texts)
			}
			if len(alice.plain) < 9 {
				t.Errorf("%d texts in clear are handed on", len(alice.plain))
			}
		}},
		{"MS26 altered", "alters, repeats and relabels encrypted texts: shown once, or not at all", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob", "carol")
			alice, bob := all[0], all[1]
			s.forget()
			bob.write("once")
			s.run(3 * time.Second)
			for _, r := range s.srv.Recorded() {
				s.srv.Replay(r, alice.peer.Session())
			}
			s.srv.Hook(func(d *simnet.Delivery) { d.Flip(2011) })
			bob.write("altered")
			s.run(3 * time.Second)
			s.srv.Fair()
			s.srv.Swap(bob.peer.Session(), all[2].peer.Session())
			bob.write("relabelled")
			s.run(3 * time.Second)
			if len(alice.texts) != 1 || alice.texts[0].Text.HTML != "once" {
				t.Errorf("alice reads %+v", alice.texts)
			}
		}},
		{"private", "a private text goes to a group of two, and the others read nothing", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob", "carol")
			s.forget()
			m := &mumblepb.TextMessage{Session: []uint32{all[1].peer.Session()}, Message: proto.String("for bob alone")}
			if err := all[0].writeTo(m); err != nil {
				t.Error(err)
			}
			s.within(10*time.Second, "bob reads it", func() bool { return len(all[1].texts) == 1 })
			if len(all[2].texts) != 0 || all[1].texts[0].Text.Scope != e2ee.ScopePrivate {
				t.Errorf("carol reads %v; scope %d", all[2].texts, all[1].texts[0].Text.Scope)
			}
		}},
	})
}
