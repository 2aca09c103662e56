package mirror_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mirror"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// apply feeds messages and fails on an error; it returns the events of the last.
func apply(t testing.TB, m *mirror.Mirror, messages ...proto.Message) []mirror.Event {
	t.Helper()
	var last []mirror.Event
	for _, msg := range messages {
		events, err := m.Apply(msg)
		if err != nil {
			t.Fatalf("%T: %v", msg, err)
		}
		last = events
	}
	return last
}

func channel(id, parent uint32, name string, links ...uint32) *mumblepb.ChannelState {
	return &mumblepb.ChannelState{
		ChannelId: proto.Uint32(id), Parent: proto.Uint32(parent), Name: proto.String(name), Links: links,
	}
}

func user(session, in uint32, name string) *mumblepb.UserState {
	return &mumblepb.UserState{Session: proto.Uint32(session), ChannelId: proto.Uint32(in), Name: proto.String(name)}
}

func TestUserState(t *testing.T) {
	whole := mirror.User{
		Session: 7, Name: "bob", UserID: 3, Registered: true, Channel: 2, Hash: "ab12", Listens: []uint32{4, 5},
		Mute: true, Deaf: true, Suppress: true, SelfMute: true, SelfDeaf: true, Priority: true, Record: true,
	}
	yes := proto.Bool(true)
	all := &mumblepb.UserState{
		Session: proto.Uint32(7), Name: proto.String("bob"), UserId: proto.Uint32(3), ChannelId: proto.Uint32(2),
		Hash: proto.String("ab12"), ListeningChannelAdd: []uint32{5, 4, 5}, Mute: yes, Deaf: yes, Suppress: yes,
		SelfMute: yes, SelfDeaf: yes, PrioritySpeaker: yes, Recording: yes,
	}
	for _, c := range []struct {
		name   string
		first  *mumblepb.UserState // nil: the user is new
		msg    *mumblepb.UserState
		want   mirror.User
		events int
	}{
		{"a new user with everything", nil, all, whole, 1},
		{"a message that names nothing changes nothing", all, &mumblepb.UserState{Session: proto.Uint32(7)}, whole, 1},
		{"fields that are said are taken", all, &mumblepb.UserState{
			Session: proto.Uint32(7), Mute: proto.Bool(false), Deaf: proto.Bool(false), Suppress: proto.Bool(false),
			SelfMute: proto.Bool(false), SelfDeaf: proto.Bool(false), PrioritySpeaker: proto.Bool(false), Recording: proto.Bool(false),
			Name: proto.String("robert"), ChannelId: proto.Uint32(0), Hash: proto.String(""),
			ListeningChannelRemove: []uint32{4, 5, 6},
		}, mirror.User{Session: 7, Name: "robert", UserID: 3, Registered: true}, 1},
		{"a registration that is taken away", all, &mumblepb.UserState{Session: proto.Uint32(7), UserId: proto.Uint32(0xFFFFFFFF)}, func() mirror.User {
			u := whole
			u.UserID, u.Registered = 0xFFFFFFFF, false
			return u
		}(), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m mirror.Mirror
			if c.first != nil {
				apply(t, &m, c.first)
			}
			events := apply(t, &m, c.msg)
			got, ok := m.User(7)
			if len(c.want.Listens) == 0 {
				c.want.Listens = nil
				got.Listens = slices.Clip(got.Listens)
				if len(got.Listens) == 0 {
					got.Listens = nil
				}
			}
			if !ok || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
			if len(events) != c.events {
				t.Fatalf("%d events", len(events))
			}
			switch ev := events[0].(type) {
			case mirror.UserAdded:
				if c.first != nil {
					t.Error("added twice")
				}
			case mirror.UserChanged:
				if c.first == nil || !reflect.DeepEqual(ev.Old, whole) {
					t.Errorf("the old state is %+v", ev.Old)
				}
			default:
				t.Errorf("event %T", ev)
			}
		})
	}
}

func TestUserWithoutSession(t *testing.T) {
	var m mirror.Mirror
	for _, msg := range []*mumblepb.UserState{{Name: proto.String("x")}, {Session: proto.Uint32(0), Name: proto.String("x")}} {
		if events := apply(t, &m, msg); len(events) != 0 {
			t.Errorf("%v changed something: %v", msg, events)
		}
	}
	if len(m.Users()) != 0 {
		t.Error("a user without a session is kept")
	}
}

func TestMaySpeak(t *testing.T) {
	for _, c := range []struct {
		user mirror.User
		want bool
	}{
		{mirror.User{}, true},
		{mirror.User{Deaf: true, SelfDeaf: true}, true},
		{mirror.User{Mute: true}, false},
		{mirror.User{Suppress: true}, false},
		{mirror.User{SelfMute: true}, false},
	} {
		if got := c.user.MaySpeak(); got != c.want {
			t.Errorf("%+v: %v", c.user, got)
		}
	}
}

func TestUserRemove(t *testing.T) {
	var m mirror.Mirror
	apply(t, &m, user(7, 0, "bob"))
	events := apply(t, &m, &mumblepb.UserRemove{
		Session: proto.Uint32(7), Actor: proto.Uint32(1), Reason: proto.String("spam"), Ban: proto.Bool(true),
	})
	want := mirror.UserRemoved{User: mirror.User{Session: 7, Name: "bob"}, Actor: 1, Reason: "spam", Ban: true}
	if len(events) != 1 || !reflect.DeepEqual(events[0], want) {
		t.Errorf("events %+v", events)
	}
	if _, ok := m.User(7); ok || m.Name(7) != "session 7" {
		t.Errorf("bob is still %q", m.Name(7))
	}
	if events := apply(t, &m, &mumblepb.UserRemove{Session: proto.Uint32(7)}); len(events) != 0 {
		t.Errorf("removing nobody says %v", events)
	}
}

func TestServerSync(t *testing.T) {
	var m mirror.Mirror
	if m.Synced() || m.Self() != 0 {
		t.Error("synced before ServerSync")
	}
	if _, ok := m.Own(); ok {
		t.Error("an own user before ServerSync")
	}
	apply(t, &m, user(4, 0, "me"))
	events := apply(t, &m, &mumblepb.ServerSync{Session: proto.Uint32(4)})
	if len(events) != 1 || events[0] != (mirror.Synced{Session: 4}) || !m.Synced() || m.Self() != 4 {
		t.Errorf("events %v, self %d", events, m.Self())
	}
	if me, ok := m.Own(); !ok || me.Name != "me" {
		t.Errorf("own user %+v", me)
	}
}

func TestOtherMessagesChangeNothing(t *testing.T) {
	var m mirror.Mirror
	for _, msg := range []proto.Message{
		nil, &mumblepb.Ping{}, &mumblepb.TextMessage{Message: proto.String("x")}, &mumblepb.ChannelState{Name: proto.String("no id")},
		&mumblepb.ChannelRemove{ChannelId: proto.Uint32(9)},
	} {
		if events := apply(t, &m, msg); len(events) != 0 {
			t.Errorf("%T: %v", msg, events)
		}
	}
}

func TestChannelState(t *testing.T) {
	var m mirror.Mirror
	msg := channel(3, 1, "Lobby")
	msg.Temporary, msg.Position = proto.Bool(true), proto.Int32(-4)
	events := apply(t, &m, msg)
	want := mirror.Channel{ID: 3, Parent: 1, Name: "Lobby", Temporary: true, Position: -4}
	if len(events) != 1 || !reflect.DeepEqual(events[0], mirror.ChannelAdded{Channel: want}) {
		t.Errorf("events %+v", events)
	}
	events = apply(t, &m, &mumblepb.ChannelState{ChannelId: proto.Uint32(3), Parent: proto.Uint32(0), Name: proto.String("Hall")})
	changed := want
	changed.Parent, changed.Name = 0, "Hall"
	if len(events) != 1 || !reflect.DeepEqual(events[0], mirror.ChannelChanged{Old: want, New: changed}) {
		t.Errorf("events %+v", events)
	}
	if got := m.Channels(); len(got) != 1 || !reflect.DeepEqual(got[0], changed) {
		t.Errorf("channels %+v", got)
	}
	events = apply(t, &m, &mumblepb.ChannelRemove{ChannelId: proto.Uint32(3)})
	if len(events) != 1 || !reflect.DeepEqual(events[0], mirror.ChannelRemoved{Channel: changed}) {
		t.Errorf("events %+v", events)
	}
	if _, ok := m.Channel(3); ok {
		t.Error("the channel is still there")
	}
}

// A link has two ends whichever of them the server names, and in whichever order
// the channels come.
func TestLinks(t *testing.T) {
	add := func(id uint32, others ...uint32) *mumblepb.ChannelState {
		return &mumblepb.ChannelState{ChannelId: proto.Uint32(id), LinksAdd: others}
	}
	cut := func(id uint32, others ...uint32) *mumblepb.ChannelState {
		return &mumblepb.ChannelState{ChannelId: proto.Uint32(id), LinksRemove: others}
	}
	for _, c := range []struct {
		name     string
		messages []proto.Message
		want     map[uint32][]uint32
	}{
		{"added from one side", []proto.Message{channel(1, 0, "a"), channel(2, 0, "b"), add(1, 2)},
			map[uint32][]uint32{1: {2}, 2: {1}}},
		{"added from both sides", []proto.Message{channel(1, 0, "a"), channel(2, 0, "b"), add(1, 2), add(2, 1)},
			map[uint32][]uint32{1: {2}, 2: {1}}},
		{"in the first message of the second channel", []proto.Message{channel(1, 0, "a"), channel(2, 0, "b", 1)},
			map[uint32][]uint32{1: {2}, 2: {1}}},
		{"in the first message of the first channel", []proto.Message{channel(1, 0, "a", 2), channel(2, 0, "b")},
			map[uint32][]uint32{1: {2}, 2: {1}}},
		{"removed from the other side", []proto.Message{channel(1, 0, "a"), channel(2, 0, "b"), add(1, 2), cut(2, 1)},
			map[uint32][]uint32{1: {}, 2: {}}},
		{"removed before the other came", []proto.Message{channel(1, 0, "a", 2), cut(1, 2), channel(2, 0, "b")},
			map[uint32][]uint32{1: {}, 2: {}}},
		{"to itself", []proto.Message{channel(1, 0, "a", 1), add(1, 1)}, map[uint32][]uint32{1: {}}},
		{"removed with the channel", []proto.Message{channel(1, 0, "a"), channel(2, 0, "b"), add(1, 2),
			&mumblepb.ChannelRemove{ChannelId: proto.Uint32(2)}}, map[uint32][]uint32{1: {}}},
		{"gone with the channel, which comes back", []proto.Message{channel(1, 0, "a", 2),
			&mumblepb.ChannelRemove{ChannelId: proto.Uint32(1)}, channel(2, 0, "b"), channel(1, 0, "a")},
			map[uint32][]uint32{1: {}, 2: {}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m mirror.Mirror
			apply(t, &m, c.messages...)
			for id, want := range c.want {
				got, ok := m.Channel(id)
				if !ok || !slices.Equal(got.Links, want) {
					t.Errorf("channel %d has links %v, want %v", id, got.Links, want)
				}
			}
		})
	}
}

func TestLinkEvents(t *testing.T) {
	var m mirror.Mirror
	apply(t, &m, channel(1, 0, "a"), channel(2, 0, "b"), channel(3, 0, "c"))
	events := apply(t, &m, &mumblepb.ChannelState{ChannelId: proto.Uint32(1), LinksAdd: []uint32{2, 3}})
	var changed []uint32
	for _, ev := range events {
		changed = append(changed, ev.(mirror.ChannelChanged).New.ID)
	}
	if !slices.Equal(changed, []uint32{1, 2, 3}) {
		t.Errorf("changed %v", changed)
	}
}

// What Users, Channels and events hand out is the caller's.
func TestCopies(t *testing.T) {
	var m mirror.Mirror
	u := user(1, 0, "a")
	u.ListeningChannelAdd = []uint32{1, 2}
	events := apply(t, &m, channel(1, 0, "a"), channel(2, 0, "b", 1), u)
	events[0].(mirror.UserAdded).User.Listens[0] = 99
	one, _ := m.User(1)
	one.Listens[0] = 99
	m.Users()[0].Listens[0] = 99
	c, _ := m.Channel(2)
	c.Links[0] = 99
	m.Channels()[1].Links[0] = 99
	if u, _ := m.User(1); !slices.Equal(u.Listens, []uint32{1, 2}) {
		t.Errorf("listens %v", u.Listens)
	}
	if c, _ := m.Channel(2); !slices.Equal(c.Links, []uint32{1}) {
		t.Errorf("links %v", c.Links)
	}
}

func TestBounds(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a mirror")
	}
	t.Run("users", func(t *testing.T) {
		var m mirror.Mirror
		for s := range uint32(mirror.MaxUsers) {
			apply(t, &m, &mumblepb.UserState{Session: proto.Uint32(s + 1)})
		}
		if _, err := m.Apply(&mumblepb.UserState{Session: proto.Uint32(mirror.MaxUsers + 1)}); !errors.Is(err, mirror.ErrFull) {
			t.Errorf("one user too many: %v", err)
		}
		apply(t, &m, user(5, 3, "known users still change"))
	})
	t.Run("channels", func(t *testing.T) {
		var m mirror.Mirror
		for id := range uint32(mirror.MaxChannels) {
			apply(t, &m, &mumblepb.ChannelState{ChannelId: proto.Uint32(id)})
		}
		if _, err := m.Apply(&mumblepb.ChannelState{ChannelId: proto.Uint32(mirror.MaxChannels)}); !errors.Is(err, mirror.ErrFull) {
			t.Errorf("one channel too many: %v", err)
		}
		apply(t, &m, channel(5, 3, "known channels still change"))
	})
	t.Run("links and listeners", func(t *testing.T) {
		var m mirror.Mirror
		var many []uint32
		for id := range uint32(5000) {
			many = append(many, id+10)
		}
		u := user(1, 0, "a")
		u.ListeningChannelAdd = many
		for _, msg := range []proto.Message{u, channel(1, 0, "a", many...)} {
			if _, err := m.Apply(msg); !errors.Is(err, mirror.ErrFull) {
				t.Errorf("%T with 5000 entries: %v", msg, err)
			}
		}
		for n := range 25 { // no single message is too long
			some := many[n*200 : n*200+200]
			u := user(1, 0, "a")
			u.ListeningChannelAdd = some
			apply(t, &m, u, channel(1, 0, "a", some...))
		}
		got, _ := m.User(1)
		c, _ := m.Channel(1)
		if len(got.Listens) > 256 || len(c.Links) > 256 {
			t.Errorf("%d listeners, %d links", len(got.Listens), len(c.Links))
		}
	})
	// One frame of a few bytes per entry once made half a gigabyte of events.
	t.Run("the same link again and again", func(t *testing.T) {
		var m mirror.Mirror
		apply(t, &m, channel(1, 0, "a"), channel(2, 0, "b"))
		again := make([]uint32, 50_000)
		for i := range again {
			again[i] = 2
		}
		events, err := m.Apply(&mumblepb.ChannelState{ChannelId: proto.Uint32(1), LinksAdd: again, LinksRemove: again})
		if err != nil || len(events) > 3 {
			t.Errorf("%d events, %v", len(events), err)
		}
	})
}

func TestLongNames(t *testing.T) {
	var m mirror.Mirror
	huge := strings.Repeat("\u00e9", 1<<20) // two bytes each
	u := user(1, 0, huge)
	u.Hash = proto.String(huge)
	apply(t, &m, u, channel(1, 0, "x"+huge))
	got, _ := m.User(1)
	c, _ := m.Channel(1)
	for _, s := range []string{got.Name, got.Hash, c.Name} {
		if len(s) == 0 || len(s) > 512 || !utf8.ValidString(s) {
			t.Errorf("kept %d bytes, valid %v", len(s), utf8.ValidString(s))
		}
	}
	// Bytes that are no UTF-8 at all must not loop or panic.
	apply(t, &m, user(2, 0, strings.Repeat("\x80", 1<<20)))
	if got, _ := m.User(2); len(got.Name) > 512 {
		t.Errorf("kept %d bytes", len(got.Name))
	}
}
