package voice_test

import (
	"fmt"
	"testing"

	"github.com/sotto-voip/sotto/mumble/voice"
)

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
