package control_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// The table of types, by hand: number, name.
var types = strings.Fields(`Version UDPTunnel Authenticate Ping Reject ServerSync ChannelRemove ChannelState
	UserRemove UserState BanList TextMessage PermissionDenied ACL QueryUsers CryptSetup ContextActionModify
	ContextAction UserList VoiceTarget PermissionQuery CodecVersion UserStats RequestBlob ServerConfig
	SuggestConfig PluginDataTransmission`)

func TestTypes(t *testing.T) {
	if len(types) != 27 || control.TypePluginDataTransmission != 26 {
		t.Fatalf("%d names", len(types))
	}
	for n, name := range types {
		typ := control.Type(n)
		if typ.String() != name {
			t.Errorf("%d is %v, want %s", n, typ, name)
		}
		m, ok := control.New(typ)
		if ok != (typ != control.TypeUDPTunnel) {
			t.Errorf("New(%v) = %v, %v", typ, m, ok)
		}
		if !ok {
			continue
		}
		if got := m.ProtoReflect().Descriptor().FullName(); string(got) != "MumbleProto."+name {
			t.Errorf("New(%v) is a %s", typ, got)
		}
		if got, ok := control.TypeOf(m); got != typ || !ok {
			t.Errorf("TypeOf(%s) = %v, %v", name, got, ok)
		}
		if other, _ := control.New(typ); other == m {
			t.Errorf("New(%v) returns one message twice", typ)
		}
	}
	for _, typ := range []control.Type{27, 200, 0xffff} {
		if m, ok := control.New(typ); ok {
			t.Errorf("New(%d) = %v", typ, m)
		}
	}
	if s := control.Type(200).String(); s != "Type(200)" {
		t.Errorf("200 is %s", s)
	}
	for _, m := range []proto.Message{nil, &mumblepb.UDPAudio{}, &mumblepb.BanList_BanEntry{}, &emptypb.Empty{}} {
		if typ, ok := control.TypeOf(m); ok {
			t.Errorf("TypeOf(%T) = %v", m, typ)
		}
	}
}

func read(t *testing.T, b []byte) control.Frame {
	t.Helper()
	f, err := control.NewReader(bytes.NewReader(b), 0).Next()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestMessageRoundTrip(t *testing.T) {
	for _, m := range []proto.Message{
		&mumblepb.Ping{},
		&mumblepb.Version{VersionV1: proto.Uint32(0x0105ff), Release: proto.String("x"), VersionV2: proto.Uint64(1)},
		&mumblepb.TextMessage{Session: []uint32{1, 2, 300}, Message: proto.String("<b>hé</b>")},
		&mumblepb.UserState{Session: proto.Uint32(0), SelfMute: proto.Bool(false), Texture: make([]byte, 70000)},
		&mumblepb.PluginDataTransmission{ReceiverSessions: []uint32{1, 2}, Data: []byte{}, DataID: proto.String("")},
		&mumblepb.CryptSetup{Key: make([]byte, 16)},
		&mumblepb.BanList{Bans: []*mumblepb.BanList_BanEntry{{Address: make([]byte, 16), Mask: proto.Uint32(128)}}},
		&mumblepb.CodecVersion{Alpha: proto.Int32(-2147483637), Beta: proto.Int32(0), PreferAlpha: proto.Bool(true)},
	} {
		b, err := control.AppendMessage([]byte("head"), m)
		if err != nil {
			t.Fatalf("%T: %v", m, err)
		}
		f := read(t, b[4:])
		if want, _ := control.TypeOf(m); f.Type != want || string(b[:4]) != "head" || len(b) != 4+control.HeaderSize+len(f.Body) {
			t.Errorf("%T: type %v, %d bytes for a body of %d", m, f.Type, len(b), len(f.Body))
		}
		got, err := control.Decode(f)
		if err != nil || !proto.Equal(got, m) {
			t.Errorf("%v became %v, %v", m, got, err)
		}
	}
}

// The golden bytes of one message, so that a field number cannot move unseen.
func TestMessageGolden(t *testing.T) {
	m := &mumblepb.PluginDataTransmission{
		SenderSession: proto.Uint32(7), ReceiverSessions: []uint32{1, 300}, Data: []byte("d"), DataID: proto.String("id"),
	}
	want := "\x00\x1a\x00\x00\x00\x0e" + "\x08\x07" + "\x12\x03\x01\xac\x02" + "\x1a\x01d" + "\x22\x02id"
	if got, err := control.AppendMessage(nil, m); err != nil || string(got) != want {
		t.Errorf("%x, %v, want %x", got, err, want)
	}
}

func TestDecodeErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    control.Frame
		want error
	}{
		{"tunnel", control.Frame{Type: control.TypeUDPTunnel, Body: []byte("\x80\x00\x00")}, control.ErrRaw},
		{"type 27", control.Frame{Type: 27}, control.ErrUnknownType},
		{"type 65535", control.Frame{Type: 0xffff}, control.ErrUnknownType},
		{"no protobuf", control.Frame{Type: control.TypePing, Body: []byte("\xff\xff")}, control.ErrMalformed},
		{"cut", control.Frame{Type: control.TypeVersion, Body: []byte("\x12\x05ab")}, control.ErrMalformed},
		{"required field missing", control.Frame{Type: control.TypeTextMessage, Body: []byte("\x08\x01")}, control.ErrMalformed},
		{"required field missing inside", control.Frame{Type: control.TypeBanList, Body: []byte("\x0a\x00")}, control.ErrMalformed},
	} {
		if m, err := control.Decode(tt.f); !errors.Is(err, tt.want) || m != nil {
			t.Errorf("%s: %v, %v, want %v", tt.name, m, err, tt.want)
		}
	}
}

func TestAppendMessageErrors(t *testing.T) {
	long := &mumblepb.TextMessage{Message: proto.String(strings.Repeat("x", control.MaxLen-5))}
	if b, err := control.AppendMessage(nil, long); err != nil || len(b) != control.HeaderSize+control.MaxLen {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	*long.Message += "x"
	for _, tt := range []struct {
		name string
		m    proto.Message
		want error
	}{
		{"nil", nil, control.ErrUnknownType},
		{"no control message", &mumblepb.UDPPing{}, control.ErrUnknownType},
		{"tunnel", &mumblepb.UDPTunnel{Packet: []byte{0}}, control.ErrRaw},
		{"required field missing", &mumblepb.ChannelRemove{}, control.ErrMalformed},
		{"too long", long, nil},
	} {
		b, err := control.AppendMessage([]byte("head"), tt.m)
		var tooLong *control.ErrTooLong
		if tt.want != nil && !errors.Is(err, tt.want) || tt.want == nil && !errors.As(err, &tooLong) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if string(b) != "head" {
			t.Errorf("%s: dst became %d bytes", tt.name, len(b))
		}
	}
}
