package e2ee_test

import (
	"errors"
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

// The ways through the gate of §11, as people meet them.
func TestGateWays(t *testing.T) {
	secret := e2ee.NewSecret()

	t.Run("strangers: Find, Held after 3 s, one notice", func(t *testing.T) {
		r := newRoom(t, true)
		r.join("mallory", 1, nil)
		alice := r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer))
		r.run(2900 * time.Millisecond)
		r.wantState(alice, e2ee.StateFind)
		r.run(200 * time.Millisecond)
		r.wantState(alice, e2ee.StateHeld)
		r.run(time.Minute)
		r.wantState(alice, e2ee.StateHeld)
		if n := notices(alice, e2ee.NoticeHeld); n != 1 {
			t.Errorf("%d notices, want 1: %v", n, alice.said())
		}
		bob := r.join("bob", 1, engine(t, secret, e2ee.PolicyPrefer))
		r.run(time.Second)
		r.wantState(alice, e2ee.StateTyped)
		r.wantState(bob, e2ee.StateTyped)
	})

	t.Run("require: asked after 10 s held, waits when told, a holder answers it", func(t *testing.T) {
		r := newRoom(t, true)
		r.join("mallory", 1, nil)
		alice := r.join("alice", 1, engine(t, secret, e2ee.PolicyRequire))
		r.run(12900 * time.Millisecond)
		r.wantState(alice, e2ee.StateHeld)
		r.run(200 * time.Millisecond)
		r.wantState(alice, e2ee.StateAsked)
		if notices(alice, e2ee.NoticeAsked) != 1 {
			t.Errorf("said %v", alice.said())
		}
		alice.Handle(r.now, e2ee.Wait{})
		r.wantState(alice, e2ee.StateHeld)
		r.run(10100 * time.Millisecond)
		r.wantState(alice, e2ee.StateAsked)
		r.join("bob", 1, engine(t, secret, e2ee.PolicyPrefer))
		r.run(time.Second)
		r.wantState(alice, e2ee.StateTyped)
	})

	t.Run("alone: a newcomer means Find", func(t *testing.T) {
		r := newRoom(t, true)
		alice := r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer))
		r.join("far", 2, nil)
		r.wantState(alice, e2ee.StateAlone)
		mallory := r.join("mallory", 1, nil)
		r.wantState(alice, e2ee.StateFind)
		r.run(4 * time.Second)
		r.wantState(alice, e2ee.StateHeld)
		r.leave(mallory)
		r.wantState(alice, e2ee.StateAlone)
	})

	t.Run("typed stays typed when strangers enter and holders leave", func(t *testing.T) {
		r := newRoom(t, true)
		alice := r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer))
		bob := r.join("bob", 1, engine(t, secret, e2ee.PolicyPrefer))
		r.run(time.Second)
		r.join("mallory", 1, nil)
		r.run(20 * time.Second)
		r.wantState(alice, e2ee.StateTyped)
		r.leave(bob)
		r.run(20 * time.Second)
		r.wantState(alice, e2ee.StateTyped)
		if alice.IsHolder(bob.session) {
			t.Error("bob is gone and still a holder")
		}
		if _, h := count[e2ee.Holder](alice); h.Holds || h.Name != "bob" {
			t.Errorf("last Holder %+v", h)
		}
		if alice.Leave() != e2ee.LeaveCiphertext {
			t.Errorf("%v leaves", alice.Leave())
		}
	})

	t.Run("moved by the server: Held until a holder hears there", func(t *testing.T) {
		r := newRoom(t, true)
		alice := r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer))
		bob := r.join("bob", 1, engine(t, secret, e2ee.PolicyPrefer))
		r.join("mallory", 2, nil)
		r.run(time.Second)
		r.move(alice, 2, false)
		r.wantState(alice, e2ee.StateHeld)
		if notices(alice, e2ee.NoticeMoved) != 1 {
			t.Errorf("said %v", alice.said())
		}
		if _, err := r.speak(alice, "leak", false); !errors.Is(err, e2ee.ErrHeld) {
			t.Errorf("held, SealVoice says %v", err)
		}
		r.run(time.Minute)
		r.wantState(alice, e2ee.StateHeld)
		// Bob is still known as a holder: no new proof is needed.
		r.move(bob, 2, true)
		r.wantState(alice, e2ee.StateTyped)
		r.wantState(bob, e2ee.StateTyped)
		r.wantHeard(bob, r.say(alice, "there"), "there")
	})

	t.Run("own move closes at once and opens with a known holder", func(t *testing.T) {
		r := newRoom(t, true)
		alice := r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer))
		bob := r.join("bob", 1, engine(t, secret, e2ee.PolicyPrefer))
		r.run(time.Second)
		alice.Handle(r.now, e2ee.LocalMove{Channel: 2})
		r.wantState(alice, e2ee.StateFind)
		// Somebody else's doings do not open it again.
		r.join("carol", 1, nil)
		r.wantState(alice, e2ee.StateFind)
		if _, err := r.speak(alice, "early", false); !errors.Is(err, e2ee.ErrHeld) {
			t.Errorf("moving, SealVoice says %v", err)
		}
		r.move(alice, 2, true)
		r.wantState(alice, e2ee.StateAlone)
		r.move(bob, 2, true)
		r.wantState(alice, e2ee.StateTyped)
		r.wantHeard(alice, r.say(bob, "here"), "here")
	})

	t.Run("a move that never happens opens again after 10 s", func(t *testing.T) {
		r := newRoom(t, true)
		alice := r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer))
		r.join("bob", 1, engine(t, secret, e2ee.PolicyPrefer))
		r.run(time.Second)
		alice.Handle(r.now, e2ee.LocalMove{Channel: 2})
		r.run(9900 * time.Millisecond)
		r.wantState(alice, e2ee.StateFind)
		r.run(200 * time.Millisecond)
		r.wantState(alice, e2ee.StateTyped)
	})

	t.Run("asked to go to one channel, sent to another: that is the server's doing", func(t *testing.T) {
		r := newRoom(t, true)
		alice := r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer))
		r.join("mallory", 3, nil)
		r.run(time.Second)
		alice.Handle(r.now, e2ee.LocalMove{Channel: 2})
		r.move(alice, 3, false)
		r.wantState(alice, e2ee.StateHeld)
		if notices(alice, e2ee.NoticeMoved) != 1 {
			t.Errorf("said %v", alice.said())
		}
	})

	t.Run("named people must all hold it", func(t *testing.T) {
		r := newRoom(t, true)
		alice := r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer, "Bob", " carol "))
		r.join("bob", 1, engine(t, secret, e2ee.PolicyPrefer))
		r.run(5 * time.Second)
		r.wantState(alice, e2ee.StateHeld)
		if _, n := count[e2ee.Notice](alice); n.Code != e2ee.NoticeHeld || n.Text != "Not here with this secret yet: carol. Your microphone is held." {
			t.Errorf("notice %+v", n)
		}
		// One with the name and without the secret does not count, nor one elsewhere.
		r.join("carol", 1, nil)
		far := r.join("Carol", 2, engine(t, secret, e2ee.PolicyPrefer))
		r.run(5 * time.Second)
		r.wantState(alice, e2ee.StateHeld)
		r.move(far, 1, true)
		r.run(time.Second)
		r.wantState(alice, e2ee.StateTyped)
	})

	t.Run("reconnect: closed, then open again", func(t *testing.T) {
		r := newRoom(t, true)
		alice := r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer))
		bob := r.join("bob", 1, engine(t, secret, e2ee.PolicyPrefer))
		r.run(time.Second)
		r.leave(alice)
		r.wantState(alice, e2ee.StateFind)
		if alice.Leave() != e2ee.LeaveNothing || len(alice.Holders()) != 0 {
			t.Errorf("disconnected, %v leaves, holders %v", alice.Leave(), alice.Holders())
		}
		r.run(10 * time.Second)
		r.connect(alice, 1)
		r.run(time.Second)
		r.wantState(alice, e2ee.StateTyped)
		r.wantHeard(bob, r.say(alice, "back"), "back")
		r.wantHeard(alice, r.say(bob, "hi"), "hi")
	})

	t.Run("off: everything leaves in clear and nothing is said", func(t *testing.T) {
		off, err := e2ee.New(e2ee.Config{Policy: e2ee.PolicyOff, Secret: parse(t, secret), Server: testServer})
		if err != nil {
			t.Fatal(err)
		}
		r := newRoom(t, true)
		alice := r.join("alice", 1, off)
		bob := r.join("bob", 1, engine(t, secret, e2ee.PolicyPrefer))
		r.run(time.Minute)
		r.wantState(alice, e2ee.StateOff)
		if alice.Leave() != e2ee.LeaveClear || len(alice.out)+len(alice.sent) != 0 || bob.IsHolder(alice.session) {
			t.Errorf("%v leaves; said %v, sent %v", alice.Leave(), alice.out, alice.sent)
		}
		if _, err := r.speak(alice, "x", false); !errors.Is(err, e2ee.ErrHeld) {
			t.Errorf("SealVoice under off: %v", err)
		}
		if _, err := r.hear(alice, packet{from: bob.session, vk: envelope.VoiceTyped, rest: make([]byte, 40)}); !errors.Is(err, e2ee.ErrNoKey) {
			t.Errorf("OpenVoice under off: %v", err)
		}
		if _, err := alice.SealText(r.now, 900, e2ee.Text{HTML: "x"}); !errors.Is(err, e2ee.ErrHeld) {
			t.Errorf("SealText under off: %v", err)
		}
	})
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
