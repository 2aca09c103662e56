package ogg_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/sotto-voip/sotto/ogg"
)

func TestHead(t *testing.T) {
	for _, h := range []ogg.Head{
		{Channels: 1},
		{Channels: 2, PreSkip: 65535, InputSampleRate: 1<<32 - 1, OutputGain: -32768},
		{Channels: 1, MappingFamily: 1, Mapping: []byte{1, 0, 0}},
		{Channels: 2, MappingFamily: 255, Mapping: []byte{2, 0, 0, 255}},
		{Channels: 8, MappingFamily: 1, Mapping: []byte{5, 3, 0, 6, 1, 2, 3, 4, 5, 7}},
		{Channels: 1, MappingFamily: 255, Mapping: []byte{200, 55, 254}},
		{Channels: 6, MappingFamily: 1, Mapping: []byte{4, 2, 0, 4, 1, 2, 3, 5}},
	} {
		o, err := ogg.NewReader(bytes.NewReader(write(t, h, ogg.Tags{})))
		if err != nil {
			t.Errorf("%+v: %v", h, err)
			continue
		}
		g := o.Head()
		if g.Channels != h.Channels || g.PreSkip != h.PreSkip || g.InputSampleRate != h.InputSampleRate ||
			g.OutputGain != h.OutputGain || g.MappingFamily != h.MappingFamily || !bytes.Equal(g.Mapping, h.Mapping) {
			t.Errorf("%+v becomes %+v", h, g)
		}
	}
	for _, h := range []ogg.Head{
		{},
		{Channels: 3},
		{Channels: 1, Mapping: []byte{1, 0, 0}},
		{Channels: 1, MappingFamily: 1},
		{Channels: 1, MappingFamily: 1, Mapping: []byte{0, 0, 0}},
		{Channels: 1, MappingFamily: 1, Mapping: []byte{1, 2, 0}},
		{Channels: 1, MappingFamily: 1, Mapping: []byte{1, 0, 1}},
		{Channels: 9, MappingFamily: 1, Mapping: []byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
		{Channels: 1, MappingFamily: 255, Mapping: []byte{200, 100, 0}},
	} {
		var out bytes.Buffer
		if _, err := ogg.NewWriter(&out, 1, h, ogg.Tags{}); !errors.Is(err, ogg.ErrHead) || out.Len() != 0 {
			t.Errorf("%+v: %v, %d bytes written", h, err, out.Len())
		}
	}
}

// headStream is a stream with this OpusHead packet and good tags.
func headStream(t *testing.T, head []byte) []byte {
	ps := pages(t, write(t, mono, ogg.Tags{}))
	ps[0] = makePage(2, 0, 0xC0FFEE, 0, []byte{byte(len(head))}, head)
	return bytes.Join(ps, nil)
}

func TestHeadBytes(t *testing.T) {
	good := []byte("OpusHead\x01\x02\x38\x01\x80\xBB\x00\x00\x00\x00\x00")
	with := func(at int, x byte) []byte { b := bytes.Clone(good); b[at] = x; return b }
	for _, r := range []struct {
		name string
		b    []byte
		want error
	}{
		{"as it is", good, nil},
		{"a later minor version", with(8, 15), nil},
		{"the first versions", with(8, 0), nil},
		{"another major version", with(8, 16), ogg.ErrVersion},
		{"no channels", with(9, 0), ogg.ErrHead},
		{"three channels without a mapping", with(9, 3), ogg.ErrHead},
		{"mapping missing", with(18, 1), ogg.ErrHead},
		{"mapping short", append(with(18, 1), 1, 1, 0), ogg.ErrHead},
		{"mapping", append(with(18, 1), 1, 1, 0, 1), nil},
		{"a byte short", good[:18], ogg.ErrHead},
		{"magic alone", good[:8], ogg.ErrHead},
		{"half the magic", good[:7], ogg.ErrNotOpus},
		{"more behind", append(bytes.Clone(good), 1, 2, 3), nil},
		{"another codec", with(0, 'o'), ogg.ErrNotOpus},
	} {
		if _, err := ogg.NewReader(bytes.NewReader(headStream(t, r.b))); !errors.Is(err, r.want) {
			t.Errorf("%s: %v, want %v", r.name, err, r.want)
		}
	}
}

// tagStream has the packet as comment header, over as many pages as it needs,
// and one audio packet "x".
func tagStream(t *testing.T, tags []byte) io.Reader {
	t.Helper()
	ps := pages(t, write(t, mono, ogg.Tags{}))[:1]
	n := uint32(1)
	flags := byte(0)
	lacing := append(bytes.Repeat([]byte{255}, len(tags)/255), byte(len(tags)%255))
	for len(lacing) > 0 {
		segments := lacing[:min(255, len(lacing))]
		size := 0
		for _, s := range segments {
			size += int(s)
		}
		ps = append(ps, makePage(flags, 0, 0xC0FFEE, n, segments, tags[:size]))
		lacing, tags = lacing[len(segments):], tags[size:]
		flags = 1
		n++
	}
	ps = append(ps, makePage(4, 960, 0xC0FFEE, n, []byte{1}, []byte("x")))
	return bytes.NewReader(bytes.Join(ps, nil))
}

func TestTagsBytes(t *testing.T) {
	str := func(s string) []byte { return append(binary.LittleEndian.AppendUint32(nil, uint32(len(s))), s...) }
	num := func(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	magic := []byte("OpusTags")
	picture := "METADATA_BLOCK_PICTURE=" + strings.Repeat("P", 300_000)
	for _, r := range []struct {
		name     string
		b        []byte
		comments []string
		want     error
	}{
		{"none", join(magic, str("v"), num(0)), nil, nil},
		{"two", join(magic, str("v"), num(2), str("A=1"), str("B=2")), []string{"A=1", "B=2"}, nil},
		{"an empty one last", join(magic, str("v"), num(1), str("")), []string{""}, nil},
		{"padding behind", join(magic, str("v"), num(1), str("A=1"), make([]byte, 100)), []string{"A=1"}, nil},
		{"one short", join(magic, str("v"), num(2), str("A=1")), nil, ogg.ErrTags},
		{"count a lie", join(magic, str("v"), num(1<<32-1), str("A=1")), nil, ogg.ErrTags},
		{"length a lie", join(magic, str("v"), num(1), num(1<<31), []byte("A=1")), nil, ogg.ErrTags},
		{"vendor length a lie", join(magic, num(1<<32-1), []byte("v")), nil, ogg.ErrTags},
		{"no count", join(magic, str("v")), nil, ogg.ErrTags},
		{"half a length", join(magic, str("v"), num(1), []byte{1, 0}), nil, ogg.ErrTags},
		{"magic alone", magic, nil, ogg.ErrTags},
		{"nothing", nil, nil, ogg.ErrTags},
		{"a cover picture last", join(magic, str("v"), num(2), str("A=1"), str(picture)), []string{"A=1"}, nil},
		{"a cover picture first", join(magic, str("v"), num(2), str(picture), str("A=1")), nil, nil},
		{"a vendor of 64 KiB", join(magic, str(picture), num(0)), nil, ogg.ErrTags},
	} {
		o, err := ogg.NewReader(tagStream(t, r.b))
		if !errors.Is(err, r.want) {
			t.Errorf("%s: %v, want %v", r.name, err, r.want)
		}
		if err != nil {
			continue
		}
		if o.Tags().Vendor != "v" || !slices.Equal(o.Tags().Comments, r.comments) {
			t.Errorf("%s: vendor %q, %d comments", r.name, o.Tags().Vendor, len(o.Tags().Comments))
		}
		if all, err := readAll(o); len(all) != 1 || string(all[0].data) != "x" || err != io.EOF {
			t.Errorf("%s: then %v, %v", r.name, all, err)
		}
	}
}

func TestWriterTagsLimit(t *testing.T) {
	fits := ogg.Tags{Vendor: strings.Repeat("v", ogg.MaxTags-16)}
	o, err := ogg.NewReader(bytes.NewReader(write(t, mono, fits)))
	if err != nil || o.Tags().Vendor != fits.Vendor {
		t.Errorf("largest tags: %v", err)
	}
	for _, tags := range []ogg.Tags{
		{Vendor: fits.Vendor + "v"},
		{Vendor: fits.Vendor[:len(fits.Vendor)-4], Comments: []string{"x"}},
	} {
		if _, err := ogg.NewWriter(io.Discard, 1, mono, tags); !errors.Is(err, ogg.ErrTooLong) {
			t.Error(err)
		}
	}
}
