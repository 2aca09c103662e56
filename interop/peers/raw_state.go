package peers

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// All returns everything received since the login began, or since Forget.
func (r *Raw) All() []Received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.in)
}

// Forget drops everything received so far, so that waits see what comes now.
func (r *Raw) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.in = nil
}

// Err is why the connection ended, nil while it lives.
func (r *Raw) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Wait returns the first thing received, already or within the limit, that
// matches. If there is none the test fails, and what names the missed thing.
func (r *Raw) Wait(limit time.Duration, what string, match func(Received) bool) Received {
	var found Received
	next := 0
	ok := r.until(limit, func() bool {
		next = min(next, len(r.in)) // Forget may have been called
		for ; next < len(r.in); next++ {
			if match(r.in[next]) {
				found = r.in[next]
				return true
			}
		}
		return false
	})
	if !ok {
		r.fail("no %s within %v (connection: %v)", what, limit, r.Err())
	}
	return found
}

// WaitText waits for a text message with exactly this text and returns it.
func (r *Raw) WaitText(limit time.Duration, text string) *mumblepb.TextMessage {
	got := r.Wait(limit, "text message "+text, func(g Received) bool {
		m, ok := g.Message.(*mumblepb.TextMessage)
		return ok && m.GetMessage() == text
	})
	return got.Message.(*mumblepb.TextMessage)
}

// Texts returns the text messages received.
func (r *Raw) Texts() []*mumblepb.TextMessage {
	var out []*mumblepb.TextMessage
	for _, g := range r.All() {
		if m, ok := g.Message.(*mumblepb.TextMessage); ok {
			out = append(out, m)
		}
	}
	return out
}

// Users returns the users on the server by session, as the server tells.
func (r *Raw) Users() map[uint32]*mumblepb.UserState {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[uint32]*mumblepb.UserState{}
	for id, u := range r.users {
		out[id] = proto.Clone(u).(*mumblepb.UserState)
	}
	return out
}

// Channels returns the channels by id, as the server tells.
func (r *Raw) Channels() map[uint32]*mumblepb.ChannelState {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[uint32]*mumblepb.ChannelState{}
	for id, c := range r.chans {
		out[id] = proto.Clone(c).(*mumblepb.ChannelState)
	}
	return out
}

// MaxBandwidth is the limit of ServerSync in bit/s.
func (r *Raw) MaxBandwidth() uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sync.GetMaxBandwidth()
}

// WaitUser waits until a user of that name is there and returns the session.
func (r *Raw) WaitUser(limit time.Duration, name string) uint32 {
	var session uint32
	if !r.until(limit, func() bool {
		for id, u := range r.users {
			if u.GetName() == name {
				session = id
				return true
			}
		}
		return false
	}) {
		r.fail("no user %s within %v", name, limit)
	}
	return session
}

// ask sends a request and waits for its effect on Users or Channels, asked with
// r.mu held. A server drops what comes faster than a message a second, without a
// word (src/murmur/Server.cpp, the leaky bucket), so the request is repeated.
func (r *Raw) ask(what string, m proto.Message, ok func() bool) {
	for range 4 {
		r.Send(m)
		if r.until(rawLimit/4, ok) {
			return
		}
	}
	r.fail("no %s within %v", what, rawLimit)
}

// Text sends a text message to a channel.
func (r *Raw) Text(channel uint32, text string) {
	r.Send(&mumblepb.TextMessage{ChannelId: []uint32{channel}, Message: &text})
}

// TextTo sends a private text message.
func (r *Raw) TextTo(text string, sessions ...uint32) {
	r.Send(&mumblepb.TextMessage{Session: sessions, Message: &text})
}

// Join moves the client itself to a channel and waits until the server agrees.
func (r *Raw) Join(channel uint32) { r.Move(r.Session, channel) }

// Move moves a user to a channel and waits until the server agrees.
func (r *Raw) Move(session, channel uint32) {
	r.ask("move", &mumblepb.UserState{Session: &session, ChannelId: &channel}, func() bool {
		u := r.users[session]
		return u != nil && u.GetChannelId() == channel
	})
}

// MakeChannel makes a channel and returns its id. It needs the right to, as
// SuperUser has.
func (r *Raw) MakeChannel(name string, parent uint32) uint32 {
	var id uint32
	r.ask("channel "+name, &mumblepb.ChannelState{Parent: &parent, Name: &name}, func() bool {
		for c, state := range r.chans {
			if state.GetName() == name && state.GetParent() == parent {
				id = c
				return true
			}
		}
		return false
	})
	return id
}

// Link links two channels.
func (r *Raw) Link(a, b uint32) {
	m := &mumblepb.ChannelState{ChannelId: &a, LinksAdd: []uint32{b}}
	r.ask("link", m, func() bool { return slices.Contains(r.chans[a].GetLinks(), b) })
}

// Unlink undoes Link.
func (r *Raw) Unlink(a, b uint32) {
	m := &mumblepb.ChannelState{ChannelId: &a, LinksRemove: []uint32{b}}
	r.ask("unlink", m, func() bool { return !slices.Contains(r.chans[a].GetLinks(), b) })
}

// Admin returns a raw client logged in as SuperUser; the server must have been
// started with SuperUserPassword. It leaves when the test ends.
func (s *Server) Admin() *Raw {
	s.t.Helper()
	if s.opts.SuperUserPassword == "" {
		s.t.Fatal("peers: Admin needs ServerOptions.SuperUserPassword")
	}
	if s.admin == nil || s.admin.Err() != nil {
		s.admin = DialRaw(s.t, s.Addr(), "SuperUser", RawOptions{Password: s.opts.SuperUserPassword})
	}
	return s.admin
}

// MakeChannel makes a channel below the root and returns its id. See Admin.
func (s *Server) MakeChannel(name string) uint32 {
	s.t.Helper()
	return s.Admin().MakeChannel(name, 0)
}

// Link links two channels. See Admin.
func (s *Server) Link(a, b uint32) {
	s.t.Helper()
	s.Admin().Link(a, b)
}

// Quiet checks that nothing matching arrives for a while: what is heard during
// that time and matches is returned, in a test that wants none.
func (r *Raw) Quiet(d time.Duration, match func(Received) bool) []Received {
	r.Forget()
	var got []Received
	r.until(d, func() bool {
		for _, g := range r.in {
			if match(g) {
				got = append(got, g)
			}
		}
		return len(got) > 0
	})
	return got
}
