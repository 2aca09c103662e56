package endpoint_test

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
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
