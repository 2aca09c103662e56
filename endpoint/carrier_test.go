package endpoint_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

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
