package ogg_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/ogg"
	"github.com/sotto-voip/sotto/opus"
)

func TestSamples(t *testing.T) {
	for d, want := range map[time.Duration]int64{2500 * time.Microsecond: 120, 10 * ms: 480, 20 * ms: 960, 60 * ms: 2880, time.Hour: 172800000} {
		if got := ogg.Samples(d); got != want {
			t.Errorf("%v: %d, want %d", d, got, want)
		}
	}
}

// TestWriterRefuses shows what a Writer does not take, and that it goes on.
func TestWriterRefuses(t *testing.T) {
	var out bytes.Buffer
	w, err := ogg.NewWriter(&out, 1, mono, ogg.Tags{})
	if err != nil {
		t.Fatal(err)
	}
	good := silence(t, 100)
	before := out.Len()
	for _, r := range []struct {
		name    string
		data    []byte
		granule int64
		want    error
	}{
		{"first shorter than its packet", good, 959, ogg.ErrGranule},
		{"negative", good, -1, ogg.ErrGranule},
		{"empty packet", nil, 960, opus.ErrEmpty},
		{"no Opus", []byte{0xF9, 1}, 960, opus.ErrOddFrames},
		{"too long", make([]byte, ogg.MaxPacket+1), 960, ogg.ErrTooLong},
		{"good", good, 5000, nil},
		{"back", good, 4999, ogg.ErrGranule},
		{"same", good, 5000, nil},
		{"a gap", good, 1 << 40, nil},
	} {
		if err := w.WritePacket(r.data, r.granule); !errors.Is(err, r.want) {
			t.Errorf("%s: %v, want %v", r.name, err, r.want)
		}
		if wrote := out.Len() > before; wrote != (r.want == nil) {
			t.Errorf("%s: written: %v", r.name, wrote)
		}
		before = out.Len()
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := w.Close(); !errors.Is(err, ogg.ErrClosed) {
		t.Error(err)
	}
	if err := w.WritePacket(good, 1<<41); !errors.Is(err, ogg.ErrClosed) {
		t.Error(err)
	}
}

// TestCutRecording shows that a recording without an end holds every packet
// that was written, at once.
func TestCutRecording(t *testing.T) {
	var out bytes.Buffer
	w, err := ogg.NewWriter(&out, 1, mono, ogg.Tags{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := w.WritePacket(silence(t, 80+i), int64(i+1)*960); err != nil {
			t.Fatal(err)
		}
		o, err := ogg.NewReader(bytes.NewReader(out.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if all, err := readAll(o); len(all) != i+1 || err != io.EOF {
			t.Errorf("after %d packets: %d, %v", i+1, len(all), err)
		}
	}
}

// failing is an io.Writer that takes n writes, fails once and then recovers.
type failing struct{ n int }

var errFull = errors.New("disk is full")

func (f *failing) Write(b []byte) (int, error) {
	if f.n--; f.n == -1 {
		return 0, errFull
	}
	return len(b), nil
}

func TestWriteError(t *testing.T) {
	if _, err := ogg.NewWriter(&failing{0}, 1, mono, ogg.Tags{}); !errors.Is(err, errFull) {
		t.Error(err)
	}
	w, err := ogg.NewWriter(&failing{2}, 1, mono, ogg.Tags{})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, errFull, errFull} {
		if err := w.WritePacket(silence(t, 100), 960); !errors.Is(err, want) {
			t.Errorf("packet %d: %v, want %v", i, err, want)
		}
	}
	if err := w.Close(); !errors.Is(err, errFull) {
		t.Error(err)
	}
}

// FuzzReader reads anything and holds what it read against what Writer makes of it.
func FuzzReader(f *testing.F) {
	p := silence(f, 300)
	good := write(f, mono, ogg.Tags{Vendor: "v", Comments: []string{"A=1"}}, p, p)
	f.Add(good)
	f.Add(good[:len(good)-40])
	f.Add(write(f, ogg.Head{Channels: 2, MappingFamily: 255, Mapping: []byte{2, 0, 0, 255}}, ogg.Tags{}, []byte{1, 2, 3}))
	f.Add([]byte("OggS"))
	f.Fuzz(func(t *testing.T, b []byte) {
		// A mutated page hardly ever has its checksum right: mend them all.
		b = bytes.Clone(b) // the fuzzer keeps its own
		for rest := b; len(rest) >= 27; {
			at := bytes.Index(rest, []byte("OggS"))
			if at < 0 || len(rest) < at+27 {
				break
			}
			rest = rest[at:]
			n := 27 + int(rest[26])
			if n > len(rest) {
				break
			}
			for _, lacing := range rest[27:n] {
				n += int(lacing)
			}
			if n > len(rest) {
				break
			}
			copy(rest, remake(rest[:n], func([]byte) {}))
			rest = rest[n:]
		}
		o, err := ogg.NewReader(bytes.NewReader(b))
		if err != nil {
			return
		}
		all, _ := readAll(o)
		var out bytes.Buffer
		w, err := ogg.NewWriter(&out, 1, o.Head(), o.Tags())
		if err != nil {
			t.Fatalf("read %+v, %d comments, but: %v", o.Head(), len(o.Tags().Comments), err)
		}
		var kept [][]byte
		for i, p := range all {
			if len(p.data) > ogg.MaxPacket {
				t.Errorf("packet of %d bytes", len(p.data))
			}
			if w.WritePacket(p.data, int64(i+1)*5760) == nil {
				kept = append(kept, p.data)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := ogg.NewReader(&out)
		if err != nil {
			t.Fatal(err)
		}
		back, err := readAll(again)
		if err != io.EOF || len(back) != len(kept) {
			t.Fatalf("%d packets written, %d read, %v", len(kept), len(back), err)
		}
		for i := range back {
			if !bytes.Equal(back[i].data, kept[i]) {
				t.Errorf("packet %d: %x becomes %x", i, kept[i], back[i].data)
			}
		}
	})
}

func BenchmarkWritePacket(b *testing.B) {
	w, err := ogg.NewWriter(io.Discard, 1, mono, ogg.Tags{})
	if err != nil {
		b.Fatal(err)
	}
	p, granule := silence(b, 160), int64(0)
	b.ReportAllocs()
	for b.Loop() {
		granule += 960
		if err := w.WritePacket(p, granule); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReader(b *testing.B) {
	const n = 500
	packets := make([][]byte, n)
	for i := range packets {
		packets[i] = silence(b, 160)
	}
	stream := write(b, mono, ogg.Tags{}, packets...)
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		o, err := ogg.NewReader(bytes.NewReader(stream))
		if err != nil {
			b.Fatal(err)
		}
		for range n {
			if _, err := o.Next(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
