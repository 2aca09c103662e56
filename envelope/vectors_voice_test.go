package envelope_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/internal/vectors"
)

// voiceFile is docs/spec/vectors/voice.json: Sotto protocol §13, 3.
type voiceFile struct {
	About   []string    `json:"about"`
	Packets []voiceCase `json:"packets"`
}

type voiceCase struct {
	vectors.Case
	Opus     vectors.Hex `json:"opus"`
	Duration int         `json:"duration_ms,omitempty"`
	VK       uint8       `json:"vk,omitempty"`
	Rest     vectors.Hex `json:"rest,omitempty"`
}

// rawVoice writes a packet out by the letter of §1.5: a run of FF for each 254
// bytes of padding that the last byte cannot say.
func rawVoice(toc byte, frames int, padding []byte) []byte {
	b := []byte{toc, 0x40 | byte(frames)}
	p := len(padding)
	for p > 254 {
		b = append(b, 0xFF)
		p -= 254
	}
	b = append(b, byte(p))
	for range frames {
		b = append(b, 0xFF, 0xFE)
	}
	return append(b, padding...)
}

func makeVoice() voiceFile {
	f := voiceFile{About: []string{
		"Voice envelopes: Sotto protocol, section 1.5. A valid opus is a Sotto packet of this duration, vk and rest; the others are ordinary Opus, or none, and no Sotto packet.",
		"P is the number of bytes of padding: 00, vk and rest. A packet of vk 14 is a Sotto packet and is ignored.",
	}}
	shape := []struct {
		ms     int
		toc    byte
		frames int
	}{{10, 0xF3, 1}, {20, 0xFB, 1}, {40, 0xFB, 2}, {60, 0xFB, 3}}
	add := func(c vectors.Case, ms int, opus, padding []byte) {
		v := voiceCase{Case: c, Opus: opus}
		if c.Valid {
			v.Duration, v.VK, v.Rest = ms, padding[1], padding[2:]
		}
		f.Packets = append(f.Packets, v)
	}
	for i, s := range shape {
		for n, p := range []int{2, 254, 255, 508, 509, 762, 763, 951} {
			padding := slices.Concat([]byte{0, 0x10 + byte(n+i)%4}, fill(p-2))
			opus := rawVoice(s.toc, s.frames, padding)
			if len(opus) > 960 {
				add(vectors.Bad("%d ms, P = %d: %d bytes", s.ms, p, len(opus)), s.ms, opus, padding)
				continue
			}
			add(vectors.Good("%d ms, P = %d", s.ms, p), s.ms, opus, padding)
			if p%254 == 0 { // FE in the last byte of padlen; FF 00 would say the same
				k := 2 + p/254
				long := slices.Concat(opus[:k-1], []byte{0xFF, 0}, opus[k:])
				add(vectors.Bad("%d ms, P = %d in a byte more than it needs", s.ms, p), s.ms, long, nil)
			}
		}
		for _, p := range []int{0, 1} {
			add(vectors.Bad("%d ms, P = %d", s.ms, p), s.ms, rawVoice(s.toc, s.frames, make([]byte, p)), nil)
		}
		good := rawVoice(s.toc, s.frames, slices.Concat([]byte{0, 0x10}, fill(20)))
		add(vectors.Bad("%d ms, the last byte cut", s.ms), s.ms, good[:len(good)-1], nil)
		add(vectors.Bad("%d ms, a byte more", s.ms), s.ms, append(slices.Clone(good), 0), nil)
		wrong := slices.Clone(good)
		wrong[3+2*s.frames-1] = 0xFF
		add(vectors.Bad("%d ms, the last frame is FF FF", s.ms), s.ms, wrong, nil)
		wrong = slices.Clone(good)
		wrong[3] = 0xFE
		add(vectors.Bad("%d ms, the first frame is FE FE", s.ms), s.ms, wrong, nil)
	}
	// The largest: one frame leaves one byte of the 960 unused.
	add(vectors.Good("60 ms, 960 bytes"), 60, rawVoice(0xFB, 3, slices.Concat([]byte{0, 0x10}, fill(946))), slices.Concat([]byte{0, 0x10}, fill(946)))
	add(vectors.Bad("60 ms, 961 bytes"), 60, rawVoice(0xFB, 3, slices.Concat([]byte{0, 0x10}, fill(947))), nil)
	add(vectors.Good("vk 14"), 20, rawVoice(0xFB, 1, []byte{0, 0x14, 1}), []byte{0, 0x14, 1})
	body := []byte{1, 2, 3}
	for _, c := range []struct {
		why string
		b   []byte
	}{
		{"vk 0F", rawVoice(0xFB, 1, append([]byte{0, 0x0F}, body...))},
		{"vk 15", rawVoice(0xFB, 1, append([]byte{0, 0x15}, body...))},
		{"the first byte of padding is 01", rawVoice(0xFB, 1, append([]byte{1, 0x10}, body...))},
		{"zero padding", rawVoice(0xFB, 1, make([]byte, 30))},
		{"ordinary Opus, padded with zeros", []byte{0xFB, 0x41, 3, 'a', 'b', 'c', 0, 0, 0}},
		{"ordinary Opus of code 3 without padding", []byte{0xFB, 0x01, 'a', 'b', 'c'}},
		{"the encoder's silence", []byte{0xF8, 0xFF, 0xFE}},
		{"stereo", []byte{0xFF, 0x41, 2, 0xFF, 0xFE, 0, 0x10}},
		{"variable rate", []byte{0xFB, 0xC1, 2, 0xFF, 0xFE, 0, 0x10}},
		{"two frames of 10 ms", []byte{0xF3, 0x42, 2, 0xFF, 0xFE, 0xFF, 0xFE, 0, 0x10}},
		{"four frames", []byte{0xFB, 0x44, 2, 0xFF, 0xFE, 0xFF, 0xFE, 0xFF, 0xFE, 0xFF, 0xFE, 0, 0x10}},
		{"no frame", []byte{0xFB, 0x40, 2, 0, 0x10}},
		{"nothing", nil},
		{"a TOC alone", []byte{0xFB}},
		{"padlen without end", []byte{0xFB, 0x41, 0xFF}},
	} {
		add(vectors.Bad("%s", c.why), 20, c.b, nil)
	}
	return f
}

func TestVectorsVoice(t *testing.T) {
	f := vectors.Golden(t, *update, "../docs/spec/vectors/voice.json", makeVoice())
	for _, c := range f.Packets {
		d, vk, rest, ok := envelope.ParseVoice(c.Opus)
		if ok != c.Valid {
			t.Errorf("%s: %v", c.Why, ok)
			continue
		}
		if !ok {
			continue
		}
		if int(d.Milliseconds()) != c.Duration || vk != c.VK || !bytes.Equal(rest, c.Rest) {
			t.Errorf("%s: %v, %02x, %x", c.Why, d, vk, rest)
		}
		if vk == 0x14 {
			continue // nobody makes it
		}
		if b, err := envelope.AppendVoice(nil, d, append([]byte{c.VK}, c.Rest...)); err != nil || !bytes.Equal(b, c.Opus) {
			t.Errorf("%s: made %x, %v", c.Why, b, err)
		}
	}
}
