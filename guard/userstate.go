package guard

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// userStateDown: what the client shows as "suppressed" is the server's word or
// ours; channel passwords that a server gives away stop here.
func userStateDown(s *session, _ time.Time, m proto.Message) action {
	u := m.(*mumblepb.UserState)
	act := pass
	if len(u.TemporaryAccessTokens) > 0 {
		u.TemporaryAccessTokens = nil
		act = rewrite
	}
	if u.Suppress != nil && s.synced && u.GetSession() == s.end.Mirror().Self() {
		held := s.end.Leave() == e2ee.LeaveNothing
		s.braked = held
		if held && !u.GetSuppress() {
			u.Suppress = proto.Bool(true)
			act = rewrite
		}
	}
	return act
}

// userStateUp: the positional context and identity stay here (guard compares
// contexts by a keyed tag inside the ciphertext), and so do channel passwords,
// which servers since 1.5 tell to everybody. A move closes the gate first.
func userStateUp(s *session, now time.Time, m proto.Message) action {
	u := m.(*mumblepb.UserState)
	act := pass
	if u.PluginContext != nil || u.PluginIdentity != nil {
		if u.PluginContext != nil {
			s.end.PluginContext(now, u.GetPluginContext())
		}
		u.PluginContext, u.PluginIdentity = nil, nil
		act = rewrite
	}
	tokens := u.TemporaryAccessTokens
	if len(tokens) > 0 {
		u.TemporaryAccessTokens = nil
		act = rewrite
	}
	if says(u) == 0 {
		return drop // it held nothing else
	}
	self := s.end.Mirror().Self()
	if u.ChannelId != nil && (u.Session == nil || u.GetSession() == self) {
		s.end.LocalMove(now, u.GetChannelId())
	}
	s.end.Spent(now, 1)
	if len(tokens) == 0 {
		return act
	}
	// The join with a password: the tokens travel in an Authenticate, which is
	// not told to others, before the join; and are taken back after it.
	all := append(append([]string{}, s.tokens...), tokens...)
	control.DropUnknown(u)
	s.up.SendMessage(&mumblepb.Authenticate{Tokens: all, Opus: proto.Bool(true)})
	s.up.SendMessage(u)
	s.up.SendMessage(&mumblepb.Authenticate{Tokens: s.tokens, Opus: proto.Bool(true)})
	return drop
}

// says counts the fields of a UserState that say something: all but whom it
// is about, and what we do not know.
func says(u *mumblepb.UserState) int {
	n := proto.CloneOf(u)
	n.Session, n.Actor = nil, nil
	n.ProtoReflect().SetUnknown(nil)
	return proto.Size(n)
}
