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

// Bob hears nothing of alice that he should not: not before her nonce, not twice,
// not further back than the window.
func TestReplay(t *testing.T) {
	r, alice, bob := pair(t)
	for range 5 {
		r.say(alice, "lost")
	}
	early := r.say(alice, "early")
	r.wantError(bob, early, e2ee.ErrNoKey)
	for range 18 {
		r.say(alice, "lost")
	}
	r.wantHeard(bob, r.say(alice, "25th"), "25th")
	r.wantHeard(bob, early, "early")
	r.wantError(bob, early, e2ee.ErrReplay)

	var all []packet
	for range 3000 {
		all = append(all, r.say(alice, "frame"))
	}
	// Reordered within the window all arrive, once.
	order := []int{5, 3, 4, 0, 2, 1, 200, 100, 63, 64, 65, 1023}
	for _, i := range order {
		r.wantHeard(bob, all[i], "frame")
	}
	for _, i := range order {
		r.wantError(bob, all[i], e2ee.ErrReplay)
	}
	r.wantHeard(bob, all[2500], "frame")
	r.wantHeard(bob, all[2500-1023], "frame")
	r.wantError(bob, all[2500-1024], e2ee.ErrReplay)
	r.wantError(bob, all[1022], e2ee.ErrReplay)
	r.wantError(bob, all[2500-1023], e2ee.ErrReplay)
	for i := 2500 - 1022; i < 2500; i++ {
		r.wantHeard(bob, all[i], "frame")
	}
	r.wantHeard(bob, all[2999], "frame")
	r.wantError(bob, all[2999-1024], e2ee.ErrReplay)

	// A forged frame far ahead must not move the window.
	forged := r.say(alice, "forged")
	forged.rest = bytes.Clone(forged.rest)
	forged.rest[len(forged.rest)-1] ^= 1
	r.wantError(bob, forged, e2ee.ErrAuth)
	r.wantHeard(bob, all[2998], "frame")
}

// A step ends at 2^14 frames; the frames of the step before are good for 10 s.
func TestRatchetByFrames(t *testing.T) {
	r, alice, bob := pair(t)
	var last packet
	for i := range 1<<14 - 1 {
		last = r.say(alice, "x")
		if h := headerOf(t, last); h.CTR != uint64(i) || h.KID&15 != 0 {
			t.Fatalf("frame %d has header %+v", i, h)
		}
		if i < 3 {
			r.wantHeard(bob, last, "x")
		}
	}
	straggler := last
	r.wantHeard(bob, r.say(alice, "16384th"), "16384th")
	next := r.say(alice, "new step")
	if h := headerOf(t, next); h.CTR != 0 || h.KID&15 != 1 {
		t.Errorf("the frame after 2^14 has header %+v", h)
	}
	r.wantHeard(bob, next, "new step")
	r.wantError(bob, next, e2ee.ErrReplay)
	r.now = r.now.Add(9 * time.Second)
	r.wantHeard(bob, straggler, "x")
	r.wantError(bob, straggler, e2ee.ErrReplay)
	r.now = r.now.Add(2 * time.Second)
	r.wantError(bob, straggler, e2ee.ErrNoKey)
}

// A step ends 5 min after its first frame, on both sides, and not without one.
func TestRatchetByTime(t *testing.T) {
	r, alice, bob := pair(t)
	first := r.say(alice, "0:00")
	r.wantHeard(bob, first, "0:00")
	r.run(4*time.Minute + 50*time.Second)
	held := r.say(alice, "4:50")
	r.run(10 * time.Second)
	// Both moved without a frame; what was under way still arrives.
	r.wantHeard(bob, held, "4:50")
	p := r.say(alice, "5:00")
	if h := headerOf(t, p); h.KID&15 != 1 || h.CTR != 0 {
		t.Errorf("header at 5:00 %+v", h)
	}
	r.wantHeard(bob, p, "5:00")
	// Silence: the step does not age, but that of 5:00 ends at 10:00 only once.
	r.run(9 * time.Minute)
	p = r.say(alice, "14:00")
	if h := headerOf(t, p); h.KID&15 != 2 {
		t.Errorf("header at 14:00 %+v", h)
	}
	r.wantHeard(bob, p, "14:00")
}

// A receiver goes 8 steps ahead of what it heard, no further, and only when the
// frame opens.
func TestLookAhead(t *testing.T) {
	for lost := range uint64(9) {
		r, alice, bob := pair(t)
		r.wantHeard(bob, r.say(alice, "step 0"), "step 0")
		var before packet
		for range lost + 1 {
			for h := headerOf(t, r.say(alice, "lost")); h.CTR != 1<<14-1; {
				before = r.say(alice, "lost")
				h = headerOf(t, before)
			}
		}
		p := r.say(alice, "far")
		h := headerOf(t, p)
		if lost == 8 {
			// After 8 steps the sender takes a new nonce, so that those who
			// come now can follow.
			if h.KID>>4&15 != 1 || h.KID&15 != 0 {
				t.Errorf("after 9 steps the header is %+v", h)
			}
			r.wantHeard(bob, p, "far")
			continue
		}
		if h.KID&15 != lost+1 || h.CTR != 0 {
			t.Fatalf("%d steps on, header %+v", lost+1, h)
		}
		bad := p
		bad.rest = bytes.Clone(p.rest)
		bad.rest[len(bad.rest)-1] ^= 1
		r.wantError(bob, bad, e2ee.ErrAuth)
		r.wantHeard(bob, p, "far")
		r.wantError(bob, p, e2ee.ErrReplay)
		if before.rest != nil {
			r.wantHeard(bob, before, "lost")
		}
	}
}

// A newcomer that hears a stream at its 8th step first can follow.
func TestJoinMidStream(t *testing.T) {
	text := e2ee.NewSecret()
	r := newRoom(t, true)
	alice := r.join("alice", 1, engine(t, text, e2ee.PolicyPrefer))
	r.join("bob", 1, engine(t, text, e2ee.PolicyPrefer))
	r.run(time.Second)
	for headerOf(t, r.say(alice, "x")).KID&15 != 8 {
	}
	carol := r.join("carol", 1, engine(t, text, e2ee.PolicyPrefer))
	r.run(2 * time.Second)
	r.wantHeard(carol, r.say(alice, "joined"), "joined")
}

// The nonce changes every 15 min, at a move and at a reconnect; the one before is
// read for 10 s, then refused for good.
func TestNonceRotation(t *testing.T) {
	r, alice, bob := pair(t)
	start := r.now
	a := r.say(alice, "a")
	r.wantHeard(bob, a, "a")
	one := nonceOf(t, a)
	for r.now.Sub(start) < 14*time.Minute {
		r.run(time.Minute)
		p := r.say(alice, "talk")
		if nonceOf(t, p) != one {
			t.Fatalf("the nonce changed after %v", r.now.Sub(start))
		}
		r.wantHeard(bob, p, "talk")
	}
	r.run(time.Minute)
	b := r.say(alice, "b")
	if nonceOf(t, b) == one {
		t.Fatal("after 15 min the nonce is the same")
	}
	if h := headerOf(t, b); h.KID != 1<<4 || h.CTR != 0 {
		t.Errorf("the second nonce begins with %+v", h)
	}
	r.wantHeard(bob, b, "b")

	// A move: alice and bob go on; a frame of the old channel may come late.
	late := r.say(alice, "late")
	r.move(alice, 2, true)
	r.move(bob, 2, true)
	c := r.say(alice, "c")
	if nonceOf(t, c) == nonceOf(t, b) {
		t.Error("after a move the nonce is the same")
	}
	r.wantHeard(bob, c, "c")
	r.now = r.now.Add(9 * time.Second)
	r.wantHeard(bob, late, "late")
	r.now = r.now.Add(2 * time.Second)
	r.wantError(bob, late, e2ee.ErrReplay)
	r.run(time.Minute)
	r.wantError(bob, late, e2ee.ErrReplay)
	// The nonce before that one is refused as well, although the minute is fine.
	r.wantError(bob, b, e2ee.ErrReplay)

	r.leave(alice)
	r.connect(alice, 2)
	r.run(time.Second)
	d := r.say(alice, "d")
	if nonceOf(t, d) == nonceOf(t, c) || headerOf(t, d).KID>>4 != 0 {
		t.Errorf("after a reconnect: nonce %x, header %+v", nonceOf(t, d), headerOf(t, d))
	}
	r.wantHeard(bob, d, "d")
}

// The KID's high half wraps after 16 nonces, and nothing is mixed up.
func TestKIDWrap(t *testing.T) {
	r, alice, bob := pair(t)
	nonces := map[[16]byte]bool{}
	for i := range uint64(35) {
		p := r.say(alice, "go")
		if h := headerOf(t, p); h.KID>>4 != i%16 {
			t.Fatalf("nonce %d has KID %#x", i, h.KID)
		}
		r.wantHeard(bob, p, "go")
		for range 5 {
			p = r.say(alice, "on")
			r.wantHeard(bob, p, "on")
		}
		nonces[nonceOf(t, packet{vk: envelope.VoiceTypedKey, rest: r.sayKeyed(alice).rest})] = true
		channel := uint32(1 + (i+1)%2)
		r.move(alice, channel, true)
		r.move(bob, channel, true)
		r.run(15 * time.Second)
	}
	if len(nonces) != 35 {
		t.Errorf("%d nonces, want 35", len(nonces))
	}
}

// sayKeyed pauses so that the next packet has a key header.
func (r *room) sayKeyed(p *person) packet {
	r.now = r.now.Add(1100 * time.Millisecond)
	return r.say(p, "keyed")
}

// A nonce is accepted for 30 min, whatever the sender does.
func TestNonceMaxAge(t *testing.T) {
	r, alice, bob := pair(t)
	p := r.say(alice, "x")
	r.wantHeard(bob, p, "x")
	q := r.say(alice, "y")
	r.now = r.now.Add(30*time.Minute + time.Second)
	r.wantError(bob, q, e2ee.ErrStale)
	r.run(time.Second)
	r.wantError(bob, p, e2ee.ErrClock)
}

// A new nonce needs a minute within 5 of the own clock.
func TestNonceClock(t *testing.T) {
	for _, tt := range []struct {
		later time.Duration
		want  error
	}{{0, nil}, {5 * time.Minute, nil}, {6 * time.Minute, e2ee.ErrClock}, {time.Hour, e2ee.ErrClock}} {
		r, alice, bob := pair(t)
		r.now = r.now.Truncate(time.Minute).Add(time.Minute)
		p := r.say(alice, "x")
		r.now = r.now.Add(tt.later)
		r.wantError(bob, p, tt.want)
	}
}

// Own reconnects do not let anybody play old packets again.
func TestReplayAcrossReconnect(t *testing.T) {
	r, alice, bob := pair(t)
	p := r.sayKeyed(alice)
	r.wantHeard(bob, p, "keyed")
	r.leave(bob)
	r.run(time.Second)
	r.connect(bob, 1)
	r.run(time.Second)
	r.wantError(bob, p, e2ee.ErrReplay)
	r.wantHeard(bob, r.say(alice, "on"), "on")
	r.leave(alice)
	r.run(time.Second)
	r.people = append(r.people, alice) // the server shows her session again
	r.tell(nil)
	r.wantError(bob, p, e2ee.ErrReplay)
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
		b.ReportAllocs()
		for b.Loop() {
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
}

func BenchmarkParsePhrase(b *testing.B) {
	for b.Loop() {
		if _, err := e2ee.ParseSecret("correct horse battery", testServer); err != nil {
			b.Fatal(err)
		}
	}
}
