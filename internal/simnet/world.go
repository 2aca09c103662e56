package simnet

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// AddChannel makes a channel and tells everybody. It returns the id.
func (s *Server) AddChannel(parent uint32, name string, links ...uint32) uint32 {
	c := &channel{id: s.nextChan, parent: parent, name: name}
	s.nextChan++
	s.channels[c.id] = c
	s.version++
	s.broadcast(c.state())
	for _, l := range links {
		s.Link(c.id, l, true)
	}
	return c.id
}

// RenameChannel gives a channel another name.
func (s *Server) RenameChannel(id uint32, name string) {
	if c := s.channels[id]; c != nil {
		c.name = name
		s.broadcast(&mumblepb.ChannelState{ChannelId: proto.Uint32(id), Name: proto.String(name)})
	}
}

// Link links two channels, or takes the link away.
func (s *Server) Link(a, b uint32, on bool) {
	ca, cb := s.channels[a], s.channels[b]
	if ca == nil || cb == nil || a == b {
		return
	}
	m := &mumblepb.ChannelState{ChannelId: proto.Uint32(a)}
	if on {
		ca.links, cb.links = with(ca.links, b), with(cb.links, a)
		m.LinksAdd = []uint32{b}
	} else {
		ca.links, cb.links = without(ca.links, b), without(cb.links, a)
		m.LinksRemove = []uint32{b}
	}
	s.version++
	s.broadcast(m)
}

// Move puts a user into a channel by the server's own will.
func (s *Server) Move(session, to uint32) {
	u := s.user(session)
	if u == nil || s.channels[to] == nil || u.channel == to {
		return
	}
	s.log.line("server", "moves %d to channel %d", session, to)
	s.enter(u, to)
	s.broadcast(&mumblepb.UserState{Session: proto.Uint32(session), ChannelId: proto.Uint32(to)})
}

// Mute silences somebody or ends that: what an administrator does. It concerns
// voice alone.
func (s *Server) Mute(session uint32, on bool) {
	if u := s.user(session); u != nil {
		u.mute = on
		s.broadcast(&mumblepb.UserState{Session: proto.Uint32(session), Mute: proto.Bool(on)})
	}
}

// Suppress takes away or gives the right to speak.
func (s *Server) Suppress(session uint32, on bool) {
	if u := s.user(session); u != nil {
		u.suppress = on
		s.broadcast(&mumblepb.UserState{Session: proto.Uint32(session), Suppress: proto.Bool(on)})
	}
}

// Kick ends somebody's connection.
func (s *Server) Kick(session uint32, reason string) {
	u := s.user(session)
	if u == nil {
		return
	}
	s.broadcast(&mumblepb.UserRemove{Session: proto.Uint32(session), Reason: proto.String(reason)})
	s.remove(u, "kicked", true)
}

// enter changes where u is and who hears whom.
func (s *Server) enter(u *user, to uint32) {
	from := u.channel
	u.channel = to
	s.version++
	if c := s.channels[from]; c != nil && c.temporary && !slices.ContainsFunc(s.users, func(v *user) bool { return v.channel == from }) {
		s.removeChannel(from)
	}
}

func (s *Server) removeChannel(id uint32) {
	delete(s.channels, id)
	for _, c := range s.channels {
		c.links = without(c.links, id)
	}
	s.version++
	s.clock.After(0, func() { s.broadcast(&mumblepb.ChannelRemove{ChannelId: proto.Uint32(id)}) })
}

func (c *channel) state() *mumblepb.ChannelState {
	m := &mumblepb.ChannelState{ChannelId: proto.Uint32(c.id), Name: proto.String(c.name)}
	if c.id != 0 {
		m.Parent = proto.Uint32(c.parent)
	}
	return m
}

// state is all that others are told of u.
func (u *user) state() *mumblepb.UserState {
	m := &mumblepb.UserState{
		Session: proto.Uint32(u.session), Name: proto.String(u.name), ChannelId: proto.Uint32(u.channel),
		ListeningChannelAdd: slices.Clone(u.listens),
	}
	if u.hash != "" {
		m.Hash = proto.String(u.hash)
	}
	for _, f := range []struct {
		on    bool
		field **bool
	}{{u.mute, &m.Mute}, {u.deaf, &m.Deaf}, {u.suppress, &m.Suppress}, {u.selfMute, &m.SelfMute}, {u.selfDeaf, &m.SelfDeaf}} {
		if f.on {
			*f.field = proto.Bool(true)
		}
	}
	return m
}

func (u *user) maySpeak() bool { return !u.mute && !u.suppress && !u.selfMute }
func (u *user) isDeaf() bool   { return u.deaf || u.selfDeaf }

func with(list []uint32, v uint32) []uint32 {
	i, found := slices.BinarySearch(list, v)
	if found {
		return list
	}
	return slices.Insert(slices.Clone(list), i, v)
}

func without(list []uint32, v uint32) []uint32 {
	return slices.DeleteFunc(slices.Clone(list), func(x uint32) bool { return x == v })
}
