package ogg_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/ogg"
	"github.com/sotto-voip/sotto/opus"
)

// tool runs a program of opus-tools in dir and returns what it prints; without
// the program the test is skipped.
func tool(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("SOTTO_INTEROP") == "require" {
			t.Fatalf("%s is not installed, and SOTTO_INTEROP=require", name)
		}
		t.Skipf("%s is not installed (package opus-tools)", name)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// speech writes raw 16-bit samples of 48 kHz: a voice-like tone that comes and goes.
func speech(t *testing.T, file string, d time.Duration, channels int) {
	t.Helper()
	var b []byte
	for i := range int(ogg.Samples(d)) {
		s := float64(i) / ogg.SampleRate
		v := 9000 * math.Sin(2*math.Pi*180*s) * math.Sin(2*math.Pi*3*s)
		for c := range channels {
			b = binary.LittleEndian.AppendUint16(b, uint16(int16(v*float64(1+c)/2)))
		}
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, file string) (*ogg.Reader, []got) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o, err := ogg.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	all, err := readAll(o)
	if err != io.EOF {
		t.Fatal(err)
	}
	return o, all
}

// TestOpusenc reads files of opusenc in all its frame lengths: every packet must
// parse, the firewall's verdict must be right, and durations must add up to the
// granule positions.
func TestOpusenc(t *testing.T) {
	dir := t.TempDir()
	speech(t, filepath.Join(dir, "mono"), 3*time.Second, 1)
	speech(t, filepath.Join(dir, "stereo"), 3*time.Second, 2)
	for _, r := range []struct {
		raw       string
		framesize string
		d         time.Duration
		args      []string
	}{
		{"mono", "2.5", 2500 * time.Microsecond, nil},
		{"mono", "5", 5 * ms, nil},
		{"mono", "10", 10 * ms, []string{"--hard-cbr"}},
		{"mono", "20", 20 * ms, []string{"--bitrate", "8"}}, // SILK
		{"mono", "20", 20 * ms, []string{"--bitrate", "32", "--speech"}},
		{"stereo", "20", 20 * ms, []string{"--bitrate", "192"}},
		{"stereo", "40", 40 * ms, []string{"--bitrate", "40"}},
		{"mono", "60", 60 * ms, nil},
	} {
		name := r.raw + " " + r.framesize + " " + strings.Join(r.args, " ")
		channels := map[string]string{"mono": "1", "stereo": "2"}[r.raw]
		args := append([]string{"--quiet", "--raw", "--raw-rate", "48000", "--raw-chan", channels, "--framesize", r.framesize,
			"--comment", "TITLE=test", "--max-delay", "200"}, r.args...)
		tool(t, dir, "opusenc", append(args, r.raw, "out.opus")...)
		o, all := readFile(t, filepath.Join(dir, "out.opus"))
		if o.Head().Channels != channels[0]-'0' || o.Head().MappingFamily != 0 || o.Head().InputSampleRate != 48000 {
			t.Errorf("%s: head %+v", name, o.Head())
		}
		if !strings.Contains(strings.Join(o.Tags().Comments, "\n"), "TITLE=test") {
			t.Errorf("%s: tags %+v", name, o.Tags())
		}
		samples, positions := int64(0), 0
		for i, p := range all {
			d, err := opus.Duration(p.data)
			last := i == len(all)-1
			if err != nil || d != r.d && !(last && d < r.d) {
				t.Fatalf("%s: packet %d: %v, %v", name, i, d, err)
			}
			if err := opus.Check(p.data, d); (err == nil) != (r.d >= 10*ms) {
				t.Errorf("%s: packet %d: firewall says %v", name, i, err)
			}
			samples += ogg.Samples(d)
			if p.granule >= 0 {
				positions++
				// The last one may trim the end (RFC 7845 section 4.4).
				if p.granule != samples && !(last && p.granule <= samples) {
					t.Errorf("%s: packet %d at %d, page says %d", name, i, samples, p.granule)
				}
			}
			if p.eos != last {
				t.Errorf("%s: packet %d of %d: EOS %v", name, i, len(all), p.eos)
			}
		}
		if end := all[len(all)-1].granule; end-int64(o.Head().PreSkip) != ogg.Samples(3*time.Second) {
			t.Errorf("%s: ends at %d with pre-skip %d, want 3 s", name, end, o.Head().PreSkip)
		}
		t.Logf("%s: %d packets, %d pages with a position", name, len(all), positions)
	}
}

// info fails if opusinfo finds anything to complain about.
func info(t *testing.T, dir, file string) string {
	t.Helper()
	out := tool(t, dir, "opusinfo", file)
	if strings.Contains(out, "WARNING") || strings.Contains(out, "ERROR") {
		t.Errorf("opusinfo:\n%s", out)
	}
	return out
}

// TestRewrite puts the packets of an opusenc file on pages of our own: opusinfo
// has no complaint and opusdec hears the same.
func TestRewrite(t *testing.T) {
	dir := t.TempDir()
	speech(t, filepath.Join(dir, "raw"), 2*time.Second, 1)
	tool(t, dir, "opusenc", "--quiet", "--raw", "--raw-rate", "48000", "--raw-chan", "1", "--serial", "1", "raw", "theirs.opus")
	o, all := readFile(t, filepath.Join(dir, "theirs.opus"))
	var out bytes.Buffer
	w, err := ogg.NewWriter(&out, 1, o.Head(), o.Tags())
	if err != nil {
		t.Fatal(err)
	}
	at := int64(0)
	for _, p := range all {
		d, err := opus.Duration(p.data)
		if err != nil {
			t.Fatal(err)
		}
		at += ogg.Samples(d)
		if err := w.WritePacket(p.data, at); err != nil {
			t.Fatal(err)
		}
	}
	cut := bytes.Clone(out.Bytes())
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"ours.opus": out.Bytes(), "cut.opus": cut} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Log(info(t, dir, "ours.opus"))
	decode := func(file string) []byte {
		// No dither: it is random.
		tool(t, dir, "opusdec", "--quiet", "--no-dither", "--rate", "48000", file, "pcm.raw")
		b, err := os.ReadFile(filepath.Join(dir, "pcm.raw"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	theirs, ours := decode("theirs.opus"), decode("ours.opus")
	// The end is not trimmed in ours.
	if want := int(at-int64(o.Head().PreSkip)) * 2; len(ours) != want || len(theirs) > len(ours) || !bytes.Equal(theirs, ours[:len(theirs)]) {
		t.Errorf("theirs decodes to %d bytes, ours to %d, want %d and the same sound", len(theirs), len(ours), want)
	}
	if !bytes.Equal(decode("cut.opus"), ours) {
		t.Error("without the end page it sounds different")
	}
	if silent(theirs) {
		t.Error("the sound that was compared is silence")
	}
}

func silent(pcm []byte) bool { return len(pcm) > 0 && bytes.Count(pcm, []byte{0}) == len(pcm) }

// TestCoverIsSilence decodes covers of every duration with ciphertext-like
// padding: exact digital silence from the first sample to the last, and of the
// right length.
func TestCoverIsSilence(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []time.Duration{10 * ms, 20 * ms, 40 * ms, 60 * ms} {
		for _, channels := range []uint8{1, 2} {
			var out bytes.Buffer
			w, err := ogg.NewWriter(&out, 7, ogg.Head{Channels: channels, InputSampleRate: ogg.SampleRate}, ogg.Tags{Vendor: "cover"})
			if err != nil {
				t.Fatal(err)
			}
			x, at := uint32(1), int64(0)
			const n = 200
			for i := range n {
				padding := make([]byte, i*950/n)
				for j := range padding {
					x = x*1664525 + 1013904223
					padding[j] = byte(x >> 24)
				}
				p, err := opus.AppendCover(nil, d, padding)
				if err != nil {
					t.Fatal(err)
				}
				at += ogg.Samples(d)
				if err := w.WritePacket(p, at); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "cover.opus"), out.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			tool(t, dir, "opusdec", "--quiet", "--no-dither", "--rate", "48000", "cover.opus", "pcm.raw")
			pcm, err := os.ReadFile(filepath.Join(dir, "pcm.raw"))
			if err != nil {
				t.Fatal(err)
			}
			if want := int(at) * 2 * int(channels); len(pcm) != want || !silent(pcm) {
				t.Errorf("%v, %d channels: %d bytes of PCM, want %d; silent: %v", d, channels, len(pcm), want, silent(pcm))
			}
		}
	}
}
