package e2ee_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
)

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

	t.Run("a move to where we are is none", func(t *testing.T) {
		r := newRoom(t, true)
		alice := r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer))
		r.join("bob", 1, engine(t, secret, e2ee.PolicyPrefer))
		r.run(time.Second)
		alice.Handle(r.now, e2ee.LocalMove{Channel: 1})
		r.wantState(alice, e2ee.StateTyped)
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
