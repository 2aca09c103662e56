package simnet_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/internal/simnet"
	"github.com/sotto-voip/sotto/mumble/mirror"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// contexts lets user i say something and returns who hears it in which context.
func (r *room) contexts(i int, target uint8) map[int]uint8 {
	r.t.Helper()
	r.forget()
	if err := r.peers[i].Say(target, []byte("speech")); err != nil {
		r.t.Fatal(err)
	}
	r.wait(20 * time.Millisecond)
	out := map[int]uint8{}
	for j, list := range r.heard {
		if len(list) > 1 {
			r.t.Fatalf("%d hears it %d times", j, len(list))
		}
		if len(list) == 1 {
			if list[0].Session != r.session(i) || list[0].Target != 0 || string(list[0].Data) != "speech" {
				r.t.Errorf("%d hears %+v", j, list[0])
			}
			out[j] = list[0].Context
		}
	}
	return out
}

func (r *room) wantContexts(what string, i int, target uint8, want map[int]uint8) {
	r.t.Helper()
	if got := r.contexts(i, target); !reflect.DeepEqual(got, want) {
		r.t.Errorf("%s: heard by %v, want %v", what, got, want)
	}
}

func TestSpeech(t *testing.T) {
	r := newRoom(t, simnet.Murmur15(), 6)
	lobby, annex, far := r.srv.AddChannel(0, "Lobby"), r.srv.AddChannel(0, "Annex"), r.srv.AddChannel(0, "Far")
	r.wantContexts("one channel", 0, 0, map[int]uint8{1: 0, 2: 0, 3: 0, 4: 0, 5: 0})
	r.peers[2].Move(lobby)
	r.peers[3].Move(annex)
	r.peers[4].Move(far)
	r.peers[5].Send(&mumblepb.UserState{ChannelId: proto.Uint32(far), ListeningChannelAdd: []uint32{lobby}})
	r.wait(time.Second)
	r.wantContexts("the rest went", 0, 0, map[int]uint8{1: 0})
	r.wantContexts("a listener", 2, 0, map[int]uint8{5: voice.ContextListener})
	r.srv.Link(0, lobby, true)
	r.srv.Link(lobby, annex, true)
	r.wantContexts("links are transitive", 0, 0, map[int]uint8{1: 0, 2: 0, 3: 0, 5: voice.ContextListener})
	r.srv.Link(lobby, annex, false)
	r.wantContexts("one link less", 0, 0, map[int]uint8{1: 0, 2: 0, 5: voice.ContextListener})
	r.wantContexts("loopback", 0, 31, map[int]uint8{0: 0})

	r.peers[1].Send(&mumblepb.UserState{SelfDeaf: proto.Bool(true)})
	r.wait(time.Second)
	r.wantContexts("a deaf one", 0, 0, map[int]uint8{2: 0, 5: voice.ContextListener})
	r.wantContexts("is mute as well", 1, 0, map[int]uint8{})
	r.srv.Suppress(r.session(0), true)
	r.wantContexts("suppressed", 0, 0, map[int]uint8{})
	r.wantContexts("suppressed, loopback", 0, 31, map[int]uint8{})
	r.plugin(0, []byte("x"), r.session(1))
	r.text(0, "x", r.session(1))
	wantLen(t, "data of a suppressed one to a deaf one", only[*mumblepb.PluginDataTransmission](r, 1), 1)
	if n := r.srv.Dropped().Muted; n != 3 {
		t.Errorf("%d packets of the mute", n)
	}
	// Muted by the server is muted for voice.
	r.srv.Suppress(r.session(0), false)
	r.srv.Mute(r.session(0), true)
	r.wantContexts("muted", 0, 0, map[int]uint8{})
}

func (r *room) target(i int, id uint32, targets ...*mumblepb.VoiceTarget_Target) {
	r.peers[i].Send(&mumblepb.VoiceTarget{Id: proto.Uint32(id), Targets: targets})
	r.wait(time.Millisecond)
}

func TestWhispers(t *testing.T) {
	p := simnet.Murmur15()
	p.FirstWhisperLost = false
	r := newRoom(t, p, 6)
	lobby := r.srv.AddChannel(0, "Lobby")
	below := r.srv.AddChannel(lobby, "Below")
	linked := r.srv.AddChannel(0, "Linked", lobby)
	for i, c := range []uint32{0, 0, lobby, below, linked, 0} {
		r.peers[i].Move(c)
	}
	r.peers[5].Send(&mumblepb.UserState{ListeningChannelAdd: []uint32{lobby}})
	r.wait(time.Second)
	r.target(0, 1, &mumblepb.VoiceTarget_Target{Session: []uint32{r.session(1), r.session(0), 77, r.session(2)}})
	r.wantContexts("people, oneself left out", 0, 1, map[int]uint8{1: 2, 2: 2})
	r.target(0, 2, &mumblepb.VoiceTarget_Target{ChannelId: proto.Uint32(lobby)})
	r.wantContexts("a channel and its listener", 0, 2, map[int]uint8{2: 1, 5: 3})
	r.target(0, 2, &mumblepb.VoiceTarget_Target{ChannelId: proto.Uint32(lobby), Links: proto.Bool(true), Children: proto.Bool(true)},
		&mumblepb.VoiceTarget_Target{Session: []uint32{r.session(5), r.session(2)}})
	r.wantContexts("with links, children and people", 0, 2, map[int]uint8{2: 1, 3: 1, 4: 1, 5: 2})
	r.wantContexts("not registered", 0, 9, map[int]uint8{})
	r.target(0, 2)
	r.wantContexts("taken away", 0, 2, map[int]uint8{})
	if n := r.srv.Dropped().NoTarget; n != 2 {
		t.Errorf("%d packets to no target", n)
	}
}

// Murmur 1.5 loses the first packet after each registration and after each user
// who came or went: 9 of 10. 1.3 loses none.
func TestFirstWhisperLost(t *testing.T) {
	for _, c := range []struct {
		p    simnet.Profile
		want []int
	}{{simnet.Murmur15(), []int{9, 9, 9, 10}}, {simnet.Murmur13(), []int{10, 10, 10, 10}}} {
		r := newRoom(t, c.p, 3)
		ten := func() int {
			r.forget()
			for range 10 {
				r.peers[0].Say(1, []byte("x"))
				r.wait(20 * time.Millisecond)
			}
			return len(r.heard[1])
		}
		r.target(0, 1, &mumblepb.VoiceTarget_Target{Session: []uint32{r.session(1)}})
		got := []int{ten()}
		late := r.srv.NewPeer("late", nil)
		late.Connect()
		r.wait(time.Second)
		got = append(got, ten())
		late.Disconnect()
		r.wait(time.Second)
		got = append(got, ten(), ten())
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v of 10, want %v", c.p.Name, got, c.want)
		}
		if d := r.srv.Dropped(); d.Limited() != 0 {
			t.Errorf("that is no limit: %+v", d)
		}
	}
}

// A position passes where the plugin contexts are equal; two empty ones are for
// Murmur and are not for uMurmur.
func TestPosition(t *testing.T) {
	for _, c := range []struct {
		p     simnet.Profile
		empty bool
	}{{simnet.Murmur15(), true}, {simnet.UMurmur(), false}} {
		r := newRoom(t, c.p, 3)
		say := func() []bool {
			r.forget()
			r.peers[0].SayPacket(&voice.Packet{Codec: voice.Opus, Data: []byte("x"), HasPosition: true, Position: [3]float32{1, 2, 3}})
			r.wait(time.Millisecond)
			return []bool{r.heard[1][0].HasPosition, r.heard[2][0].HasPosition}
		}
		if got := say(); !slices.Equal(got, []bool{c.empty, c.empty}) {
			t.Errorf("%s: no contexts: %v", c.p.Name, got)
		}
		for _, i := range []int{0, 2} {
			r.peers[i].Send(&mumblepb.UserState{PluginContext: []byte("game")})
		}
		r.wait(time.Millisecond)
		wantLen(t, "broadcasts of a context", only[*mumblepb.UserState](r, 1), 0)
		if got := say(); !slices.Equal(got, []bool{false, true}) {
			t.Errorf("%s: one context: %v", c.p.Name, got)
		}
	}
}

func TestTextTargets(t *testing.T) {
	for _, profile := range profiles {
		p := profile()
		r := newRoom(t, p, 4)
		lobby := r.srv.AddChannel(0, "Lobby")
		r.srv.AddChannel(0, "Linked", 0)
		r.peers[2].Move(lobby)
		r.wait(10 * time.Second)
		reach := func(m *mumblepb.TextMessage) string {
			t.Helper()
			m.Message = proto.String("x")
			r.forget()
			r.peers[0].Send(m)
			r.wait(2 * time.Second)
			var who []string
			for i := range r.got {
				for _, g := range only[*mumblepb.TextMessage](r, i) {
					if g.GetActor() != r.session(0) || !slices.Equal(g.Session, m.Session) {
						t.Errorf("%s: %v", p.Name, g)
					}
					who = append(who, r.peers[i].Name())
				}
			}
			return strings.Join(who, " ")
		}
		tree, own := "user1 user2 user3", "user1"
		if p.TextEcho {
			tree, own = "", "user0 user1"
		}
		for _, c := range []struct {
			what, want string
			m          *mumblepb.TextMessage
		}{
			{"channel", "user1 user3", &mumblepb.TextMessage{ChannelId: []uint32{0}}},
			{"another channel", "user2", &mumblepb.TextMessage{ChannelId: []uint32{lobby}}},
			{"two ways", "user1 user3", &mumblepb.TextMessage{ChannelId: []uint32{0}, Session: []uint32{r.session(1), 77}}},
			{"an unknown channel", "", &mumblepb.TextMessage{ChannelId: []uint32{0, 77}}},
			{"tree", tree, &mumblepb.TextMessage{TreeId: []uint32{0}}},
			{"oneself", own, &mumblepb.TextMessage{Session: []uint32{r.session(1), r.session(0)}}},
		} {
			if got := reach(c.m); got != c.want {
				t.Errorf("%s, %s: %q, want %q", p.Name, c.what, got, c.want)
			}
		}
		// uMurmur keeps texts from those who deafened themselves, the echo included.
		r.peers[1].Send(&mumblepb.UserState{SelfDeaf: proto.Bool(true)})
		want := "user1"
		if p.TextEcho {
			want = ""
		}
		r.wait(time.Second)
		if got := reach(&mumblepb.TextMessage{Session: []uint32{r.session(1)}}); got != want {
			t.Errorf("%s, deaf: %q, want %q", p.Name, got, want)
		}
	}
}

// A login tells channels, users, oneself among them, then ServerSync, then ServerConfig.
func TestLogin(t *testing.T) {
	r := newRoom(t, simnet.Murmur15(), 2)
	deep := r.srv.AddChannel(r.srv.AddChannel(0, "Lobby"), "Deep", 0)
	r.peers[1].Move(deep)
	var kinds []string
	var m mirror.Mirror
	p := r.srv.NewPeer("late", nil)
	p.OnMessage = func(msg proto.Message) {
		kinds = append(kinds, string(msg.ProtoReflect().Descriptor().Name()))
		if _, err := m.Apply(msg); err != nil {
			t.Error(err)
		}
	}
	p.Connect()
	r.wait(time.Second)
	want := "Version CodecVersion ChannelState ChannelState ChannelState ChannelState ChannelState UserState UserState UserState ServerSync ServerConfig"
	if got := strings.Join(kinds, " "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if u, ok := m.User(r.session(1)); !ok || u.Channel != deep || len(m.Users()) != 3 || m.Self() != p.Session() || p.Session() != 3 {
		t.Errorf("users %+v, self %d", m.Users(), m.Self())
	}
	if got := m.Closure(0); !slices.Equal(got, []uint32{0, deep}) {
		t.Errorf("links %v", got)
	}
	wantLen(t, "announcements of the newcomer", only[*mumblepb.UserState](r, 0), 2) // and the move
}

// Sessions are used first in, first out, so that none comes back soon.
func TestSessionsReturnLate(t *testing.T) {
	r := newRoom(t, simnet.Murmur15(), 2)
	r.peers[1].Disconnect()
	r.wait(time.Second)
	r.peers[1].Connect()
	r.wait(time.Second)
	if r.session(1) != 3 {
		t.Errorf("session %d", r.session(1))
	}
}

// A crash is noticed after the timeout, or when the same person comes again;
// uMurmur lets it come again only after the timeout.
func TestCrash(t *testing.T) {
	for _, profile := range profiles {
		p := profile()
		r := newRoom(t, p, 2)
		old := r.session(1)
		r.peers[1].Crash()
		r.wait(29 * time.Second)
		wantLen(t, "removals before the timeout", only[*mumblepb.UserRemove](r, 0), 0)
		r.wait(2 * time.Second)
		if got := only[*mumblepb.UserRemove](r, 0); len(got) != 1 || got[0].GetSession() != old {
			t.Errorf("%s: removals %v", p.Name, got)
		}
		r.peers[1].Connect()
		r.wait(time.Second)
		r.peers[1].Crash()
		r.peers[1].Retry = 5 * time.Second
		r.wait(time.Second)
		r.forget()
		r.peers[1].Connect()
		r.wait(time.Second)
		if r.peers[1].Connected() != p.Ghosts {
			t.Errorf("%s: in again at once: %v", p.Name, r.peers[1].Connected())
		}
		r.wait(40 * time.Second)
		if !r.peers[1].Connected() || len(r.all()) != 2 {
			t.Errorf("%s: not back: %v", p.Name, r.all())
		}
		wantLen(t, "removals of the crashed one", only[*mumblepb.UserRemove](r, 0), 1)
	}
}

func TestKickSuspendCut(t *testing.T) {
	r := newRoom(t, simnet.Murmur15(), 4)
	r.srv.Kick(r.session(1), "enough")
	r.peers[2].Suspend(10 * time.Second)
	r.peers[3].Suspend(time.Minute)
	r.wait(5 * time.Second)
	if got := only[*mumblepb.UserRemove](r, 1); r.peers[1].Connected() || len(got) != 1 || got[0].GetReason() != "enough" {
		t.Errorf("kicked: %v", got)
	}
	r.text(0, "x", r.session(2), r.session(3))
	wantLen(t, "texts to a sleeper", only[*mumblepb.TextMessage](r, 2), 0)
	r.wait(6 * time.Second)
	wantLen(t, "texts of a sleeper that woke", only[*mumblepb.TextMessage](r, 2), 1)
	r.wait(time.Minute)
	if r.peers[3].Connected() || !r.peers[2].Connected() {
		t.Error("the long sleeper is in, or the short one is out")
	}
	wantLen(t, "texts of the long sleeper", only[*mumblepb.TextMessage](r, 3), 1)
	r.peers[2].Cut()
	r.wait(31 * time.Second)
	if got := r.all(); !slices.Equal(got, []uint32{1}) {
		t.Errorf("left are %v", got)
	}
}

// Murmur passes on what nobody checked: a forged hash beside an honest flag.
func TestForgedHashIsBroadcast(t *testing.T) {
	for _, c := range []struct {
		p    simnet.Profile
		want string
	}{{simnet.Murmur15(), "f00d"}, {simnet.UMurmur(), ""}} {
		r := newRoom(t, c.p, 2)
		r.peers[0].Send(&mumblepb.UserState{SelfMute: proto.Bool(false), Hash: proto.String("f00d")})
		got := only[*mumblepb.UserState](r, 1)
		if len(got) != 1 || got[0].GetHash() != c.want || got[0].GetActor() != r.session(0) || !proto.Equal(got[0], &mumblepb.UserState{
			Session: got[0].Session, Actor: got[0].Actor, Hash: got[0].Hash, SelfMute: proto.Bool(false), SelfDeaf: proto.Bool(false),
		}) {
			t.Errorf("%s: %v", c.p.Name, got)
		}
	}
}

// Guests move nobody and change no channel; administrators do.
func TestRights(t *testing.T) {
	r := newRoom(t, simnet.Murmur15(), 3)
	lobby := r.srv.AddChannel(0, "Lobby")
	other := r.srv.AddChannel(0, "Other")
	try := func() int {
		r.forget()
		r.peers[0].Send(&mumblepb.UserState{Session: proto.Uint32(r.session(1)), ChannelId: proto.Uint32(lobby)})
		r.peers[0].Send(&mumblepb.ChannelState{ChannelId: proto.Uint32(lobby), Name: proto.String("New"), LinksAdd: []uint32{other}})
		r.peers[0].Send(&mumblepb.UserRemove{Session: proto.Uint32(r.session(2))})
		return len(only[*mumblepb.PermissionDenied](r, 0))
	}
	if n := try(); n != 3 {
		t.Errorf("%d denials for a guest", n)
	}
	if at, _ := r.srv.Where(r.session(1)); at != 0 || !r.peers[2].Connected() {
		t.Error("a guest moved or kicked somebody")
	}
	r.peers[0].Disconnect()
	r.wait(time.Second)
	r.peers[0].Admin = true
	r.peers[0].Connect()
	r.wait(time.Second)
	if n := try(); n != 0 {
		t.Errorf("%d denials for an administrator", n)
	}
	if at, _ := r.srv.Where(r.session(1)); at != lobby || r.peers[2].Connected() {
		t.Error("an administrator moved or kicked nobody")
	}
	// A temporary channel takes its maker in and goes with the last.
	r.forget()
	r.peers[1].Send(&mumblepb.ChannelState{Parent: proto.Uint32(0), Name: proto.String("Tent"), Temporary: proto.Bool(true)})
	r.wait(time.Second)
	if at, _ := r.srv.Where(r.session(1)); at != other+1 {
		t.Errorf("the maker sits in %d", at)
	}
	r.peers[1].Move(0)
	wantLen(t, "removed channels", only[*mumblepb.ChannelRemove](r, 0), 1)
}

// A move to where one is, or to nowhere, takes the rest of the message with it.
func TestMoveNowhere(t *testing.T) {
	r := newRoom(t, simnet.Murmur15(), 2)
	for _, to := range []uint32{0, 77} {
		r.peers[0].Send(&mumblepb.UserState{ChannelId: proto.Uint32(to), SelfMute: proto.Bool(true)})
	}
	wantLen(t, "broadcasts", only[*mumblepb.UserState](r, 1), 0)
	r.wantContexts("not muted", 0, 0, map[int]uint8{1: 0})
}
