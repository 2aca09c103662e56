package envelope_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/sotto-voip/sotto/envelope"
)

var textID = envelope.ID{0xFB, 0xEF, 0xBE, 1, 2, 3, 4, 5}

func TestTextGolden(t *testing.T) {
	for _, r := range []struct {
		t     envelope.TextPart
		image bool
		want  string
	}{
		// base64 of the eight bytes above and "a", "ab", "abc": + and / of the standard alphabet, both kinds of =
		{envelope.TextPart{Kind: envelope.KindWelcome, ID: textID, Index: 0, Count: 1, Part: []byte("a")}, false, "sotto:1,03,0,1,++++AQIDBAVh"},
		{envelope.TextPart{Kind: envelope.KindSecretReady, ID: textID, Index: 9, Count: 10, Part: []byte("ab")}, false, "sotto:1,0A,9,10,++++AQIDBAVhYg=="},
		{envelope.TextPart{Kind: 0x40, ID: textID, Index: 0, Count: 1, Part: []byte("a")}, false, "sotto:1,40,0,1,++++AQIDBAVh"},
		{envelope.TextPart{Kind: 0xFF, ID: textID, Index: 127, Count: 128, Part: []byte("abc")}, false, "sotto:1,FF,127,128,++++AQIDBAVhYmM="},
		{envelope.TextPart{Kind: envelope.KindWelcome, ID: textID, Index: 0, Count: 8, Part: []byte("a")}, true, `<img src="sotto:1,03,0,8,++++AQIDBAVh"/>`},
	} {
		got, err := envelope.AppendText([]byte("before"), r.t, r.image)
		if err != nil || string(got) != "before"+r.want {
			t.Errorf("%s, %v; want %s", got, err, r.want)
		}
		back, err := envelope.ParseText(r.want)
		if err != nil || back.Kind != r.t.Kind || back.ID != r.t.ID || back.Index != r.t.Index || back.Count != r.t.Count || !bytes.Equal(back.Part, r.t.Part) {
			t.Errorf("%s: %+v, %v", r.want, back, err)
		}
		if !envelope.LooksLikeText(r.want) {
			t.Errorf("%s: would be shown", r.want)
		}
	}
}

// lastPart is the last part of the largest count of a form.
func lastPart(image bool, n int) envelope.TextPart {
	count := envelope.MaxTextParts
	if image {
		count = envelope.MaxImageParts
	}
	return envelope.TextPart{Kind: 3, ID: textID, Index: count - 1, Count: count, Part: fill(n)}
}

// TestTextLimits stands at the exact limits of the three profiles.
func TestTextLimits(t *testing.T) {
	for _, r := range []struct {
		name     string
		n        int
		image    bool
		maxChars int // of the server; 0: refused
	}{
		{"plain", envelope.MaxPlainPart, false, 5000},
		{"uMurmur", envelope.MaxUMurmurPart, false, 8186 - 200},
		{"uMurmur and a byte", envelope.MaxUMurmurPart + 1, false, 0},
		{"image", envelope.MaxImagePart, true, 131072},
		{"image and a byte", envelope.MaxImagePart + 1, true, 0},
	} {
		p := lastPart(r.image, r.n)
		b, err := envelope.AppendText([]byte("x"), p, r.image)
		if r.maxChars == 0 {
			if !errors.Is(err, envelope.ErrTooLong) || string(b) != "x" {
				t.Errorf("%s: %d bytes, %v", r.name, len(b), err)
			}
			// nor is it read
			s := "sotto:1,03,0,1," + base64.StdEncoding.EncodeToString(append(textID[:], p.Part...))
			if r.image {
				s = `<img src="` + s + `"/>`
			}
			if _, err := envelope.ParseText(s); !errors.Is(err, envelope.ErrTooLong) {
				t.Errorf("%s: read: %v", r.name, err)
			}
			continue
		}
		if err != nil || len(b)-1 > r.maxChars {
			t.Errorf("%s: %d characters, %v; want at most %d", r.name, len(b)-1, err, r.maxChars)
		}
		if back, err := envelope.ParseText(string(b[1:])); err != nil || !bytes.Equal(back.Part, p.Part) {
			t.Errorf("%s: does not come back: %v", r.name, err)
		}
	}
	if _, err := envelope.ParseText(`<img src="sotto:1,` + strings.Repeat("A", 131072)); !errors.Is(err, envelope.ErrTooLong) {
		t.Error(err)
	}
}

// TestMaxTextPart checks that what is promised to fit does, and nothing is given away
// but for the digits of index and count.
func TestMaxTextPart(t *testing.T) {
	for _, image := range []bool{false, true} {
		for chars := 0; chars < 3000; chars++ {
			n := envelope.MaxTextPart(chars, image)
			length := func(n int) int {
				p := lastPart(image, n)
				b, err := envelope.AppendText(nil, p, image)
				if err != nil {
					t.Fatal(err)
				}
				// Room is left for three digits each, whatever the form.
				return len(b) + len("127128") - len(strconv.Itoa(p.Index)+strconv.Itoa(p.Count))
			}
			if n > 0 && length(n) > chars || length(n+1) <= chars {
				t.Fatalf("%d characters, image %v: %d bytes", chars, image, n)
			}
		}
	}
	for _, r := range []struct {
		chars int
		image bool
		want  int
	}{{5000, false, 3600}, {1 << 30, false, 3600}, {131072, true, 96000}, {1 << 30, true, 96000}, {0, true, 0}, {-5, false, 0}} {
		if got := envelope.MaxTextPart(r.chars, r.image); got != r.want {
			t.Errorf("%d, image %v: %d, want %d", r.chars, r.image, got, r.want)
		}
	}
}

func TestAppendTextRefuses(t *testing.T) {
	for _, r := range []struct {
		t    envelope.TextPart
		want error
	}{
		{envelope.TextPart{Count: 1}, envelope.ErrEmpty},
		{envelope.TextPart{Part: fill(1)}, envelope.ErrIndex},
		{envelope.TextPart{Index: 1, Count: 1, Part: fill(1)}, envelope.ErrIndex},
		{envelope.TextPart{Index: -1, Count: 1, Part: fill(1)}, envelope.ErrIndex},
		{envelope.TextPart{Index: 0, Count: 129, Part: fill(1)}, envelope.ErrIndex},
	} {
		for _, image := range []bool{false, true} {
			if b, err := envelope.AppendText([]byte("x"), r.t, image); !errors.Is(err, r.want) || string(b) != "x" {
				t.Errorf("%d of %d, %d bytes: %v, want %v", r.t.Index, r.t.Count, len(r.t.Part), err, r.want)
			}
		}
	}
}

// TestParseTextRefuses: broken ones are refused, and still never shown.
func TestParseTextRefuses(t *testing.T) {
	for _, r := range []struct {
		name, s string
		want    error
	}{
		{"another version", "sotto:2,03,0,1,++++AQIDBAVh", envelope.ErrText},
		{"lower-case kind", "sotto:1,0a,0,1,++++AQIDBAVh", envelope.ErrText},
		{"kind of one digit", "sotto:1,3,0,1,++++AQIDBAVh", envelope.ErrText},
		{"kind of three digits", "sotto:1,003,0,1,++++AQIDBAVh", envelope.ErrText},
		{"kind no hex", "sotto:1,0G,0,1,++++AQIDBAVh", envelope.ErrText},
		{"leading zero", "sotto:1,03,00,1,++++AQIDBAVh", envelope.ErrText},
		{"sign", "sotto:1,03,+0,1,++++AQIDBAVh", envelope.ErrText},
		{"no index", "sotto:1,03,,1,++++AQIDBAVh", envelope.ErrText},
		{"four digits", "sotto:1,03,0,1000,++++AQIDBAVh", envelope.ErrText},
		{"blank", "sotto:1,03,0, 1,++++AQIDBAVh", envelope.ErrText},
		{"count 0", "sotto:1,03,0,0,++++AQIDBAVh", envelope.ErrIndex},
		{"count 129", "sotto:1,03,0,129,++++AQIDBAVh", envelope.ErrIndex},
		{"index = count", "sotto:1,03,1,1,++++AQIDBAVh", envelope.ErrIndex},
		{"field missing", "sotto:1,03,0,++++AQIDBAVh", envelope.ErrText},
		{"field more", "sotto:1,03,0,1,1,++++AQIDBAVh", envelope.ErrText},
		{"cut in front of base64", "sotto:1,03,0,1", envelope.ErrText},
		{"no base64", "sotto:1,03,0,1,", envelope.ErrTruncated},
		{"seven bytes", "sotto:1,03,0,1,++++AQIDBA==", envelope.ErrTruncated},
		{"id alone", "sotto:1,03,0,1,++++AQIDBAU=", envelope.ErrEmpty},
		{"URL alphabet", "sotto:1,03,0,1,----AQIDBAVh", envelope.ErrText},
		{"no =", "sotto:1,03,0,1,++++AQIDBAVhYg", envelope.ErrText},
		{"bits behind the end", "sotto:1,03,0,1,++++AQIDBAVhYh==", envelope.ErrText},
		{"line break", "sotto:1,03,0,1,++++AQID\nBAVh", envelope.ErrText},
		{"line break at the end", "sotto:1,03,0,1,++++AQIDBAVh\r\n", envelope.ErrText},
		{"blank in front", " sotto:1,03,0,1,++++AQIDBAVh", envelope.ErrText},
		{"image without end", `<img src="sotto:1,03,0,1,++++AQIDBAVh"`, envelope.ErrText},
		{"image with another end", `<img src="sotto:1,03,0,1,++++AQIDBAVh">`, envelope.ErrText},
		{"image and more", `<img src="sotto:1,03,0,1,++++AQIDBAVh"/>hi`, envelope.ErrText},
		{"two images", `<img src="sotto:1,03,0,1,++++AQIDBAVh"/><img src="sotto:1,03,0,1,++++AQIDBAVh"/>`, envelope.ErrText},
		{"plain with the end of an image", `sotto:1,03,0,1,++++AQIDBAVh"/>`, envelope.ErrText},
	} {
		if p, err := envelope.ParseText(r.s); !errors.Is(err, r.want) {
			t.Errorf("%s: %+v, %v, want %v", r.name, p, err, r.want)
		}
		if !envelope.LooksLikeText(r.s) {
			t.Errorf("%s: would be shown", r.name)
		}
	}
}

func TestLooksLikeText(t *testing.T) {
	for _, r := range []struct {
		s    string
		want bool
	}{
		{"sotto:1,03", true},
		{"sotto:1", true},
		{"sotto:0,03", true},
		{"SOTTO:1,03", true},
		{"\n \u00a0sotto:9,whatever", true},
		{"<b>sotto:1,03,0,1,AAAA</b>", true},
		{`<img src='sotto:1,03'>`, true},
		{`<IMG width=1 SRC = "sotto:1,03"/>`, true},
		{`<img src=sotto:1,03>`, true},
		{`&lt;img src=&quot;sotto:1,03&quot;/&gt;`, true},
		{`hello <img src="sotto:1,03"/>`, true},
		{`sotto: no. <img src="sotto:1,03"/>`, true},
		{"", false},
		{"x=sotto:1,03", false},
		{"the src sotto:1,03", false},
		{"sotto:", false},
		{"sotto:x", false},
		{"hello", false},
		{"sotto voce: 1, 2, 3", false},
		{"I saw sotto:1, what is it?", false},
		{`he wrote "sotto:1,03"`, false},
		{"risotto:1 portion", false},
		{`<img src="data:image/png;base64,AAAA"/>`, false},
		{`<a href="https://example.org/sotto:1">x</a>`, false},
		{"sotto1qqqq", false},
	} {
		if got := envelope.LooksLikeText(r.s); got != r.want {
			t.Errorf("%q: %v, want %v", r.s, got, r.want)
		}
	}
}

func FuzzParseText(f *testing.F) {
	f.Add("sotto:1,03,0,1,++++AQIDBAVh", []byte("a"), true)
	f.Add(`<img src="sotto:1,03,0,8,++++AQIDBAVh"/>`, []byte{}, false)
	f.Add("sotto:1,0A,9,10,++++AQIDBAVhYg==", []byte("abc"), false)
	f.Add("sotto:1,03,0,1,++++AQID\nBAVh", []byte("abcd"), true)
	f.Fuzz(func(t *testing.T, s string, part []byte, image bool) {
		if p, err := envelope.ParseText(s); err == nil {
			if !envelope.LooksLikeText(s) {
				t.Errorf("%q would be shown", s)
			}
			again, err := envelope.AppendText(nil, p, strings.HasPrefix(s, "<"))
			if err != nil || string(again) != s {
				t.Errorf("%q becomes %q, %v", s, again, err)
			}
		}
		p := envelope.TextPart{Kind: envelope.KindWelcome, ID: textID, Index: 1, Count: 2, Part: part}
		made, err := envelope.AppendText(nil, p, image)
		if err != nil {
			return
		}
		if back, err := envelope.ParseText(string(made)); err != nil || !bytes.Equal(back.Part, part) || back.ID != p.ID {
			t.Errorf("%x is lost: %v", part, err)
		}
	})
}

func BenchmarkAppendText(b *testing.B) {
	dst, p := make([]byte, 0, 131072), envelope.TextPart{Kind: 3, ID: textID, Count: 1, Part: fill(envelope.MaxImagePart)}
	b.SetBytes(envelope.MaxImagePart)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := envelope.AppendText(dst, p, true); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseText(b *testing.B) {
	text, _ := envelope.AppendText(nil, envelope.TextPart{Kind: 3, ID: textID, Count: 1, Part: fill(envelope.MaxImagePart)}, true)
	s := string(text)
	b.SetBytes(envelope.MaxImagePart)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := envelope.ParseText(s); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLooksLikeText has a text made to cost as much as it can.
func BenchmarkLooksLikeText(b *testing.B) {
	s := strings.Repeat("x sotto:1", 131072/9)
	b.SetBytes(int64(len(s)))
	b.ReportAllocs()
	for b.Loop() {
		if envelope.LooksLikeText(s) {
			b.Fatal("looks like a part")
		}
	}
}
