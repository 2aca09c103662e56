package carrier_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/carrier"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/internal/vectors"
)

// bulkFile is docs/spec/vectors/bulk.json: Sotto protocol §13, 2.
type bulkFile struct {
	About []string     `json:"about"`
	Texts []textVector `json:"texts"`
	Shown []textVector `json:"shown"`
	Sent  []bulkVector `json:"sent"`
}

type textVector struct {
	vectors.Case
	Text  string      `json:"text"`
	As    int         `json:"then_a,omitempty"` // behind it come so many A,
	End   string      `json:"end,omitempty"`    // and this
	Kind  uint8       `json:"kind,omitempty"`
	ID    vectors.Hex `json:"id,omitempty"`
	Index int         `json:"index,omitempty"`
	Count int         `json:"count,omitempty"`
	Part  vectors.Hex `json:"part,omitempty"`
}

type bulkVector struct {
	vectors.Case
	Regime             string      `json:"regime"`
	AllowHTML          bool        `json:"allow_html"`
	MessageLength      uint32      `json:"message_length"`
	ImageMessageLength uint32      `json:"image_message_length"`
	Receivers          int         `json:"receivers"`
	Kind               uint8       `json:"kind"`
	Body               vectors.Hex `json:"body"`
	Form               string      `json:"form,omitempty"`
	Messages           []message   `json:"messages,omitempty"`
}

type message struct {
	Characters int         `json:"characters"`
	SHA256     vectors.Hex `json:"sha256"`
}

func (v textVector) whole() string { return v.Text + strings.Repeat("A", v.As) + v.End }

// short writes a long run of A in a text as a number.
func (v textVector) short() textVector {
	end := strings.LastIndexByte(v.Text, 'A') + 1
	begin := len(strings.TrimRight(v.Text[:end], "A"))
	v.Text, v.As, v.End = v.Text[:begin], end-begin, v.Text[end:]
	return v
}

func makeBulk() bulkFile {
	f := bulkFile{About: []string{
		"Bulk on the text path: Sotto protocol, section 1.3.",
		"texts: a text message, which is one part of an object or, where it is not valid, is dropped and shown to nobody. Behind text stand as many A as then_a says, and then end.",
		"shown: other texts of people and servers. What is not valid is taken for a damaged part and shown to nobody.",
		"sent: how a body goes as text in this regime (E: a body above 6 916 bytes; N; T is uMurmur) with these values of ServerConfig, to so many sessions besides the own one, which in T is listed too. The messages stand in the order of their index. Where a limit of the server bounds a part, it is such that a message with an index and a count of three digits fits. What is not valid does not fit and is refused.",
	}}
	part := func(why, text string, kind byte, index, count int, id, body string) {
		f.Texts = append(f.Texts, textVector{Case: vectors.Good("%s", why), Text: text, Kind: kind, ID: []byte(id), Index: index, Count: count, Part: []byte(body)})
	}
	const id = "\xfb\xef\xbe\x01\x02\x03\x04\x05"
	part("plain form, one byte", "sotto:1,03,0,1,++++AQIDBAVh", 3, 0, 1, id, "a")
	part("plain form, the last of 128", "sotto:1,0A,127,128,++++AQIDBAVhYg==", 0x0A, 127, 128, id, "ab")
	part("image form", `<img src="sotto:1,02,1,8,++++AQIDBAVhYmM="/>`, 2, 1, 8, id, "abc")
	part("image form, the last of 8", `<img src="sotto:1,02,7,8,++++AQIDBAVhYmM="/>`, 2, 7, 8, id, "abc")
	part("an unknown kind has its form too", "sotto:1,EE,0,1,++++AQIDBAVhYmNk", 0xEE, 0, 1, id, "abcd")
	for _, c := range []struct {
		form  string
		most  int
		image bool
	}{{"plain", 4400, false}, {"image", 96000, true}} {
		for n := c.most; n <= c.most+1; n++ {
			v := textVector{Case: vectors.Good("%s form, a part of %d bytes, the largest", c.form, n), Kind: 2, ID: []byte(id), Index: 1, Count: 8, Part: make([]byte, n)}
			v.Text = "sotto:1,02,1,8," + base64.StdEncoding.EncodeToString(slices.Concat([]byte(id), v.Part))
			if c.image {
				v.Text = `<img src="` + v.Text + `"/>`
			}
			if n > c.most {
				v = textVector{Case: vectors.Bad("%s form, a part of %d bytes, one too many", c.form, n), Text: v.Text}
			}
			f.Texts = append(f.Texts, v.short())
		}
	}
	for _, c := range [][2]string{
		{"another version", "sotto:2,03,0,1,++++AQIDBAVh"}, {"kind in lower case", "sotto:1,0a,0,1,++++AQIDBAVh"},
		{"kind of one digit", "sotto:1,3,0,1,++++AQIDBAVh"}, {"kind that is no hex", "sotto:1,0G,0,1,++++AQIDBAVh"},
		{"a leading zero", "sotto:1,03,00,1,++++AQIDBAVh"}, {"a sign", "sotto:1,03,+0,1,++++AQIDBAVh"},
		{"a blank", "sotto:1,03,0, 1,++++AQIDBAVh"}, {"no index", "sotto:1,03,,1,++++AQIDBAVh"},
		{"count 0", "sotto:1,03,0,0,++++AQIDBAVh"}, {"count 129", "sotto:1,03,0,129,++++AQIDBAVh"},
		{"index = count", "sotto:1,03,1,1,++++AQIDBAVh"}, {"a field is missing", "sotto:1,03,0,++++AQIDBAVh"},
		{"a field more", "sotto:1,03,0,1,1,++++AQIDBAVh"}, {"no base64", "sotto:1,03,0,1,"},
		{"seven bytes", "sotto:1,03,0,1,++++AQIDBA=="}, {"the id alone", "sotto:1,03,0,1,++++AQIDBAU="},
		{"the alphabet of URLs", "sotto:1,03,0,1,----AQIDBAVh"}, {"no padding", "sotto:1,03,0,1,++++AQIDBAVhYg"},
		{"bits behind the end", "sotto:1,03,0,1,++++AQIDBAVhYh=="}, {"a line break", "sotto:1,03,0,1,++++AQID\nBAVh"},
		{"a blank in front", " sotto:1,03,0,1,++++AQIDBAVh"}, {"image without end", `<img src="sotto:1,03,0,1,++++AQIDBAVh"`},
		{"image with another end", `<img src="sotto:1,03,0,1,++++AQIDBAVh">`}, {"image and more", `<img src="sotto:1,03,0,1,++++AQIDBAVh"/>hi`},
		{"image form, one of 9", `<img src="sotto:1,02,1,9,++++AQIDBAVhYmM="/>`},
		{"image form, the first of 128", `<img src="sotto:1,02,0,128,++++AQIDBAVhYmM="/>`},
		{"image form in capitals", `<IMG SRC="sotto:1,02,1,8,++++AQIDBAVhYmM="/>`},
		{"image form with a blank before its end", `<img src="sotto:1,02,1,8,++++AQIDBAVhYmM=" />`},
		{"plain with the end of an image", `sotto:1,03,0,1,++++AQIDBAVh"/>`},
	} {
		f.Texts = append(f.Texts, textVector{Case: vectors.Bad("%s", c[0]), Text: c[1]})
	}
	for _, c := range []struct {
		shown     bool
		why, text string
	}{
		{true, "the mark in a sentence", "I use sotto:1 at home"},
		{true, "no digit behind the mark", "sotto: see there"},
		{true, "the mark without its colon", "sotto1,03,0,1,++++AQIDBAVh"},
		{true, "quoted in a sentence", `he said "sotto:1"`},
		{true, "the value of another attribute", `<a href="sotto:1,03,0,1,++++AQIDBAVh">x</a>`},
		{true, "a letter in front", "xsotto:1,03,0,1,++++AQIDBAVh"},
		{false, "in capitals", "SOTTO:1,03,0,1,++++AQIDBAVh"},
		{false, "another version", "sotto:9"},
		{false, "cut behind the digit", "sotto:1"},
		{false, "blanks in front", " \t\r\nsotto:1,03,0,1,++++AQIDBAVh"},
		{false, "blanks of Unicode in front", "\u00a0\u200b\ufeffsotto:1,03"},
		{false, "behind a tag", "<p>sotto:1,03,0,1,++++AQIDBAVh</p>"},
		{false, "behind an escaped tag", "&lt;p&gt;sotto:1,03,0,1,++++AQIDBAVh"},
		{false, "an image that somebody wrote anew", `hi <IMG width=1 SRC = 'sotto:1,03,0,1,++++AQIDBAVh'>`},
		{false, "an image without quotes", "<img src=sotto:1,03,0,1,++++AQIDBAVh>"},
		{false, "an escaped image", "&lt;img src=&quot;sotto:1,03,0,1,++++AQIDBAVh&quot;/&gt;"},
	} {
		v := textVector{Case: vectors.Bad("%s", c.why), Text: c.text}
		v.Valid = c.shown
		f.Shown = append(f.Shown, v)
	}

	const kind = 2
	for _, c := range []struct {
		regime        string
		html          bool
		plain, images uint32
		receivers, n  int
		image         bool
		size          int // of a part; 0: does not fit
	}{
		{"N", true, 5000, 131072, 1, 1, false, 3600},
		{"N", true, 5000, 131072, 1, 3600, false, 3600},
		{"N", true, 5000, 131072, 1, 3601, true, 96000},
		{"E", true, 5000, 131072, 1, 6917, true, 96000},
		{"E", true, 5000, 131072, 9, 96000, true, 96000},
		{"N", true, 5000, 131072, 1, 96001, true, 96000},
		{"N", true, 0, 0, 1, 512 << 10, true, 96000},
		{"N", true, 5000, 65536, 1, 49121, true, 49120},
		{"E", false, 5000, 131072, 1, 7201, false, 3600},
		{"N", false, 5000, 131072, 1, 128 * 3600, false, 3600},
		{"N", false, 0, 0, 1, 3601, false, 3600},
		{"N", false, 1000, 0, 1, 728, false, 727},
		{"T", true, 0, 0, 1, 4400, false, 4400},
		{"T", true, 0, 0, 1, 4401, false, 4400},
		{"T", true, 0, 0, 19, 4400, false, 4400},
		{"T", true, 0, 0, 20, 4400, false, 4394},
		{"T", true, 0, 0, 100, 4000, false, 4400 - 6*81},
		{"N", false, 5000, 131072, 1, 128*3600 + 1, false, 0},
		{"N", false, 30, 0, 1, 10, false, 0},
		{"N", true, 30, 45, 1, 10, false, 0},
		{"N", true, 5000, 131072, 1, 0, false, 0},
		{"N", false, 200, 0, 1, 128*127 + 1, false, 0},
		{"T", true, 0, 0, 740, 128*74 + 1, false, 0},
		{"T", true, 0, 0, 800, 1, false, 0},
	} {
		v := bulkVector{Regime: c.regime, AllowHTML: c.html, MessageLength: c.plain, ImageMessageLength: c.images,
			Receivers: c.receivers, Kind: kind, Body: bytes.Repeat([]byte{0xA5}, c.n)}
		if c.size == 0 {
			v.Case = vectors.Bad("%s, %d bytes to %d", c.regime, c.n, c.receivers)
			f.Sent = append(f.Sent, v)
			continue
		}
		if v.Form = "plain"; c.image {
			v.Form = "image"
		}
		for _, text := range rawTexts(kind, v.Body, c.size, c.image) {
			sum := sha256.Sum256([]byte(text))
			v.Messages = append(v.Messages, message{len(text), sum[:]})
		}
		v.Case = vectors.Good("%s, %d bytes to %d: %d in the %s form", c.regime, c.n, c.receivers, len(v.Messages), v.Form)
		f.Sent = append(f.Sent, v)
	}
	return f
}

// sendBulk returns the texts in which a body leaves, nil if it is refused.
func sendBulk(t *testing.T, v bulkVector) (texts []string) {
	t.Helper()
	c := carrier.New()
	now := start
	map[string]func(testing.TB, *carrier.Carrier, *time.Time, uint32){
		"N": connectN, "T": connectT,
		"E": func(tb testing.TB, c *carrier.Carrier, now *time.Time, s uint32) { connectE(tb, c, now, s) },
	}[v.Regime](t, c, &now, 7)
	handle(c, now, carrier.Limits{AllowHTML: v.AllowHTML, MessageLength: v.MessageLength, ImageMessageLength: v.ImageMessageLength})
	to := make([]uint32, v.Receivers)
	for i := range to {
		to[i] = uint32(100 + i)
	}
	outs := handle(c, now, carrier.Send{Token: 1, Object: envelope.Object{Kind: envelope.Kind(v.Kind), Body: v.Body}, To: to, Priority: carrier.PriorityText})
	for range 2000 {
		var next []carrier.Output
		for _, out := range outs {
			switch out := out.(type) {
			case carrier.TextOut:
				texts = append(texts, out.Message)
				if v.Regime == "T" {
					next = append(next, handle(c, now, carrier.Text{From: 7, Message: out.Message})...)
				}
			case carrier.Failed:
				return nil
			case carrier.Delivered:
				return texts
			case carrier.PluginOut:
				t.Fatalf("%s: goes as fragments", v.Why)
			}
		}
		if outs = next; len(outs) > 0 {
			continue
		}
		if d := c.Deadline(); d.After(now) {
			now = d
		}
		outs = handle(c, now, carrier.Tick{})
	}
	t.Fatalf("%s: neither done nor failed", v.Why)
	return nil
}

func TestVectorsBulk(t *testing.T) {
	f := vectors.Golden(t, *update, "../docs/spec/vectors/bulk.json", makeBulk())
	for _, c := range f.Texts {
		p, err := envelope.ParseText(c.whole())
		if (err == nil) != c.Valid || !envelope.LooksLikeText(c.whole()) {
			t.Errorf("text, %s: %v", c.Why, err)
		} else if c.Valid && (byte(p.Kind) != c.Kind || !bytes.Equal(p.ID[:], c.ID) || p.Index != c.Index || p.Count != c.Count || !bytes.Equal(p.Part, c.Part)) {
			t.Errorf("text, %s: %+v", c.Why, p)
		}
	}
	for _, c := range f.Shown {
		if envelope.LooksLikeText(c.Text) == c.Valid {
			t.Errorf("shown, %s: %v", c.Why, !c.Valid)
		}
		if _, err := envelope.ParseText(c.Text); err == nil {
			t.Errorf("shown, %s: is a part", c.Why)
		}
	}
	for _, c := range f.Sent {
		texts := sendBulk(t, c)
		if (texts != nil) != c.Valid || len(texts) != len(c.Messages) {
			t.Errorf("sent, %s: %d messages", c.Why, len(texts))
			continue
		}
		for i, m := range c.Messages {
			sum := sha256.Sum256([]byte(texts[i]))
			if len(texts[i]) != m.Characters || !bytes.Equal(sum[:], m.SHA256) || strings.HasPrefix(texts[i], "<img") != (c.Form == "image") {
				t.Errorf("sent, %s: message %d of %s is %.40s..., %d characters, %s", c.Why, i, c.Form, texts[i], len(texts[i]), hex.EncodeToString(sum[:4]))
				break
			}
			if _, err := envelope.ParseText(texts[i]); err != nil {
				t.Errorf("sent, %s: message %d: %v", c.Why, i, err)
			}
		}
	}
}
