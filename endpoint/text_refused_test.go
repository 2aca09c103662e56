package endpoint_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

func TestTextRefused(t *testing.T) {
	alone := func(t *testing.T) *person {
		r := newRelay(t, echoes)
		p := r.join("alice", 0, with(t, e2ee.NewSecret()))
		r.settle()
		return p
	}
	held := func(t *testing.T) *person {
		p := alone(t)
		p.r.join("eve", 0, nil)
		p.r.run(5 * time.Second)
		return p
	}
	for _, c := range []struct {
		name   string
		author func(*testing.T) *person
		text   *mumblepb.TextMessage
		want   string
	}{
		{"alone", alone, toChannel(0), "nobody else is here"},
		{"held", held, toChannel(0), "nobody here has shown the secret"},
		{"asked", func(t *testing.T) *person {
			p := held(t)
			p.r.run(20 * time.Second)
			return p
		}, toChannel(0), "a question is open"},
		{"finding", func(t *testing.T) *person {
			r := newRelay(t, silent)
			r.join("eve", 0, nil)
			return r.join("alice", 0, with(t, e2ee.NewSecret()))
		}, toChannel(0), "the keys are not ready"},
		{"nobody there", held, toPeople(4711), "nobody is there"},
		{"to oneself", held, toPeople(1), "nobody is there"},
		{"an empty channel", held, toChannel(77), "nobody is there"},
		{"too long", held, &mumblepb.TextMessage{ChannelId: []uint32{0}, Message: proto.String(strings.Repeat("x", 1<<20))}, "can be encrypted on this server"},
		{"no UTF-8", func(t *testing.T) *person { _, alice, _ := pair(t, echoes); return alice },
			&mumblepb.TextMessage{ChannelId: []uint32{0}, Message: proto.String("\xff")}, "malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := c.author(t)
			sent := len(p.sent)
			err := p.SendText(p.r.now, c.text)
			p.r.carry()
			var text *endpoint.TextError
			if !errors.As(err, &text) || !strings.Contains(text.Reason, c.want) || !strings.HasPrefix(text.Reason, "your message was not sent: ") {
				t.Errorf("error %v", err)
			}
			if len(p.sent) != sent {
				t.Errorf("something was sent: %v", p.sent[sent:])
			}
		})
	}
}

// The longest text goes, one byte more is refused with the figure.
func TestTextLength(t *testing.T) {
	for name, echo := range map[string]regime{"echo": echoes, "silent": silent} {
		t.Run(name, func(t *testing.T) {
			r, alice, bob := pair(t, echo)
			most := alice.MaxText()
			if most < 500 {
				t.Fatalf("at most %d bytes", most)
			}
			text := func(n int) *mumblepb.TextMessage {
				return &mumblepb.TextMessage{ChannelId: []uint32{0}, Message: proto.String(strings.Repeat("x", n))}
			}
			if err := alice.SendText(r.now, text(most)); err != nil {
				t.Fatal(err)
			}
			r.carry()
			r.settle()
			if got := texts(bob); len(got) != 1 || len(got[0].Text.HTML) != most {
				t.Errorf("bob got %d texts", len(got))
			}
			if err := alice.SendText(r.now, text(most+1)); err == nil {
				t.Error("one byte more goes too")
			}
		})
	}
}

// A private text to somebody who has not shown the secret waits until he is
// asked, and is given up with a reason if he does not answer.
func TestPrivateTextAsksFirst(t *testing.T) {
	r := newRelay(t, echoes)
	r.channel(1, 0, "Lobby")
	secret := e2ee.NewSecret()
	alice := r.join("alice", 0, with(t, secret))
	bob := r.join("bob", 1, with(t, secret))
	eve := r.join("eve", 1, nil)
	r.settle()
	if slices.Contains(alice.Holders(), bob.session) {
		t.Fatal("alice knows of bob already, which leaves nothing to test")
	}
	if err := alice.SendText(r.now, toPeople(bob.session)); err != nil {
		t.Fatal(err)
	}
	r.carry()
	r.run(3 * time.Second)
	if got := texts(bob); len(got) != 1 || got[0].Text.HTML != words {
		t.Errorf("bob got %+v", got)
	}
	if f := alice.failures(); len(f) != 0 {
		t.Errorf("alice is told %q", f)
	}

	if err := alice.SendText(r.now, toPeople(bob.session, eve.session)); err != nil {
		t.Fatal(err)
	}
	r.carry()
	r.run(1900 * time.Millisecond)
	if f := alice.failures(); len(f) != 0 {
		t.Errorf("given up too soon: %q", f)
	}
	r.run(200 * time.Millisecond)
	if f := alice.failures(); len(f) != 1 || !strings.Contains(f[0], "“eve” has not shown the secret") {
		t.Errorf("alice is told %q", f)
	}
	if got := texts(bob); len(got) != 0 {
		t.Errorf("bob got %+v", got)
	}

	// Many waiting texts are bounded.
	for n := 0; ; n++ {
		if err := alice.SendText(r.now, toPeople(eve.session)); err != nil {
			if n < 8 || !strings.Contains(err.Error(), "too many") {
				t.Errorf("after %d: %v", n, err)
			}
			break
		}
		if n > 100 {
			t.Fatal("no bound")
		}
	}
	r.run(3 * time.Second)
	if f := alice.failures(); len(f) == 0 {
		t.Error("the waiting texts ended without a word")
	}
}
