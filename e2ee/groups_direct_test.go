package e2ee_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
)

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
