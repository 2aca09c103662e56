package guard_test

import (
	"bytes"
	"slices"
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
		{"a join with a password and what nobody knows", unknown(&mumblepb.UserState{ChannelId: proto.Uint32(1), TemporaryAccessTokens: []string{"pw1"}}),
			[]proto.Message{auth("t1", "pw1"), &mumblepb.UserState{ChannelId: proto.Uint32(1)}, auth("t1")}},
		{"tokens without a join", &mumblepb.UserState{Session: proto.Uint32(alice), TemporaryAccessTokens: []string{"pw1"}}, nil},
		{"other tokens", &mumblepb.Authenticate{Tokens: []string{"t2"}}, []proto.Message{auth("t2")}},
		{"other tokens and what nobody knows", unknown(&mumblepb.Authenticate{Tokens: []string{"t2"}}), []proto.Message{auth("t2")}},
		{"a join after other tokens", &mumblepb.UserState{ChannelId: proto.Uint32(0), TemporaryAccessTokens: []string{"pw"}},
			[]proto.Message{auth("t2", "pw"), &mumblepb.UserState{ChannelId: proto.Uint32(0)}, auth("t2")}},
		same("a kick with a reason", unknown(&mumblepb.UserRemove{Session: proto.Uint32(99), Reason: proto.String("r")})),
		{"a second Version", &mumblepb.Version{Release: proto.String("x")}, nil},
		{"a ContextAction of ours", &mumblepb.ContextAction{Action: proto.String("Sotto.verify")}, nil},
		{"plugin data that claims to be ours", &mumblepb.PluginDataTransmission{ReceiverSessions: []uint32{bobby}, Data: []byte("x"), DataID: proto.String("sotto/1")}, nil},
		{"a command", &mumblepb.TextMessage{ChannelId: []uint32{0}, Message: proto.String(" /sotto status ")}, nil},
		{"a command as a telephone writes it", &mumblepb.TextMessage{ChannelId: []uint32{0}, Message: proto.String("/Sotto Clear")}, nil},
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
