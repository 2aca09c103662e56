package simnet

import (
	"bytes"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// receive takes one control message of a client, in the order of its stream.
func (s *Server) receive(c *conn, m proto.Message) {
	if !c.up {
		return
	}
	s.counters.Control++
	u := s.user(c.session)
	if u == nil || u.conn != c {
		return
	}
	if s.log != nil {
		s.log.line("server", "< %d %s", c.session, describe(m))
	}
	if most := s.profile.MaxControl; most > 0 && proto.Size(m) > most {
		s.dropped.ControlSize++
		s.remove(u, "message too long", true)
		return
	}
	switch m := m.(type) {
	case *mumblepb.PluginDataTransmission:
		s.plugin(u, m)
	case *mumblepb.TextMessage:
		s.text(u, m)
	case *mumblepb.UserState:
		s.userState(u, m)
	case *mumblepb.ChannelState:
		s.channelState(u, m)
	case *mumblepb.UserRemove:
		if u.admin {
			s.Kick(m.GetSession(), m.GetReason())
		} else {
			s.denied(u, mumblepb.PermissionDenied_Permission, 0x10000, "")
		}
	case *mumblepb.VoiceTarget:
		u.register(m)
	case *mumblepb.Ping:
		s.tell(u, 0, 0, &mumblepb.Ping{Timestamp: m.Timestamp})
	case *mumblepb.PermissionQuery:
		s.tell(u, 0, 0, &mumblepb.PermissionQuery{ChannelId: m.ChannelId, Permissions: proto.Uint32(0x8000B0E)})
	default:
		s.counters.Ignored++
	}
}

// plugin relays plugin data to those listed, once each, with the sender named.
// One message costs one token whatever its receivers.
func (s *Server) plugin(u *user, m *mumblepb.PluginDataTransmission) {
	if !s.profile.PluginRelay {
		s.dropped.Unrelayed++
		return
	}
	if !u.plugin.take(s.clock.Now(), s.profile.Plugin) {
		s.dropped.PluginRate++
		s.log.line("server", "drops plugin data of %d: rate", u.session)
		return
	}
	if m.Data == nil || m.DataID == nil || len(m.Data) > 1000 || len(m.GetDataID()) > 100 {
		s.dropped.PluginSize++
		return
	}
	s.relay(u, &mumblepb.PluginDataTransmission{
		SenderSession: proto.Uint32(u.session), Data: m.Data, DataID: m.DataID,
	}, m.ReceiverSessions)
}

// userState is a client's wish about itself or another user.
func (s *Server) userState(u *user, m *mumblepb.UserState) {
	if m.Session != nil && m.GetSession() != u.session {
		s.stateOfOther(u, m)
		return
	}
	if !u.control.take(s.clock.Now(), s.profile.Control) {
		s.dropped.ControlRate++
		s.log.line("server", "drops a state of %d: rate", u.session)
		return
	}
	if m.Mute != nil || m.Deaf != nil || m.Suppress != nil || m.PrioritySpeaker != nil {
		s.denied(u, mumblepb.PermissionDenied_Permission, 0x10, "")
		return
	}
	if m.Name != nil {
		s.denied(u, mumblepb.PermissionDenied_UserName, 0, "")
		return
	}
	if m.ChannelId != nil && (s.channels[m.GetChannelId()] == nil || m.GetChannelId() == u.channel) {
		return // the whole message is dropped without a word
	}
	if m.PluginContext != nil && !bytes.Equal(u.context, m.PluginContext) {
		u.context = bytes.Clone(m.PluginContext)
	}
	out := u.effects(m, s.profile.Listeners)
	if s.profile.PassForged { // whatever nobody checked
		out.Hash, out.CommentHash, out.TextureHash, out.TemporaryAccessTokens = m.Hash, m.CommentHash, m.TextureHash, m.TemporaryAccessTokens
	}
	if proto.Equal(out, &mumblepb.UserState{}) {
		return // nothing that others are told
	}
	out.Session, out.Actor = proto.Uint32(u.session), proto.Uint32(u.session)
	for _, id := range m.ListeningChannelAdd {
		if s.profile.Listeners && s.channels[id] != nil {
			u.listens = with(u.listens, id)
		}
	}
	for _, id := range m.ListeningChannelRemove {
		u.listens = without(u.listens, id)
	}
	s.version++
	if m.ChannelId != nil {
		s.enter(u, m.GetChannelId())
	}
	s.broadcast(out)
}

// effects applies the flags of m and returns what others are told. Deaf
// includes mute, and who speaks again hears again.
func (u *user) effects(m *mumblepb.UserState, listeners bool) *mumblepb.UserState {
	out := &mumblepb.UserState{ChannelId: m.ChannelId, SelfMute: m.SelfMute, SelfDeaf: m.SelfDeaf, Comment: m.Comment, Recording: m.Recording}
	if listeners {
		out.ListeningChannelAdd, out.ListeningChannelRemove = m.ListeningChannelAdd, m.ListeningChannelRemove
	}
	switch {
	case m.SelfDeaf != nil && m.GetSelfDeaf():
		out.SelfMute = proto.Bool(true)
	case m.SelfMute != nil && !m.GetSelfMute():
		out.SelfDeaf = proto.Bool(false)
	}
	if out.SelfMute != nil {
		u.selfMute = out.GetSelfMute()
	}
	if out.SelfDeaf != nil {
		u.selfDeaf = out.GetSelfDeaf()
	}
	return out
}

// stateOfOther moves, mutes or deafens somebody else: administrators only.
func (s *Server) stateOfOther(u *user, m *mumblepb.UserState) {
	v := s.user(m.GetSession())
	if v == nil {
		return
	}
	if !u.admin || m.SelfMute != nil || m.SelfDeaf != nil || m.Name != nil {
		s.denied(u, mumblepb.PermissionDenied_Permission, 0x20, "")
		return
	}
	if m.ChannelId != nil && (s.channels[m.GetChannelId()] == nil || m.GetChannelId() == v.channel) {
		return
	}
	out := &mumblepb.UserState{Session: m.Session, Actor: proto.Uint32(u.session), ChannelId: m.ChannelId, Mute: m.Mute, Deaf: m.Deaf, Suppress: m.Suppress}
	for _, f := range []struct {
		to   *bool
		from *bool
	}{{&v.mute, m.Mute}, {&v.deaf, m.Deaf}, {&v.suppress, m.Suppress}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if m.ChannelId != nil {
		s.enter(v, m.GetChannelId())
	}
	s.broadcast(out)
}

// channelState makes a temporary channel, as everybody may, or changes one, as
// administrators may.
func (s *Server) channelState(u *user, m *mumblepb.ChannelState) {
	if m.ChannelId == nil {
		if !u.control.take(s.clock.Now(), s.profile.Control) {
			s.dropped.ControlRate++
			return
		}
		if s.channels[m.GetParent()] == nil || m.GetName() == "" {
			return
		}
		if !m.GetTemporary() && !u.admin {
			s.denied(u, mumblepb.PermissionDenied_Permission, 0x40, "")
			return
		}
		id := s.AddChannel(m.GetParent(), m.GetName())
		if c := s.channels[id]; m.GetTemporary() {
			c.temporary = true
			s.Move(u.session, id)
		}
		return
	}
	if s.channels[m.GetChannelId()] == nil {
		return
	}
	if !u.admin {
		s.denied(u, mumblepb.PermissionDenied_Permission, 0x1, "")
		return
	}
	if m.Name != nil {
		s.RenameChannel(m.GetChannelId(), m.GetName())
	}
	for _, l := range slices.Clone(m.LinksAdd) {
		s.Link(m.GetChannelId(), l, true)
	}
	for _, l := range slices.Clone(m.LinksRemove) {
		s.Link(m.GetChannelId(), l, false)
	}
}

func (s *Server) denied(u *user, why mumblepb.PermissionDenied_DenyType, permission uint32, reason string) {
	m := &mumblepb.PermissionDenied{Type: &why, Session: proto.Uint32(u.session)}
	if permission != 0 {
		m.Permission, m.ChannelId = proto.Uint32(permission), proto.Uint32(u.channel)
	}
	if reason != "" {
		m.Reason = proto.String(reason)
	}
	s.tell(u, 0, 0, m)
}
