package endpoint_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/carrier"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// person is somebody on the relay. Without an endpoint it has no Sotto.
type person struct {
	*endpoint.Endpoint
	r       *relay
	name    string
	session uint32
	targets map[uint32]*mumblepb.VoiceTarget
	sealed  []byte
	opened  []byte

	got    []voice.Packet // as the server delivered it, newest last
	shown  []proto.Message
	sent   []proto.Message
	out    []endpoint.Output // all but Send and Voice
	clear  bool              // may send anything: policy off
	number uint64
}

func secretFor(t testing.TB, text string) *e2ee.Secret {
	t.Helper()
	s, err := e2ee.ParseSecret(text, testServer)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// with returns an endpoint that holds a secret.
func with(t testing.TB, secret string, named ...string) *endpoint.Endpoint {
	t.Helper()
	e, err := endpoint.New(e2ee.Config{Policy: e2ee.PolicyRequire, Secret: secretFor(t, secret), Server: testServer, Named: named})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (p *person) deadline() time.Time {
	if p.Endpoint == nil {
		return time.Time{}
	}
	return p.Deadline()
}

// receive hands p a message of the server.
func (p *person) receive(m proto.Message) {
	p.r.t.Helper()
	if p.Endpoint == nil {
		p.shown = append(p.shown, m)
		return
	}
	fate, _, err := p.FromServer(p.r.now, m)
	if err != nil {
		p.r.t.Fatalf("%s: %T: %v", p.name, m, err)
	}
	if fate == endpoint.Pass {
		p.shown = append(p.shown, m)
	}
}

// say speaks one packet to a target and returns who the server gave it to.
func (p *person) say(target uint8, data []byte, change ...func(*voice.Packet)) ([]uint32, error) {
	p.r.t.Helper()
	in := voice.Packet{Codec: voice.Opus, Target: target, FrameNumber: p.number, Data: data}
	for _, f := range change {
		f(&in)
	}
	p.number += 2
	var out voice.Packet
	if err := p.Protect(p.sealed[:0], p.r.now, &in, &out); err != nil {
		return nil, err
	}
	return p.r.voice(p, &out), nil
}

// hear opens the newest packet that arrived.
func (p *person) hear() (voice.Packet, error) {
	p.r.t.Helper()
	if len(p.got) == 0 {
		return voice.Packet{}, errors.New("nothing arrived")
	}
	in := p.got[len(p.got)-1]
	p.got = nil
	var out voice.Packet
	err := p.Unprotect(p.opened[:0], p.r.now, &in, &out)
	p.r.carry()
	return out, err
}

// mustHear says something and demands that everybody named opens exactly that.
func (p *person) mustHear(target uint8, hearers ...*person) {
	p.r.t.Helper()
	data := packet(20, byte(p.number))
	if _, err := p.say(target, data); err != nil {
		p.r.t.Fatalf("%s cannot speak: %v", p.name, err)
	}
	for _, h := range hearers {
		got, err := h.hear()
		if err != nil || !bytes.Equal(got.Data, data) || got.Session != p.session {
			p.r.t.Errorf("%s hears %s as % x, %v", h.name, p.name, got.Data, err)
		}
	}
}

// outputs returns what came out of p of one type, and forgets it all.
func outputs[T endpoint.Output](p *person) []T {
	var list []T
	for _, o := range p.out {
		if o, ok := o.(T); ok {
			list = append(list, o)
		}
	}
	p.out = nil
	return list
}

func (r *relay) wantLeave(p *person, want e2ee.Leave) {
	r.t.Helper()
	if got := p.Leave(); got != want {
		r.t.Fatalf("%s: %v leaves in %v, want %v", p.name, got, p.State(), want)
	}
}

// pair returns two people who talk.
func pair(t testing.TB, echo regime) (r *relay, alice, bob *person) {
	t.Helper()
	r = newRelay(t, echo)
	secret := e2ee.NewSecret()
	alice = r.join("alice", 0, with(t, secret))
	bob = r.join("bob", 0, with(t, secret))
	r.settle()
	r.wantLeave(alice, e2ee.LeaveCiphertext)
	r.wantLeave(bob, e2ee.LeaveCiphertext)
	return r, alice, bob
}

// settle gives people the time to find each other, and opens what announced them.
func (r *relay) settle() {
	r.t.Helper()
	for range 100 {
		r.run(100 * time.Millisecond)
		for _, p := range r.people {
			for _, in := range p.got {
				if p.Endpoint != nil {
					var out voice.Packet
					p.Unprotect(p.opened[:0], r.now, &in, &out)
				}
			}
			p.got = nil
		}
		r.carry()
	}
}

// packet is an Opus packet of so many milliseconds whose frames hold fill.
func packet(ms int, fill byte) []byte {
	frame := bytes.Repeat([]byte{fill}, 40)
	switch ms {
	case 10:
		return append([]byte{0xF0}, frame...)
	case 20:
		return append([]byte{0xF8}, frame...)
	case 40:
		return slices.Concat([]byte{0xF9}, frame, frame)
	case 60:
		return slices.Concat([]byte{0xFB, 3}, frame, frame, frame)
	}
	panic(fmt.Sprint("no packet of ", ms))
}

// isText reports whether m is one of the carrier's texts.
func isText(m proto.Message) bool {
	t, ok := m.(*mumblepb.TextMessage)
	return ok && carrier.IsText(t.GetMessage())
}
