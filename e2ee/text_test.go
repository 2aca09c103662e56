package e2ee_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
)

// deliver gives an object to p as coming from a session and returns the texts
// that come of it.
func (r *room) text(p *person, from uint32, o envelope.Object) []e2ee.Text {
	p.Handle(r.now, e2ee.Received{From: from, Object: o})
	n := len(p.out)
	r.carry()
	var texts []e2ee.Text
	for _, out := range p.out[n:] {
		if out, ok := out.(e2ee.TextReceived); ok {
			if out.From != from {
				r.t.Errorf("text of %d shows as of %d", from, out.From)
			}
			texts = append(texts, out.Text)
		}
	}
	return texts
}

func TestText(t *testing.T) {
	r, alice, bob := pair(t)
	for i, html := range []string{"", "hello", "<b>grüße</b>", strings.Repeat("x", 5000), strings.Repeat("y", 96_000)} {
		o, err := alice.SealText(r.now, 200_000, e2ee.Text{Scope: e2ee.ScopeTree, Channel: 7, HTML: html})
		if err != nil {
			t.Fatal(err)
		}
		if o.Kind != envelope.KindSecretText {
			t.Errorf("kind %v", o.Kind)
		}
		r.now = r.now.Add(time.Second)
		got := r.text(bob, alice.session, o)
		if len(got) != 1 {
			t.Fatalf("%d bytes: %d texts; counted %+v", len(html), len(got), bob.Stats())
		}
		g := got[0]
		if g.HTML != html || g.Scope != e2ee.ScopeTree || g.Channel != 7 || g.Seq != uint32(i) || g.ID == ([16]byte{}) || g.SentMS != uint64(r.now.Add(-time.Second).UnixMilli()) {
			t.Errorf("got %+v", g)
		}
		if again := r.text(bob, alice.session, o); len(again) != 0 {
			t.Error("a replayed text shows")
		}
	}
	if bob.Stats().Replay == 0 {
		t.Errorf("counted %+v", bob.Stats())
	}
}

// The same id under another salt is one message; the same id of another author is
// another message.
func TestTextDuplicate(t *testing.T) {
	secret := e2ee.NewSecret()
	r := newRoom(t, true)
	alice := r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer))
	bob := r.join("bob", 1, engine(t, secret, e2ee.PolicyPrefer))
	carol := r.join("carol", 1, engine(t, secret, e2ee.PolicyPrefer))
	r.run(2 * time.Second)
	seal := func(p *person) envelope.Object {
		o, err := p.SealText(r.now, 900, e2ee.Text{ID: [16]byte{1}, HTML: "x"})
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	if n := len(r.text(bob, carol.session, seal(carol))); n != 1 {
		t.Errorf("carol's text shows %d times", n)
	}
	if n := len(r.text(bob, alice.session, seal(alice))); n != 1 {
		t.Errorf("alice's text with the same id shows %d times", n)
	}
	if n := len(r.text(bob, alice.session, seal(alice))); n != 0 {
		t.Error("alice's text shows again")
	}
}

func TestTextErrors(t *testing.T) {
	r, alice, bob := pair(t)
	for _, tt := range []struct {
		name  string
		limit int
		text  e2ee.Text
		want  error
	}{
		{"a scope that is none", 900, e2ee.Text{Scope: 3}, e2ee.ErrMalformed},
		{"a channel that is none", 900, e2ee.Text{Channel: e2ee.NoChannel}, e2ee.ErrMalformed},
		{"private", 900, e2ee.Text{Scope: e2ee.ScopePrivate}, e2ee.ErrMalformed},
		{"not UTF-8", 900, e2ee.Text{HTML: "\xff"}, e2ee.ErrMalformed},
		{"no room", 0, e2ee.Text{}, e2ee.ErrTextTooLong},
		{"negative room", -1000, e2ee.Text{}, e2ee.ErrTextTooLong},
		{"96 001 bytes", 1 << 20, e2ee.Text{HTML: strings.Repeat("x", 96_001)}, e2ee.ErrTextTooLong},
	} {
		if _, err := alice.SealText(r.now, tt.limit, tt.text); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	r.move(bob, 2, true)
	r.move(alice, 3, false)
	if _, err := alice.SealText(r.now, 900, e2ee.Text{HTML: "x"}); !errors.Is(err, e2ee.ErrHeld) {
		t.Errorf("alone: %v, want ErrHeld", err)
	}
}

// MaxText is exact at every limit, and what it allows fits.
func TestMaxText(t *testing.T) {
	r, alice, _ := pair(t)
	limits := []int{-1, 0, 40, 70, 80, 81, 82, 83, 100, 988, 3600, 4400, 16400, 16500, 96_000, 96_088, 96_089, 120_000}
	for n := 60; n < 240; n++ {
		limits = append(limits, n)
	}
	for _, limit := range limits {
		n := alice.MaxText(limit)
		o, err := alice.SealText(r.now, limit, e2ee.Text{HTML: strings.Repeat("x", n)})
		if n > 0 && err != nil {
			t.Errorf("limit %d: MaxText says %d, SealText %v", limit, n, err)
		}
		if err == nil && len(o.Body) > limit {
			t.Errorf("limit %d: a body of %d bytes", limit, len(o.Body))
		}
		if _, err := alice.SealText(r.now, limit, e2ee.Text{HTML: strings.Repeat("x", n+1)}); !errors.Is(err, e2ee.ErrTextTooLong) {
			t.Errorf("limit %d: MaxText says %d, SealText of one more %v", limit, n, err)
		}
	}
	t.Logf("one fragment holds %d bytes of HTML, one plain text part %d", alice.MaxText(988), alice.MaxText(3592))
}

// Sizes on the wire are those of §2 and tell nothing finer.
func TestTextPadding(t *testing.T) {
	r, alice, _ := pair(t)
	sizes := map[int]bool{}
	for n := range 900 {
		o, err := alice.SealText(r.now, 988, e2ee.Text{HTML: strings.Repeat("x", n)})
		if err != nil {
			t.Fatal(err)
		}
		sizes[len(o.Body)] = true
	}
	// 64, 256 and, since 1024 does not fit, all there is.
	if len(sizes) != 3 || !sizes[24+2+64+16] || !sizes[24+2+256+16] || !sizes[988] {
		t.Errorf("sizes %v", sizes)
	}
	o, err := alice.SealText(r.now, 100_000, e2ee.Text{HTML: strings.Repeat("x", 9000)})
	if err != nil || len(o.Body) != 24+2+3*4096+16 {
		t.Errorf("9000 bytes make a body of %d, %v", len(o.Body), err)
	}
}

// Whatever is changed on the way, a text does not open.
func TestTextMustFail(t *testing.T) {
	r, alice, bob := pair(t)
	carol := r.join("carol", 1, nil)
	o, err := alice.SealText(r.now, 988, e2ee.Text{HTML: "attack at dawn"})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	refuse := func(what string, from uint32, body []byte) {
		t.Helper()
		n++
		r.now = r.now.Add(500 * time.Millisecond) // below the rate of one peer
		if got := r.text(bob, from, envelope.Object{Kind: o.Kind, Body: body}); len(got) != 0 {
			t.Errorf("%s: shows %+v", what, got)
		}
	}
	start := r.now
	for i := range o.Body {
		x := bytes.Clone(o.Body)
		x[i] ^= 1 << (i % 8)
		refuse("a changed bit", alice.session, x)
		refuse("cut short", alice.session, o.Body[:i])
	}
	refuse("longer", alice.session, append(bytes.Clone(o.Body), 0))
	refuse("another author", carol.session, o.Body)
	refuse("an unknown author", 999, o.Body)
	r.now = start.Add(6 * time.Minute)
	refuse("6 minutes late", alice.session, o.Body)
	r.now = start.Add(4 * time.Minute)
	if got := r.text(bob, alice.session, o); len(got) != 1 || got[0].SentMS == 0 {
		t.Errorf("4 minutes late: %+v", got)
	}
	t.Logf("%d changed texts refused; counted %+v", n, bob.Stats())
}

// A private text needs proof from each it is for, and not the channel's gate.
func TestPrivate(t *testing.T) {
	secret := e2ee.NewSecret()
	r := newRoom(t, true)
	alice := r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer))
	bob := r.join("bob", 2, engine(t, secret, e2ee.PolicyPrefer))
	carol := r.join("carol", 2, nil)
	r.run(5 * time.Second)
	r.wantState(alice, e2ee.StateAlone)
	seal := func(to ...uint32) (envelope.Object, error) {
		return alice.SealPrivate(r.now, 900, to, e2ee.Text{HTML: "psst", Scope: e2ee.ScopePrivate})
	}
	if _, err := seal(bob.session); !errors.Is(err, e2ee.ErrNotHolder) {
		t.Errorf("before asking: %v", err)
	}
	alice.AskHolders(r.now, []uint32{bob.session, carol.session})
	r.run(time.Second)
	o, err := seal(bob.session)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.text(bob, alice.session, o); len(got) != 1 || got[0].Scope != e2ee.ScopePrivate || got[0].Channel != e2ee.NoChannel || got[0].HTML != "psst" {
		t.Errorf("bob got %+v", got)
	}
	o, err = alice.SealPrivate(r.now, 900, []uint32{bob.session}, e2ee.Text{HTML: "all", Scope: e2ee.ScopeTree, Channel: 2})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.text(bob, alice.session, o); len(got) != 1 || got[0].Scope != e2ee.ScopeTree || got[0].Channel != 2 {
		t.Errorf("a text to a tree came as %+v", got)
	}
	if _, err := alice.SealPrivate(r.now, 900, []uint32{bob.session}, e2ee.Text{Scope: 3}); !errors.Is(err, e2ee.ErrMalformed) {
		t.Errorf("scope 3: %v", err)
	}
	for name, to := range map[string][]uint32{"nobody": nil, "a stranger": {carol.session}, "both": {bob.session, carol.session}, "unknown": {99}} {
		if _, err := seal(to...); !errors.Is(err, e2ee.ErrNotHolder) {
			t.Errorf("%s: %v, want ErrNotHolder", name, err)
		}
	}
	alice.Handle(r.now, e2ee.LocalMove{Channel: 2})
	if _, err := seal(bob.session); !errors.Is(err, e2ee.ErrHeld) {
		t.Errorf("moving: %v, want ErrHeld", err)
	}
	r.leave(alice)
	if _, err := seal(bob.session); !errors.Is(err, e2ee.ErrHeld) {
		t.Errorf("disconnected: %v, want ErrHeld", err)
	}
}

// The last 1024 ids are known; older ones are forgotten, and their texts are kept
// out by their minute.
func TestTextIDsBounded(t *testing.T) {
	r, alice, bob := pair(t)
	id := func(i int) (id [16]byte) { id[0], id[1], id[15] = byte(i), byte(i>>8), 1; return id }
	send := func(i int) int {
		o, err := alice.SealText(r.now, 900, e2ee.Text{ID: id(i)})
		if err != nil {
			t.Fatal(err)
		}
		return len(r.text(bob, alice.session, o))
	}
	for i := range 1025 {
		r.run(500 * time.Millisecond)
		if send(i) != 1 {
			t.Fatalf("text %d does not show", i)
		}
	}
	r.run(10 * time.Second)
	if send(1024) != 0 || send(1) != 0 {
		t.Error("a known id shows again")
	}
	if send(0) != 1 {
		t.Error("the oldest of 1025 ids is still known")
	}
}
