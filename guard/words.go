package guard

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// Rows of the table about words that the server chose: refusals and kicks.

// newDenials are refusals that clients before 1.4 do not know. A server words them for
// those, and for guard, which announces 1.5 for such a client, it does not
// (src/murmur/Messages.cpp, PERM_DENIED_FALLBACK).
var newDenials = map[mumblepb.PermissionDenied_DenyType]string{
	mumblepb.PermissionDenied_ChannelListenerLimit: "This channel takes no more listeners",
	mumblepb.PermissionDenied_UserListenerLimit:    "You may not listen to more channels than you do",
}

// deniedDown: a refusal in free words is marked as the server's, so that one
// that speaks for Sotto is only ever ours.
func deniedDown(s *session, _ time.Time, m proto.Message) action {
	d := m.(*mumblepb.PermissionDenied)
	if words, ok := newDenials[d.GetType()]; ok && d.GetReason() == "" && s.down.version < version14 {
		d.Reason = proto.String(words)
		return rewrite
	}
	if d.GetReason() == "" || s.g.cfg.Policy == e2ee.PolicyOff && !claimsSotto(d.GetReason()) {
		return pass
	}
	d.Reason = proto.String("[server] " + filterLine(d.GetReason()))
	return rewrite
}

// ghostKick is what Murmur says to who is replaced by somebody with the same
// certificate (src/murmur/Messages.cpp, Server::msgAuthenticate).
const ghostKick = "You connected to the server from another device"

// removeDown: the reason of a kick likewise. When it is our own, a stock client does
// not come back by itself; who came in our place may be the person, without guard.
func removeDown(s *session, _ time.Time, m proto.Message) action {
	u := m.(*mumblepb.UserRemove)
	if s.synced && u.GetSession() == s.end.Mirror().Self() {
		s.removed(u)
	}
	if u.GetReason() == "" || s.g.cfg.Policy == e2ee.PolicyOff && !claimsSotto(u.GetReason()) {
		return pass
	}
	u.Reason = proto.String("[server] " + filterLine(u.GetReason()))
	return rewrite
}

// removed says that the server removes the client, or its older self; each once,
// for who says it again has nothing new to say.
func (s *session) removed(u *mumblepb.UserRemove) {
	if !s.kicked {
		s.kicked = true
		s.g.emit(events.Event{Event: "kicked", Reason: u.GetReason()})
	}
	if !s.ghosted && u.Actor == nil && u.GetReason() == ghostKick {
		s.ghosted = true
		s.down.say("the server says that somebody came with your certificate, and has ended this connection. If it was you: that Mumble is not going through Sotto.")
		// The likeliest other device is the same Mumble on its old favourite.
		s.g.emit(events.Event{Event: "elsewhere", Text: "somebody has connected to the server with your certificate or name. " +
			"If that was your Mumble, it went around Sotto and what you say there is not protected: disconnect it, and connect to guard"})
	}
}
