package guard_test

import (
	"bytes"
	"testing"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// speech is an Opus packet of 20 ms that can be told from others.
func speech(n byte) []byte { return append([]byte{0xF8}, bytes.Repeat([]byte{n}, 30)...) }

// TestVersions is the table of version skew: what guard announces, and the form of
// voice on each leg, both ways, with policy off.
func TestVersions(t *testing.T) {
	v124, v16 := control.MakeVersion(1, 2, 4), control.MakeVersion(1, 6, 870)
	for _, c := range []struct {
		name        string
		own, server control.Version
		announced   control.Version // 0: nothing
		down, up    voice.Format
	}{
		{"1.2.4 on 1.3", v124, v13, v124, voice.Legacy, voice.Legacy},
		{"1.2.4 on 1.5", v124, v15, control.MakeVersion(1, 5, 0), voice.Legacy, voice.Protobuf},
		{"1.3 on 1.3", v13, v13, v13, voice.Legacy, voice.Legacy},
		{"1.3 on 1.5", v13, v15, control.MakeVersion(1, 5, 0), voice.Legacy, voice.Protobuf},
		{"1.5 on 1.3", v15, v13, v15, voice.Legacy, voice.Legacy},
		{"1.5 on 1.5", v15, v15, v15, voice.Protobuf, voice.Protobuf},
		{"1.6 on 1.3: no more than guard implements", v16, v13, v15, voice.Legacy, voice.Legacy},
		{"1.6 on 1.5", v16, v15, v16, voice.Protobuf, voice.Protobuf},
		{"a client that says nothing on 1.5", 0, v15, control.MakeVersion(1, 5, 0), voice.Legacy, voice.Protobuf},
		{"a client that says nothing on 1.3", 0, v13, 0, voice.Legacy, voice.Legacy},
	} {
		t.Run(c.name, func(t *testing.T) {
			call := newStage(t, options{policy: e2ee.PolicyOff}).logIn(c.own, c.server, nil)
			if got := control.VersionOf(call.announced); got != c.announced {
				t.Errorf("announced %v, want %v", got, c.announced)
			}
			if c.announced != 0 && call.announced.GetVersionV1() != c.announced.V1() {
				t.Errorf("in the old form %#x", call.announced.GetVersionV1())
			}
			if c.announced != 0 && c.own != 0 && (call.announced.GetRelease() != "test" || call.announced.GetOs() != "os") {
				t.Errorf("announced %v", call.announced)
			}
			if got := control.VersionOf(call.shown); got != c.server {
				t.Errorf("the client is shown %v", got)
			}
			if call.down != c.down || call.up != c.up {
				t.Fatalf("the test itself expects %v and %v", call.down, call.up)
			}
			if e := call.wantKind("connected"); e.Server != c.server.String() {
				t.Errorf("event %+v", e)
			}
			call.settled()

			p := voice.Packet{Codec: voice.Opus, Target: 3, FrameNumber: 1<<31 + 4, Data: speech(1), Terminator: true, HasPosition: true, Position: [3]float32{1, 2, 3}}
			got := call.tunnel(&p)
			if len(got) != 1 {
				t.Fatalf("%d frames reach the server", len(got))
			}
			var q voice.Packet
			if err := voice.Parse(got[0].Body, c.up, voice.ToServer, &q); err != nil || got[0].Type != control.TypeUDPTunnel {
				t.Fatalf("%v % x: %v", got[0].Type, got[0].Body, err)
			}
			if q.Target != 3 || q.FrameNumber != 4 || !bytes.Equal(q.Data, p.Data) || !q.Terminator || q.Position != p.Position {
				t.Errorf("up: %+v", q)
			}
			for context := range uint8(4) {
				p := voice.Packet{Codec: voice.Opus, Session: bobby, Context: context, FrameNumber: 6, Data: speech(2), HasVolume: c.up == voice.Protobuf, Volume: 0.5}
				got := call.tunnelDown(&p)
				if len(got) != 1 {
					t.Fatalf("context %d: %d frames reach the client", context, len(got))
				}
				if err := voice.Parse(got[0].Body, c.down, voice.ToClient, &q); err != nil {
					t.Fatalf("context %d: %v", context, err)
				}
				want := context
				if context == voice.ContextListener && c.own < control.MakeVersion(1, 4, 0) {
					want = voice.ContextNormal // which is all that such a client knows
				}
				if q.Context != want || q.Session != bobby || q.FrameNumber != 6 || !bytes.Equal(q.Data, p.Data) {
					t.Errorf("down, context %d: %+v", context, q)
				}
			}
			// What is no sound packet stops here even with policy off.
			for _, data := range [][]byte{{0xFB}, {0xFB, 0}, {0xF9, 1, 2, 3}} {
				if got := call.tunnelDown(&voice.Packet{Codec: voice.Opus, Session: bobby, Data: data}); len(got) != 0 {
					t.Errorf("% x reaches the client", data)
				}
			}
		})
	}
}
