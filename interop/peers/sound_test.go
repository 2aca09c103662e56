package peers_test

import (
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/interop/peers"
)

// TestSpeech checks the measuring instruments against each other: a sentence
// through Opus correlates with itself and with nothing else.
func TestSpeech(t *testing.T) {
	other := peers.Speak(t, "Completely different words are spoken in this second recording here.", 20)
	for _, ms := range []int{10, 20, 60} {
		s := peers.Speak(t, "", ms)
		want := s.Sound.Duration()
		if got := time.Duration(len(s.Packets)) * s.Frame; got < want || got > want+200*time.Millisecond {
			t.Errorf("%d ms: %v in %d packets, want about %v", ms, got, len(s.Packets), want)
		}
		heard := peers.DecodeOpus(t, s.Packets, s.Frame)
		v, at := peers.Correlate(s.Sound, heard)
		p := peers.CorrelateParts(s.Sound, heard, 500*time.Millisecond, 50*time.Millisecond)
		x, _ := peers.Correlate(other.Sound, heard)
		xp := peers.CorrelateParts(other.Sound, heard, 500*time.Millisecond, 50*time.Millisecond)
		t.Logf("%d ms: %v, %.1f dBFS, correlation %.3f at %v, by parts %.3f; with other words %.3f, %.3f",
			ms, want, heard.DBFS(), v, at, p, x, xp)
		if v < 0.8 || p < 0.8 || at < 0 || at > 20*time.Millisecond {
			t.Errorf("%d ms: correlation %.3f at %v, by parts %.3f, want more than 0.8 at the codec's delay", ms, v, at, p)
		}
		if x > 0.25 || xp > 0.4 {
			t.Errorf("%d ms: correlation with other words %.3f, by parts %.3f", ms, x, xp)
		}
	}
}

// TestCorrelate uses sounds whose answer is known.
func TestCorrelate(t *testing.T) {
	tone := make(peers.Sound, peers.SampleRate/10)
	for i := range tone {
		// A rising tone fits at one place only.
		x := float64(i) / peers.SampleRate
		tone[i] = 0.5 * math.Sin(2*math.Pi*(200+4000*x)*x)
	}
	silence := make(peers.Sound, 3000)
	late := append(append(append(peers.Sound{}, silence...), tone...), silence...)
	for _, c := range []struct {
		name  string
		a, b  peers.Sound
		value float64
		at    time.Duration
	}{
		{"itself", tone, tone, 1, 0},
		{"later", tone, late, 1, 3000 * time.Second / peers.SampleRate},
		{"begins before", late, tone, 1 / 1.0, -3000 * time.Second / peers.SampleRate},
		{"silence in", tone, silence, 0, 0},
		{"silence for", silence, tone, 0, 0},
		{"nothing", nil, tone, 0, 0},
	} {
		if v, at := peers.Correlate(c.a, c.b); math.Abs(v-c.value) > 1e-6 || at != c.at {
			t.Errorf("%s: %.6f at %v, want %.6f at %v", c.name, v, at, c.value, c.at)
		}
	}
}

// TestWAV writes and reads, and measures what is known.
func TestWAV(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.wav")
	peers.WriteWAV(t, name, peers.Sound{0, 0.5, -0.5, 2, -2})
	s := peers.ReadWAV(t, name)
	want := peers.Sound{0, 0.5, -0.5, 32767.0 / 32768, -1}
	if len(s) != len(want) {
		t.Fatalf("%d samples, want %d", len(s), len(want))
	}
	for i := range s {
		if s[i] != want[i] {
			t.Errorf("sample %d is %v, want %v", i, s[i], want[i])
		}
	}
	if rms := (peers.Sound{0.5, -0.5}).RMS(); rms != 0.5 {
		t.Errorf("RMS %v, want 0.5", rms)
	}
	if db := make(peers.Sound, 10).DBFS(); !math.IsInf(db, -1) {
		t.Errorf("silence has %v dBFS", db)
	}
}
