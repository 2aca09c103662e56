package e2ee

import (
	"time"

	"github.com/sotto-voip/sotto/trust"
)

// watching is what the gate's owner keeps in mind: the events of the table are
// said once, when they happen.
type watching struct {
	ownArrival bool // that we are here is the user's own act, and nothing else since
	moving     bool
	target     uint32
	moveEnd    time.Time
	knownAt    time.Time // since when the regime is known
	findEnd    time.Time // meant in StateFind; zero: the regime is not known yet
	lateAt     time.Time // meant in StateHeld and StateClear
	clearEnd   time.Time // of clear by the user; zero: not by the user
	rememberAt time.Time // in StatePriv: when who is in the group is remembered
	hello      bool      // in StateClear, everybody has Sotto: ask to be added
	nobody     bool      // EventNobody was said of this emptiness
	unheard    bool      // EventMembersLeft was said
	without    int       // people without Sotto, when last looked
	ready      readiness // that was said
	want       bool      // that the agreement knows
	heldSaid   bool
	fullSaid   bool // that not everybody is remembered
	lineSaid   bool // in StateClear: that the server is worse than it was
	byServer   bool
	// otherSecret: the group here has another typed secret than ours.
	otherSecret bool
	judged      map[leafKey]judged
	frames      uint64    // of presences in voice
	now         time.Time // of the input that is handled
}

// readiness is what EventGroupReady was said for.
type readiness struct {
	state State
	group [16]byte
	epoch uint64
}

// findFrom starts the three seconds of Find when something can be found out.
func (w *watching) findFrom(now time.Time) {
	if w.knownAt.IsZero() {
		w.knownAt = now
	}
	if w.findEnd.IsZero() {
		w.findEnd = now.Add(findTime)
	}
}

func (w *watching) deadline(e *Groups) (at time.Time) {
	soonest := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if w.moving {
		soonest(w.moveEnd)
		return at
	}
	if !e.placed {
		return at
	}
	switch e.gate.State() {
	case StateFind:
		soonest(w.findEnd)
	case StateHeld:
		soonest(w.lateAt)
	case StateClear:
		soonest(w.lateAt)
		soonest(w.clearEnd)
	case StatePriv:
		soonest(w.rememberAt)
	case StateOff, StateAsked, StateAlone, StateTyped:
	}
	for _, p := range e.peers {
		if p.Hears && !p.sotto && !p.said {
			soonest(w.shownBy(p))
		}
	}
	return at
}

// shownBy is when somebody has had the time to show a sign of Sotto; zero: nobody
// can yet.
func (w *watching) shownBy(p *groupPeer) time.Time {
	if w.knownAt.IsZero() {
		return time.Time{}
	}
	if p.since.Before(w.knownAt) {
		return w.knownAt.Add(enterTime)
	}
	return p.since.Add(enterTime)
}

// around is who hears us, as the gate needs it.
type around struct{ hearers, sotto, without int }

func (e *Groups) around() (a around) {
	for _, p := range e.peers {
		if !p.Hears {
			continue
		}
		a.hearers++
		if p.sotto {
			a.sotto++
		} else {
			a.without++
		}
	}
	return a
}

// knownWithout are those who hear, had the time to show a sign of Sotto, and have
// not.
func (e *Groups) knownWithout() (list []uint32) {
	for _, s := range e.sessions() {
		if p := e.peers[s]; p.Hears && !p.sotto && p.said {
			list = append(list, s)
		}
	}
	return list
}

func (e *Groups) facts() Facts {
	a := e.around()
	return Facts{
		Groups: true, Require: e.cfg.Policy == PolicyRequire, Moving: e.watching.moving || !e.placed,
		Sticky: e.sticky(), OwnArrival: e.watching.ownArrival,
		Closure: e.groupsOf[e.home] != nil, AllSotto: a.hearers > 0 && a.without == 0,
	}
}

// sticky asks the memory about this channel and everybody who hears (§11).
func (e *Groups) sticky() bool {
	if !e.placed {
		return true
	}
	var people []trust.Person
	for s, p := range e.peers {
		if p.Hears {
			people = append(people, e.person(s, e.identityOf(s)))
		}
	}
	_, ok := e.cfg.Book.Sticky(e.watching.now, e.cfg.Address, e.world.Channel, people)
	return ok
}

// settle says the events that have come about, and keeps the agreement's wish.
func (e *Groups) settle(now time.Time) {
	w := &e.watching
	w.now = now
	if w.moving && !now.Before(w.moveEnd) {
		e.stayed(now)
	}
	if e.placed && !w.moving {
		e.look(now)
	}
	e.wish(now)
}
