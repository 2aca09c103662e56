package e2ee

import (
	"fmt"
	"strings"
	"time"
)

// Times of the gate (Sotto protocol §11).
const (
	findTime = 3 * time.Second  // Find, at most
	moveTime = 10 * time.Second // until an own move that nobody confirmed is off
	lateTime = 10 * time.Second // Held, before the person is asked
)

// sweepTime is how often keys and memories whose time is over are looked for.
const sweepTime = 10 * time.Second

// clocks are the times at which something is due; zero: never.
type clocks struct {
	findEnd time.Time // meant in StateFind
	moveEnd time.Time // meant while moving
	lateAt  time.Time // meant in StateHeld
	tellAt  time.Time
	sweepAt time.Time
}

// Deadline returns when Handle is to be called again even if nothing happens,
// with a nil Input. Zero: not at all.
func (e *Engine) Deadline() time.Time {
	var at time.Time
	soonest := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if e.moving {
		soonest(e.moveEnd)
	} else if e.placed {
		switch e.gate.State() {
		case StateFind:
			soonest(e.findEnd)
		case StateHeld:
			soonest(e.lateAt)
		}
	}
	soonest(e.tellAt)
	soonest(e.sweepAt)
	soonest(e.announceDue())
	return at
}

// facts are those of the gate, with what is known of the audience.
func (e *Engine) facts(met bool) Facts {
	return Facts{Met: met, Moving: e.moving || !e.placed, Require: e.cfg.Policy == PolicyRequire}
}

// step moves the gate and says so.
func (e *Engine) step(now time.Time, ev Event, reason string) {
	e.stepWith(now, ev, reason, false)
}

func (e *Engine) stepWith(now time.Time, ev Event, reason string, met bool) {
	from := e.gate.State()
	e.gate.Step(ev, e.facts(met))
	to := e.gate.State()
	switch to {
	case StateFind:
		if from != StateFind || ev == EventConnect {
			e.findEnd = now.Add(findTime)
		}
		e.byServer = false
	case StateHeld:
		if from != StateHeld || ev == EventMoved {
			e.lateAt = now.Add(lateTime)
			e.heldSaid = false
		}
	}
	if to != from {
		e.emit(GateChanged{from, to, e.gate.Leave(), reason})
	}
}

// settle brings the gate to where the audience and the time want it.
func (e *Engine) settle(now time.Time) {
	if e.moving && !now.Before(e.moveEnd) {
		e.moving = false
		e.findEnd = now // it was long enough
	}
	if !e.placed || e.moving {
		return
	}
	a := e.hearing()
	if a.met {
		e.byServer = false
		e.stepWith(now, EventReady, "a holder of the secret hears you", true)
		return
	}
	if !a.others {
		e.step(now, EventNobody, "nobody else hears you")
		return
	}
	e.step(now, EventPeer, "somebody came")
	switch e.gate.State() {
	case StateFind:
		if a.all || !now.Before(e.findEnd) {
			e.step(now, EventFindEnds, "nobody here holds the secret")
		}
	case StateHeld:
		if !e.lateAt.IsZero() && !now.Before(e.lateAt) {
			e.step(now, EventLate, "still nobody here holds the secret")
			if e.gate.State() == StateAsked {
				e.emit(Notice{NoticeAsked, missing(a) + " Nothing is sent. Wait, or leave the channel?"})
			}
			e.lateAt = time.Time{}
		}
	}
	if e.gate.State() == StateHeld && !e.heldSaid {
		e.heldSaid = true
		if e.byServer {
			e.emit(Notice{NoticeMoved, "The server moved you. " + missing(a) + " Your microphone is held."})
		} else {
			e.emit(Notice{NoticeHeld, missing(a) + " Your microphone is held."})
		}
	}
}

// missing says what the gate waits for.
func missing(a hearing) string {
	if len(a.absent) == 0 {
		return "Nobody here holds this secret."
	}
	return fmt.Sprintf("Not here with this secret yet: %s.", strings.Join(a.absent, ", "))
}

// expire drops keys and memories whose time is over.
func (e *Engine) expire(now time.Time) {
	if e.sweepAt.IsZero() || now.Before(e.sweepAt) {
		return
	}
	e.sweepAt = time.Time{}
	if e.out != nil && (now.Sub(e.out.drawn) >= nonceAge || e.out.advance(now) != nil) {
		e.dropSending()
	}
	for session, r := range e.receivers {
		if r.prev != nil && !now.Before(r.prevEnd) {
			e.retire(session, r.prev)
			r.prev = nil
		}
		if now.Sub(r.newest.accepted) > nonceMaxAge || r.newest.age(now) != nil {
			e.retire(session, r.newest)
			if r.prev != nil {
				e.retire(session, r.prev)
			}
			delete(e.receivers, session)
		}
	}
	e.nonces.sweep(now)
	e.salts.sweep(now)
	if e.out != nil || len(e.receivers) > 0 || len(e.nonces.last) > 0 || len(e.salts.last) > 0 {
		e.sweepSoon(now)
	}
}

func (e *Engine) sweepSoon(now time.Time) {
	if e.sweepAt.IsZero() {
		e.sweepAt = now.Add(sweepTime)
	}
}
