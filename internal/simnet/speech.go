package simnet

import (
	"bytes"
	"maps"
	"slices"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// target is one registered voice target of a user.
type target struct {
	wish  []*mumblepb.VoiceTarget_Target
	hears hearing
	asOf  uint64 // Server.version for which hears was computed
}

// hearing is who hears a packet, by session, and in which context.
type hearing []hearer

type hearer struct {
	*user
	context uint8
}

// register replaces or removes a target.
func (u *user) register(m *mumblepb.VoiceTarget) {
	id := m.GetId()
	if id < 1 || id > 30 {
		return
	}
	if len(m.Targets) == 0 {
		delete(u.targets, id)
		return
	}
	u.targets[id] = &target{wish: m.Targets}
}

// speak takes one voice packet of a client. p and its payload belong to the
// server from here on and are shared by all receivers.
func (s *Server) speak(c *conn, p *voice.Packet) {
	u := s.user(c.session)
	if !c.up || u == nil || u.conn != c {
		return
	}
	s.counters.Voice++
	if s.log != nil {
		s.log.line("server", "< %d %s", u.session, describeVoice(p))
	}
	if !u.maySpeak() {
		s.dropped.Muted++
		return
	}
	if len(p.Data) > s.profile.MaxVoice || len(p.Data) == 0 && !s.profile.EmptyVoice {
		s.dropped.VoiceSize++
		return
	}
	charge := len(p.Data)
	if s.profile.ChargeHeader {
		charge += 1 + voiceHeader(p)
	}
	if !u.meter.take(s.clock.Now(), &s.profile, charge) {
		s.dropped.Bandwidth++
		return
	}
	hears, ok := s.hearersOf(u, p.Target)
	if !ok {
		return
	}
	s.serial++
	s.record(Recorded{From: u.session, Voice: p, To: hears.sessions()})
	cut := s.partial(len(hears))
	for i, h := range hears {
		if h.isDeaf() || cut != nil && cut[i] {
			continue
		}
		out := *p
		out.Session, out.Context, out.Target = s.nameOf(u.session), h.context, 0
		if out.HasPosition && !s.sameContext(u, h.user) {
			out.HasPosition, out.Position = false, [3]float32{}
		}
		s.deliver(&Delivery{To: h.session, From: u.session, Serial: s.serial, Voice: &out, user: h.user}, true)
	}
	s.replaySome(hears.sessions())
}

// voiceHeader is the length of a legacy packet around its payload, without the
// first byte.
func voiceHeader(p *voice.Packet) int {
	n := 2 // the length of the payload
	switch f := p.FrameNumber; {
	case f < 1<<7:
		n++
	case f < 1<<14:
		n += 2
	case f < 1<<21:
		n += 3
	case f < 1<<28:
		n += 4
	default:
		n += 5
	}
	if p.HasPosition {
		n += 12
	}
	return n
}

func (s *Server) sameContext(a, b *user) bool {
	if len(a.context) == 0 && len(b.context) == 0 {
		return s.profile.EmptyContext
	}
	return bytes.Equal(a.context, b.context)
}

func (h hearing) sessions() []uint32 {
	out := make([]uint32, len(h))
	for i := range h {
		out[i] = h[i].session
	}
	return out
}

// hearersOf returns who hears u on a target; false if nobody is asked.
func (s *Server) hearersOf(u *user, id uint8) (hearing, bool) {
	switch {
	case id == 0:
		if u.hearsFor != s.version {
			u.hears, u.hearsFor = s.normal(u), s.version
		}
		return u.hears, true
	case id == voice.TargetLoopback:
		return hearing{{u, voice.ContextNormal}}, true
	}
	t := u.targets[uint32(id)]
	if t == nil {
		s.dropped.NoTarget++
		return nil, false
	}
	if t.asOf != s.version {
		t.hears, t.asOf = s.whispered(u, t.wish), s.version
		if s.profile.FirstWhisperLost {
			s.dropped.FirstWhisper++
			return nil, false
		}
	}
	return t.hears, true
}

// normal is speech: the channel, what is linked with it, and the listeners.
func (s *Server) normal(u *user) hearing {
	return s.within(u, s.closure(u.channel), voice.ContextNormal)
}

// within returns the users and listeners of some channels but for u; the least
// context wins.
func (s *Server) within(u *user, in map[uint32]bool, context uint8) hearing {
	var out hearing
	for _, v := range s.users {
		switch {
		case v == u:
		case in[v.channel]:
			out = append(out, hearer{v, context})
		case containsAny(v.listens, in):
			out = append(out, hearer{v, voice.ContextListener})
		}
	}
	return out
}

// closure returns id and all channels reachable over links.
func (s *Server) closure(id uint32) map[uint32]bool {
	seen := map[uint32]bool{id: true}
	for todo := []uint32{id}; len(todo) > 0; todo = todo[1:] {
		if c := s.channels[todo[0]]; c != nil {
			for _, other := range c.links {
				if !seen[other] {
					seen[other] = true
					todo = append(todo, other)
				}
			}
		}
	}
	return seen
}

// whispered resolves a target: shout beats whisper beats listening.
func (s *Server) whispered(u *user, wish []*mumblepb.VoiceTarget_Target) hearing {
	by := map[uint32]hearer{}
	add := func(h hearer) {
		if old, ok := by[h.session]; !ok || h.context < old.context {
			by[h.session] = h
		}
	}
	for _, w := range wish {
		for _, session := range w.Session {
			if v := s.user(session); v != nil && v != u {
				add(hearer{v, voice.ContextWhisper})
			}
		}
		if w.ChannelId == nil || s.channels[w.GetChannelId()] == nil {
			continue
		}
		in := map[uint32]bool{w.GetChannelId(): true}
		if w.GetLinks() {
			in = s.closure(w.GetChannelId())
		}
		if w.GetChildren() {
			for _, id := range s.tree(w.GetChannelId()) {
				in[id] = true
			}
		}
		for _, h := range s.within(u, in, voice.ContextShout) {
			add(h)
		}
	}
	var out hearing
	for _, session := range slices.Sorted(maps.Keys(by)) {
		out = append(out, by[session])
	}
	return out
}
