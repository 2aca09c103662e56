package endpoint_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// building is a relay with a tree, a link and people who share a secret:
//
//	0 Root: alice    1 Lobby: bob    2 Lobby/Red: carol    3 Blue (linked to Lobby): dave
//
// eve sits in 4 and holds nothing.
type building struct {
	*relay
	secret                        string
	alice, bob, carol, dave, eve_ *person
}

func newBuilding(t testing.TB) *building {
	t.Helper()
	b := &building{relay: newRelay(t, echoes), secret: e2ee.NewSecret()}
	b.channel(1, 0, "Lobby")
	b.channel(2, 1, "Red")
	b.channel(3, 0, "Blue", 1)
	b.channel(4, 0, "Cellar")
	b.alice = b.join("alice", 0, with(t, b.secret))
	// Somebody hears alice, so that her gate opens.
	b.join("zoe", 0, with(t, b.secret))
	b.bob = b.join("bob", 1, with(t, b.secret))
	b.carol = b.join("carol", 2, with(t, b.secret))
	b.dave = b.join("dave", 3, with(t, b.secret))
	b.eve_ = b.join("eve", 4, nil)
	b.settle()
	b.wantLeave(b.alice, e2ee.LeaveCiphertext)
	return b
}

// target registers a whisper target of alice and lets everybody answer.
func (b *building) target(id uint32, targets ...*mumblepb.VoiceTarget_Target) {
	b.t.Helper()
	b.alice.SetTarget(b.now, &mumblepb.VoiceTarget{Id: proto.Uint32(id), Targets: targets})
	b.carry()
	b.settle()
}

// registered is what the server holds of alice's target.
func (b *building) registered(id uint32) []uint32 {
	var all []uint32
	for _, t := range b.alice.targets[id].GetTargets() {
		all = append(all, t.GetSession()...)
	}
	return all
}

func sessions(people ...*person) []uint32 {
	var ids []uint32
	for _, p := range people {
		ids = append(ids, p.session)
	}
	slices.Sort(ids)
	return ids
}

func to(people ...*person) *mumblepb.VoiceTarget_Target {
	return &mumblepb.VoiceTarget_Target{Session: sessions(people...)}
}

func TestWhisper(t *testing.T) {
	channel := func(id uint32, links, children bool) *mumblepb.VoiceTarget_Target {
		return &mumblepb.VoiceTarget_Target{ChannelId: proto.Uint32(id), Links: proto.Bool(links), Children: proto.Bool(children)}
	}
	for _, c := range []struct {
		name    string
		target  func(*building) []*mumblepb.VoiceTarget_Target
		want    func(*building) []*person // who is registered
		refused string                    // "": everybody wanted hears it
	}{
		{"to a holder", func(b *building) []*mumblepb.VoiceTarget_Target { return []*mumblepb.VoiceTarget_Target{to(b.bob)} },
			func(b *building) []*person { return []*person{b.bob} }, ""},
		{"to two holders", func(b *building) []*mumblepb.VoiceTarget_Target {
			return []*mumblepb.VoiceTarget_Target{to(b.bob), to(b.carol)}
		}, func(b *building) []*person { return []*person{b.bob, b.carol} }, ""},
		{"to somebody without the secret", func(b *building) []*mumblepb.VoiceTarget_Target {
			return []*mumblepb.VoiceTarget_Target{to(b.eve_)}
		}, func(b *building) []*person { return []*person{b.eve_} }, "“eve” has not shown the secret"},
		{"to a holder and somebody without", func(b *building) []*mumblepb.VoiceTarget_Target {
			return []*mumblepb.VoiceTarget_Target{to(b.bob, b.eve_)}
		}, func(b *building) []*person { return []*person{b.bob, b.eve_} }, "“eve” has not shown the secret"},
		{"to oneself", func(b *building) []*mumblepb.VoiceTarget_Target { return []*mumblepb.VoiceTarget_Target{to(b.alice)} },
			func(b *building) []*person { return nil }, "nobody is there"},
		{"to nobody there", func(b *building) []*mumblepb.VoiceTarget_Target {
			return []*mumblepb.VoiceTarget_Target{{Session: []uint32{0, 4711}}}
		}, func(b *building) []*person { return nil }, "nobody is there"},
		{"to a channel", func(b *building) []*mumblepb.VoiceTarget_Target {
			return []*mumblepb.VoiceTarget_Target{channel(1, false, false)}
		}, func(b *building) []*person { return []*person{b.bob} }, ""},
		{"to a channel and its links", func(b *building) []*mumblepb.VoiceTarget_Target {
			return []*mumblepb.VoiceTarget_Target{channel(1, true, false)}
		}, func(b *building) []*person { return []*person{b.bob, b.dave} }, ""},
		{"to a channel and those below", func(b *building) []*mumblepb.VoiceTarget_Target {
			return []*mumblepb.VoiceTarget_Target{channel(1, false, true)}
		}, func(b *building) []*person { return []*person{b.bob, b.carol} }, ""},
		{"to a channel with links and those below", func(b *building) []*mumblepb.VoiceTarget_Target {
			return []*mumblepb.VoiceTarget_Target{channel(1, true, true)}
		}, func(b *building) []*person { return []*person{b.bob, b.carol, b.dave} }, ""},
		{"to a channel where somebody has no secret", func(b *building) []*mumblepb.VoiceTarget_Target {
			return []*mumblepb.VoiceTarget_Target{channel(4, false, false)}
		}, func(b *building) []*person { return []*person{b.eve_} }, "“eve” has not shown the secret"},
		{"to a group", func(b *building) []*mumblepb.VoiceTarget_Target {
			return []*mumblepb.VoiceTarget_Target{{ChannelId: proto.Uint32(1), Group: proto.String("admin")}}
		}, func(b *building) []*person { return nil }, "group"},
		{"to a holder and a group", func(b *building) []*mumblepb.VoiceTarget_Target {
			return []*mumblepb.VoiceTarget_Target{to(b.bob), {ChannelId: proto.Uint32(1), Group: proto.String("admin")}}
		}, func(b *building) []*person { return nil }, "group"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBuilding(t)
			b.target(3, c.target(b)...)
			want := c.want(b)
			if got := b.registered(3); !slices.Equal(got, sessions(want...)) {
				t.Errorf("the server knows %v, want %v", got, sessions(want...))
			}
			if c.refused != "" {
				b.voices = 0
				_, err := b.alice.say(3, packet(20, 1))
				var target *endpoint.TargetError
				if !errors.As(err, &target) || !strings.Contains(target.Reason, c.refused) {
					t.Errorf("error %v", err)
				}
				if b.voices != 0 {
					t.Error("something was sent")
				}
				return
			}
			b.alice.mustHear(3, want...)
			if len(b.eve_.got) != 0 {
				t.Error("eve got it too")
			}
		})
	}
}

func TestWhisperTargetNotSetUp(t *testing.T) {
	b := newBuilding(t)
	for _, id := range []uint32{0, 31, 32, 1 << 31} {
		b.alice.SetTarget(b.now, &mumblepb.VoiceTarget{Id: proto.Uint32(id), Targets: []*mumblepb.VoiceTarget_Target{to(b.bob)}})
	}
	b.carry()
	if len(b.alice.targets) != 0 {
		t.Errorf("targets that servers ignore were sent: %v", b.alice.targets)
	}
	var target *endpoint.TargetError
	if _, err := b.alice.say(5, packet(20, 1)); !errors.As(err, &target) {
		t.Errorf("an unknown target: %v", err)
	}
	b.target(5, to(b.bob))
	b.alice.mustHear(5, b.bob)
	b.target(5) // taken away again
	if _, known := b.alice.targets[5]; known {
		t.Error("the server was not told")
	}
	if _, err := b.alice.say(5, packet(20, 1)); !errors.As(err, &target) {
		t.Errorf("a removed target: %v", err)
	}
}

// A shout to a channel follows who is there, and closes at once for newcomers
// who hold nothing.
func TestShoutFollowsPeople(t *testing.T) {
	b := newBuilding(t)
	b.target(2, &mumblepb.VoiceTarget_Target{ChannelId: proto.Uint32(1), Children: proto.Bool(true), Links: proto.Bool(true)})
	check := func(what string, want ...*person) {
		t.Helper()
		b.run(20 * time.Millisecond) // the server is told at most so often
		if got := b.registered(2); !slices.Equal(got, sessions(want...)) {
			t.Errorf("%s: the server knows %v, want %v", what, got, sessions(want...))
		}
	}
	check("at first", b.bob, b.carol, b.dave)

	b.move(b.eve_, 1)
	check("eve comes", b.bob, b.carol, b.dave, b.eve_)
	if _, err := b.alice.say(2, packet(20, 1)); err == nil {
		t.Error("the shout goes on though eve would be among its receivers")
	}
	b.move(b.eve_, 4)
	check("eve goes", b.bob, b.carol, b.dave)
	b.alice.mustHear(2, b.bob, b.carol, b.dave)

	frank := b.join("frank", 2, with(t, b.secret))
	b.settle()
	check("frank comes", b.bob, b.carol, b.dave, frank)
	b.alice.mustHear(2, b.bob, b.carol, b.dave, frank)

	b.leave(b.carol)
	check("carol leaves", b.bob, b.dave, frank)
	b.alice.mustHear(2, b.bob, b.dave, frank)

	b.broadcast(&mumblepb.ChannelState{ChannelId: proto.Uint32(1), LinksRemove: []uint32{3}})
	check("the link is cut", b.bob, frank)

	b.listen(b.dave, 1)
	check("dave listens", b.bob, b.dave, frank)

	// The cellar, with eve in it, becomes part of the lobby.
	b.broadcast(&mumblepb.ChannelState{ChannelId: proto.Uint32(4), Parent: proto.Uint32(1)})
	check("a channel moves below", b.bob, b.dave, b.eve_, frank)
	if _, err := b.alice.say(2, packet(20, 1)); err == nil {
		t.Error("the shout goes on with eve among its receivers")
	}
}

// Whispers are refused in whole words, however many have not shown the secret.
func TestRefusalNamesPeople(t *testing.T) {
	b := newBuilding(t)
	var crowd []*person
	for _, name := range []string{"f1", "f2", "f3", "f4", "f5"} {
		crowd = append(crowd, b.join(name, 4, nil))
	}
	b.target(1, to(crowd...))
	_, err := b.alice.say(1, packet(20, 1))
	if err == nil || !strings.Contains(err.Error(), "“f1”, “f2”, “f3”, 2 more have not shown the secret") {
		t.Errorf("error %v", err)
	}
}

// The target number stays visible, for the server routes by it.
func TestTargetStaysOutside(t *testing.T) {
	b := newBuilding(t)
	b.target(7, to(b.bob))
	in := voice.Packet{Codec: voice.Opus, Target: 7, Data: packet(20, 1), FrameNumber: 12}
	var out voice.Packet
	if err := b.alice.Protect(nil, b.now, &in, &out); err != nil {
		t.Fatal(err)
	}
	if out.Target != 7 || out.FrameNumber != 12 || out.Session != 0 || out.HasPosition {
		t.Errorf("%+v", out)
	}
}

// Each new face is asked for the secret, but not at every change of who is where.
func TestTargetAsksOnce(t *testing.T) {
	b := newBuilding(t)
	b.target(1, to(b.eve_))
	count := func() (n int) {
		for _, m := range b.alice.sent {
			if p, ok := m.(*mumblepb.PluginDataTransmission); ok && slices.Contains(p.GetReceiverSessions(), b.eve_.session) {
				n++
			}
		}
		return n
	}
	asked := count()
	if asked == 0 {
		t.Fatal("eve was not asked")
	}
	for range 10 {
		b.move(b.bob, 3)
		b.move(b.bob, 1)
		b.run(3 * time.Second)
	}
	if n := count(); n != asked {
		t.Errorf("eve was asked %d times more", n-asked)
	}
}
