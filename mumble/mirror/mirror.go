// Package mirror keeps a copy of what a Mumble server says about its channels
// and users, built from the control messages it sends.
//
// A Mirror is fed every decoded message of one connection in order (Apply) and
// answers who is where. What it holds is the server's word and nothing more:
// no decision about keys or trust may rest on it alone.
//
// It does not keep comments, avatars or descriptions (they can be megabytes),
// sends nothing, and asks for nothing.
package mirror

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// Bounds of what a server can make a Mirror hold. Murmur's own defaults are
// 1000 channels and as many users as the ini allows (100 by default).
const (
	MaxUsers    = 1 << 12
	MaxChannels = 1 << 12
	maxLinks    = 1 << 8 // links and listeners of one entry
	maxName     = 512    // bytes of a name that are kept
)

// ErrFull is returned by Apply when the server announces more than the bounds
// above. The caller should end the connection.
var ErrFull = errors.New("mirror: the server announces too many users or channels")

// User is one connected user as the server describes it.
type User struct {
	Session  uint32 // 1 and up, unique among those connected
	Name     string
	UserID   uint32 // registration, valid if Registered
	Channel  uint32
	Hash     string // SHA-1 of the client certificate in hex, as the server claims; "" without one
	Listens  []uint32
	Mute     bool // by the server or an administrator
	Deaf     bool
	Suppress bool // by ACL: may not speak here
	SelfMute bool
	SelfDeaf bool
	Priority bool
	Record   bool

	Registered bool
}

// MaySpeak reports whether the server relays this user's voice at all: muted
// and suppressed users are cut off for speech, whisper and loopback alike.
func (u User) MaySpeak() bool { return !u.Mute && !u.Suppress && !u.SelfMute }

// Channel is one channel. The root has ID 0 and is its own parent here.
type Channel struct {
	ID        uint32
	Parent    uint32
	Name      string
	Links     []uint32 // direct links, both directions
	Temporary bool
	Position  int32
}

// Mirror is the copy. The zero value is empty and ready. Not safe for
// concurrent use.
type Mirror struct {
	self     uint32
	synced   bool
	users    map[uint32]*User
	channels map[uint32]*Channel
	// awaited are links to channels that have not been described yet, by the far
	// end's id: the near ends.
	awaited map[uint32][]uint32
}

// Event is one change, returned by Apply: UserAdded, UserChanged, UserRemoved,
// ChannelAdded, ChannelChanged, ChannelRemoved or Synced.
type Event interface{ event() }

type (
	// UserAdded says that a user became known.
	UserAdded struct{ User User }
	// UserChanged says that some field of a user changed.
	UserChanged struct{ Old, New User }
	// UserRemoved says that a user left; Reason and Actor only if kicked or banned.
	UserRemoved struct {
		User   User
		Actor  uint32
		Reason string
		Ban    bool
	}
	// ChannelAdded says that a channel became known.
	ChannelAdded struct{ Channel Channel }
	// ChannelChanged says that some field or link of a channel changed.
	ChannelChanged struct{ Old, New Channel }
	// ChannelRemoved says that a channel is gone.
	ChannelRemoved struct{ Channel Channel }
	// Synced says that the login is complete and which session is ours.
	Synced struct{ Session uint32 }
)

func (UserAdded) event()      {}
func (UserChanged) event()    {}
func (UserRemoved) event()    {}
func (ChannelAdded) event()   {}
func (ChannelChanged) event() {}
func (ChannelRemoved) event() {}
func (Synced) event()         {}

// Apply takes in one message from the server and returns what it changed.
// Messages that say nothing about users or channels change nothing.
func (m *Mirror) Apply(msg proto.Message) ([]Event, error) {
	switch msg := msg.(type) {
	case *mumblepb.UserState:
		return m.userState(msg)
	case *mumblepb.UserRemove:
		return m.userRemove(msg), nil
	case *mumblepb.ChannelState:
		return m.channelState(msg)
	case *mumblepb.ChannelRemove:
		return m.channelRemove(msg), nil
	case *mumblepb.ServerSync:
		m.self, m.synced = msg.GetSession(), true
		return []Event{Synced{m.self}}, nil
	}
	return nil, nil
}

// Synced reports whether ServerSync was seen.
func (m *Mirror) Synced() bool { return m.synced }

// Self is the own session, 0 before ServerSync.
func (m *Mirror) Self() uint32 { return m.self }

// Own returns the own user, false before the server named it.
func (m *Mirror) Own() (User, bool) { return m.User(m.self) }

// User returns a copy of one user.
func (m *Mirror) User(session uint32) (User, bool) {
	u, ok := m.users[session]
	if !ok {
		return User{}, false
	}
	return u.clone(), true
}

// Name is a user's name, or "session N" for an unknown one.
func (m *Mirror) Name(session uint32) string {
	if u, ok := m.users[session]; ok {
		return u.Name
	}
	return fmt.Sprintf("session %d", session)
}

// Label is a user's name as a sentence for people may quote it: in quotation
// marks, at most 40 characters, nothing that hides or reorders what follows. A
// name is the server's word, and could be a sentence of its own.
func (m *Mirror) Label(session uint32) string { return Label(m.Name(session)) }

// quotes are those that people would take for the ones of a Label.
const quotes = "\u201c\u201d\u201e\u201f\u2033\u2036\u275d\u275e\u2760\u301d\u301e\u301f\uff02\u02ba\u02dd\u02ee\u05f4\u1cd3\U0001f676\U0001f677\U0001f678"

// Label quotes a name as Mirror.Label does.
func Label(name string) string {
	const most = 40
	var b strings.Builder
	b.WriteString("\u201c")
	n := 0
	for _, r := range name {
		if unicode.In(r, unicode.C, unicode.Zl, unicode.Zp) || strings.ContainsRune(quotes, r) || r == utf8.RuneError {
			continue
		}
		if n++; n > most {
			b.WriteString("\u2026")
			break
		}
		b.WriteRune(r)
	}
	b.WriteString("\u201d")
	return b.String()
}

// Users returns copies of all users, by session.
func (m *Mirror) Users() []User {
	out := make([]User, 0, len(m.users))
	for _, s := range slices.Sorted(maps.Keys(m.users)) {
		out = append(out, m.users[s].clone())
	}
	return out
}

// Channel returns a copy of one channel.
func (m *Mirror) Channel(id uint32) (Channel, bool) {
	c, ok := m.channels[id]
	if !ok {
		return Channel{}, false
	}
	return c.clone(), true
}

// Channels returns copies of all channels, by id.
func (m *Mirror) Channels() []Channel {
	out := make([]Channel, 0, len(m.channels))
	for _, id := range slices.Sorted(maps.Keys(m.channels)) {
		out = append(out, m.channels[id].clone())
	}
	return out
}

func (u *User) clone() User {
	c := *u
	c.Listens = slices.Clone(u.Listens)
	return c
}

func (c *Channel) clone() Channel {
	d := *c
	d.Links = slices.Clone(c.Links)
	return d
}

func (m *Mirror) userState(msg *mumblepb.UserState) ([]Event, error) {
	if msg.Session == nil || msg.GetSession() == 0 {
		return nil, nil // nothing that could be attributed
	}
	add, err := distinct(slices.Clone(msg.ListeningChannelAdd))
	if err != nil {
		return nil, err
	}
	drop, err := distinct(slices.Clone(msg.ListeningChannelRemove))
	if err != nil {
		return nil, err
	}
	session := msg.GetSession()
	u, known := m.users[session]
	if !known {
		if len(m.users) >= MaxUsers {
			return nil, ErrFull
		}
		u = &User{Session: session}
	}
	old := u.clone()
	set(&u.Channel, msg.ChannelId)
	set(&u.Mute, msg.Mute)
	set(&u.Deaf, msg.Deaf)
	set(&u.Suppress, msg.Suppress)
	set(&u.SelfMute, msg.SelfMute)
	set(&u.SelfDeaf, msg.SelfDeaf)
	set(&u.Priority, msg.PrioritySpeaker)
	set(&u.Record, msg.Recording)
	if msg.Name != nil {
		u.Name = clip(msg.GetName())
	}
	if msg.Hash != nil {
		u.Hash = clip(msg.GetHash())
	}
	if msg.UserId != nil {
		// Murmur sends 0xFFFFFFFF when a registration is taken away.
		u.UserID, u.Registered = msg.GetUserId(), msg.GetUserId() != 0xFFFFFFFF
	}
	for _, id := range add {
		u.Listens = insert(u.Listens, id)
	}
	for _, id := range drop {
		u.Listens = remove(u.Listens, id)
	}
	if !known {
		if m.users == nil {
			m.users = map[uint32]*User{}
		}
		m.users[session] = u
		return []Event{UserAdded{u.clone()}}, nil
	}
	return []Event{UserChanged{old, u.clone()}}, nil
}

func (m *Mirror) userRemove(msg *mumblepb.UserRemove) []Event {
	u, ok := m.users[msg.GetSession()]
	if !ok {
		return nil
	}
	delete(m.users, msg.GetSession())
	return []Event{UserRemoved{*u, msg.GetActor(), msg.GetReason(), msg.GetBan()}}
}

func (m *Mirror) channelState(msg *mumblepb.ChannelState) ([]Event, error) {
	if msg.ChannelId == nil {
		return nil, nil
	}
	// A link is one thing with two ends; Murmur names it from one side only
	// (src/mumble/Messages.cpp msgChannelState links both). The full list in
	// links only comes with a channel's first message, so it only ever adds.
	add, err := distinct(slices.Concat(msg.Links, msg.LinksAdd))
	if err != nil {
		return nil, err
	}
	drop, err := distinct(slices.Clone(msg.LinksRemove))
	if err != nil {
		return nil, err
	}
	id := msg.GetChannelId()
	c, known := m.channels[id]
	if !known {
		if len(m.channels) >= MaxChannels {
			return nil, ErrFull
		}
		if m.channels == nil {
			m.channels = map[uint32]*Channel{}
		}
		c = &Channel{ID: id, Links: m.awaited[id]}
		m.channels[id] = c
		delete(m.awaited, id)
	}
	old := c.clone()
	set(&c.Parent, msg.Parent)
	set(&c.Temporary, msg.Temporary)
	set(&c.Position, msg.Position)
	if msg.Name != nil {
		c.Name = clip(msg.GetName())
	}
	events := make([]Event, 1, 1+len(add)+len(drop))
	for _, other := range add {
		events = append(events, m.link(c, other, insert)...)
	}
	for _, other := range drop {
		events = append(events, m.link(c, other, remove)...)
	}
	if known {
		events[0] = ChannelChanged{old, c.clone()}
	} else {
		events[0] = ChannelAdded{c.clone()}
	}
	return events, nil
}

// link changes both ends of one link and reports the change of the far end.
func (m *Mirror) link(c *Channel, other uint32, change func([]uint32, uint32) []uint32) []Event {
	if other == c.ID {
		return nil // a channel linked to itself is nonsense that has crashed servers
	}
	c.Links = change(c.Links, other)
	far, ok := m.channels[other]
	if !ok {
		m.await(other, c, slices.Contains(c.Links, other))
		return nil
	}
	old := far.clone()
	far.Links = change(far.Links, c.ID)
	if len(old.Links) == len(far.Links) {
		return nil
	}
	return []Event{ChannelChanged{old, far.clone()}}
}

// distinct sorts out what a message names twice. A message that names more than
// any channel has would cost far more than its bytes.
func distinct(list []uint32) ([]uint32, error) {
	slices.Sort(list)
	list = slices.Compact(list)
	if len(list) > maxLinks {
		return nil, ErrFull
	}
	return list, nil
}

// await remembers or forgets that c names a channel not described yet, so that
// the link has both its ends whatever the order of the messages.
func (m *Mirror) await(other uint32, c *Channel, linked bool) {
	if linked {
		if m.awaited == nil {
			m.awaited = map[uint32][]uint32{}
		}
		m.awaited[other] = insert(m.awaited[other], c.ID)
		return
	}
	ends, ok := m.awaited[other]
	if !ok {
		return
	}
	if ends = remove(ends, c.ID); len(ends) == 0 {
		delete(m.awaited, other)
	} else {
		m.awaited[other] = ends
	}
}

func (m *Mirror) channelRemove(msg *mumblepb.ChannelRemove) []Event {
	c, ok := m.channels[msg.GetChannelId()]
	if !ok {
		return nil
	}
	delete(m.channels, c.ID)
	for _, other := range c.Links {
		if far, ok := m.channels[other]; ok {
			far.Links = remove(far.Links, c.ID)
		} else {
			m.await(other, c, false)
		}
	}
	return []Event{ChannelRemoved{*c}}
}

func set[T any](field *T, v *T) {
	if v != nil {
		*field = *v
	}
}

func insert(list []uint32, v uint32) []uint32 {
	i, found := slices.BinarySearch(list, v)
	if found || len(list) >= maxLinks {
		return list
	}
	return slices.Insert(list, i, v)
}

func remove(list []uint32, v uint32) []uint32 {
	if i, found := slices.BinarySearch(list, v); found {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// clip bounds a name from the server without cutting a rune in half.
func clip(s string) string {
	if len(s) <= maxName {
		return s
	}
	n := maxName
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
