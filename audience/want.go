package audience

import (
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
)

// behind says that others are in an epoch that we have not reached (§6.5).
type behind struct {
	epoch uint64 // ours when it was noticed
	since time.Time
	askAt time.Time
	from  uint32
	// strange: whoever says so is no member here, so that anybody could have said it.
	strange bool
}

// wanted is an answer to somebody's Want, which gives the author time to answer
// first.
type wanted struct {
	session uint32
	epoch   uint64
	at      time.Time
	byRef   bool
}

// fallBehind notes that from, a member, is ahead of us.
func (m *Machine) fallBehind(now time.Time, g *group, from uint32) {
	if g.want == nil || g.want.strange {
		g.want = &behind{epoch: g.epoch(), since: now, askAt: now.Add(reevaluate), from: from}
		m.again = true
	}
}

// strangerAhead is the same of somebody whose leaf we do not know, and whom we
// believe only if no member shows for a round of Beacons that it is where we are.
func (m *Machine) strangerAhead(now time.Time, g *group, from uint32) {
	if g.want == nil && !now.Before(g.strangers) {
		g.strangers = now.Add(strangersEvery)
		g.want = &behind{epoch: g.epoch(), since: now, askAt: now.Add(reevaluate), from: from, strange: true}
		m.again = true
	}
}

// patience is how long to wait for the Commit that we miss.
func (b *behind) patience(r Regime) time.Duration {
	switch {
	case b.strange && r == RegimeNoEcho:
		return beaconEveryN * 12 / 10
	case b.strange:
		return beaconEvery * 12 / 10
	}
	return behindPatience
}

// stays reports whether a member has shown since a time that it is in our epoch.
func (g *group) stays(since time.Time) bool {
	for _, l := range g.leaves {
		if l.index != g.own && l.heard.After(since) {
			return true
		}
	}
	return false
}

// runWants asks for the Commit that we miss, and answers those who miss one.
func (m *Machine) runWants(now time.Time, g *group) {
	if m.groups[g.id] != g {
		return
	}
	if b := g.want; b != nil && b.epoch != g.epoch() {
		g.want = nil
	} else if b != nil && b.strange && g.stays(b.since) {
		g.want = nil
	} else if b != nil {
		if m.reached(now, b.askAt) {
			b.askAt = now.Add(wantPace)
			if b.strange {
				b.askAt = now.Add(b.patience(m.regime))
			}
			m.due(b.askAt)
			m.emit(Expect{From: b.from, Kind: envelope.KindMLSMessage})
			want := envelope.Want{Group: g.id, Epoch: g.epoch()}
			m.send(g.sessions(), envelope.Object{Kind: envelope.KindWant, Body: want.Append(nil)}, PriorityHello, false, sent{})
		}
		if m.reached(now, b.since.Add(b.patience(m.regime))) {
			m.rejoin(now, g, envelope.HelloCannotProcess, m.sottosOf(g))
		}
	}
	var rest []wanted
	for _, w := range g.answers {
		if m.reached(now, w.at) {
			if m.mayAnswer(now, g, w) {
				m.sendAgain(now, g, w)
			}
		} else {
			rest = append(rest, w)
		}
	}
	g.answers = rest
}

// sottosOf are the Sotto sessions of a group's audience.
func (m *Machine) sottosOf(g *group) []uint32 {
	if g.place == nil {
		return g.sessions()
	}
	return m.sottos(g.place)
}

// rejoin asks to be added again, and keeps the old group until the Welcome is in
// (§6.5). A direct group is given up: who needs it opens another.
func (m *Machine) rejoin(now time.Time, g *group, reason envelope.HelloReason, to []uint32) {
	p := g.place
	if p == nil {
		m.drop(g, LostBroken, 0)
		return
	}
	if !m.want || p.joining != nil || len(m.present(to)) == 0 {
		return
	}
	p.reason, p.known, p.epoch = reason, g.id, g.epoch()
	m.sayHello(now, p, reason, to, reason == envelope.HelloCannotProcess)
	p.reason, p.known, p.epoch = envelope.HelloJoin, envelope.GroupID{}, 0
}

// receivedWant: somebody misses a Commit. Its author answers at once, the others by rank
// (two of them where objects are texts), as long as no Beacon shows that it has caught up.
func (m *Machine) receivedWant(now time.Time, q *peer, body []byte) {
	w, err := envelope.ParseWant(body)
	if err != nil {
		m.stats.Malformed++
		return
	}
	b := m.wants[q.session]
	if b == nil {
		b = &bucket{rate: wantEvery, burst: 2}
		m.wants[q.session] = b
	}
	if !b.take(now) {
		m.stats.Limited++
		return
	}
	for _, g := range m.sortedGroups() {
		if g.bySession(q.session) == nil || !w.Group.IsZero() && w.Group != g.id {
			continue
		}
		if p := g.pending; p != nil && p.ref == w.Ref {
			m.send([]uint32{q.session}, p.object, PriorityAdd, m.regime == RegimeEcho, sent{})
			return
		}
		for _, c := range g.log {
			if c.ref != w.Ref && (w.Group.IsZero() || c.epoch != w.Epoch) {
				continue
			}
			at := now
			if c.author != m.session {
				if m.regime != RegimeEcho && m.rank(now, g) > 1 {
					return // one answer is several texts, and nobody sees those of others
				}
				at = now.Add(time.Duration(m.rank(now, g)+1) * wantStep)
			}
			g.answers = append(g.answers, wanted{session: q.session, epoch: c.epoch, at: at, byRef: w.Group.IsZero()})
			if len(g.answers) > maxWaiting {
				g.answers = slices.Delete(g.answers, 0, 1)
			}
			return
		}
	}
}

// mayAnswer bounds what one member can make us send again: each Commit once as it comes
// further, and another only after a while, which where objects are texts is long for a
// long one.
func (m *Machine) mayAnswer(now time.Time, g *group, w wanted) bool {
	l := g.bySession(w.session)
	if l == nil {
		return false
	}
	pause := behindPatience
	if m.regime != RegimeEcho {
		pause = againText
		for _, c := range g.log {
			if c.epoch == w.epoch {
				pause += time.Duration(len(c.object.Body)>>10) * againTextKiB
			}
		}
	}
	if w.epoch < l.answered && now.Sub(l.answeredAt) < pause {
		m.stats.Limited++
		return false
	}
	l.answered, l.answeredAt = max(l.answered, w.epoch+1), now
	return true
}

// sendAgain brings a Commit of the log to one who misses it, unless it has caught
// up.
func (m *Machine) sendAgain(now time.Time, g *group, w wanted) {
	l := g.bySession(w.session)
	if l == nil || l.beacon != nil && l.beacon.epoch > w.epoch {
		return
	}
	for _, c := range g.log {
		if c.epoch != w.epoch {
			continue
		}
		l.resent = now
		to := []uint32{w.session}
		if w.byRef {
			m.send(to, c.object, PriorityAdd, m.regime == RegimeEcho, sent{})
			return
		}
		if m.regime == RegimeEcho && len(c.object.Body) > maxOrdered {
			m.send(to, c.object, PriorityAdd, true, sent{})
			ref := envelope.RefObject{Ref: c.ref, Kind: c.object.Kind, Size: uint32(len(c.object.Body)), Group: g.id, Epoch: c.epoch}
			m.send(to, envelope.Object{Kind: envelope.KindRef, Body: ref.Append(nil)}, PriorityAdd, false, sent{})
			return
		}
		m.send(to, c.object, PriorityAdd, false, sent{})
		return
	}
}
