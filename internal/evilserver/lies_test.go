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

// TestLies tells each lie to bob alone and asks bob and alice what they see.
func TestLies(t *testing.T) {
	s := newStage(t, tunnel)
	toBob := evilserver.Named("bob")
	user := func(at *peers.Raw, session uint32, what string, ok func(*mumblepb.UserState) bool) {
		t.Helper()
		s.settle(s.alice, s.bob)
		s.settle(s.bob, s.alice)
		if u := at.Users()[session]; u == nil || !ok(u) {
			t.Errorf("%s sees %v, want %s", at.Name, u, what)
		}
	}
	hash := certificateOf(t, "eve").Hash()

	s.evil.Move(toBob, s.alice.Session, 77)
	user(s.bob, s.alice.Session, "channel 77", func(u *mumblepb.UserState) bool { return u.GetChannelId() == 77 })
	user(s.alice, s.alice.Session, "the root", func(u *mumblepb.UserState) bool { return u.GetChannelId() == 0 })

	s.evil.RenameChannel(toBob, 0, "not the root")
	s.settle(s.alice, s.bob)
	if got := s.bob.Channels()[0].GetName(); got != "not the root" || s.alice.Channels()[0].GetName() == got {
		t.Errorf("the root is called %q", got)
	}

	lie := s.evil.Rename(toBob, s.alice.Session, "eve")
	user(s.bob, s.alice.Session, "eve", func(u *mumblepb.UserState) bool { return u.GetName() == "eve" })
	user(s.alice, s.alice.Session, "alice", func(u *mumblepb.UserState) bool { return u.GetName() == "alice" })
	lie.Stop()

	lie = s.evil.LieHash(toBob, s.alice.Session, hash)
	user(s.bob, s.alice.Session, "eve's hash", func(u *mumblepb.UserState) bool { return u.GetHash() == hash })
	user(s.alice, s.alice.Session, "her own hash", func(u *mumblepb.UserState) bool { return u.GetHash() != hash })
	lie.Stop()

	ghost := s.evil.Ghost(toBob, "ghost", 0, hash)
	user(s.bob, ghost, "a ghost", func(u *mumblepb.UserState) bool { return u.GetName() == "ghost" && u.GetHash() == hash })
	if s.alice.Users()[ghost] != nil || s.evil.Ghost(toBob, "ghost", 0, "") == ghost {
		t.Error("alice sees the ghost, or two ghosts have one session")
	}
	s.evil.InjectVoice(s.evil.Client("bob", patience), voice.ToClient, voice.Packet{Codec: voice.Opus, Session: ghost, Data: opus(1)})
	s.bob.WaitHeard(patience, ghost, 1)

	lie = s.evil.Hide(toBob, s.alice.Session)
	s.settle(s.alice, s.bob)
	s.alice.Send(&mumblepb.UserState{SelfMute: proto.Bool(true)})
	s.alice.Wait(patience, "her own mute", func(g peers.Received) bool {
		m, ok := g.Message.(*mumblepb.UserState)
		return ok && m.GetSelfMute()
	})
	s.settle(s.alice, s.bob)
	if s.bob.Users()[s.alice.Session] != nil || lie.Told() != 1 {
		t.Errorf("bob still sees alice: %v, told %d times", s.bob.Users()[s.alice.Session], lie.Told())
	}
	s.alice.Send(&mumblepb.UserState{SelfMute: proto.Bool(false), SelfDeaf: proto.Bool(false)})
	lie.Stop()

	s.bob.Forget()
	carol := s.dial("carol", tunnel)
	lie = s.evil.Swap(toBob, s.alice.Session, carol.Session)
	s.alice.Text(0, "from alice")
	if m := s.bob.WaitText(patience, "from alice"); m.GetActor() != carol.Session {
		t.Errorf("the text is from %d", m.GetActor())
	}
	if m := carol.WaitText(patience, "from alice"); m.GetActor() != s.alice.Session {
		t.Errorf("carol, who is told no lie, has it from %d", m.GetActor())
	}
	data := s.plugin(carol, envelope.KindHello, "from carol", s.bob.Session)
	if m := s.waitPlugin(s.bob, data); m.GetSenderSession() != s.alice.Session {
		t.Errorf("plugin data is from %d", m.GetSenderSession())
	}
	carol.SendVoice(voice.Packet{Data: opus(9)})
	if p := s.bob.WaitHeard(patience, s.alice.Session, 1)[0]; !bytes.Equal(p.Data, opus(9)) {
		t.Errorf("bob hears %+v", p)
	}
	if lie.Told() != 3 {
		t.Errorf("told %d times, want 3", lie.Told())
	}
	lie.Stop()
	s.alice.Text(0, "truth")
	if m := s.bob.WaitText(patience, "truth"); m.GetActor() != s.alice.Session {
		t.Error("it goes on after Stop")
	}
}

// TestCarriage is about Sotto's messages: withheld by kind, in worlds, without
// echo, doubled, late.
func TestCarriage(t *testing.T) {
	s := newStage(t, tunnel)
	carol := s.dial("carol", tunnel)
	everybody := []uint32{s.alice.Session, s.bob.Session, carol.Session}
	people := []*peers.Raw{s.alice, s.bob, carol}
	// round lets each send a Hello and a Beacon, and returns who has what.
	round := func() map[string][]string {
		got := map[string][]string{}
		for _, p := range people {
			p.Forget()
		}
		for _, p := range people {
			s.plugin(p, envelope.KindHello, "hello "+p.Name, everybody...)
			s.plugin(p, envelope.KindBeacon, "beacon "+p.Name, everybody...)
		}
		for i, p := range people {
			for j := range people {
				if i != j {
					s.settle(people[j], p)
				}
			}
		}
		s.settle(carol, s.alice)
		for i, p := range people { // the echo of a sender is behind its own messages' way
			s.settle(people[(i+1)%len(people)], p)
			got[p.Name] = plugins(p)
			slices.Sort(got[p.Name])
		}
		return got
	}
	all := []string{"beacon alice", "beacon bob", "beacon carol", "hello alice", "hello bob", "hello carol"}
	check := func(what string, want map[string][]string) {
		t.Helper()
		got := round()
		for _, p := range people {
			w, special := want[p.Name]
			if !special {
				w = all
			}
			if !slices.Equal(got[p.Name], w) {
				t.Errorf("%s: %s has %q, want %q", what, p.Name, got[p.Name], w)
			}
		}
	}
	check("no lie", nil)

	lie := s.evil.Withhold(evilserver.Named("bob"), envelope.KindHello)
	check("no Hello for bob", map[string][]string{"bob": all[:3]})
	if lie.Told() != 3 {
		t.Errorf("told %d times", lie.Told())
	}
	lie.Stop()

	lie = s.evil.Withhold(evilserver.NotNamed("bob"))
	check("nothing but for bob", map[string][]string{"alice": nil, "carol": nil})
	lie.Stop()

	lie = s.evil.Fork(evilserver.Named("alice"), evilserver.Named("bob"))
	check("two worlds and carol", map[string][]string{
		"alice": {"beacon alice", "beacon carol", "hello alice", "hello carol"},
		"bob":   {"beacon bob", "beacon carol", "hello bob", "hello carol"},
	})
	lie.Stop()

	lie = s.evil.NoEcho(evilserver.Named("alice"))
	check("no echo", map[string][]string{"alice": {"beacon bob", "beacon carol", "hello bob", "hello carol"}})
	lie.Stop()

	lie = s.evil.Twice(evilserver.Named("carol"))
	var twice []string
	for _, b := range all {
		twice = append(twice, b, b)
	}
	check("twice", map[string][]string{"carol": twice})
	lie.Stop()

	// A text of Sotto's is withheld as well, an ordinary one is not.
	lie = s.evil.Withhold(evilserver.Named("bob"), envelope.KindWelcome)
	text, err := envelope.AppendText(nil, envelope.TextPart{Kind: envelope.KindWelcome, Count: 1, Part: []byte("welcome")}, false)
	if err != nil {
		t.Fatal(err)
	}
	s.bob.Forget()
	s.alice.TextTo(string(text), s.bob.Session)
	s.settle(s.alice, s.bob)
	if n := len(s.bob.Texts()); n != 1 || lie.Told() != 1 {
		t.Errorf("bob has %d texts, told %d times", n, lie.Told())
	}
	lie.Stop()

	// Late: in order, and not before.
	const delay = 300 * time.Millisecond
	lie = s.evil.Late(evilserver.Named("bob"), delay)
	s.bob.Forget()
	begin := time.Now()
	for i := range 5 {
		s.plugin(s.alice, envelope.KindHello, fmt.Sprint(i), s.bob.Session)
	}
	s.settle(s.alice, s.bob)
	if took := time.Since(begin); took < delay {
		t.Errorf("there after %v", took)
	}
	if got := plugins(s.bob); !slices.Equal(got, []string{"0", "1", "2", "3", "4"}) {
		t.Errorf("late is also out of order: %v", got)
	}
	lie.Stop()
	lie = s.evil.LateFrom(evilserver.Named("alice"), delay)
	begin = time.Now()
	s.settle(s.alice, carol)
	if took := time.Since(begin); took < delay {
		t.Errorf("carol has alice's words after %v", took)
	}
	lie.Stop()
}
