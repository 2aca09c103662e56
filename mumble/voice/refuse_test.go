package voice_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/sotto-voip/sotto/mumble/voice"
)

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
