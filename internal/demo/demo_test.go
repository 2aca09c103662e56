package demo

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/sotto-voip/sotto/events"
)

// TestPromise: a promise that does not hold is printed as such and ends the demo.
func TestPromise(t *testing.T) {
	var out strings.Builder
	s := &stage{out: &out}
	if err := s.promise(true, "%d of %d", 3, 3); err != nil || out.String() != "  3 of 3\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	out.Reset()
	if err := s.promise(false, "2 of 3"); !errors.Is(err, ErrBroken) || !strings.Contains(out.String(), "NO") {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// TestLeaks: a packet of Alice is found wherever it stands in what was relayed.
func TestLeaks(t *testing.T) {
	said := [][]byte{[]byte("a packet of alice"), []byte("another of hers"), []byte("short")}
	for _, tt := range []struct {
		relayed []string
		want    int
	}{
		{nil, 0},
		{[]string{"ciphertext", "a packet of ", "short"}, 0}, // so short a one says nothing
		{[]string{"a packet of alice"}, 1},
		{[]string{"x another of hers x", "nothing", "xa packet of alice"}, 2},
		{[]string{"a packet of alice another of hers"}, 1},
	} {
		var relayed [][]byte
		for _, r := range tt.relayed {
			relayed = append(relayed, []byte(r))
		}
		if got := leaks(said, relayed); got != tt.want {
			t.Errorf("%q: %d, want %d", tt.relayed, got, tt.want)
		}
	}
}

// TestCaught: only a guard that names Carol, and her alone, has caught the middle.
func TestCaught(t *testing.T) {
	const says = " another certificate of this server: somebody may stand between."
	for text, want := range map[string]bool{
		"“carol” sees" + says:                true,
		"“alice” sees" + says:                false,
		"“alice”, “carol” see" + says:        false,
		"“carol” has no Sotto.":              false,
		"“carol” may hear for a moment.":     false,
		"somebody says: “carol” sees" + says: false,
	} {
		if got := caught(events.Event{Event: "notice", Text: text}); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if caught(events.Event{Event: "text", Text: "“carol” sees" + says}) {
		t.Error("a text that people write counts")
	}
}

// TestGets: bit for bit, all of it, and nothing else.
func TestGets(t *testing.T) {
	said := [][]byte{{1, 2}, {3}}
	for _, tt := range []struct {
		name  string
		heard [][]byte
		exact bool
	}{
		{"all", [][]byte{{1, 2}, {3}}, true},
		{"a bit off", [][]byte{{1, 2}, {2}}, false},
		{"in another order", [][]byte{{3}, {1, 2}}, false},
		{"more", [][]byte{{1, 2}, {3}, {3}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &person{heard: map[string][][]byte{}, more: make(chan struct{})}
			for _, packet := range tt.heard {
				p.hear("alice", packet)
			}
			got, exact := p.gets(t.Context(), "alice", said)
			if exact != tt.exact || !slices.EqualFunc(got, tt.heard, bytes.Equal) {
				t.Errorf("%v, exact %v", got, exact)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := &person{heard: map[string][][]byte{"alice": {{1, 2}}}, more: make(chan struct{})}
	if _, exact := p.gets(ctx, "alice", said); exact {
		t.Error("half of it is exact")
	}
}

// TestLoudness: the silent cover is exact silence, speech is not.
func TestLoudness(t *testing.T) {
	for _, tool := range []string{"espeak-ng", "sox", "opusenc", "opusdec"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("SOTTO_INTEROP") == "require" {
				t.Fatalf("%s is not here, and SOTTO_INTEROP=require", tool)
			}
			t.Skipf("%s is not here", tool)
		}
	}
	s := &stage{ctx: t.Context(), dir: t.TempDir()}
	said, err := s.voice("One, two, three.")
	if err != nil {
		t.Fatal(err)
	}
	speech, err := s.loudness(said)
	if err != nil || speech < -40 || speech > 0 {
		t.Errorf("speech: %v dB, %v", speech, err)
	}
	silent := slices.Repeat([][]byte{{0xF8, 0xFF, 0xFE}}, 50)
	if db, err := s.loudness(silent); err != nil || !math.IsInf(db, -1) {
		t.Errorf("silence: %v dB, %v", db, err)
	}
	if _, err := s.loudness(nil); err == nil {
		t.Error("nothing has a loudness")
	}
}
