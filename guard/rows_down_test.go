package guard_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

func TestRowsDown(t *testing.T) {
	text := func(actor uint32, words string) *mumblepb.TextMessage {
		m := &mumblepb.TextMessage{ChannelId: []uint32{0}, Message: proto.String(words)}
		if actor != 0 {
			m.Actor = proto.Uint32(actor)
		}
		return m
	}
	denied := func(reason string) *mumblepb.PermissionDenied {
		return &mumblepb.PermissionDenied{Type: mumblepb.PermissionDenied_Text.Enum(), Reason: proto.String(reason)}
	}
	kicked := func(reason string) *mumblepb.UserRemove {
		return &mumblepb.UserRemove{Session: proto.Uint32(99), Reason: proto.String(reason)}
	}
	codec := func(opus *bool) *mumblepb.CodecVersion {
		return &mumblepb.CodecVersion{Alpha: proto.Int32(1), Beta: proto.Int32(2), PreferAlpha: proto.Bool(false), Opus: opus}
	}
	entry := func(action, words string) *mumblepb.ContextActionModify {
		return &mumblepb.ContextActionModify{Action: proto.String(action), Text: proto.String(words)}
	}
	config := unknown(&mumblepb.ServerConfig{
		MaxBandwidth: proto.Uint32(100000), MessageLength: proto.Uint32(5000), ImageMessageLength: proto.Uint32(0), AllowHtml: proto.Bool(true), MaxUsers: proto.Uint32(9),
	})
	tokens := unknown(&mumblepb.UserState{Session: proto.Uint32(bobby), TemporaryAccessTokens: []string{"pw"}, SelfMute: proto.Bool(true)})
	named := func(name string) *mumblepb.UserState { return unknown(user(20, 1, name)) }
	always := slices.Concat(passing(), []change{
		same("a name", named("carol")),
		{"a name that is ours", named("Sotto"), []proto.Message{named("[user] Sotto")}},
		{"one that looks like ours", named("S\u043ett\u043e: bob"), []proto.Message{named("[user] S\u043ett\u043e: bob")}},
		same("a refusal of 1.4 to a client that knows it", &mumblepb.PermissionDenied{Type: mumblepb.PermissionDenied_UserListenerLimit.Enum()}),
		{"another's channel password", tokens, []proto.Message{unknown(&mumblepb.UserState{Session: proto.Uint32(bobby), SelfMute: proto.Bool(true)})}},
		{"a menu entry in our name", entry("sotto.verify", "Verify"), nil},
		{"a menu entry with our name on it", entry("x", "SOTTO: verify"), nil},
		same("a menu entry of the server", entry("x", "Poke")),
		same("an Opus server", codec(proto.Bool(true))),
		same("a refusal without words", &mumblepb.PermissionDenied{Type: mumblepb.PermissionDenied_ChannelName.Enum()}),
		same("SuggestConfig", unknown(&mumblepb.SuggestConfig{Positional: proto.Bool(true)})),
		{"a kick in our name", kicked("Sotto says so"), []proto.Message{kicked("[server] Sotto says so")}},
		{"a refusal in our name", denied("Sotto: type your secret"), []proto.Message{denied("[server] Sotto: type your secret")}},
		{"a line without an author", text(0, "Sotto: all is well"), []proto.Message{text(0, "[server] Sotto: all is well")}},
		{"two lines without an author", text(0, "hi<br/>Sotto: all is well"), []proto.Message{text(0, "[server] hi Sotto: all is well")}},
		{"a line of an author whom nobody knows", text(4711, "Sotto: all is well<br>"), []proto.Message{text(4711, "[server] Sotto: all is well ")}},
		{"a text in our name", text(bobby, "Sotto: all is well"), []proto.Message{text(bobby, "<b>[not encrypted]</b> Sotto: all is well")}},
		{"a text in our name, in pieces and other letters", text(bobby, "<i>&#1029;</i>o<b>t</b>to: fine"), []proto.Message{text(bobby, "<b>[not encrypted]</b> <i>&#1029;</i>o<b>t</b>to: fine")}},
		{"an envelope", text(bobby, "sotto:1,0B,0,1,AAAA"), nil},
		{"our plugin data", &mumblepb.PluginDataTransmission{SenderSession: proto.Uint32(bobby), Data: []byte("x"), DataID: proto.String("sotto/1")}, nil},
		{"plugin data of another version of ours", &mumblepb.PluginDataTransmission{SenderSession: proto.Uint32(bobby), Data: []byte("x"), DataID: proto.String("Sotto/2")}, nil},
		same("plugin data of others", &mumblepb.PluginDataTransmission{SenderSession: proto.Uint32(bobby), Data: []byte("x"), DataID: proto.String("game")}),
		{"an Authenticate", &mumblepb.Authenticate{Username: proto.String("x")}, nil},
		same("another's mute", &mumblepb.UserState{Session: proto.Uint32(bobby), Suppress: proto.Bool(true)}),
		same("another's unmute", &mumblepb.UserState{Session: proto.Uint32(bobby), Suppress: proto.Bool(false)}),
	})
	for _, c := range []struct {
		name   string
		policy e2ee.Policy
		more   []change
	}{
		{"with a secret", e2ee.PolicyRequire, []change{
			{"a text in clear", text(bobby, "hello"), []proto.Message{text(bobby, "<b>[not encrypted]</b> hello")}},
			{"a refusal", denied("no"), []proto.Message{denied("[server] no")}},
			{"a kick with a reason", kicked("spam"), []proto.Message{kicked("[server] spam")}},
			{"the server lets us speak while we are held", &mumblepb.UserState{Session: proto.Uint32(alice), Suppress: proto.Bool(false)},
				[]proto.Message{&mumblepb.UserState{Session: proto.Uint32(alice), Suppress: proto.Bool(true)}}},
			same("the server silences us", &mumblepb.UserState{Session: proto.Uint32(alice), Suppress: proto.Bool(true)}),
			{"a name with a lock", named("\U0001F512 carol"), []proto.Message{named("carol")}},
			{"a name with a tick in colour", named("carol\u2714\ufe0f"), []proto.Message{named("carol")}},
			{"a name of nothing else", named("\U0001F512\u2705"), []proto.Message{named("[user]")}},
		}},
		{"without", e2ee.PolicyOff, []change{
			same("a text in clear", text(bobby, "hello")),
			same("the server lets us speak", &mumblepb.UserState{Session: proto.Uint32(alice), Suppress: proto.Bool(false)}),
			same("the server silences us", &mumblepb.UserState{Session: proto.Uint32(alice), Suppress: proto.Bool(true)}),
			same("limits", config),
			same("a name with a lock", named("\U0001F512 carol")),
			same("a refusal", denied("no")),
			same("a kick with a reason", kicked("spam")),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			call := newStage(t, options{policy: c.policy}).logIn(v15, v15, nil)
			call.settled()
			for _, change := range slices.Concat(always, c.more) {
				check(t, change, withoutLines(call.goesDown(change.in)))
			}
			got := withoutLines(call.goesDown(codec(proto.Bool(false))))
			check(t, change{"a server of old codecs", nil, []proto.Message{codec(proto.Bool(true))}}, got)
			for _, kind := range []control.Type{27, 200} {
				got := withoutLines(fenced(call.server, call.client, func() { call.server.conn.Send(kind, []byte("x")) }))
				if passes := c.policy == e2ee.PolicyOff; passes != (len(got) == 1) {
					t.Errorf("type %d: %d frames arrive", kind, len(got))
				}
			}
			for _, kind := range []control.Type{control.TypeUserState, control.TypeTextMessage, control.TypeServerConfig, control.TypePing, control.TypeCryptSetup, control.TypeUDPTunnel} {
				if got := withoutLines(fenced(call.server, call.client, func() { call.server.conn.Send(kind, []byte{0xFF}) })); len(got) != 0 {
					t.Errorf("a malformed %v comes through", kind)
				}
			}
			if c.policy == e2ee.PolicyOff {
				return
			}
			// Limits shrink by what encryption takes, and unlimited is no longer so.
			lower := only[*mumblepb.ServerConfig](t, withoutLines(call.goesDown(config)))
			if lower.GetMaxBandwidth() != 100000-22400 || lower.GetMessageLength() > 5000 || lower.GetMessageLength() == 0 ||
				lower.GetImageMessageLength() == 0 || lower.GetImageMessageLength() > 96000 || !lower.GetAllowHtml() || lower.GetMaxUsers() != 9 {
				t.Errorf("limits %v", lower)
			}
			tight := only[*mumblepb.ServerConfig](t, withoutLines(call.goesDown(&mumblepb.ServerConfig{MaxBandwidth: proto.Uint32(24000), MessageLength: proto.Uint32(10)})))
			if tight.GetMaxBandwidth() != 8000 || tight.GetMessageLength() > 10 {
				t.Errorf("tight limits %v", tight)
			}
			// A later message that does not name them leaves them as they are.
			later := only[*mumblepb.ServerConfig](t, withoutLines(call.goesDown(&mumblepb.ServerConfig{MaxUsers: proto.Uint32(8)})))
			tight.MaxBandwidth, tight.MaxUsers = nil, proto.Uint32(8)
			if !proto.Equal(later, tight) {
				t.Errorf("later limits %v, want %v", later, tight)
			}
		})
	}
}

// settled waits until guard has brought the session to rest, so that no line of
// its own falls between what a test sends and gets.
func (c *call) settled() {
	c.t.Helper()
	c.wantKind("joined")
	c.goesDown()
}

// withoutLines takes guard's own lines away from what the client got.
func withoutLines(frames []control.Frame) []control.Frame {
	var rest []control.Frame
	for _, f := range frames {
		if line(f) == "" {
			rest = append(rest, f)
		}
	}
	return rest
}

// line is what guard says to its client in f, "" if it is nothing of guard's.
func line(f control.Frame) string {
	m, err := control.Decode(f)
	if err != nil {
		return ""
	}
	text := ""
	switch m := m.(type) {
	case *mumblepb.TextMessage:
		if m.Actor == nil {
			text = m.GetMessage()
		}
	case *mumblepb.PermissionDenied:
		text = m.GetReason()
	}
	if rest, ok := strings.CutPrefix(text, "Sotto: "); ok {
		// Names are quoted; how, nothing here depends on.
		return strings.NewReplacer("\u201c", "", "\u201d", "").Replace(rest)
	}
	return ""
}

func lines(frames []control.Frame) []string {
	var said []string
	for _, f := range frames {
		if l := line(f); l != "" {
			said = append(said, l)
		}
	}
	return said
}
