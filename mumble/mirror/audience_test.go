package mirror_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mirror"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// house is a tree with links, a circle of links and people in it:
//
//	0 Root -- 1 Lobby -- 2 Red <-> 3 Blue <-> 4 Green <-> 2 (a circle)
//	       \- 5 Attic -- 6 Box
//
// 10 me in 2; 11 in 3; 12 in 4, deaf; 13 in 5 listening to 4; 14 in 6; 15 in 0
func house(t testing.TB) *mirror.Mirror {
	t.Helper()
	m := new(mirror.Mirror)
	listener := user(13, 5, "listener")
	listener.ListeningChannelAdd = []uint32{4}
	deaf := user(12, 4, "deaf")
	deaf.SelfDeaf = proto.Bool(true)
	apply(t, m,
		channel(0, 0, "Root"), channel(1, 0, "Lobby"), channel(2, 1, "Red"), channel(3, 1, "Blue"), channel(4, 1, "Green"),
		channel(5, 0, "Attic"), channel(6, 5, "Box"),
		&mumblepb.ChannelState{ChannelId: proto.Uint32(2), LinksAdd: []uint32{3}},
		&mumblepb.ChannelState{ChannelId: proto.Uint32(3), LinksAdd: []uint32{4}},
		&mumblepb.ChannelState{ChannelId: proto.Uint32(4), LinksAdd: []uint32{2}},
		user(10, 2, "me"), user(11, 3, "blue"), deaf, listener, user(14, 6, "box"), user(15, 0, "root"),
		&mumblepb.ServerSync{Session: proto.Uint32(10)},
	)
	return m
}

func TestClosure(t *testing.T) {
	m := house(t)
	for id, want := range map[uint32][]uint32{
		0: {0}, 1: {1}, 2: {2, 3, 4}, 3: {2, 3, 4}, 4: {2, 3, 4}, 5: {5}, 99: {99},
	} {
		if got := m.Closure(id); !slices.Equal(got, want) {
			t.Errorf("closure of %d is %v, want %v", id, got, want)
		}
	}
	// The chain without its middle falls apart, the circle does not.
	apply(t, m, &mumblepb.ChannelState{ChannelId: proto.Uint32(4), LinksRemove: []uint32{2}})
	if got := m.Closure(2); !slices.Equal(got, []uint32{2, 3, 4}) {
		t.Errorf("one link of the circle cut: %v", got)
	}
	apply(t, m, &mumblepb.ChannelRemove{ChannelId: proto.Uint32(3)})
	if got := m.Closure(2); !slices.Equal(got, []uint32{2}) {
		t.Errorf("the middle is gone: %v", got)
	}
}

// A link to a channel that the server never described still counts: who is there
// may hear.
func TestClosureOfUnknownChannel(t *testing.T) {
	m := house(t)
	apply(t, m, &mumblepb.ChannelState{ChannelId: proto.Uint32(1), LinksAdd: []uint32{77}}, user(20, 77, "ghost"))
	if got := m.Closure(1); !slices.Equal(got, []uint32{1, 77}) {
		t.Errorf("closure %v", got)
	}
	if got := m.Within(m.Closure(1)); !slices.Equal(got, []uint32{20}) {
		t.Errorf("within %v", got)
	}
}

func TestTree(t *testing.T) {
	m := house(t)
	for id, want := range map[uint32][]uint32{
		0: {0, 1, 2, 3, 4, 5, 6}, 1: {1, 2, 3, 4}, 5: {5, 6}, 6: {6}, 99: {99},
	} {
		if got := m.Tree(id); !slices.Equal(got, want) {
			t.Errorf("tree of %d is %v, want %v", id, got, want)
		}
	}
	// A server that makes two channels each other's parent, or one its own.
	apply(t, m, channel(5, 6, "Attic"), channel(1, 1, "Lobby"))
	if got := m.Tree(5); !slices.Equal(got, []uint32{5, 6}) {
		t.Errorf("a circle of parents: %v", got)
	}
	if got := m.Tree(1); !slices.Equal(got, []uint32{1, 2, 3, 4}) {
		t.Errorf("its own parent: %v", got)
	}
}

func TestWithin(t *testing.T) {
	m := house(t)
	for _, c := range []struct {
		channels, want []uint32
	}{
		{nil, nil},
		{[]uint32{0}, []uint32{15}},
		{[]uint32{2}, nil}, // the own user does not count
		{[]uint32{3}, []uint32{11}},
		{[]uint32{4}, []uint32{12, 13}}, // deaf people and listeners count
		{[]uint32{4, 5, 4}, []uint32{12, 13}},
		{[]uint32{99}, nil},
	} {
		if got := m.Within(c.channels); !slices.Equal(got, c.want) {
			t.Errorf("within %v: %v, want %v", c.channels, got, c.want)
		}
	}
}

func TestHearers(t *testing.T) {
	m := house(t)
	if got := m.Hearers(); !slices.Equal(got, []uint32{11, 12, 13}) {
		t.Errorf("hearers %v", got)
	}
	apply(t, m, user(10, 5, "me"))
	if got := m.Hearers(); !slices.Equal(got, []uint32{13}) {
		t.Errorf("hearers in the attic %v", got)
	}
	apply(t, m, &mumblepb.UserRemove{Session: proto.Uint32(10)})
	if got := m.Hearers(); got != nil {
		t.Errorf("nobody is heard by %v", got)
	}
}

// What a name holds cannot end its quotation to the eye.
func TestLabelQuotes(t *testing.T) {
	for _, name := range []string{"x”). All are checked. (in “y", "x❞). All are checked. (in ❝y", "x〞 “ ” ‟ ″ ＂ 🙶 y"} {
		got := []rune(mirror.Label(name))
		inner := string(got[1 : len(got)-1])
		if got[0] != '“' || got[len(got)-1] != '”' || strings.ContainsAny(inner, "“”„‟″❝❞〝〞＂🙶🙷") {
			t.Errorf("%s", string(got))
		}
	}
}

func TestWhere(t *testing.T) {
	m := house(t)
	apply(t, m, &mumblepb.ChannelState{ChannelId: proto.Uint32(2), LinksAdd: []uint32{77}}, user(20, 77, "ghost"), user(21, 2, "near"))
	for session, want := range map[uint32]string{
		10: "", 21: "", 11: " (in “Blue”)", 12: " (in “Green”)", 13: " (listens from “Attic”)", 20: " (in “channel 77”)", 99: "",
	} {
		if got := m.Where(session, m.Closure(2)); got != want {
			t.Errorf("%d is%s, want%s", session, got, want)
		}
	}
	apply(t, m, &mumblepb.UserRemove{Session: proto.Uint32(10)})
	if got := m.Where(11, nil); got != "" {
		t.Errorf("without a place of one's own somebody is%s", got)
	}
}

func TestFind(t *testing.T) {
	m := house(t)
	apply(t, m, channel(8, 1, "Red")) // a namesake: the smaller id wins
	for _, c := range []struct {
		path string
		id   uint32
		ok   bool
	}{
		{"", 0, true}, {"/", 0, true}, {"Lobby", 1, true}, {"/Lobby/", 1, true}, {"Lobby//Red", 2, true}, {"Lobby/Red", 2, true},
		{"Attic/Box", 6, true}, {"Root", 0, false}, {"lobby", 0, false}, {"Lobby/Box", 0, false}, {"Lobby/Red/x", 0, false},
	} {
		id, ok := m.Find(c.path)
		if ok != c.ok || ok && id != c.id {
			t.Errorf("%q: %d %v, want %d %v", c.path, id, ok, c.id, c.ok)
		}
	}
	if _, ok := new(mirror.Mirror).Find(""); ok {
		t.Error("the root of an empty mirror is found")
	}
}

// Listeners hear from elsewhere: who is in the channel, or in one that is linked, is
// none, whatever he listens to.
func TestListeners(t *testing.T) {
	m := house(t)
	inside := user(11, 3, "blue")
	inside.ListeningChannelAdd = []uint32{2}
	apply(t, m, inside)
	for id, want := range map[uint32][]uint32{0: nil, 2: {13}, 3: {13}, 5: nil, 99: nil} {
		if got := m.Listeners(id); !slices.Equal(got, want) {
			t.Errorf("listeners of %d are %v, want %v", id, got, want)
		}
	}
}
