package guard

import (
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// shownName is a user's name as the client gets it: nothing in it looks like a line or
// a mark of Sotto's. The server knows it as it was, and all that the client says about
// a user goes by session or registration.
func (s *session) shownName(name string) string {
	if claimsSotto(name) {
		return "[user] " + name
	}
	if s.g.cfg.Policy == e2ee.PolicyOff || !strings.ContainsAny(name, lookAlikes) {
		return name
	}
	shown := strings.Map(func(r rune) rune {
		if strings.ContainsRune(lookAlikes, r) || r == '\ufe0f' { // which makes a picture of the sign before it
			return -1
		}
		return r
	}, name)
	if strings.TrimSpace(shown) == "" {
		return "[user]"
	}
	return strings.TrimSpace(shown)
}

// lookAlikes are signs by which a name could say that somebody is encrypted or
// checked: locks, keys, shields and ticks.
const lookAlikes = "\U0001F50F\U0001F510\U0001F511\U0001F512\U0001F513\U0001F5DD\U0001F6E1\u26BF\u2705\u2713\u2714\u2611\U0001F5F8\U0001F5F9"

// userStateDown: what the client shows as "suppressed" is the server's word or
// ours; channel passwords that a server gives away stop here.
func userStateDown(s *session, _ time.Time, m proto.Message) action {
	u := m.(*mumblepb.UserState)
	act := pass
	if len(u.TemporaryAccessTokens) > 0 {
		u.TemporaryAccessTokens = nil
		act = rewrite
	}
	if u.GetHash() != "" && s.strange(u.GetSession()) {
		u.Hash = proto.String("")
		act = rewrite
	}
	if name := s.shownName(u.GetName()); name != u.GetName() {
		u.Name = proto.String(name)
		act = rewrite
	}
	if u.Suppress != nil && s.synced && u.GetSession() == s.end.Mirror().Self() {
		held := s.held()
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
	if u.GetComment() != "" || len(u.GetTexture()) > 0 {
		s.sayPublic()
	}
	self := s.end.Mirror().Self()
	if u.UserId != nil && s.ownCertificate && (u.Session == nil || u.GetSession() == self) {
		s.say("you are registering with a certificate that is Sotto's, not your Mumble's: the name will be yours through this guard only. To keep yours, import it first: sotto identity import-mumble FILE.p12")
	}
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
