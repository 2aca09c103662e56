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
}

// M15: the time that a text names is its author's word, and is not shown when it is
// more than five minutes off.
func TestGroupsTextTime(t *testing.T) {
	h, list := meet(t, "E", "alice", "bob")
	alice, bob := list[0], list[1]
	for off, shown := range map[time.Duration]bool{
		0: true, -4 * time.Minute: true, 4 * time.Minute: true, -6 * time.Minute: false, 6 * time.Minute: false, 24 * time.Hour: false,
	} {
		o, to, err := alice.SealText(h.now.Add(off), noGroup, e2ee.Text{HTML: "clocks", Channel: 3})
		if err != nil {
			t.Fatal(err)
		}
		bob.out = nil
		h.post(alice, to, o)
		if got, ok := bob.out[0].(e2ee.TextReceived); !ok || (got.Text.SentMS != 0) != shown {
			t.Errorf("a time that is %v off, shown: %v", off, bob.out)
		}
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

// How long a text is shows in steps only (§2), and the longest one for some room fits it.
func TestGroupsTextLengths(t *testing.T) {
	_, list := meet(t, "E", "alice", "bob")
	alice := list[0]
	size := func(n int) int {
		o, _, err := alice.SealText(alice.h.now, noGroup, e2ee.Text{HTML: strings.Repeat("x", n), Channel: 3})
		if err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		return len(o.Body)
	}
	sizes := map[int]bool{}
	for n := 0; n <= 1000; n++ {
		sizes[size(n)] = true
	}
	if len(sizes) != 3 { // 256, 1024 and 4096; signature and heads alone are above 64
		t.Errorf("texts of up to 1000 bytes have %d sizes: %v", len(sizes), sizes)
	}
	for _, room := range []int{4400, 6916, 8500, 50_000, 96_000} {
		n := alice.MaxText(room)
		if got := size(n); got > room {
			t.Errorf("the longest text for %d, %d bytes, takes %d", room, n, got)
		} else if room-got > 4096 {
			t.Errorf("the longest text for %d, %d bytes, takes %d only", room, n, got)
		}
	}
}
