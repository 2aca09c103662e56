package opus_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/opus"
)

const ms = time.Millisecond

// cat joins bytes and byte slices.
func cat(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		}
	}
	return b
}

func fill(n int) []byte { return bytes.Repeat([]byte{0xA5}, n) }

func lengths(p *opus.Packet) []int {
	var n []int
	for _, f := range p.Frames {
		n = append(n, len(f))
	}
	return n
}

// TestParse has the packings that must pass. TOC 0x78|code is CELT FB 20 ms.
func TestParse(t *testing.T) {
	for _, r := range []struct {
		name    string
		b       []byte
		frames  []int
		padding int // -1: none
		vbr     bool
		d       time.Duration
	}{
		{"code 0, frame of nothing", cat(0xF8), []int{0}, -1, false, 20 * ms},
		{"code 0, digital silence", cat(0xF8, 0xFF, 0xFE), []int{2}, -1, false, 20 * ms},
		{"code 0, longest", cat(0xF8, fill(1275)), []int{1275}, -1, false, 20 * ms},
		{"code 1, two of nothing", cat(0xF9), []int{0, 0}, -1, false, 40 * ms},
		{"code 1", cat(0xF9, "abcd"), []int{2, 2}, -1, false, 40 * ms},
		{"code 1, longest", cat(0xF9, fill(2550)), []int{1275, 1275}, -1, false, 40 * ms},
		{"code 1, SILK 60 ms twice is 120 ms", cat(0x19, "ab"), []int{1, 1}, -1, false, 120 * ms},
		{"code 2, first of nothing", cat(0xFA, 0, "abc"), []int{0, 3}, -1, false, 40 * ms},
		{"code 2, second of nothing", cat(0xFA, 3, "abc"), []int{3, 0}, -1, false, 40 * ms},
		{"code 2, last one-byte length", cat(0xFA, 251, fill(252)), []int{251, 1}, -1, false, 40 * ms},
		{"code 2, first two-byte length", cat(0xFA, 252, 0, fill(253)), []int{252, 1}, -1, false, 40 * ms},
		{"code 2, longest", cat(0xFA, 255, 255, fill(2550)), []int{1275, 1275}, -1, false, 40 * ms},
		{"code 3, one frame", cat(0xFB, 1, "ab"), []int{2}, -1, false, 20 * ms},
		{"code 3, one frame of nothing", cat(0xFB, 1), []int{0}, -1, false, 20 * ms},
		{"code 3, three equal", cat(0xFB, 3, "aabbcc"), []int{2, 2, 2}, -1, false, 60 * ms},
		{"code 3, 48 frames of 2.5 ms", cat(0xE3, 48, fill(48)), slices.Repeat([]int{1}, 48), -1, false, 120 * ms},
		{"code 3, 48 longest", cat(0xE3, 48, fill(48*1275)), slices.Repeat([]int{1275}, 48), -1, false, 120 * ms},
		{"code 3, six of 20 ms", cat(0xFB, 6, fill(6)), slices.Repeat([]int{1}, 6), -1, false, 120 * ms},
		{"code 3, padding of nothing", cat(0xFB, 0x41, 0, "ab"), []int{2}, 0, false, 20 * ms},
		{"code 3, padding 1", cat(0xFB, 0x41, 1, "ab", "p"), []int{2}, 1, false, 20 * ms},
		{"code 3, padding 254", cat(0xFB, 0x41, 254, "ab", fill(254)), []int{2}, 254, false, 20 * ms},
		{"code 3, padding 254 in two bytes", cat(0xFB, 0x41, 255, 0, "ab", fill(254)), []int{2}, 254, false, 20 * ms},
		{"code 3, padding 255", cat(0xFB, 0x41, 255, 1, "ab", fill(255)), []int{2}, 255, false, 20 * ms},
		{"code 3, padding 763", cat(0xFB, 0x41, 255, 255, 255, 1, "ab", fill(763)), []int{2}, 763, false, 20 * ms},
		{"code 3, VBR one frame", cat(0xFB, 0x81, "abc"), []int{3}, -1, true, 20 * ms},
		{"code 3, VBR three", cat(0xFB, 0x83, 1, 0, "abbb"), []int{1, 0, 3}, -1, true, 60 * ms},
		{"code 3, VBR last of nothing", cat(0xFB, 0x82, 2, "ab"), []int{2, 0}, -1, true, 40 * ms},
		{"code 3, VBR two-byte length", cat(0xFB, 0x82, 253, 1, fill(257), "x"), []int{257, 1}, -1, true, 40 * ms},
		{"code 3, VBR and padding", cat(0xFB, 0xC2, 3, 1, "abb", "ppp"), []int{1, 2}, 3, true, 40 * ms},
		{"code 3, all padding", cat(0xFB, 0x42, 3, "ppp"), []int{0, 0}, 3, false, 40 * ms},
	} {
		t.Run(r.name, func(t *testing.T) {
			var p opus.Packet
			if err := opus.Parse(r.b, &p); err != nil {
				t.Fatal(err)
			}
			if got := lengths(&p); !slices.Equal(got, r.frames) || p.Len() != len(r.frames) {
				t.Errorf("frames %v (%d), want %v", got, p.Len(), r.frames)
			}
			if p.VBR != r.vbr {
				t.Errorf("VBR %v, want %v", p.VBR, r.vbr)
			}
			if (p.Padding == nil) != (r.padding < 0) || len(p.Padding) != max(0, r.padding) {
				t.Errorf("padding %d bytes, nil %v, want %d", len(p.Padding), p.Padding == nil, r.padding)
			}
			if d, err := opus.Duration(r.b); d != r.d || p.Duration() != r.d || err != nil {
				t.Errorf("duration %v and %v, want %v; %v", p.Duration(), d, r.d, err)
			}
		})
	}
}

// TestParseContent checks that frames and padding are the bytes they ought to be
// and that a Packet can be used again.
func TestParseContent(t *testing.T) {
	var p opus.Packet
	if err := opus.Parse(cat(0xE3, 48, fill(48)), &p); err != nil {
		t.Fatal(err)
	}
	if err := opus.Parse(cat(0xFB, 0xC3, 2, 1, 2, "abbccc", "pp"), &p); err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, f := range p.Frames {
		got = append(got, string(f))
		if !bytes.Equal(f, p.Frame(i)) || cap(f) != len(f) {
			t.Errorf("frame %d: %q and %q, capacity %d", i, f, p.Frame(i), cap(f))
		}
	}
	if !slices.Equal(got, []string{"a", "bb", "ccc"}) || string(p.Padding) != "pp" {
		t.Errorf("frames %q, padding %q", got, p.Padding)
	}
	for range p.Frames {
		break // a consumer may stop early
	}
	if err := opus.Parse([]byte{0xF8}, &p); err != nil || p.Len() != 1 || p.Padding != nil || p.VBR {
		t.Errorf("second use: %v, %d frames, padding %v, VBR %v", err, p.Len(), p.Padding, p.VBR)
	}
}

// TestParseRefuses has must-fail packets for each requirement of RFC 6716
// section 3.4, each one step beyond a packet that passes.
func TestParseRefuses(t *testing.T) {
	for _, r := range []struct {
		name string
		b    []byte
		want error
	}{
		{"R1 nothing", nil, opus.ErrEmpty},
		{"R2 code 0, 1276", cat(0xF8, fill(1276)), opus.ErrFrameLen},
		{"R2 code 1, twice 1276", cat(0xF9, fill(2552)), opus.ErrFrameLen},
		{"R2 code 2, second 1276", cat(0xFA, 1, fill(1277)), opus.ErrFrameLen},
		{"R2 code 3, 1276", cat(0xFB, 1, fill(1276)), opus.ErrFrameLen},
		{"R2 code 3 VBR, last 1276", cat(0xFB, 0x82, 1, fill(1277)), opus.ErrFrameLen},
		{"R3 even total", cat(0xF9, "abc"), opus.ErrOddFrames},
		{"R4 no length", cat(0xFA), opus.ErrFirstFrame},
		{"R4 half a length", cat(0xFA, 252), opus.ErrFirstFrame},
		{"R4 one byte short", cat(0xFA, 4, "abc"), opus.ErrFirstFrame},
		{"R4 one byte short, two-byte length", cat(0xFA, 252, 1, fill(255)), opus.ErrFirstFrame},
		{"R5 no frames", cat(0xFB, 0), opus.ErrFrameCount},
		{"R5 no frames, VBR", cat(0xFB, 0x80), opus.ErrFrameCount},
		{"R5 49 of 2.5 ms", cat(0xE3, 49, fill(49)), opus.ErrFrameCount},
		{"R5 7 of 20 ms", cat(0xFB, 7, fill(7)), opus.ErrFrameCount},
		{"R5 3 of 60 ms, SILK", cat(0x1B, 3, fill(3)), opus.ErrFrameCount},
		{"R6 no count", cat(0xFB), opus.ErrConstantRate},
		{"R6 not a multiple", cat(0xFB, 2, "abc"), opus.ErrConstantRate},
		{"R6 no padding length", cat(0xFB, 0x41), opus.ErrConstantRate},
		{"R6 padding length does not end", cat(0xFB, 0x41, 255, 255), opus.ErrConstantRate},
		{"R6 padding one too long", cat(0xFB, 0x41, 3, "pp"), opus.ErrConstantRate},
		{"R6 not a multiple before padding", cat(0xFB, 0x42, 1, "abc", "p"), opus.ErrConstantRate},
		{"R7 no length", cat(0xFB, 0x82), opus.ErrVariableRate},
		{"R7 half a length", cat(0xFB, 0x82, 253), opus.ErrVariableRate},
		{"R7 second length missing", cat(0xFB, 0x83, 0), opus.ErrVariableRate},
		{"R7 frames one too long", cat(0xFB, 0x83, 1, 2, "ab"), opus.ErrVariableRate},
		{"R7 no padding length", cat(0xFB, 0xC1), opus.ErrVariableRate},
		{"R7 padding one too long", cat(0xFB, 0xC1, 3, "pp"), opus.ErrVariableRate},
		{"R7 padding eats the frame", cat(0xFB, 0xC2, 2, 1, "pp"), opus.ErrVariableRate},
	} {
		var p opus.Packet
		if err := opus.Parse(r.b, &p); !errors.Is(err, r.want) {
			t.Errorf("%s: %v, want %v", r.name, err, r.want)
		}
		if d, err := opus.Duration(r.b); d != 0 || !errors.Is(err, r.want) {
			t.Errorf("%s: duration %v, %v", r.name, d, err)
		}
		if err := opus.Check(r.b, 0); err == nil {
			t.Errorf("%s: passes the firewall", r.name)
		}
	}
}

// rebuild writes p again, with the padding length in its shortest form.
func rebuild(p *opus.Packet) []byte {
	length := func(b []byte, n int) []byte {
		if n < 252 {
			return append(b, byte(n))
		}
		first := 252 + n%4 // 252 is a multiple of 4
		return append(b, byte(first), byte((n-first)/4))
	}
	b := []byte{byte(p.TOC)}
	switch p.TOC.Code() {
	case 2:
		b = length(b, len(p.Frame(0)))
	case 3:
		count := byte(p.Len())
		if p.VBR {
			count |= 0x80
		}
		if p.Padding != nil {
			count |= 0x40
		}
		b = append(b, count)
		if p.Padding != nil {
			n := len(p.Padding)
			for ; n > 254; n -= 254 {
				b = append(b, 255)
			}
			b = append(b, byte(n))
		}
		if p.VBR {
			for i := range p.Len() - 1 {
				b = length(b, len(p.Frame(i)))
			}
		}
	}
	for _, f := range p.Frames {
		b = append(b, f...)
	}
	return append(b, p.Padding...)
}

func FuzzParse(f *testing.F) {
	for _, b := range [][]byte{
		{0xF8, 0xFF, 0xFE}, cat(0xF9, "abcd"), cat(0xFA, 252, 0, fill(253)), cat(0xFB, 0xC3, 2, 1, 2, "abbccc", "pp"),
		cat(0xFB, 0x41, 255, 0, 0xFF, 0xFE, fill(254)), cat(0xE3, 48, fill(48)), {0xFB}, {},
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p opus.Packet
		if err := opus.Parse(b, &p); err != nil {
			if opus.Check(b, 0) == nil {
				t.Error("passes the firewall unparsed")
			}
			return
		}
		if p.Len() < 1 || p.Len() > opus.MaxFrames || p.Duration() > opus.MaxDuration {
			t.Errorf("%d frames, %v", p.Len(), p.Duration())
		}
		for i, frame := range p.Frames {
			if len(frame) > opus.MaxFrameLen {
				t.Errorf("frame %d has %d bytes", i, len(frame))
			}
		}
		// Every byte is accounted for: writing the parts again gives b, but for
		// one spelling of the padding length that is a byte longer.
		again := rebuild(&p)
		if bytes.Equal(again, b) {
			return
		}
		at := 2 + (len(p.Padding)+253)/254
		if p.Padding == nil || len(p.Padding)%254 != 0 || len(b) != len(again)+1 ||
			b[at-1] != 255 || b[at] != 0 || !bytes.Equal(b[at+1:], again[at:]) {
			t.Errorf("%x becomes %x", b, again)
		}
	})
}

func TestParseDoesNotAllocate(t *testing.T) {
	b := cat(0xFB, 0xC3, 2, 1, 2, "abbccc", "pp")
	var p opus.Packet
	if n := testing.AllocsPerRun(100, func() {
		if opus.Parse(b, &p) != nil || opus.Check(b, 60*ms) != nil || opus.Parse(nil, &p) == nil {
			t.Fatal("wrong result")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkParse(b *testing.B) {
	one := cat(0xFB, 0x41, 120, 0xFF, 0xFE, fill(120))
	var p opus.Packet
	b.ReportAllocs()
	for b.Loop() {
		if err := opus.Parse(one, &p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	one := cat(0xF8, fill(120))
	b.ReportAllocs()
	for b.Loop() {
		if err := opus.Check(one, 20*ms); err != nil {
			b.Fatal(err)
		}
	}
}
