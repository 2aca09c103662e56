package simnet

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// Hook adds a script that sees every delivery from now on.
func (s *Server) Hook(h Hook) { s.hooks = append(s.hooks, h) }

// Recorded is a message that went through the server: a plugin message or text,
// or a voice packet.
type Recorded struct {
	At      time.Time
	From    uint32 // session at that time
	To      []uint32
	Message proto.Message
	Voice   *voice.Packet
}

// Kind is the kind of Sotto object, or part of one, that r carries; false for
// anything else, voice included.
func (r Recorded) Kind() (envelope.Kind, bool) { return kindOf(r.Message) }

const maxRecorded = 4096 // of each, the newest

// ring keeps the newest.
type ring struct {
	list []Recorded
	next int
}

func (r *ring) add(e Recorded) {
	if len(r.list) < maxRecorded {
		r.list = append(r.list, e)
		return
	}
	r.list[r.next] = e
	r.next = (r.next + 1) % maxRecorded
}

// all returns the entries, oldest first.
func (r *ring) all() []Recorded { return slices.Concat(r.list[r.next:], r.list[:r.next]) }

func (s *Server) record(r Recorded) {
	r.At = s.clock.Now()
	if r.Voice != nil {
		s.voices.add(r)
	} else {
		s.messages.add(r)
	}
}

// Recorded returns the newest 4096 plugin messages and texts that clients sent,
// oldest first, with their true senders.
func (s *Server) Recorded() []Recorded { return s.messages.all() }

// RecordedVoice returns the newest 4096 voice packets, oldest first.
func (s *Server) RecordedVoice() []Recorded { return s.voices.all() }

// Replay sends r once more, from the sender it had then, to the given sessions;
// without any to those it went to.
func (s *Server) Replay(r Recorded, to ...uint32) {
	if len(to) == 0 {
		to = r.To
	}
	s.serial++
	for _, session := range to {
		v := s.user(session)
		if v == nil {
			continue
		}
		d := &Delivery{To: session, From: r.From, Serial: s.serial, Message: r.Message, user: v}
		if r.Voice != nil {
			p := *r.Voice
			p.Session, p.Target = r.From, 0
			d.Voice = &p
		}
		s.post(d)
	}
}

// Inject sends any message to the given sessions, without any to everybody.
func (s *Server) Inject(m proto.Message, to ...uint32) {
	s.serial++
	for _, v := range slices.Clone(s.users) {
		if len(to) == 0 || slices.Contains(to, v.session) {
			s.post(&Delivery{To: v.session, Serial: s.serial, Message: m, user: v})
		}
	}
}

// InjectVoice sends a voice packet to the given sessions, without any to
// everybody but the session it names.
func (s *Server) InjectVoice(p voice.Packet, to ...uint32) {
	p.Data = slices.Clone(p.Data)
	s.serial++
	for _, v := range slices.Clone(s.users) {
		if slices.Contains(to, v.session) || len(to) == 0 && v.session != p.Session {
			s.post(&Delivery{To: v.session, Serial: s.serial, Voice: &p, user: v})
		}
	}
}

// Forge sends plugin data under Sotto's name as a session that need not exist:
// Murmur relays such data even from connections that never logged in, as
// session 0.
func (s *Server) Forge(from uint32, data []byte, to ...uint32) {
	s.Inject(&mumblepb.PluginDataTransmission{
		SenderSession: proto.Uint32(from), Data: slices.Clone(data), DataID: proto.String(envelope.DataID),
	}, to...)
}

// Swap names a as the sender of what b sends, and b as that of a, in speech, text
// and plugin data, to everybody.
func (s *Server) Swap(a, b uint32) { s.swapped[a], s.swapped[b] = b, a }

func (s *Server) nameOf(session uint32) uint32 {
	if other, ok := s.swapped[session]; ok {
		return other
	}
	return session
}

// Withhold returns a Hook that drops Sotto objects of some kinds, from one
// session or, with 0, from everybody.
func Withhold(from uint32, kinds ...envelope.Kind) Hook {
	return func(d *Delivery) {
		if k, ok := kindOf(d.Message); ok && slices.Contains(kinds, k) && (from == 0 || d.From == from) {
			d.Drop = true
		}
	}
}

// WithholdVoice is Withhold for the kinds of voice packets: envelope.VoicePresence
// hides who announces itself in voice.
func WithholdVoice(from uint32, kinds ...byte) Hook {
	return func(d *Delivery) {
		if d.Voice == nil || from != 0 && d.From != from {
			return
		}
		if _, vk, _, ok := envelope.ParseVoice(d.Voice.Data); ok && slices.Contains(kinds, vk) {
			d.Drop = true
		}
	}
}

// Hold returns a Hook that delays what one session sends, 0 for everybody, while
// everything else goes on.
func Hold(from uint32, delay time.Duration) Hook {
	return func(d *Delivery) {
		if d.From != 0 && (from == 0 || d.From == from) {
			d.Delay, d.Overtaken = delay, true
		}
	}
}

// Only returns a Hook that asks another one about deliveries to some sessions.
func Only(h Hook, to ...uint32) Hook {
	return func(d *Delivery) {
		if slices.Contains(to, d.To) {
			h(d)
		}
	}
}

func kindOf(m proto.Message) (envelope.Kind, bool) {
	switch m := m.(type) {
	case *mumblepb.PluginDataTransmission:
		if m.GetDataID() != envelope.DataID {
			return 0, false
		}
		f, err := envelope.ParseFragment(m.Data)
		return f.Kind, err == nil
	case *mumblepb.TextMessage:
		p, err := envelope.ParseText(m.GetMessage())
		return p.Kind, err == nil
	}
	return 0, false
}

const maxWorlds = 3

// Fork is a split of the receivers into at most three worlds. Who is in none of
// them sees everything and is seen by all.
type Fork struct {
	Worlds [][]uint32
	// Order 0: each world sees only what its own members send. Otherwise all see
	// everything, but the second and third world get each message up to so much
	// later, so that each has an order of its own.
	Order time.Duration
	Voice bool // voice stays inside a world, too; not with Order
}

type worlds struct {
	Fork
	of map[uint32]int // 1 to 3
}

// Fork splits the server; a further Fork replaces the split. It panics if there
// are more than three worlds, which is a mistake in the test.
func (s *Server) Fork(f Fork) {
	if len(f.Worlds) > maxWorlds {
		panic("simnet: more than three worlds")
	}
	s.worlds = &worlds{Fork: f, of: map[uint32]int{}}
	for i, w := range f.Worlds {
		for _, session := range w {
			s.worlds.of[session] = i + 1
		}
	}
	s.log.line("server", "forks into %v", f.Worlds)
}

// Join ends a Fork. What was held back stays lost.
func (s *Server) Join() { s.worlds = nil }

// split sorts receivers into those that get a message of from at once, and
// those that get it later, by world.
func (w *worlds) split(from uint32, to []uint32) (now []uint32, later [maxWorlds][]uint32) {
	for _, session := range to {
		at := w.of[session]
		switch {
		case w.Order > 0 && at > 1:
			later[at-1] = append(later[at-1], session)
		case w.Order > 0 || w.same(from, session):
			now = append(now, session)
		}
	}
	return now, later
}

func (w *worlds) same(a, b uint32) bool {
	x, y := w.of[a], w.of[b]
	return x == 0 || y == 0 || x == y
}
