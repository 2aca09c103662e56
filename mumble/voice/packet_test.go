package voice_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/sotto-voip/sotto/mumble/voice"
)

const (
	legacy, pb     = voice.Legacy, voice.Protobuf
	toSrv, toCli   = voice.ToServer, voice.ToClient
	position123    = "0000803f" + "00000040" + "00004040"
	negative2to31  = 0xffffffff80000000
	silencePayload = "f8fffe"
)

// unhex reads hex with spaces.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

var silence = unhex(silencePayload)

// golden holds packets in the one form Append writes.
var golden = []struct {
	name string
	f    voice.Format
	d    voice.Direction
	hex  string
	p    voice.Packet
}{
	{"legacy up", legacy, toSrv, "80 05 03 f8fffe",
		voice.Packet{Codec: voice.Opus, FrameNumber: 5, Data: silence}},
	{"legacy up, whisper target, last packet", legacy, toSrv, "81 8100 a003 f8fffe",
		voice.Packet{Codec: voice.Opus, Target: 1, FrameNumber: 256, Data: silence, Terminator: true}},
	{"legacy up, loopback, position", legacy, toSrv, "9f 00 03 f8fffe" + position123,
		voice.Packet{Codec: voice.Opus, Target: 31, Data: silence, HasPosition: true, Position: [3]float32{1, 2, 3}}},
	{"legacy up, empty: end of speech", legacy, toSrv, "80 09 a000",
		voice.Packet{Codec: voice.Opus, FrameNumber: 9, Data: []byte{}, Terminator: true}},
	{"legacy up, empty, not last", legacy, toSrv, "80 09 00",
		voice.Packet{Codec: voice.Opus, FrameNumber: 9, Data: []byte{}}},
	{"legacy down, normal", legacy, toCli, "80 8123 05 03 f8fffe",
		voice.Packet{Codec: voice.Opus, Session: 0x123, FrameNumber: 5, Data: silence}},
	{"legacy down, shout", legacy, toCli, "81 07 05 03 f8fffe",
		voice.Packet{Codec: voice.Opus, Context: 1, Session: 7, FrameNumber: 5, Data: silence}},
	{"legacy down, whisper", legacy, toCli, "82 07 05 03 f8fffe",
		voice.Packet{Codec: voice.Opus, Context: 2, Session: 7, FrameNumber: 5, Data: silence}},
	{"legacy down, listener", legacy, toCli, "83 07 05 03 f8fffe",
		voice.Packet{Codec: voice.Opus, Context: 3, Session: 7, FrameNumber: 5, Data: silence}},
	{"legacy down, position and last packet", legacy, toCli, "80 07 05 a003 f8fffe" + position123,
		voice.Packet{Codec: voice.Opus, Session: 7, FrameNumber: 5, Data: silence, Terminator: true, HasPosition: true, Position: [3]float32{1, 2, 3}}},
	{"legacy down, frame number 2^31 as 1.5 garbles it", legacy, toCli, "80 07 f8f07fffffff 03 f8fffe",
		voice.Packet{Codec: voice.Opus, Session: 7, FrameNumber: negative2to31, Data: silence}},
	{"legacy down, largest session", legacy, toCli, "80 f0ffffffff 05 03 f8fffe",
		voice.Packet{Codec: voice.Opus, Session: math.MaxUint32, FrameNumber: 5, Data: silence}},
	{"CELT alpha kept raw", legacy, toSrv, "02 05 83aabbcc 02ddee" + position123,
		voice.Packet{Codec: voice.CELTAlpha, Target: 2, FrameNumber: 5, Data: unhex("83aabbcc02ddee" + position123)}},
	{"Speex kept raw", legacy, toCli, "40 07 05 00",
		voice.Packet{Codec: voice.Speex, Session: 7, FrameNumber: 5, Data: []byte{0}}},
	{"CELT beta kept raw", legacy, toSrv, "60 05",
		voice.Packet{Codec: voice.CELTBeta, FrameNumber: 5, Data: []byte{}}},

	{"protobuf up", pb, toSrv, "00 2005 2a03f8fffe 0800",
		voice.Packet{Codec: voice.Opus, FrameNumber: 5, Data: silence}},
	{"protobuf up, whisper target, last packet", pb, toSrv, "00 208002 2a03f8fffe 800101 0801",
		voice.Packet{Codec: voice.Opus, Target: 1, FrameNumber: 256, Data: silence, Terminator: true}},
	{"protobuf up, loopback, position, frame 0", pb, toSrv, "00 2a03f8fffe 320c" + position123 + "081f",
		voice.Packet{Codec: voice.Opus, Target: 31, Data: silence, HasPosition: true, Position: [3]float32{1, 2, 3}}},
	{"protobuf down, normal", pb, toCli, "00 18a302 2005 2a03f8fffe 1000",
		voice.Packet{Codec: voice.Opus, Session: 0x123, FrameNumber: 5, Data: silence}},
	{"protobuf down, listener with volume", pb, toCli, "00 1807 2005 2a03f8fffe 3d0000003f 1003",
		voice.Packet{Codec: voice.Opus, Context: 3, Session: 7, FrameNumber: 5, Data: silence, HasVolume: true, Volume: 0.5}},
	{"protobuf down, everything", pb, toCli, "00 1807 20ffffffffffffffffff01 2a03f8fffe 800101 320c" + position123 + "3d0000003f 1002",
		voice.Packet{Codec: voice.Opus, Context: 2, Session: 7, FrameNumber: math.MaxUint64, Data: silence, Terminator: true,
			HasPosition: true, Position: [3]float32{1, 2, 3}, HasVolume: true, Volume: 0.5}},
}

func TestGolden(t *testing.T) {
	for _, tt := range golden {
		t.Run(tt.name, func(t *testing.T) {
			want := unhex(tt.hex)
			got, err := voice.Append([]byte("head"), tt.f, tt.d, &tt.p)
			if err != nil || string(got) != "head"+string(want) {
				t.Errorf("Append = %x, %v, want %x", bytes.TrimPrefix(got, []byte("head")), err, want)
			}
			p := voice.Packet{Codec: 9, Target: 9, Context: 9, Session: 9, FrameNumber: 9, Terminator: true,
				HasPosition: true, Position: [3]float32{9, 9, 9}, HasVolume: true, Volume: 9}
			if err := voice.Parse(want, tt.f, tt.d, &p); err != nil || !reflect.DeepEqual(p, tt.p) {
				t.Errorf("Parse = %+v, %v, want %+v", p, err, tt.p)
			}
		})
	}
}

// What Parse reads, though Append writes it otherwise.
func TestParseOtherForms(t *testing.T) {
	base := voice.Packet{Codec: voice.Opus, FrameNumber: 5, Data: silence}
	with := func(change func(*voice.Packet)) voice.Packet { p := base; change(&p); return p }
	for _, tt := range []struct {
		name string
		f    voice.Format
		d    voice.Direction
		hex  string
		want voice.Packet
	}{
		{"varints longer than needed", legacy, toSrv, "80 f000000005 8003 f8fffe", base},
		{"64 bit varint", legacy, toSrv, "80 f40000000000000005 03 f8fffe", base},
		{"no target is target 0", pb, toSrv, "00 2005 2a03f8fffe", base},
		{"another order", pb, toSrv, "00 0800 2a03f8fffe 2005", base},
		{"the last of two counts", pb, toSrv, "00 2001 2005 2a0100 2a03f8fffe 0804 0800", base},
		{"unknown fields are skipped", pb, toSrv, "00 9806ffffffffffffffffff01 a20603010203 ad0601020304 b1060102030405060708 2005 2a03f8fffe", base},
		{"known number, other wire type", pb, toSrv, "00 2d01020304 2005 2a03f8fffe 2201ff", base},
		{"terminator 2 is true", pb, toSrv, "00 2005 2a03f8fffe 800102", with(func(p *voice.Packet) { p.Terminator = true })},
		{"session and volume mean nothing to the server", pb, toSrv, "00 1807 3d0000003f 2005 2a03f8fffe", base},
		{"position one by one", pb, toSrv, "00 350000803f 3500000040 2005 2a03f8fffe 3500004040",
			with(func(p *voice.Packet) { p.HasPosition, p.Position = true, [3]float32{1, 2, 3} })},
		{"position in pieces", pb, toSrv, "00 32080000803f00000040 2005 2a03f8fffe 3500004040 3200",
			with(func(p *voice.Packet) { p.HasPosition, p.Position = true, [3]float32{1, 2, 3} })},
		{"no numbers are no position", pb, toSrv, "00 2005 2a03f8fffe 3200", base},
		{"no context is normal", pb, toCli, "00 1807 2005 2a03f8fffe", with(func(p *voice.Packet) { p.Session = 7 })},
		{"volume 0 is none", pb, toCli, "00 1807 3d00000000 2005 2a03f8fffe", with(func(p *voice.Packet) { p.Session = 7 })},
		{"volume -0 is none", pb, toCli, "00 1807 3d00000080 2005 2a03f8fffe", with(func(p *voice.Packet) { p.Session = 7 })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p voice.Packet
			if err := voice.Parse(unhex(tt.hex), tt.f, tt.d, &p); err != nil || !reflect.DeepEqual(p, tt.want) {
				t.Errorf("Parse = %+v, %v, want %+v", p, err, tt.want)
			}
		})
	}
}

// Appending to a payload must not run over what stands behind it in the input.
func TestDataHasNoRoom(t *testing.T) {
	for _, tt := range golden {
		var p voice.Packet
		b := unhex(tt.hex)
		if err := voice.Parse(b, tt.f, tt.d, &p); err != nil {
			t.Fatal(err)
		}
		_ = append(p.Data, 0xaa)
		if !bytes.Equal(b, unhex(tt.hex)) {
			t.Errorf("%s: input became %x", tt.name, b)
		}
	}
}

// The rules of transcoding between legs.
func TestTranscode(t *testing.T) {
	for _, tt := range []struct {
		name     string
		d        voice.Direction
		from, to voice.Format
		in, out  string
		err      error
	}{
		{"legacy up to protobuf", toSrv, legacy, pb, "9f 8100 a003 f8fffe" + position123, "00 208002 2a03f8fffe 800101 320c" + position123 + "081f", nil},
		{"protobuf up to legacy", toSrv, pb, legacy, "00 208002 2a03f8fffe 800101 320c" + position123 + "081f", "9f 8100 a003 f8fffe" + position123, nil},
		{"protobuf down to legacy loses the volume", toCli, pb, legacy, "00 1807 2005 2a03f8fffe 3d0000003f 1002", "82 07 05 03 f8fffe", nil},
		{"legacy to legacy takes one form of numbers", toSrv, legacy, legacy, "80 f000000005 8003 f8fffe", "80 05 03 f8fffe", nil},
		{"protobuf to protobuf drops unknown fields", toSrv, pb, pb, "00 2005 2a03f8fffe a20603010203", "00 2005 2a03f8fffe 0800", nil},
		{"an empty end of speech has no protobuf form", toSrv, legacy, pb, "80 09 a000", "", voice.ErrEmpty},
		{"an old codec has no protobuf form", toSrv, legacy, pb, "40 05 00", "", voice.ErrCodec},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p voice.Packet
			if err := voice.Parse(unhex(tt.in), tt.from, tt.d, &p); err != nil {
				t.Fatal(err)
			}
			got, err := voice.Append(nil, tt.to, tt.d, &p)
			if !errors.Is(err, tt.err) || !bytes.Equal(got, unhex(tt.out)) {
				t.Errorf("= %x, %v, want %s", got, err, tt.out)
			}
		})
	}
}

func TestFormatFor(t *testing.T) {
	const v130, v149, v150, v160 = 1<<48 | 3<<32, 1<<48 | 4<<32 | 999<<16, 1<<48 | 5<<32, 1<<48 | 6<<32
	for _, tt := range []struct {
		a, b uint64
		want voice.Format
	}{
		{v150, v150, pb}, {v15735, v160, pb}, {2 << 48, v150, pb},
		{v150, v149, legacy}, {v130, v160, legacy}, {0, v160, legacy}, {0, 0, legacy}, {v150 - 1, v150, legacy},
	} {
		if got := voice.FormatFor(tt.a, tt.b); got != tt.want {
			t.Errorf("FormatFor(%x, %x) = %v", tt.a, tt.b, got)
		}
		if got := voice.FormatFor(tt.b, tt.a); got != tt.want {
			t.Errorf("FormatFor(%x, %x) = %v", tt.b, tt.a, got)
		}
	}
}

func TestWrapFrameNumber(t *testing.T) {
	for n, want := range map[uint64]uint64{
		0: 0, 1<<31 - 1: 1<<31 - 1, 1 << 31: 0, 1<<32 + 5: 5, math.MaxUint64: 1<<31 - 1, negative2to31: 0,
	} {
		if got := voice.WrapFrameNumber(n); got != want {
			t.Errorf("WrapFrameNumber(%#x) = %#x, want %#x", n, got, want)
		}
	}
}
