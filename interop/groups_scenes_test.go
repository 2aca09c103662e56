package interop_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// scene is a server with channels, an administrator in the root, and a few people
// in one channel.
type scene struct {
	t      *testing.T
	kind   peers.ServerKind
	server *peers.Server
	admin  *peers.Raw
	ids    map[string]uint32
}

func newScene(t *testing.T, kind peers.ServerKind, channels ...string) *scene {
	t.Helper()
	s := &scene{t: t, kind: kind, ids: map[string]uint32{}}
	s.server = peers.Start(t, kind, peers.ServerOptions{SuperUserPassword: "hall"})
	s.admin = s.server.Admin()
	for _, c := range channels {
		s.ids[c] = s.server.MakeChannel(c)
	}
	return s
}

func (s *scene) dial(name, channel string) *member {
	s.t.Helper()
	return dialMember(s.t, s.server.Addr(), name, memberOptions{channel: channel})
}

// TestGroupsScenes are the situations that a group gets into on a real server.
func TestGroupsScenes(t *testing.T) {
	for _, scene := range []struct {
		name string
		play func(*testing.T, peers.ServerKind)
	}{
		{"moved", sceneMoved},
		{"muted", sceneMuted},
		{"suppressed", sceneSuppressed},
		{"linked", sceneLinked},
		{"whisper", sceneWhisper},
		{"plain", scenePlain},
		{"mixed", sceneMixed},
		{"listener", sceneListener},
	} {
		for _, kind := range []peers.ServerKind{peers.Murmur15, peers.Murmur134} {
			if scene.name == "listener" && kind != peers.Murmur15 {
				continue // Murmur before 1.4 has none
			}
			t.Run(scene.name+"/"+kind.String(), func(t *testing.T) {
				t.Parallel()
				scene.play(t, kind)
			})
		}
	}
}

// sceneMoved: who goes to another channel is out, and back in when it returns.
func sceneMoved(t *testing.T, kind peers.ServerKind) {
	s := newScene(t, kind, "hall", "annex")
	alice, bob, carol := s.dial("alice", "hall"), s.dial("bob", "hall"), s.dial("carol", "hall")
	all := crowd{alice, bob, carol}
	all.together(joinGroup)
	if err := carol.Join("annex"); err != nil {
		t.Fatal(err)
	}
	crowd{alice, bob}.together(joinGroup)
	dave := s.dial("dave", "annex")
	crowd{carol, dave}.together(joinGroup)
	inHall, err := alice.speak(0)
	if err != nil {
		t.Fatal(err)
	}
	crowd{carol, dave}.allHear(2)
	crowd{alice, bob}.allHear(2)
	if carol.heardOf(alice, inHall) || dave.heardAny(alice) > 0 || alice.heardAny(dave) > 0 {
		t.Error("one channel hears the other")
	}
	if err := carol.Join("hall"); err != nil {
		t.Fatal(err)
	}
	all.together(joinGroup)
	all.allHear(2)
	all.lossless()
}

// sceneMuted: who is muted by the server hears, does not speak, and stays.
func sceneMuted(t *testing.T, kind peers.ServerKind) {
	s := newScene(t, kind, "hall")
	alice, bob := s.dial("alice", "hall"), s.dial("bob", "hall")
	crowd{alice, bob}.together(joinGroup)
	s.admin.Send(&mumblepb.UserState{Session: proto.Uint32(bob.session), Mute: proto.Bool(true)})
	waitFor(t, "bob is muted", func() bool { return bob.state().Self.Mute })
	carol := s.dial("carol", "hall")
	all := crowd{alice, bob, carol}
	all.together(joinGroup)
	alice.reach(bob, carol)
	carol.reach(alice, bob)
	muted, _ := bob.speak(0)
	alice.reach(bob, carol)
	s.admin.Send(&mumblepb.UserState{Session: proto.Uint32(bob.session), Mute: proto.Bool(false)})
	waitFor(t, "bob may speak", func() bool { return bob.state().Self.MaySpeak() })
	all.allHear(2)
	if alice.heardOf(bob, muted) {
		t.Error("a muted one was heard")
	}
	all.lossless()
}

// sceneSuppressed: in a channel where only some may speak the others hear.
func sceneSuppressed(t *testing.T, kind peers.ServerKind) {
	const speak = 0x8
	s := newScene(t, kind, "stage")
	s.admin.Send(&mumblepb.ACL{ChannelId: proto.Uint32(s.ids["stage"]), InheritAcls: proto.Bool(true), Acls: []*mumblepb.ACL_ChanACL{
		{Group: proto.String("all"), Inherited: proto.Bool(false), Deny: proto.Uint32(speak)},
		{Group: proto.String("#speakers"), Inherited: proto.Bool(false), Grant: proto.Uint32(speak)},
	}})
	on := memberOptions{channel: "stage", tokens: []string{"speakers"}}
	alice := dialMember(t, s.server.Addr(), "alice", on)
	bob := s.dial("bob", "stage")
	waitFor(t, "bob is suppressed", func() bool { return bob.state().Self.Suppress })
	carol := dialMember(t, s.server.Addr(), "carol", on)
	all := crowd{alice, bob, carol}
	all.together(joinGroup)
	crowd{alice, carol}.allHear(2)
	alice.reach(bob)
	bob.speak(0)
	if alice.reach(bob, carol); alice.heardAny(bob) > 0 {
		t.Error("the suppressed one is heard")
	}
	all.lossless()
}

// sceneLinked: two linked channels are one audience; unlinked they are two.
func sceneLinked(t *testing.T, kind peers.ServerKind) {
	s := newScene(t, kind, "hall", "annex")
	alice, bob := s.dial("alice", "hall"), s.dial("bob", "hall")
	carol, dave := s.dial("carol", "annex"), s.dial("dave", "annex")
	crowd{alice, bob}.together(joinGroup)
	crowd{carol, dave}.together(joinGroup)
	s.server.Link(s.ids["hall"], s.ids["annex"])
	all := crowd{alice, bob, carol, dave}
	all.together(joinGroup)
	all.allHear(2)
	s.admin.Unlink(s.ids["hall"], s.ids["annex"])
	crowd{alice, bob}.together(joinGroup)
	crowd{carol, dave}.together(joinGroup)
	crowd{alice, bob}.allHear(1)
	crowd{carol, dave}.allHear(1)
	all.lossless()
}

// sceneWhisper: a whisper and a private text are for those they are for, who may be
// in another channel; a text to the channel is for all there.
func sceneWhisper(t *testing.T, kind peers.ServerKind) {
	s := newScene(t, kind, "hall", "annex")
	alice, bob, carol := s.dial("alice", "hall"), s.dial("bob", "hall"), s.dial("carol", "hall")
	dave := s.dial("dave", "hall")
	crowd{alice, bob, carol, dave}.together(joinGroup)
	if err := dave.Join("annex"); err != nil {
		t.Fatal(err)
	}
	all := crowd{alice, bob, carol}
	all.together(joinGroup)
	if err := alice.Whisper(1, bob.session, dave.session); err != nil {
		t.Fatal(err)
	}
	// A press of half a second from the moment the target is known: it is heard from
	// the first frame, or alice is told that its beginning was not sent.
	whispered := press(alice, 25)
	waitFor(t, "the whisper is heard whole, or not", func() bool {
		return allHeard(alice, whispered, bob, dave) || alice.told("took too long") || alice.told("leaves in clear")
	})
	var refused error
	for began := time.Now(); bob.heardAny(alice) == 0 || dave.heardAny(alice) == 0; time.Sleep(100 * time.Millisecond) {
		seq, err := alice.speak(1)
		if refused = err; err == nil {
			whispered = append(whispered, seq)
		}
		if time.Since(began) > 2*patience {
			t.Fatalf("the whisper is not heard (%v):\n%s\n%s\n%s", refused, alice.tell(), bob.tell(), dave.tell())
		}
	}
	for range 3 { // Murmur 1.5 loses the first packet to each target that is new
		if err := alice.Whisper(1, bob.session, dave.session); err != nil {
			t.Fatal(err)
		}
		again := press(alice, 5)
		waitFor(t, "it is heard from the first frame", func() bool { return allHeard(alice, again, bob, dave) })
		whispered = append(whispered, again...)
	}
	alice.write("to all here", bob, carol)
	if err := alice.SendPrivate(dave.session, "for dave alone"); err != nil {
		t.Error(err)
	}
	waitFor(t, "dave reads", func() bool { return dave.hasText("for dave alone") })
	all.allHear(1)
	if slices.ContainsFunc(whispered, func(seq uint32) bool { return carol.heardOf(alice, seq) }) {
		t.Error("carol hears the whisper")
	}
	for _, m := range []*member{bob, carol} {
		if m.hasText("for dave alone") || dave.hasText("to all here") {
			t.Error("a text went to somebody else")
		}
	}
	all.lossless()
}

// press whispers n frames to target 1, at the pace of speech, and returns those that
// were not refused.
func press(m *member, n int) (sent []uint32) {
	for range n {
		if seq, err := m.speak(1); err == nil {
			sent = append(sent, seq)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return sent
}

// allHeard reports whether everybody opened all of these packets.
func allHeard(who *member, sent []uint32, hearers ...*member) bool {
	for _, m := range hearers {
		if slices.ContainsFunc(sent, func(seq uint32) bool { return !m.heardOf(who, seq) }) {
			return false
		}
	}
	return len(sent) > 0
}

// scenePlain: somebody without Sotto comes into a protected conversation. It hears
// exact silence and reads nothing, and nothing is in clear because of it.
func scenePlain(t *testing.T, kind peers.ServerKind) {
	s := newScene(t, kind, "hall")
	prefer := memberOptions{channel: "hall", prefer: true}
	alice, bob := s.dial("alice", "hall"), dialMember(t, s.server.Addr(), "bob", prefer)
	all := crowd{alice, bob}
	all.together(joinGroup)
	eve := peers.DialRaw(t, s.server.Addr(), "eve", peers.RawOptions{})
	eve.Join(s.ids["hall"])
	for range 3 {
		all.allHear(5)
		for _, m := range all {
			if st := m.state(); st.Leave != e2ee.LeaveCiphertext {
				t.Errorf("%s: leaves as %v in %v", m.name, st.Leave, st.Gate)
			}
		}
		time.Sleep(500 * time.Millisecond)
	}
	if err := alice.SendText("a secret"); err != nil {
		t.Error(err)
	}
	waitFor(t, "bob reads", func() bool { return bob.hasText("a secret") })
	silent(t, eve, 2*15)
	for _, text := range eve.Texts() {
		if !strings.HasPrefix(text.GetMessage(), "hello") { // the server's welcome
			t.Errorf("eve reads %q", text.GetMessage())
		}
	}
	all.lossless()
}

// silent wants a raw client to have got at least n voice packets, none of which
// holds a sound: without Sotto's padding each is the cover of exact silence.
func silent(t *testing.T, r *peers.Raw, n int) {
	t.Helper()
	for _, p := range r.WaitHeard(patience, 0, n) {
		if _, _, _, ok := envelope.ParseVoice(p.Data); !ok {
			t.Errorf("%s hears % x of session %d", r.Name, p.Data, p.Session)
		}
	}
}

// sceneMixed: where somebody without Sotto is there first, prefer speaks in clear
// and says so, require is held.
func sceneMixed(t *testing.T, kind peers.ServerKind) {
	s := newScene(t, kind, "hall", "annex")
	for _, c := range []string{"hall", "annex"} {
		eve := peers.DialRaw(t, s.server.Addr(), "eve-"+c, peers.RawOptions{})
		eve.Join(s.ids[c])
		if c == "hall" {
			bob := dialMember(t, s.server.Addr(), "bob", memberOptions{channel: c, prefer: true})
			if !bob.until(patience, func() bool { return bob.gate == e2ee.LeaveClear }) {
				t.Fatalf("bob does not speak in clear: %v, %s", bob.state().Gate, bob.tell())
			}
			if line := bob.state().Line; !strings.HasPrefix(line, "Not private") {
				t.Errorf("bob is told %q", line)
			}
			seq, err := bob.speak(0)
			if err != nil {
				t.Fatal(err)
			}
			waitFor(t, "eve hears bob", func() bool {
				return slices.ContainsFunc(eve.Heard(bob.session), func(p voice.Packet) bool { _, q, ok := readMark(p.Data); return ok && q == seq })
			})
			continue
		}
		alice := s.dial("alice", c)
		waitFor(t, "alice is held and asked", func() bool { return alice.state().Gate == e2ee.StateAsked })
		if _, err := alice.speak(0); !errors.Is(err, client.ErrHeld) {
			t.Errorf("speech is answered with %v", err)
		}
		if err := alice.SendText("a secret"); !errors.Is(err, client.ErrHeld) {
			t.Errorf("a text is answered with %v", err)
		}
		for _, g := range eve.Heard(alice.session) {
			if _, _, _, ok := envelope.ParseVoice(g.Data); !ok {
				t.Errorf("eve hears % x", g.Data)
			}
		}
	}
}

// sceneListener: who listens to a channel from another one, through a guard, hears
// it and is a member of its group.
func sceneListener(t *testing.T, kind peers.ServerKind) {
	s := newScene(t, kind, "hall", "annex")
	alice, bob := s.dial("alice", "hall"), s.dial("bob", "hall")
	all := crowd{alice, bob}
	all.together(joinGroup)
	carol := startShielded(t, "carol", s.server.Addr())
	carol.raw.Join(s.ids["annex"])
	carol.raw.Send(&mumblepb.UserState{Session: proto.Uint32(carol.raw.Session), ListeningChannelAdd: []uint32{s.ids["hall"]}})
	all.together(joinGroup, "carol")
	all.allHear(2)
	// For 300 ms after an Add speech is still in the epoch before.
	var said []uint32
	waitFor(t, "the listener hears", func() bool {
		seq, err := alice.speak(0)
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, seq)
		return slices.ContainsFunc(said, func(seq uint32) bool { return carol.heardOf(alice, seq) })
	})
	carol.raw.Send(&mumblepb.UserState{Session: proto.Uint32(carol.raw.Session), ListeningChannelRemove: []uint32{s.ids["hall"]}})
	all.together(joinGroup)
	all.allHear(1)
	all.lossless()
}
