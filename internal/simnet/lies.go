package simnet

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// lieKey says to whom, 0 for everybody, and about whom.
type lieKey struct{ to, about uint32 }

// lie is what one user is told of another instead of the truth.
type lie struct {
	hidden  bool
	name    *string
	hash    *string
	channel *uint32
}

// ghost is a user that does not exist.
type ghost struct {
	session uint32
	to      []uint32 // empty: everybody
	state   *mumblepb.UserState
}

func (g ghost) seenBy(session uint32) bool { return len(g.to) == 0 || slices.Contains(g.to, session) }

// Ghost announces a user who does not exist to some sessions, or to everybody, and
// returns its session; 0 if there is none left.
func (s *Server) Ghost(name, hash string, channel uint32, to ...uint32) uint32 {
	if len(s.sessions) == 0 {
		return 0
	}
	g := ghost{session: s.sessions[0], to: slices.Clone(to)}
	s.sessions = s.sessions[1:]
	g.state = &mumblepb.UserState{
		Session: proto.Uint32(g.session), Name: proto.String(name), ChannelId: proto.Uint32(channel), Hash: proto.String(hash),
	}
	s.ghosts = append(s.ghosts, g)
	s.log.line("server", "shows ghost %d", g.session)
	for _, u := range slices.Clone(s.users) {
		if g.seenBy(u.session) {
			s.tell(u, 0, 0, g.state)
		}
	}
	return g.session
}

// Exorcise takes a ghost away.
func (s *Server) Exorcise(session uint32) {
	s.ghosts = slices.DeleteFunc(s.ghosts, func(g ghost) bool {
		if g.session != session {
			return false
		}
		for _, u := range slices.Clone(s.users) {
			if u.told[session] {
				s.tell(u, 0, 0, &mumblepb.UserRemove{Session: proto.Uint32(session)})
			}
		}
		s.sessions = append(s.sessions, session)
		return true
	})
}

// Hide tells some, or everybody, that a user has gone who has not. Its words
// are still relayed.
func (s *Server) Hide(session uint32, from ...uint32) {
	s.lieAbout(session, from, func(l *lie) { l.hidden = true })
	for _, u := range s.listeners(from) {
		if u.told[session] {
			s.deliver(&Delivery{To: u.session, Message: &mumblepb.UserRemove{Session: proto.Uint32(session)}, user: u}, false)
		}
	}
}

// Show ends Hide for some, or for everybody.
func (s *Server) Show(session uint32, to ...uint32) {
	s.lieAbout(session, to, func(l *lie) { l.hidden = false })
	s.retell(session, to)
}

// Rename gives a user another name in the eyes of some, or of everybody.
func (s *Server) Rename(session uint32, name string, to ...uint32) {
	s.lieAbout(session, to, func(l *lie) { l.name = &name })
	s.retell(session, to)
}

// Rehash claims another certificate for a user, to some or to everybody.
func (s *Server) Rehash(session uint32, hash string, to ...uint32) {
	s.lieAbout(session, to, func(l *lie) { l.hash = &hash })
	s.retell(session, to)
}

// Pretend tells some, or everybody, that a user is in another channel than the
// one whose speech it gets.
func (s *Server) Pretend(session, channel uint32, to ...uint32) {
	s.lieAbout(session, to, func(l *lie) { l.channel = &channel })
	s.retell(session, to)
}

func (s *Server) listeners(to []uint32) []*user {
	var out []*user
	for _, u := range s.users {
		if len(to) == 0 || slices.Contains(to, u.session) {
			out = append(out, u)
		}
	}
	return out
}

func (s *Server) lieAbout(session uint32, to []uint32, change func(*lie)) {
	if len(to) == 0 {
		to = []uint32{0}
	}
	for _, t := range to {
		k := lieKey{t, session}
		if s.lies[k] == nil {
			s.lies[k] = &lie{}
		}
		change(s.lies[k])
		s.log.line("server", "lies to %d about %d", t, session)
	}
}

// retell describes a user anew, lies included.
func (s *Server) retell(session uint32, to []uint32) {
	if v := s.user(session); v != nil {
		for _, u := range s.listeners(to) {
			s.tell(u, 0, 0, v.state())
		}
	}
}

// lieTo returns what u is told instead of m; nil for nothing.
func (s *Server) lieTo(u *user, m proto.Message) proto.Message {
	if len(s.lies) == 0 {
		return m
	}
	switch m := m.(type) {
	case *mumblepb.UserState:
		out := m
		for _, k := range []lieKey{{0, m.GetSession()}, {u.session, m.GetSession()}} {
			l := s.lies[k]
			if l == nil {
				continue
			}
			if l.hidden {
				return nil
			}
			if out == m {
				out = proto.CloneOf(m)
			}
			if out.Name != nil && l.name != nil {
				out.Name = l.name
			}
			if out.Hash != nil && l.hash != nil {
				out.Hash = l.hash
			}
			if out.ChannelId != nil && l.channel != nil {
				out.ChannelId = l.channel
			}
		}
		return out
	case *mumblepb.UserRemove:
		if !u.told[m.GetSession()] && m.GetSession() != u.session {
			return nil // hidden: gone long ago
		}
	}
	return m
}

// Fair ends every hook, chance, fork, swap and lie, and tells everybody the truth.
// What is under way already, held or repeated, still arrives.
func (s *Server) Fair() {
	s.log.line("server", "is fair")
	s.hooks, s.worlds, s.chaos = nil, nil, Chaos{}
	s.chaosGen++
	clear(s.swapped)
	clear(s.lies)
	for len(s.ghosts) > 0 {
		s.Exorcise(s.ghosts[0].session)
	}
	channels := s.breadthFirst()
	for _, id := range channels {
		c := s.channels[id]
		m := c.state()
		m.Links = c.links
		for _, other := range channels {
			if _, linked := slices.BinarySearch(c.links, other); !linked && other != id {
				m.LinksRemove = append(m.LinksRemove, other)
			}
		}
		s.broadcast(m)
	}
	for _, u := range slices.Clone(s.users) {
		for _, session := range slices.Sorted(maps.Keys(u.told)) {
			if s.user(session) == nil {
				s.tell(u, 0, 0, &mumblepb.UserRemove{Session: proto.Uint32(session)})
			}
		}
	}
	for _, v := range slices.Clone(s.users) {
		m := v.state()
		for _, id := range channels {
			if !slices.Contains(v.listens, id) {
				m.ListeningChannelRemove = append(m.ListeningChannelRemove, id)
			}
		}
		for _, f := range []**bool{&m.Mute, &m.Deaf, &m.Suppress, &m.SelfMute, &m.SelfDeaf} {
			if *f == nil {
				*f = proto.Bool(false)
			}
		}
		s.broadcast(m)
	}
}
