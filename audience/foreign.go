package audience

import (
	"bytes"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// foreign is a group of a place that we are not in, known by Beacons that we
// cannot verify. It can make us ask to be added there, and nothing else.
type foreign struct {
	id       envelope.GroupID
	suite    mls.CipherSuite
	sessions map[uint32]time.Time
	moveAt   time.Time // when we go over to it; zero: not decided
	tries    int       // Hellos that nobody there answered
	quiet    time.Time // not asked again before then
}

// asked notes a Hello to the group. Until it is time to say it again others are asked:
// whoever claims a group that is none must not keep us from those that are.
func (f *foreign) asked(now time.Time) {
	f.quiet = now.Add(patience(f.tries))
	f.tries++
}

// weight is the number of sessions that are present here and speak for the group
// (§4): a count of sessions cannot be forged by somebody who is not there.
func (f *foreign) weight(p *place) int {
	n := 0
	for s := range f.sessions {
		if _, ok := p.hearer(s); ok {
			n++
		}
	}
	return n
}

// speakers are the sessions that are present here and speak for the group.
func (f *foreign) speakers(p *place) []uint32 {
	var out []uint32
	for s := range f.sessions {
		if _, ok := p.hearer(s); ok {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

func (f *foreign) speaks(session uint32) bool { _, ok := f.sessions[session]; return ok }

// forgets reports whether nobody here speaks for the group.
func (f *foreign) forgets(p *place) bool { return f.weight(p) == 0 }

func (p *place) forgetForeign(session uint32) {
	for id, f := range p.foreign {
		delete(f.sessions, session)
		if len(f.sessions) == 0 {
			delete(p.foreign, id)
		}
	}
}

// hasForeign reports whether there is a foreign group that we could get into.
func (p *place) hasForeign() bool {
	for id := range p.foreign {
		if !p.apart.is(id) {
			return true
		}
	}
	return false
}

// heaviest is the foreign group that most people here speak for, of those that do
// not owe us an answer; nil if there is none. Of equals the smaller id.
func (p *place) heaviest(now time.Time) *foreign {
	var best *foreign
	for _, f := range p.foreign {
		if now.Before(f.quiet) || p.apart.is(f.id) {
			continue
		}
		if best == nil || outweighs(f.weight(p), f.id, best.weight(p), best.id) {
			best = f
		}
	}
	return best
}

// outweighs: more present people, and of equals the smaller id (§4).
func outweighs(a int, aID envelope.GroupID, b int, bID envelope.GroupID) bool {
	return a > b || a == b && bytes.Compare(aID[:], bID[:]) < 0
}

// foreignBeacon notes that somebody here is in another group.
func (m *Machine) foreignBeacon(now time.Time, q *peer, b envelope.Beacon) {
	known := false
	if m.supports(mls.CipherSuite(b.Suite)) {
		// A Beacon does not say for which audience its group is. Somebody who listens
		// here speaks elsewhere, so that it counts in each place where it is heard.
		for _, p := range m.places {
			if _, here := p.hearer(q.session); here {
				known = true
				m.noteForeign(now, p, q, b)
			}
		}
	}
	if !known {
		m.stats.Unknown++
	}
}

// noteForeign counts a session for the group of its last Beacon, and for no other.
func (m *Machine) noteForeign(now time.Time, p *place, q *peer, b envelope.Beacon) {
	for id, f := range p.foreign {
		if id != b.Group {
			delete(f.sessions, q.session)
		}
	}
	f := p.foreign[b.Group]
	if f == nil {
		if len(p.foreign) >= maxForeign {
			m.stats.Limited++
			return
		}
		f = &foreign{id: b.Group, suite: mls.CipherSuite(b.Suite), sessions: map[uint32]time.Time{}}
		p.foreign[b.Group] = f
		m.emit(GroupSeen{Place: p.index, Group: b.Group, Suite: b.Suite})
	}
	f.sessions[q.session] = now
	p.apart.beacon(q.session, b.Group)
	if j := p.joining; j != nil && p.group == nil {
		if len(j.object.Body) > 0 && j.suite != f.suite && p.heaviest(now) == f {
			j.retryAt = now // "A Beacon in another suite: Hello in that suite" (§4)
		}
	}
	m.again = true
}

func (m *Machine) window() time.Duration {
	if m.regime == RegimeNoEcho {
		return weightWindowN
	}
	return weightWindow
}

// runForeign lets the members of the lighter of two groups go over to the other
// (§4, Merge).
func (m *Machine) runForeign(now time.Time, p *place) {
	for id, f := range p.foreign {
		for s, at := range f.sessions {
			if _, here := p.hearer(s); !here || m.reached(now, at.Add(m.window())) {
				delete(f.sessions, s)
			}
		}
		if len(f.sessions) == 0 {
			delete(p.foreign, id)
		}
	}
	g := p.group
	f := p.heaviest(now)
	if g == nil || f == nil || !m.want {
		return
	}
	ours := m.weight(now, g)
	if g.locked() || !outweighs(f.weight(p), f.id, ours, g.id) {
		f.moveAt = time.Time{}
		return
	}
	for len(p.moves) > 0 && now.Sub(p.moves[0]) > moveWindow {
		p.moves = p.moves[1:]
	}
	if len(p.moves) >= maxMoves {
		if !p.split {
			p.split = true
			m.emit(Notice{Code: NoticeTwoGroups, Place: p.index})
		}
		m.due(p.moves[0].Add(moveWindow + time.Second))
		return
	}
	if f.moveAt.IsZero() {
		f.moveAt = now.Add(between(0, time.Second))
	}
	if p.joining != nil || !m.reached(now, f.moveAt) {
		return
	}
	to := make([]uint32, 0, len(f.sessions))
	for s := range f.sessions {
		to = append(to, s)
	}
	p.reason, p.known, p.epoch = envelope.HelloMerge, g.id, g.epoch()
	m.sayHello(now, p, envelope.HelloMerge, to, false)
	f.asked(now)
	f.moveAt = f.quiet
	m.due(f.quiet)
	p.reason, p.known, p.epoch = envelope.HelloJoin, envelope.GroupID{}, 0
}

// weight of our own group, or branch of it: we, and the members present whose last
// sign of our history is recent.
func (m *Machine) weight(now time.Time, g *group) int {
	n := 1
	for _, l := range g.leaves {
		if l.index != g.own && l.gone.IsZero() && !l.heard.IsZero() && now.Sub(l.heard) <= m.window() {
			n++
		}
	}
	return n
}
