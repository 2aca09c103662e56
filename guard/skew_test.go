package guard_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/control"
)

// Packets of the golden bytes below: position (1, 2, 3), and the sound of 20 ms of
// digital silence.
const (
	place = "0000803f 00000040 00004040"
	mute  = "f8fffe"
)

// long are 1016 bytes: in the protobuf form a datagram of them has 1024, which is most.
var long = strings.Repeat("aa", 1016)

// skew is one line of version skew: what one leg says, and what the other leg is
// told, in bytes; "" is nothing.
type skew struct{ name, in, out string }

// Up: what comes from the client and what the server gets.
var (
	legacyUp = []skew{ // a client before 1.5 on a server before 1.5
		{"speech", "80 05 03" + mute, "80 05 03" + mute},
		{"whisper target, last packet", "81 8100 a003" + mute, "81 8100 a003" + mute},
		{"loopback, position", "9f 00 03" + mute + place, "9f 00 03" + mute + place},
		{"numbers in longer forms take the one form", "80 f000000005 8003" + mute, "80 05 03" + mute},
		{"bytes behind the payload that are no position", "80 05 03" + mute + "aabb", ""},
		{"more than a position", "80 05 03" + mute + place + "00", ""},
		{"frame number 2^31 + 4", "80 f080000004 03" + mute, "80 04 03" + mute},
		{"the largest frame number", "80 f4ffffffffffffffff 03" + mute, "80 f07fffffff 03" + mute},
		{"empty and last: the end of speech", "80 09 a000", "80 09 a000"},
		{"empty and not last", "80 09 00", "80 09 00"},
		{"a ping among the codecs", "20 05", ""},
		{"an unknown codec", "a0 05 03" + mute, ""},
		{"shorter than it says", "80 05 04" + mute, ""},
		{"an old codec", "40 05 02aabb", "40 05 02aabb"},
	}
	legacyUpNew = []skew{ // a client before 1.5 on a server of 1.5
		{"speech", "80 05 03" + mute, "00 2005 2a03" + mute + "0800"},
		{"whisper target, last packet", "81 8100 a003" + mute, "00 208002 2a03" + mute + "800101 0801"},
		{"loopback, position", "9f 00 03" + mute + place, "00 2a03" + mute + "320c" + place + "081f"},
		{"bytes behind the payload that are no position", "80 05 03" + mute + "aabb", ""},
		{"more than a position", "80 05 03" + mute + place + "00", ""},
		{"frame number 2^31 + 4", "80 f080000004 03" + mute, "00 2004 2a03" + mute + "0800"},
		{"empty and last: a silent frame that is last", "80 09 a000", "00 2009 2a03" + mute + "800101 0800"},
		{"empty and not last", "80 09 00", ""},
		{"an old codec has no form", "40 05 02aabb", ""},
		{"the longest of which the other form fits", "80 05 83f8" + long, "00 2005 2af807" + long + "0800"},
		{"a longer one", "80 05 83f9" + long + "aa", ""},
	}
	newUpLegacy = []skew{ // a client of 1.5 on a server before 1.5 is shown that: legacy
		{"speech", "80 05 03" + mute, "80 05 03" + mute},
		{"what looks like the protobuf form is an old codec here", "00 2005 2a03" + mute + "0800", "00 2005 2a03" + mute + "0800"},
	}
	newUp = []skew{ // both of 1.5
		{"speech", "00 2005 2a03" + mute + "0800", "00 2005 2a03" + mute + "0800"},
		{"no target", "00 2005 2a03" + mute, "00 2005 2a03" + mute + "0800"},
		{"target 32", "00 0820 2a03" + mute, ""},
		{"fields that nobody knows", "00 2005 2a03" + mute + "a20603010203", "00 2005 2a03" + mute + "0800"},
		{"a context upwards", "00 1001 2a03" + mute, ""},
		{"session and volume upwards", "00 1807 3d0000003f 2005 2a03" + mute, "00 2005 2a03" + mute + "0800"},
		{"frame number 2^31 + 4", "00 208480808008 2a03" + mute, "00 2004 2a03" + mute + "0800"},
		{"empty and last", "00 2005 800101 0800", ""},
		{"half a position", "00 2a03" + mute + "3208 0000803f 00000040", ""},
		{"last packet, position", "00 2005 2a03" + mute + "800101 320c" + place + "0802", "00 2005 2a03" + mute + "800101 320c" + place + "0802"},
		{"an unknown first byte", "02 2005 2a03" + mute, ""},
	}
)

// Down: what comes from the server and what the client gets. Session 8 is somebody
// who is there, session 9 nobody.
var (
	legacyDown13 = []skew{ // to a client of 1.3 from a server before 1.5
		{"speech", "80 08 05 03" + mute, "80 08 05 03" + mute},
		{"shout", "81 08 05 03" + mute, "81 08 05 03" + mute},
		{"whisper, last packet, position", "82 08 05 a003" + mute + place, "82 08 05 a003" + mute + place},
		{"listener, which a client before 1.4 does not know", "83 08 05 03" + mute, "80 08 05 03" + mute},
		{"context 4", "84 08 05 03" + mute, ""},
		{"frame number 2^31 as 1.5 garbles it", "80 08 f8f07fffffff 03" + mute, "80 08 00 03" + mute},
		{"bytes behind the payload", "80 08 05 03" + mute + "aa", ""},
		{"session 0", "80 00 05 03" + mute, ""},
		{"nobody's session", "80 09 05 03" + mute, ""},
		{"empty and last", "80 08 05 a000", "80 08 05 a000"},
		{"empty and not last", "80 08 05 00", "80 08 05 00"},
		{"no sound packet", "80 08 05 02fb00", ""},
	}
	newDown13 = []skew{ // to a client of 1.3 from a server of 1.5
		{"speech", "00 1808 2005 2a03" + mute + "1000", "80 08 05 03" + mute},
		{"whisper, last packet, position", "00 1808 2005 2a03" + mute + "800101 320c" + place + "1002", "82 08 05 a003" + mute + place},
		{"listener with a volume: both are lost", "00 1808 2005 2a03" + mute + "3d0000003f 1003", "80 08 05 03" + mute},
		{"context 4", "00 1808 2a03" + mute + "1004", ""},
		{"the largest frame number", "00 1808 20ffffffffffffffffff01 2a03" + mute + "1000", "80 08 f07fffffff 03" + mute},
		{"session 0", "00 1800 2005 2a03" + mute + "1000", ""},
		{"no session", "00 2005 2a03" + mute + "1000", ""},
		{"nobody's session", "00 1809 2005 2a03" + mute + "1000", ""},
		{"a target downwards", "00 0801 1808 2a03" + mute, ""},
		{"empty and last", "00 1808 2005 800101 1000", ""},
	}
	newDown14 = []skew{ // to a client of 1.4 from a server of 1.5
		{"listener", "00 1808 2005 2a03" + mute + "1003", "83 08 05 03" + mute},
	}
	newDown = []skew{ // both of 1.5
		{"listener with a volume", "00 1808 2005 2a03" + mute + "3d0000003f 1003", "00 1808 2005 2a03" + mute + "3d0000003f 1003"},
		{"no context", "00 1808 2005 2a03" + mute, "00 1808 2005 2a03" + mute + "1000"},
		{"fields that nobody knows", "00 1808 2005 2a03" + mute + "a20603010203 1000", "00 1808 2005 2a03" + mute + "1000"},
		{"a volume that is no number", "00 1808 2005 2a03" + mute + "3d0000c07f 1000", ""},
		{"the largest frame number", "00 1808 20ffffffffffffffffff01 2a03" + mute + "1000", "00 1808 20ffffffff07 2a03" + mute + "1000"},
		{"nobody's session", "00 1809 2005 2a03" + mute + "1000", ""},
	}
)

// TestSkew is the transcoding between legs in bytes, both ways, for each pair of
// client and server, with policy off: nothing else is then done to a packet.
func TestSkew(t *testing.T) {
	for _, c := range []struct {
		name        string
		own, server control.Version
		up, down    []skew
	}{
		{"1.3 on 1.3", v13, v13, legacyUp, legacyDown13},
		{"1.3 on 1.5", v13, v15, legacyUpNew, newDown13},
		{"1.2.4 on 1.5", control.MakeVersion(1, 2, 4), v15, legacyUpNew, newDown13},
		{"1.4 on 1.5", control.MakeVersion(1, 4, 287), v15, legacyUpNew, newDown14},
		{"1.5 on 1.3", v15, v13, newUpLegacy, nil},
		{"1.5 on 1.5", v15, v15, newUp, newDown},
		{"1.6 on 1.5", control.MakeVersion(1, 6, 870), v15, newUp, newDown},
	} {
		t.Run(c.name, func(t *testing.T) {
			call := newStage(t, options{policy: e2ee.PolicyOff}).logIn(c.own, c.server, nil)
			call.settled()
			through := func(way string, from, to *leg, lines []skew) {
				t.Helper()
				for _, l := range lines {
					got := fenced(from, to, func() { from.conn.Send(control.TypeUDPTunnel, bytesOf(t, l.in)) })
					var out []string
					for _, f := range got {
						if f.Type != control.TypeUDPTunnel {
							t.Errorf("%s, %s: %v arrives", way, l.name, f.Type)
						}
						out = append(out, hex.EncodeToString(f.Body))
					}
					if want := hex.EncodeToString(bytesOf(t, l.out)); strings.Join(out, " and ") != want {
						t.Errorf("%s, %s: %s arrives, want %s", way, l.name, strings.Join(out, " and "), want)
					}
				}
			}
			through("up", call.client, call.server, c.up)
			through("down", call.server, call.client, c.down)
		})
	}
}

// bytesOf reads hex with spaces.
func bytesOf(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
