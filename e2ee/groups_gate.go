package e2ee

import (
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/trust"
)

// Times of the gate with groups (Sotto protocol §11), besides those of Engine.
const (
	enterTime    = 3 * time.Second  // without a sign of Sotto
	clearTime    = 30 * time.Minute // of clear by the user
	rememberTime = time.Second      // in Priv
)

// Codes of Notice, besides those of Engine and of the agreement.
const (
	NoticeLeaving = "leaving"
	NoticeGate    = "gate"
	NoticeDeaf    = "deaf"
	NoticeUnheard = "unheard"
	NoticeConfirm = "confirm"
	NoticeJoin    = "join"
)

// watching is what the gate's owner keeps in mind: the events of the table are
// said once, when they happen.
type watching struct {
	ownArrival bool // that we are here is the user's own act, and nothing else since
	moving     bool
	target     uint32
	moveEnd    time.Time
	findEnd    time.Time // meant in StateFind; zero: the regime is not known yet
	lateAt     time.Time // meant in StateHeld and StateClear
	clearEnd   time.Time // of clear by the user; zero: not by the user
	privAt     time.Time // in Priv since, until remembered
	hello      bool      // in Clear, everybody has Sotto: ask to be added
	nobody     bool      // EventNobody was said of this emptiness
	unheard    bool      // EventMembersLeft was said
	without    int       // people without Sotto, when last looked
	ready      readiness // that was said
	want       bool      // that the agreement knows
	heldSaid   bool
	byServer   bool
	judged     map[uint32][32]byte
	changed    []trust.Person // whose change the user is asked about
	worse      bool
	frames     uint64    // of presences in voice
	now        time.Time // of the input that is handled
}

// readiness is what EventGroupReady was said for.
type readiness struct {
	state State
	group [16]byte
	epoch uint64
}

// findFrom starts the three seconds of Find when something can be found out.
func (w *watching) findFrom(now time.Time) {
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
		if !w.privAt.IsZero() {
			soonest(w.privAt.Add(rememberTime))
		}
	}
	for _, p := range e.peers {
		if p.Hears && !p.sotto && !p.said {
			soonest(p.since.Add(enterTime))
		}
	}
	return at
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

func (e *Groups) facts() Facts {
	a := e.around()
	r := e.groupsOf[e.home]
	return Facts{
		Groups: true, Require: e.cfg.Policy == PolicyRequire, Moving: e.watching.moving || !e.placed,
		Sticky: e.sticky(), OwnArrival: e.watching.ownArrival,
		Closure: r != nil, AllSotto: a.hearers > 0 && a.without == 0,
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

// identityOf is the identity that a session's leaf has shown, in any group.
func (e *Groups) identityOf(session uint32) identity.PublicKey {
	for _, r := range e.groupsOf {
		if l, ok := r.member(session); ok {
			return l.Who.Identity
		}
	}
	return identity.PublicKey{}
}

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
	if alarm.Alarm() && (ev == EventUserProtect || ev == EventUserClear && to == StateClear) {
		e.accept(now)
	}
	if to == StateFind && (from != StateFind || ev == EventConnect) {
		w.findEnd, w.nobody = time.Time{}, false
		if e.regime.Known {
			w.findEnd = now.Add(findTime)
		}
	}
	if to != from {
		w.heldSaid = false
		w.lateAt, w.clearEnd, w.privAt, w.hello, w.unheard = time.Time{}, time.Time{}, time.Time{}, false, false
		switch to {
		case StateHeld:
			w.lateAt = now.Add(lateTime)
		case StatePriv:
			w.privAt = now
		case StateClear:
			if ev == EventUserClear {
				w.clearEnd = now.Add(clearTime)
			}
		}
		e.emit(GateChanged{from, to, e.gate.Leave(), reason})
	}
	e.effects(now, effect, ev, reason)
}

// effects does what a cell of the table asks for besides the state.
func (e *Groups) effects(now time.Time, effect Effect, ev Event, reason string) {
	if effect.Has(EffectAsk) {
		e.emit(Asked{e.gate.Question(), e.question(reason)})
	}
	if effect.Has(EffectLine) {
		e.emit(Notice{NoticeGate, sentence(reason)})
	}
	if effect.Has(EffectHello) {
		e.watching.hello = true
		e.watching.lateAt = now.Add(lateTime)
	}
	if effect.Has(EffectJoin) {
		e.emit(Notice{NoticeJoin, "People here speak encrypted. Say /sotto protect to join them."})
	}
	if effect.Has(EffectDeaf) {
		e.emit(Notice{NoticeDeaf, sentence(reason)})
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

// accept takes the user's word for what the alarm was about.
func (e *Groups) accept(now time.Time) {
	for _, p := range e.watching.changed {
		e.cfg.Book.Accept(now, e.cfg.Address, p)
	}
	e.watching.changed = nil
	if e.watching.worse {
		e.cfg.Book.AcceptServer(now, e.cfg.Address, e.serverFacts())
		e.watching.worse = false
	}
	e.saveBook()
}

func (e *Groups) serverFacts() trust.Facts {
	f := trust.Facts{Version: e.world.Version}
	switch {
	case e.regime.TextEcho:
		f.Regime = trust.RegimeText
	case e.regime.Echo:
		f.Regime = trust.RegimeEcho
	case e.regime.Known:
		f.Regime = trust.RegimeNone
	}
	if _, ok := e.groupsOf[e.home]; ok {
		f.Suite = uint16(e.aud.Suite(e.home))
	}
	return f
}

// checkServer: "suite, regime or server version worse than remembered" (§11).
func (e *Groups) checkServer(now time.Time) {
	if !e.placed || e.watching.worse {
		return
	}
	if reason, worse := e.cfg.Book.Worse(now, e.cfg.Address, e.serverFacts()); worse {
		e.watching.worse = true
		e.step(now, EventWorse, reason)
	}
}

// settle says the events that have come about, and keeps the agreement's wish.
func (e *Groups) settle(now time.Time) {
	w := &e.watching
	w.now = now
	if w.moving && !now.Before(w.moveEnd) {
		w.moving = false
		e.step(now, EventConnect, "the move did not come about")
	}
	if e.placed && !w.moving {
		e.look(now)
	}
	e.wish(now)
}

// look compares the audience with what was said of it.
func (e *Groups) look(now time.Time) {
	w := &e.watching
	a := e.around()
	if a.hearers == 0 {
		if !w.nobody {
			w.nobody = true
			e.step(now, EventNobody, "nobody else hears you")
		}
	} else {
		w.nobody = false
	}
	e.lookEntered(now)
	if w.without > 0 && a.without == 0 && a.hearers > 0 {
		e.step(now, EventWithoutLeft, "everybody here has Sotto now")
	}
	w.without = a.without
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
	}
	if e.gate.State() == StateClear && !w.clearEnd.IsZero() && !now.Before(w.clearEnd) {
		e.step(now, EventClearOver, "30 minutes of speaking in clear are over")
	}
	e.sayHeld()
}

// lookEntered says who has come without Sotto, once it had its time to show it.
func (e *Groups) lookEntered(now time.Time) {
	for _, s := range e.sessions() {
		p := e.peers[s]
		if !p.Hears || p.sotto || p.said || now.Before(p.since.Add(enterTime)) {
			continue
		}
		p.said = true
		e.step(now, EventEnters, p.Label+" has no Sotto and hears silence")
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
		return e.labels(list) + " is here"
	}
	return e.labels(list) + " are here"
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
		if a.hearers > 0 && e.gate.State() == StatePriv && !w.unheard {
			w.unheard = true
			e.step(now, EventMembersLeft, "the last other member left")
		}
		return
	}
	w.unheard = false
	if !r.follows(others) {
		return
	}
	if len(r.health.Overdue) > 0 {
		return // "Remove overdue" is answered first
	}
	is := readiness{e.gate.State(), r.Group, r.Epoch}
	if is.state == StatePriv || is == w.ready {
		return
	}
	if !w.worse && is.group != w.ready.group {
		e.checkServer(now)
	}
	w.ready = readiness{e.gate.State(), r.Group, r.Epoch}
	e.step(now, EventGroupReady, "the keys are ready")
}

// follows reports whether somebody else is known to have the keys: whoever was in
// the group that we joined, or has shown it since. Who was just added has not got
// its Welcome yet, and would miss what is said.
func (r *roster) follows(others int) bool {
	return r.joined || r.health.Group == r.Group && len(r.health.Unconfirmed) < others
}

// remember writes the sticky memory after a second in Priv (§11).
func (e *Groups) remember(now time.Time) {
	w := &e.watching
	if w.privAt.IsZero() || now.Before(w.privAt.Add(rememberTime)) {
		return
	}
	w.privAt = time.Time{}
	r := e.groupsOf[e.home]
	if r == nil {
		return
	}
	var people []trust.Person
	for _, l := range r.Leaves {
		if l.Index != r.Own {
			people = append(people, e.person(l.Session, l.Who.Identity))
		}
	}
	e.cfg.Book.Remember(now, e.cfg.Address, e.world.Channel, people)
	e.cfg.Book.RememberServer(now, e.cfg.Address, e.serverFacts())
	e.saveBook()
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

// wish tells the agreement whether we want to be in the group (§3, §4).
func (e *Groups) wish(now time.Time) {
	w := &e.watching
	_, member := e.groupsOf[e.home]
	want := w.want
	switch e.gate.State() {
	case StateHeld, StatePriv, StateTyped, StateAsked:
		want = true
	case StateClear:
		want = w.hello && w.clearEnd.IsZero()
	case StateFind:
		want = member && w.want
	case StateAlone:
		want = member
	case StateOff:
		want = false
	}
	if !e.placed {
		want = false
	}
	if want != w.want {
		w.want = want
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
	return strings.ToUpper(s[:1]) + s[1:]
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
