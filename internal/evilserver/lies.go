package evilserver

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// firstGhost is the session of the first ghost; murmurd counts from 1.
const firstGhost = 1_000_000

// injectAll sends m to the clients told that have logged in.
func (s *Server) injectAll(to Who, m proto.Message) {
	for _, c := range s.Clients() {
		if c.Session() != 0 && to(c) {
			s.Inject(c, m)
		}
	}
}

// Move says once that a user is in a channel. murmurd knows nothing of it.
func (s *Server) Move(to Who, session, channel uint32) {
	s.injectAll(to, &mumblepb.UserState{Session: &session, ChannelId: &channel})
}

// RenameChannel says once that a channel has another name.
func (s *Server) RenameChannel(to Who, channel uint32, name string) {
	s.injectAll(to, &mumblepb.ChannelState{ChannelId: &channel, Name: &name})
}

// Rename calls a user by another name, now and whenever it is named.
func (s *Server) Rename(to Who, session uint32, name string) *Lie {
	l := Rewrite(s, to, func(_ *Client, m *mumblepb.UserState) {
		if m.GetSession() == session && m.Name != nil {
			m.Name = &name
		}
	})
	s.injectAll(to, &mumblepb.UserState{Session: &session, Name: &name})
	return l
}

// LieHash says that a user has another certificate, now and whenever it is said.
func (s *Server) LieHash(to Who, session uint32, hash string) *Lie {
	l := Rewrite(s, to, func(_ *Client, m *mumblepb.UserState) {
		if m.GetSession() == session && m.Hash != nil {
			m.Hash = &hash
		}
	})
	s.injectAll(to, &mumblepb.UserState{Session: &session, Hash: &hash})
	return l
}

// Hide takes a user off the list: it leaves now, and nothing is said of its state
// any more. What it says and writes still arrives.
func (s *Server) Hide(to Who, session uint32) *Lie {
	l := s.OnServer(func(c *Client, m proto.Message) Verdict {
		switch m := m.(type) {
		case *mumblepb.UserState:
			if m.GetSession() == session && to(c) {
				return Drop()
			}
		case *mumblepb.UserRemove:
			if m.GetSession() == session && to(c) {
				return Drop()
			}
		}
		return Pass()
	})
	s.injectAll(to, &mumblepb.UserRemove{Session: &session})
	return l
}

// Ghost shows somebody who is not there and returns the session. hash may be
// empty. Clients that log in later do not see it.
func (s *Server) Ghost(to Who, name string, channel uint32, hash string) uint32 {
	s.mu.Lock()
	session := s.ghosts
	s.ghosts++
	s.mu.Unlock()
	m := &mumblepb.UserState{Session: &session, Name: &name, ChannelId: &channel}
	if hash != "" {
		m.Hash = &hash
	}
	s.injectAll(to, m)
	return session
}

// Swap gives the words of a to b and those of b to a: voice, text, plugin data.
// With a session that nobody has it relabels.
func (s *Server) Swap(to Who, a, b uint32) *Lie {
	other := func(session uint32) uint32 {
		switch session {
		case a:
			return b
		case b:
			return a
		}
		return session
	}
	l := rewriting(to, func(_ *Client, m proto.Message) {
		switch m := m.(type) {
		case *mumblepb.TextMessage:
			if m.Actor != nil {
				m.Actor = proto.Uint32(other(m.GetActor()))
			}
		case *mumblepb.PluginDataTransmission:
			if m.SenderSession != nil {
				m.SenderSession = proto.Uint32(other(m.GetSenderSession()))
			}
		}
	})
	l.voice = func(c *Client, dir voice.Direction, p voice.Packet) ([]voice.Packet, time.Duration) {
		if dir == voice.ToClient && to(c) {
			p.Session = other(p.Session)
		}
		return []voice.Packet{p}, 0
	}
	return s.tell(l)
}

// Kind is what a message carries of Sotto, in plugin data or text; false if
// nothing, or nothing that parses.
func Kind(m proto.Message) (envelope.Kind, bool) {
	switch m := m.(type) {
	case *mumblepb.PluginDataTransmission:
		if m.GetDataID() != envelope.DataID {
			return 0, false
		}
		f, err := envelope.ParseFragment(m.GetData())
		return f.Kind, err == nil
	case *mumblepb.TextMessage:
		t, err := envelope.ParseText(m.GetMessage())
		return t.Kind, err == nil
	}
	return 0, false
}

// sender is who sent a message to clients, by session.
func sender(m proto.Message) uint32 {
	switch m := m.(type) {
	case *mumblepb.PluginDataTransmission:
		return m.GetSenderSession()
	case *mumblepb.TextMessage:
		return m.GetActor()
	}
	return 0
}

// Withhold loses what carries objects of these kinds on the way to the clients
// told; without kinds, of any kind.
func (s *Server) Withhold(to Who, kinds ...envelope.Kind) *Lie {
	return s.OnServer(func(c *Client, m proto.Message) Verdict {
		kind, ok := Kind(m)
		if ok && to(c) && (len(kinds) == 0 || slices.Contains(kinds, kind)) {
			return Drop()
		}
		return Pass()
	})
}

// NoEcho loses what comes back to its own sender of Sotto's messages.
func (s *Server) NoEcho(to Who) *Lie {
	return s.OnServer(func(c *Client, m proto.Message) Verdict {
		if _, ok := Kind(m); ok && to(c) && sender(m) == c.Session() {
			return Drop()
		}
		return Pass()
	})
}

// Twice doubles Sotto's messages on the way to the clients told.
func (s *Server) Twice(to Who) *Lie {
	return s.OnServer(func(c *Client, m proto.Message) Verdict {
		if _, ok := Kind(m); ok && to(c) {
			return Send(m, m)
		}
		return Pass()
	})
}

// Late delivers everything to the clients told so much later, in order: control
// messages and voice, but not pings, for both ends would hang up.
func (s *Server) Late(to Who, d time.Duration) *Lie { return s.late(to, voice.ToClient, d) }

// LateFrom does the same for what clients send: others have it later.
func (s *Server) LateFrom(from Who, d time.Duration) *Lie { return s.late(from, voice.ToServer, d) }

func (s *Server) late(who Who, dir voice.Direction, d time.Duration) *Lie {
	return s.tell(&Lie{
		dir: dir,
		message: func(c *Client, m proto.Message) Verdict {
			if _, ping := m.(*mumblepb.Ping); ping || !who(c) {
				return Pass()
			}
			return Pass().After(d)
		},
		voice: func(c *Client, at voice.Direction, p voice.Packet) ([]voice.Packet, time.Duration) {
			if at == dir && who(c) {
				return []voice.Packet{p}, d
			}
			return []voice.Packet{p}, 0
		},
	})
}

// Fork makes worlds: Sotto's messages of one world do not reach another. Clients
// in none hear all and are heard by all; who is in two belongs to the first.
func (s *Server) Fork(worlds ...Who) *Lie {
	world := func(c *Client) int {
		return slices.IndexFunc(worlds, func(w Who) bool { return w(c) })
	}
	return s.OnServer(func(c *Client, m proto.Message) Verdict {
		if _, ok := Kind(m); !ok {
			return Pass()
		}
		mine := world(c)
		for _, from := range s.Clients() {
			if from.Session() == sender(m) {
				if theirs := world(from); mine >= 0 && theirs >= 0 && mine != theirs {
					return Drop()
				}
			}
		}
		return Pass()
	})
}
