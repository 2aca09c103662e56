package e2ee

// audience is the rows of the table that speak of who hears. The own arrival is
// over: who hears is known.
func (g *Gate) audience(ev Event, f Facts) Effect {
	if g.question.Alarm() {
		return g.alarmed(ev, f)
	}
	switch ev {
	case EventNobody:
		// Priv and Typed stay: who comes next without keys hears nothing.
		if g.state != StatePriv && g.state != StateTyped {
			g.state = StateAlone
		}

	case EventFindEnds:
		if g.state == StateFind {
			g.state = StateHeld
		}

	case EventFindWithout:
		switch {
		case g.state != StateFind && g.state != StateHeld:
		case !f.Groups:
			g.state = StateHeld
		case g.mayClear(f):
			g.state = StateClear
		default:
			return g.ask(waitOrClear(f))
		}

	case EventReady:
		// §10.3: "Find, Held and Alone go to Typed as soon as the condition
		// holds". So does Asked, since with a secret the question is always
		// "wait or leave", never "go clear". Clear, which took the user two acts,
		// and a protected group are left for Typed by the user only.
		if f.Met && !f.Groups && g.state != StateClear && g.state != StatePriv {
			g.state = StateTyped
		}

	case EventGroupReady:
		if f.Groups && g.state != StateTyped {
			g.state = StatePriv
		}

	case EventBeacon:
		return g.beacon(f)

	case EventEnters:
		switch {
		case g.state == StateAlone:
			g.state = StateFind
		case g.state == StateFind && f.Groups && !g.mayClear(f):
			// "As Find end" but for Clear: that is for the end of Find to say, not
			// for somebody the server shows.
			return g.ask(waitOrClear(f))
		case g.state == StatePriv || g.state == StateTyped:
			return EffectDeaf
		}

	case EventMembersLeft:
		if g.state == StatePriv {
			return EffectUnheard
		}

	case EventWithoutLeft:
		switch {
		case g.state == StateAsked:
			g.state = StateFind
		case g.state == StateClear && f.Groups:
			return EffectHello
		}
	}
	return 0
}

// alarmed is audience while an alarm stands open: only the user ends it.
func (g *Gate) alarmed(ev Event, f Facts) Effect {
	if ev == EventBeacon {
		return g.beacon(f)
	}
	return 0
}

// mayClear says whether Find may end in Clear.
func (g *Gate) mayClear(f Facts) bool {
	return f.Groups && !f.Require && !f.Sticky && f.OwnArrival && g.memory == MemoryFree
}

func (g *Gate) beacon(f Facts) Effect {
	if !f.Groups {
		return 0
	}
	switch g.state {
	case StateFind:
		g.state = StateHeld
	case StateAlone:
		g.state = StateFind
	case StateHeld:
		return EffectHello
	case StateAsked:
		return EffectJoin
	case StateClear:
		if f.AllSotto {
			return EffectHello
		}
		return EffectJoin
	case StatePriv:
		return EffectMerge
	}
	return 0
}

// user is the rows of the user's acts.
func (g *Gate) user(ev Event, f Facts, second bool) Effect {
	switch ev {
	case EventUserClear:
		return g.userClear(f, second)

	case EventUserProtect:
		switch g.state {
		case StateFind, StateAsked:
			g.state = StateHeld
		case StateClear:
			g.state = StateFind
		}

	case EventUserSecret:
		// "Typed when ready": that is said by EventReady.
		switch g.state {
		case StateFind, StateAsked, StateClear, StatePriv:
			g.state = StateHeld
		}

	case EventUserLeave:
		if g.state == StateAsked {
			return EffectLeave
		}

	case EventWait:
		// An alarm waits anyway; to wait is not to agree.
		if g.state == StateAsked && !g.question.Alarm() {
			g.state = StateHeld
		}
	}
	return 0
}

func (g *Gate) userClear(f Facts, second bool) Effect {
	switch {
	case f.Require:
		return EffectPolicy
	case g.state == StateClear:
		return 0
	case f.Moving || g.state == StateAlone:
		return EffectLine // nobody hears, or it is not known who will
	case !second && (g.memory == MemoryKept || !f.Groups):
		g.act = true
		return EffectConfirm
	}
	g.state = StateClear
	return 0
}
