package e2ee_test

import (
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
)

// Two people with one secret find each other in both regimes, talk, and each
// knows that the other holds it.
func TestTwoHolders(t *testing.T) {
	for _, echo := range []bool{true, false} {
		secret := e2ee.NewSecret()
		r := newRoom(t, echo)
		alice := r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer))
		r.wantState(alice, e2ee.StateAlone)
		bob := r.join("bob", 1, engine(t, secret, e2ee.PolicyPrefer))
		r.run(2 * time.Second)
		r.wantState(alice, e2ee.StateTyped)
		r.wantState(bob, e2ee.StateTyped)
		if !alice.IsHolder(bob.session) || !slices.Equal(bob.Holders(), []uint32{alice.session}) {
			t.Errorf("holders: alice %v, bob %v", alice.Holders(), bob.Holders())
		}
		for i := range 60 {
			end := i == 59
			pkt, err := r.speak(alice, "hello", end)
			if err != nil {
				t.Fatal(err)
			}
			if key := pkt.vk == envelope.VoiceTypedKey; key != (i < 5 || i%25 == 24) {
				t.Errorf("packet %d has vk %#x", i, pkt.vk)
			}
			r.wantHeard(bob, pkt, "hello")
			r.now = r.now.Add(20 * time.Millisecond)
		}
		// A new talk spurt begins with the key header again, also when the
		// terminator got lost.
		if pkt := r.say(alice, "again"); pkt.vk != envelope.VoiceTypedKey {
			t.Errorf("after the terminator: vk %#x", pkt.vk)
		}
		for range 10 {
			r.say(alice, "again")
		}
		r.now = r.now.Add(1100 * time.Millisecond)
		if pkt := r.say(alice, "pause"); pkt.vk != envelope.VoiceTypedKey {
			t.Errorf("after a pause: vk %#x", pkt.vk)
		}
		if n, _ := count[e2ee.OtherSecret](alice); n != 0 {
			t.Error("alice hears of another secret")
		}
		t.Logf("echo %v: alice sent %d SecretReady, %d announcements", echo, alice.sends(false), alice.sends(true))
	}
}

// SecretReady goes out once to all who hear, to newcomers once, and not again;
// in regime N strangers never get text.
func TestReadyTraffic(t *testing.T) {
	secret := e2ee.NewSecret()
	r := newRoom(t, true)
	r.join("mallory", 1, nil)
	alice := r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer))
	if alice.sends(false) != 1 {
		t.Errorf("alice sent %d SecretReady at once, want 1", alice.sends(false))
	}
	r.run(time.Minute)
	if alice.sends(false) != 1 || alice.sends(true) != 0 {
		t.Errorf("alice sent %d SecretReady and %d announcements to one stranger", alice.sends(false), alice.sends(true))
	}
	for _, name := range []string{"carol", "dave", "eve"} {
		r.join(name, 1, nil)
		r.run(20 * time.Millisecond)
	}
	r.run(time.Minute)
	if alice.sends(false) != 2 {
		t.Errorf("three newcomers made it %d SecretReady, want 2", alice.sends(false))
	}
	if last := alice.sent[1].(e2ee.SendObject); len(last.To) != 3 || last.Label == "" {
		t.Errorf("the second went to %v, labelled %q", last.To, last.Label)
	}

	r = newRoom(t, false)
	r.join("mallory", 1, nil)
	alice = r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer))
	if alice.sends(true) != 1 {
		t.Errorf("alice announced %d times at once, want 1", alice.sends(true))
	}
	r.run(51 * time.Second)
	if n := alice.sends(true); n != 11 {
		t.Errorf("alice waited 51 s and announced %d times, want 11", n)
	}
	if alice.sends(false) != 0 {
		t.Error("alice sent a stranger text in regime N")
	}
	bob := r.join("bob", 1, engine(t, secret, e2ee.PolicyPrefer))
	r.run(2 * time.Second)
	r.wantState(alice, e2ee.StateTyped)
	for _, p := range []*person{alice, bob} {
		if p.sends(false) != 1 {
			t.Errorf("%s sent %d SecretReady", p.name, p.sends(false))
		}
		for _, s := range p.sent {
			if s, ok := s.(e2ee.SendObject); ok && len(s.To) != 1 {
				t.Errorf("%s sent text to %v", p.name, s.To)
			}
		}
	}
	before := alice.sends(true)
	r.run(10 * time.Minute)
	if n := alice.sends(true) - before; n < 9 || n > 10 {
		t.Errorf("alice announced %d times in 10 minutes of Typed, want 9 or 10", n)
	}
}

// Until the carrier knows its regime no object is sent. A server that echoes
// shows it within half a second; from then on the stream is announced in voice,
// because silence is only an answer after 4 s.
func TestRegimeUnknown(t *testing.T) {
	e := engine(t, e2ee.NewSecret(), e2ee.PolicyPrefer)
	start := time.Unix(1_800_000_000, 0)
	now := start
	e.Handle(now, e2ee.Connected{Session: 1})
	e.Handle(now, e2ee.World{Channel: 1, Peers: []e2ee.Peer{{Session: 2, Channel: 1, Hears: true}}})
	var voiced []time.Duration
	drain := func() {
		for out, ok := e.Next(); ok; out, ok = e.Next() {
			switch out.(type) {
			case e2ee.SendObject:
				t.Errorf("sent an object %v after the start", now.Sub(start))
			case e2ee.SendVoice:
				voiced = append(voiced, now.Sub(start))
			}
		}
	}
	for now.Sub(start) < 4*time.Second {
		now = now.Add(100 * time.Millisecond)
		e.Handle(now, nil)
		drain()
	}
	e.AskHolders(now, []uint32{2})
	drain()
	if len(voiced) != 1 || voiced[0] != 500*time.Millisecond {
		t.Errorf("announced in voice at %v, want once at 500 ms", voiced)
	}
	e.Handle(now, e2ee.Regime{Known: true, Echo: true})
	if out, _ := e.Next(); out == nil {
		t.Error("nothing is sent in the known regime either")
	}
}

// Another secret, or the same secret on what seems another server: said once,
// and nobody becomes a holder.
func TestOtherSecret(t *testing.T) {
	secret := e2ee.NewSecret()
	wrongServer, err := e2ee.ParseSecret(secret, [32]byte{9})
	if err != nil {
		t.Fatal(err)
	}
	inTheMiddle, err := e2ee.New(e2ee.Config{Secret: wrongServer, Server: [32]byte{9}})
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]*e2ee.Engine{
		"another secret": engine(t, e2ee.NewSecret(), e2ee.PolicyPrefer),
		"another server": inTheMiddle,
	} {
		for _, echo := range []bool{true, false} {
			r := newRoom(t, echo)
			alice := r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer))
			eve := r.join("eve", 1, other)
			r.run(30 * time.Second)
			r.wantState(alice, e2ee.StateHeld)
			r.wantState(eve, e2ee.StateHeld)
			for _, p := range []*person{alice, eve} {
				if n, _ := count[e2ee.OtherSecret](p); n != 1 {
					t.Errorf("%s, echo %v: %s was told %d times", name, echo, p.name, n)
				}
				if len(p.Holders()) != 0 {
					t.Errorf("%s, echo %v: %s knows holders %v", name, echo, p.name, p.Holders())
				}
			}
			r.leave(eve)
		}
	}
}

// A SecretReady that crosses a move must not be taken for another secret, and is
// said again.
func TestReadyCrossesMove(t *testing.T) {
	secret := e2ee.NewSecret()
	r := newRoom(t, true)
	alice := r.join("alice", 2, engine(t, secret, e2ee.PolicyPrefer))
	bob := r.join("bob", 1, engine(t, secret, e2ee.PolicyPrefer))
	r.run(20 * time.Second)
	var late []e2ee.SendObject
	r.drop = func(from, _ *person, what any) bool {
		if o, ok := what.(e2ee.SendObject); ok && from == bob {
			late = append(late, o)
			return true
		}
		return false
	}
	bob.AskHolders(r.now, []uint32{alice.session})
	r.run(time.Second)
	if len(late) != 1 {
		t.Fatalf("bob sent %d objects", len(late))
	}
	r.drop = nil
	// The server moves bob, and only then passes on what he sent before.
	r.move(bob, 2, false)
	alice.Handle(r.now, e2ee.Received{From: bob.session, Object: late[0].Object})
	r.run(2 * time.Second)
	if n, _ := count[e2ee.OtherSecret](alice); n != 0 {
		t.Error("alice was told of another secret")
	}
	if !alice.IsHolder(bob.session) || !bob.IsHolder(alice.session) {
		t.Errorf("alice knows %v, bob knows %v", alice.Holders(), bob.Holders())
	}
}

// AskHolders finds holders in other channels; in regime N strangers are left alone.
func TestAskHolders(t *testing.T) {
	for _, echo := range []bool{true, false} {
		secret := e2ee.NewSecret()
		r := newRoom(t, echo)
		alice := r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer))
		bob := r.join("bob", 2, engine(t, secret, e2ee.PolicyPrefer))
		carol := r.join("carol", 2, nil)
		r.run(10 * time.Second)
		if alice.IsHolder(bob.session) {
			t.Fatal("alice knows bob already")
		}
		alice.AskHolders(r.now, []uint32{bob.session, carol.session, 999})
		alice.AskHolders(r.now, []uint32{bob.session, carol.session, 999})
		r.run(time.Second)
		if alice.IsHolder(bob.session) != echo || bob.IsHolder(alice.session) != echo || alice.IsHolder(carol.session) {
			t.Errorf("echo %v: alice knows %v, bob knows %v", echo, alice.Holders(), bob.Holders())
		}
		if n := alice.sends(false); echo && n != 1 || !echo && n != 0 {
			t.Errorf("echo %v: alice sent %d SecretReady", echo, n)
		}
		r.wantState(alice, e2ee.StateAlone)
	}
}

// A lost SecretReady does not part people for good: asking again is answered.
func TestReadyLost(t *testing.T) {
	secret := e2ee.NewSecret()
	r := newRoom(t, true)
	r.drop = func(_, _ *person, _ any) bool { return true }
	alice := r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer))
	bob := r.join("bob", 1, engine(t, secret, e2ee.PolicyPrefer))
	r.run(20 * time.Second)
	r.wantState(alice, e2ee.StateHeld)
	r.drop = nil
	alice.AskHolders(r.now, []uint32{bob.session})
	r.run(time.Second)
	r.wantState(alice, e2ee.StateTyped)
	r.wantState(bob, e2ee.StateTyped)
}

// A clock more than 5 minutes off is said and opens nothing; 5 minutes are fine.
func TestClocks(t *testing.T) {
	base := time.Unix(1_800_000_000, 0) // a full minute
	for _, tt := range []struct {
		off   time.Duration
		holds bool
	}{
		{0, true}, {5 * time.Minute, true}, {-5 * time.Minute, true},
		{5*time.Minute + 59*time.Second, true},
		{6 * time.Minute, false}, {-5*time.Minute - time.Second, false}, {-1000 * time.Hour, false},
	} {
		secret := e2ee.NewSecret()
		a, b := engine(t, secret, e2ee.PolicyPrefer), engine(t, secret, e2ee.PolicyPrefer)
		world := func(other uint32) e2ee.World {
			return e2ee.World{Channel: 1, Peers: []e2ee.Peer{{Session: other, Channel: 1, Name: "other", Hears: true}}}
		}
		bnow := base.Add(tt.off)
		a.Handle(base, e2ee.Connected{Session: 1})
		b.Handle(bnow, e2ee.Connected{Session: 2})
		a.Handle(base, world(2))
		b.Handle(bnow, world(1))
		b.Handle(bnow, e2ee.Regime{Known: true, Echo: true})
		for range 2 {
			for out, ok := b.Next(); ok; out, ok = b.Next() {
				if out, ok := out.(e2ee.SendObject); ok {
					a.Handle(base, e2ee.Received{From: 2, Object: out.Object})
					a.Handle(base, e2ee.Received{From: 2, Object: out.Object})
				}
			}
		}
		clock := 0
		for out, ok := a.Next(); ok; out, ok = a.Next() {
			if n, ok := out.(e2ee.Notice); ok && n.Code == e2ee.NoticeClock {
				clock++
			}
			if _, ok := out.(e2ee.OtherSecret); ok {
				t.Errorf("%v off is said to be another secret", tt.off)
			}
		}
		if a.IsHolder(2) != tt.holds || (clock == 1) == tt.holds {
			t.Errorf("%v off: holder %v, %d notices", tt.off, a.IsHolder(2), clock)
		}
	}
}

// In regime N somebody who comes while we talk hears the key header in the talk,
// not in a packet of its own that would disturb it.
func TestAnnounceWhileTalking(t *testing.T) {
	secret := e2ee.NewSecret()
	r := newRoom(t, false)
	alice := r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer))
	r.join("bob", 1, engine(t, secret, e2ee.PolicyPrefer))
	r.run(3 * time.Second)
	for range 6 {
		r.say(alice, "talk")
	}
	before := alice.sends(true)
	carol := r.join("carol", 1, engine(t, secret, e2ee.PolicyPrefer))
	for i := range 100 {
		r.run(20 * time.Millisecond)
		if p := r.say(alice, "talk"); p.vk == envelope.VoiceTypedKey {
			r.wantHeard(carol, p, "talk")
			t.Logf("carol hears the key header after %d packets", i+1)
			break
		}
	}
	r.run(400 * time.Millisecond)
	if alice.sends(true) != before {
		t.Error("alice sent an announcement into her own talk")
	}
	if !carol.IsHolder(alice.session) {
		t.Error("carol does not know alice")
	}
}

// An engine that nobody talks to comes to rest: its keys are gone and it does not
// want to be woken.
func TestRest(t *testing.T) {
	r, alice, bob := pair(t)
	r.wantHeard(bob, r.say(alice, "x"), "x")
	o, err := alice.SealText(r.now, 900, e2ee.Text{HTML: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.text(bob, alice.session, o)) != 1 {
		t.Error("the text does not show")
	}
	r.run(time.Hour)
	for _, p := range []*person{alice, bob} {
		if at := p.Deadline(); !at.IsZero() {
			t.Errorf("after an hour of silence %s wants to be woken in %v", p.name, at.Sub(r.now))
		}
	}
	r.wantState(alice, e2ee.StateTyped)
	r.wantHeard(bob, r.say(alice, "again"), "again")
}

func TestParsePolicy(t *testing.T) {
	for _, p := range []e2ee.Policy{e2ee.PolicyPrefer, e2ee.PolicyRequire, e2ee.PolicyOff} {
		if got, err := e2ee.ParsePolicy(p.String()); err != nil || got != p {
			t.Errorf("%v parses to %v, %v", p, got, err)
		}
	}
	if _, err := e2ee.ParsePolicy("Off"); err == nil {
		t.Error(`ParsePolicy("Off"): no error`)
	}
}
