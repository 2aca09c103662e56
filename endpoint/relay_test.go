package endpoint_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mumble/mirror"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

var testServer = [32]byte{1, 2, 3}

// regime is how much the relay does with messages to oneself.
type regime bool

const (
	echoes regime = true  // Murmur 1.4 and later
	silent regime = false // Murmur before 1.4: no plugin messages at all
)

// relay imitates a Mumble server in virtual time: it gives out sessions, tells
// everybody who is where, and routes plugin messages, private texts and voice as
// Murmur does. Nothing takes time but what run lets pass.
//
// It also is the eavesdropper: whatever reaches it from a person with a secret
// must be an envelope, and none of the words in forbidden may be in it.
type relay struct {
	groupShouts bool // whether a shout to a group of the server's may reach it
	t           testing.TB
	now         time.Time
	echo        regime
	world       mirror.Mirror
	channels    []*mumblepb.ChannelState
	people      []*person
	last        uint32
	forbidden   [][]byte

	lose   func(from, to *person, m proto.Message) bool // a message that gets lost
	denies func(from *person, m proto.Message) *mumblepb.PermissionDenied

	voices int // packets seen
}

func newRelay(t testing.TB, echo regime) *relay {
	t.Helper()
	seed(t)
	r := &relay{t: t, now: time.Unix(1_800_000_000, 0), echo: echo}
	r.channel(0, 0, "Root")
	return r
}

// channel makes a channel, or changes one.
func (r *relay) channel(id, parent uint32, name string, links ...uint32) {
	r.t.Helper()
	m := &mumblepb.ChannelState{
		ChannelId: proto.Uint32(id), Parent: proto.Uint32(parent), Name: proto.String(name), LinksAdd: links,
	}
	r.channels = append(r.channels, m)
	r.broadcast(m)
}

// broadcast tells everybody, and the server itself.
func (r *relay) broadcast(m proto.Message) {
	r.t.Helper()
	if _, err := r.world.Apply(m); err != nil {
		r.t.Fatal(err)
	}
	for _, p := range r.people {
		p.receive(m)
	}
	r.carry()
}

// join brings somebody in; e may be nil.
func (r *relay) join(name string, channel uint32, e *endpoint.Endpoint) *person {
	r.t.Helper()
	r.last++
	p := &person{
		Endpoint: e, r: r, name: name, session: r.last, targets: map[uint32]*mumblepb.VoiceTarget{},
		sealed: make([]byte, 0, 2048), opened: make([]byte, 0, 2048),
	}
	state := &mumblepb.UserState{Session: proto.Uint32(p.session), Name: proto.String(name), ChannelId: proto.Uint32(channel)}
	if _, err := r.world.Apply(state); err != nil {
		r.t.Fatal(err)
	}
	if e != nil {
		for _, c := range r.channels {
			p.receive(c)
		}
		for _, u := range r.world.Users() {
			p.receive(&mumblepb.UserState{
				Session: proto.Uint32(u.Session), Name: proto.String(u.Name), ChannelId: proto.Uint32(u.Channel),
				ListeningChannelAdd: u.Listens,
			})
		}
		p.receive(&mumblepb.ServerSync{Session: proto.Uint32(p.session)})
		p.receive(&mumblepb.ServerConfig{
			AllowHtml: proto.Bool(true), MessageLength: proto.Uint32(5000), ImageMessageLength: proto.Uint32(131072),
		})
	}
	for _, other := range r.people {
		other.receive(state)
	}
	r.people = append(r.people, p)
	r.carry()
	return p
}

func (r *relay) leave(p *person) {
	r.t.Helper()
	r.people = slices.DeleteFunc(r.people, func(q *person) bool { return q == p })
	r.broadcast(&mumblepb.UserRemove{Session: proto.Uint32(p.session)})
}

// move puts p somewhere by the server's own will.
func (r *relay) move(p *person, channel uint32) {
	r.t.Helper()
	r.broadcast(&mumblepb.UserState{Session: proto.Uint32(p.session), ChannelId: proto.Uint32(channel)})
}

func (r *relay) listen(p *person, channel uint32) {
	r.t.Helper()
	r.broadcast(&mumblepb.UserState{Session: proto.Uint32(p.session), ListeningChannelAdd: []uint32{channel}})
}

// run lets time pass, waking everybody when they asked for it.
func (r *relay) run(d time.Duration) {
	r.t.Helper()
	end := r.now.Add(d)
	for {
		next := end
		for _, p := range r.people {
			if p.Endpoint == nil {
				continue
			}
			if at := p.Deadline(); !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		if next.After(r.now) {
			r.now = next
		}
		for _, p := range r.people {
			if at := p.deadline(); !at.IsZero() && !at.After(r.now) {
				p.Tick(r.now)
				if later := p.Deadline(); later.Equal(at) {
					r.t.Fatalf("%s wants to be woken at %v again and again", p.name, at)
				}
			}
		}
		r.carry()
		if !r.now.Before(end) && next.Equal(end) {
			return
		}
	}
}

// carry moves what the endpoints want sent until all are quiet.
func (r *relay) carry() {
	r.t.Helper()
	for range 1000 {
		busy := false
		for _, p := range slices.Clone(r.people) {
			if p.Endpoint == nil {
				continue
			}
			for o, ok := p.Next(); ok; o, ok = p.Next() {
				busy = true
				switch o := o.(type) {
				case endpoint.Send:
					r.send(p, o.Message)
				case endpoint.Voice:
					r.voice(p, &o.Packet)
				default:
					p.out = append(p.out, o)
				}
			}
		}
		if !busy {
			return
		}
	}
	r.t.Fatal("the endpoints talk for ever")
}

// send takes a control message from p.
func (r *relay) send(p *person, m proto.Message) {
	r.t.Helper()
	p.sent = append(p.sent, m)
	r.overhear(p, m)
	if r.denies != nil {
		if d := r.denies(p, m); d != nil {
			p.receive(d)
			return
		}
	}
	switch m := m.(type) {
	case *mumblepb.PluginDataTransmission:
		if !r.echo {
			return
		}
		m = proto.CloneOf(m)
		m.SenderSession = proto.Uint32(p.session)
		for _, s := range m.GetReceiverSessions() {
			r.deliver(p, s, m)
		}
	case *mumblepb.TextMessage:
		m = proto.CloneOf(m)
		m.Actor = proto.Uint32(p.session)
		to := slices.Clone(m.GetSession())
		to = append(to, r.world.Within(m.GetChannelId())...)
		for _, s := range to {
			if s != p.session {
				r.deliver(p, s, m)
			}
		}
	case *mumblepb.VoiceTarget:
		p.targets[m.GetId()] = m
		if len(m.GetTargets()) == 0 {
			delete(p.targets, m.GetId())
		}
	case *mumblepb.UserState:
		m = proto.CloneOf(m)
		m.Actor = proto.Uint32(p.session)
		r.broadcast(m)
	default:
		r.t.Errorf("%s sends a %T", p.name, m)
	}
}

func (r *relay) deliver(from *person, session uint32, m proto.Message) {
	for _, p := range r.people {
		if p.session == session && (r.lose == nil || !r.lose(from, p, m)) {
			p.receive(m)
		}
	}
}

// overhear looks at what p sent as the server sees it.
func (r *relay) overhear(p *person, m proto.Message) {
	r.t.Helper()
	if p.clear {
		return
	}
	raw, err := proto.Marshal(m)
	if err != nil {
		r.t.Fatal(err)
	}
	r.search(p, raw)
	switch m := m.(type) {
	case *mumblepb.PluginDataTransmission:
		if m.GetDataID() != envelope.DataID {
			r.t.Errorf("%s sends foreign plugin data %q", p.name, m.GetDataID())
		}
		if _, err := envelope.ParseFragment(m.GetData()); err != nil {
			r.t.Errorf("%s: %v", p.name, err)
		}
	case *mumblepb.TextMessage:
		if _, err := envelope.ParseText(m.GetMessage()); err != nil {
			r.t.Errorf("%s sends the text %q", p.name, m.GetMessage())
		}
		if len(m.GetChannelId())+len(m.GetTreeId()) > 0 {
			r.t.Errorf("%s sends an envelope to a whole channel", p.name)
		}
	case *mumblepb.VoiceTarget:
		for _, t := range m.GetTargets() {
			if t.GetGroup() != "" && r.groupShouts {
				continue
			}
			if t.ChannelId != nil || t.GetGroup() != "" || t.GetLinks() || t.GetChildren() {
				r.t.Errorf("%s lets the server expand a target: %v", p.name, t)
			}
		}
	case *mumblepb.UserState:
		if m.PluginContext != nil || m.PluginIdentity != nil {
			r.t.Errorf("%s tells its game to the server", p.name)
		}
	}
}

func (r *relay) search(p *person, raw []byte) {
	r.t.Helper()
	for _, word := range r.forbidden {
		if bytes.Contains(raw, word) {
			r.t.Errorf("what %s sent holds %q", p.name, word)
		}
	}
}

// voice takes a packet from p and fans it out.
func (r *relay) voice(p *person, out *voice.Packet) []uint32 {
	r.t.Helper()
	r.voices++
	if !p.clear {
		if _, _, _, ok := envelope.ParseVoice(out.Data); !ok {
			r.t.Errorf("%s sends ordinary Opus % x", p.name, out.Data)
		}
		if out.HasPosition {
			r.t.Errorf("%s sends its position outside the envelope", p.name)
		}
		r.search(p, out.Data)
	}
	me, _ := r.world.User(p.session)
	var to []uint32
	context := uint8(voice.ContextNormal)
	switch {
	case out.Target == 0:
		to = r.world.Within(r.world.Closure(me.Channel))
	case out.Target == voice.TargetLoopback:
		r.t.Errorf("%s sends to the loopback target", p.name)
	default:
		context = voice.ContextWhisper
		for _, t := range p.targets[uint32(out.Target)].GetTargets() {
			to = append(to, t.GetSession()...)
		}
	}
	to = slices.DeleteFunc(to, func(s uint32) bool { return s == p.session })
	for _, q := range r.people {
		if slices.Contains(to, q.session) {
			in := *out
			in.Session, in.Context, in.Target = p.session, context, 0
			in.Data = slices.Clone(out.Data)
			q.got = append(q.got, in)
		}
	}
	return to
}
