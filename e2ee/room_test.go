package e2ee_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
)

// limit is what a voice body may have in the tests.
const limit = 900

// room is a server as the engines see it, in virtual time: it tells each who is
// where, and carries objects and announcements at once.
type room struct {
	t      testing.TB
	now    time.Time
	echo   bool
	people []*person
	last   uint32
	// drop, if set, loses an object or announcement.
	drop func(from, to *person, what any) bool
}

// person is somebody on it; those without an engine have no Sotto.
type person struct {
	*e2ee.Engine
	name    string
	session uint32
	channel uint32
	number  uint64
	out     []e2ee.Output // what the engine said, without what the room carried
	sent    []any         // what it sent: SendObject, SendVoice
}

func newRoom(t testing.TB, echo bool) *room {
	seed(t)
	return &room{t: t, now: time.Unix(1_800_000_000, 0), echo: echo}
}

// engine returns an engine for the secret.
func engine(t testing.TB, secret string, policy e2ee.Policy, named ...string) *e2ee.Engine {
	t.Helper()
	e, err := e2ee.New(e2ee.Config{Policy: policy, Secret: parse(t, secret), Server: testServer, Named: named})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// join brings a person in; e may be nil.
func (r *room) join(name string, channel uint32, e *e2ee.Engine) *person {
	r.t.Helper()
	p := &person{Engine: e, name: name}
	r.connect(p, channel)
	return p
}

// connect gives p a new session, as after a reconnect.
func (r *room) connect(p *person, channel uint32) {
	r.last++
	p.session, p.channel = r.last, channel
	r.people = append(r.people, p)
	if p.Engine != nil {
		p.Handle(r.now, e2ee.Connected{Session: p.session})
	}
	r.tell(nil)
	if p.Engine != nil {
		p.Handle(r.now, e2ee.Regime{Known: true, Echo: r.echo})
	}
	r.carry()
}

// leave takes p away.
func (r *room) leave(p *person) {
	r.people = slices.DeleteFunc(r.people, func(q *person) bool { return q == p })
	if p.Engine != nil {
		p.Handle(r.now, e2ee.Disconnected{})
	}
	r.tell(nil)
	r.carry()
}

// move brings p to a channel, by itself or by the server.
func (r *room) move(p *person, channel uint32, own bool) {
	if own && p.Engine != nil {
		p.Handle(r.now, e2ee.LocalMove{Channel: channel})
		if p.Leave() != e2ee.LeaveNothing {
			r.t.Errorf("%s asked to move and %v leaves", p.name, p.Leave())
		}
	}
	p.channel = channel
	var mover *person
	if own {
		mover = p
	}
	r.tell(mover)
	r.carry()
}

// tell gives everybody the world; own is who brought the change about.
func (r *room) tell(own *person) {
	for _, p := range r.people {
		if p.Engine == nil {
			continue
		}
		w := e2ee.World{Channel: p.channel, Own: p == own}
		for _, q := range r.people {
			if q != p {
				w.Peers = append(w.Peers, e2ee.Peer{Session: q.session, Channel: q.channel, Name: q.name, Hears: q.channel == p.channel})
			}
		}
		p.Handle(r.now, w)
	}
}

// carry delivers what engines send until they are quiet.
func (r *room) carry() {
	r.t.Helper()
	for busy, rounds := true, 0; busy; rounds++ {
		if rounds > 100 {
			r.t.Fatal("the engines talk for ever")
		}
		busy = false
		for _, p := range r.people {
			if p.Engine == nil {
				continue
			}
			for out, ok := p.Next(); ok; out, ok = p.Next() {
				busy = true
				r.deliver(p, out)
			}
		}
	}
}

func (r *room) deliver(from *person, out e2ee.Output) {
	switch out := out.(type) {
	case e2ee.SendObject:
		from.sent = append(from.sent, out)
		if !slices.IsSorted(out.To) || len(out.To) == 0 || slices.Contains(out.To, from.session) {
			r.t.Errorf("%s sends an object to %v", from.name, out.To)
		}
		for _, to := range r.people {
			if to.Engine != nil && slices.Contains(out.To, to.session) && (r.drop == nil || !r.drop(from, to, out)) {
				to.Handle(r.now, e2ee.Received{From: from.session, Object: out.Object})
			}
		}
	case e2ee.SendVoice:
		from.sent = append(from.sent, out)
		for _, to := range r.people {
			if to.Engine != nil && to != from && to.channel == from.channel && (r.drop == nil || !r.drop(from, to, out)) {
				f := e2ee.Frame{FrameNumber: out.FrameNumber}
				if err := to.OpenVoice(nil, r.now, from.session, out.Body[0], out.Body[1:], &f); err == nil && len(f.Opus) != 0 {
					r.t.Errorf("an announcement of %s sounds", from.name)
				}
			}
		}
	default:
		from.out = append(from.out, out)
	}
}

// run lets d pass, waking each engine when it asked to be.
func (r *room) run(d time.Duration) {
	r.t.Helper()
	r.carry()
	end := r.now.Add(d)
	for range 1_000_000 {
		next := end
		for _, p := range r.people {
			if p.Engine == nil {
				continue
			}
			if at := p.Deadline(); !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		if next.Before(r.now) {
			next = r.now // the test moved the clock by hand
		}
		stuck := next.Equal(r.now) && next.Before(end)
		r.now = next
		for _, p := range r.people {
			if p.Engine == nil {
				continue
			}
			if at := p.Deadline(); !at.IsZero() && !at.After(r.now) {
				p.Handle(r.now, nil)
				if again := p.Deadline(); stuck && !again.IsZero() && !again.After(r.now) {
					r.t.Fatalf("%s has a deadline that Handle does not move", p.name)
				}
			}
		}
		r.carry()
		if !r.now.Before(end) {
			return
		}
	}
	r.t.Fatal("the engines want to be woken without end")
}

// packet is a sealed voice packet.
type packet struct {
	from   uint32
	number uint64
	end    bool
	vk     byte
	rest   []byte
}

// speak seals one frame of 20 ms.
func (r *room) speak(p *person, opus string, end bool) (packet, error) {
	p.number += 2
	return r.seal(p, &e2ee.Frame{FrameNumber: p.number, Opus: []byte(opus), Terminator: end})
}

func (r *room) seal(p *person, f *e2ee.Frame) (packet, error) {
	body, err := p.SealVoice(nil, r.now, limit, f)
	if err != nil {
		if len(body) != 0 {
			r.t.Errorf("SealVoice says %v and gives %d bytes", err, len(body))
		}
		return packet{}, err
	}
	if len(body) > limit {
		r.t.Errorf("SealVoice gives %d bytes, limit %d", len(body), limit)
	}
	return packet{from: p.session, number: f.FrameNumber, end: f.Terminator, vk: body[0], rest: body[1:]}, nil
}

// say seals and fails the test if that fails.
func (r *room) say(p *person, opus string) packet {
	r.t.Helper()
	pkt, err := r.speak(p, opus, false)
	if err != nil {
		r.t.Fatalf("%s in %v cannot speak: %v", p.name, p.State(), err)
	}
	return pkt
}

// hear opens a packet at p.
func (r *room) hear(p *person, pkt packet) (string, error) {
	f := e2ee.Frame{FrameNumber: pkt.number, Terminator: pkt.end, Opus: []byte("old"), HasPosition: true}
	err := p.OpenVoice(nil, r.now, pkt.from, pkt.vk, pkt.rest, &f)
	if err != nil && (f.Opus != nil || f.HasPosition) {
		r.t.Errorf("OpenVoice says %v and leaves %q, %v", err, f.Opus, f.HasPosition)
	}
	return string(f.Opus), err
}

func (r *room) wantHeard(p *person, pkt packet, want string) {
	r.t.Helper()
	if got, err := r.hear(p, pkt); err != nil || got != want {
		r.t.Errorf("%s hears %q, %v, want %q", p.name, got, err, want)
	}
}

func (r *room) wantError(p *person, pkt packet, want error) {
	r.t.Helper()
	if got, err := r.hear(p, pkt); !errors.Is(err, want) {
		r.t.Errorf("%s hears %q, %v, want %v", p.name, got, err, want)
	}
}

func (r *room) wantState(p *person, want e2ee.State) {
	r.t.Helper()
	if p.State() != want {
		r.t.Errorf("%s is in %v, want %v; said %v", p.name, p.State(), want, p.said())
	}
}

// said returns the outputs that are for people, as text.
func (p *person) said() (out []string) {
	for _, o := range p.out {
		out = append(out, fmt.Sprintf("%T%v", o, o))
	}
	return out
}

// count returns how many outputs of type T p's engine made, and the last.
func count[T e2ee.Output](p *person) (n int, last T) {
	for _, o := range p.out {
		if o, ok := o.(T); ok {
			n++
			last = o
		}
	}
	return n, last
}

func notices(p *person, code string) (n int) {
	for _, o := range p.out {
		if o, ok := o.(e2ee.Notice); ok && o.Code == code {
			n++
		}
	}
	return n
}

// sends counts what p sent of a kind: envelope.KindSecretReady objects, or
// announcements in voice.
func (p *person) sends(voice bool) (n int) {
	for _, s := range p.sent {
		switch s := s.(type) {
		case e2ee.SendVoice:
			if voice && s.Body[0] == envelope.VoiceTypedKey {
				n++
			}
		case e2ee.SendObject:
			if !voice && s.Object.Kind == envelope.KindSecretReady {
				n++
			}
		}
	}
	return n
}
