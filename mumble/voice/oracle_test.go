package voice_test

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// same compares packets, and floats by their bits, for a position may hold NaN.
func same(a, b *voice.Packet) bool {
	for i := range a.Position {
		if math.Float32bits(a.Position[i]) != math.Float32bits(b.Position[i]) {
			return false
		}
	}
	x, y := *a, *b
	x.Position, y.Position = [3]float32{}, [3]float32{}
	x.Data, y.Data = append([]byte{}, x.Data...), append([]byte{}, y.Data...)
	return reflect.DeepEqual(x, y)
}

// oracle reads what the protobuf library made of a message, with the rules of
// this package on top. It reports false where those refuse.
func oracle(m *mumblepb.UDPAudio, d voice.Direction) (p voice.Packet, ok bool) {
	p = voice.Packet{Codec: voice.Opus, FrameNumber: m.GetFrameNumber(), Data: m.GetOpusData(), Terminator: m.GetIsTerminator()}
	switch h := m.GetHeader().(type) {
	case *mumblepb.UDPAudio_Target:
		if d != voice.ToServer || h.Target > 31 {
			return p, false
		}
		p.Target = uint8(h.Target)
	case *mumblepb.UDPAudio_Context:
		if d != voice.ToClient || h.Context > 3 {
			return p, false
		}
		p.Context = uint8(h.Context)
	}
	if d == voice.ToClient {
		v := m.GetVolumeAdjustment()
		p.Session = m.GetSenderSession()
		if p.Session == 0 || math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return p, false
		}
		if v != 0 {
			p.HasVolume, p.Volume = true, v
		}
	}
	if n := len(m.GetPositionalData()); n == 3 {
		p.HasPosition, p.Position = true, [3]float32(m.GetPositionalData())
	} else if n != 0 {
		return p, false
	}
	return p, len(p.Data) > 0
}

// stricter reports whether a message holds what this package refuses though the
// library reads it: groups, numbers cut to 32 bits, and both or superseded
// headers.
func stricter(b []byte) bool {
	headers := 0
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeField(b)
		if n < 0 {
			return false
		}
		if typ == protowire.StartGroupType {
			return true
		}
		if typ == protowire.VarintType {
			_, _, tag := protowire.ConsumeTag(b)
			v, _ := protowire.ConsumeVarint(b[tag:])
			if num <= 3 && v > math.MaxUint32 {
				return true
			}
			if num <= 2 {
				headers++
			}
		}
		b = b[n:]
	}
	return headers > 1
}

func checkOracle(t *testing.T, b []byte, d voice.Direction) {
	t.Helper()
	var p voice.Packet
	err := voice.Parse(b, voice.Protobuf, d, &p)
	if len(b) == 0 || b[0] != 0 || len(b) > voice.MaxSize {
		if err == nil {
			t.Fatalf("Parse(%x) = %+v", b, p)
		}
		return
	}
	var m mumblepb.UDPAudio
	libErr := proto.Unmarshal(b[1:], &m)
	if err == nil && libErr != nil {
		t.Fatalf("Parse reads %x as %+v, the library says %v", b, p, libErr)
	}
	if libErr != nil {
		return
	}
	want, ok := oracle(&m, d)
	if err == nil && (!ok || !same(&p, &want)) {
		t.Fatalf("Parse reads %x as %+v, the library as %+v (%v)", b, p, want, ok)
	}
	if err != nil && ok && !stricter(b[1:]) {
		t.Fatalf("Parse refuses %x: %v, the library reads %+v", b, err, want)
	}
}

func TestOracleGolden(t *testing.T) {
	for _, tt := range golden {
		if tt.f != voice.Protobuf {
			continue
		}
		b := unhex(tt.hex)
		checkOracle(t, b, tt.d)
		// What Append writes has the fields the library would write, no others.
		var m mumblepb.UDPAudio
		if err := proto.Unmarshal(b[1:], &m); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if lib, err := proto.Marshal(&m); err != nil || len(lib) != len(b)-1 || len(m.ProtoReflect().GetUnknown()) > 0 {
			t.Errorf("%s: %x, but the library writes %x, %v", tt.name, b[1:], lib, err)
		}
	}
}

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

func TestNoAllocations(t *testing.T) {
	for _, tt := range golden {
		b, dst := unhex(tt.hex), make([]byte, 0, voice.MaxSize)
		var p voice.Packet
		if n := testing.AllocsPerRun(20, func() {
			if err := voice.Parse(b, tt.f, tt.d, &p); err != nil {
				t.Fatal(err)
			}
			if _, err := voice.Append(dst, tt.f, tt.d, &p); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}

func benchPacket(d voice.Direction) *voice.Packet {
	p := &voice.Packet{Codec: voice.Opus, FrameNumber: 123456, Data: make([]byte, 80)}
	if d == voice.ToClient {
		p.Session = 4711
	}
	return p
}

func BenchmarkAppend(b *testing.B) {
	for _, format := range []voice.Format{voice.Legacy, voice.Protobuf} {
		for _, d := range []voice.Direction{voice.ToServer, voice.ToClient} {
			b.Run(fmt.Sprintf("%v/%d", format, d), func(b *testing.B) {
				p, dst := benchPacket(d), make([]byte, 0, voice.MaxSize)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := voice.Append(dst, format, d, p); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for _, format := range []voice.Format{voice.Legacy, voice.Protobuf} {
		for _, d := range []voice.Direction{voice.ToServer, voice.ToClient} {
			b.Run(fmt.Sprintf("%v/%d", format, d), func(b *testing.B) {
				in, err := voice.Append(nil, format, d, benchPacket(d))
				if err != nil {
					b.Fatal(err)
				}
				var p voice.Packet
				b.ReportAllocs()
				for b.Loop() {
					if err := voice.Parse(in, format, d, &p); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
