package headless_test

import (
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/opus"
)

// tool runs a program of opus-tools and returns what it prints and its error;
// without the program the test is skipped.
func tool(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("SOTTO_INTEROP") == "require" {
			t.Fatalf("%s is not installed, and SOTTO_INTEROP=require", name)
		}
		t.Skipf("%s is not installed (package opus-tools)", name)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	return string(out), err
}

// TestOpusTools lets opus-tools judge a recording with a pause, a loss, a late
// packet and a sender that counts anew. What it plays lasts as long as the call did.
func TestOpusTools(t *testing.T) {
	dir := t.TempDir()
	var file string
	silence, err := opus.AppendCover(nil, 20*ms, nil) // a packet that every decoder takes
	if err != nil {
		t.Fatal(err)
	}
	var length time.Duration
	play(t, client.Config{}, func(t *testing.T, s *stage, c *client.Client) {
		r := record(t, c, dir)
		s.come(7, "alice")
		began := time.Now()
		for _, spurt := range []struct {
			pause   time.Duration
			numbers []uint64
		}{
			{0, []uint64{100, 102, 104, 106}},
			{time.Second, []uint64{208, 210, 214, 212, 216}},
			{2 * time.Second, []uint64{0, 2, 4, 6, 8}},
		} {
			time.Sleep(spurt.pause)
			for i, n := range spurt.numbers {
				if i == len(spurt.numbers)-1 {
					s.say(7, n, silence, last)
				} else {
					s.say(7, n, silence)
				}
				time.Sleep(20 * ms)
			}
		}
		length = time.Since(began)
		tracks := r.stop()
		if len(tracks) != 1 || tracks[0].Packets != 13 || tracks[0].Late != 1 {
			t.Fatalf("%+v", tracks)
		}
		file = tracks[0].File
	})
	if _, got := files(t, file); math.Abs(float64(got[len(got)-1].Granule)/48000-length.Seconds()) > 0.03 {
		t.Errorf("the last granule is %d after %v", got[len(got)-1].Granule, length)
	}
	// Time that passes between packets is all it may object to: opusinfo expects
	// somebody to have filled it, and fails for a warning.
	out, _ := tool(t, "opusinfo", file)
	for line := range strings.Lines(out) {
		if strings.Contains(line, "ERROR") || strings.Contains(line, "WARNING") &&
			!strings.Contains(line, "Sample count behind granule") && !strings.Contains(line, "low preskip") {
			t.Errorf("opusinfo: %s", line)
		}
	}
	if !strings.Contains(out, "Encoded with Sotto") || !strings.Contains(out, "Logical stream 1 ended") {
		t.Error("opusinfo does not read the whole stream")
	}
	raw := filepath.Join(dir, "pcm.raw")
	if out, err := tool(t, "opusdec", "--quiet", "--no-dither", "--rate", "48000", file, raw); err != nil {
		t.Fatalf("opusdec: %v\n%s", err, out)
	}
	pcm, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range pcm {
		if b != 0 {
			t.Fatal("silence is not silent")
		}
	}
	t.Logf("%v of call, %d packets, %.2f s decoded", length, 13, float64(len(pcm))/2/48000)
	if len(pcm) < 13*960*2 {
		t.Errorf("%d bytes decoded, 13 packets are %d", len(pcm), 13*960*2)
	}
}
