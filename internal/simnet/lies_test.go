package simnet_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/internal/simnet"
	"github.com/sotto-voip/sotto/mumble/mirror"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// mirrors gives every user of r a mirror that is fed what it is told, beginning
// with a login of its own.
func mirrors(t *testing.T, r *room) []*mirror.Mirror {
	t.Helper()
	out := make([]*mirror.Mirror, len(r.peers))
	for i, p := range r.peers {
		out[i] = new(mirror.Mirror)
		p.OnMessage = func(m proto.Message) {
			if _, err := out[i].Apply(m); err != nil {
				t.Error(err)
			}
		}
		p.Disconnect()
		r.wait(time.Second)
		p.Connect()
		r.wait(time.Second)
	}
	return out
}

func (r *room) wantTruth(views []*mirror.Mirror) {
	r.t.Helper()
	for i, m := range views {
		if !slices.Equal(sessions(m), r.all()) {
			r.t.Errorf("user %d believes in %v, there are %v", i, sessions(m), r.all())
		}
		if !reflect.DeepEqual(m.Users(), views[0].Users()) || !reflect.DeepEqual(m.Channels(), views[0].Channels()) {
			r.t.Errorf("user %d believes in %+v %+v\nuser 0 in %+v %+v", i, m.Users(), m.Channels(), views[0].Users(), views[0].Channels())
		}
		for _, u := range m.Users() {
			if at, _ := r.srv.Where(u.Session); at != u.Channel {
				r.t.Errorf("user %d believes %s in %d, it is in %d", i, u.Name, u.Channel, at)
			}
		}
	}
}

func sessions(m *mirror.Mirror) []uint32 {
	var out []uint32
	for _, u := range m.Users() {
		out = append(out, u.Session)
	}
	return out
}

func TestLies(t *testing.T) {
	r := newRoom(t, simnet.Murmur15(), 4)
	lobby := r.srv.AddChannel(0, "Lobby")
	m := mirrors(t, r)
	r.wantTruth(m)
	a, b, c := r.session(0), r.session(1), r.session(2)

	ghost := r.srv.Ghost("ghost", "f00d", lobby, a, b)
	r.wait(time.Second)
	for i, want := range []bool{true, true, false, false} {
		if u, ok := m[i].User(ghost); ok != want || ok && (u.Name != "ghost" || u.Channel != lobby || u.Hash != "f00d") {
			t.Errorf("user %d: ghost %+v", i, u)
		}
	}
	r.srv.Exorcise(ghost)
	r.wait(time.Second)
	r.wantTruth(m)

	r.srv.Hide(c, a)
	r.wait(time.Second)
	r.peers[2].Move(lobby) // which a must not learn
	r.wait(time.Second)
	if _, ok := m[0].User(c); ok {
		t.Error("a sees who is hidden")
	}
	if u, _ := m[1].User(c); u.Channel != lobby {
		t.Error("b does not see who is not hidden from it")
	}
	r.srv.Show(c, a)
	r.wait(time.Second)
	r.wantTruth(m)

	r.srv.Rename(c, "carol", a)
	r.srv.Rehash(c, "beef", a)
	r.srv.Pretend(c, 0, a)
	r.wait(time.Second)
	r.peers[2].Send(selfMute())
	r.wait(time.Second)
	if u, _ := m[0].User(c); u.Name != "carol" || u.Hash != "beef" || u.Channel != 0 || !u.SelfMute {
		t.Errorf("a believes %+v", u)
	}
	if u, _ := m[1].User(c); u.Name != "user2" || u.Channel != lobby {
		t.Errorf("b believes %+v", u)
	}
	// A lie to everybody reaches newcomers as well.
	r.srv.Rename(b, "eve")
	r.srv.Hide(c)
	r.peers[3].Disconnect()
	r.wait(time.Second)
	*m[3] = mirror.Mirror{}
	r.peers[3].Connect()
	r.wait(time.Second)
	if u, _ := m[3].User(b); u.Name != "eve" {
		t.Errorf("a newcomer believes %+v", u)
	}
	if _, ok := m[3].User(c); ok {
		t.Error("a newcomer sees who is hidden from everybody")
	}
	// What the server does for real, and then the truth.
	r.srv.Link(0, lobby, true)
	r.srv.RenameChannel(lobby, "Hall")
	r.srv.Move(a, lobby)
	r.srv.Fair()
	r.wait(time.Second)
	r.wantTruth(m)
	if ch, _ := m[3].Channel(lobby); ch.Name != "Hall" || !slices.Equal(ch.Links, []uint32{0}) {
		t.Errorf("channel %+v", ch)
	}
}

// A hook can keep back what the server says itself; Fair says it again.
func TestFairTellsWhatWasKeptBack(t *testing.T) {
	r := newRoom(t, simnet.Murmur15(), 4)
	lobby := r.srv.AddChannel(0, "Lobby")
	m := mirrors(t, r)
	r.srv.Hook(simnet.Only(func(d *simnet.Delivery) { d.Drop = d.From == 0 }, r.session(0)))
	r.peers[1].Move(lobby)
	r.srv.Link(0, lobby, true)
	r.peers[2].Send(selfMute())
	r.peers[3].Disconnect()
	r.wait(time.Second)
	m = m[:3]
	if u, _ := m[0].User(r.session(1)); u.Channel != 0 || len(m[0].Users()) != 4 {
		t.Error("user 0 learns of it")
	}
	r.srv.Fair()
	r.wait(time.Second)
	r.wantTruth(m)
}

// A server that does all of it at random for a while ends in the truth.
func TestChaosOfTheWorld(t *testing.T) {
	for seed := range uint64(20) {
		clock := simnet.NewClock()
		r := &room{t: t, clock: clock, srv: simnet.NewServer(clock, simnet.Config{Seed: seed, Profile: fast(), Network: simnet.Lossy(0.05)})}
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			r.srv.AddChannel(0, name)
			r.peers = append(r.peers, r.srv.NewPeer(name, nil))
		}
		m := mirrors(t, r)
		wrong := 0
		r.srv.Chaos(simnet.Chaos{
			Move: 0.3, Link: 0.3, RenameChannel: 0.1, Ghost: 0.3, Hide: 0.3, Rename: 0.2, Rehash: 0.2, Forge: 0.2, Fork: 0.2,
		})
		for range 60 {
			r.wait(time.Second)
			if !reflect.DeepEqual(m[0].Users(), m[1].Users()) {
				wrong++
			}
		}
		if wrong < 20 {
			t.Errorf("seed %d: only %d of 60 s of lies", seed, wrong)
		}
		r.srv.Fair()
		r.wait(10 * time.Second)
		r.wantTruth(m)
	}
}

func selfMute() proto.Message { return &mumblepb.UserState{SelfMute: proto.Bool(true)} }
