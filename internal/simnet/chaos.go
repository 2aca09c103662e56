package simnet

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/sotto-voip/sotto/envelope"
)

// Chaos is what a server does at random. Every field is a probability from 0 to
// 1. The zero Chaos is an honest server.
type Chaos struct {
	// Per relayed message and receiver.
	Drop      float64
	Stall     float64 // held up to MaxDelay, and the receiver's stream with it
	Reorder   float64 // held up to MaxDelay, overtaken by what comes later
	Duplicate float64
	Truncate  float64
	Flip      float64 // one bit of the payload
	Swap      float64 // another user's session as the sender
	Withhold  float64 // of Presence, Hello and SecretReady, in text, data and voice

	// Per relayed message.
	Partial float64 // only some of the receivers get it
	Replay  float64 // something recorded goes to the same receivers

	// Voice applies all of the above to voice packets as well.
	Voice    bool
	MaxDelay time.Duration // 0: 5 s

	// Per Every, 0: 1 s. A move, a link and a new channel name are real, the
	// others are lies to one random user.
	Every         time.Duration
	Move          float64
	Link          float64
	RenameChannel float64
	Ghost         float64 // at most 4 at a time
	Hide          float64
	Rename        float64
	Rehash        float64
	Forge         float64 // random plugin data as session 0
	Fork          float64 // a new split into 2 or 3 worlds, or its end
}

// Chaos sets what happens at random from now on.
func (s *Server) Chaos(c Chaos) {
	if c.MaxDelay <= 0 {
		c.MaxDelay = 5 * time.Second
	}
	if c.Every <= 0 {
		c.Every = time.Second
	}
	s.chaos = c
	s.chaosGen++
	if c.Move+c.Link+c.RenameChannel+c.Ghost+c.Hide+c.Rename+c.Rehash+c.Forge+c.Fork > 0 {
		s.again(s.chaosGen)
	}
}

// again schedules the next round of what happens to the world as a whole.
func (s *Server) again(gen uint64) {
	s.clock.After(s.chaos.Every, func() {
		if s.chaosGen == gen {
			s.meddle()
			s.again(gen)
		}
	})
}

func (s *Server) dice(p float64) bool { return p > 0 && s.evil.Float64() < p }

func (s *Server) hold() time.Duration {
	return time.Duration(s.evil.Int64N(int64(s.chaos.MaxDelay) + 1))
}

// disturb does its worst to one delivery of a relayed message.
func (s *Server) disturb(d *Delivery) {
	c := &s.chaos
	if d.Voice != nil {
		if w := s.worlds; w != nil && w.Voice && w.Order == 0 && !w.same(d.From, d.To) {
			d.Drop = true
			return
		}
		if !c.Voice {
			return
		}
	}
	if s.dice(c.Drop) || s.dice(c.Withhold) && announces(d) {
		d.Drop = true
		return
	}
	if s.dice(c.Stall) {
		d.Delay, d.Overtaken = d.Delay+s.hold(), false
	}
	if s.dice(c.Reorder) {
		d.Delay, d.Overtaken = d.Delay+s.hold(), true
	}
	if s.dice(c.Duplicate) {
		d.Again = append(d.Again, s.hold())
	}
	if s.dice(c.Truncate) {
		if n := len(d.Payload()); n > 0 {
			d.Truncate(s.evil.IntN(n))
		}
	}
	if s.dice(c.Flip) {
		if n := len(d.Payload()); n > 0 {
			d.Flip(s.evil.IntN(8 * n))
		}
	}
	if s.dice(c.Swap) && len(s.users) > 0 {
		d.As(s.someone())
	}
}

func announces(d *Delivery) bool {
	if d.Voice != nil {
		_, vk, _, ok := envelope.ParseVoice(d.Voice.Data)
		return ok && vk == envelope.VoicePresence
	}
	k, ok := kindOf(d.Message)
	return ok && (k == envelope.KindPresence || k == envelope.KindHello || k == envelope.KindSecretReady)
}

// partial chooses who of n receivers does not get a message, nil for nobody:
// at least one does not and at least one does.
func (s *Server) partial(n int) []bool {
	if n < 2 || !s.dice(s.chaos.Partial) {
		return nil
	}
	cut := make([]bool, n)
	for range 1 + s.evil.IntN(n-1) {
		cut[s.evil.IntN(n)] = true
	}
	return cut
}

// replaySome sends something recorded once more, now and then.
func (s *Server) replaySome(to []uint32) {
	if len(to) == 0 || !s.dice(s.chaos.Replay) {
		return
	}
	r := &s.messages
	if s.chaos.Voice && s.dice(0.5) {
		r = &s.voices
	}
	if n := len(r.list); n > 0 {
		s.Replay(r.list[s.evil.IntN(n)], to...)
	}
}

// hold is how much later than the first one another world gets a message.
func (w *worlds) hold(evil *rand.Rand) time.Duration {
	return time.Duration(evil.Int64N(int64(w.Order) + 1))
}

func (s *Server) someone() uint32 { return s.users[s.evil.IntN(len(s.users))].session }

func (s *Server) somewhere() uint32 {
	all := s.breadthFirst()
	return all[s.evil.IntN(len(all))]
}

// meddle is one round of Every.
func (s *Server) meddle() {
	if len(s.users) == 0 {
		return
	}
	c := &s.chaos
	if s.dice(c.Move) {
		s.Move(s.someone(), s.somewhere())
	}
	if s.dice(c.Link) {
		s.Link(s.somewhere(), s.somewhere(), s.dice(0.5))
	}
	if s.dice(c.RenameChannel) {
		s.RenameChannel(s.somewhere(), fmt.Sprintf("Room %d", s.evil.IntN(100)))
	}
	if s.dice(c.Ghost) {
		if len(s.ghosts) < 4 {
			s.Ghost(fmt.Sprintf("ghost %d", s.evil.IntN(100)), fmt.Sprintf("%040x", s.evil.Uint64()), s.somewhere(), s.someone())
		} else {
			s.Exorcise(s.ghosts[0].session)
		}
	}
	if s.dice(c.Hide) {
		if about, to := s.someone(), s.someone(); s.dice(0.5) {
			s.Hide(about, to)
		} else {
			s.Show(about, to)
		}
	}
	if s.dice(c.Rename) {
		s.Rename(s.someone(), fmt.Sprintf("name %d", s.evil.IntN(100)), s.someone())
	}
	if s.dice(c.Rehash) {
		s.Rehash(s.someone(), fmt.Sprintf("%040x", s.evil.Uint64()), s.someone())
	}
	if s.dice(c.Forge) {
		junk := make([]byte, s.evil.IntN(200))
		for i := range junk {
			junk[i] = byte(s.evil.Uint32())
		}
		s.Forge(0, junk)
	}
	if s.dice(c.Fork) {
		s.forkAtRandom()
	}
}

func (s *Server) forkAtRandom() {
	if s.worlds != nil {
		s.Join()
		return
	}
	f := Fork{Worlds: make([][]uint32, 2+s.evil.IntN(2))}
	for _, u := range s.users {
		i := s.evil.IntN(len(f.Worlds))
		f.Worlds[i] = append(f.Worlds[i], u.session)
	}
	if s.dice(0.3) {
		f.Order = s.chaos.MaxDelay
	}
	s.Fork(f)
}
