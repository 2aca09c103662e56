package e2ee_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/sframe"
)

// talk is alice (session 1) and bob (2), and eve (3), in epoch 1 of groupA.
func talk(t testing.TB) (alice, bob *e2ee.Groups) {
	alice, bob = speaker(t, 1, 2, 3), speaker(t, 2, 1, 3)
	alice.BeginEpoch(dawn, epochOf(dawn, groupA, 1, 1, 1, 2, 3))
	bob.BeginEpoch(dawn, epochOf(dawn, groupA, 1, 2, 1, 2, 3))
	return alice, bob
}

func sealOne(t testing.TB, e *e2ee.Groups, now time.Time) []byte {
	t.Helper()
	body, err := e.SealVoice(nil, now, limit, &e2ee.Frame{FrameNumber: 7, Opus: []byte("opus")})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func headerIn(t testing.TB, body []byte) sframe.Header {
	t.Helper()
	h, _, err := sframe.ParseHeader(body[1:])
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// A step has 2^14 frames; both sides go on without losing one, and no KID and CTR
// comes twice.
func TestGroupsRatchetByFrames(t *testing.T) {
	alice, bob := talk(t)
	for i := range 1<<15 + 3 {
		now := dawn.Add(time.Duration(i) * time.Millisecond)
		body := sealOne(t, alice, now)
		h := headerIn(t, body)
		if step, ctr := uint64(i>>14), uint64(i&(1<<14-1)); h.KID&0xF != step || h.CTR != ctr {
			t.Fatalf("frame %d: KID %x CTR %d", i, h.KID, h.CTR)
		}
		if _, _, err := openAt(bob, now, 1, body); err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
	}
}

// A step ends 5 min after its first frame, at both ends; one without frames does
// not age.
func TestGroupsRatchetByTime(t *testing.T) {
	alice, bob := talk(t)
	for _, c := range []struct {
		at   time.Duration
		step uint64
	}{
		{0, 0}, {5*time.Minute - 1, 0}, {5 * time.Minute, 1}, {9 * time.Minute, 1},
		{10 * time.Minute, 2}, {time.Hour, 3}, {time.Hour + 5*time.Minute, 4},
	} {
		now := dawn.Add(c.at)
		body := sealOne(t, alice, now)
		if h := headerIn(t, body); h.KID&0xF != c.step {
			t.Errorf("%v: step %d, want %d", c.at, h.KID&0xF, c.step)
		}
		if _, _, err := openAt(bob, now, 1, body); err != nil {
			t.Errorf("%v: %v", c.at, err)
		}
	}
	// A frame of before the step, late: the step before is read for 10 s.
	for late, want := range map[time.Duration]error{10*time.Second - 1: nil, 10 * time.Second: e2ee.ErrNoKey} {
		alice, bob := talk(t)
		first, last := sealOne(t, alice, dawn), sealOne(t, alice, dawn.Add(5*time.Minute-1))
		if _, _, err := openAt(bob, dawn, 1, first); err != nil {
			t.Fatal(err)
		}
		if _, _, err := openAt(bob, dawn.Add(5*time.Minute+late), 1, last); !errors.Is(err, want) {
			t.Errorf("%v after the step: %v, want %v", late, err, want)
		}
		if _, _, err := openAt(bob, dawn.Add(5*time.Minute), 1, first); !errors.Is(err, e2ee.ErrReplay) && !errors.Is(err, e2ee.ErrNoKey) {
			t.Errorf("the first frame again: %v", err)
		}
	}
}

// A receiver goes 8 steps ahead, when a frame has opened, and not back.
func TestGroupsLookAhead(t *testing.T) {
	for skip := range 11 {
		alice, bob := talk(t)
		var body, before []byte
		for range skip + 1 {
			before, body = body, sealOne(t, alice, dawn)
			for range 1<<14 - 1 { // the rest of the step
				sealOne(t, alice, dawn)
			}
		}
		step := headerIn(t, body).KID & 0xF
		broken := bytes.Clone(body)
		broken[len(broken)-1] ^= 1
		if _, _, err := openAt(bob, dawn, 1, broken); err == nil {
			t.Fatal("a changed frame opens")
		}
		var want error
		if step > 8 {
			want = e2ee.ErrNoKey
		}
		if _, _, err := openAt(bob, dawn, 1, body); !errors.Is(err, want) {
			t.Errorf("%d steps ahead: %v, want %v", step, err, want)
		}
		if want != nil || before == nil {
			continue
		}
		if _, _, err := openAt(bob, dawn, 1, before); err != nil {
			t.Errorf("a straggler of the step before %d: %v", step, err)
		}
		if _, _, err := openAt(bob, dawn, 1, before); !errors.Is(err, e2ee.ErrReplay) {
			t.Errorf("the same again: %v", err)
		}
	}
}

// The window of 1024 counters (§7.4): no frame is taken twice (I5).
func TestGroupsReplay(t *testing.T) {
	alice, bob := talk(t)
	var all [][]byte
	for range 1600 {
		all = append(all, sealOne(t, alice, dawn))
	}
	for _, c := range []struct {
		ctr  int
		want error
	}{
		{1500, nil}, {1500, e2ee.ErrReplay}, {1500 - 1023, nil}, {1500 - 1024, e2ee.ErrReplay}, {1500 - 1023, e2ee.ErrReplay},
		{1499, nil}, {1501, nil}, {1501 - 1023, nil}, {0, e2ee.ErrReplay}, {1599, nil}, {1501, e2ee.ErrReplay},
	} {
		if _, _, err := openAt(bob, dawn, 1, all[c.ctr]); !errors.Is(err, c.want) {
			t.Errorf("CTR %d: %v, want %v", c.ctr, err, c.want)
		}
	}
	if s := bob.Stats(); s.Replay != 5 {
		t.Errorf("%+v", s)
	}
}

// A position goes to those who play the same game in the same place (§7.3).
func TestGroupsPosition(t *testing.T) {
	same, other := []byte("game"), []byte("another")
	for _, c := range []struct {
		speaks, hears []byte
		want          bool
	}{{same, same, true}, {same, other, false}, {same, nil, false}, {nil, same, false}, {nil, nil, false}} {
		alice, bob := talk(t)
		alice.Handle(dawn, e2ee.PluginContext{Context: c.speaks})
		bob.Handle(dawn, e2ee.PluginContext{Context: c.hears})
		for epoch := uint64(1); epoch < 3; epoch++ {
			f := e2ee.Frame{Opus: []byte("opus"), HasPosition: true, Position: [3]float32{1, -2.5, 3}}
			body, err := alice.SealVoice(nil, dawn, limit, &f)
			if err != nil {
				t.Fatal(err)
			}
			var g e2ee.Frame
			_, err = bob.OpenVoice(nil, dawn, 1, body[0], body[1:], &g)
			if err != nil || string(g.Opus) != "opus" || g.HasPosition != c.want || c.want && g.Position != f.Position {
				t.Errorf("%q to %q: %+v, %v", c.speaks, c.hears, g, err)
			}
			alice.BeginEpoch(dawn, epochOf(dawn, groupA, 2, 1, 1, 2, 3))
			bob.BeginEpoch(dawn, epochOf(dawn, groupA, 2, 2, 1, 2, 3))
		}
	}
}

// "A frame under a role-1 leaf is dropped" (§3), and none is sent under one.
func TestGroupsListener(t *testing.T) {
	alice, bob := talk(t)
	bob.LoseGroup(dawn, groupA)
	b := epochOf(dawn, groupA, 1, 2, 1, 2, 3)
	b.Leaves[0].Role = envelope.RoleListener
	bob.BeginEpoch(dawn, b)
	body := sealOne(t, alice, dawn)
	if _, _, err := openAt(bob, dawn, 1, body); !errors.Is(err, e2ee.ErrNoKey) {
		t.Errorf("a listener is heard: %v", err)
	}
	b = epochOf(dawn, groupA, 2, 1, 1, 2, 3)
	b.Leaves[0].Role = envelope.RoleListener
	alice.BeginEpoch(dawn, b)
	if _, err := alice.SealVoice(nil, dawn, limit, &e2ee.Frame{}); !errors.Is(err, e2ee.ErrHeld) {
		t.Errorf("a listener speaks: %v", err)
	}
}

// All packets have the size of the longest so far, across epochs; the long KID for
// two seconds of speech; the limit is held.
func TestGroupsSizes(t *testing.T) {
	alice, bob := talk(t)
	size := func(at time.Duration, opus, limit int) int {
		t.Helper()
		body, err := alice.SealVoice(nil, dawn.Add(at), limit, &e2ee.Frame{Opus: make([]byte, opus), FrameNumber: 7})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := openAt(bob, dawn.Add(at), 1, body); err != nil || len(body) > limit {
			t.Fatalf("%d bytes, limit %d: %v", len(body), limit, err)
		}
		return len(body) - 1 - headerIn(t, body).Len() - 16
	}
	for _, c := range []struct{ opus, limit, want int }{
		{0, 900, 16}, {15, 900, 24}, {3, 900, 24}, {60, 900, 64}, {3, 900, 64}, {63, 900, 80}, {0, 900, 80}, {20, 1 + 7 + 79 + 16, 64},
	} {
		if got := size(0, c.opus, c.limit); got != c.want {
			t.Errorf("%d bytes of Opus, limit %d: %d, want %d", c.opus, c.limit, got, c.want)
		}
	}
	alice.BeginEpoch(dawn, epochOf(dawn, groupA, 2, 1, 1, 2, 3))
	bob.BeginEpoch(dawn, epochOf(dawn, groupA, 2, 2, 1, 2, 3))
	if got := size(time.Second, 1, 900); got != 80 {
		t.Errorf("in the next epoch %d, want 80", got)
	}
	for at, long := range map[time.Duration]bool{2*time.Second - 1: true, 2 * time.Second: false} {
		if h := headerIn(t, sealOne(t, alice, dawn.Add(at))); (h.KID > 0xff) != long {
			t.Errorf("KID %x after %v of speech", h.KID, at)
		}
	}
	if _, err := alice.SealVoice(nil, dawn, limit, &e2ee.Frame{Opus: make([]byte, limit)}); !errors.Is(err, e2ee.ErrFrameTooLong) {
		t.Errorf("too long: %v", err)
	}
	dst := []byte("dst")
	if out, err := alice.SealVoice(dst, dawn, 20, &e2ee.Frame{Opus: make([]byte, 10)}); !errors.Is(err, e2ee.ErrFrameTooLong) || string(out) != "dst" {
		t.Errorf("%q, %v", out, err)
	}
}
