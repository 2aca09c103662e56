package e2ee_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
)

// A peer's objects are looked at four times a second, 16 at once, whatever they are.
func TestObjectRate(t *testing.T) {
	r, alice, bob := pair(t)
	r.run(10 * time.Second)
	junk := e2ee.Received{From: alice.session, Object: envelope.Object{Kind: envelope.KindSecretReady, Body: []byte("junk")}}
	for range 100 {
		bob.Handle(r.now, junk)
	}
	if s := bob.Stats(); s.Malformed != 16 || s.Limit != 84 {
		t.Errorf("of 100 at once: %+v", s)
	}
	before := bob.Stats().Malformed
	for range 100 {
		r.now = r.now.Add(100 * time.Millisecond)
		bob.Handle(r.now, junk)
	}
	if n := bob.Stats().Malformed - before; n < 39 || n > 41 {
		t.Errorf("%d of 100 in 10 s, want 40", n)
	}
	// Other kinds are not ours to count.
	before = bob.Stats().Limit
	bob.Handle(r.now, e2ee.Received{From: alice.session, Object: envelope.Object{Kind: envelope.KindHello}})
	if bob.Stats().Limit != before {
		t.Error("a Hello counts")
	}
}

// A holder that draws nonces without end is slowed down and disturbs nobody else.
func TestNonceRate(t *testing.T) {
	secret := e2ee.NewSecret()
	r := newRoom(t, true)
	bob := r.join("bob", 1, engine(t, secret, e2ee.PolicyPrefer))
	eve := r.join("eve", 1, engine(t, secret, e2ee.PolicyPrefer))
	carol := r.join("carol", 1, engine(t, secret, e2ee.PolicyPrefer))
	r.run(5 * time.Second)
	opened := 0
	for i := range uint32(200) {
		// Each move to and fro is a new nonce; bob sees eve stay where she is.
		world := func(channel uint32) e2ee.World {
			return e2ee.World{Channel: channel, Own: true, Peers: []e2ee.Peer{{Session: bob.session, Channel: channel, Name: "bob", Hears: true}}}
		}
		eve.Handle(r.now, world(5+i))
		r.say(eve, "elsewhere")
		eve.Handle(r.now, world(1))
		if _, err := r.hear(bob, r.say(eve, "nonce")); err == nil {
			opened++
		}
	}
	if opened > 17 || opened < 10 {
		t.Errorf("%d of 200 new nonces at once were taken, want about 16", opened)
	}
	if bob.Stats().Limit == 0 {
		t.Errorf("counted %+v", bob.Stats())
	}
	r.wantHeard(bob, r.say(carol, "still here"), "still here")
}

// More people than the engine knows of do not grow it; the ones it knows work.
func TestPeersCapped(t *testing.T) {
	e := engine(t, e2ee.NewSecret(), e2ee.PolicyPrefer)
	now := time.Unix(1_800_000_000, 0)
	e.Handle(now, e2ee.Connected{Session: 1})
	e.Handle(now, e2ee.Regime{Known: true, Echo: true})
	peers := make([]e2ee.Peer, 0, 10_000)
	for i := range uint32(10_000) {
		peers = append(peers, e2ee.Peer{Session: i, Channel: i % 300, Hears: true})
	}
	e.Handle(now, e2ee.World{Channel: 1, Peers: peers})
	for out, ok := e.Next(); ok; out, ok = e.Next() {
		if out, ok := out.(e2ee.SendObject); ok && len(out.To) != 4096 {
			t.Errorf("sent to %d", len(out.To))
		}
	}
	// Channels without end cost derivations, not memory without end.
	for i := range uint32(1000) {
		e.Handle(now, e2ee.Received{From: i + 2, Object: envelope.Object{Kind: envelope.KindSecretReady, Body: ready(i+2, 0)}})
	}
	if len(e.Holders()) != 0 {
		t.Errorf("holders %v", e.Holders())
	}
}

// ready is a SecretReady with an empty key id and a mac of zeros.
func ready(session uint32, minute uint32) []byte {
	b := []byte{byte(session >> 24), byte(session >> 16), byte(session >> 8), byte(session)}
	b = append(b, make([]byte, 16)...)
	b = append(b, byte(minute>>24), byte(minute>>16), byte(minute>>8), byte(minute))
	return append(b, make([]byte, 1+16)...)
}

// SecretReady that must not make a holder, one row each.
func TestReadyMustFail(t *testing.T) {
	secret := e2ee.NewSecret()
	r := newRoom(t, true)
	var caught *e2ee.SendObject
	r.drop = func(_, _ *person, what any) bool {
		if o, ok := what.(e2ee.SendObject); ok {
			caught = &o
		}
		return true
	}
	bob := r.join("bob", 1, engine(t, secret, e2ee.PolicyPrefer))
	carol := r.join("carol", 1, nil)
	alice := r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer))
	if caught == nil || caught.To[0] != bob.session {
		t.Fatal("alice said nothing")
	}
	good := caught.Object.Body
	if len(good) != 4+16+4+1+4+16 {
		t.Fatalf("a SecretReady of a machine-made secret has %d bytes", len(good))
	}
	n := 0
	refuse := func(what string, from uint32, body []byte) {
		t.Helper()
		n++
		r.now = r.now.Add(500 * time.Millisecond)
		bob.Handle(r.now, e2ee.Received{From: from, Object: envelope.Object{Kind: envelope.KindSecretReady, Body: body}})
		if len(bob.Holders()) != 0 {
			t.Fatalf("%s: makes a holder", what)
		}
	}
	for i := range good {
		for bit := range 8 {
			x := bytes.Clone(good)
			x[i] ^= 1 << bit
			refuse("a changed bit", alice.session, x)
		}
		refuse("cut short", alice.session, good[:i])
	}
	refuse("longer", alice.session, append(bytes.Clone(good), 0))
	refuse("another session", carol.session, good)
	refuse("an unknown session", 99, good)
	r.now = time.Unix(1_800_000_000, 0)
	bob.Handle(r.now, e2ee.Received{From: alice.session, Object: caught.Object})
	if !bob.IsHolder(alice.session) {
		t.Error("the good one makes no holder")
	}
	if c, _ := count[e2ee.OtherSecret](bob); c > 1 {
		t.Errorf("bob was told %d times", c)
	}
	t.Logf("%d refused; counted %+v", n, bob.Stats())
}

// The id of a phrase never leaves: it would let anybody test guesses.
func TestPhraseSendsNoKeyID(t *testing.T) {
	r := newRoom(t, true)
	r.join("mallory", 1, nil)
	alice := r.join("alice", 1, engine(t, "correct horse battery", e2ee.PolicyPrefer))
	bob := r.join("bob", 1, engine(t, "correct  horse battery", e2ee.PolicyPrefer))
	r.run(time.Second)
	r.wantState(alice, e2ee.StateTyped)
	for _, p := range []*person{alice, bob} {
		for _, s := range p.sent {
			if o, ok := s.(e2ee.SendObject); ok && len(o.Object.Body) != 4+16+4+1+16 {
				t.Errorf("%s sent a SecretReady of %d bytes", p.name, len(o.Object.Body))
			}
		}
	}
	r.wantHeard(bob, r.say(alice, "hi"), "hi")
}
