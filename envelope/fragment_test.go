package envelope_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/sotto-voip/sotto/envelope"
)

// rawFragment writes the layout out.
func rawFragment(version, kind byte, id string, index, count byte, part []byte) []byte {
	return slices.Concat([]byte{version, kind}, []byte(id), []byte{index, count}, part)
}

func TestFragment(t *testing.T) {
	const id = "idididid"
	for _, r := range []struct {
		name string
		b    []byte
		want error
	}{
		{"shortest", rawFragment(1, 1, id, 0, 1, fill(1)), nil},
		{"longest", rawFragment(1, 1, id, 0, 1, fill(988)), nil},
		{"first of two", rawFragment(1, 1, id, 0, 2, fill(988)), nil},
		{"last of two", rawFragment(1, 1, id, 1, 2, fill(1)), nil},
		{"last of two, full", rawFragment(1, 1, id, 1, 2, fill(988)), nil},
		{"last of 64", rawFragment(1, 1, id, 63, 64, fill(7)), nil},
		{"unknown kind", rawFragment(1, 0xEE, id, 0, 1, fill(7)), nil},
		{"nothing", nil, envelope.ErrTruncated},
		{"version 0", rawFragment(0, 1, id, 0, 1, fill(7)), envelope.ErrVersion},
		{"version 2, short", []byte{2}, envelope.ErrVersion},
		{"half a header", rawFragment(1, 1, id, 0, 1, nil)[:11], envelope.ErrTruncated},
		{"empty part", rawFragment(1, 1, id, 0, 1, nil), envelope.ErrEmpty},
		{"empty last part", rawFragment(1, 1, id, 1, 2, nil), envelope.ErrEmpty},
		{"1001 bytes", rawFragment(1, 1, id, 0, 1, fill(989)), envelope.ErrTooLong},
		{"count 0", rawFragment(1, 1, id, 0, 0, fill(7)), envelope.ErrIndex},
		{"count 65", rawFragment(1, 1, id, 0, 65, fill(988)), envelope.ErrIndex},
		{"65th", rawFragment(1, 1, id, 64, 65, fill(7)), envelope.ErrIndex},
		{"index = count", rawFragment(1, 1, id, 1, 1, fill(7)), envelope.ErrIndex},
		{"index 255", rawFragment(1, 1, id, 255, 2, fill(7)), envelope.ErrIndex},
		{"first of two, a byte short", rawFragment(1, 1, id, 0, 2, fill(987)), envelope.ErrPartLen},
		{"first of two, shortest", rawFragment(1, 1, id, 0, 2, fill(1)), envelope.ErrPartLen},
	} {
		f, err := envelope.ParseFragment(r.b)
		if !errors.Is(err, r.want) {
			t.Errorf("%s: %v, want %v", r.name, err, r.want)
			continue
		}
		if err != nil {
			continue
		}
		if f.Kind != envelope.Kind(r.b[1]) || string(f.ID[:]) != id || f.Index != r.b[10] || f.Count != r.b[11] || !bytes.Equal(f.Part, r.b[12:]) {
			t.Errorf("%s: %+v", r.name, f)
		}
		if again, err := f.Append([]byte("before")); err != nil || string(again) != "before"+string(r.b) {
			t.Errorf("%s: becomes %x, %v", r.name, again, err)
		}
	}
}

// TestFragmentAppendRefuses builds what the parser would not take.
func TestFragmentAppendRefuses(t *testing.T) {
	for _, r := range []struct {
		f    envelope.Fragment
		want error
	}{
		{envelope.Fragment{}, envelope.ErrIndex},
		{envelope.Fragment{Index: 0, Count: 65, Part: fill(988)}, envelope.ErrIndex},
		{envelope.Fragment{Index: 2, Count: 2, Part: fill(1)}, envelope.ErrIndex},
		{envelope.Fragment{Count: 1}, envelope.ErrEmpty},
		{envelope.Fragment{Count: 1, Part: fill(989)}, envelope.ErrTooLong},
		{envelope.Fragment{Count: 2, Part: fill(987)}, envelope.ErrPartLen},
	} {
		if b, err := r.f.Append([]byte("x")); !errors.Is(err, r.want) || string(b) != "x" {
			t.Errorf("%d of %d, %d bytes: %v, want %v", r.f.Index, r.f.Count, len(r.f.Part), err, r.want)
		}
	}
}

func TestSingle(t *testing.T) {
	for _, n := range []int{1, 8, 987, 988} {
		o := envelope.Object{Kind: envelope.KindHello, Body: fill(n)}
		b, err := envelope.AppendSingle([]byte("before"), o)
		if err != nil || len(b) != 6+12+n {
			t.Fatalf("%d: %d bytes, %v", n, len(b), err)
		}
		f, err := envelope.ParseFragment(b[6:])
		if err != nil || f.ID != o.Ref().ID() {
			t.Fatalf("%d: %v, id %x", n, err, f.ID)
		}
		back, err := envelope.OpenSingle(f)
		if err != nil || back.Kind != o.Kind || !bytes.Equal(back.Body, o.Body) {
			t.Errorf("%d: %v, %v", n, back.Kind, err)
		}
		// Every byte counts: version, kind, id, index, count, part.
		for i := range b[6:] {
			bad := bytes.Clone(b[6:])
			bad[i] ^= 1
			f, err := envelope.ParseFragment(bad)
			if err == nil {
				_, err = envelope.OpenSingle(f)
			}
			if err == nil {
				t.Errorf("%d: byte %d changed, still opens", n, i)
			}
		}
	}
	for body, want := range map[int]error{0: envelope.ErrEmpty, 989: envelope.ErrTooLong} {
		if b, err := envelope.AppendSingle([]byte("x"), envelope.Object{Kind: 1, Body: fill(body)}); !errors.Is(err, want) || string(b) != "x" {
			t.Errorf("%d: %x, %v", body, b, err)
		}
	}
}

// TestSingleGolden is a whole Probe as it stands in a plugin message.
func TestSingleGolden(t *testing.T) {
	b, err := envelope.AppendSingle(nil, envelope.Object{Kind: envelope.KindProbe, Body: []byte{1, 2, 3, 4, 5, 6, 7, 8}})
	if want := "010c" + probeRef[:16] + "0001" + "0102030405060708"; err != nil || hex.EncodeToString(b) != want {
		t.Errorf("%x, %v; want %s", b, err, want)
	}
}

func TestOpenSingleRefuses(t *testing.T) {
	o := envelope.Object{Kind: envelope.KindHello, Body: fill(5)}
	good := envelope.Fragment{Kind: o.Kind, ID: o.Ref().ID(), Count: 1, Part: o.Body}
	for _, r := range []struct {
		name   string
		change func(*envelope.Fragment)
		want   error
	}{
		{"nothing", func(*envelope.Fragment) {}, nil},
		{"kind", func(f *envelope.Fragment) { f.Kind++ }, envelope.ErrID},
		{"id", func(f *envelope.Fragment) { f.ID[7] ^= 1 }, envelope.ErrID},
		{"body", func(f *envelope.Fragment) { f.Part = fill(6) }, envelope.ErrID},
		{"count", func(f *envelope.Fragment) { f.Count = 2 }, envelope.ErrNotSingle},
		{"last of two", func(f *envelope.Fragment) { f.Index, f.Count = 1, 2 }, envelope.ErrNotSingle},
	} {
		f := good
		r.change(&f)
		if _, err := envelope.OpenSingle(f); !errors.Is(err, r.want) {
			t.Errorf("%s: %v, want %v", r.name, err, r.want)
		}
	}
}

func FuzzParseFragment(f *testing.F) {
	single, _ := envelope.AppendSingle(nil, envelope.Object{Kind: envelope.KindProbe, Body: []byte{1, 2, 3, 4, 5, 6, 7, 8}})
	f.Add(single)
	f.Add(rawFragment(1, 1, "idididid", 0, 2, fill(988)))
	f.Add(rawFragment(1, 1, "idididid", 63, 64, fill(3)))
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, b []byte) {
		if g, err := envelope.ParseFragment(b); err == nil {
			if again, err := g.Append(nil); err != nil || !bytes.Equal(again, b) {
				t.Errorf("%x becomes %x, %v", b, again, err)
			}
			if o, err := envelope.OpenSingle(g); err == nil {
				if again, err := envelope.AppendSingle(nil, o); err != nil || !bytes.Equal(again, b) {
					t.Errorf("%x becomes %x, %v", b, again, err)
				}
			}
		}
		o := envelope.Object{Kind: envelope.KindBeacon, Body: b}
		made, err := envelope.AppendSingle(nil, o)
		if (err == nil) != (len(b) >= 1 && len(b) <= envelope.MaxPart) {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		if err != nil {
			return
		}
		g, err := envelope.ParseFragment(made)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := envelope.OpenSingle(g); err != nil || back.Kind != o.Kind || !bytes.Equal(back.Body, b) {
			t.Errorf("%x is lost: %v", b, err)
		}
	})
}

func BenchmarkAppendSingle(b *testing.B) {
	dst, o := make([]byte, 0, 1000), envelope.Object{Kind: envelope.KindMLSMessage, Body: fill(700)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := envelope.AppendSingle(dst, o); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenSingle(b *testing.B) {
	data, _ := envelope.AppendSingle(nil, envelope.Object{Kind: envelope.KindMLSMessage, Body: fill(700)})
	b.ReportAllocs()
	for b.Loop() {
		f, err := envelope.ParseFragment(data)
		if err == nil {
			_, err = envelope.OpenSingle(f)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
