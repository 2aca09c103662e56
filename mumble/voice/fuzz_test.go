package voice_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/sotto-voip/sotto/mumble/voice"
)

// FuzzParse gives foreign bytes to all four decoders: nothing panics, what is
// read is written so that it reads the same, in place of other formats it reads
// the same as well, and the protobuf library agrees.
func FuzzParse(f *testing.F) {
	for _, tt := range golden {
		f.Add(unhex(tt.hex))
	}
	f.Add(unhex("00 350000803f 3500000040 2005 2a03f8fffe 3500004040"))
	f.Add(unhex("00 9806ffffffffffffffffff01 2005 2a03f8fffe 2324 1000 0800"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, d := range []voice.Direction{voice.ToServer, voice.ToClient} {
			checkOracle(t, b, d)
			for _, format := range []voice.Format{voice.Legacy, voice.Protobuf} {
				checkReparse(t, b, format, d)
			}
		}
	})
}

func checkReparse(t *testing.T, b []byte, format voice.Format, d voice.Direction) {
	t.Helper()
	before := bytes.Clone(b)
	var p, q voice.Packet
	if voice.Parse(b, format, d, &p) != nil {
		return
	}
	again, err := voice.Append(nil, format, d, &p)
	if err == voice.ErrTooLong && format == voice.Protobuf && len(b) > voice.MaxSize-8 {
		return // an absent header is written as 0
	}
	if err != nil {
		t.Fatalf("%v: %x reads as %+v, which cannot be written: %v", format, b, p, err)
	}
	if err := voice.Parse(again, format, d, &q); err != nil || !same(&p, &q) {
		t.Fatalf("%v: %x reads as %+v, written again as %+v, %v", format, b, p, q, err)
	}
	other := voice.Protobuf - format
	out, err := voice.Append(nil, other, d, &p)
	if err != nil {
		return
	}
	if err := voice.Parse(out, other, d, &q); err != nil {
		t.Fatalf("%v to %v: %x: %v", format, other, out, err)
	}
	if other == voice.Legacy {
		p.HasVolume, p.Volume = false, 0
	}
	if !same(&p, &q) {
		t.Fatalf("%v to %v: %+v became %+v", format, other, p, q)
	}
	if !bytes.Equal(b, before) {
		t.Fatal("the input changed")
	}
}

// FuzzRoundTrip writes packets and reads them.
func FuzzRoundTrip(f *testing.F) {
	f.Add(uint8(0), uint8(4), uint8(0), uint32(7), uint64(5), silence, false, float32(1), float32(2))
	f.Add(uint8(0xff), uint8(4), uint8(31), uint32(math.MaxUint32), uint64(math.MaxUint64), silence, true, float32(0.5), float32(0))
	f.Fuzz(func(t *testing.T, flags, codec, low uint8, session uint32, number uint64, data []byte, term bool, vol, pos float32) {
		format, d := voice.Format(flags&1), voice.Direction(flags>>1&1)
		p := voice.Packet{Codec: voice.Codec(codec), FrameNumber: number, Data: data, Terminator: term}
		if flags&4 != 0 {
			p.HasPosition, p.Position = true, [3]float32{pos, -pos, vol}
		}
		if d == voice.ToServer {
			p.Target = low
		} else {
			p.Context, p.Session = low, session
			if format == voice.Protobuf && flags&8 != 0 && vol != 0 {
				p.HasVolume, p.Volume = true, vol
			}
		}
		b, err := voice.Append(nil, format, d, &p)
		if err != nil {
			return
		}
		var q voice.Packet
		if err := voice.Parse(b, format, d, &q); err != nil || !same(&p, &q) {
			t.Fatalf("%+v became %x, then %+v, %v", p, b, q, err)
		}
	})
}

// FuzzTranscode takes a packet from one leg to the other and back: nothing but the
// volume, which the legacy format cannot say, is lost.
func FuzzTranscode(f *testing.F) {
	for _, g := range golden {
		f.Add(unhex(g.hex), g.f == voice.Protobuf, g.d == voice.ToClient)
	}
	f.Fuzz(func(t *testing.T, b []byte, protobuf, down bool) {
		from, to, d := voice.Legacy, voice.Protobuf, voice.ToServer
		if protobuf {
			from, to = to, from
		}
		if down {
			d = voice.ToClient
		}
		var p, q, r voice.Packet
		if voice.Parse(b, from, d, &p) != nil {
			return
		}
		there, err := voice.Append(nil, to, d, &p)
		if err != nil {
			if p.Codec == voice.Opus && len(p.Data) > 0 && !errors.Is(err, voice.ErrTooLong) {
				t.Fatalf("%+v has no form in %v: %v", p, to, err)
			}
			return
		}
		if err := voice.Parse(there, to, d, &q); err != nil {
			t.Fatalf("%+v became %x: %v", p, there, err)
		}
		if to == voice.Legacy {
			p.HasVolume, p.Volume = false, 0
		}
		if !same(&p, &q) {
			t.Fatalf("%+v became %+v", p, q)
		}
		back, err := voice.Append(nil, from, d, &q)
		if errors.Is(err, voice.ErrTooLong) {
			return // by a field that the first form may leave out
		}
		if err != nil || voice.Parse(back, from, d, &r) != nil || !same(&q, &r) {
			t.Fatalf("%+v came back as %+v: %v", q, r, err)
		}
	})
}
