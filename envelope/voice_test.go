package envelope_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/opus"
)

const ms = time.Millisecond

var shapes = []struct {
	d    time.Duration
	head []byte
	m    int
}{
	{10 * ms, []byte{0xF3, 0x41}, 1}, {20 * ms, []byte{0xFB, 0x41}, 1},
	{40 * ms, []byte{0xFB, 0x42}, 2}, {60 * ms, []byte{0xFB, 0x43}, 3},
}

var padlens = []struct {
	p int
	b []byte
}{
	{2, []byte{2}}, {254, []byte{254}}, {255, []byte{255, 1}}, {508, []byte{255, 254}},
	{509, []byte{255, 255, 1}}, {762, []byte{255, 255, 254}}, {763, []byte{255, 255, 255, 1}}, {948, []byte{255, 255, 255, 186}},
}

// TestVoice has every duration at every padding length where the shape changes.
func TestVoice(t *testing.T) {
	for _, s := range shapes {
		for _, l := range padlens {
			for vk := byte(0x10); vk <= 0x13; vk++ {
				body := append([]byte{vk}, fill(l.p-2)...)
				want := slices.Concat(s.head, l.b, bytes.Repeat([]byte{0xFF, 0xFE}, s.m), []byte{0}, body)
				got, err := envelope.AppendVoice([]byte("before"), s.d, body)
				if err != nil || string(got) != "before"+string(want) {
					t.Fatalf("%v, P=%d: %x, %v; want %x", s.d, l.p, got, err, want)
				}
				if n := envelope.VoiceLen(s.d, len(body)); n != len(want) {
					t.Errorf("%v, P=%d: VoiceLen %d, want %d", s.d, l.p, n, len(want))
				}
				d, k, rest, ok := envelope.ParseVoice(want)
				if !ok || d != s.d || k != vk || !bytes.Equal(rest, body[1:]) {
					t.Errorf("%v, P=%d: parses as %v, %02X, %d bytes, %v", s.d, l.p, d, k, len(rest), ok)
				}
				if err := opus.Check(want, s.d); err != nil {
					t.Errorf("%v, P=%d: a stock client would not take it: %v", s.d, l.p, err)
				}
			}
		}
	}
}

// TestVoiceLimit stands at the 960 bytes.
func TestVoiceLimit(t *testing.T) {
	for _, s := range shapes {
		room := envelope.MaxVoiceBody(s.d, envelope.MaxVoice)
		body := append([]byte{envelope.VoiceMLS}, fill(room-1)...)
		b, err := envelope.AppendVoice(nil, s.d, body)
		if err != nil || len(b) != envelope.MaxVoice {
			t.Errorf("%v: body of %d: %d bytes, %v", s.d, room, len(b), err)
		}
		if _, _, _, ok := envelope.ParseVoice(b); !ok {
			t.Errorf("%v: largest does not parse", s.d)
		}
		if b, err := envelope.AppendVoice([]byte("x"), s.d, append(body, 0)); !errors.Is(err, envelope.ErrTooLong) || string(b) != "x" {
			t.Errorf("%v: a byte more: %d bytes, %v", s.d, len(b), err)
		}
		above, err := opus.AppendCover(nil, s.d, slices.Concat([]byte{0}, body, []byte{0}))
		if err != nil || len(above) != envelope.MaxVoice+1 {
			t.Fatal(len(above), err)
		}
		if _, _, _, ok := envelope.ParseVoice(above); ok {
			t.Errorf("%v: 961 bytes parse", s.d)
		}
		small := envelope.MaxVoiceBody(s.d, envelope.MaxVoiceUMurmur)
		if n := envelope.VoiceLen(s.d, small); n > envelope.MaxVoiceUMurmur || envelope.VoiceLen(s.d, small+1) <= envelope.MaxVoiceUMurmur {
			t.Errorf("%v: uMurmur body of %d is %d", s.d, small, n)
		}
	}
	// P = 951 of the protocol's list fits one frame and no more.
	body := append([]byte{0x10}, fill(949)...)
	for _, s := range shapes {
		b, err := envelope.AppendVoice(nil, s.d, body)
		if (err == nil) != (s.m == 1) || err == nil && len(b) != 959 {
			t.Errorf("%v, P=951: %d bytes, %v", s.d, len(b), err)
		}
	}
}

// TestVoiceSizeTable holds the sizes of Sotto protocol §1.5: 29 fixed bytes with
// a short KID and two bytes of CTR, 34 with a long KID.
func TestVoiceSizeTable(t *testing.T) {
	const fixed = 2 + 16 // Opus length, tag
	for _, r := range []struct {
		header, room, want int
	}{{4, 230, 259}, {9, 225, 259}} {
		if got := envelope.VoiceLen(20*ms, 1+r.header+fixed+r.room); got != r.want {
			t.Errorf("header of %d and %d of Opus: %d, want %d", r.header, r.room, got, r.want)
		}
		if got := envelope.VoiceLen(20*ms, 1+r.header+fixed+r.room+1); got != r.want+2 {
			t.Errorf("header of %d and a byte more: %d, want %d", r.header, got, r.want+2)
		}
	}
}

func TestAppendVoiceRefuses(t *testing.T) {
	for _, r := range []struct {
		name string
		d    time.Duration
		body []byte
		want error
	}{
		{"no body", 20 * ms, nil, envelope.ErrEmpty},
		{"vk 0x0F", 20 * ms, []byte{0x0F, 1}, envelope.ErrVoiceKind},
		{"vk 0x14, reserved", 20 * ms, []byte{0x14, 1}, envelope.ErrVoiceKind},
		{"vk 0", 20 * ms, []byte{0, 1}, envelope.ErrVoiceKind},
		{"no duration", 0, []byte{0x10, 1}, opus.ErrDuration},
		{"5 ms", 5 * ms, []byte{0x10, 1}, opus.ErrDuration},
		{"30 ms", 30 * ms, []byte{0x10, 1}, opus.ErrDuration},
		{"huge", 20 * ms, append([]byte{0x10}, fill(100000)...), envelope.ErrTooLong},
	} {
		if b, err := envelope.AppendVoice([]byte("x"), r.d, r.body); !errors.Is(err, r.want) || string(b) != "x" {
			t.Errorf("%s: %x, %v, want %v", r.name, b, err, r.want)
		}
	}
	if envelope.VoiceLen(20*ms, 0) != 0 || envelope.VoiceLen(30*ms, 10) != 0 || envelope.VoiceLen(20*ms, -1) != 0 {
		t.Error("a length for what cannot be")
	}
	if envelope.MaxVoiceBody(30*ms, 960) != 0 || envelope.MaxVoiceBody(20*ms, 6) != 0 || envelope.MaxVoiceBody(20*ms, 5) != 0 || envelope.MaxVoiceBody(20*ms, 7) != 1 {
		t.Error("a body where none fits")
	}
}

// TestParseVoiceOrdinary has what is ordinary Opus, though it comes close.
func TestParseVoiceOrdinary(t *testing.T) {
	cover := func(padding ...byte) []byte {
		b, err := opus.AppendCover(nil, 20*ms, padding)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, r := range []struct {
		name string
		b    []byte
		ok   bool
	}{
		{"shortest", cover(0, 0x10), true},
		{"reserved", cover(0, 0x14, 1), true},
		{"P = 0", cover(), false},
		{"P = 1", cover(0), false},
		{"first byte 1", cover(1, 0x10, 1), false},
		{"vk 0x0F", cover(0, 0x0F, 1), false},
		{"vk 0x15", cover(0, 0x15, 1), false},
		{"zero padding", cover(0, 0, 0, 0), false},
		{"zero-padded speech", []byte{0xFB, 0x41, 3, 'a', 'b', 0, 0, 0}, false},
		{"wrong frame byte", []byte{0xFB, 0x41, 2, 0xFF, 0xFF, 0, 0x10}, false},
		{"wrong second frame", []byte{0xFB, 0x42, 2, 0xFF, 0xFE, 0xFE, 0xFE, 0, 0x10}, false},
		{"long spelling of P", slices.Concat([]byte{0xFB, 0x41, 255, 0, 0xFF, 0xFE, 0, 0x10}, fill(252)), false},
		{"stereo", []byte{0xFF, 0x41, 2, 0xFF, 0xFE, 0, 0x10}, false},
		{"two of 10 ms", []byte{0xF3, 0x42, 2, 0xFF, 0xFE, 0xFF, 0xFE, 0, 0x10}, false},
		{"the encoder's silence", []byte{0xF8, 0xFF, 0xFE}, false},
		{"nothing", nil, false},
	} {
		if _, _, _, ok := envelope.ParseVoice(r.b); ok != r.ok {
			t.Errorf("%s: %v, want %v", r.name, ok, r.ok)
		}
	}
}

func FuzzParseVoice(f *testing.F) {
	for _, l := range padlens {
		b, _ := envelope.AppendVoice(nil, 20*ms, append([]byte{0x10}, fill(l.p-2)...))
		f.Add(b)
	}
	f.Add([]byte{0xF3, 0x41, 2, 0xFF, 0xFE, 0, 0x12})
	f.Add([]byte{0xFB, 0x41, 3, 'a', 'b', 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, vk, rest, ok := envelope.ParseVoice(b); ok {
			if err := opus.Check(b, d); err != nil {
				t.Errorf("%x: %v", b, err)
			}
			again, err := envelope.AppendVoice(nil, d, append([]byte{vk}, rest...))
			if vk == 0x14 {
				if !errors.Is(err, envelope.ErrVoiceKind) {
					t.Errorf("reserved kind is written: %v", err)
				}
			} else if err != nil || !bytes.Equal(again, b) {
				t.Errorf("%x becomes %x, %v", b, again, err)
			}
		}
		for _, s := range shapes {
			body := append([]byte{envelope.VoiceTyped}, b...)
			made, err := envelope.AppendVoice(nil, s.d, body)
			if (err == nil) != (envelope.VoiceLen(s.d, len(body)) <= envelope.MaxVoice) {
				t.Fatalf("%v, %d bytes: %v", s.d, len(b), err)
			}
			if err != nil {
				continue
			}
			if d, vk, rest, ok := envelope.ParseVoice(made); !ok || d != s.d || vk != envelope.VoiceTyped || !bytes.Equal(rest, b) {
				t.Errorf("%v around %x is lost", s.d, b)
			}
		}
	})
}

func TestVoiceDoesNotAllocate(t *testing.T) {
	dst, body, long := make([]byte, 0, envelope.MaxVoice), append([]byte{0x10}, fill(300)...), append([]byte{0x10}, fill(1000)...)
	if n := testing.AllocsPerRun(100, func() {
		b, err := envelope.AppendVoice(dst, 60*ms, body)
		if _, _, _, ok := envelope.ParseVoice(b); err != nil || !ok {
			t.Fatal("wrong result")
		}
		if _, err := envelope.AppendVoice(dst, 20*ms, long); err == nil {
			t.Fatal("too long, but written")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppendVoice(b *testing.B) {
	dst, body := make([]byte, 0, envelope.MaxVoice), append([]byte{0x10}, fill(140)...)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := envelope.AppendVoice(dst, 20*ms, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseVoice(b *testing.B) {
	one, _ := envelope.AppendVoice(nil, 20*ms, append([]byte{0x10}, fill(140)...))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, ok := envelope.ParseVoice(one); !ok {
			b.Fatal("not a voice envelope")
		}
	}
}
