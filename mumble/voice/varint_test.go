package voice_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/sotto-voip/sotto/mumble/voice"
)

func TestVarint(t *testing.T) {
	for _, tt := range []struct {
		v   uint64
		hex string
	}{
		{0, "00"}, {1, "01"}, {0x7f, "7f"},
		{0x80, "8080"}, {0x3fff, "bfff"},
		{0x4000, "c04000"}, {0x1fffff, "dfffff"},
		{0x200000, "e0200000"}, {0xfffffff, "efffffff"},
		{0x10000000, "f010000000"}, {math.MaxUint32, "f0ffffffff"},
		{math.MaxUint32 + 1, "f40000000100000000"}, {1 << 63, "f48000000000000000"},
		{math.MaxUint64 - 1<<32, "f4fffffffeffffffff"},
		{math.MaxUint64, "fc"}, {math.MaxUint64 - 3, "ff"},
		{math.MaxUint64 - 4, "f804"}, {math.MaxUint64 - 0x80, "f88080"},
		{math.MaxUint64 - math.MaxUint32, "f8f0ffffffff"},
	} {
		if got := voice.AppendVarint([]byte("x"), tt.v); string(got) != "x"+string(unhex(tt.hex)) {
			t.Errorf("AppendVarint(%#x) = %x, want %s", tt.v, got[1:], tt.hex)
		}
		b := append(unhex(tt.hex), 0x55, 0x66)
		if v, n, err := voice.ParseVarint(b); v != tt.v || n != len(b)-2 || err != nil {
			t.Errorf("ParseVarint(%s) = %#x, %d, %v, want %#x", tt.hex, v, n, err, tt.v)
		}
		for cut := range len(b) - 2 {
			if v, _, err := voice.ParseVarint(b[:cut]); !errors.Is(err, voice.ErrShort) {
				t.Errorf("ParseVarint(%x) = %#x, %v", b[:cut], v, err)
			}
		}
	}
}

func TestParseVarintOtherForms(t *testing.T) {
	for _, tt := range []struct {
		hex string
		v   uint64
		n   int
		err error
	}{
		{"8001", 1, 2, nil},
		{"f300000001", 1, 5, nil}, // the low two bits of this first byte mean nothing
		{"f70000000000000001", 1, 9, nil},
		{"fb01", math.MaxUint64 - 1, 2, nil},
		{"f8f40000000100000000", math.MaxUint64 - 1<<32, 10, nil},
		{"f8f801", 0, 0, voice.ErrMalformed},
		{"f8fc", 0, 0, voice.ErrMalformed},
		{"f8", 0, 0, voice.ErrShort},
	} {
		if v, n, err := voice.ParseVarint(unhex(tt.hex)); v != tt.v || n != tt.n || !errors.Is(err, tt.err) {
			t.Errorf("ParseVarint(%s) = %#x, %d, %v, want %#x, %d, %v", tt.hex, v, n, err, tt.v, tt.n, tt.err)
		}
	}
}

func FuzzVarint(f *testing.F) {
	for _, s := range []string{"00", "8001", "f8f0ffffffff", "fc", "f48000000000000000", "f8f8f8f8"} {
		f.Add(unhex(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, n, err := voice.ParseVarint(b)
		if err != nil {
			return
		}
		if n < 1 || n > len(b) {
			t.Fatalf("took %d of %d bytes", n, len(b))
		}
		short := voice.AppendVarint(nil, v)
		if len(short) > n {
			t.Fatalf("%x is longer than %x", short, b[:n])
		}
		if w, m, err := voice.ParseVarint(short); w != v || m != len(short) || err != nil {
			t.Fatalf("%x: %#x became %#x, %v", b[:n], v, w, err)
		}
		if !bytes.Equal(voice.AppendVarint(nil, v), short) {
			t.Fatal("not deterministic")
		}
	})
}
