package opus_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/opus"
)

// Each row gives the parts as RFC 6716 writes them, by hand.
func TestSplit(t *testing.T) {
	for _, r := range []struct {
		name string
		b    []byte
		each time.Duration
		want [][]byte
	}{
		{"one frame stays", cat(0xF8, "abc"), 20 * ms, [][]byte{cat(0xF8, "abc")}},
		{"one frame of 60 ms stays", cat(0x18, "abc"), 60 * ms, [][]byte{cat(0x18, "abc")}},
		{"code 1", cat(0xF9, "aabb"), 20 * ms, [][]byte{cat(0xF8, "aa"), cat(0xF8, "bb")}},
		{"code 2, stereo", cat(0xFE, 3, "aaab"), 20 * ms, [][]byte{cat(0xFC, "aaa"), cat(0xFC, "b")}},
		{"code 3, constant", cat(0xFB, 3, "aabbcc"), 20 * ms, [][]byte{cat(0xF8, "aa"), cat(0xF8, "bb"), cat(0xF8, "cc")}},
		{"code 3, variable, padded", cat(0xFB, 0xC3, 2, 1, 2, "abbccc", "pp"), 20 * ms, [][]byte{cat(0xF8, "a"), cat(0xF8, "bb"), cat(0xF8, "ccc")}},
		{"nothing sent for one frame", cat(0xFB, 0x83, 1, 0, "ab"), 20 * ms, [][]byte{cat(0xF8, "a"), cat(0xF8), cat(0xF8, "b")}},
		{"six of 10 ms", cat(0xF3, 6, "abcdef"), 10 * ms, [][]byte{cat(0xF0, "a"), cat(0xF0, "b"), cat(0xF0, "c"), cat(0xF0, "d"), cat(0xF0, "e"), cat(0xF0, "f")}},
		{"eight of 2.5 ms", cat(0xE3, 8, "abcdefgh"), 10 * ms, [][]byte{cat(0xE3, 0x84, 1, 1, 1, "abcd"), cat(0xE3, 0x84, 1, 1, 1, "efgh")}},
		{"four of 5 ms, long", cat(0xEB, 4, fill(1200)), 10 * ms, [][]byte{cat(0xEB, 0x82, 252, 12, fill(600)), cat(0xEB, 0x82, 252, 12, fill(600))}},
		{"four of 2.5 ms stay", cat(0xE3, 4, "abcd"), 10 * ms, [][]byte{cat(0xE3, 4, "abcd")}},
	} {
		parts, each, err := opus.Split(r.b)
		if err != nil || each != r.each || len(parts) != len(r.want) {
			t.Errorf("%s: %d parts of %v, %v", r.name, len(parts), each, err)
			continue
		}
		for i, p := range parts {
			if !bytes.Equal(p, r.want[i]) {
				t.Errorf("%s: part %d is % x, want % x", r.name, i, p, r.want[i])
			}
		}
	}
	for name, r := range map[string]struct {
		b   []byte
		err error
	}{
		"nothing":        {nil, opus.ErrEmpty},
		"malformed":      {cat(0xF9, "abc"), opus.ErrOddFrames},
		"three of 5 ms":  {cat(0xEB, 3, "abc"), opus.ErrUneven},
		"one of 2.5 ms":  {cat(0xE0, "a"), opus.ErrUneven},
		"five of 2.5 ms": {cat(0xE3, 5, "abcde"), opus.ErrUneven},
	} {
		if parts, _, err := opus.Split(r.b); !errors.Is(err, r.err) || parts != nil {
			t.Errorf("%s: %d parts, %v, want %v", name, len(parts), err, r.err)
		}
	}
}

// FuzzSplit: the parts hold the same frames in the same order, last as long, and
// are packets of the length that is said.
func FuzzSplit(f *testing.F) {
	for _, b := range [][]byte{
		cat(0xF9, "abcd"), cat(0xFA, 252, 0, fill(253)), cat(0xFB, 0xC3, 2, 1, 2, "abbccc", "pp"), cat(0xE3, 48, fill(48)), cat(0xEB, 4, fill(1200)),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		parts, each, err := opus.Split(b)
		if err != nil {
			return
		}
		var whole, part opus.Packet
		if err := opus.Parse(b, &whole); err != nil {
			t.Fatal(err)
		}
		if d := each * time.Duration(len(parts)); d != whole.Duration() {
			t.Errorf("%d parts of %v from %v", len(parts), each, whole.Duration())
		}
		at := 0
		for _, p := range parts {
			if err := opus.Parse(p, &part); err != nil || part.Duration() != each || part.TOC.Config() != whole.TOC.Config() || part.TOC.Stereo() != whole.TOC.Stereo() {
				t.Fatalf("% x: %v, %v", p, part.Duration(), err)
			}
			for _, frame := range part.Frames {
				if !bytes.Equal(frame, whole.Frame(at)) {
					t.Fatalf("frame %d is another", at)
				}
				at++
			}
		}
		if at != whole.Len() {
			t.Errorf("%d of %d frames", at, whole.Len())
		}
	})
}
