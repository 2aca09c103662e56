package control_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sotto-voip/sotto/mumble/control"
)

func frame(t control.Type, body string) string {
	return string(control.AppendFrame(nil, t, []byte(body)))
}

func TestAppendFrame(t *testing.T) {
	for _, tt := range []struct {
		t          control.Type
		body, want string
	}{
		{control.TypeVersion, "", "\x00\x00\x00\x00\x00\x00"},
		{control.TypePing, "abc", "\x00\x03\x00\x00\x00\x03abc"},
		{control.TypePluginDataTransmission, strings.Repeat("x", 258), "\x00\x1a\x00\x00\x01\x02" + strings.Repeat("x", 258)},
		{0xfffe, "a", "\xff\xfe\x00\x00\x00\x01a"},
	} {
		if got := control.AppendFrame([]byte("head"), tt.t, []byte(tt.body)); string(got) != "head"+tt.want {
			t.Errorf("%v: %x, want %x", tt.t, got[4:], tt.want)
		}
	}
}

func TestReader(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 4096)
	bodies := []string{"", "a", strings.Repeat("b", 4095), strings.Repeat("c", 4096), strings.Repeat("d", 4097), big, ""}
	var stream string
	for i, b := range bodies {
		stream += frame(control.Type(i), b)
	}
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"whole":         func(r io.Reader) io.Reader { return r },
		"byte by byte":  iotest.OneByteReader,
		"halves":        iotest.HalfReader,
		"data with EOF": iotest.DataErrReader,
	} {
		t.Run(name, func(t *testing.T) {
			r := control.NewReader(wrap(strings.NewReader(stream)), 0)
			var got []control.Frame
			for {
				f, err := r.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, f)
			}
			if len(got) != len(bodies) {
				t.Fatalf("%d frames, want %d", len(got), len(bodies))
			}
			// Compared last: each body is the caller's and stays what it was.
			for i, f := range got {
				if f.Type != control.Type(i) || string(f.Body) != bodies[i] {
					t.Errorf("frame %d: %v of %d bytes", i, f.Type, len(f.Body))
				}
			}
			if _, err := r.Next(); err != io.EOF {
				t.Errorf("after the end: %v", err)
			}
		})
	}
}

func TestReaderEnds(t *testing.T) {
	whole := frame(control.TypePing, "hello")
	for n := range whole {
		r := control.NewReader(strings.NewReader(whole[:n]), 0)
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		for range 2 {
			if f, err := r.Next(); err != want {
				t.Fatalf("%d bytes: %+v, %v, want %v", n, f, err, want)
			}
		}
	}
	broken := errors.New("broken")
	r := control.NewReader(io.MultiReader(strings.NewReader(whole+whole[:8]), iotest.ErrReader(broken)), 0)
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := r.Next(); err != broken {
			t.Fatalf("Next: %v, want %v", err, broken)
		}
	}
}

func TestReaderLimit(t *testing.T) {
	ten := frame(control.TypeTextMessage, "0123456789")
	for _, tt := range []struct {
		name   string
		limit  int
		stream string
		want   control.ErrTooLong // zero: passes
	}{
		{"at the limit", 10, ten, control.ErrTooLong{}},
		{"over the limit", 9, ten, control.ErrTooLong{Type: control.TypeTextMessage, Len: 10, Limit: 9}},
		{"limit 0 is the greatest", 0, ten, control.ErrTooLong{}},
		{"negative limit is the greatest", -1, ten, control.ErrTooLong{}},
		{"greatest length", 0, "\x00\x0b\x00\x80\x00\x00", control.ErrTooLong{Type: control.TypeTextMessage, Len: 0x800000, Limit: control.MaxLen}},
		{"no limit beyond the greatest", 1 << 30, "\x00\x0b\x00\x80\x00\x00", control.ErrTooLong{Type: control.TypeTextMessage, Len: 0x800000, Limit: control.MaxLen}},
		{"all ones", 0, "\x00\xc8\xff\xff\xff\xff", control.ErrTooLong{Type: 200, Len: 1<<32 - 1, Limit: control.MaxLen}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := control.NewReader(strings.NewReader(tt.stream), tt.limit)
			_, err := r.Next()
			if tt.want == (control.ErrTooLong{}) {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var got *control.ErrTooLong
			if !errors.As(err, &got) || *got != tt.want {
				t.Fatalf("%v, want %v", err, &tt.want)
			}
			if _, again := r.Next(); again != err {
				t.Errorf("the next call returns %v", again)
			}
		})
	}

	r := control.NewReader(strings.NewReader(ten+ten), 20)
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	r.SetLimit(5)
	var tooLong *control.ErrTooLong
	if _, err := r.Next(); !errors.As(err, &tooLong) {
		t.Fatalf("after SetLimit: %v", err)
	}
	if s := tooLong.Error(); s != "control: TextMessage of 10 bytes exceeds the limit of 5" {
		t.Error(s)
	}
}

// Longest body passes, at twice its size in memory.
func TestReaderLongest(t *testing.T) {
	body := bytes.Repeat([]byte("x"), control.MaxLen)
	stream := control.AppendFrame(nil, control.TypeUserState, body)
	got := allocated(func() {
		f, err := control.NewReader(bytes.NewReader(stream), 0).Next()
		if err != nil || !bytes.Equal(f.Body, body) {
			t.Errorf("%d bytes, %v", len(f.Body), err)
		}
	})
	if got > 3*control.MaxLen {
		t.Errorf("%d bytes allocated", got)
	}
}

// A peer that announces megabytes and sends six bytes costs next to nothing.
func TestReaderTrustsNoLength(t *testing.T) {
	got := allocated(func() {
		r := control.NewReader(strings.NewReader("\x00\x0b\x00\x7f\xff\xff"+"abc"), 0)
		if _, err := r.Next(); err != io.ErrUnexpectedEOF {
			t.Errorf("Next: %v", err)
		}
	})
	if got > 64<<10 {
		t.Errorf("%d bytes allocated for nine received", got)
	}
}

// allocated returns the bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// FuzzReader cuts any stream into frames; put together again they are the
// stream, up to where it ends or exceeds the limit.
func FuzzReader(f *testing.F) {
	f.Add([]byte(frame(0, "abc")+frame(3, "")), 100)
	f.Add([]byte(frame(200, "abcdef")), 3)
	f.Add([]byte("\x00\x0b\x00\x7f\xff\xffabc"), 0)
	f.Fuzz(func(t *testing.T, b []byte, limit int) {
		r := control.NewReader(bytes.NewReader(b), limit)
		var again []byte
		for {
			fr, err := r.Next()
			if err != nil {
				var tooLong *control.ErrTooLong
				if !errors.As(err, &tooLong) && err != io.ErrUnexpectedEOF && (err != io.EOF || len(again) != len(b)) {
					t.Fatalf("at %d of %d bytes: %v", len(again), len(b), err)
				}
				break
			}
			if limit > 0 && len(fr.Body) > limit {
				t.Fatalf("body of %d bytes passes limit %d", len(fr.Body), limit)
			}
			again = control.AppendFrame(again, fr.Type, fr.Body)
		}
		if !bytes.HasPrefix(b, again) {
			t.Fatalf("%x became %x", b, again)
		}
	})
}

func BenchmarkReader(b *testing.B) {
	stream := []byte(frame(control.TypeUDPTunnel, strings.Repeat("v", 92)))
	b.ReportAllocs()
	r := control.NewReader(&endless{b: stream}, 0)
	for b.Loop() {
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

// endless repeats b for ever.
type endless struct {
	b  []byte
	at int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.b[e.at:])
	e.at = (e.at + n) % len(e.b)
	return n, nil
}
