package sframe_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/sotto-voip/sotto/sframe"
)

// Headers that must not parse, one row each.
func TestParseHeaderErrors(t *testing.T) {
	for _, tt := range []struct{ name, hex string }{
		{"nothing", ""},
		{"KID announced, not there", "80"},
		{"CTR announced, not there", "08"},
		{"KID there, CTR not", "8808"},
		{"KID of 8 bytes, 7 there", "f001020304050607"},
		{"KID 7 in a byte", "8007"},
		{"KID 0 in a byte", "8000"},
		{"KID 255 in two bytes", "9000ff"},
		{"KID with 7 leading zeros", "f000000000000000ff"},
		{"CTR 7 in a byte", "0807"},
		{"CTR 255 in two bytes", "0900ff"},
		{"CTR with a leading zero after a good KID", "89ff0001"},
	} {
		b, err := hex.DecodeString(tt.hex)
		if err != nil {
			t.Fatal(err)
		}
		if h, n, err := sframe.ParseHeader(b); !errors.Is(err, sframe.ErrHeader) {
			t.Errorf("%s: got %+v, %d, %v, want ErrHeader", tt.name, h, n, err)
		}
	}
}

func TestHeaderLen(t *testing.T) {
	for _, v := range []uint64{0, 7, 8, 255, 256, 1<<24 - 1, 1 << 24, 1<<56 - 1, 1 << 56, 1<<64 - 1} {
		h := sframe.Header{KID: v, CTR: ^v}
		if got := len(sframe.AppendHeader(nil, h)); got != h.Len() || got > sframe.MaxHeaderLen {
			t.Errorf("%+v takes %d bytes, Len says %d", h, got, h.Len())
		}
	}
}

func FuzzParseHeader(f *testing.F) {
	for _, h := range []sframe.Header{{}, {KID: 7, CTR: 7}, {KID: 8}, {CTR: 8}, {KID: 0x123, CTR: 0x4567}, {KID: 1<<64 - 1, CTR: 1<<64 - 1}} {
		f.Add(append(sframe.AppendHeader(nil, h), "rest"...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := sframe.ParseHeader(b)
		if err != nil {
			return
		}
		if got := sframe.AppendHeader(nil, h); n != len(got) || !bytes.Equal(got, b[:n]) {
			t.Errorf("%x parses to %+v, which encodes to %x", b[:n], h, got)
		}
	})
}

// FuzzOpen gives every suite foreign bytes: it must neither panic nor open, and
// leave dst alone.
func FuzzOpen(f *testing.F) {
	for _, s := range allSuites {
		frame := newKey(f, s, 0x1F).Seal(nil, 300, []byte("meta"), []byte("voice"))
		frame[len(frame)-1] ^= 1
		f.Add(uint16(s), frame, []byte("meta"))
	}
	f.Add(uint16(0), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, suite uint16, frame, meta []byte) {
		k, err := sframe.NewKey(sframe.Suite(suite), 0x1F, baseKey(1))
		if err != nil {
			if !errors.Is(err, sframe.ErrSuite) {
				t.Fatal(err)
			}
			return
		}
		dst, err := k.Open([]byte("dst"), frame, meta)
		if err != nil {
			if string(dst) != "dst" {
				t.Errorf("dst became %q", dst)
			}
			return
		}
		// Short tags can be guessed; then the frame is one that Seal makes.
		h, _, err := sframe.ParseHeader(frame)
		if err != nil {
			t.Fatal("opened without a header")
		}
		if again := k.Seal(nil, h.CTR, meta, dst[3:]); !bytes.Equal(again, frame) {
			t.Errorf("opened %x, which Seal does not make", frame)
		}
	})
}
