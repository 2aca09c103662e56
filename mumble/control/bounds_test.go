package control_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// The smallest entries a body can hold would fill memory a hundredfold.
func TestDecodeIsBounded(t *testing.T) {
	const n = 1 << 19
	for _, tt := range []struct {
		name  string
		typ   control.Type
		entry string
		want  error
	}{
		{"bans", control.TypeBanList, "\x0a\x00", control.ErrTooMany},
		{"users", control.TypeUserList, "\x0a\x00", control.ErrTooMany},
		{"groups", control.TypeACL, "\x1a\x00", control.ErrTooMany},
		{"rules", control.TypeACL, "\x22\x00", control.ErrTooMany},
		{"targets", control.TypeVoiceTarget, "\x12\x00", control.ErrTooMany},
		{"volumes", control.TypeUserState, "\xba\x01\x00", control.ErrTooMany},
		{"tokens", control.TypeAuthenticate, "\x1a\x00", control.ErrTooMany},
		{"certificates", control.TypeUserStats, "\x1a\x00", control.ErrTooMany},
		{"numbers are small", control.TypeQueryUsers, "\x08\x01", nil},
		{"a single field may repeat", control.TypePing, "\x08\x01", nil},
	} {
		body := []byte(strings.Repeat(tt.entry, n))
		got := allocated(func() {
			if _, err := control.Decode(control.Frame{Type: tt.typ, Body: body}); !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
			}
		})
		if got > 12*uint64(len(body)) {
			t.Errorf("%s: %d bytes allocated for %d", tt.name, got, len(body))
		}
	}

	// The longest lists of real servers pass.
	list := &mumblepb.UserList{}
	for i := range 50000 {
		list.Users = append(list.Users, &mumblepb.UserList_User{
			UserId: proto.Uint32(uint32(i)), Name: proto.String("ann"), LastSeen: proto.String("2026-01-02 03:04:05")})
	}
	b, err := control.AppendMessage(nil, list)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := control.Decode(read(t, b)); err != nil {
		t.Errorf("50000 users: %v", err)
	}
	short := control.Frame{Type: control.TypeVoiceTarget, Body: []byte(strings.Repeat("\x12\x00", 4096))}
	if _, err := control.Decode(short); err != nil {
		t.Errorf("4096 empty targets: %v", err)
	}
}

// FuzzDecode decodes any body as any type: what is read is written so that it
// reads the same, unknown fields included.
func FuzzDecode(f *testing.F) {
	f.Add(uint16(3), []byte("\x08\x01"))
	f.Add(uint16(9), []byte("\x08\x07\xba\x01\x02\x08\x05"))
	f.Add(uint16(10), []byte("\x0a\x00"))
	f.Add(uint16(11), with([]byte("\x2a\x02hi"), 77, "?"))
	f.Add(uint16(26), []byte("\x12\x02\x01\x02\x1a\x01d\x22\x01i"))
	f.Fuzz(func(t *testing.T, typ uint16, body []byte) {
		m, err := control.Decode(control.Frame{Type: control.Type(typ), Body: body})
		if err != nil {
			if m != nil {
				t.Fatal("a message with an error")
			}
			return
		}
		b, err := control.AppendMessage(nil, m)
		if err != nil {
			t.Fatalf("%v cannot be written: %v", m, err)
		}
		fr := read(t, b)
		again, err := control.Decode(fr)
		if err != nil || fr.Type != control.Type(typ) {
			t.Fatalf("%v: %v", fr.Type, err)
		}
		if b2, err := control.AppendMessage(nil, again); err != nil || !bytes.Equal(b, b2) {
			t.Fatalf("%x became %x, %v", b, b2, err)
		}
		size := proto.Size(m)
		control.DropUnknown(m)
		if proto.Size(m) > size || len(m.ProtoReflect().GetUnknown()) > 0 {
			t.Fatal("unknown fields left")
		}
	})
}

func BenchmarkDecodePing(b *testing.B) {
	f, err := control.AppendMessage(nil, &mumblepb.Ping{Timestamp: proto.Uint64(1 << 40), Good: proto.Uint32(1000), TcpPingAvg: proto.Float32(1)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := control.Decode(control.Frame{Type: control.TypePing, Body: f[control.HeaderSize:]}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendMessage(b *testing.B) {
	m := &mumblepb.Ping{Timestamp: proto.Uint64(1 << 40), Good: proto.Uint32(1000), TcpPingAvg: proto.Float32(1)}
	buf := make([]byte, 0, 128)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := control.AppendMessage(buf, m); err != nil {
			b.Fatal(err)
		}
	}
}
