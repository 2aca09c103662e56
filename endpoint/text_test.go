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
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

const words = "meet me at the <b>old</b> mill"

func toChannel(ids ...uint32) *mumblepb.TextMessage {
	return &mumblepb.TextMessage{ChannelId: ids, Message: proto.String(words)}
}

func toTree(ids ...uint32) *mumblepb.TextMessage {
	return &mumblepb.TextMessage{TreeId: ids, Message: proto.String(words)}
}

func toPeople(ids ...uint32) *mumblepb.TextMessage {
	return &mumblepb.TextMessage{Session: ids, Message: proto.String(words)}
}

// texts returns what p was shown since last asked, and fails on a failed text.
func texts(p *person) []endpoint.TextIn {
	p.r.t.Helper()
	if failed := p.failures(); len(failed) > 0 {
		p.r.t.Errorf("%s: %q", p.name, failed)
	}
	return outputs[endpoint.TextIn](p)
}

// failures returns why texts of p were not delivered, and leaves the rest.
func (p *person) failures() []string {
	var reasons []string
	p.out = slices.DeleteFunc(p.out, func(o endpoint.Output) bool {
		f, ok := o.(endpoint.TextFailed)
		if ok {
			reasons = append(reasons, f.Reason)
		}
		return ok
	})
	return reasons
}

// Texts of each kind arrive whole, once, with their scope, at those they are for
// and at nobody else; the server sees none of it.
func TestTexts(t *testing.T) {
	for _, c := range []struct {
		name    string
		text    func(*building) *mumblepb.TextMessage
		want    func(*building) []*person
		scope   uint8
		channel uint32
	}{
		{"to the own channel", func(*building) *mumblepb.TextMessage { return toChannel(0) },
			func(b *building) []*person { return []*person{b.person("zoe")} }, e2ee.ScopeChannel, 0},
		{"to one person", func(b *building) *mumblepb.TextMessage { return toPeople(b.bob.session) },
			func(b *building) []*person { return []*person{b.bob} }, e2ee.ScopePrivate, e2ee.NoChannel},
		{"to several", func(b *building) *mumblepb.TextMessage {
			return toPeople(b.bob.session, b.carol.session, b.bob.session, b.alice.session)
		}, func(b *building) []*person { return []*person{b.bob, b.carol} }, e2ee.ScopePrivate, e2ee.NoChannel},
		{"to another channel", func(*building) *mumblepb.TextMessage { return toChannel(1) },
			func(b *building) []*person { return []*person{b.bob} }, e2ee.ScopeChannel, 1},
		{"to a tree", func(*building) *mumblepb.TextMessage { return toTree(1) },
			func(b *building) []*person { return []*person{b.bob, b.carol} }, e2ee.ScopeTree, 1},
		{"to a person and a channel", func(b *building) *mumblepb.TextMessage {
			return &mumblepb.TextMessage{Session: []uint32{b.bob.session}, ChannelId: []uint32{3}, Message: proto.String(words)}
		}, func(b *building) []*person { return []*person{b.bob, b.dave} }, e2ee.ScopeChannel, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBuilding(t)
			b.forbidden = append(b.forbidden, []byte("old"), []byte("mill"))
			if err := b.alice.SendText(b.now, c.text(b)); err != nil {
				t.Fatal(err)
			}
			b.carry()
			b.settle()
			want := c.want(b)
			for _, p := range b.people {
				if p.Endpoint == nil {
					continue
				}
				got := texts(p)
				if !slices.Contains(want, p) {
					if len(got) != 0 {
						t.Errorf("%s got %+v", p.name, got)
					}
					continue
				}
				if len(got) != 1 || got[0].Text.HTML != words || got[0].From != b.alice.session {
					t.Errorf("%s got %+v", p.name, got)
					continue
				}
				if got[0].Text.Scope != c.scope || got[0].Text.Channel != c.channel {
					t.Errorf("%s: scope %d, channel %d", p.name, got[0].Text.Scope, got[0].Text.Channel)
				}
			}
			for _, m := range b.eve_.shown {
				if isText(m) {
					t.Error("eve was sent an envelope")
				}
			}
		})
	}
}

func (r *relay) person(name string) *person {
	for _, p := range r.people {
		if p.name == name {
			return p
		}
	}
	r.t.Fatalf("no %s", name)
	return nil
}

// Where servers echo nothing, texts ride in private texts, with the same result.
func TestTextsWithoutEcho(t *testing.T) {
	r, alice, bob := pair(t, silent)
	eve := r.join("eve", 0, nil)
	r.forbidden = append(r.forbidden, []byte("old"), []byte("mill"))
	for _, m := range []*mumblepb.TextMessage{toChannel(0), toPeople(bob.session)} {
		if err := alice.SendText(r.now, m); err != nil {
			t.Fatal(err)
		}
		r.carry()
		r.settle()
		if got := texts(bob); len(got) != 1 || got[0].Text.HTML != words {
			t.Errorf("bob got %+v", got)
		}
	}
	for _, m := range eve.shown {
		if isText(m) {
			t.Error("eve was sent an envelope")
		}
	}
	for _, m := range bob.shown {
		if isText(m) {
			t.Error("bob's client is shown an envelope")
		}
	}
}

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

// Texts whose author the server swapped, which came twice, or were changed, show nothing.
func TestHostileTexts(t *testing.T) {
	r, alice, bob := pair(t, echoes)
	eve := r.join("eve", 0, nil)
	if err := alice.SendText(r.now, toChannel(0)); err != nil {
		t.Fatal(err)
	}
	r.carry()
	var seen *mumblepb.PluginDataTransmission
	for _, m := range alice.sent {
		if p, ok := m.(*mumblepb.PluginDataTransmission); ok {
			if f, err := envelope.ParseFragment(p.GetData()); err == nil && f.Kind == envelope.KindSecretText {
				seen = p
			}
		}
	}
	if seen == nil || len(texts(bob)) != 1 {
		t.Fatal("no text to play with")
	}
	for name, change := range map[string]func(*mumblepb.PluginDataTransmission){
		"once more":              func(*mumblepb.PluginDataTransmission) {},
		"from somebody else":     func(p *mumblepb.PluginDataTransmission) { p.SenderSession = proto.Uint32(eve.session) },
		"from nobody":            func(p *mumblepb.PluginDataTransmission) { p.SenderSession = nil },
		"changed":                func(p *mumblepb.PluginDataTransmission) { p.Data[len(p.Data)-1] ^= 1 },
		"cut":                    func(p *mumblepb.PluginDataTransmission) { p.Data = p.Data[:40] },
		"empty":                  func(p *mumblepb.PluginDataTransmission) { p.Data = nil },
		"from the reader itself": func(p *mumblepb.PluginDataTransmission) { p.SenderSession = proto.Uint32(bob.session) },
	} {
		m := proto.CloneOf(seen)
		m.SenderSession = proto.Uint32(alice.session)
		change(m)
		bob.receive(m)
		if got := texts(bob); len(got) != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for _, m := range bob.shown {
		if _, ok := m.(*mumblepb.PluginDataTransmission); ok {
			t.Error("Sotto's plugin data reaches the client")
		}
	}
}

// Plugin data and texts of others are the client's.
func TestForeignMessagesPass(t *testing.T) {
	_, _, bob := pair(t, echoes)
	bob.shown = nil
	foreign := []proto.Message{
		&mumblepb.PluginDataTransmission{SenderSession: proto.Uint32(1), Data: []byte("x"), DataID: proto.String("game")},
		&mumblepb.TextMessage{Actor: proto.Uint32(1), Message: proto.String("I read about sotto:1 today")},
		&mumblepb.Ping{},
	}
	for _, m := range foreign {
		bob.receive(m)
	}
	if len(bob.shown) != len(foreign) {
		t.Errorf("%d of %d came through", len(bob.shown), len(foreign))
	}
	bob.receive(&mumblepb.TextMessage{Actor: proto.Uint32(1), Message: proto.String("sotto:1,0B,0,1,broken")})
	if len(bob.shown) != len(foreign) {
		t.Error("a broken envelope is shown")
	}
}

// When a server takes messages and passes nothing on, the person learns it in
// words, whatever the reason.
func TestCarrierFails(t *testing.T) {
	r, alice, bob := pair(t, echoes)
	r.lose = func(from, to *person, m proto.Message) bool { return true }
	if err := alice.SendText(r.now, toChannel(0)); err != nil {
		t.Fatal(err)
	}
	r.carry()
	r.run(time.Minute)
	if f := alice.failures(); len(f) != 1 || f[0] != "your message to “bob” did not get through: the server does not pass it on" {
		t.Errorf("alice is told %q", f)
	}
	if got := texts(bob); len(got) != 0 {
		t.Errorf("bob got %v", got)
	}

	// More than the carrier keeps.
	var reasons []string
	for range 500 {
		if err := alice.SendText(r.now, toChannel(0)); err != nil {
			reasons = append(reasons, err.Error())
		}
		r.carry()
	}
	reasons = append(reasons, alice.failures()...)
	if !slices.ContainsFunc(reasons, func(s string) bool { return strings.Contains(s, "too much is waiting to be sent") }) {
		t.Errorf("alice is told %d things: %.3q", len(reasons), reasons)
	}
}

// A denial that answers the handshake says nothing to the person; one that
// answers a person's own text, or something else, does.
func TestDenials(t *testing.T) {
	denied := func(kind mumblepb.PermissionDenied_DenyType, permission uint32) *mumblepb.PermissionDenied {
		return &mumblepb.PermissionDenied{Type: &kind, Permission: proto.Uint32(permission)}
	}
	tooLong := denied(mumblepb.PermissionDenied_TextTooLong, 0)
	mayNot := denied(mumblepb.PermissionDenied_Permission, 0x200)
	for _, c := range []struct {
		name string
		what *mumblepb.PermissionDenied
		own  bool // after a text of the person
		late time.Duration
		want int // shown
	}{
		{"too long, after a handshake text", tooLong, false, 0, 0},
		{"may not text, after a handshake text", mayNot, false, 0, 0},
		{"may not speak, after a handshake text", denied(mumblepb.PermissionDenied_Permission, 0x8), false, 0, 1},
		{"a channel name, after a handshake text", denied(mumblepb.PermissionDenied_ChannelName, 0), false, 0, 1},
		{"too long, after the person's text", tooLong, true, 0, 1},
		{"may not text, after the person's text", mayNot, true, 0, 1},
		{"too long, long after", tooLong, false, 6 * time.Second, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRelay(t, silent)
			secret := e2ee.NewSecret()
			alice := r.join("alice", 0, with(t, secret))
			denials := 0
			r.denies = func(from *person, m proto.Message) *mumblepb.PermissionDenied {
				text, ok := m.(*mumblepb.TextMessage)
				if !ok || from != alice || c.late > 0 {
					return nil
				}
				p, err := envelope.ParseText(text.GetMessage())
				if err != nil || (p.Kind == envelope.KindSecretText) != c.own {
					return nil
				}
				denials++
				return proto.CloneOf(c.what)
			}
			bob := r.join("bob", 0, with(t, secret))
			r.settle()
			if c.own {
				if err := alice.SendText(r.now, toPeople(bob.session)); err != nil {
					t.Fatal(err)
				}
				r.carry()
			}
			if c.late > 0 {
				r.run(c.late)
				alice.receive(proto.CloneOf(c.what))
				denials++
			}
			if denials == 0 {
				t.Fatal("nothing was denied")
			}
			shown := 0
			for _, m := range alice.shown {
				if _, ok := m.(*mumblepb.PermissionDenied); ok {
					shown++
				}
			}
			if shown != c.want*denials {
				t.Errorf("%d of %d shown", shown, denials)
			}
		})
	}
}
