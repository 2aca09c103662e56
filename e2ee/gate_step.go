package e2ee

// Step moves the gate by one event and returns what else is to be done. It reads
// as the table of Sotto protocol §11 reads, row by row; a state that a row does
// not name stays. Off stays Off in each.
func (g *Gate) Step(ev Event, f Facts) Effect {
	if g.state == StateOff {
		if ev == EventUserProtect || ev == EventUserSecret {
			return EffectPolicy // not to leave the user in the belief of being protected
		}
		return 0
	}
	second := g.act
	g.act = false
	if g.state == StateClear && f.Require {
		g.state = StateFind // the policy changed meanwhile
	}
	effect := g.row(ev, f, second)
	if g.state != StateAsked {
		g.question = QuestionNone
	}
	g.remember(ev, f)
	return effect
}

// remember keeps in mind what binds until the next own arrival.
func (g *Gate) remember(ev Event, f Facts) {
	switch ev {
	case EventConnect:
		switch {
		case f.OwnArrival && !f.Moving:
			g.memory = MemoryFree
		case !f.OwnArrival:
			g.bind()
		}
	case EventMoved, EventLost, EventGroupLost, EventWait, EventUserProtect, EventUserSecret, EventUserLeave:
		g.bind()
	}
	switch g.state {
	case StatePriv, StateTyped:
		g.memory = MemoryKept
	case StateAsked:
		g.bind() // only an answer leads on to Clear
	}
}

func (g *Gate) bind() {
	if g.memory == MemoryFree {
		g.memory = MemoryBound
	}
}

// row is the table.
func (g *Gate) row(ev Event, f Facts, second bool) Effect {
	switch ev {
	case EventConnect:
		// With a typed secret alone a reconnect goes to Find as well: nothing but
		// Typed comes of it. An alarm outlives it.
		if f.OwnArrival || !f.Groups && !g.question.Alarm() {
			g.state = StateFind
			return 0
		}
		g.hold()

	case EventLost:
		if !f.Groups && !g.question.Alarm() {
			g.state = StateFind
			return 0
		}
		g.hold()

	case EventMoved:
		switch {
		case g.state == StatePriv && f.Groups && f.Closure:
			return 0
		case g.state == StateClear && f.Groups && !f.Sticky:
			return g.ask(QuestionClear)
		}
		g.hold()

	case EventNobody, EventFindEnds, EventFindWithout, EventReady, EventGroupReady,
		EventBeacon, EventEnters, EventMembersLeft, EventWithoutLeft:
		if f.Moving {
			return 0 // they speak of the place that is being left
		}
		return g.audience(ev, f)

	case EventPeer:
		switch {
		case g.state == StateAlone:
			g.state = StateFind
		case g.state == StateClear && f.Groups && f.AllSotto:
			return EffectHello
		case g.state == StatePriv && f.Groups:
			return EffectMayJoin
		}

	case EventLate:
		switch {
		case !f.Groups:
			if g.state == StateHeld && f.Require {
				return g.ask(QuestionWait)
			}
		case g.state == StateFind:
			g.state = StateHeld
			return EffectLine
		case g.state == StateHeld:
			return g.ask(waitOrClear(f))
		case g.state == StateClear:
			return EffectHello
		}

	case EventGroupLost:
		if g.state == StateFind || g.state == StatePriv {
			g.state = StateHeld
		}

	case EventRemoveOverdue:
		if g.state == StatePriv {
			if !f.Require {
				return g.ask(QuestionRemove)
			}
			g.state = StateHeld
		}

	case EventIdentity:
		if g.state == StateClear || g.state == StateTyped {
			return EffectLine
		}
		return g.ask(QuestionIdentity)

	case EventCertificate:
		switch g.state {
		case StatePriv:
			return EffectLine | EffectNotPrivate
		case StateTyped:
			return 0
		}
		return EffectLine

	case EventWorse:
		switch {
		case g.state == StateTyped:
			return 0
		case g.state == StateClear || g.question.Alarm():
			return EffectLine
		}
		return g.ask(QuestionWorse)

	case EventUserClear, EventUserProtect, EventUserSecret, EventUserLeave, EventWait:
		return g.user(ev, f, second)

	case EventClearOver:
		if g.state == StateClear {
			g.state = StateFind
		}

	case EventPolicy:
		// Step has ended a Clear that the policy no longer allows.
	}
	return 0
}

// hold closes the gate for what the server did. A question that stands open
// stands open in the new place.
func (g *Gate) hold() {
	if g.state != StateAsked {
		g.state = StateHeld
	}
}

func (g *Gate) ask(q Question) Effect {
	g.state, g.question = StateAsked, q
	return EffectAsk
}

// waitOrClear is the question for want of keys.
func waitOrClear(f Facts) Question {
	if f.Require || !f.Groups {
		return QuestionWait
	}
	return QuestionClear
}
