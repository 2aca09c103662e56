package peers

import (
	"bytes"
	"testing"
)

// FuzzDemuxOpus: no file makes the demultiplexer panic, and what it returns
// comes back the same from a file of our own.
func FuzzDemuxOpus(f *testing.F) {
	for _, packets := range [][][]byte{
		{{0xf8, 0xff, 0xfe}},
		{bytes.Repeat([]byte{1}, 255), {}, bytes.Repeat([]byte{2}, 600)},
	} {
		b, err := muxOpus(packets, 1, 960)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		packets, err := demuxOpus(b)
		if err != nil {
			return
		}
		again, err := muxOpus(packets, 1, 960)
		if err != nil {
			return // longer than a page of ours
		}
		back, err := demuxOpus(again)
		if err != nil || len(back) != len(packets) {
			t.Fatalf("%d packets come back as %d: %v", len(packets), len(back), err)
		}
		for i := range packets {
			if !bytes.Equal(packets[i], back[i]) {
				t.Errorf("packet %d: %x comes back as %x", i, packets[i], back[i])
			}
		}
	})
}

// FuzzWAV: no file makes the reader panic or return more samples than bytes.
func FuzzWAV(f *testing.F) {
	f.Add([]byte("RIFF\x2c\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\xbb\x00\x00\x00\x77\x01\x00\x02\x00\x10\x00data\x04\x00\x00\x00\x01\x02\x03\x04"))
	f.Add([]byte("RIFF\xff\xff\xff\xffWAVELIST\x03\x00\x00\x00abc\x00fmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\xbb\x00\x00\x00\x77\x01\x00\x02\x00\x10\x00data\xff\xff\xff\xff\x01\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseWAV(b); err == nil && 2*len(s) > len(b) {
			t.Errorf("%d samples out of %d bytes", len(s), len(b))
		}
	})
}

// TestForms: the textual forms of a pattern are found whatever stands around it.
func TestForms(t *testing.T) {
	pattern := []byte("what was said")
	names := map[string]int{}
	for _, f := range forms(pattern) {
		names[f.name]++
	}
	if names["plain"] != 1 || names["hex"] != 2 || names["base64"] != 6 {
		t.Errorf("forms %v", names)
	}
	if n := len(forms([]byte("short"))); n != 1 {
		t.Errorf("a short pattern has %d forms, want 1", n)
	}
}
