package voice_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

const v15735 = 1<<48 | 5<<32 | 735<<16

func TestPing(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    voice.Format
		hex  string
		p    voice.Ping
	}{
		{"legacy", legacy, "20 8123", voice.Ping{Timestamp: 0x123}},
		{"legacy, 64 bits", legacy, "20 f48000000000000001", voice.Ping{Timestamp: 1<<63 + 1}},
		{"protobuf", pb, "01 08a302", voice.Ping{Timestamp: 0x123}},
		{"protobuf, timestamp 0 is written", pb, "01 0800", voice.Ping{}},
		{"protobuf question", pb, "01 0805 1001", voice.Ping{Timestamp: 5, RequestExtended: true}},
		{"protobuf answer", pb, "01 0805 188080fc96d08040 2003 2864 30b08722",
			voice.Ping{Timestamp: 5, Extended: true, ServerVersion: v15735, UserCount: 3, MaxUserCount: 100, MaxBandwidth: 558000}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := voice.AppendPing([]byte("x"), tt.f, &tt.p)
			if string(got) != "x"+string(unhex(tt.hex)) {
				t.Errorf("AppendPing = %x, want %s", got[1:], tt.hex)
			}
			if !voice.IsPing(unhex(tt.hex), tt.f) {
				t.Error("IsPing = false")
			}
			p := voice.Ping{Timestamp: 9, RequestExtended: true, Extended: true, UserCount: 9}
			if err := voice.ParsePing(unhex(tt.hex), tt.f, &p); err != nil || p != tt.p {
				t.Errorf("ParsePing = %+v, %v, want %+v", p, err, tt.p)
			}
			if tt.f == pb {
				var m mumblepb.UDPPing
				if err := proto.Unmarshal(unhex(tt.hex)[1:], &m); err != nil || m.GetTimestamp() != tt.p.Timestamp ||
					m.GetServerVersionV2() != tt.p.ServerVersion || m.GetMaxBandwidthPerUser() != tt.p.MaxBandwidth {
					t.Errorf("as a protobuf message: %v, %v", &m, err)
				}
			}
		})
	}
}

func TestPingErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    voice.Format
		hex  string
		ping bool
		want error
	}{
		{"nothing", legacy, "", false, voice.ErrNotPing},
		{"type alone", legacy, "20", false, voice.ErrNotPing},
		{"audio", legacy, "80 05 03 f8fffe", false, voice.ErrNotPing},
		{"11 bytes", legacy, "20 f48000000000000001 00", false, voice.ErrNotPing},
		{"protobuf ping", legacy, "01 0805", false, voice.ErrNotPing},
		{"bare number of eight bytes", legacy, "20 0000000000000005", true, voice.ErrTrailing},
		{"half a varint", legacy, "20 f480", true, voice.ErrShort},
		{"nothing", pb, "", false, voice.ErrNotPing},
		{"type alone", pb, "01", false, voice.ErrNotPing},
		{"audio", pb, "00 2a03f8fffe", false, voice.ErrNotPing},
		{"legacy ping", pb, "20 05", false, voice.ErrNotPing},
		{"no message", pb, "01 08", true, voice.ErrShort},
		{"group", pb, "01 0b0c", true, voice.ErrMalformed},
		{"1025 bytes", pb, "01" + strings.Repeat("0800", 512), false, voice.ErrTooLong},
	} {
		t.Run(tt.f.String()+"/"+tt.name, func(t *testing.T) {
			if got := voice.IsPing(unhex(tt.hex), tt.f); got != tt.ping {
				t.Errorf("IsPing = %v", got)
			}
			if err := voice.ParsePing(unhex(tt.hex), tt.f, new(voice.Ping)); !errors.Is(err, tt.want) {
				t.Errorf("ParsePing: %v, want %v", err, tt.want)
			}
		})
	}
}

// Without a server version the wire says that the counts are absent.
func TestPingWithoutVersion(t *testing.T) {
	var p voice.Ping
	if err := voice.ParsePing(unhex("01 0805 2003 2864"), pb, &p); err != nil || p != (voice.Ping{Timestamp: 5}) {
		t.Errorf("ParsePing = %+v, %v", p, err)
	}
}

func TestListPing(t *testing.T) {
	question := unhex("00000000 0102030405060708")
	if got := voice.AppendListPing(nil, 0x0102030405060708); !bytes.Equal(got, question) {
		t.Errorf("AppendListPing = %x", got)
	}
	if ident, err := voice.ParseListPing(question); ident != 0x0102030405060708 || err != nil {
		t.Errorf("ParseListPing = %x, %v", ident, err)
	}
	answer := unhex("000105ff 0102030405060708 00000003 00000064 000883b0")
	want := voice.ListPong{Version: 0x0105ff, Ident: 0x0102030405060708, Users: 3, MaxUsers: 100, MaxBandwidth: 558000}
	if got := voice.AppendListPong(nil, want); !bytes.Equal(got, answer) {
		t.Errorf("AppendListPong = %x", got)
	}
	if got, err := voice.ParseListPong(answer); got != want || err != nil {
		t.Errorf("ParseListPong = %+v, %v", got, err)
	}
	for _, b := range []string{"", "00000000", "00000001 0102030405060708", "00000000 01020304050607", "00000000 010203040506070809"} {
		if _, err := voice.ParseListPing(unhex(b)); !errors.Is(err, voice.ErrNotPing) {
			t.Errorf("ParseListPing(%s): %v", b, err)
		}
	}
	for _, n := range []int{0, 12, 23, 25} {
		if _, err := voice.ParseListPong(make([]byte, n)); !errors.Is(err, voice.ErrNotPing) {
			t.Errorf("ParseListPong of %d bytes: %v", n, err)
		}
	}
}

func FuzzPing(f *testing.F) {
	for _, s := range []string{"20 8123", "01 0805 1001", "01 0805 188080fc96d08040 2003 2864 30b08722", "20 f48000000000000001"} {
		f.Add(unhex(s), s[0] == '0')
	}
	f.Fuzz(func(t *testing.T, b []byte, protobuf bool) {
		format := legacy
		if protobuf {
			format = pb
		}
		var p, q voice.Ping
		if err := voice.ParsePing(b, format, &p); err != nil {
			return
		}
		again := voice.AppendPing(nil, format, &p)
		if err := voice.ParsePing(again, format, &q); err != nil || p != q {
			t.Fatalf("%x: %+v became %+v, %v", b, p, q, err)
		}
	})
}
