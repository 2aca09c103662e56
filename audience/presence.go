package audience

import (
	"crypto/rand"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
)

// askAfter is when somebody who has shown no sign of Sotto is sent our Presence
// again, for the first may have been lost.
var askAfter = [...]time.Duration{2 * time.Second, 8 * time.Second}

// runPresence announces us: to all of an audience when we enter it (E), or in voice
// where strangers get nothing else (T, N; §1.4).
func (m *Machine) runPresence(now time.Time, p *place) {
	if m.regime != RegimeEcho {
		m.runVoicePresence(now, p)
		return
	}
	if !p.announce.IsZero() && m.reached(now, p.announce) {
		p.announce = time.Time{}
		var to []uint32
		for _, h := range p.Hearers {
			to = append(to, h.Session)
		}
		m.sendPresence(now, to)
	}
	var again []uint32
	for _, h := range p.Hearers {
		q := m.peers[h.Session]
		n := p.asked[h.Session]
		if q == nil || q.sotto || n >= len(askAfter) {
			continue
		}
		if m.reached(now, latest(p.entered, q.since).Add(askAfter[n])) {
			p.asked[h.Session] = n + 1
			again = append(again, h.Session)
		}
	}
	if m.reached(now, latest(p.entered, p.askedAt).Add(presenceRepeat)) {
		p.askedAt = now
		m.due(now.Add(presenceRepeat))
		for _, h := range p.Hearers {
			if q := m.peers[h.Session]; q != nil && !q.sotto && !slices.Contains(again, h.Session) {
				again = append(again, h.Session)
			}
		}
	}
	m.sendPresence(now, again)
}

func (m *Machine) runVoicePresence(now time.Time, p *place) {
	if p.index != 0 || p.announce.IsZero() || len(p.Hearers) == 0 {
		return
	}
	at := p.announce
	if !p.voiced.IsZero() {
		at = latest(at, p.voiced.Add(presenceEvery))
	}
	if m.reached(now, at) {
		p.announce, p.voiced = time.Time{}, now
		p.spoken++
		m.emit(SendPresence{})
		// Voice may be there before the server shows us to others, and then means
		// nothing to them: twice more, as long as strangers are here.
		if p.spoken < 3 && m.strangers(p) {
			p.announce = now.Add(presenceEvery)
			m.due(p.announce)
		}
	}
}

// strangers reports whether somebody here has shown no sign of Sotto.
func (m *Machine) strangers(p *place) bool {
	return slices.ContainsFunc(p.Hearers, func(h Hearer) bool { q := m.peers[h.Session]; return q != nil && !q.sotto })
}

// announceAgain: where only voice reaches strangers, we speak up again 0.2 to 1 s
// after somebody unknown came, who may not be able to announce itself (§1.4).
func (m *Machine) announceAgain(now time.Time, p *place, before []Hearer) {
	if m.regime == RegimeEcho {
		return
	}
	for _, h := range p.Hearers {
		if q := m.peers[h.Session]; q != nil && !q.sotto && !slices.ContainsFunc(before, func(b Hearer) bool { return b.Session == h.Session }) {
			p.spoken = 0
			if at := now.Add(between(presenceSoonMin, presenceSoonMax)); p.announce.IsZero() || at.Before(p.announce) {
				p.announce = at
			}
			return
		}
	}
}

// news is our last Presence, or Beacon of a group, which may not have left yet. Where
// each object is a text, of which a server allows one a second, one that still waits
// gives way to the next, which goes to its receivers too: else, when many come, those
// who answer them would be busy for long.
type news struct {
	token    uint64
	to       []uint32
	since    time.Time // the first that gave way was sent
	priority Priority
}

// tell sends such an object. What has waited for long keeps its place: each new one goes
// to the end of its line, and who can make us send more often than the line moves could
// silence us.
func (m *Machine) tell(now time.Time, n *news, to []uint32, o envelope.Object, p Priority) {
	since := now
	if m.regime != RegimeEcho && m.waits(n.token) && now.Sub(n.since) < newsWait {
		m.cancel(n.token)
		to, since, p = m.present(append(to, n.to...)), n.since, min(p, n.priority)
	}
	*n = news{m.send(to, o, p, false, sent{purpose: forNews}), to, since, p}
}

// sendPresence tells sessions that we run Sotto.
func (m *Machine) sendPresence(now time.Time, to []uint32) {
	if len(to) > 0 {
		m.tell(now, &m.presence, to, m.ownPresence(), PriorityHello)
	}
}

func (m *Machine) ownPresence() envelope.Object {
	b := envelope.Presence{MaxVersion: 1, Suites: m.suites(), Wish: envelope.WishIfAll}
	if m.want {
		b.Wish = envelope.WishProtect
	}
	rand.Read(b.Nonce[:])
	return envelope.Object{Kind: envelope.KindPresence, Body: b.Append(nil)}
}

func (m *Machine) suites() []uint16 {
	out := make([]uint16, len(m.cfg.Suites))
	for i, cs := range m.cfg.Suites {
		out[i] = uint16(cs)
	}
	return out
}

// seesSotto notes that a session runs Sotto. Whoever wants in may have said so
// before we were known to it, so our Hello goes to it as well.
func (m *Machine) seesSotto(q *peer) {
	if q.sotto {
		return
	}
	q.sotto = true
	m.emit(RunsSotto{q.session})
	for _, p := range m.places {
		if j := p.joining; j != nil && j.toAll && j.object.Kind != 0 {
			if _, ok := p.hearer(q.session); ok {
				j.owed = append(j.owed, q.session)
			}
		}
	}
	m.again = true
}

// receivedPresence: a newcomer announces itself, or somebody answers us.
func (m *Machine) receivedPresence(now time.Time, q *peer, body []byte) {
	if _, err := envelope.ParsePresence(body); err != nil {
		m.stats.Malformed++
		return
	}
	if !q.presences.take(now) {
		m.stats.Limited++
		return
	}
	m.meet(now, q)
}

// meet answers a presence. Whether it answers one of ours we cannot tell, and it
// comes again if what we answered got lost: so once more after a while.
func (m *Machine) meet(now time.Time, q *peer) {
	news := !q.sotto
	m.seesSotto(q)
	p := m.anyPlace(q.session)
	if p == nil || !news && (now.Sub(q.answered) < answerGap || !q.repeats.take(now)) {
		return
	}
	if m.regime != RegimeEcho && p.group != nil && p.group.bySession(q.session) != nil {
		return // a member speaks to a newcomer; Beacons tell it all it needs, and texts are dear
	}
	m.answer(now, p, q)
}

// heardPresence is the same in voice. Text may go to that session from now on.
func (m *Machine) heardPresence(now time.Time, from uint32) {
	q := m.peers[from]
	if q == nil || m.session == 0 || !q.presences.take(now) {
		return
	}
	m.meet(now, q)
}

func (m *Machine) anyPlace(session uint32) *place {
	for _, p := range m.places {
		if _, ok := p.hearer(session); ok {
			return p
		}
	}
	return nil
}

// answer notes that q is to hear from us: a Beacon if we are among the first three
// ranks of a group here, else a Presence, after 0 to 300 ms so that many newcomers
// get one answer (§4). Where objects are texts, of which a server allows one a
// second, a voice presence answers everybody at once, and who is about to say Hello
// says nothing else: for a second or two it may yet be.
func (m *Machine) answer(now time.Time, p *place, q *peer) {
	if !q.answerAt.IsZero() {
		return
	}
	q.beacon = p.group != nil && m.rank(now, p.group) < 3
	if m.regime != RegimeEcho {
		m.announceSoon(now, p)
		if !q.beacon && m.want {
			return
		}
	}
	q.answerAt = now.Add(between(0, presenceMax))
	if m.regime != RegimeEcho && !q.beacon {
		q.answerAt = now.Add(between(presenceTextMin, presenceTextMax))
	}
}

// announceSoon lets a presence in voice follow 0.2 to 1 s after somebody unknown
// arrived (§1.4).
func (m *Machine) announceSoon(now time.Time, p *place) {
	if p.announce.IsZero() {
		p.announce = now.Add(between(presenceSoonMin, presenceSoonMax))
	}
}

// runAnswers sends the answers that are due, and with them those that soon are.
func (m *Machine) runAnswers(now time.Time) {
	var beacon, presence bool // is due
	for _, q := range m.peers {
		if !q.answerAt.IsZero() && m.reached(now, q.answerAt) {
			beacon, presence = beacon || q.beacon, presence || !q.beacon
		}
	}
	var presences []uint32
	beacons := map[*group][]uint32{}
	for _, q := range m.peers {
		if q.answerAt.IsZero() || !(q.beacon && beacon || !q.beacon && presence) {
			continue
		}
		q.answerAt, q.answered = time.Time{}, now
		p := m.anyPlace(q.session)
		switch {
		case q.beacon && p != nil && p.group != nil:
			beacons[p.group] = append(beacons[p.group], q.session)
		case m.regime == RegimeEcho || !m.want: // else our Hello says it
			presences = append(presences, q.session)
		}
	}
	slices.Sort(presences)
	m.sendPresence(now, presences)
	for _, g := range m.sortedGroups() {
		if to := beacons[g]; len(to) > 0 {
			slices.Sort(to)
			m.sendBeacon(now, g, to, PriorityBeacon)
		}
	}
}
