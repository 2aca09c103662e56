package simnet_test

import (
	"encoding/base64"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/internal/simnet"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/trust"
)

// allKinds are the kinds of objects that groups use.
var allKinds = []envelope.Kind{
	envelope.KindPresence, envelope.KindHello, envelope.KindMLSMessage, envelope.KindWelcome, envelope.KindRef,
	envelope.KindWant, envelope.KindBeacon, envelope.KindKeyPackageRequest, envelope.KindKeyPackageReply, envelope.KindReport,
}

// TestMSControl: what finds readable things finds them. Two people who may speak in
// clear, and a stranger without Sotto: under prefer everything leaves readable.
func TestMSControl(t *testing.T) {
	s := newStage(t, 1, simnet.Murmur15())
	stranger := s.srv.NewPeer("stranger", nil)
	stranger.Connect()
	s.run(5 * time.Second)
	alice := s.soul("alice", e2ee.PolicyPrefer)
	alice.peer.Connect()
	s.run(8 * time.Second)
	alice.talk(time.Second)
	alice.write("hello, stranger")
	s.run(2 * time.Second)
	if len(alice.leaks) < 40 || alice.clears < 40 {
		t.Errorf("%d things found, %d packets left in clear, in %v", len(alice.leaks), alice.clears, alice.State())
	}
}

// TestMSControlBase64: a mark is found in a text of the carrier, which is base64,
// whatever stands before it.
func TestMSControlBase64(t *testing.T) {
	for before := range 6 {
		s := newStage(t, 1, simnet.Murmur15())
		alice := s.soul("alice", e2ee.PolicyPrefer)
		words := base64.StdEncoding.EncodeToString([]byte("012345"[:before] + "with " + string(s.marks["speech of alice"]) + " in it"))
		alice.leaves("a text", []byte("sotto:1:0:1:"+words))
		if len(alice.leaks) != 1 {
			t.Errorf("after %d bytes: %q", before, alice.leaks)
		}
	}
}

// TestMSKeys: the server withholds, replaces and replays what keys are made of.
func TestMSKeys(t *testing.T) {
	play(t, []scenario{
		{"MS3", "hides that bob has Sotto: had protection before, and now not, blocks", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyPrefer, "alice", "bob")
			alice, bob := all[0], all[1]
			alice.peer.Disconnect()
			s.run(time.Second)
			s.srv.Hook(simnet.Withhold(0, allKinds...))
			s.srv.Hook(simnet.WithholdVoice(0, envelope.VoicePresence))
			s.forget()
			alice.again()
			alice.talk(40 * time.Second)
			s.run(20 * time.Second)
			if alice.State() != e2ee.StateAsked || !alice.asked(e2ee.QuestionClear, "bob” is remembered as protected, and has no Sotto now. Nothing is sent.") {
				t.Errorf("%v, asked %v", alice.State(), alice.questions)
			}
			if alice.write("can you read this?") == nil {
				t.Error("a text leaves")
			}
			// Nor does a whisper to bob, or a private text.
			if err := alice.writeTo(&mumblepb.TextMessage{Session: []uint32{bob.peer.Session()}, Message: proto.String("and this one?")}); err == nil {
				s.run(10 * time.Second)
				if len(alice.failed) == 0 {
					t.Error("nothing is said of a private text that cannot be encrypted")
				}
			}
			s.run(10 * time.Second)
		}},
		{"MS4", "drops every handshake: held, and said to be waiting for keys", func(t *testing.T, s *stage) {
			for _, policy := range []e2ee.Policy{e2ee.PolicyPrefer, e2ee.PolicyRequire} {
				s.srv.Hook(simnet.Withhold(0, allKinds[1:]...))
				alice, bob := s.soul("alice"+policy.String(), policy), s.soul("bob"+policy.String(), policy)
				alice.peer.Connect()
				bob.peer.Connect()
				alice.talk(40 * time.Second)
				bob.talk(40 * time.Second)
				s.run(8 * time.Second)
				for _, p := range []*soul{alice, bob} {
					if p.State() != e2ee.StateHeld || !p.told(e2ee.NoticeHeld, "Keys are being prepared") {
						t.Errorf("%s: %v, told %v", p.name, p.State(), p.notices)
					}
					if p.write("text of "+p.name) == nil {
						t.Errorf("%s: a text leaves", p.name)
					}
				}
				s.run(32 * time.Second)
				want := e2ee.QuestionClear
				if policy == e2ee.PolicyRequire {
					want = e2ee.QuestionWait
				}
				if alice.State() != e2ee.StateAsked || !alice.asked(want, "still not ready") {
					t.Errorf("%v: %v, asked %v", policy, alice.State(), alice.questions)
				}
				s.srv.Fair()
				alice.UserWait(s.clock.Now())
				alice.act()
				bob.UserWait(s.clock.Now())
				bob.act()
				s.together(alice, bob)
				alice.peer.Disconnect()
				bob.peer.Disconnect()
				s.run(5 * time.Second)
			}
		}},
		{"MS5", "stands between at first contact with keys of its own: two groups, nobody is marked as verified, and whoever meets the true key is asked", func(t *testing.T, s *stage) {
			alice, bob := s.soul("alice", e2ee.PolicyRequire), s.soul("bob", e2ee.PolicyRequire)
			m := between(s, alice, bob)
			m.start()
			s.within(time.Minute, "alice and the false bob", func() bool { return alice.State() == e2ee.StatePriv })
			s.run(12 * time.Second)
			if g, _ := alice.Groups().Epoch(); g.IsZero() || !slices.Contains(alice.Groups().Members(), bob.peer.Session()) {
				t.Fatalf("the server in the middle is not in the middle: %v", alice.Groups().Members())
			}
			a, _ := alice.Groups().Epoch()
			b, _ := bob.Groups().Epoch()
			if a == b {
				t.Error("both are in one group, so there is nobody between them")
			}
			// What they say goes to the false ones alone, and what is remembered of bob is the
			// false one's key: the true one would be another person's.
			alice.talk(2 * time.Second)
			bob.talk(2 * time.Second)
			s.run(4 * time.Second)
			if n, _ := bob.hears(alice.peer.Session()); n != 0 {
				t.Errorf("bob hears alice: %d packets", n)
			}
			if n, _ := m.falseBob.hears(alice.peer.Session()); n < 80 {
				t.Errorf("the false bob hears %d of 100 packets", n)
			}
			for who, want := range map[*soul]trust.Verdict{m.falseBob.soul: trust.Known, bob: trust.Changed} {
				j := alice.book.Judge("voice.example.org:64738", trust.Person{Identity: who.device.Identity(), Name: "bob", CertHash: bob.peer.Hash})
				if j.Verdict != want {
					t.Errorf("the key of %s as bob's: %v, want %v", who.name, j.Verdict, want)
				}
			}
			// Then the truth comes through: the true bob has another key, and that is asked.
			m.stop()
			s.forget()
			alice.again()
			s.within(time.Minute, "the question", func() bool { return alice.asked(e2ee.QuestionIdentity, `"bob" has a new identity key`) })
			if alice.Leave() != e2ee.LeaveNothing {
				t.Errorf("leaves %v", alice.Leave())
			}
			m.sealed(t)
		}},
		{"MS7", "shows different members to each side: said within two Beacons", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob", "carol", "dave")
			s.forget()
			of := func(list ...*soul) (out []uint32) {
				for _, p := range list {
					out = append(out, p.peer.Session())
				}
				return out
			}
			// Each half is shown that the other has left, and goes on without it.
			s.srv.Hide(all[2].peer.Session(), of(all[:2]...)...)
			s.srv.Hide(all[3].peer.Session(), of(all[:2]...)...)
			s.srv.Hide(all[0].peer.Session(), of(all[2:]...)...)
			s.srv.Hide(all[1].peer.Session(), of(all[2:]...)...)
			s.srv.Fork(simnet.Fork{Worlds: [][]uint32{of(all[:2]...), of(all[2:]...)}, Voice: true})
			s.run(20 * time.Second)
			s.srv.Fair()
			s.within(25*time.Second, "the alarm", func() bool {
				n := 0
				for _, p := range all {
					if p.told(audience.NoticeFork, "Group views differ") {
						n++
					}
				}
				return n == len(all)
			})
			s.together(all...)
		}},
		{"MS10", "replays yesterday's Commits, Welcomes, Beacons and texts: counted, and nothing rolls back", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob", "carol")
			old := s.srv.Recorded()
			all[2].peer.Disconnect()
			s.run(5 * time.Second)
			s.run(12 * time.Second)
			carol := all[2]
			carol.again()
			s.together(all...)
			s.run(12 * time.Second)
			s.forget()
			group, epoch := all[0].Groups().Epoch()
			dropped := func() (n uint64) {
				for _, p := range all {
					a := p.Groups().Agreement()
					n += a.Stale + a.Unknown + a.Unverified + a.Limited + a.Malformed
				}
				return n
			}
			before := dropped()
			all[0].talk(20 * time.Second)
			old = slices.DeleteFunc(old, func(r simnet.Recorded) bool {
				k, _ := r.Kind()
				return k == envelope.KindHello // a wish to come in, and no more; see MS34
			})
			for i, r := range old {
				s.clock.After(time.Duration(i)*20*time.Millisecond, func() { s.srv.Replay(r, s.srv.Sessions()...) })
			}
			s.run(30 * time.Second)
			if g, e := all[0].Groups().Epoch(); g != group || e < epoch || e > epoch+3 || !isTogether(all) {
				t.Errorf("epoch %d became %d", epoch, e)
			}
			for _, p := range all[1:] {
				if n, _ := p.hears(all[0].peer.Session()); n < 900 {
					t.Errorf("%s heard %d of 1000 packets", p.name, n)
				}
				for _, n := range p.notices {
					if n.Code == audience.NoticeFork || n.Code == audience.NoticeBadCommit || n.Code == audience.NoticeRemovedBy {
						t.Errorf("%s is told %v", p.name, n)
					}
				}
			}
			if dropped() == before {
				t.Error("nothing of it was counted")
			}
		}},
		{"MS34", "replays the Hello of somebody who is gone, under the same session: nobody who could read is added", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob", "carol")
			bob := all[1]
			session, old := bob.peer.Session(), s.srv.Recorded()
			bob.peer.Disconnect()
			s.run(5 * time.Second)
			rest := []*soul{all[0], all[2]}
			s.together(rest...)
			s.forget()
			s.srv.Inject(&mumblepb.UserState{Session: proto.Uint32(session), Name: proto.String("bob"), ChannelId: proto.Uint32(0), Hash: proto.String(bob.peer.Hash)})
			s.run(time.Second)
			for _, r := range old {
				if k, _ := r.Kind(); r.From == session && (k == envelope.KindHello || k == envelope.KindPresence) {
					s.srv.Replay(r, all[0].peer.Session(), all[2].peer.Session())
				}
			}
			all[0].talk(60 * time.Second)
			listed, believed := map[*soul]time.Duration{}, map[*soul]bool{}
			s.watch(2*time.Minute, func() {
				for _, p := range rest {
					if !slices.Contains(p.Groups().Members(), session) {
						continue
					}
					listed[p] += 100 * time.Millisecond
					if !slices.Contains(p.Groups().Health().Claimed, session) {
						believed[p] = true
					}
				}
			})
			if len(believed) > 1 { // one has checked the Hello, and cannot know that it is old
				t.Error("who is not there counts as having shown itself")
			}
			for _, p := range rest {
				if listed[p] > 35*time.Second { // 30 s without a sign of life, and a Commit
					t.Errorf("%s: who is not there was listed for %v", p.name, listed[p])
				}
				if slices.Contains(p.Groups().Members(), session) {
					t.Errorf("%s: the group still has somebody who is not there: %v", p.name, p.Groups().Members())
				}
				if p.State() != e2ee.StatePriv {
					t.Errorf("%s: %v", p.name, p.State())
				}
			}
		}},
	})
}
