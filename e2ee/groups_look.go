package e2ee

import (
	"slices"
	"time"
)

// look compares the audience with what was said of it.
func (e *Groups) look(now time.Time) {
	w := &e.watching
	a := e.around()
	if a.hearers == 0 {
		if !w.nobody {
			e.step(now, EventNobody, "nobody else hears you")
			w.nobody = true
		}
	} else {
		w.nobody = false
	}
	e.lookEntered(now)
	if w.without > 0 && a.without == 0 && a.hearers > 0 {
		e.step(now, EventWithoutLeft, "everybody here has Sotto now")
	}
	w.without = a.without
	e.lookServer(now)
	e.lookPeople(now)
	e.lookFind(now, a)
	e.lookGroup(now, a)
	switch e.gate.State() {
	case StateHeld, StateClear:
		if !w.lateAt.IsZero() && !now.Before(w.lateAt) {
			w.lateAt = time.Time{}
			e.step(now, EventLate, "the keys are still not ready")
		}
	case StatePriv:
		e.remember(now)
	case StateFind, StateOff, StateAsked, StateAlone, StateTyped:
	}
	if e.gate.State() == StateClear && !w.clearEnd.IsZero() && !now.Before(w.clearEnd) {
		e.step(now, EventClearOver, "30 minutes of speaking in clear are over")
	}
	e.sayHeld()
}

// lookEntered says who has come without Sotto, once it had its time to show it.
func (e *Groups) lookEntered(now time.Time) {
	var f Facts
	known := false // they are the same for all, and to find them costs as much as there are people
	for _, s := range e.sessions() {
		p := e.peers[s]
		if !p.Hears || p.sotto || p.said {
			continue
		}
		if at := e.watching.shownBy(p); at.IsZero() || now.Before(at) {
			continue
		}
		p.said = true
		if !known {
			f, known = e.facts(), true
		}
		e.stepWith(now, EventEnters, e.without(s), f)
	}
}

func (e *Groups) sessions() []uint32 {
	out := make([]uint32, 0, len(e.peers))
	for s := range e.peers {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

// lookFind ends Find.
func (e *Groups) lookFind(now time.Time, a around) {
	if e.gate.State() != StateFind || a.hearers == 0 {
		return
	}
	over := !e.watching.findEnd.IsZero() && !now.Before(e.watching.findEnd)
	switch {
	case a.without == 0:
		e.step(now, EventFindEnds, "everybody here has Sotto")
	case over:
		e.step(now, EventFindWithout, e.withoutSotto()+" without Sotto")
	}
}

// withoutSotto names who hears and has shown no sign of Sotto.
func (e *Groups) withoutSotto() string {
	var list []uint32
	for _, s := range e.sessions() {
		if p := e.peers[s]; p.Hears && !p.sotto {
			list = append(list, s)
		}
	}
	if len(list) == 1 {
		return e.located(list) + " is here"
	}
	return e.located(list) + " are here"
}

// without says that somebody has no Sotto, and whether that is new: then the server
// may be hiding it.
func (e *Groups) without(session uint32) string {
	label := e.located([]uint32{session})
	if e.cfg.Book.WasProtected(e.watching.now, e.cfg.Address, e.person(session, e.identityOf(session))) {
		return label + " is remembered as protected, and has no Sotto now"
	}
	return label + " has no Sotto"
}

// follows reports whether somebody else is known to have the keys: whoever was in
// the group that we joined, or has shown it since. Who was just added has not got
// its Welcome yet, and would miss what is said.
func (r *roster) follows(others int) bool {
	return r.joined || r.health.Group == r.Group && len(r.health.Unconfirmed) < others
}

// lookGroup says when the group is ready, and when its others are gone.
func (e *Groups) lookGroup(now time.Time, a around) {
	w := &e.watching
	r := e.groupsOf[e.home]
	if r == nil {
		w.ready = readiness{}
		return
	}
	others := 0
	for _, l := range r.Leaves {
		if p := e.peers[l.Session]; p != nil && p.Hears {
			others++
		}
	}
	if others == 0 {
		if e.gate.State() == StatePriv && !w.unheard && a.hearers > 0 && a.hearers == len(e.knownWithout()) {
			w.unheard = true // who has Sotto, or may have, is about to come in
			e.step(now, EventMembersLeft, "the last other member left")
		}
		return
	}
	w.unheard = false
	if e.gate.State() == StatePriv {
		w.ready = readiness{}
		return
	}
	if !r.follows(others) {
		return
	}
	if len(r.health.Overdue) > 0 || r.suspect || !e.wants() {
		// "Remove overdue" and a changed identity are answered first; and who has
		// just gone clear is about to leave the group.
		return
	}
	is := readiness{e.gate.State(), r.Group, r.Epoch}
	if is == w.ready {
		return
	}
	w.ready = is
	e.step(now, EventGroupReady, "the keys are ready")
	if e.gate.State() == StatePriv {
		w.ready = readiness{}
		e.sayDeaf()
	}
}

// sayDeaf names those who hear nothing when speech begins to be protected.
func (e *Groups) sayDeaf() {
	switch list := e.knownWithout(); len(list) {
	case 0:
	case 1:
		e.emit(Notice{NoticeDeaf, sentence(e.without(list[0]) + " and hears silence")})
	default:
		e.emit(Notice{NoticeDeaf, sentence(e.located(list) + " have no Sotto and hear silence")})
	}
}

// sayHeld says once that the microphone is held.
func (e *Groups) sayHeld() {
	w := &e.watching
	if e.gate.State() != StateHeld || w.heldSaid {
		return
	}
	w.heldSaid = true
	if w.byServer {
		w.byServer = false
		e.emit(Notice{NoticeMoved, "The server changed who can hear you. Keys are being prepared; your microphone is held."})
	} else {
		e.emit(Notice{NoticeHeld, "Keys are being prepared; your microphone is held."})
	}
}
