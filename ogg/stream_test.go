package ogg_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sotto-voip/sotto/ogg"
	"github.com/sotto-voip/sotto/opus"
)

const ms = time.Millisecond

var mono = ogg.Head{Channels: 1, PreSkip: 312, InputSampleRate: 48000}

// silence is a valid packet of 20 ms and n >= 5 bytes.
func silence(t testing.TB, n int) []byte {
	t.Helper()
	room := opus.MaxCoverPadding(20*ms, n)
	b, err := opus.AppendCover(nil, 20*ms, bytes.Repeat([]byte{0x5A}, max(0, room)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type got struct {
	data    []byte
	granule int64
	eos     bool
}

// readAll returns what Next gives until its first error, and that error.
func readAll(o *ogg.Reader) (all []got, err error) {
	for {
		p, err := o.Next()
		if err != nil {
			return all, err
		}
		all = append(all, got{bytes.Clone(p.Data), p.Granule, p.EOS})
	}
}

// pages cuts a stream into its pages by their own lengths.
func pages(t testing.TB, b []byte) [][]byte {
	t.Helper()
	var out [][]byte
	for len(b) > 0 {
		n := 27 + int(b[26])
		for _, lacing := range b[27:n] {
			n += int(lacing)
		}
		out = append(out, b[:n:n])
		b = b[n:]
	}
	return out
}

// crcSlow is RFC 3533's checksum, a bit at a time.
func crcSlow(b []byte) (c uint32) {
	for _, x := range b {
		c ^= uint32(x) << 24
		for range 8 {
			top := c >> 31
			c = c<<1 ^ top*0x04C11DB7
		}
	}
	return c
}

// makePage builds a page by hand, the hostile ones too.
func makePage(flags byte, granule int64, serial, sequence uint32, segments []byte, body []byte) []byte {
	b := append([]byte("OggS\x00"), flags)
	b = binary.LittleEndian.AppendUint64(b, uint64(granule))
	b = binary.LittleEndian.AppendUint32(b, serial)
	b = binary.LittleEndian.AppendUint32(b, sequence)
	b = append(b, 0, 0, 0, 0, byte(len(segments)))
	b = append(append(b, segments...), body...)
	binary.LittleEndian.PutUint32(b[22:], crcSlow(b))
	return b
}

// remake changes a page in place and mends its checksum.
func remake(page []byte, change func(b []byte)) []byte {
	b := bytes.Clone(page)
	change(b)
	clear(b[22:26])
	binary.LittleEndian.PutUint32(b[22:], crcSlow(b))
	return b
}

func write(t testing.TB, h ogg.Head, tags ogg.Tags, packets ...[]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := ogg.NewWriter(&out, 0xC0FFEE, h, tags)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range packets {
		if err := w.WritePacket(p, int64(i+1)*960); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestRoundTrip writes packets of all lengths at which lacing changes.
func TestRoundTrip(t *testing.T) {
	var packets [][]byte
	for _, n := range []int{5, 254, 255, 256, 509, 510, 511, 1275, 65023, 65024, 65025, 65026, 65279, 65280, 65281, ogg.MaxPacket} {
		p := silence(t, n)
		for len(p) < n { // padding cannot fill every length; frames can be longer instead
			p = append([]byte{0xF8}, bytes.Repeat([]byte{1}, n-1)...)
		}
		packets = append(packets, p)
	}
	tags := ogg.Tags{Vendor: "vendor ü", Comments: []string{"TITLE=a=b", "", "ARTIST=" + strings.Repeat("x", 1000)}}
	b := write(t, mono, tags, packets...)
	o, err := ogg.NewReader(iotest.OneByteReader(bytes.NewReader(b)))
	if err != nil {
		t.Fatal(err)
	}
	if h := o.Head(); h.Channels != 1 || h.PreSkip != 312 || h.InputSampleRate != 48000 || h.OutputGain != 0 || h.MappingFamily != 0 || h.Mapping != nil {
		t.Errorf("head %+v", h)
	}
	if o.Tags().Vendor != tags.Vendor || !slices.Equal(o.Tags().Comments, tags.Comments) {
		t.Errorf("tags %+v", o.Tags())
	}
	all, err := readAll(o)
	if err != io.EOF || len(all) != len(packets) {
		t.Fatalf("%d packets, %v; want %d, EOF", len(all), err, len(packets))
	}
	for i, p := range all {
		if !bytes.Equal(p.data, packets[i]) || p.granule != int64(i+1)*960 || p.eos {
			t.Errorf("packet %d: %d bytes, granule %d, EOS %v; want %d bytes, %d", i, len(p.data), p.granule, p.eos, len(packets[i]), (i+1)*960)
		}
	}
	if _, err := o.Next(); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
}

// TestPages reads what Writer made with nothing but RFC 3533 in hand.
func TestPages(t *testing.T) {
	long := append([]byte{0xFB, 0x41}, bytes.Repeat([]byte{255}, 256)...) // 256*254 bytes of padding and one more
	long = append(long, 1, 0xFF, 0xFE)
	long = append(long, make([]byte, 256*254+1)...)
	long = long[:len(long):len(long)]
	ps := pages(t, write(t, mono, ogg.Tags{Vendor: "v"}, silence(t, 100), long))
	want := []struct {
		flags    byte
		granule  int64
		segments int
	}{{2, 0, 1}, {0, 0, 1}, {0, 960, 1}, {0, -1, 255}, {1, 1920, len(long)/255 + 1 - 255}, {4, -1, 0}}
	if len(ps) != len(want) {
		t.Fatalf("%d pages, want %d", len(ps), len(want))
	}
	for i, p := range ps {
		sum := binary.LittleEndian.Uint32(p[22:])
		clear(p[22:26])
		if string(p[:5]) != "OggS\x00" || p[5] != want[i].flags || int64(binary.LittleEndian.Uint64(p[6:])) != want[i].granule ||
			binary.LittleEndian.Uint32(p[14:]) != 0xC0FFEE || binary.LittleEndian.Uint32(p[18:]) != uint32(i) ||
			int(p[26]) != want[i].segments || crcSlow(p) != sum {
			t.Errorf("page %d: % x; want flags %d, granule %d, %d segments", i, p[:27], want[i].flags, want[i].granule, want[i].segments)
		}
	}
	if head := ps[0][28:]; string(head) != "OpusHead\x01\x01\x38\x01\x80\xBB\x00\x00\x00\x00\x00" {
		t.Errorf("OpusHead % x", head)
	}
	if tags := ps[1][28:]; string(tags) != "OpusTags\x01\x00\x00\x00v\x00\x00\x00\x00" {
		t.Errorf("OpusTags % x", tags)
	}
}

// TestSeveralOnAPage has packets that share pages and cross them, among pages of
// another stream.
func TestSeveralOnAPage(t *testing.T) {
	ps := pages(t, write(t, mono, ogg.Tags{Vendor: "v"}))
	other := func(flags byte, n uint32) []byte { return makePage(flags, 7, 99, n, []byte{3}, []byte("foo")) }
	x := bytes.Repeat([]byte{'x'}, 255)
	stream := slices.Concat(
		other(2, 0), ps[0], other(2, 0), ps[1], other(0, 1),
		makePage(0, 1920, 0xC0FFEE, 2, []byte{1, 2, 255}, slices.Concat([]byte("abb"), x)),
		other(4, 2),
		makePage(1, -1, 0xC0FFEE, 3, []byte{255}, x),
		makePage(1, 4800, 0xC0FFEE, 4, []byte{0, 3, 0, 2}, []byte("cccdd")),
		makePage(4, 4900, 0xC0FFEE, 5, []byte{1, 1}, []byte("ef")),
		[]byte("what follows is not read"),
	)
	r := bytes.NewReader(stream)
	o, err := ogg.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	all, err := readAll(o)
	if err != io.EOF {
		t.Error(err)
	}
	want := []got{
		{[]byte("a"), -1, false}, {[]byte("bb"), 1920, false}, {slices.Concat(x, x), -1, false},
		{[]byte("ccc"), -1, false}, {nil, -1, false}, {[]byte("dd"), 4800, false},
		{[]byte("e"), -1, false}, {[]byte("f"), 4900, true},
	}
	if len(all) != len(want) {
		t.Fatalf("%d packets, want %d", len(all), len(want))
	}
	for i := range want {
		if !bytes.Equal(all[i].data, want[i].data) || all[i].granule != want[i].granule || all[i].eos != want[i].eos {
			t.Errorf("packet %d: %q, %d, %v; want %q, %d, %v", i, all[i].data, all[i].granule, all[i].eos, want[i].data, want[i].granule, want[i].eos)
		}
	}
	if rest, _ := io.ReadAll(r); string(rest) != "what follows is not read" {
		t.Errorf("left unread: %q", rest)
	}
}

// TestChained reads two links of a chained file one after the other.
func TestChained(t *testing.T) {
	p := silence(t, 100)
	b := bytes.NewReader(slices.Concat(write(t, mono, ogg.Tags{Vendor: "1"}, p), write(t, mono, ogg.Tags{Vendor: "2"}, p, p)))
	for link := range 2 {
		o, err := ogg.NewReader(b)
		if err != nil {
			t.Fatal(err)
		}
		all, err := readAll(o)
		if err != io.EOF || len(all) != link+1 || o.Tags().Vendor != fmt.Sprint(link+1) {
			t.Errorf("link %d: %d packets, vendor %s, %v", link, len(all), o.Tags().Vendor, err)
		}
	}
	if _, err := ogg.NewReader(b); err != io.EOF {
		t.Errorf("behind the last link: %v", err)
	}
}

// TestDamage changes a good stream of two headers, three packets and an end.
func TestDamage(t *testing.T) {
	p := silence(t, 300)
	for _, r := range []struct {
		name   string
		change func(ps [][]byte) [][]byte
		opens  bool
		n      int
		want   error
	}{
		{"nothing", func(ps [][]byte) [][]byte { return ps }, true, 3, io.EOF},
		{"no end page", func(ps [][]byte) [][]byte { return ps[:5] }, true, 3, io.EOF},
		{"end inside a page", func(ps [][]byte) [][]byte { ps[4] = ps[4][:200]; return ps[:5] }, true, 2, io.ErrUnexpectedEOF},
		{"end inside a page header", func(ps [][]byte) [][]byte { ps[4] = ps[4][:20]; return ps[:5] }, true, 2, io.ErrUnexpectedEOF},
		{"end after a page header", func(ps [][]byte) [][]byte { ps[4] = ps[4][:27]; return ps[:5] }, true, 2, io.ErrUnexpectedEOF},
		{"a byte of body", func(ps [][]byte) [][]byte { ps[3][100] ^= 1; return ps }, true, 1, ogg.ErrCRC},
		{"a byte of header", func(ps [][]byte) [][]byte { ps[3][8] ^= 1; return ps }, true, 1, ogg.ErrCRC},
		{"the checksum", func(ps [][]byte) [][]byte { ps[3][22] ^= 1; return ps }, true, 1, ogg.ErrCRC},
		{"a page missing", func(ps [][]byte) [][]byte { return slices.Delete(ps, 3, 4) }, true, 1, ogg.ErrSequence},
		{"a page twice", func(ps [][]byte) [][]byte { return slices.Insert(ps, 3, ps[3]) }, true, 2, ogg.ErrSequence},
		{"a byte inserted", func(ps [][]byte) [][]byte { return slices.Insert(ps, 3, []byte{0}) }, true, 1, ogg.ErrSync},
		{"another page format", func(ps [][]byte) [][]byte { ps[3] = remake(ps[3], func(b []byte) { b[4] = 1 }); return ps }, true, 1, ogg.ErrSync},
		{"continued from nothing", func(ps [][]byte) [][]byte { ps[3] = remake(ps[3], func(b []byte) { b[5] = 1 }); return ps }, true, 1, ogg.ErrPacket},
		{"end between the pages of a packet", func(ps [][]byte) [][]byte {
			ps[3] = makePage(0, -1, 0xC0FFEE, 3, []byte{255}, make([]byte, 255))
			return ps[:4]
		}, true, 1, io.ErrUnexpectedEOF},
		{"unfinished, not continued", func(ps [][]byte) [][]byte {
			ps[3] = makePage(0, -1, 0xC0FFEE, 3, []byte{255}, make([]byte, 255))
			return ps
		}, true, 1, ogg.ErrPacket},
		{"unfinished at the end page", func(ps [][]byte) [][]byte {
			ps[3] = makePage(4, -1, 0xC0FFEE, 3, []byte{255}, make([]byte, 255))
			return ps
		}, true, 1, io.ErrUnexpectedEOF},
		{"a stream begins", func(ps [][]byte) [][]byte { return slices.Concat(ps[:4], ps[:1]) }, true, 2, ogg.ErrChained},
		{"another stream begins", func(ps [][]byte) [][]byte {
			return slices.Insert(ps, 4, remake(ps[0], func(b []byte) { b[14] ^= 1 }))
		}, true, 2, ogg.ErrChained},
		{"empty", func(ps [][]byte) [][]byte { return nil }, false, 0, io.EOF},
		{"no Ogg", func(ps [][]byte) [][]byte { return [][]byte{[]byte("RIFF....WAVEfmt ................")} }, false, 0, ogg.ErrSync},
		{"head alone", func(ps [][]byte) [][]byte { return ps[:1] }, false, 0, io.ErrUnexpectedEOF},
		{"no head", func(ps [][]byte) [][]byte { return ps[1:] }, false, 0, ogg.ErrNotOpus},
		{"another codec alone", func(ps [][]byte) [][]byte {
			return [][]byte{makePage(2, 0, 1, 0, []byte{7}, []byte("\x01vorbis"))}
		}, false, 0, ogg.ErrNotOpus},
		{"something behind the head on its page", func(ps [][]byte) [][]byte {
			ps[0] = makePage(2, 0, 0xC0FFEE, 0, []byte{19, 1}, append(bytes.Clone(ps[0][28:]), 1))
			return ps
		}, false, 0, ogg.ErrPacket},
		{"tags are none", func(ps [][]byte) [][]byte { ps[1] = remake(ps[1], func(b []byte) { b[30] ^= 1 }); return ps }, false, 0, ogg.ErrTags},
		{"audio behind the tags on their page", func(ps [][]byte) [][]byte {
			body := append(bytes.Clone(ps[1][28:]), 1)
			ps[1] = makePage(0, 0, 0xC0FFEE, 1, []byte{byte(len(body) - 1), 1}, body)
			return ps
		}, false, 0, ogg.ErrPacket},
		{"end before the tags end", func(ps [][]byte) [][]byte {
			ps[1] = makePage(4, -1, 0xC0FFEE, 1, []byte{255}, append(bytes.Clone(ps[1][28:]), make([]byte, 255-len(ps[1][28:]))...))
			return ps
		}, false, 0, io.ErrUnexpectedEOF},
	} {
		t.Run(r.name, func(t *testing.T) {
			ps := r.change(pages(t, write(t, mono, ogg.Tags{Vendor: "v"}, p, p, p)))
			o, err := ogg.NewReader(bytes.NewReader(bytes.Join(ps, nil)))
			if !r.opens {
				if !errors.Is(err, r.want) {
					t.Errorf("%v, want %v", err, r.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			all, err := readAll(o)
			if len(all) != r.n || !errors.Is(err, r.want) {
				t.Errorf("%d packets, then %v; want %d, %v", len(all), err, r.n, r.want)
			}
			if _, again := o.Next(); again != err {
				t.Errorf("the error does not repeat: %v", again)
			}
		})
	}
}

// TestReadError checks that errors of the io.Reader come through.
func TestReadError(t *testing.T) {
	broken := errors.New("broken disk")
	b := write(t, mono, ogg.Tags{Vendor: "v"}, silence(t, 100))
	ps := pages(t, b)
	head := len(ps[0]) + len(ps[1])
	o, err := ogg.NewReader(io.MultiReader(bytes.NewReader(b[:head+40]), iotest.ErrReader(broken)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Next(); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := ogg.NewReader(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// TestPacketTooLong has a packet that never ends.
func TestPacketTooLong(t *testing.T) {
	ps := pages(t, write(t, mono, ogg.Tags{Vendor: "v"}))[:2]
	full, body := bytes.Repeat([]byte{255}, 255), make([]byte, 65025)
	ps = append(ps, makePage(0, -1, 0xC0FFEE, 2, full, body), makePage(1, -1, 0xC0FFEE, 3, full, body))
	o, err := ogg.NewReader(bytes.NewReader(bytes.Join(ps, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Next(); !errors.Is(err, ogg.ErrTooLong) {
		t.Error(err)
	}
}
