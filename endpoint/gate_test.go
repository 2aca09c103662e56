package endpoint_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// held demands that neither voice nor channel text of p leaves.
func (p *person) wantHeld() {
	p.r.t.Helper()
	before := len(p.sent)
	p.r.voices = 0
	for target := range uint8(32) {
		if _, err := p.say(target, packet(20, 1)); err == nil {
			p.r.t.Errorf("%s speaks to target %d in %v", p.name, target, p.State())
		}
	}
	me, _ := p.r.world.User(p.session)
	if err := p.SendText(p.r.now, toChannel(me.Channel)); err == nil {
		p.r.t.Errorf("%s writes in %v", p.name, p.State())
	}
	p.r.carry()
	if p.r.voices != 0 || len(p.sent) != before {
		p.r.t.Errorf("%s sent %d packets and %d messages", p.name, p.r.voices, len(p.sent)-before)
	}
}

// request is the stock client's own wish to go somewhere, as guard treats it.
func (p *person) request(channel uint32) {
	p.r.t.Helper()
	p.LocalMove(p.r.now, channel)
	p.wantHeld()
	p.r.broadcast(&mumblepb.UserState{Session: proto.Uint32(p.session), Actor: proto.Uint32(p.session), ChannelId: proto.Uint32(channel)})
}

// From the first moment to the first holder nothing leaves, whatever comes.
func TestNothingLeavesBeforeAHolder(t *testing.T) {
	for name, echo := range map[string]regime{"echo": echoes, "silent": silent} {
		t.Run(name, func(t *testing.T) {
			r := newRelay(t, echo)
			secret := e2ee.NewSecret()
			alice := r.join("alice", 0, with(t, secret))
			alice.wantHeld()
			r.run(time.Second)
			alice.wantHeld()
			r.join("eve", 0, nil)
			alice.wantHeld()
			r.join("mallory", 0, with(t, e2ee.NewSecret()))
			for range 30 {
				r.run(time.Second)
				alice.wantHeld()
			}
			if others := outputs[endpoint.OtherSecret](alice); echo == echoes && (len(others) != 1 || others[0].Name != "mallory") {
				t.Errorf("other secrets: %+v", others)
			}
			bob := r.join("bob", 0, with(t, secret))
			r.settle()
			r.wantLeave(alice, e2ee.LeaveCiphertext)
			alice.mustHear(0, bob)
			r.leave(bob)
			// What leaves now is ciphertext that nobody present reads, and stays so.
			r.run(time.Minute)
			if alice.Leave() == e2ee.LeaveClear {
				t.Error("the gate went clear")
			}
		})
	}
}

func TestNamedPeople(t *testing.T) {
	r := newRelay(t, echoes)
	secret := e2ee.NewSecret()
	alice := r.join("alice", 0, with(t, secret, "Bob", "carol"))
	bob := r.join("bob", 0, with(t, secret))
	r.settle()
	alice.wantHeld()
	carol := r.join("carol", 0, with(t, secret))
	r.settle()
	r.wantLeave(alice, e2ee.LeaveCiphertext)
	alice.mustHear(0, bob, carol)
}

// An own move closes the gate before the request is under way; where holders are
// it opens again by itself.
func TestOwnMove(t *testing.T) {
	b := newBuilding(t)
	b.alice.request(1)
	b.settle()
	b.wantLeave(b.alice, e2ee.LeaveCiphertext)
	b.alice.mustHear(0, b.bob, b.dave) // dave sits in the linked channel

	// Where nobody holds the secret it stays closed.
	b.alice.request(4)
	b.settle()
	b.alice.wantHeld()

	// And where nobody is at all.
	b.channel(9, 0, "Empty")
	b.alice.request(9)
	b.settle()
	b.alice.wantHeld()
	if b.alice.State() != e2ee.StateAlone {
		t.Errorf("state %v", b.alice.State())
	}
}

// A request that the server does not answer opens the gate after a while where it was.
func TestMoveUnanswered(t *testing.T) {
	r, alice, bob := pair(t, echoes)
	r.channel(1, 0, "Lobby")
	alice.LocalMove(r.now, 1)
	r.run(5 * time.Second)
	alice.wantHeld()
	r.run(6 * time.Second)
	r.wantLeave(alice, e2ee.LeaveCiphertext)
	alice.mustHear(0, bob)
}

// The server moves somebody: the microphone is held, and the person told, until
// holders are there.
func TestServerMove(t *testing.T) {
	b := newBuilding(t)
	b.alice.out = nil
	b.move(b.alice, 4)
	b.alice.wantHeld()
	var states []e2ee.State
	for _, g := range outputs[endpoint.Gate](b.alice) {
		states = append(states, g.To)
	}
	if len(states) == 0 || states[0] != e2ee.StateHeld {
		t.Errorf("states %v", states)
	}
	b.settle()
	b.alice.wantHeld()
	told := false
	for _, n := range outputs[endpoint.Notice](b.alice) {
		told = told || n.Code == e2ee.NoticeMoved
	}
	if !told && b.alice.State() != e2ee.StateAsked {
		t.Errorf("the person was not told, state %v", b.alice.State())
	}
	b.move(b.alice, 1)
	b.settle()
	b.wantLeave(b.alice, e2ee.LeaveCiphertext)
	b.alice.mustHear(0, b.bob, b.dave)
}

// The server sends the person elsewhere than it asked: that is no own act.
func TestServerMovesElsewhere(t *testing.T) {
	b := newBuilding(t)
	b.alice.out = nil
	b.alice.LocalMove(b.now, 1)
	b.carry()
	b.move(b.alice, 4)
	b.alice.wantHeld()
	b.settle()
	b.alice.wantHeld()
	if s := b.alice.State(); s != e2ee.StateHeld && s != e2ee.StateAsked {
		t.Errorf("state %v", s)
	}
}

// Somebody without the secret who walks in, by foot, by link or by ear, hears
// nothing, and the others talk on.
func TestStrangersHearNothing(t *testing.T) {
	r, alice, bob := pair(t, echoes)
	r.channel(1, 0, "Lobby")
	eve := r.join("eve", 1, nil)
	check := func(how string) {
		t.Helper()
		r.run(10 * time.Second)
		eve.got = nil
		alice.mustHear(0, bob)
		for _, p := range eve.got {
			if _, _, _, ok := envelope.ParseVoice(p.Data); !ok {
				t.Errorf("%s: eve hears % x", how, p.Data)
			}
		}
	}
	r.listen(eve, 0)
	check("listening")
	r.broadcast(&mumblepb.ChannelState{ChannelId: proto.Uint32(0), LinksAdd: []uint32{1}})
	check("by link")
	r.move(eve, 0)
	check("by foot")
}

// A reconnect is a new beginning: session ids are void and nothing leaves before
// somebody has shown the secret again. But what was heard stays heard.
func TestReconnect(t *testing.T) {
	r, alice, bob := pair(t, echoes)
	if _, err := alice.say(0, packet(20, 1)); err != nil {
		t.Fatal(err)
	}
	heard := bob.got[len(bob.got)-1]
	if _, err := bob.hear(); err != nil {
		t.Fatal(err)
	}
	where, _ := r.world.User(bob.session)
	r.leave(bob)
	bob.Disconnected(r.now)
	if bob.Leave() != e2ee.LeaveNothing || bob.Mirror().Synced() || len(bob.Holders()) != 0 {
		t.Errorf("%v leaves without a connection, holders %v", bob.Leave(), bob.Holders())
	}
	bob = r.join("bob", where.Channel, bob.Endpoint)
	r.run(time.Second)
	r.wantLeave(bob, e2ee.LeaveCiphertext)
	var out voice.Packet
	if err := bob.Unprotect(nil, r.now, &heard, &out); err == nil {
		t.Error("what bob heard before the reconnect plays again")
	}
	alice.mustHear(0, bob)
}

// No server says twice on one connection who we are.
func TestSecondSync(t *testing.T) {
	r, alice, _ := pair(t, echoes)
	if _, _, err := alice.FromServer(r.now, &mumblepb.ServerSync{Session: proto.Uint32(77)}); !errors.Is(err, endpoint.ErrSecondSync) {
		t.Errorf("a second ServerSync: %v", err)
	}
}

// The mirror's bounds end the connection.
func TestServerAnnouncesTooMuch(t *testing.T) {
	e := with(t, e2ee.NewSecret())
	now := time.Unix(1_800_000_000, 0)
	var err error
	for s := uint32(1); err == nil && s < 1<<17; s++ {
		_, _, err = e.FromServer(now, &mumblepb.UserState{Session: proto.Uint32(s)})
	}
	if err == nil {
		t.Error("no bound")
	}
}

// A server that takes us out of its list wakes us no more often for that, and
// when we are back everything goes on.
func TestOwnUserVanishes(t *testing.T) {
	r, alice, bob := pair(t, echoes)
	alice.receive(&mumblepb.UserState{Session: proto.Uint32(bob.session), Name: proto.String("robert")})
	alice.receive(&mumblepb.UserRemove{Session: proto.Uint32(alice.session)}) // too soon after that to be told at once
	r.run(time.Second)                                                        // fails where a deadline stays in the past
	if alice.Leave() == e2ee.LeaveClear {
		t.Error("the gate went clear")
	}
	alice.receive(&mumblepb.UserState{Session: proto.Uint32(alice.session), Name: proto.String("alice"), ChannelId: proto.Uint32(0)})
	r.settle()
	r.wantLeave(alice, e2ee.LeaveCiphertext)
	alice.mustHear(0, bob)
	bob.mustHear(0, alice)
}

// Who makes a temporary channel is moved into it by the server, which is what they
// wanted; into any other it is not.
func TestOwnTemporaryChannel(t *testing.T) {
	for what, c := range map[string]struct {
		name      string
		parent    uint32
		temporary bool
		after     time.Duration
		own       bool
	}{
		"as asked":          {"den", 0, true, time.Second, true},
		"another name":      {"Den", 0, true, time.Second, false},
		"another parent":    {"den", 5, true, time.Second, false},
		"one that stays":    {"den", 0, false, time.Second, false},
		"eleven seconds on": {"den", 0, true, 11 * time.Second, false},
	} {
		t.Run(what, func(t *testing.T) {
			r := newRelay(t, echoes)
			r.channel(5, 0, "Other")
			r.join("eve", 0, nil)
			alice := r.join("alice", 0, preferring(t))
			r.run(5 * time.Second)
			r.wantLeave(alice, e2ee.LeaveClear)
			alice.LocalCreate(r.now, 0, "den")
			r.run(c.after)
			alice.out = nil
			r.broadcast(&mumblepb.ChannelState{ChannelId: proto.Uint32(9), Parent: &c.parent, Name: &c.name, Temporary: &c.temporary})
			r.broadcast(&mumblepb.UserState{Session: proto.Uint32(alice.session), ChannelId: proto.Uint32(9)})
			r.carry()
			want := e2ee.StateAsked // who was in Clear, and is moved
			if c.own {
				want = e2ee.StateFind
			}
			if got := outputs[endpoint.Gate](alice); len(got) == 0 || got[0].To != want {
				t.Errorf("states %+v", got)
			}
		})
	}
}
