package interop_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// clipWords are about two seconds long.
const clipWords = "Nobody else hears what we say."

// TestMatrix sends a clip from one end to the other and wants every packet back
// as it was:
//
//	play --plain -> guard -> tap -> server -> tap -> guard -> record --plain
//
// The tap proves which way the upstream legs took; the tunnel cells lose every
// datagram there and use --tcp below the guards. The stock formats of the legs:
//
//	murmur-1.3.4            legacy below and above
//	murmur-1.5 legacy       clients announce 1.3.4: legacy below, protobuf above
//	murmur-1.5              protobuf below and above
func TestMatrix(t *testing.T) {
	clips := map[int]*peers.Speech{}
	for _, ms := range []int{10, 20, 60} {
		clips[ms] = peers.Speak(t, clipWords, ms)
	}
	for _, row := range []struct {
		name     string
		kind     peers.ServerKind
		announce string
		format   voice.Format // upstream
	}{
		{"murmur-1.3.4", peers.Murmur134, "", voice.Legacy},
		{"murmur-1.5-legacy", peers.Murmur15, "1.3.4", voice.Protobuf},
		{"murmur-1.5", peers.Murmur15, "", voice.Protobuf},
	} {
		for _, tunnel := range []bool{false, true} {
			for ms, clip := range clips {
				way := map[bool]string{false: "udp", true: "tunnel"}[tunnel]
				t.Run(fmt.Sprintf("%s/%s/%dms", row.name, way, ms), func(t *testing.T) {
					t.Parallel()
					var flags []string
					if row.announce != "" {
						flags = append(flags, "--announce", row.announce)
					}
					if tunnel {
						flags = append(flags, "--tcp")
					}
					matrixCell(t, row.kind, row.format, tunnel, flags, clip)
				})
			}
		}
	}
}

func matrixCell(t *testing.T, kind peers.ServerKind, format voice.Format, tunnel bool, flags []string, clip *peers.Speech) {
	// Murmur 1.3 loses what goes beyond its default of 72 kbit/s; 10 ms packets
	// of this clip do.
	server := peers.Start(t, kind, peers.ServerOptions{Bandwidth: 250000})
	tap := peers.StartTap(t, server)
	tap.DropUDP(tunnel)
	secret := newSecret(t)
	hers := startGuard(t, "alice's guard", tap.Addr(), secret)
	his := startGuard(t, "bob's guard", tap.Addr(), secret)
	dir := t.TempDir()
	record := startClient(t, "record", "bob", his.addr(), "", flags, dir)
	his.joined(0)
	play := startClient(t, "play", "alice", hers.addr(), "", flags, clip.Opus)
	if code := play.end(patience + clip.Sound.Duration()); code != 0 {
		t.Fatalf("play ended with %d: %s", code, play.tell(play.events()))
	}
	if sent := play.wait("played", nil).Packets; sent != uint64(len(clip.Packets)) {
		t.Errorf("played %d packets, the clip has %d", sent, len(clip.Packets))
	}
	name := filepath.Join(dir, fmt.Sprintf("alice-%d", hers.joined(0)))
	waitFor(t, "the last packet of the clip", func() bool { return ended(name + ".jsonl") })
	record.Terminate()
	if code := record.end(patience); code != 0 {
		t.Errorf("record ended with %d", code)
	}
	if lost := record.wait("recorded", nil).Lost; lost != 0 {
		t.Errorf("record counts %d lost packets", lost)
	}
	compare(t, clip.Packets, peers.ReadOpus(t, name+".opus"))
	for _, l := range readLines(t, name+".jsonl") {
		if l.Late || l.Encrypted {
			t.Errorf("frame %d: late %v, marked as encrypted by a client without Sotto %v", l.Frame, l.Late, l.Encrypted)
		}
	}
	checkWay(t, tap, format, tunnel, len(clip.Packets))
}

// compare wants got to be sent, bit by bit and in order.
func compare(t *testing.T, sent, got [][]byte) {
	t.Helper()
	same := 0
	for i := range min(len(sent), len(got)) {
		if bytes.Equal(sent[i], got[i]) {
			same++
		}
	}
	if same != len(sent) || len(got) != len(sent) {
		t.Errorf("of %d packets %d arrived and %d stand bit-exact in their place", len(sent), len(got), same)
	}
}

// recordedLine is one line of record's .jsonl file.
type recordedLine struct {
	Frame      uint64 `json:"frame"`
	Terminator bool   `json:"terminator"`
	Encrypted  bool   `json:"encrypted"`
	Late       bool   `json:"late"`
	Whisper    bool   `json:"whisper"`
	Bytes      int    `json:"bytes"`
}

func readLines(t *testing.T, name string) []recordedLine {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var all []recordedLine
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		var l recordedLine
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, l)
	}
	return all
}

// ended reports whether the last packet of a spurt has been written down.
func ended(name string) bool {
	b, err := os.ReadFile(name)
	return err == nil && bytes.Contains(b, []byte(`"terminator":true`)) && bytes.HasSuffix(b, []byte("\n"))
}

// checkWay looks at what passed the tap: the clip went and came the wanted way
// in the wanted form, each packet a Sotto envelope.
func checkWay(t *testing.T, tap *peers.Tap, format voice.Format, tunnel bool, packets int) {
	t.Helper()
	sealed := map[voice.Direction]int{}
	for _, f := range tap.Frames() {
		p, ok := f.Voice()
		if !ok || p.Codec != voice.Opus {
			continue
		}
		if f.Format != format {
			t.Errorf("upstream leg has the format %v, want %v", f.Format, format)
		}
		if _, _, _, ok := envelope.ParseVoice(p.Data); !ok {
			continue
		}
		if f.UDP == tunnel && p.FrameNumber > 0 {
			t.Errorf("packet %d took UDP: %v", p.FrameNumber, f.UDP)
		}
		sealed[f.Dir]++
	}
	for _, dir := range []voice.Direction{voice.ToServer, voice.ToClient} {
		if sealed[dir] < packets {
			t.Errorf("%d encrypted packets passed the tap in direction %v, the clip has %d", sealed[dir], dir, packets)
		}
	}
	if n := tap.Blind(); n != 0 {
		t.Errorf("the tap could not open %d datagrams", n)
	}
}
