package evilserver

import (
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/voice"
)

// Event is one thing on its way: a message or a voice packet.
type Event struct {
	Time    time.Time
	Client  *Client
	Dir     voice.Direction
	Message proto.Message // nil for voice
	Voice   *voice.Packet // nil for messages
}

// maxEvents bounds one Recording; what comes after is not kept.
const maxEvents = 65_536

// Recording keeps what passes, or what was held.
type Recording struct {
	lies []*Lie

	mu     sync.Mutex
	events []Event
	more   chan struct{} // closed and replaced with each event
}

// Record keeps what matches and lets it pass. The copies are not changed by
// anybody.
func (s *Server) Record(match func(Event) bool) *Recording { return s.record(match, false) }

// Hold keeps what matches and does not let it pass. Released in another order it
// was reordered, released never it was lost.
func (s *Server) Hold(match func(Event) bool) *Recording { return s.record(match, true) }

func (s *Server) record(match func(Event) bool, hold bool) *Recording {
	r := &Recording{more: make(chan struct{})}
	keep := func(e Event) (took bool) {
		if !match(e) {
			return false
		}
		e.Time = time.Now()
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.events) < maxEvents {
			r.events = append(r.events, e)
			close(r.more)
			r.more = make(chan struct{})
		}
		return hold
	}
	for _, dir := range []voice.Direction{voice.ToServer, voice.ToClient} {
		r.lies = append(r.lies, s.tell(&Lie{dir: dir, message: func(c *Client, m proto.Message) Verdict {
			if keep(Event{Client: c, Dir: dir, Message: proto.Clone(m)}) {
				return Drop()
			}
			return Pass()
		}}))
	}
	r.lies = append(r.lies, s.OnVoice(func(c *Client, dir voice.Direction, p voice.Packet) ([]voice.Packet, time.Duration) {
		kept := p
		kept.Data = clone(p.Data)
		if keep(Event{Client: c, Dir: dir, Voice: &kept}) {
			return nil, 0
		}
		return []voice.Packet{p}, 0
	}))
	return r
}

// Stop ends the Recording. What was kept stays.
func (r *Recording) Stop() {
	for _, l := range r.lies {
		l.Stop()
	}
}

// Events returns what was kept, in order.
func (r *Recording) Events() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// Wait waits until n events were kept and returns all; false if they do not come
// within the limit.
func (r *Recording) Wait(n int, limit time.Duration) ([]Event, bool) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		r.mu.Lock()
		events, more := slices.Clone(r.events), r.more
		r.mu.Unlock()
		if len(events) >= n {
			return events, true
		}
		select {
		case <-more:
		case <-deadline.C:
			return events, false
		}
	}
}

// Replay sends events again, where they went then, in the order given.
func (s *Server) Replay(events ...Event) {
	for _, e := range events {
		s.ReplayTo(e.Client, e)
	}
}

// ReplayTo sends events to another client than they went to, or in its name.
func (s *Server) ReplayTo(c *Client, events ...Event) {
	for _, e := range events {
		switch {
		case e.Voice != nil:
			s.InjectVoice(c, e.Dir, *e.Voice)
		case e.Message != nil:
			c.send(e.Dir, proto.Clone(e.Message), 0)
		}
	}
}
