package e2ee

import (
	"bytes"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/trust"
)

// leafKey names somebody in our groups: a session with the identity that its leaf
// shows.
type leafKey struct {
	session  uint32
	identity identity.PublicKey
}

// judged is what the Book said about somebody.
type judged struct {
	person trust.Person
	reason string // why the identity counts as changed; "": it does not
	said   bool   // the user was asked, or told
	seen   bool   // the Book was told
}

// person is what is known of a session for trust.
func (e *Groups) person(session uint32, id identity.PublicKey) trust.Person {
	p := trust.Person{Identity: id}
	if q := e.peers[session]; q != nil {
		p.Name, p.CertHash, p.Registered, p.HasRegistered = q.Name, q.CertHash, q.Registered, q.HasRegistered
	}
	return p
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

// rosters are all groups in an order that does not change from run to run.
func (e *Groups) rosters() []*roster {
	out := make([]*roster, 0, len(e.groupsOf))
	for _, r := range e.groupsOf {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *roster) int { return bytes.Compare(a.Group[:], b.Group[:]) })
	return out
}

// judge asks the Book about everybody in our groups who is new there or whom the
// server shows otherwise than before (§9.5). Who is not in question is remembered,
// once that session has shown itself that the leaf is its own.
func (e *Groups) judge(now time.Time) {
	before := e.watching.judged
	e.watching.judged = make(map[leafKey]judged, len(before))
	for _, r := range e.rosters() {
		r.suspect = false
		for _, l := range r.Leaves {
			if l.Index == r.Own {
				continue
			}
			k := leafKey{l.Session, l.Who.Identity}
			p := e.person(l.Session, l.Who.Identity)
			j, ok := before[k]
			if !ok || j.person != p && e.peers[l.Session] != nil {
				reason := e.cfg.Book.Judge(e.cfg.Address, p).Reason()
				j = judged{person: p, reason: reason, said: j.said && reason == j.reason}
			}
			if known, ok := e.watching.judged[k]; ok {
				j.seen, j.said = j.seen || known.seen, j.said || known.said // in two groups
			}
			if j.reason == "" && !j.seen && r.shown(l.Session) {
				e.cfg.Book.See(now, e.cfg.Address, p)
				j.seen = true
				if w := &e.watching; r.Group == e.home && e.gate.State() == StatePriv && w.rememberAt.IsZero() {
					w.rememberAt = now.Add(rememberTime)
				}
			}
			e.watching.judged[k] = j
			r.suspect = r.suspect || j.reason != ""
		}
	}
	e.saveBook()
}

// lookPeople asks about changed identities in the groups that we send to. In the
// own channel's the question comes back until the user has accepted them or is
// gone: nothing else leads out of it (§9.5, §11).
func (e *Groups) lookPeople(now time.Time) {
	for _, r := range e.rosters() {
		home := r.Group == e.home
		if !r.suspect || !home && !(r.direct && r.wanted) {
			continue
		}
		for _, l := range r.Leaves {
			k := leafKey{l.Session, l.Who.Identity}
			j := e.watching.judged[k]
			open := e.gate.Question() == QuestionIdentity || e.gate.State() == StateClear || !home
			if j.reason == "" || j.said && open {
				continue
			}
			j.said = true
			e.watching.judged[k] = j
			e.step(now, EventIdentity, j.reason)
		}
	}
}

// Suspects are the people in the groups that we send to whose identity has changed,
// which the user has not accepted: their sessions, sorted.
func (e *Groups) Suspects() (list []uint32) {
	for _, r := range e.groupsOf {
		if !r.suspect || r.Group != e.home && !(r.direct && r.wanted) {
			continue
		}
		for _, l := range r.Leaves {
			if e.watching.judged[leafKey{l.Session, l.Who.Identity}].reason != "" {
				list = append(list, l.Session)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// askAgain lets lookPeople ask again about direct groups, which are closed until
// their people are accepted.
func (e *Groups) askAgain() {
	if e.gate.Question() == QuestionIdentity {
		return
	}
	for k, j := range e.watching.judged {
		j.said = false
		e.watching.judged[k] = j
	}
}

// accept takes the user's word for what the alarm was about.
func (e *Groups) accept(now time.Time, alarm Question) {
	switch alarm {
	case QuestionIdentity:
		for k, j := range e.watching.judged {
			if j.reason != "" && j.said {
				e.cfg.Book.Accept(now, e.cfg.Address, j.person)
				delete(e.watching.judged, k)
			}
		}
		e.judge(now)
	case QuestionWorse:
		f := e.serverFacts()
		if f.Suite == 0 {
			f.Suite = e.suiteBefore(now) // nothing was said of it
		}
		e.cfg.Book.AcceptServer(now, e.cfg.Address, f)
		e.saveBook()
	case QuestionNone, QuestionWait, QuestionClear, QuestionRemove:
	}
}

// suiteBefore is the suite that is remembered of this server.
func (e *Groups) suiteBefore(now time.Time) uint16 {
	for _, s := range []struct{ worse, is uint16 }{{uint16(audience.SuiteClassic), uint16(audience.SuiteHybrid)}, {^uint16(0), uint16(audience.SuiteClassic)}} {
		if _, worse := e.cfg.Book.Worse(now, e.cfg.Address, trust.Facts{Suite: s.worse, Version: ^uint64(0)}); worse {
			return s.is
		}
	}
	return 0
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

// lookServer: "suite, regime or server version worse than remembered" (§11). The
// question comes back, after an own move too, until the user has accepted it.
func (e *Groups) lookServer(now time.Time) {
	w := &e.watching
	switch {
	case e.gate.Question().Alarm(), e.gate.State() == StateClear && w.lineSaid:
		return // a worse server does not replace a changed identity
	}
	if reason, worse := e.cfg.Book.Worse(now, e.cfg.Address, e.serverFacts()); worse {
		e.step(now, EventWorse, reason)
		w.lineSaid = true
	}
}

// remember writes the sticky memory after a second in Priv, and after a second
// with somebody new (§11).
func (e *Groups) remember(now time.Time) {
	w := &e.watching
	if w.rememberAt.IsZero() || now.Before(w.rememberAt) {
		return
	}
	w.rememberAt = time.Time{}
	r := e.groupsOf[e.home]
	if r == nil {
		return
	}
	var people []trust.Person
	room := true
	for _, l := range r.Leaves {
		if l.Index == r.Own || !r.shown(l.Session) {
			continue // a leaf alone is the word of who added it
		}
		p := e.person(l.Session, l.Who.Identity)
		if !e.remembers.takeN(now, e.cfg.Book.Fresh(now, e.cfg.Address, p), rememberRate, rememberBurst) {
			room = false
			continue
		}
		people = append(people, p)
	}
	if all := e.cfg.Book.Remember(now, e.cfg.Address, e.world.Channel, people); (!room || !all) && !w.fullSaid {
		w.fullSaid = true
		e.emit(Notice{NoticeMemory, "So many people came that Sotto cannot remember all of them as protected. If one comes back without Sotto, you will not be asked."})
	}
	e.cfg.Book.RememberServer(now, e.cfg.Address, e.serverFacts())
	e.saveBook()
}

func (e *Groups) saveBook() {
	if e.cfg.Book.Changed() {
		e.emit(MemoryChanged{})
	}
}
