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

func TestParseErrors(t *testing.T) {
	long := strings.Repeat("00", 1025)
	for _, tt := range []struct {
		name string
		f    voice.Format
		d    voice.Direction
		hex  string
		want error
	}{
		{"nothing", legacy, toSrv, "", voice.ErrShort},
		{"nothing", pb, toSrv, "", voice.ErrShort},
		{"1025 bytes", legacy, toSrv, long, voice.ErrTooLong},
		{"1025 bytes", pb, toSrv, long, voice.ErrTooLong},
		{"ping", legacy, toSrv, "20 05", voice.ErrNotAudio},
		{"codec 5", legacy, toSrv, "a0 05 00", voice.ErrNotAudio},
		{"codec 7", legacy, toSrv, "ff 05 00", voice.ErrNotAudio},
		{"no frame number", legacy, toSrv, "80", voice.ErrShort},
		{"half a frame number", legacy, toSrv, "80 81", voice.ErrShort},
		{"no length", legacy, toSrv, "80 05", voice.ErrShort},
		{"payload cut", legacy, toSrv, "80 05 03 f8ff", voice.ErrShort},
		{"length with unknown bits", legacy, toSrv, "80 05 c04003 f8fffe", voice.ErrMalformed},
		{"negative length", legacy, toSrv, "80 05 fc f8fffe", voice.ErrMalformed},
		{"complement of a complement", legacy, toSrv, "80 f8f805 00", voice.ErrMalformed},
		{"1 byte behind the payload", legacy, toSrv, "80 05 03 f8fffe 00", voice.ErrTrailing},
		{"11 bytes behind the payload", legacy, toSrv, "80 05 03 f8fffe" + position123[2:], voice.ErrTrailing},
		{"13 bytes behind the payload", legacy, toSrv, "80 05 03 f8fffe" + position123 + "00", voice.ErrTrailing},
		{"24 bytes behind the payload", legacy, toSrv, "80 05 03 f8fffe" + position123 + position123, voice.ErrTrailing},
		{"session 0", legacy, toCli, "80 00 05 03 f8fffe", voice.ErrSession},
		{"session 2^32", legacy, toCli, "80 f40000000100000000 05 03 f8fffe", voice.ErrSession},
		{"session -1", legacy, toCli, "80 fc 05 03 f8fffe", voice.ErrSession},
		{"no session", legacy, toCli, "80", voice.ErrShort},
		{"context 4", legacy, toCli, "84 07 05 03 f8fffe", voice.ErrContext},

		{"ping", pb, toSrv, "01 0805", voice.ErrNotAudio},
		{"type 2", pb, toSrv, "02 0805", voice.ErrNotAudio},
		{"legacy packet", pb, toSrv, "80 05 03 f8fffe", voice.ErrNotAudio},
		{"no message", pb, toSrv, "00", voice.ErrEmpty},
		{"no payload", pb, toSrv, "00 2005 0800", voice.ErrEmpty},
		{"empty payload", pb, toSrv, "00 2005 2a00 800101", voice.ErrEmpty},
		{"payload cut", pb, toSrv, "00 2005 2a04f8fffe", voice.ErrShort},
		{"payload of 2^64-1", pb, toSrv, "00 2005 2affffffffffffffffff01 f8fffe", voice.ErrShort},
		{"tag cut", pb, toSrv, "00 2a03f8fffe 80", voice.ErrShort},
		{"value cut", pb, toSrv, "00 2a03f8fffe 20", voice.ErrShort},
		{"float cut", pb, toSrv, "00 2a03f8fffe 35010203", voice.ErrShort},
		{"double cut", pb, toSrv, "00 2a03f8fffe 3101020304050607", voice.ErrShort},
		{"frame number of 11 bytes", pb, toSrv, "00 2a03f8fffe 20ffffffffffffffffffff01", voice.ErrMalformed},
		{"frame number of 65 bits", pb, toSrv, "00 2a03f8fffe 20ffffffffffffffffff02", voice.ErrMalformed},
		{"field 0", pb, toSrv, "00 2a03f8fffe 0000", voice.ErrMalformed},
		{"field 2^29", pb, toSrv, "00 2a03f8fffe 808080801000", voice.ErrMalformed},
		{"group", pb, toSrv, "00 2a03f8fffe 2324", voice.ErrMalformed},
		{"wire type 6", pb, toSrv, "00 2a03f8fffe 26", voice.ErrMalformed},
		{"target 32", pb, toSrv, "00 2a03f8fffe 0820", voice.ErrTarget},
		{"target 256", pb, toSrv, "00 2a03f8fffe 088002", voice.ErrTarget},
		{"context to the server", pb, toSrv, "00 2a03f8fffe 1000", voice.ErrMalformed},
		{"target to the client", pb, toCli, "00 1807 2a03f8fffe 0800", voice.ErrMalformed},
		{"context 4", pb, toCli, "00 1807 2a03f8fffe 1004", voice.ErrContext},
		{"context 256", pb, toCli, "00 1807 2a03f8fffe 108002", voice.ErrContext},
		{"no session", pb, toCli, "00 2a03f8fffe", voice.ErrSession},
		{"session 0", pb, toCli, "00 1800 2a03f8fffe", voice.ErrSession},
		{"session 2^32", pb, toCli, "00 188080808010 2a03f8fffe", voice.ErrSession},
		{"two numbers of position", pb, toSrv, "00 2a03f8fffe 32080000803f00000040", voice.ErrMalformed},
		{"four numbers of position", pb, toSrv, "00 2a03f8fffe 3210" + position123 + "00000000", voice.ErrMalformed},
		{"four numbers, one by one", pb, toSrv, "00 2a03f8fffe 320c" + position123 + "3500000000", voice.ErrMalformed},
		{"half a number of position", pb, toSrv, "00 2a03f8fffe 3202aabb", voice.ErrMalformed},
		{"volume NaN", pb, toCli, "00 1807 2a03f8fffe 3d0000c07f", voice.ErrMalformed},
		{"volume infinite", pb, toCli, "00 1807 2a03f8fffe 3d000080ff", voice.ErrMalformed},
	} {
		t.Run(tt.f.String()+"/"+tt.name, func(t *testing.T) {
			var p voice.Packet
			if err := voice.Parse(unhex(tt.hex), tt.f, tt.d, &p); !errors.Is(err, tt.want) {
				t.Errorf("Parse = %+v, %v, want %v", p, err, tt.want)
			}
		})
	}
}

func TestAppendErrors(t *testing.T) {
	ok := voice.Packet{Codec: voice.Opus, Session: 7, FrameNumber: 5, Data: silence}
	for _, tt := range []struct {
		name   string
		f      voice.Format
		d      voice.Direction
		change func(*voice.Packet)
		want   error
	}{
		{"nothing wrong", legacy, toSrv, func(p *voice.Packet) {}, nil},
		{"nothing wrong", pb, toCli, func(p *voice.Packet) {}, nil},
		{"target 32", legacy, toSrv, func(p *voice.Packet) { p.Target = 32 }, voice.ErrTarget},
		{"target 32", pb, toSrv, func(p *voice.Packet) { p.Target = 32 }, voice.ErrTarget},
		{"target is no matter to the client", pb, toCli, func(p *voice.Packet) { p.Target = 32 }, nil},
		{"context 4", legacy, toCli, func(p *voice.Packet) { p.Context = 4 }, voice.ErrContext},
		{"context 4", pb, toCli, func(p *voice.Packet) { p.Context = 4 }, voice.ErrContext},
		{"context is no matter to the server", legacy, toSrv, func(p *voice.Packet) { p.Context = 4 }, nil},
		{"session 0", legacy, toCli, func(p *voice.Packet) { p.Session = 0 }, voice.ErrSession},
		{"session 0", pb, toCli, func(p *voice.Packet) { p.Session = 0 }, voice.ErrSession},
		{"session 0 to the server", pb, toSrv, func(p *voice.Packet) { p.Session = 0 }, nil},
		{"empty", pb, toSrv, func(p *voice.Packet) { p.Data = nil }, voice.ErrEmpty},
		{"empty", legacy, toSrv, func(p *voice.Packet) { p.Data = nil }, nil},
		{"old codec", pb, toSrv, func(p *voice.Packet) { p.Codec = voice.Speex }, voice.ErrCodec},
		{"ping as codec", legacy, toSrv, func(p *voice.Packet) { p.Codec = 1 }, voice.ErrCodec},
		{"codec 5", legacy, toSrv, func(p *voice.Packet) { p.Codec = 5 }, voice.ErrCodec},
		{"old codec with terminator", legacy, toSrv, func(p *voice.Packet) { p.Codec, p.Terminator = voice.Speex, true }, voice.ErrCodec},
		{"old codec with position", legacy, toSrv, func(p *voice.Packet) { p.Codec, p.HasPosition = voice.CELTBeta, true }, voice.ErrCodec},
		{"volume NaN", pb, toCli, func(p *voice.Packet) { p.HasVolume, p.Volume = true, float32(math.NaN()) }, voice.ErrMalformed},
		{"longest legacy packet", legacy, toSrv, func(p *voice.Packet) { p.Data = make([]byte, 1020) }, nil},
		{"legacy packet of 1025 bytes", legacy, toSrv, func(p *voice.Packet) { p.Data = make([]byte, 1021) }, voice.ErrTooLong},
		{"longest protobuf packet", pb, toSrv, func(p *voice.Packet) { p.Data = make([]byte, 1016) }, nil},
		{"protobuf packet of 1025 bytes", pb, toSrv, func(p *voice.Packet) { p.Data = make([]byte, 1017) }, voice.ErrTooLong},
		{"far too long", legacy, toSrv, func(p *voice.Packet) { p.Data = make([]byte, 1<<20) }, voice.ErrTooLong},
	} {
		t.Run(tt.f.String()+"/"+tt.name, func(t *testing.T) {
			p := ok
			tt.change(&p)
			got, err := voice.Append([]byte("head"), tt.f, tt.d, &p)
			if !errors.Is(err, tt.want) {
				t.Fatalf("Append: %v, want %v", err, tt.want)
			}
			if err != nil && string(got) != "head" {
				t.Errorf("with an error Append returned %q", got)
			}
			if err == nil {
				if err := voice.Parse(got[4:], tt.f, tt.d, new(voice.Packet)); err != nil {
					t.Errorf("does not parse: %v", err)
				}
			}
		})
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
