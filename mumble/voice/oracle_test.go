package voice_test

import (
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
