package e2ee_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/sframe"
)

// Two groups of the tests of media, and the leaf of each session in them.
var (
	groupA = envelope.GroupID{0x80, 1, 2, 3, 4}
	groupB = envelope.GroupID{0x90, 1, 2, 3, 4}
)

// speaker makes an engine whose epochs the test makes.
func speaker(t testing.TB, own uint32, people ...uint32) *e2ee.Groups {
	t.Helper()
	e, err := e2ee.NewGroups(e2ee.GroupsConfig{Server: hallServer, Address: hallAddress, Device: identity.New().NewDevice(0)})
	if err != nil {
		t.Fatal(err)
	}
	e.SpeakOnly(own, people...)
	return e
}

// epochOf is an epoch with the leaf i for each session i+1, as own sees it. The
// keys are the same for everybody.
func epochOf(now time.Time, id envelope.GroupID, epoch uint64, own uint32, sessions ...uint32) audience.EpochBegan {
	b := audience.EpochBegan{
		Group: id, Audience: envelope.AudienceChannel, Epoch: epoch, Switch: now, Own: own - 1,
		Context: sha256.Sum256(fmt.Appendf(nil, "context %x %d", id, epoch)),
	}
	for _, s := range sessions {
		b.Leaves = append(b.Leaves, audience.Leaf{
			Index: s - 1, Session: s, Who: audience.Who{Identity: [32]byte{byte(s)}},
			BaseKey: sha256.Sum256(fmt.Appendf(nil, "base %x %d %d", id, epoch, s-1)),
		})
	}
	return b
}

// sealAt is a frame of session 1 in an epoch, with the short KID or the long one.
func sealAt(t testing.TB, now time.Time, id envelope.GroupID, epoch uint64, long bool) []byte {
	t.Helper()
	return sealFrame(t, now, id, epoch, 0, long)
}

// sealFrame is sealAt after so many other frames.
func sealFrame(t testing.TB, now time.Time, id envelope.GroupID, epoch, before uint64, long bool) []byte {
	t.Helper()
	e := speaker(t, 1, 2)
	e.BeginEpoch(now, epochOf(now, id, epoch, 1, 1, 2))
	f := e2ee.Frame{FrameNumber: 7, Opus: []byte("opus")}
	at := now
	if !long {
		at, before = now.Add(-2*time.Second), before+1
	}
	for range before {
		if _, err := e.SealVoice(nil, at, limit, &f); err != nil {
			t.Fatal(err)
		}
	}
	body, err := e.SealVoice(nil, now, limit, &f)
	if err != nil {
		t.Fatal(err)
	}
	h, _, err := sframe.ParseHeader(body[1:])
	if err != nil || (h.KID > 0xFF) != long {
		t.Fatalf("KID %x, long %v, %v", h.KID, long, err)
	}
	return body
}

func openAt(e *e2ee.Groups, now time.Time, session uint32, body []byte) (string, e2ee.Opened, error) {
	f := e2ee.Frame{FrameNumber: 7}
	o, err := e.OpenVoice(nil, now, session, body[0], body[1:], &f)
	return string(f.Opus), o, err
}

// Which epoch a KID means (§7.2): the five that are retained, those to come, those
// that are over, and where the low bits wrap.
func TestGroupsKID(t *testing.T) {
	now := dawn
	for _, c := range []struct {
		epoch       uint64
		short, long error
	}{
		{20, nil, nil}, {19, nil, nil}, {16, nil, nil},
		{15, e2ee.ErrNoKey, e2ee.ErrNoKey},
		{21, e2ee.ErrFuture, e2ee.ErrFuture},
		{28, e2ee.ErrFuture, e2ee.ErrFuture},
		{29, e2ee.ErrNoKey, e2ee.ErrNoKey},
		{36, e2ee.ErrAuth, e2ee.ErrNoKey}, // the low 4 bits of 20
		{4, e2ee.ErrAuth, e2ee.ErrNoKey},
		{12, e2ee.ErrFuture, e2ee.ErrNoKey}, // those of 28
		{276, e2ee.ErrAuth, e2ee.ErrAuth},   // the low 8 bits of 20
	} {
		for long, want := range map[bool]error{false: c.short, true: c.long} {
			bob := speaker(t, 2, 1)
			for n := uint64(14); n <= 20; n++ {
				bob.BeginEpoch(now, epochOf(now, groupA, n, 2, 1, 2))
			}
			opus, o, err := openAt(bob, now, 1, sealAt(t, now, groupA, c.epoch, long))
			if !errors.Is(err, want) || err == nil && (opus != "opus" || o != e2ee.Opened{Group: groupA, Home: true}) {
				t.Errorf("epoch %d, long %v: %q %+v %v, want %v", c.epoch, long, opus, o, err, want)
			}
		}
	}
	bob := speaker(t, 2, 1)
	bob.BeginEpoch(now, epochOf(now, groupA, 0, 2, 1, 2))
	for _, long := range []bool{false, true} {
		if _, _, err := openAt(bob, now, 1, sealAt(t, now, groupB, 0, long)); long && !errors.Is(err, e2ee.ErrFuture) || !long && !errors.Is(err, e2ee.ErrAuth) {
			t.Errorf("another group, long %v: %v", long, err)
		}
	}
	for _, kid := range []uint64{0x100, 0x7fffffffffff, 1 << 48, 1<<63 | 1} {
		key, err := sframe.NewKey(sframe.AES_128_GCM_SHA256_128, kid, make([]byte, 32))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := openAt(bob, now, 1, append([]byte{envelope.VoiceMLS}, key.Seal(nil, 0, nil, []byte("x"))...)); !errors.Is(err, e2ee.ErrNoKey) {
			t.Errorf("KID %x: %v", kid, err)
		}
	}
}

// The home group of a speaker: short KIDs mean the group in which it last spoke with
// a long one. A leaf that somebody in another group made up takes nobody's voice.
func TestGroupsHome(t *testing.T) {
	now := dawn
	bob := speaker(t, 2, 1)
	ctr := uint64(0)
	check := func(what string, id envelope.GroupID, epoch uint64, long bool, want error) {
		t.Helper()
		ctr++
		if _, o, err := openAt(bob, now, 1, sealFrame(t, now, id, epoch, ctr, long)); !errors.Is(err, want) || err == nil && o.Group != id {
			t.Errorf("%s: %+v, %v, want %v", what, o, err, want)
		}
	}
	check("before any group", groupA, 3, false, e2ee.ErrFuture)
	bob.BeginEpoch(now, epochOf(now, groupA, 3, 2, 1, 2))
	check("in A", groupA, 3, false, nil)
	b := epochOf(now, groupB, 3, 2, 1, 2)
	b.Place = 1
	bob.BeginEpoch(now, b)
	check("in A and B, short of A", groupA, 3, false, nil)
	check("in A and B, short of B", groupB, 3, false, e2ee.ErrAuth)
	check("speaks in B, long", groupB, 3, true, nil)
	check("speaks in B, short of A", groupA, 3, false, e2ee.ErrAuth)
	check("speaks in B, short", groupB, 3, false, nil)
	bob.BeginEpoch(now, epochOf(now, groupA, 4, 2, 1, 2))
	check("A goes on, short of A", groupA, 4, false, e2ee.ErrFuture) // the 4th of B
	check("A goes on, long of A", groupA, 4, true, nil)
	check("back in A, short of A", groupA, 4, false, nil)
	check("back in A, short of B", groupB, 3, false, e2ee.ErrAuth) // the 3rd of A
	gone := epochOf(now, groupA, 5, 2, 2)
	gone.Removed = []uint32{0}
	bob.BeginEpoch(now, gone)
	check("A has lost it, short of B", groupB, 3, false, nil)
	bob.LoseGroup(now, groupB)
	check("B is gone, short of B", groupB, 3, false, e2ee.ErrFuture)
	check("B is gone, long of B", groupB, 3, true, e2ee.ErrFuture)
}

// How long an epoch is read (§7.4): 5 s, or 2 s after a Remove; the removed leaf's
// keys go at once.
func TestGroupsEpochLife(t *testing.T) {
	for _, removed := range []bool{false, true} {
		life := 5 * time.Second
		if removed {
			life = 2 * time.Second
		}
		for _, c := range []struct {
			after time.Duration
			want  error
		}{{0, nil}, {life - 1, nil}, {life, e2ee.ErrStale}} {
			for _, handled := range []bool{false, true} { // what Handle does, and what it has not done yet
				bob := speaker(t, 2, 1, 3)
				bob.BeginEpoch(dawn, epochOf(dawn, groupA, 7, 2, 1, 2, 3))
				next := epochOf(dawn, groupA, 8, 2, 1, 2, 3)
				if removed {
					next = epochOf(dawn, groupA, 8, 2, 1, 2)
					next.Removed = []uint32{2}
				}
				bob.BeginEpoch(dawn, next)
				want := c.want
				if handled {
					bob.Handle(dawn.Add(c.after), nil)
					if want != nil {
						want = e2ee.ErrNoKey
					}
				}
				if _, _, err := openAt(bob, dawn.Add(c.after), 1, sealAt(t, dawn, groupA, 7, true)); !errors.Is(err, want) {
					t.Errorf("removed %v, %v after: %v, want %v", removed, c.after, err, want)
				}
			}
		}
	}
	eve := speaker(t, 3, 1, 2)
	eve.BeginEpoch(dawn, epochOf(dawn, groupA, 7, 3, 1, 2, 3))
	f := e2ee.Frame{FrameNumber: 7, Opus: []byte("opus")}
	one, _ := eve.SealVoice(nil, dawn, limit, &f)
	two, _ := eve.SealVoice(nil, dawn, limit, &f)
	bob := speaker(t, 2, 1, 3)
	bob.BeginEpoch(dawn, epochOf(dawn, groupA, 7, 2, 1, 2, 3))
	if _, _, err := openAt(bob, dawn, 3, one); err != nil {
		t.Fatal(err)
	}
	gone := epochOf(dawn, groupA, 8, 2, 1, 2)
	gone.Removed = []uint32{2}
	bob.BeginEpoch(dawn, gone)
	if _, _, err := openAt(bob, dawn, 3, two); !errors.Is(err, e2ee.ErrNoKey) {
		t.Errorf("a frame of who was removed: %v", err)
	}
}

// A step ends 5 min after its first frame though nobody speaks (§7.1): the key that
// opens what was said is gone, on both sides, and the step before 10 s later.
func TestGroupsSilentStep(t *testing.T) {
	alice, bob := speaker(t, 1, 2), speaker(t, 2, 1)
	alice.BeginEpoch(dawn, epochOf(dawn, groupA, 7, 1, 1, 2))
	bob.BeginEpoch(dawn, epochOf(dawn, groupA, 7, 2, 1, 2))
	f := e2ee.Frame{FrameNumber: 7, Opus: []byte("opus")}
	seal := func(now time.Time) []byte {
		body, err := alice.SealVoice(nil, now, limit, &f)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	open := func(now time.Time, body []byte) error {
		_, _, err := openAt(bob, now, 1, body)
		return err
	}
	spoken := dawn.Add(time.Minute)
	sentBase, _, _ := alice.Bases(groupA, 2)
	late := seal(spoken)
	if err := open(spoken, seal(spoken)); err != nil {
		t.Fatal(err)
	}
	end := spoken.Add(5 * time.Minute)
	// to handles what the engine asks to be called for, and nothing else.
	to := func(at time.Time) {
		for _, e := range []*e2ee.Groups{alice, bob} {
			for d := e.Deadline(); !d.IsZero() && !d.After(at); d = e.Deadline() {
				e.Handle(d, nil)
				if next := e.Deadline(); next.Equal(d) {
					t.Fatalf("wants to be called at %v for ever", d.Sub(dawn))
				}
			}
		}
	}
	to(end.Add(-1))
	own, _, _ := alice.Bases(groupA, 2)
	if _, cur, _ := bob.Bases(groupA, 1); own != sentBase || cur != sentBase {
		t.Error("the step ended too early")
	}
	to(end)
	own, _, _ = alice.Bases(groupA, 2)
	if own == sentBase {
		t.Error("the own step did not end")
	}
	if _, cur, prev := bob.Bases(groupA, 1); cur != own || prev != sentBase {
		t.Error("the step of a silent speaker did not end")
	}
	if err := open(end, late); err != nil {
		t.Errorf("a straggler of the step before: %v", err)
	}
	to(end.Add(10 * time.Second))
	if _, cur, prev := bob.Bases(groupA, 1); cur != own || prev != [32]byte{} {
		t.Error("the step before is kept")
	}
	if err := open(end.Add(time.Minute), seal(end.Add(time.Minute))); err != nil {
		t.Errorf("a frame of the step after: %v", err)
	}
}

// When our voice goes over (§7.4): at once after a Remove, or when it is time.
func TestGroupsSwitch(t *testing.T) {
	alice := speaker(t, 1, 2)
	alice.BeginEpoch(dawn, epochOf(dawn, groupA, 1, 1, 1, 2))
	next := epochOf(dawn.Add(300*time.Millisecond), groupA, 2, 1, 1, 2)
	alice.BeginEpoch(dawn, next)
	kid := func(at time.Duration) uint64 {
		t.Helper()
		body, err := alice.SealVoice(nil, dawn.Add(at), limit, &e2ee.Frame{})
		if err != nil {
			t.Fatal(err)
		}
		h, _, _ := sframe.ParseHeader(body[1:])
		return h.KID >> 8 & 0xff
	}
	if a, b := kid(299*time.Millisecond), kid(300*time.Millisecond); a != 1 || b != 2 {
		t.Errorf("epochs %d and %d around the time to go over", a, b)
	}
	after := epochOf(dawn.Add(301*time.Millisecond), groupA, 3, 1, 1)
	after.Removed = []uint32{1}
	alice.BeginEpoch(dawn.Add(301*time.Millisecond), after)
	if a := kid(301 * time.Millisecond); a != 3 {
		t.Errorf("epoch %d after a Remove", a)
	}
}
