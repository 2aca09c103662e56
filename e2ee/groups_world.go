package e2ee

import (
	"slices"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/identity"
)

// localMove closes the gate before the move is under way, so that nothing said for
// one channel is heard in another.
func (e *Groups) localMove(now time.Time, channel uint32) {
	if e.session == 0 || e.placed && !e.watching.moving && channel == e.world.Channel {
		return // not connected, or a move to where we are, which no World confirms
	}
	w := &e.watching
	w.moving, w.target, w.moveEnd = true, channel, now.Add(moveTime)
	f := e.facts()
	f.OwnArrival = true
	w.now = now
	e.stepWith(now, EventConnect, "you are moving", f)
}

// stayed: an own move was refused, or nobody confirmed it. We are where we were, and
// so is what binds the gate: to have wanted to leave is not to have come.
func (e *Groups) stayed(now time.Time) {
	w := &e.watching
	w.moving = false
	w.ownArrival = w.ownArrival && e.gate.Memory() == MemoryFree
	e.step(now, EventConnect, "the move did not come about")
}

// seat is where somebody speaks: their channel, and what the server links to it.
type seat struct {
	channel uint32
	name    string
	closure []uint32
}

func (w *World) seat() *seat {
	s := &seat{channel: w.Channel, name: w.ChannelName}
	if len(w.Places) > 0 {
		s.closure = slices.Clone(w.Places[0].Closure)
	}
	return s
}

// equal reports whether nobody was given another place by what changed.
func (s *seat) equal(o *seat) bool {
	return s.channel == o.channel && s.name == o.name && slices.Equal(s.closure, o.closure)
}

// setWorld takes over who is where.
func (e *Groups) setWorld(now time.Time, world World) {
	if e.session == 0 || len(world.Places) == 0 {
		return
	}
	w := &e.watching
	first, before := !e.placed, e.world
	moved := !first && world.Channel != before.Channel
	confirms := w.moving && (world.Own || world.Channel == w.target)
	changed := !first && !moved && (!slices.Equal(before.Places[0].Closure, world.Places[0].Closure) ||
		before.ChannelName != world.ChannelName && before.ChannelName != "")
	e.setPeers(now, world, first || moved)
	if r := e.groupsOf[e.home]; r != nil {
		if _, stays := slices.BinarySearch(world.Places[0].Closure, r.Anchor); !stays && w.want {
			// The group belongs to where we are no longer heard.
			w.want = false
			e.aud.Handle(now, audience.Join{Want: false})
			e.drain(now)
		}
	}
	e.world, e.placed = world, true
	e.judge(now)
	if e.gate.State() == StateClear && w.clearEnd.IsZero() && !first && !moved && e.sticky() {
		e.step(now, EventClearOver, "somebody is here with whom you spoke protected before")
	}
	e.aud.Handle(now, audience.World{Places: world.Places, People: e.sessions()})
	e.drain(now)
	switch {
	case first:
		// A server that cuts the connection to seat us elsewhere has moved us.
		w.ownArrival = w.ownArrival && (e.seat == nil || e.seat.equal(world.seat()))
		e.step(now, EventConnect, "connected")
	case confirms && !moved && world.Channel != w.target:
		w.ownArrival = w.ownArrival && !changed
		e.stayed(now)
	case confirms:
		w.moving, w.ownArrival = false, true
		e.step(now, EventConnect, "you moved")
	case moved && world.Own:
		w.ownArrival = true
		e.step(now, EventConnect, "you moved")
	case moved:
		w.moving, w.ownArrival, w.byServer = false, false, true
		e.step(now, EventMoved, "the server moved you")
	case changed:
		w.ownArrival, w.byServer = false, true
		e.step(now, EventMoved, "the server changed who hears this channel")
	}
	if e.gate.State() == StateAlone && !w.moving {
		if a := e.around(); a.hearers > 0 {
			e.step(now, EventPeer, "somebody is here")
		}
	}
}

// setPeers takes over the people of a World.
func (e *Groups) setPeers(now time.Time, world World, arrived bool) {
	here := make(map[uint32]bool, len(world.Peers))
	people := false
	for _, q := range world.Peers {
		if q.Session == 0 || q.Session == e.session || here[q.Session] || len(here) >= maxPeers {
			continue
		}
		here[q.Session] = true
		p := e.peers[q.Session]
		if p == nil {
			p = &groupPeer{}
			e.peers[q.Session] = p
		}
		if q.Hears && (!p.Hears || arrived) {
			p.since, p.said = now, false
			people = true
		}
		p.Peer = q
	}
	for s := range e.peers {
		if !here[s] {
			e.keepName(s)
			delete(e.peers, s)
			people = true
		}
	}
	if people && !arrived && e.gate.State() == StateClear && !e.watching.clearEnd.IsZero() {
		e.step(now, EventClearOver, "the people here changed")
	}
}

// keepName remembers how a member was named who is gone, until it is no member any
// more: there are lines to say about it.
func (e *Groups) keepName(session uint32) {
	for s := range e.names {
		if e.identityOf(s) == (identity.PublicKey{}) {
			delete(e.names, s)
		}
	}
	if e.identityOf(session) != (identity.PublicKey{}) && e.peers[session].Label != "" {
		e.names[session] = e.peers[session].Label
	}
}
