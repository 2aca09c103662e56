package guard

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// Even where speech may leave in clear, an old codec does not: nobody here knows
// what is in it. There is no upstream leg in this test; what would be sent panics.
func TestOldCodecsStay(t *testing.T) {
	a, b := net.Pipe()
	ours, theirs := client.NewConn(a), client.NewConn(b)
	defer theirs.Close(0)
	defer ours.Close(0)
	s := &session{g: &Guard{cfg: Config{Policy: e2ee.PolicyPrefer}}, said: map[string]time.Time{}, down: &downstream{conn: ours}}
	for _, codec := range []voice.Codec{voice.CELTAlpha, voice.Speex, voice.CELTBeta} {
		if !s.mayNotLeave(time.Now(), &voice.Packet{Codec: codec, Data: []byte{1, 2, 3}}) {
			t.Errorf("%v may leave", codec)
		}
	}
	if s.voiceStats.Refused != 3 || s.voiceStats.Sent != 0 {
		t.Errorf("%+v", s.voiceStats)
	}
	m, err := control.Decode(<-theirs.Frames())
	if d, ok := m.(*mumblepb.PermissionDenied); err != nil || !ok || !strings.Contains(d.GetReason(), "old codec") {
		t.Errorf("the person is told %v, %v", m, err)
	}
}
