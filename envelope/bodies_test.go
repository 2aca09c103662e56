package envelope_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/sotto-voip/sotto/envelope"
)

// body is a codec: parse reads all of b and writes what it found again.
type body struct {
	name  string
	good  []byte // the layout written out by hand
	value interface{ Append([]byte) []byte }
	parse func([]byte) (interface{ Append([]byte) []byte }, error)
}

func reads[T interface{ Append([]byte) []byte }](f func([]byte) (T, error)) func([]byte) (interface{ Append([]byte) []byte }, error) {
	return func(b []byte) (interface{ Append([]byte) []byte }, error) { v, err := f(b); return v, err }
}

func arr[T ~[16]byte | ~[32]byte | ~[64]byte | ~[8]byte](b byte) (a T) {
	for i := range len(a) {
		a[i] = b
	}
	return a
}

func rep(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

func u16(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }
func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

var (
	group  = arr[envelope.GroupID](0xC1)
	groupV = slices.Concat([]byte{16}, rep(0xC1, 16))
	sigV   = slices.Concat([]byte{0x40, 64}, rep(0x51, 64))
)

func bodies() []body {
	return []body{
		{"Presence",
			slices.Concat([]byte{1, 4, 0xF4, 0x7A, 0, 1, 2}, rep(7, 16)),
			envelope.Presence{MaxVersion: 1, Suites: []uint16{0xF47A, 1}, Wish: envelope.WishProtect, Nonce: arr[[16]byte](7)},
			reads(envelope.ParsePresence)},
		{"Hello",
			slices.Concat([]byte{1, 1, 2, 0, 1, 3}, groupV, u64(9), []byte{3, 'k', 'e', 'y', 0, 0}, rep(7, 16), sigV),
			envelope.Hello{MaxVersion: 1, Regime: envelope.HelloRegimeE, Suites: []uint16{1}, Reason: envelope.HelloMerge, KnownGroup: group, Epoch: 9,
				KeyPackage: []byte("key"), Nonce: arr[[16]byte](7), Signature: arr[[64]byte](0x51)},
			reads(envelope.ParseHello)},
		{"Hello with an invite",
			slices.Concat([]byte{2, 3, 2, 0, 1, 0, 0}, u64(0), []byte{0x44, 0}, rep('k', 1024), []byte{8}, rep(8, 8), []byte{32}, rep(9, 32), rep(7, 16), sigV),
			envelope.Hello{MaxVersion: 2, Regime: envelope.HelloRegimeN, Suites: []uint16{1}, KeyPackage: rep('k', 1024),
				InviteID: arr[[8]byte](8), InviteProof: arr[[32]byte](9), Nonce: arr[[16]byte](7), Signature: arr[[64]byte](0x51)},
			reads(envelope.ParseHello)},
		{"Ref",
			slices.Concat(rep(5, 32), []byte{2}, u32(70000), groupV, u64(7)),
			envelope.RefObject{Ref: arr[envelope.Ref](5), Kind: envelope.KindMLSMessage, Size: 70000, Group: group, Epoch: 7},
			reads(envelope.ParseRef)},
		{"Want of a ref",
			slices.Concat(rep(5, 32), []byte{0}, u64(0)),
			envelope.Want{Ref: arr[envelope.Ref](5)},
			reads(envelope.ParseWant)},
		{"Want of a Commit",
			slices.Concat(rep(0, 32), groupV, u64(1<<40)),
			envelope.Want{Group: group, Epoch: 1 << 40},
			reads(envelope.ParseWant)},
		{"Beacon",
			slices.Concat(groupV, u16(0xF47A), u64(2), u32(3), u32(4), rep(6, 16), []byte{16}, rep(1, 8), rep(2, 8), sigV),
			envelope.Beacon{Group: group, Suite: 0xF47A, Epoch: 2, Leaf: 3, Seq: 4, Now: arr[[16]byte](6),
				Past: [][8]byte{arr[[8]byte](1), arr[[8]byte](2)}, Signature: arr[[64]byte](0x51)},
			reads(envelope.ParseBeacon)},
		{"KeyPackageRequest",
			slices.Concat([]byte{2}, groupV, u16(1), rep(7, 16)),
			envelope.KeyPackageRequest{Audience: envelope.AudienceDirect, Group: group, Suite: 1, Nonce: arr[[16]byte](7)},
			reads(envelope.ParseKeyPackageRequest)},
		{"KeyPackageReply",
			slices.Concat(rep(5, 32), []byte{3, 'k', 'e', 'y'}),
			envelope.KeyPackageReply{Request: arr[envelope.Ref](5), KeyPackage: []byte("key")},
			reads(envelope.ParseKeyPackageReply)},
		{"Report",
			slices.Concat(groupV, u64(2), rep(5, 32), []byte{200}, u32(3), u32(4), sigV),
			envelope.Report{Group: group, Epoch: 2, Commit: arr[envelope.Ref](5), Reason: 200, Leaf: 3, Seq: 4, Signature: arr[[64]byte](0x51)},
			reads(envelope.ParseReport)},
		{"AppData",
			slices.Concat([]byte{77}, rep(7, 16), u32(4), u64(5), []byte{2, 'h', 'i'}),
			envelope.AppData{Type: 77, ID: arr[[16]byte](7), Seq: 4, SentMS: 5, Body: []byte("hi")},
			reads(envelope.ParseAppData)},
		{"AppData of the longest body",
			slices.Concat([]byte{3}, rep(7, 16), u32(4), u64(5), u32(2<<30|96009), rep(1, 96009)),
			envelope.AppData{Type: 3, ID: arr[[16]byte](7), Seq: 4, SentMS: 5, Body: rep(1, 96009)},
			reads(envelope.ParseAppData)},
		{"leave",
			slices.Concat([]byte{6}, rep(7, 16), u32(4), u64(5), []byte{0}),
			envelope.AppData{Type: envelope.AppLeave, ID: arr[[16]byte](7), Seq: 4, SentMS: 5},
			reads(envelope.ParseAppData)},
		{"text",
			slices.Concat([]byte{0}, u32(12), []byte{2, 'h', 'i'}),
			envelope.AppTextBody{Scope: envelope.ScopeChannel, Channel: 12, HTML: []byte("hi")},
			reads(envelope.ParseAppText)},
		{"private text of 96 000 bytes",
			slices.Concat([]byte{2}, u32(0xFFFFFFFF), u32(2<<30|96000), rep('a', 96000)),
			envelope.AppTextBody{Scope: envelope.ScopePrivate, Channel: envelope.NoChannel, HTML: rep('a', 96000)},
			reads(envelope.ParseAppText)},
		{"PluginBody",
			slices.Concat([]byte{4, 'g', 'a', 'm', 'e'}, []byte{2, 1, 0}),
			envelope.AppPluginBody{DataID: []byte("game"), Data: []byte{1, 0}},
			reads(envelope.ParseAppPlugin)},
		{"PluginBody of 1000 bytes",
			slices.Concat(u16(1<<14|100), rep('i', 100), u16(1<<14|1000), rep(1, 1000)),
			envelope.AppPluginBody{DataID: rep('i', 100), Data: rep(1, 1000)},
			reads(envelope.ParseAppPlugin)},
		{"SottoLeaf",
			slices.Concat(rep(3, 32), u32(9), []byte{1, 1}, u32(0), groupV, []byte{2, 'e', 'x'}),
			envelope.SottoLeaf{Server: arr[[32]byte](3), Session: 9, Role: envelope.RoleListener, Audience: envelope.AudienceChannel, ForGroup: group, Extra: []byte("ex")},
			reads(envelope.ParseSottoLeaf)},
		{"SottoGroup",
			slices.Concat([]byte{0, 1, 1, 0}, u32(12), rep(3, 32), []byte{2, 3, 16}, rep(4, 16), []byte{0}),
			envelope.SottoGroup{Audience: envelope.AudienceChannel, Anchor: 12, Server: arr[[32]byte](3), Admission: envelope.AdmitAsked,
				Flags: envelope.FlagPSKRequired | envelope.FlagLocked, PSKID: arr[[16]byte](4)},
			reads(envelope.ParseSottoGroup)},
		{"SottoGroup, direct",
			slices.Concat([]byte{0, 1, 2, 0}, u32(0xFFFFFFFF), rep(3, 32), []byte{0, 0, 0, 1, 'x'}),
			envelope.SottoGroup{Audience: envelope.AudienceDirect, Anchor: envelope.NoChannel, Server: arr[[32]byte](3), Extra: []byte("x")},
			reads(envelope.ParseSottoGroup)},
	}
}

// TestBodies writes every body by the letter, reads it, and refuses it cut at
// any place or with a byte more.
func TestBodies(t *testing.T) {
	for _, c := range bodies() {
		if got := c.value.Append([]byte("before")); string(got) != "before"+string(c.good) {
			t.Errorf("%s is written %x, want %x", c.name, got[6:], c.good)
		}
		v, err := c.parse(c.good)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := v.Append(nil); !bytes.Equal(got, c.good) {
			t.Errorf("%s is read and written as %x", c.name, got)
		}
		step := max(1, len(c.good)/500)
		for i := 0; i < len(c.good); i += step {
			if _, err := c.parse(c.good[:i]); !errors.Is(err, envelope.ErrTruncated) && !errors.Is(err, envelope.ErrValue) {
				t.Errorf("%s, %d bytes of %d: %v", c.name, i, len(c.good), err)
			}
		}
		if _, err := c.parse(append(slices.Clone(c.good), 0)); !errors.Is(err, envelope.ErrTrailing) {
			t.Errorf("%s and a byte more: %v", c.name, err)
		}
	}
}

// refusal changes one thing of a good body.
type refusal struct {
	body, why string
	at        int    // where with stands instead of cut bytes; negative: from the end
	cut       int    //
	with      []byte //
	want      error
}

func (r refusal) of(good []byte) []byte {
	at := r.at
	if at < 0 {
		at += len(good)
	}
	return slices.Concat(good[:at], r.with, good[at+r.cut:])
}

var refusals = []refusal{
	{"Presence", "version 0", 0, 1, []byte{0}, envelope.ErrValue},
	{"Presence", "no suite", 1, 5, []byte{0}, envelope.ErrValue},
	{"Presence", "half a suite", 1, 5, []byte{3, 1, 2, 3}, envelope.ErrValue},
	{"Presence", "33 suites", 1, 5, slices.Concat([]byte{0x40, 66}, rep(1, 66)), envelope.ErrTooLong},
	{"Presence", "wish 3", 6, 1, []byte{3}, envelope.ErrValue},
	{"Presence", "length in two bytes", 1, 1, []byte{0x40, 4}, envelope.ErrVarint},
	{"Presence", "length in four bytes", 1, 1, []byte{0x80, 0, 0, 4}, envelope.ErrVarint},
	{"Presence", "length in eight bytes", 1, 1, []byte{0xC0, 0, 0, 0, 0, 0, 0, 4}, envelope.ErrVarint},
	{"Hello", "version 0", 0, 1, []byte{0}, envelope.ErrValue},
	{"Hello", "regime 0", 1, 1, []byte{0}, envelope.ErrValue},
	{"Hello", "regime 4", 1, 1, []byte{4}, envelope.ErrValue},
	{"Hello", "reason 4", 5, 1, []byte{4}, envelope.ErrValue},
	{"Hello", "an epoch of no group", 6, 17, []byte{0}, envelope.ErrValue},
	{"Hello", "group of 15 bytes", 6, 17, slices.Concat([]byte{15}, rep(0xC1, 15)), envelope.ErrValue},
	{"Hello", "group of 17 bytes", 6, 17, slices.Concat([]byte{17}, rep(0xC1, 17)), envelope.ErrTooLong},
	{"Hello", "group without the top bit", 7, 1, []byte{0x41}, envelope.ErrValue},
	{"Hello", "group of zeros", 7, 16, rep(0, 16), envelope.ErrValue},
	{"Hello", "no KeyPackage", 31, 4, []byte{0}, envelope.ErrValue},
	{"Hello", "KeyPackage too long", 31, 4, slices.Concat(u32(2<<30|16385), rep(1, 16385)), envelope.ErrTooLong},
	{"Hello", "an invite without proof", 35, 2, slices.Concat([]byte{8}, rep(8, 8), []byte{0}), envelope.ErrValue},
	{"Hello", "a proof without invite", 35, 2, slices.Concat([]byte{0, 32}, rep(8, 32)), envelope.ErrValue},
	{"Hello", "an invite of zeros", 35, 2, slices.Concat([]byte{8}, rep(0, 8), []byte{32}, rep(8, 32)), envelope.ErrValue},
	{"Hello", "an invite of 7 bytes", 35, 2, slices.Concat([]byte{7}, rep(8, 7), []byte{32}, rep(8, 32)), envelope.ErrValue},
	{"Hello", "signature of 63 bytes", -66, 66, slices.Concat([]byte{63}, rep(1, 63)), envelope.ErrValue},
	{"Hello", "no signature", -66, 66, []byte{0}, envelope.ErrValue},
	{"Ref", "unknown kind", 32, 1, []byte{0x0E}, envelope.ErrValue},
	{"Ref", "of a Ref", 32, 1, []byte{4}, envelope.ErrValue},
	{"Ref", "of a Probe", 32, 1, []byte{12}, envelope.ErrValue},
	{"Ref", "size 0", 33, 4, u32(0), envelope.ErrValue},
	{"Ref", "size above all bounds", 33, 4, u32(512<<10 + 1), envelope.ErrValue},
	{"Ref", "no group", 37, 17, []byte{0}, envelope.ErrValue},
	{"Want of a ref", "and an epoch", 33, 8, u64(1), envelope.ErrValue},
	{"Want of a ref", "and a group", 32, 1, groupV, envelope.ErrValue},
	{"Want of a ref", "of nothing", 0, 32, rep(0, 32), envelope.ErrValue},
	{"Beacon", "no group", 0, 17, []byte{0}, envelope.ErrValue},
	{"Beacon", "past of 12 bytes", 51, 17, slices.Concat([]byte{12}, rep(1, 12)), envelope.ErrValue},
	{"Beacon", "more past than there was", 51, 17, slices.Concat([]byte{24}, rep(1, 24)), envelope.ErrValue},
	{"Beacon", "nine past epochs", 51, 17, slices.Concat([]byte{0x40, 72}, rep(1, 72)), envelope.ErrTooLong},
	{"Beacon", "signature of 65 bytes", -66, 66, slices.Concat([]byte{0x40, 65}, rep(1, 65)), envelope.ErrTooLong},
	{"KeyPackageRequest", "audience 0", 0, 1, []byte{0}, envelope.ErrValue},
	{"KeyPackageRequest", "audience 3", 0, 1, []byte{3}, envelope.ErrValue},
	{"KeyPackageReply", "no KeyPackage", 32, 4, []byte{0}, envelope.ErrValue},
	{"Report", "no group", 0, 17, []byte{0}, envelope.ErrValue},
	{"leave", "with a body", -1, 1, []byte{1, 'x'}, envelope.ErrValue},
	{"AppData", "body too long", 29, 3, slices.Concat(u32(2<<30|96010), rep(1, 96010)), envelope.ErrTooLong},
	{"text", "scope 3", 0, 1, []byte{3}, envelope.ErrValue},
	{"text", "a channel's without channel", 1, 4, u32(0xFFFFFFFF), envelope.ErrValue},
	{"private text of 96 000 bytes", "in a channel", 1, 4, u32(0), envelope.ErrValue},
	{"text", "of 96 001 bytes", 5, 3, slices.Concat(u32(2<<30|96001), rep(1, 96001)), envelope.ErrTooLong},
	{"PluginBody", "no id", 0, 5, []byte{0}, envelope.ErrValue},
	{"PluginBody", "an id of 101 bytes", 0, 5, slices.Concat(u16(1<<14|101), rep('i', 101)), envelope.ErrTooLong},
	{"PluginBody", "1001 bytes", 5, 3, slices.Concat(u16(1<<14|1001), rep(1, 1001)), envelope.ErrTooLong},
	{"SottoLeaf", "session 0", 32, 4, u32(0), envelope.ErrValue},
	{"SottoLeaf", "role 2", 36, 1, []byte{2}, envelope.ErrValue},
	{"SottoLeaf", "audience 0", 37, 1, []byte{0}, envelope.ErrValue},
	{"SottoLeaf", "extra of 257 bytes", -3, 3, slices.Concat(u16(1<<14|257), rep(1, 257)), envelope.ErrTooLong},
	{"SottoGroup", "protocol 2", 1, 1, []byte{2}, envelope.ErrVersion},
	{"SottoGroup", "audience 3", 2, 1, []byte{3}, envelope.ErrValue},
	{"SottoGroup", "mode 1", 3, 1, []byte{1}, envelope.ErrValue},
	{"SottoGroup", "no anchor", 4, 4, u32(0xFFFFFFFF), envelope.ErrValue},
	{"SottoGroup, direct", "an anchor", 4, 4, u32(1), envelope.ErrValue},
	{"SottoGroup", "admission 3", 40, 1, []byte{3}, envelope.ErrValue},
	{"SottoGroup", "flag 4", 41, 1, []byte{7}, envelope.ErrValue},
	{"SottoGroup", "PSK without flag", 41, 1, []byte{2}, envelope.ErrValue},
	{"SottoGroup", "flag without PSK", 42, 17, []byte{0}, envelope.ErrValue},
}

// TestBodiesRefuse changes one thing of a good body.
func TestBodiesRefuse(t *testing.T) {
	good := map[string]body{}
	for _, c := range bodies() {
		good[c.name] = c
	}
	for _, r := range refusals {
		c, ok := good[r.body]
		if !ok {
			t.Fatalf("no body %q", r.body)
		}
		if _, err := c.parse(r.of(c.good)); !errors.Is(err, r.want) {
			t.Errorf("%s, %s: %v, want %v", r.body, r.why, err, r.want)
		}
	}
}

// TestSignedContent has the bytes under the signatures: all before them.
func TestSignedContent(t *testing.T) {
	for _, c := range bodies() {
		if s, ok := c.value.(interface{ SignedContent() []byte }); ok {
			if got, want := s.SignedContent(), c.good[:len(c.good)-66]; !bytes.Equal(got, want) {
				t.Errorf("%s: %x, want %x", c.name, got, want)
			}
		}
	}
	for _, c := range bodies() {
		h, ok := c.value.(envelope.Hello)
		if !ok {
			continue
		}
		invite := 2
		if h.HasInvite() {
			invite = 1 + 8 + 1 + 32
		}
		head := len(c.good) - 66 - 16 - invite
		if got, want := h.InviteContent(), slices.Concat(c.good[:head], rep(7, 16)); !bytes.Equal(got, want) {
			t.Errorf("%s: invite content %x, want %x", c.name, got, want)
		}
	}
}

func TestRefOf(t *testing.T) {
	ref := envelope.RefOf(envelope.KindProbe, []byte{1, 2, 3, 4, 5, 6, 7, 8})
	if hex.EncodeToString(ref[:]) != probeRef {
		t.Errorf("%x", ref)
	}
	if !group.Valid() || group.IsZero() || group.Tag() != 0xC1C1C1C1 || (envelope.GroupID{}).Valid() {
		t.Error("GroupID")
	}
}

// FuzzBodies: what is read is written with the same bytes.
func FuzzBodies(f *testing.F) {
	codecs := bodies()
	for i, c := range codecs {
		f.Add(uint8(i), c.good)
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		c := codecs[int(which)%len(codecs)]
		v, err := c.parse(b)
		if err != nil {
			return
		}
		if got := v.Append(nil); !bytes.Equal(got, b) {
			t.Errorf("%s: %x becomes %x", c.name, b, got)
		}
	})
}

func BenchmarkParseBeacon(b *testing.B) {
	one := bodies()[6].good
	b.ReportAllocs()
	for b.Loop() {
		if _, err := envelope.ParseBeacon(one); err != nil {
			b.Fatal(err)
		}
	}
}
