package e2ee_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
)

// texts returns what g has read since it was asked last.
func (g *guest) texts() (list []string) {
	for _, out := range g.out {
		if t, ok := out.(e2ee.TextReceived); ok {
			list = append(list, g.h.by(t.From).name+": "+t.Text.HTML)
		}
	}
	g.out = nil
	return list
}

// write seals a text and brings it to its receivers.
func (g *guest) write(group envelope.GroupID, t e2ee.Text) error {
	o, to, err := g.SealText(g.h.now, group, t)
	if err != nil {
		return err
	}
	g.h.post(g, to, o)
	return nil
}

// post brings an object to its receivers at once.
func (h *hall) post(g *guest, to []uint32, o envelope.Object) {
	for _, s := range to {
		if q := h.by(s); q != nil {
			q.handle(e2ee.Received{From: g.session, Object: o})
		}
	}
}

func (g *guest) wantTexts(want ...string) {
	g.h.t.Helper()
	if got := strings.Join(g.texts(), "|"); got != strings.Join(want, "|") {
		g.h.t.Errorf("%s read %q, want %q", g.name, got, want)
	}
}

// Texts to the own channel's group.
func TestGroupsText(t *testing.T) {
	h, list := meet(t, "E", "alice", "bob", "carol")
	alice, bob, carol := list[0], list[1], list[2]
	eve := h.bare("eve", 3)
	bob.took()
	carol.took()
	hello := e2ee.Text{HTML: "<b>hello</b>", Channel: 3, ID: [16]byte{1}}
	o, to, err := alice.SealText(h.now, noGroup, hello)
	if err != nil || len(to) != 2 || to[0] == eve.session || to[1] == eve.session {
		t.Fatalf("to %v, %v", to, err)
	}
	h.post(alice, to, o)
	h.post(alice, to, o) // the same object
	bob.wantTexts("alice: <b>hello</b>")
	carol.wantTexts("alice: <b>hello</b>")
	if err := alice.write(noGroup, hello); err != nil { // a copy under another key
		t.Fatal(err)
	}
	bob.wantTexts()
	h.post(carol, []uint32{bob.session}, o)
	bob.wantTexts() // from another session than its leaf claims
	if s := bob.Stats(); s.Replay != 1 {
		t.Errorf("%+v", s)
	}
	if s := bob.Agreement(); s.Attribution+s.Stale+s.Unverified == 0 {
		t.Errorf("%+v", s)
	}
	h.run(time.Second)
	long := strings.Repeat("x", 96_000)
	if err := alice.write(noGroup, e2ee.Text{HTML: long, Channel: 3}); err != nil {
		t.Fatal(err)
	}
	bob.wantTexts("alice: " + long)
	for what, c := range map[string]struct {
		text e2ee.Text
		want error
	}{
		"too long":                 {e2ee.Text{HTML: long + "x", Channel: 3}, e2ee.ErrTextTooLong},
		"no UTF-8":                 {e2ee.Text{HTML: "\xff", Channel: 3}, e2ee.ErrMalformed},
		"private, to a channel":    {e2ee.Text{HTML: "x", Scope: e2ee.ScopePrivate, Channel: e2ee.NoChannel}, e2ee.ErrMalformed},
		"channel, without channel": {e2ee.Text{HTML: "x", Channel: e2ee.NoChannel}, e2ee.ErrMalformed},
		"unknown scope":            {e2ee.Text{HTML: "x", Scope: 3, Channel: 3}, e2ee.ErrMalformed},
	} {
		if _, _, err := alice.SealText(h.now, noGroup, c.text); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, _, err := alice.SealText(h.now, envelope.GroupID{0x80, 9}, hello); !errors.Is(err, e2ee.ErrHeld) {
		t.Errorf("unknown group: %v", err)
	}
	early := e2ee.Text{HTML: "clocks", Channel: 3}
	o, to, _ = alice.SealText(h.now.Add(-6*time.Minute), noGroup, early)
	bob.out = nil
	h.post(alice, to, o)
	if got, ok := bob.out[0].(e2ee.TextReceived); !ok || got.Text.SentMS != 0 {
		t.Errorf("a time that is 6 min off is shown: %+v", bob.out)
	}
}

// "a gap older than 5 s is shown" (§8), once, and not if it is closed before.
func TestGroupsTextGap(t *testing.T) {
	for _, late := range []bool{false, true} {
		h, list := meet(t, "E", "alice", "bob")
		alice, bob := list[0], list[1]
		var objects []envelope.Object
		for _, s := range []string{"one", "two", "three", "four"} {
			o, _, err := alice.SealText(h.now, noGroup, e2ee.Text{HTML: s, Channel: 3})
			if err != nil {
				t.Fatal(err)
			}
			objects = append(objects, o)
		}
		bob.took()
		send := func(i int) { h.post(alice, []uint32{bob.session}, objects[i]) }
		send(0)
		send(3)
		h.run(2 * time.Second)
		send(1)
		if late {
			send(2)
		}
		h.run(2900 * time.Millisecond)
		want, missing := []string{"alice: one", "alice: four", "alice: two"}, 1
		if late {
			want, missing = append(want, "alice: three"), 0
		}
		bob.wantTexts(want...)
		h.run(time.Minute)
		n := 0
		for _, line := range bob.took() {
			if line == "line "+e2ee.NoticeMissing {
				n++
			}
		}
		if n != missing {
			t.Errorf("late %v: said %d times, want %d", late, n, missing)
		}
	}
}

// ErrWait while an own Commit is under way, for a second at most.
func TestGroupsTextWaits(t *testing.T) {
	h, list := meet(t, "E", "alice", "bob")
	h.run(30 * time.Second)
	h.delay = func() time.Duration { return 400 * time.Millisecond }
	h.join("carol", 3)
	waits := map[*guest]time.Duration{}
	for range 200 {
		h.run(20 * time.Millisecond)
		for _, g := range list {
			switch _, _, err := g.SealText(h.now, noGroup, e2ee.Text{HTML: "x", Channel: 3}); {
			case errors.Is(err, audience.ErrWait):
				waits[g] += 20 * time.Millisecond
			case err != nil:
				t.Fatalf("%s: %v", g.name, err)
			}
		}
	}
	if len(waits) == 0 {
		t.Fatal("nobody waited")
	}
	for g, d := range waits {
		if t.Logf("%s waited %v", g.name, d); d > time.Second {
			t.Errorf("%s waited %v", g.name, d)
		}
	}
}

// A group of a few, for private texts and whispers, across channels.
func TestGroupsDirect(t *testing.T) {
	for regime := range groupRegimes {
		t.Run(regime, func(t *testing.T) {
			h, list := meet(t, regime, "alice", "bob", "carol")
			alice, bob, carol := list[0], list[1], list[2]
			h.bare("eve", 3)
			h.run(4 * time.Second)
			alice.handle(e2ee.OpenDirect{Token: 1, Sessions: []uint32{bob.session}})
			h.until(5*time.Second, "ready", func() bool { return !alice.ready[1].IsZero() })
			group := alice.ready[1]
			h.run(time.Second)
			bob.took()
			carol.took()
			private := e2ee.Text{HTML: "psst", Scope: e2ee.ScopePrivate, Channel: e2ee.NoChannel}
			if err := alice.write(group, private); err != nil {
				t.Fatal(err)
			}
			bob.wantTexts("alice: psst")
			carol.wantTexts()
			if err := bob.write(group, private); err != nil {
				t.Fatal(err)
			}
			alice.out = alice.out[len(alice.out)-1:]
			alice.wantTexts("bob: psst")

			f := e2ee.Frame{FrameNumber: 7, Opus: []byte("whisper")}
			body, err := alice.SealDirect(nil, h.now, limit, &f, group)
			if err != nil {
				t.Fatal(err)
			}
			if opus, o, err := openAt(bob.Groups, h.now, alice.session, body); err != nil || opus != "whisper" || o != (e2ee.Opened{Group: group, Direct: true}) {
				t.Errorf("%q %+v %v", opus, o, err)
			}
			if _, _, err := openAt(carol.Groups, h.now, alice.session, body); err == nil {
				t.Error("carol hears a whisper to bob")
			}

			// The same people: the same group. Who is not here, or has no Sotto: none.
			alice.handle(e2ee.OpenDirect{Token: 2, Sessions: []uint32{bob.session}})
			alice.handle(e2ee.OpenDirect{Token: 3, Sessions: []uint32{bob.session, 99}})
			alice.handle(e2ee.OpenDirect{Token: 4, Sessions: []uint32{bob.session, 4}})
			if alice.ready[2] != group || len(alice.failed[3]) != 1 || alice.failed[3][0] != 99 {
				t.Errorf("ready %x, failed %v", alice.ready, alice.failed)
			}
			h.run(5 * time.Second)
			if len(alice.failed[4]) != 1 || alice.failed[4][0] != 4 {
				t.Errorf("failed %v", alice.failed)
			}

			// It lives while it is spoken in, and ten minutes more.
			for range 15 {
				h.run(time.Minute)
				if body, err = alice.SealDirect(nil, h.now, limit, &f, group); err != nil {
					t.Fatalf("after %v: %v", h.now.Sub(dawn), err)
				}
				if _, _, err := openAt(bob.Groups, h.now, alice.session, body); err != nil {
					t.Fatalf("after %v: %v", h.now.Sub(dawn), err)
				}
			}
			h.run(11 * time.Minute)
			if _, err := alice.SealDirect(nil, h.now, limit, &f, group); !errors.Is(err, e2ee.ErrHeld) {
				t.Errorf("after ten minutes of silence: %v", err)
			}
			if _, err := alice.SealDirect(nil, h.now, limit, &f, noGroup); !errors.Is(err, e2ee.ErrHeld) {
				t.Errorf("no group: %v", err)
			}
			home, _ := alice.Epoch()
			if _, err := alice.SealDirect(nil, h.now, limit, &f, home); !errors.Is(err, e2ee.ErrHeld) {
				t.Errorf("the channel's group: %v", err)
			}
		})
	}
}

// Nothing goes to a direct group with somebody whose identity has changed, until
// the user accepts it.
func TestGroupsDirectIdentity(t *testing.T) {
	h, list := meet(t, "E", "alice", "bob", "carol")
	alice, bob := list[0], list[1]
	h.leave(bob, true)
	h.run(3 * time.Second)
	other := h.join("bob", 9)
	h.run(3 * time.Second)
	alice.took()
	alice.handle(e2ee.OpenDirect{Token: 1, Sessions: []uint32{other.session}})
	h.until(5*time.Second, "ready", func() bool { return !alice.ready[1].IsZero() })
	alice.want("another bob", "Priv > Asked, ask identity")
	private := e2ee.Text{HTML: "psst", Scope: e2ee.ScopePrivate, Channel: e2ee.NoChannel}
	for range 2 {
		if err := alice.write(alice.ready[1], private); !errors.Is(err, e2ee.ErrHeld) {
			t.Errorf("to another bob: %v", err)
		}
		if _, err := alice.SealDirect(nil, h.now, limit, &e2ee.Frame{}, alice.ready[1]); !errors.Is(err, e2ee.ErrHeld) {
			t.Errorf("a whisper to another bob: %v", err)
		}
		h.move(alice, 4) // ends the alarm, and accepts nobody
		h.run(time.Second)
	}
	h.run(time.Second)
	alice.handle(nil)
	if alice.Question() != e2ee.QuestionIdentity {
		t.Errorf("not asked again: %v %v", alice.State(), alice.Question())
	}
	alice.handle(e2ee.UserProtect{})
	if err := alice.write(alice.ready[1], private); err != nil {
		t.Errorf("accepted: %v", err)
	}
	other.took()
}
