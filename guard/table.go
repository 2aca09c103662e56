package guard

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// action is what becomes of one control message.
type action uint8

const (
	pass    action = iota // the received bytes, unchanged
	rewrite               // the message as the row has changed it
	drop                  // nothing: it was ours, or it would leak
)

// treat looks at a decoded message of one direction and may change it.
type treat func(s *session, now time.Time, m proto.Message) action

// row is one line of the table: what happens to a message type on its way down
// to the client and up to the server. A nil entry passes the received bytes.
type row struct {
	down, up treat
}

// table is the whole of guard's control channel. What stands in it with a
// function could carry voice, text, plugin data or position in clear, or would
// mislead the client about the leg it is on; all else passes byte for byte.
// A type that is not in the table is dropped in both directions unless policy
// is off: a newer client's messages could hold what must not leave.
//
// Ping and CryptSetup end at each leg, UDPTunnel is voice: none of them gets here.
var table = map[control.Type]row{
	control.TypeVersion:                {down: versionDown, up: swallow},
	control.TypeAuthenticate:           {down: swallow, up: tokensUp},
	control.TypeReject:                 {down: rejectDown, up: serverOnly},
	control.TypeServerSync:             {down: serverSyncDown, up: serverOnly},
	control.TypeChannelRemove:          {},
	control.TypeChannelState:           {up: channelStateUp},
	control.TypeUserRemove:             {down: removeDown},
	control.TypeUserState:              {down: userStateDown, up: userStateUp},
	control.TypeBanList:                {},
	control.TypeTextMessage:            {down: textDown, up: textUp},
	control.TypePermissionDenied:       {down: deniedDown, up: serverOnly},
	control.TypeACL:                    {up: spendsText},
	control.TypeQueryUsers:             {},
	control.TypeContextActionModify:    {down: actionModifyDown, up: serverOnly},
	control.TypeContextAction:          {up: actionUp},
	control.TypeUserList:               {},
	control.TypeVoiceTarget:            {up: voiceTargetUp},
	control.TypePermissionQuery:        {},
	control.TypeCodecVersion:           {down: codecVersionDown, up: serverOnly},
	control.TypeUserStats:              {},
	control.TypeRequestBlob:            {},
	control.TypeServerConfig:           {down: serverConfigDown, up: serverOnly},
	control.TypeSuggestConfig:          {up: serverOnly},
	control.TypePluginDataTransmission: {down: pluginDataDown, up: pluginDataUp},
}

// tableStats counts control messages that went nowhere.
type tableStats struct {
	Malformed, Unknown uint64
}

// controlDown takes one control message of the server: first the endpoint
// learns from it, then its row decides what the client gets.
func (s *session) controlDown(now time.Time, f control.Frame) error {
	r, known := table[f.Type]
	if !known {
		s.unknown(now, f, s.down.conn.Send)
		return nil
	}
	m, err := control.Decode(f)
	if err != nil {
		s.tableStats.Malformed++
		return nil
	}
	fate, changes, err := s.end.FromServer(now, m)
	if err != nil {
		return err
	}
	if fate == endpoint.Pass {
		act := pass
		if r.down != nil {
			act = r.down(s, now, m)
		}
		switch act {
		case pass:
			s.down.conn.Send(f.Type, f.Body)
		case rewrite:
			s.sendRewritten(s.down.conn.SendMessage, m)
		case drop:
		}
	}
	s.changed(now, changes)
	if f.Type == control.TypeServerSync {
		s.welcome(now)
	}
	s.drain()
	return nil
}

// controlUp takes one control message of the client.
func (s *session) controlUp(now time.Time, f control.Frame) {
	r, known := table[f.Type]
	if !known {
		s.unknown(now, f, s.up.Send)
		return
	}
	if r.up == nil {
		s.up.Send(f.Type, f.Body)
		return
	}
	m, err := control.Decode(f)
	if err != nil {
		s.tableStats.Malformed++
		return
	}
	switch r.up(s, now, m) {
	case pass:
		s.up.Send(f.Type, f.Body)
	case rewrite:
		control.DropUnknown(m) // what we do not know could be what must not leave
		s.sendRewritten(s.up.SendMessage, m)
	case drop:
	}
	s.drain()
}

func (s *session) unknown(now time.Time, f control.Frame, forward func(control.Type, []byte) bool) {
	if s.g.cfg.Policy == e2ee.PolicyOff {
		forward(f.Type, f.Body)
		return
	}
	s.tableStats.Unknown++
	s.sayRarely(now, "unknown", false, "a message of a kind that Sotto does not know was not passed on.")
}

// sendRewritten sends what a row has changed. One that no longer fits a frame goes
// nowhere: it would end the connection.
func (s *session) sendRewritten(send func(proto.Message) bool, m proto.Message) {
	if proto.Size(m) > control.MaxLen {
		s.tableStats.Malformed++
		return
	}
	send(m)
}

func swallow(*session, time.Time, proto.Message) action { return drop }

// spendsText: the server counts it against the same allowance as texts.
func spendsText(s *session, now time.Time, _ proto.Message) action {
	s.end.Spent(now, 1)
	return pass
}

// channelStateUp: descriptions are for all to read. Who makes a temporary channel is
// moved into it.
func channelStateUp(s *session, now time.Time, m proto.Message) action {
	c := m.(*mumblepb.ChannelState)
	if c.GetDescription() != "" {
		s.sayPublic()
	}
	if c.ChannelId == nil && c.GetTemporary() {
		s.end.LocalCreate(now, c.GetParent(), c.GetName())
	}
	return spendsText(s, now, m)
}

// sayPublic says once that comments, avatars and descriptions are not encrypted.
func (s *session) sayPublic() {
	if s.g.cfg.Policy == e2ee.PolicyOff || s.g.publicSaid {
		return
	}
	s.g.publicSaid = s.say("everybody on the server can read comments, pictures and descriptions; Sotto does not encrypt them.")
}

// actionModifyDown: menu entries that claim to be Sotto's are only ever ours.
func actionModifyDown(_ *session, _ time.Time, m proto.Message) action {
	a := m.(*mumblepb.ContextActionModify)
	if claimsSotto(a.GetAction()) || claimsSotto(a.GetText()) {
		return drop
	}
	return pass
}

// serverOnly: no client sends these. What one would hold could be anything.
func serverOnly(s *session, _ time.Time, _ proto.Message) action {
	if s.g.cfg.Policy == e2ee.PolicyOff {
		return pass
	}
	return drop
}

func actionUp(_ *session, _ time.Time, m proto.Message) action {
	if claimsSotto(m.(*mumblepb.ContextAction).GetAction()) {
		return drop
	}
	return pass
}

// codecVersionDown: newer clients leave when Opus is not announced, and while
// we encrypt it is the only codec anyway.
func codecVersionDown(s *session, now time.Time, m proto.Message) action {
	c := m.(*mumblepb.CodecVersion)
	if c.GetOpus() {
		return pass
	}
	c.Opus = proto.Bool(true)
	s.sayRarely(now, "codec", false, "the server asked for an old codec; Sotto stays with Opus.")
	return rewrite
}

// voiceTargetUp: the server learns explicit sessions only, and only when they
// are known; see endpoint.SetTarget.
func voiceTargetUp(s *session, now time.Time, m proto.Message) action {
	if s.g.cfg.Policy == e2ee.PolicyOff {
		return pass
	}
	s.end.SetTarget(now, m.(*mumblepb.VoiceTarget))
	return drop
}

// pluginDataDown: what claims to be ours, of another version perhaps, is not for the
// client's plugins. What is ours was taken before.
func pluginDataDown(s *session, _ time.Time, m proto.Message) action {
	p := m.(*mumblepb.PluginDataTransmission)
	if claimsSotto(p.GetDataID()) {
		return drop
	}
	if g := s.end.Groups(); g != nil && g.IsMember(p.GetSenderSession()) {
		return drop // a member's comes encrypted; in clear it would be the server's word
	}
	return pass
}

// pluginDataUp: other programs' plugin data is the person's content, and goes as a
// private text would; what claims to be ours never leaves.
func pluginDataUp(s *session, now time.Time, m proto.Message) action {
	p := m.(*mumblepb.PluginDataTransmission)
	if claimsSotto(p.GetDataID()) {
		return drop
	}
	if s.g.cfg.Policy == e2ee.PolicyOff {
		return pass
	}
	s.end.SendPlugin(now, p)
	return drop
}
