package simnet

import (
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// conn is one connection of a Peer. It dies once, on each side for itself.
type conn struct {
	s    *Server
	peer *Peer
	net  Network

	session uint32 // 0 before login
	up      bool   // the server reads it
	down    bool   // the peer reads it

	lastUp, lastDown time.Time // what is sent later arrives no earlier
}

// login is the server's answer to Version and Authenticate.
func (s *Server) login(c *conn, name, hash string, admin bool) {
	if !c.up {
		return
	}
	for _, old := range slices.Clone(s.users) {
		if !strings.EqualFold(old.name, name) {
			continue
		}
		if !s.profile.Ghosts || old.hash != hash {
			s.reject(c, mumblepb.Reject_UsernameInUse, "Username already in use")
			return
		}
		s.tell(old, 0, 0, &mumblepb.UserRemove{
			Session: proto.Uint32(old.session), Reason: proto.String("You connected to the server from another device"),
		})
		s.remove(old, "replaced", true)
	}
	if len(s.users) >= s.profile.Users || len(s.sessions) == 0 {
		s.reject(c, mumblepb.Reject_ServerFull, "Server is full")
		return
	}
	now := s.clock.Now()
	c.session = s.sessions[0]
	s.sessions = s.sessions[1:]
	u := &user{
		conn: c, session: c.session, name: name, hash: hash, admin: admin,
		plugin: bucket{since: now}, control: bucket{since: now}, meter: newMeter(now, &s.profile),
		targets: map[uint32]*target{}, told: map[uint32]bool{},
	}
	u.control.take(now, s.profile.Control) // the Version
	s.log.line("server", "session %d is %s", u.session, name)
	s.greet(u)
}

// greet sends the messages of a login in Murmur's order.
func (s *Server) greet(u *user) {
	version := &mumblepb.Version{VersionV1: proto.Uint32(s.profile.VersionV1)}
	if s.profile.VersionV2 != 0 {
		version.VersionV2 = proto.Uint64(s.profile.VersionV2)
	}
	i, _ := slices.BinarySearchFunc(s.users, u.session, func(v *user, n uint32) int { return int(int64(v.session) - int64(n)) })
	s.users = slices.Insert(s.users, i, u)
	s.version++

	s.tell(u, 0, 0, version)
	s.tell(u, 0, 0, &mumblepb.CodecVersion{Alpha: proto.Int32(-2147483637), Beta: proto.Int32(0), PreferAlpha: proto.Bool(true), Opus: proto.Bool(true)})
	ids := s.breadthFirst()
	for _, id := range ids {
		s.tell(u, 0, 0, s.channels[id].state())
	}
	for _, id := range ids {
		if c := s.channels[id]; len(c.links) > 0 {
			s.tell(u, 0, 0, &mumblepb.ChannelState{ChannelId: proto.Uint32(id), Links: c.links})
		}
	}
	s.broadcast(u.state())
	for _, other := range s.users {
		if other != u {
			s.tell(u, 0, 0, other.state())
		}
	}
	for _, g := range s.ghosts {
		if g.seenBy(u.session) {
			s.tell(u, 0, 0, g.state)
		}
	}
	s.tell(u, 0, 0, &mumblepb.ServerSync{
		Session: proto.Uint32(u.session), MaxBandwidth: proto.Uint32(s.profile.Bandwidth), Permissions: proto.Uint64(0x8080B0E),
	})
	s.tell(u, 0, 0, &mumblepb.ServerConfig{
		AllowHtml: proto.Bool(s.profile.AllowHTML), MessageLength: proto.Uint32(s.profile.MessageLength),
		ImageMessageLength: proto.Uint32(s.profile.ImageMessageLength), MaxUsers: proto.Uint32(uint32(s.profile.Users)),
	})
}

// breadthFirst returns the channels so that a parent always precedes.
func (s *Server) breadthFirst() []uint32 {
	below := map[uint32][]uint32{}
	for _, id := range slices.Sorted(maps.Keys(s.channels)) {
		if id != 0 {
			below[s.channels[id].parent] = append(below[s.channels[id].parent], id)
		}
	}
	out := []uint32{0}
	for i := 0; i < len(out) && i < len(s.channels); i++ {
		out = append(out, below[out[i]]...)
	}
	return out
}

func (s *Server) reject(c *conn, why mumblepb.Reject_RejectType, text string) {
	s.log.line("server", "rejects %s: %s", c.peer.name, text)
	c.up = false
	s.sendRaw(c, &mumblepb.Reject{Type: &why, Reason: proto.String(text)})
	s.hangUp(c)
}

// remove takes a user away and tells the others. With cut its connection ends
// after what is under way; without, the client is gone already.
func (s *Server) remove(u *user, why string, tell bool) {
	i := slices.Index(s.users, u)
	if i < 0 {
		return
	}
	s.log.line("server", "session %d is gone: %s", u.session, why)
	s.users = slices.Delete(s.users, i, i+1)
	s.sessions = append(s.sessions, u.session)
	s.version++
	u.up = false
	u.meter, u.hears = meter{}, hearing{} // others may remember it
	delete(s.swapped, u.session)
	for k := range s.lies {
		if k.to == u.session || k.about == u.session {
			delete(s.lies, k)
		}
	}
	if tell {
		s.broadcast(&mumblepb.UserRemove{Session: proto.Uint32(u.session)})
	}
	s.enter(u, u.channel) // a temporary channel may be empty now
	s.hangUp(u.conn)
}

// hangUp closes the connection after what is under way to the peer.
func (s *Server) hangUp(c *conn) {
	c.up = false
	s.clock.At(s.arrival(c), func() { c.peer.closed(c) })
}

// left is the end of the stream from a client, or of the server's patience.
func (s *Server) left(c *conn, why string) {
	if u := s.user(c.session); u != nil && u.conn == c {
		s.remove(u, why, true)
	}
	c.up = false
}
