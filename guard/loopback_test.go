package guard

import (
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// The server test of the stock client (whisper target 31) brings the own voice back
// in each mode, and what is protected does not leave for it.
func TestLoopback(t *testing.T) {
	for m := range modes {
		t.Run(m.String(), func(t *testing.T) {
			b := newBare(t, m, bare15)
			b.login(bare15)
			b.wait(5 * time.Second) // until policy prefer is Clear
			if m == modePrefer && b.s.end.Leave() != e2ee.LeaveClear {
				t.Fatalf("policy prefer is %v", b.s.end.State())
			}
			b.forget()
			data := append([]byte{0xF8}, bareWords...)
			v, err := voice.Append(nil, voice.Protobuf, voice.ToServer, &voice.Packet{Codec: voice.Opus, Target: 31, Data: data})
			if err != nil {
				t.Fatal(err)
			}
			b.clientFrame(control.Frame{Type: control.TypeUDPTunnel, Body: v})
			up, down := b.close()
			sent, heard := 0, 0
			for _, f := range up {
				if f.Type == control.TypeUDPTunnel {
					sent++
				}
				b.look(f)
			}
			for _, f := range down {
				var p voice.Packet
				if f.Type == control.TypeUDPTunnel && voice.Parse(f.Body, voice.Protobuf, voice.ToClient, &p) == nil && string(p.Data) == string(data) {
					heard++
				}
			}
			// With policy off the server answers.
			if off := m == modeOff; off != (sent == 1) || off != (heard == 0) {
				t.Errorf("%d packets left, %d came back", sent, heard)
			}
		})
	}
}
