package guard_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

var (
	v13 = control.MakeVersion(1, 3, 4)
	v15 = control.MakeVersion(1, 5, 735)
)

// unknown adds a field that no version we know has.
func unknown[T proto.Message](m T) T {
	b := protowire.AppendTag(nil, 9999, protowire.BytesType)
	m.ProtoReflect().SetUnknown(protowire.AppendBytes(b, []byte("tomorrow's field")))
	return m
}

// change is one line of a row's test: what is sent, and what arrives instead; nil:
// nothing does. Equal to in means: byte for byte.
type change struct {
	name string
	in   proto.Message
	want []proto.Message
}

// same is a change that changes nothing.
func same(name string, m proto.Message) change { return change{name, m, []proto.Message{m}} }

func check(t *testing.T, c change, got []control.Frame) {
	t.Helper()
	var kinds []control.Type
	for _, f := range got {
		kinds = append(kinds, f.Type)
	}
	if len(got) != len(c.want) {
		t.Errorf("%s: %v arrive, want %d messages", c.name, kinds, len(c.want))
		return
	}
	for i, want := range c.want {
		frame, err := control.AppendMessage(nil, want)
		if err != nil {
			t.Fatal(err)
		}
		m, err := control.Decode(got[i])
		if err != nil || !proto.Equal(m, want) {
			t.Errorf("%s: got %v %v, %v\nwant %v", c.name, got[i].Type, m, err, want)
		}
		if want == c.in && !bytes.Equal(control.AppendFrame(nil, got[i].Type, got[i].Body), frame) {
			t.Errorf("%s: the bytes changed", c.name)
		}
	}
}

// passing are messages that go both ways untouched, with fields nobody knows yet.
func passing() []change {
	return []change{
		same("ChannelRemove", unknown(&mumblepb.ChannelRemove{ChannelId: proto.Uint32(44)})),
		same("ChannelState", unknown(&mumblepb.ChannelState{ChannelId: proto.Uint32(1), Description: proto.String("d"), LinksAdd: []uint32{0}})),
		same("UserRemove", unknown(&mumblepb.UserRemove{Session: proto.Uint32(99), Ban: proto.Bool(true)})),
		same("BanList", unknown(&mumblepb.BanList{Query: proto.Bool(true), Bans: []*mumblepb.BanList_BanEntry{{Address: []byte{1}, Mask: proto.Uint32(8)}}})),
		same("ACL", unknown(&mumblepb.ACL{ChannelId: proto.Uint32(0), Query: proto.Bool(true)})),
		same("QueryUsers", unknown(&mumblepb.QueryUsers{Names: []string{"x"}})),
		same("UserList", unknown(&mumblepb.UserList{Users: []*mumblepb.UserList_User{{UserId: proto.Uint32(1), Name: proto.String("x")}}})),
		same("PermissionQuery", unknown(&mumblepb.PermissionQuery{ChannelId: proto.Uint32(0), Flush: proto.Bool(true)})),
		same("UserStats", unknown(&mumblepb.UserStats{Session: proto.Uint32(8), StatsOnly: proto.Bool(true)})),
		same("RequestBlob", unknown(&mumblepb.RequestBlob{SessionComment: []uint32{8}})),
		same("a ContextAction of others", unknown(&mumblepb.ContextAction{Session: proto.Uint32(8), Action: proto.String("poke")})),
		same("a UserState without anything of ours", unknown(&mumblepb.UserState{Session: proto.Uint32(alice), SelfMute: proto.Bool(true), SelfDeaf: proto.Bool(false)})),
		same("a comment", &mumblepb.UserState{Session: proto.Uint32(alice), Comment: proto.String("c"), Texture: []byte{1, 2}}),
	}
}

func TestRowsUp(t *testing.T) {
	auth := func(tokens ...string) proto.Message {
		return &mumblepb.Authenticate{Tokens: tokens, Opus: proto.Bool(true)}
	}
	suggest := unknown(&mumblepb.SuggestConfig{Positional: proto.Bool(true)})
	hello := &mumblepb.TextMessage{ChannelId: []uint32{0}, Message: proto.String("hello")}
	group := &mumblepb.VoiceTarget{Id: proto.Uint32(1), Targets: []*mumblepb.VoiceTarget_Target{{ChannelId: proto.Uint32(0), Group: proto.String("admin")}}}
	whisper := unknown(&mumblepb.VoiceTarget{Id: proto.Uint32(2), Targets: []*mumblepb.VoiceTarget_Target{{Session: []uint32{bobby}}}})
	foreign := &mumblepb.PluginDataTransmission{ReceiverSessions: []uint32{bobby}, Data: []byte("x"), DataID: proto.String("game")}
	always := slices.Concat(passing(), []change{
		{"plugin context and identity alone", &mumblepb.UserState{
			Session: proto.Uint32(alice), PluginContext: []byte("game"), PluginIdentity: proto.String("me"),
		}, nil},
		{"a context that is taken back", &mumblepb.UserState{PluginContext: []byte{}}, nil},
		{"plugin context beside something else", unknown(&mumblepb.UserState{
			Session: proto.Uint32(alice), SelfMute: proto.Bool(true), PluginContext: []byte("game"), PluginIdentity: proto.String("me"),
		}), []proto.Message{&mumblepb.UserState{Session: proto.Uint32(alice), SelfMute: proto.Bool(true)}}},
		{"a join with a password", &mumblepb.UserState{
			Session: proto.Uint32(alice), ChannelId: proto.Uint32(1), TemporaryAccessTokens: []string{"pw1", "pw2"},
		}, []proto.Message{
			auth("t1", "pw1", "pw2"), &mumblepb.UserState{Session: proto.Uint32(alice), ChannelId: proto.Uint32(1)}, auth("t1"),
		}},
		{"tokens without a join", &mumblepb.UserState{Session: proto.Uint32(alice), TemporaryAccessTokens: []string{"pw1"}}, nil},
		{"other tokens", &mumblepb.Authenticate{Tokens: []string{"t2"}}, []proto.Message{auth("t2")}},
		{"a join after other tokens", &mumblepb.UserState{ChannelId: proto.Uint32(0), TemporaryAccessTokens: []string{"pw"}},
			[]proto.Message{auth("t2", "pw"), &mumblepb.UserState{ChannelId: proto.Uint32(0)}, auth("t2")}},
		same("a kick with a reason", unknown(&mumblepb.UserRemove{Session: proto.Uint32(99), Reason: proto.String("r")})),
		{"a second Version", &mumblepb.Version{Release: proto.String("x")}, nil},
		{"a ContextAction of ours", &mumblepb.ContextAction{Action: proto.String("Sotto.verify")}, nil},
		{"plugin data that claims to be ours", &mumblepb.PluginDataTransmission{ReceiverSessions: []uint32{bobby}, Data: []byte("x"), DataID: proto.String("sotto/1")}, nil},
		{"a command", &mumblepb.TextMessage{ChannelId: []uint32{0}, Message: proto.String(" /sotto status ")}, nil},
	})
	for _, c := range []struct {
		name   string
		policy e2ee.Policy
		more   []change
	}{
		{"with a secret", e2ee.PolicyRequire, []change{
			{"a text while held", hello, nil},
			{"a private text to somebody without", &mumblepb.TextMessage{Session: []uint32{bobby}, Message: proto.String("hello")}, nil},
			{"a target with a group", group, nil},
			{"a target", whisper, []proto.Message{&mumblepb.VoiceTarget{Id: proto.Uint32(2), Targets: []*mumblepb.VoiceTarget_Target{{Session: []uint32{bobby}}}}}},
			{"plugin data of others", foreign, nil},
			{"what only servers send: SuggestConfig", suggest, nil},
			{"ServerConfig", &mumblepb.ServerConfig{WelcomeText: proto.String("x")}, nil},
			{"ServerSync", &mumblepb.ServerSync{WelcomeText: proto.String("x")}, nil},
			{"PermissionDenied", &mumblepb.PermissionDenied{Reason: proto.String("x")}, nil},
			{"Reject", &mumblepb.Reject{Reason: proto.String("x")}, nil},
			{"CodecVersion", &mumblepb.CodecVersion{Alpha: proto.Int32(1), Beta: proto.Int32(1), PreferAlpha: proto.Bool(true)}, nil},
			{"ContextActionModify", &mumblepb.ContextActionModify{Action: proto.String("x")}, nil},
		}},
		{"without", e2ee.PolicyOff, []change{
			same("a text", hello),
			same("a private text", &mumblepb.TextMessage{Session: []uint32{bobby}, Message: proto.String("hello")}),
			same("a text that only begins like a command", &mumblepb.TextMessage{ChannelId: []uint32{0}, Message: proto.String("/sottovoce")}),
			same("a target with a group", group),
			same("a target", whisper),
			same("plugin data of others", foreign),
			same("what only servers send", suggest),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			call := newStage(t, options{policy: c.policy}).logIn(v15, v15, nil)
			for _, change := range slices.Concat(always, c.more) {
				check(t, change, withoutOwn(call.goesUp(change.in)))
			}
			var plain []byte
			for _, kind := range []control.Type{27, 200, 65535} {
				got := withoutOwn(fenced(call.client, call.server, func() { call.client.conn.Send(kind, []byte("x")) }))
				if passes := c.policy == e2ee.PolicyOff; passes != (len(got) == 1) {
					t.Errorf("type %d: %d frames arrive", kind, len(got))
				} else if passes {
					plain = got[0].Body
				}
			}
			if c.policy == e2ee.PolicyOff && string(plain) != "x" {
				t.Errorf("an unknown message arrives as %q", plain)
			}
			for _, kind := range []control.Type{control.TypeUserState, control.TypeTextMessage, control.TypeVoiceTarget, control.TypePing, control.TypeCryptSetup, control.TypeUDPTunnel} {
				if c.policy == e2ee.PolicyOff && kind == control.TypeVoiceTarget {
					continue // nothing is read of it then
				}
				if got := withoutOwn(fenced(call.client, call.server, func() { call.client.conn.Send(kind, []byte{0xFF}) })); len(got) != 0 {
					t.Errorf("a malformed %v comes through", kind)
				}
			}
		})
	}
}

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
	always := slices.Concat(passing(), []change{
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
		{"an envelope", text(bobby, "sotto:1,0B,0,1,AAAA"), nil},
		{"our plugin data", &mumblepb.PluginDataTransmission{SenderSession: proto.Uint32(bobby), Data: []byte("x"), DataID: proto.String("sotto/1")}, nil},
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
		}},
		{"without", e2ee.PolicyOff, []change{
			same("a text in clear", text(bobby, "hello")),
			same("the server lets us speak", &mumblepb.UserState{Session: proto.Uint32(alice), Suppress: proto.Bool(false)}),
			same("the server silences us", &mumblepb.UserState{Session: proto.Uint32(alice), Suppress: proto.Bool(true)}),
			same("limits", config),
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

// What is refused is said, once.
func TestRefusalsAreSaid(t *testing.T) {
	call := newStage(t, options{policy: e2ee.PolicyRequire}).logIn(v15, v15, nil)
	call.settled()
	for _, c := range []struct {
		name string
		do   func()
		want string
	}{
		{"a text while held", func() {
			call.client.send(&mumblepb.TextMessage{ChannelId: []uint32{0}, Message: proto.String("x")})
		}, "your message was not sent"},
		{"plugin data", func() {
			for range 20 {
				call.client.send(&mumblepb.PluginDataTransmission{ReceiverSessions: []uint32{bobby}, Data: []byte("x"), DataID: proto.String("game")})
			}
		}, "plugins was not sent"},
		{"an unknown message", func() {
			for range 20 {
				call.client.conn.Send(99, nil)
			}
		}, "does not know"},
		{"a command", func() {
			call.client.send(&mumblepb.TextMessage{Message: proto.String("/sotto")})
		}, "microphone is held"},
	} {
		// Up to the server and back down: what guard says in between has come then.
		fenced(call.client, call.server, c.do)
		said := lines(call.goesDown())
		if len(said) != 1 || !strings.Contains(said[0], c.want) {
			t.Errorf("%s: guard says %q", c.name, said)
		}
	}
}

// A login is rewritten where it must be, and not elsewhere.
func TestRowsOfLogin(t *testing.T) {
	for _, policy := range []e2ee.Policy{e2ee.PolicyRequire, e2ee.PolicyOff} {
		t.Run(policy.String(), func(t *testing.T) {
			c := newStage(t, options{policy: policy}).logIn(v13, v15, nil)
			want := &mumblepb.Authenticate{Username: proto.String("alice"), Password: proto.String("pw"), Tokens: []string{"t1"}, Opus: proto.Bool(true)}
			if !proto.Equal(c.login, want) {
				t.Errorf("login %v", c.login)
			}
			if c.shown.GetRelease() != "test via Sotto" || control.VersionOf(c.shown) != v15 {
				t.Errorf("shown %v", c.shown)
			}
			bandwidth := uint32(72000)
			if policy != e2ee.PolicyOff {
				bandwidth -= 22400
			}
			if c.sync.GetSession() != alice || c.sync.GetMaxBandwidth() != bandwidth ||
				!strings.HasPrefix(c.sync.GetWelcomeText(), "Connected through Sotto") || !strings.HasSuffix(c.sync.GetWelcomeText(), "hi") {
				t.Errorf("ServerSync %v", c.sync)
			}
			// The brake is on before the client may speak at all.
			braked := false
			for _, f := range c.before {
				m, err := control.Decode(f)
				if err != nil {
					t.Fatal(err)
				}
				if u, ok := m.(*mumblepb.UserState); ok && u.GetSession() == alice && u.GetSuppress() {
					braked = true
				}
			}
			if braked != (policy != e2ee.PolicyOff) {
				t.Errorf("braked before ServerSync: %v", braked)
			}
		})
	}
}

// The stock client ignores the reason of some refusals, so they become others.
func TestRowReject(t *testing.T) {
	cert := selfSigned(t, "alice")
	for _, c := range []struct {
		name string
		user string
		in   mumblepb.Reject_RejectType
		want mumblepb.Reject_RejectType
		say  string // part of the reason; "": as sent
	}{
		{"a registered name", "alice", mumblepb.Reject_WrongUserPW, mumblepb.Reject_None, "import-mumble"},
		{"SuperUser's password", "SuperUser", mumblepb.Reject_WrongUserPW, mumblepb.Reject_WrongUserPW, ""},
		{"a certificate is wanted", "alice", mumblepb.Reject_NoCertificate, mumblepb.Reject_None, "certificate"},
		{"the server's password", "alice", mumblepb.Reject_WrongServerPW, mumblepb.Reject_WrongServerPW, ""},
		{"a full server", "alice", mumblepb.Reject_ServerFull, mumblepb.Reject_ServerFull, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, options{policy: e2ee.PolicyRequire})
			client := s.connect(&cert)
			client.send(version(v15), &mumblepb.Authenticate{Username: proto.String(c.user)})
			server := s.upstream()
			server.send(version(v15))
			until[*mumblepb.Authenticate](server)
			server.send(&mumblepb.Reject{Type: c.in.Enum(), Reason: proto.String("go away")})
			r, _ := until[*mumblepb.Reject](client)
			if r.GetType() != c.want || c.say == "" && r.GetReason() != "go away" || !strings.Contains(r.GetReason(), c.say) {
				t.Errorf("got %v", r)
			}
			if e := s.wantKind("rejected"); e.Code != c.in.String() || e.Reason != "go away" {
				t.Errorf("event %+v", e)
			}
			server.conn.Close(0)
			client.ended()
		})
	}
}
