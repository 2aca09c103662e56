package opus_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/opus"
)

// coverRow is the layout written out, apart from the code that makes it.
var coverRows = []struct {
	d    time.Duration
	head []byte
	m    int
}{
	{10 * ms, []byte{0xF3, 0x41}, 1},
	{20 * ms, []byte{0xFB, 0x41}, 1},
	{40 * ms, []byte{0xFB, 0x42}, 2},
	{60 * ms, []byte{0xFB, 0x43}, 3},
}

var padLengths = []struct {
	p      int
	padlen []byte
}{
	{0, []byte{0}}, {1, []byte{1}}, {2, []byte{2}}, {254, []byte{254}},
	{255, []byte{255, 1}}, {508, []byte{255, 254}},
	{509, []byte{255, 255, 1}}, {762, []byte{255, 255, 254}},
	{763, []byte{255, 255, 255, 1}}, {951, []byte{255, 255, 255, 189}},
}

func TestCover(t *testing.T) {
	for _, c := range coverRows {
		for _, l := range padLengths {
			padding := fill(l.p)
			want := cat(c.head, l.padlen, bytes.Repeat([]byte{0xFF, 0xFE}, c.m), padding)
			got, err := opus.AppendCover([]byte("before"), c.d, padding)
			if err != nil || !bytes.Equal(got, cat("before", want)) {
				t.Fatalf("%v, P=%d: %x, %v; want %x", c.d, l.p, got, err, want)
			}
			if n := opus.CoverLen(c.d, l.p); n != len(want) {
				t.Errorf("%v, P=%d: CoverLen %d, want %d", c.d, l.p, n, len(want))
			}
			d, back, ok := opus.ParseCover(want)
			if !ok || d != c.d || !bytes.Equal(back, padding) {
				t.Errorf("%v, P=%d: parses as %v, %d bytes, %v", c.d, l.p, d, len(back), ok)
			}
			var p opus.Packet
			if err := opus.Parse(want, &p); err != nil || p.Duration() != c.d || !bytes.Equal(p.Padding, padding) {
				t.Errorf("%v, P=%d: RFC 6716 reads %v, %d bytes, %v", c.d, l.p, p.Duration(), len(p.Padding), err)
			}
			if err := opus.Check(want, c.d); err != nil {
				t.Errorf("%v, P=%d: firewall: %v", c.d, l.p, err)
			}
			// Lost or added bytes are no cover.
			for n := range want {
				if _, _, ok := opus.ParseCover(want[:n]); ok {
					t.Errorf("%v, P=%d: %d of %d bytes pass", c.d, l.p, n, len(want))
				}
			}
			if _, _, ok := opus.ParseCover(append(want, 0)); ok {
				t.Errorf("%v, P=%d: a byte more passes", c.d, l.p)
			}
		}
	}
}

func TestCoverDuration(t *testing.T) {
	for _, d := range []time.Duration{0, -20 * ms, 5 * ms, 30 * ms, 50 * ms, 80 * ms, 20*ms + 1} {
		got, err := opus.AppendCover([]byte("x"), d, nil)
		if !errors.Is(err, opus.ErrDuration) || string(got) != "x" {
			t.Errorf("%v: %x, %v", d, got, err)
		}
		if opus.CoverLen(d, 4) != 0 || opus.MaxCoverPadding(d, 100) != -1 {
			t.Errorf("%v: CoverLen %d, MaxCoverPadding %d", d, opus.CoverLen(d, 4), opus.MaxCoverPadding(d, 100))
		}
	}
	if opus.CoverLen(20*ms, -1) != 0 {
		t.Error("negative padding has a length")
	}
}

// TestMaxCoverPadding compares with the definition, over all sizes of interest.
func TestMaxCoverPadding(t *testing.T) {
	for _, c := range coverRows {
		for total := range 1500 {
			want := -1
			for p := 0; opus.CoverLen(c.d, p) <= total; p++ {
				want = p
			}
			if got := opus.MaxCoverPadding(c.d, total); got != want {
				t.Fatalf("%v in %d bytes: %d, want %d", c.d, total, got, want)
			}
		}
	}
	if got := opus.MaxCoverPadding(20*ms, 960); got != 952 {
		t.Errorf("20 ms in 960 bytes: %d, want 952", got)
	}
}

// TestParseCoverRefuses has packets beside a cover; most are valid Opus and
// some even silent.
func TestParseCoverRefuses(t *testing.T) {
	for _, r := range []struct {
		name string
		b    []byte
		opus bool // RFC 6716 accepts it
	}{
		{"nothing", nil, false},
		{"TOC alone", cat(0xFB), false},
		{"the encoder's own silence", cat(0xF8, 0xFF, 0xFE), true},
		{"no padding", cat(0xFB, 0x01, 0xFF, 0xFE), true},
		{"speech with zero padding", cat(0xFB, 0x41, 3, "ab", 0, 0, 0), true},
		{"one wrong byte in the first frame", cat(0xFB, 0x42, 1, 0xFF, 0xFF, 0xFF, 0xFE, "p"), true},
		{"one wrong byte in the last frame", cat(0xFB, 0x42, 1, 0xFF, 0xFE, 0xFE, 0xFE, "p"), true},
		{"frames of one byte", cat(0xFB, 0x42, 1, 0xFF, 0xFE, "p"), true},
		{"frames of nothing", cat(0xFB, 0x41, 1, "p"), true},
		{"frames of three bytes", cat(0xFB, 0x41, 1, 0xFF, 0xFE, 0xFE, "p"), true},
		{"stereo", cat(0xFF, 0x41, 1, 0xFF, 0xFE, "p"), true},
		{"5 ms", cat(0xEB, 0x41, 1, 0xFF, 0xFE, "p"), true},
		{"two of 10 ms", cat(0xF3, 0x42, 1, 0xFF, 0xFE, 0xFF, 0xFE, "p"), true},
		{"VBR", cat(0xFB, 0xC1, 1, 0xFF, 0xFE, "p"), true},
		{"four of 20 ms", cat(0xFB, 0x44, 1, bytes.Repeat([]byte{0xFF, 0xFE}, 4), "p"), true},
		{"no frames", cat(0xFB, 0x40, 1, "p"), false},
		{"padding 254 in two bytes", cat(0xFB, 0x41, 255, 0, 0xFF, 0xFE, fill(254)), true},
		{"padding 508 in three bytes", cat(0xFB, 0x41, 255, 255, 0, 0xFF, 0xFE, fill(508)), true},
		{"padding length does not end", cat(0xFB, 0x41, 255), false},
		{"no padding length", cat(0xFB, 0x41), false},
	} {
		if d, p, ok := opus.ParseCover(r.b); ok {
			t.Errorf("%s: a cover of %v with %x", r.name, d, p)
		}
		var p opus.Packet
		if err := opus.Parse(r.b, &p); (err == nil) != r.opus {
			t.Errorf("%s: as Opus: %v", r.name, err)
		}
	}
}

func TestCheck(t *testing.T) {
	longest, err := opus.AppendCover(nil, 20*ms, fill(opus.MaxCoverPadding(20*ms, opus.MaxCheckLen)))
	if err != nil || len(longest) != 980 {
		t.Fatal(len(longest), err)
	}
	for _, r := range []struct {
		name string
		b    []byte
		want time.Duration
		err  error
	}{
		{"20 ms", cat(0xF8, "abc"), 20 * ms, nil},
		{"20 ms, any wanted", cat(0xF8, "abc"), 0, nil},
		{"20 ms stereo", cat(0xFC, "abc"), 20 * ms, nil},
		{"SILK 60 ms", cat(0x18, "abc"), 60 * ms, nil},
		{"four of 2.5 ms", cat(0xE3, 4, "aabbccdd"), 10 * ms, nil},
		{"largest", longest, 20 * ms, nil},
		{"one byte above", append(longest[:len(longest):len(longest)], 0), 20 * ms, opus.ErrTooLong},
		{"empty", nil, 0, opus.ErrEmpty},
		{"20 for 10 ms", cat(0xF8, "abc"), 10 * ms, opus.ErrDuration},
		{"10 for 20 ms", cat(0xF0, "abc"), 20 * ms, opus.ErrDuration},
		{"80 ms", cat(0xFB, 4, "abcd"), 0, opus.ErrOverlong},
		{"120 ms", cat(0x19, "ab"), 120 * ms, opus.ErrOverlong},
		{"2.5 ms", cat(0xE0, "abc"), 0, opus.ErrUneven},
		{"5 ms", cat(0xE8, "abc"), 5 * ms, opus.ErrUneven},
		{"12.5 ms", cat(0xE3, 5, "abcde"), 0, opus.ErrUneven},
		{"malformed", cat(0xF9, "abc"), 0, opus.ErrOddFrames},
	} {
		if err := opus.Check(r.b, r.want); !errors.Is(err, r.err) {
			t.Errorf("%s: %v, want %v", r.name, err, r.err)
		}
	}
}

func FuzzParseCover(f *testing.F) {
	for _, l := range padLengths {
		b, _ := opus.AppendCover(nil, 20*ms, fill(l.p))
		f.Add(b)
	}
	f.Add(cat(0xF3, 0x41, 2, 0xFF, 0xFE, 0, 0x10))
	f.Add(cat(0xFB, 0x43, 0, bytes.Repeat([]byte{0xFF, 0xFE}, 3)))
	f.Add(cat(0xFB, 0x41, 255, 0, 0xFF, 0xFE, fill(254)))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, padding, ok := opus.ParseCover(b)
		if ok {
			again, err := opus.AppendCover(nil, d, padding)
			if err != nil || !bytes.Equal(again, b) {
				t.Errorf("%x becomes %x, %v", b, again, err)
			}
			if od, err := opus.Duration(b); err != nil || od != d {
				t.Errorf("as Opus %v, %v; as cover %v", od, err, d)
			}
		}
		// Whatever b is, it can ride.
		for _, c := range coverRows {
			made, err := opus.AppendCover(nil, c.d, b)
			if err != nil {
				t.Fatal(err)
			}
			if d, back, ok := opus.ParseCover(made); !ok || d != c.d || !bytes.Equal(back, b) {
				t.Errorf("%v around %x is lost", c.d, b)
			}
		}
	})
}

func TestCoverDoesNotAllocate(t *testing.T) {
	dst, padding := make([]byte, 0, 960), fill(700)
	if n := testing.AllocsPerRun(100, func() {
		b, err := opus.AppendCover(dst, 40*ms, padding)
		if _, _, ok := opus.ParseCover(b); err != nil || !ok {
			t.Fatal("wrong result")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppendCover(b *testing.B) {
	dst, padding := make([]byte, 0, 960), fill(120)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := opus.AppendCover(dst, 20*ms, padding); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseCover(b *testing.B) {
	one, _ := opus.AppendCover(nil, 20*ms, fill(120))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := opus.ParseCover(one); !ok {
			b.Fatal("not a cover")
		}
	}
}
