package endpoint_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/carrier"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// probing is an endpoint that has just sent the server a private text of its own.
func probing(t *testing.T) (*endpoint.Endpoint, time.Time, *mumblepb.TextMessage) {
	t.Helper()
	end := with(t, e2ee.NewSecret())
	now := time.Unix(1_700_000_000, 0)
	for _, m := range []proto.Message{
		&mumblepb.ChannelState{ChannelId: proto.Uint32(0), Name: proto.String("Root")},
		&mumblepb.UserState{Session: proto.Uint32(1), Name: proto.String("alice")},
		&mumblepb.UserState{Session: proto.Uint32(2), Name: proto.String("bob")},
		&mumblepb.ServerSync{Session: proto.Uint32(1)},
	} {
		if _, _, err := end.FromServer(now, m); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		for o, ok := end.Next(); ok; o, ok = end.Next() {
			if s, ok := o.(endpoint.Send); ok {
				if text, ok := s.Message.(*mumblepb.TextMessage); ok {
					return end, now, text
				}
			}
		}
		now = now.Add(100 * time.Millisecond)
		end.Tick(now)
	}
	t.Fatal("no private text of the endpoint's own within ten seconds")
	return nil, now, nil
}

// TestDenialsMatch: a refusal is swallowed if the text that it answers was ours, by
// order and, where it is about the length, by length.
func TestDenialsMatch(t *testing.T) {
	denial := func(kind mumblepb.PermissionDenied_DenyType) *mumblepb.PermissionDenied {
		return &mumblepb.PermissionDenied{Type: &kind, Permission: proto.Uint32(0x200)}
	}
	tooLong, mayNot := denial(mumblepb.PermissionDenied_TextTooLong), denial(mumblepb.PermissionDenied_Permission)
	words := func(n int) *mumblepb.TextMessage {
		return &mumblepb.TextMessage{Message: proto.String(strings.Repeat("x", n))}
	}
	const swallow, pass = endpoint.Swallow, endpoint.Pass
	for _, c := range []struct {
		name    string
		passed  int // bytes of a text that the person sent behind ours; 0: none
		later   time.Duration
		denials []*mumblepb.PermissionDenied
		want    []endpoint.Fate
	}{
		{"ours alone", 0, 0, []*mumblepb.PermissionDenied{tooLong, tooLong}, []endpoint.Fate{swallow, pass}},
		{"ours first", 10, 0, []*mumblepb.PermissionDenied{mayNot, mayNot, mayNot}, []endpoint.Fate{swallow, pass, pass}},
		{"theirs is longer", 9000, 0, []*mumblepb.PermissionDenied{tooLong, tooLong}, []endpoint.Fate{pass, swallow}},
		{"ours is longer", 1, 0, []*mumblepb.PermissionDenied{tooLong, tooLong}, []endpoint.Fate{swallow, pass}},
		{"after six seconds", 0, 6 * time.Second, []*mumblepb.PermissionDenied{tooLong}, []endpoint.Fate{pass}},
	} {
		t.Run(c.name, func(t *testing.T) {
			end, now, _ := probing(t)
			if c.passed > 0 {
				end.Passed(now, words(c.passed))
			}
			now = now.Add(c.later)
			for i, d := range c.denials {
				if fate, _, err := end.FromServer(now, d); err != nil || fate != c.want[i] {
					t.Errorf("denial %d: fate %v, want %v (%v)", i, fate, c.want[i], err)
				}
			}
		})
	}
	// Nothing of an earlier connection is left.
	end, now, _ := probing(t)
	end.Disconnected(now)
	if fate, _, _ := end.FromServer(now, tooLong); fate != pass {
		t.Error("a refusal after the end of the connection is taken for one of ours")
	}
	// A person who writes without end is not remembered without end.
	end, now, _ = probing(t)
	for range 100 {
		end.Passed(now, words(1))
	}
	if fate, _, _ := end.FromServer(now, mayNot); fate != pass {
		t.Error("after a hundred texts of the person a refusal is taken for one of ours")
	}
}

// TestLimitsMerge: a later ServerConfig holds what an administrator has changed, and
// nothing else changes by it.
func TestLimitsMerge(t *testing.T) {
	end, now, _ := probing(t)
	for _, c := range []struct {
		config *mumblepb.ServerConfig
		want   carrier.Limits
	}{
		{&mumblepb.ServerConfig{AllowHtml: proto.Bool(false), MessageLength: proto.Uint32(300), ImageMessageLength: proto.Uint32(4000)}, carrier.Limits{MessageLength: 300, ImageMessageLength: 4000}},
		{&mumblepb.ServerConfig{MaxBandwidth: proto.Uint32(72000)}, carrier.Limits{MessageLength: 300, ImageMessageLength: 4000}},
		{&mumblepb.ServerConfig{MessageLength: proto.Uint32(0)}, carrier.Limits{MessageLength: 0, ImageMessageLength: 4000}},
		{&mumblepb.ServerConfig{AllowHtml: proto.Bool(true), ImageMessageLength: proto.Uint32(1)}, carrier.Limits{AllowHTML: true, ImageMessageLength: 1}},
	} {
		if _, _, err := end.FromServer(now, c.config); err != nil || end.Limits() != c.want {
			t.Errorf("after %v: %+v, want %+v (%v)", c.config, end.Limits(), c.want, err)
		}
	}
}

// TestDenialOfAGroupText: a text of the person that travels in a group looks to the
// server like the handshake. That it was refused is the person's business all the same.
func TestDenialOfAGroupText(t *testing.T) {
	r := newRelay(t, silent)
	alice, bob := r.join("alice", 0, grouped(t)), r.join("bob", 0, grouped(t))
	for range 12 {
		r.settle()
		if len(alice.Groups().Members()) == 2 && len(bob.Groups().Members()) == 2 {
			break
		}
	}
	r.wantLeave(alice, e2ee.LeaveCiphertext)
	denials := 0
	r.denies = func(from *person, m proto.Message) *mumblepb.PermissionDenied {
		if _, ok := m.(*mumblepb.TextMessage); !ok || from != alice {
			return nil
		}
		denials++
		kind := mumblepb.PermissionDenied_Permission
		return &mumblepb.PermissionDenied{Type: &kind, Permission: proto.Uint32(0x200)}
	}
	if err := alice.SendText(r.now, toChannel(0)); err != nil {
		t.Fatal(err)
	}
	r.carry()
	shown := 0
	for _, m := range alice.shown {
		if _, ok := m.(*mumblepb.PermissionDenied); ok {
			shown++
		}
	}
	if denials == 0 || shown != denials {
		t.Errorf("%d of %d refusals shown", shown, denials)
	}
}
