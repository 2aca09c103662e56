package e2ee_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
)

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
	for range 5 { // the key header is for the first five of a talk
		r.say(alice, "x")
	}
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
