package peers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Sentence is what Speak says when the test does not care.
const Sentence = "The quick brown fox jumps over the lazy dog, and nobody else hears it."

// Speech is a spoken sentence in every form a test wants.
type Speech struct {
	Text    string
	WAV     string        // path: mono, 48 kHz, 16 bit
	Opus    string        // path: Ogg Opus, mono
	Frame   time.Duration // duration of one packet
	Sound   Sound         // the samples of WAV
	Packets [][]byte      // the packets of Opus
}

// Speak makes a spoken sentence; text "" says Sentence. frameMS is the length of
// one Opus packet: 10, 20, 40 or 60 milliseconds.
func Speak(t testing.TB, text string, frameMS int) *Speech {
	t.Helper()
	if text == "" {
		text = Sentence
	}
	dir := t.TempDir()
	raw := filepath.Join(dir, "raw.wav")
	s := &Speech{
		Text:  text,
		WAV:   filepath.Join(dir, "speech.wav"),
		Opus:  filepath.Join(dir, "speech.opus"),
		Frame: time.Duration(frameMS) * time.Millisecond,
	}
	run(t, "espeak-ng", "-v", "en", "-s", "150", "-w", raw, text)
	// -R: the same dither each time, so the same sentence gives the same samples.
	run(t, "sox", "-R", raw, "-r", strconv.Itoa(SampleRate), "-c", "1", "-b", "16", s.WAV, "norm", "-3", "pad", "0.1", "0.1")
	run(t, "opusenc", "--quiet", "--framesize", strconv.Itoa(frameMS), "--bitrate", "40", s.WAV, s.Opus)
	s.Sound = ReadWAV(t, s.WAV)
	b, err := os.ReadFile(s.Opus)
	if err != nil {
		t.Fatalf("peers: %v", err)
	}
	if s.Packets, err = demuxOpus(b); err != nil {
		t.Fatal(err)
	}
	return s
}

// DecodeOpus decodes packets of equal length with opusdec, mixed to one channel.
func DecodeOpus(t testing.TB, packets [][]byte, frame time.Duration) Sound {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.opus"), filepath.Join(dir, "out.wav")
	b, err := muxOpus(packets, 1, int(frame*SampleRate/time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in, b, 0o600); err != nil {
		t.Fatalf("peers: %v", err)
	}
	// Dither would put noise where there is exact silence.
	run(t, "opusdec", "--quiet", "--no-dither", "--rate", strconv.Itoa(SampleRate), in, out)
	return ReadWAV(t, out)
}

// run runs a program to its end, at most a minute.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := try(t, nil, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// try is run for what may fail. env is added to the environment.
func try(t testing.TB, env []string, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, Tool(t, name), args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = 2 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("peers: %s %q: %w: %s", name, args, err, out)
	}
	return string(out), nil
}
