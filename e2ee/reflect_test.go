package e2ee_test

import (
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
)

// A server that makes us reconnect under another session, and invents somebody
// under the old one, cannot play our own words back to us as that person's: not
// our voice, not our texts, and not our proof of holding the secret.
func TestReflection(t *testing.T) {
	r, alice, bob := pair(t)
	voice := []packet{r.sayKeyed(alice), r.say(alice, "I agree")}
	text, err := alice.SealText(r.now, 3600, e2ee.Text{Scope: e2ee.ScopeChannel, Channel: 1, HTML: "I agree to pay"})
	if err != nil {
		t.Fatal(err)
	}
	var ready envelope.Object
	for _, s := range alice.sent {
		if s, ok := s.(e2ee.SendObject); ok && s.Object.Kind == envelope.KindSecretReady {
			ready = s.Object
		}
	}
	if ready.Body == nil {
		t.Fatal("alice sent no SecretReady")
	}
	r.leave(bob)
	r.leave(alice)
	r.run(time.Second)

	old := alice.session
	r.connect(alice, 1)
	ghost := &person{name: "boss", session: old, channel: 1}
	r.people = append(r.people, ghost)
	r.tell(nil)
	alice.out = nil
	for _, p := range voice {
		if got, err := r.hear(alice, p); err == nil {
			t.Errorf("alice hears herself as the boss: %q", got)
		}
	}
	alice.Handle(r.now, e2ee.Received{From: old, Object: text})
	alice.Handle(r.now, e2ee.Received{From: old, Object: ready})
	r.run(time.Second)
	if n, got := count[e2ee.TextReceived](alice); n != 0 {
		t.Errorf("alice reads herself as the boss: %q", got.Text.HTML)
	}
	if alice.IsHolder(old) {
		t.Error("the boss holds the secret by alice's own proof")
	}
	if alice.Leave() != e2ee.LeaveNothing {
		t.Errorf("the gate is open for a ghost: %v", alice.State())
	}
}

// A SecretReady of somebody who has left proves nothing for whom the server
// gives the session to.
func TestReadyOfTheDeparted(t *testing.T) {
	r := newRoom(t, true)
	secret := e2ee.NewSecret()
	alice := r.join("alice", 1, engine(t, secret, e2ee.PolicyPrefer))
	bob := r.join("bob", 1, engine(t, secret, e2ee.PolicyPrefer, "carol"))
	r.run(time.Second)
	var ready envelope.Object
	for _, s := range alice.sent {
		if s, ok := s.(e2ee.SendObject); ok && s.Object.Kind == envelope.KindSecretReady {
			ready = s.Object
		}
	}
	r.leave(alice)
	r.run(70 * time.Second)
	carol := &person{name: "carol", session: alice.session, channel: 1}
	r.people = append(r.people, carol)
	r.tell(nil)
	bob.Handle(r.now, e2ee.Received{From: carol.session, Object: ready})
	r.run(time.Second)
	if bob.IsHolder(carol.session) || bob.Leave() != e2ee.LeaveNothing {
		t.Errorf("carol holds the secret by alice's proof; bob's gate: %v", bob.State())
	}
}

// A packet that names its minute is not played when that is long past, though
// its stream is known: a server may hold back what somebody said.
func TestWithheldVoice(t *testing.T) {
	r, alice, bob := pair(t)
	r.wantHeard(bob, r.sayKeyed(alice), "keyed")
	p := r.sayKeyed(alice)
	r.run(7 * time.Minute)
	r.wantError(bob, p, e2ee.ErrClock)
}
