package e2ee

import (
	"crypto/rand"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sotto-voip/sotto/audience"
)

// Times of the gate with groups (Sotto protocol §11), besides those of Engine.
const (
	enterTime    = 3 * time.Second  // without a sign of Sotto
	clearTime    = 30 * time.Minute // of clear by the user
	rememberTime = time.Second      // in Priv

	// rememberBurst new entries of the sticky memory, four to a person, are made at
	// once, and rememberRate a second afterwards: neither ghosts nor a server that
	// renames people shall crowd out friends.
	rememberBurst = 2048
	rememberRate  = 2048.0 / (24 * 3600)
)

// Codes of Notice, besides those of Engine and of the agreement.
const (
	NoticeLeaving = "leaving"
	NoticeGate    = "gate"
	NoticeDeaf    = "deaf"
	NoticeUnheard = "unheard"
	NoticeConfirm = "confirm"
	NoticeJoin    = "join"
	NoticeMemory  = "memory"
)

// step moves the gate by one event, and says what comes of it.
func (e *Groups) step(now time.Time, ev Event, reason string) {
	e.watching.now = now
	e.stepWith(now, ev, reason, e.facts())
}

func (e *Groups) stepWith(now time.Time, ev Event, reason string, f Facts) {
	w := &e.watching
	from, alarm := e.gate.State(), e.gate.Question()
	effect := e.gate.Step(ev, f)
	to := e.gate.State()
	if ev == EventUserProtect {
		e.accept(now, alarm)
	}
	if to == StateFind && (from != StateFind || ev == EventConnect) {
		w.findEnd, w.nobody = time.Time{}, false
		if e.regime.Known {
			w.findEnd = now.Add(findTime)
		}
	}
	if to != from {
		w.heldSaid, w.lineSaid = false, false
		w.lateAt, w.clearEnd, w.rememberAt, w.hello, w.unheard = time.Time{}, time.Time{}, time.Time{}, false, false
		if to != StateAlone {
			w.nobody = false
		}
		switch to {
		case StatePriv:
			w.rememberAt = now.Add(rememberTime)
		case StateClear:
			if ev == EventUserClear {
				w.clearEnd = now.Add(clearTime)
			}
		}
		e.emit(GateChanged{from, to, e.gate.Leave(), reason})
	}
	if to == StateHeld && (to != from || ev == EventConnect || ev == EventMoved) {
		w.lateAt = now.Add(lateTime) // in the new place it begins anew
	}
	e.effects(now, effect, ev, reason)
}

// effects does what a cell of the table asks for besides the state.
func (e *Groups) effects(now time.Time, effect Effect, ev Event, reason string) {
	if effect.Has(EffectAsk) {
		e.asked = e.question(reason)
		e.emit(Asked{e.gate.Question(), e.asked})
	}
	if effect.Has(EffectLine) {
		e.emit(Notice{NoticeGate, sentence(reason)})
	}
	if effect.Has(EffectHello) && e.gate.State() == StateClear { // elsewhere it is asked for anyway
		e.watching.hello = true
		e.watching.lateAt = now.Add(lateTime)
	}
	if effect.Has(EffectJoin) {
		e.emit(Notice{NoticeJoin, "People here speak encrypted. Say /sotto protect to join them."})
	}
	if effect.Has(EffectDeaf) {
		e.emit(Notice{NoticeDeaf, sentence(reason + " and hears silence")})
	}
	if effect.Has(EffectUnheard) {
		e.emit(Notice{NoticeUnheard, "Nobody who is here can hear you: they have no Sotto. What you say stays encrypted."})
	}
	if effect.Has(EffectNotPrivate) && !effect.Has(EffectLine) {
		e.emit(Notice{NoticeGate, sentence(reason)})
	}
	if effect.Has(EffectConfirm) {
		e.emit(Notice{NoticeConfirm, "This would let the server and everybody here listen. Say it once more to speak in clear."})
	}
	if effect.Has(EffectLeave) {
		e.emit(Notice{NoticeGate, "Nothing is sent. Leave the channel in Mumble to go on."})
	}
	if effect.Has(EffectPolicy) {
		e.emit(Notice{NoticeGate, "The policy you started Sotto with does not allow that."})
	}
}

// question words what StateAsked asks.
func (e *Groups) question(reason string) string {
	text := sentence(reason) + " Nothing is sent."
	switch e.gate.Question() {
	case QuestionClear:
		return text + " Wait (/sotto wait), speak in clear (/sotto clear), or leave the channel?"
	case QuestionIdentity, QuestionWorse:
		return text + " Go on if you know why (/sotto protect), or leave the channel?"
	case QuestionRemove:
		return text + " Wait (/sotto wait), or leave the channel?"
	}
	return text + " Wait (/sotto wait), or leave the channel?"
}

// wants says whether we are to be in the group (§3, §4).
func (e *Groups) wants() bool {
	w := &e.watching
	_, member := e.groupsOf[e.home]
	switch e.gate.State() {
	case StateHeld, StatePriv, StateTyped, StateAsked:
		return e.placed
	case StateClear:
		return e.placed && w.hello && w.clearEnd.IsZero() && len(e.knownWithout()) == 0
	case StateFind:
		return e.placed && member && w.want
	case StateAlone:
		// Nobody is here to say Hello to, but there may be in channels we listen to.
		return e.placed && (member || len(e.world.Places) > 1)
	case StateOff:
	}
	return false
}

// wish tells the agreement whether we want to be in the group. Who goes clear
// leaves it.
func (e *Groups) wish(now time.Time) {
	if want := e.wants(); want != e.watching.want {
		e.watching.want = want
		e.aud.Handle(now, audience.Join{Want: want})
	}
}

// sentence makes one of a few words.
func sentence(s string) string {
	s = strings.TrimSpace(s)
	if s == "" {
		return s
	}
	if !strings.HasSuffix(s, ".") && !strings.HasSuffix(s, "?") {
		s += "."
	}
	first, n := utf8.DecodeRuneInString(s) // a name begins with a quotation mark
	return string(unicode.ToUpper(first)) + s[n:]
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
