package e2ee_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/sframe"
)

// pair returns a room in which alice and bob talk.
func pair(t testing.TB) (r *room, alice, bob *person) {
	t.Helper()
	secret := e2ee.NewSecret()
	r = newRoom(t, true)
	alice = r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer))
	bob = r.join("bob", 1, engine(t, secret, e2ee.PolicyPrefer))
	r.run(time.Second)
	r.wantState(alice, e2ee.StateTyped)
	r.wantState(bob, e2ee.StateTyped)
	return r, alice, bob
}

// nonceOf returns the nonce of a packet with a key header.
func nonceOf(t testing.TB, p packet) [16]byte {
	t.Helper()
	if p.vk != envelope.VoiceTypedKey {
		t.Fatalf("vk %#x has no nonce", p.vk)
	}
	return [16]byte(p.rest)
}

// headerOf returns the SFrame header of a packet.
func headerOf(t testing.TB, p packet) sframe.Header {
	t.Helper()
	rest := p.rest
	if p.vk == envelope.VoiceTypedKey {
		rest = rest[20:]
	}
	h, _, err := sframe.ParseHeader(rest)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Whatever is changed on the way, the packet does not open: each bit, the length,
// frame number, terminator, speaker, and the kind of packet.
func TestVoiceMustFail(t *testing.T) {
	r, alice, bob := pair(t)
	carol := r.join("carol", 1, nil)
	r.wantHeard(bob, r.say(alice, "first"), "first")
	for range 4 {
		r.say(alice, "more")
	}
	plain := r.say(alice, "plain")
	r.now = r.now.Add(2 * time.Second)
	keyed := r.say(alice, "keyed")
	refuse := func(what string, p packet) {
		t.Helper()
		if got, err := r.hear(bob, p); err == nil {
			t.Errorf("%s: heard %q", what, got)
		}
	}
	n := 0
	for _, p := range []packet{plain, keyed} {
		for i := range p.rest {
			for bit := range 8 {
				x := p
				x.rest = bytes.Clone(p.rest)
				x.rest[i] ^= 1 << bit
				refuse("a changed bit", x)
				n++
			}
			x := p
			x.rest = p.rest[:i]
			refuse("cut short", x)
			x.rest = p.rest[i+1:]
			refuse("beheaded", x)
		}
		x := p
		x.rest = append(bytes.Clone(p.rest), 0)
		refuse("longer", x)
		for bit := range 16 {
			x = p
			x.number ^= 1 << bit
			refuse("another frame number", x)
		}
		x = p
		x.end = !p.end
		refuse("another terminator", x)
		x = p
		x.from = carol.session
		refuse("another speaker", x)
		x.from = 999
		r.wantError(bob, x, e2ee.ErrUnknownSession)
		x = p
		x.from = bob.session
		r.wantError(bob, x, e2ee.ErrUnknownSession)
		for vk := range 256 {
			x = p
			x.vk = byte(vk)
			if x.vk != p.vk {
				refuse("another vk", x)
			}
		}
	}
	// The same nonce header with another vk must not smuggle the frame through.
	x := keyed
	x.vk, x.rest = envelope.VoiceTyped, keyed.rest[20:]
	r.wantError(bob, x, e2ee.ErrAuth)
	// What servers do change is not bound: the high bits of the frame number.
	x = plain
	x.number += 1 << 16
	r.wantHeard(bob, x, "plain")
	r.wantHeard(bob, keyed, "keyed")
	t.Logf("%d changed bits refused; bob counted %+v", n, bob.Stats())
	if s := bob.Stats(); s.Auth == 0 || s.Malformed == 0 || s.NoKey == 0 || s.UnknownSession == 0 || s.Failed != 0 {
		t.Errorf("counted %+v", s)
	}
}

// All packets of one stream have one size, that of its longest frame; a limit
// leaves steps out.
func TestPadding(t *testing.T) {
	r, alice, bob := pair(t)
	size := func(opus, limit int) int {
		t.Helper()
		body, err := alice.SealVoice(nil, r.now, limit, &e2ee.Frame{Opus: bytes.Repeat([]byte{7}, opus)})
		if err != nil {
			t.Fatal(err)
		}
		p := packet{from: alice.session, vk: body[0], rest: body[1:]}
		r.wantHeard(bob, p, strings.Repeat("\x07", opus))
		h := headerOf(t, p)
		n := len(p.rest) - h.Len() - 16
		if p.vk == envelope.VoiceTypedKey {
			n -= 20
		}
		return n
	}
	for _, tt := range []struct{ opus, limit, want int }{
		{0, 900, 16}, {14, 900, 16}, {15, 900, 24}, {3, 900, 24}, {60, 900, 64},
		{63, 900, 80}, {20, 900, 80}, {0, 900, 80},
		{20, 1 + 2 + 79 + 16, 64},        // 80 exceeds the limit
		{70, 1 + 2 + 75 + 16, 72},        // no step fits: unpadded
		{892, 2000, 896}, {1, 2000, 896}, // the last step
		{900, 2000, 902}, {1, 2000, 896}, // above it: unpadded
		{1, 1 + 2 + 20 + 16, 16}, // the first step
	} {
		if got := size(tt.opus, tt.limit); got != tt.want {
			t.Errorf("%d bytes of Opus, limit %d: plaintext %d, want %d", tt.opus, tt.limit, got, tt.want)
		}
	}
}

// Errors of SealVoice that are the frame's; nothing of it is appended.
func TestSealVoiceErrors(t *testing.T) {
	r, alice, _ := pair(t)
	for _, tt := range []struct {
		name        string
		opus, limit int
		want        error
	}{
		{"no room at all", 0, 0, e2ee.ErrFrameTooLong},
		{"a negative limit", 0, -5, e2ee.ErrFrameTooLong},
		{"one byte short", 100, 1 + 20 + 1 + 102 + 16 - 1, e2ee.ErrFrameTooLong},
		{"exactly", 100, 1 + 20 + 1 + 102 + 16, nil},
		{"longer than 12 bits say", 4096, 9000, e2ee.ErrFrameTooLong},
		{"as long as 12 bits say", 4095, 9000, nil},
	} {
		dst := []byte("dst")
		got, err := alice.SealVoice(dst, r.now, tt.limit, &e2ee.Frame{Opus: make([]byte, tt.opus)})
		if !errors.Is(err, tt.want) || !bytes.HasPrefix(got, dst) || (err != nil && len(got) != 3) {
			t.Errorf("%s: %d bytes, %v, want %v", tt.name, len(got), err, tt.want)
		}
	}
	// In the middle of a talk the key header gives way to the sound.
	for range 10 {
		r.say(alice, "x")
	}
	for i := range 60 {
		body, err := alice.SealVoice(nil, r.now, 1+2+102+16, &e2ee.Frame{Opus: make([]byte, 100)})
		if err != nil || body[0] != envelope.VoiceTyped {
			t.Fatalf("packet %d: %v", i, err)
		}
	}
}

// A position arrives if both clients are in the same place, and nowhere else.
func TestPosition(t *testing.T) {
	r, alice, bob := pair(t)
	where := [3]float32{1.5, -2, 1e6}
	send := func(p [3]float32) (e2ee.Frame, error) {
		t.Helper()
		f := e2ee.Frame{FrameNumber: 4, Opus: []byte("opus"), HasPosition: true, Position: p}
		pkt, err := r.seal(alice, &f)
		if err != nil {
			t.Fatal(err)
		}
		got := e2ee.Frame{FrameNumber: 4}
		err = bob.OpenVoice(nil, r.now, alice.session, pkt.vk, pkt.rest, &got)
		if err == nil && string(got.Opus) != "opus" {
			t.Errorf("heard %q", got.Opus)
		}
		return got, err
	}
	want := func(name string, p [3]float32, has bool) {
		t.Helper()
		got, err := send(p)
		if err != nil || got.HasPosition != has || (has && got.Position != p) || (!has && got.Position != [3]float32{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	want("nobody plays", where, false)
	alice.Handle(r.now, e2ee.PluginContext{Context: []byte("game\x00place")})
	want("alice plays", where, false)
	bob.Handle(r.now, e2ee.PluginContext{Context: []byte("game\x00elsewhere")})
	want("bob plays elsewhere", where, false)
	bob.Handle(r.now, e2ee.PluginContext{Context: []byte("game\x00place")})
	want("both play", where, true)
	want("no number", [3]float32{float32(math.NaN()), 0, 0}, false)
	want("no end", [3]float32{0, float32(math.Inf(1)), 0}, false)
	alice.Handle(r.now, e2ee.PluginContext{})
	want("alice stops", where, false)
	alice.Handle(r.now, e2ee.PluginContext{Context: []byte("game\x00place")})
	want("alice plays again", where, true)
	r.move(alice, 2, true)
	r.move(bob, 2, true)
	want("in another channel", where, true)
}

// Terminators and keep-alives are handed down as such.
func TestTerminator(t *testing.T) {
	r, alice, bob := pair(t)
	p, err := r.speak(alice, "", true)
	if err != nil {
		t.Fatal(err)
	}
	r.wantHeard(bob, p, "")
}

// OpenVoice appends; what stood in dst stays.
func TestOpenVoiceAppends(t *testing.T) {
	r, alice, bob := pair(t)
	p := r.say(alice, "opus")
	f := e2ee.Frame{FrameNumber: p.number}
	dst := append(make([]byte, 0, 100), "head"...)
	if err := bob.OpenVoice(dst, r.now, p.from, p.vk, p.rest, &f); err != nil {
		t.Fatal(err)
	}
	if string(dst[:cap(dst)][:8]) != "headopus" || string(f.Opus) != "opus" {
		t.Errorf("dst %q, Opus %q", dst[:cap(dst)][:8], f.Opus)
	}
}

func TestVoiceAllocs(t *testing.T) {
	r, alice, bob := pair(t)
	r.wantHeard(bob, r.say(alice, "start"), "start")
	buf, dst := make([]byte, 0, limit), make([]byte, 0, limit)
	f := e2ee.Frame{Opus: make([]byte, 100)}
	var g e2ee.Frame
	if n := testing.AllocsPerRun(1000, func() {
		f.FrameNumber += 2
		body, err := alice.SealVoice(buf, r.now, limit, &f)
		if err != nil {
			t.Fatal(err)
		}
		g.FrameNumber = f.FrameNumber
		if err := bob.OpenVoice(dst, r.now, alice.session, body[0], body[1:], &g); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("seal and open allocate %v times", n)
	}
}

func BenchmarkVoice(b *testing.B) {
	r, alice, bob := pair(b)
	buf, dst := make([]byte, 0, limit), make([]byte, 0, limit)
	f := e2ee.Frame{Opus: make([]byte, 80)}
	b.Run("seal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f.FrameNumber += 2
			if _, err := alice.SealVoice(buf, r.now, limit, &f); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("seal+open", func(b *testing.B) {
		r, alice, bob := pair(b)
		b.ReportAllocs()
		for b.Loop() {
			r.now = r.now.Add(20 * time.Millisecond)
			f.FrameNumber += 2
			body, err := alice.SealVoice(buf, r.now, limit, &f)
			if err != nil {
				b.Fatal(err)
			}
			g := e2ee.Frame{FrameNumber: f.FrameNumber}
			if err := bob.OpenVoice(dst, r.now, alice.session, body[0], body[1:], &g); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("junk", func(b *testing.B) {
		// What a stranger can cost: a new nonce at the eighth step that does
		// not open.
		junk := append(make([]byte, 16), u32(uint32(r.now.Unix()/60))...)
		junk = append(junk, 0x80, 0x08)
		junk = append(junk, make([]byte, 100)...)
		b.ReportAllocs()
		for b.Loop() {
			if err := bob.OpenVoice(dst, r.now, alice.session, envelope.VoiceTypedKey, junk, &e2ee.Frame{}); !errors.Is(err, e2ee.ErrAuth) {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkParsePhrase(b *testing.B) {
	for b.Loop() {
		if _, err := e2ee.ParseSecret("correct horse battery", testServer); err != nil {
			b.Fatal(err)
		}
	}
}
