package audience

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
)

// healing is what is known of other branches of a group: members that are shown
// another history (§6.5).
type healing struct {
	views map[uint32]*view // by session: the last Beacon of who is elsewhere
	// ahead has, by session, when the first Beacon came that is of a later epoch and
	// names none of ours.
	ahead  map[uint32]time.Time
	said   bool // NoticeFork
	sure   bool // it was said of a view that is signed
	moveAt time.Time
}

// branch is one history that is not ours, and who is on it.
type branch struct {
	views    []*view
	sessions []uint32
	key      [8]byte // its D at the latest epoch that both name
	ours     [8]byte // ours there
}

// strangeBeacon is one for our group from a leaf that we do not know, at an epoch
// where it should be known: it was added on another branch, or is made up. Without
// a signature it counts as a wish to be asked, no more.
func (m *Machine) strangeBeacon(now time.Time, g *group, q *peer, v *view) {
	common, same := g.history().compare(v)
	switch {
	case g.late(now, v):
	case common && same && v.epoch > g.epoch() || !common && m.mayFollow(now, g, q.session, v):
		m.strangerAhead(now, g, q.session) // the same history so far, and it is in
	case common && same:
		// Not added yet here, or added and gone again; its own Beacons tell it.
	default:
		m.forked(now, g, q.session, v, false)
	}
}

// late reports whether a Beacon may have been under way since before we joined: it
// names no epoch that we were in, for all that it names are earlier. Its sender may
// have a slower line than who added us, or our Welcome went before it in a queue. The
// next one says whether its sender follows.
func (g *group) late(now time.Time, v *view) bool {
	return !g.joinedAt.IsZero() && now.Sub(g.joinedAt) < beaconLag && v.epoch < g.digests[0].epoch
}

// mayFollow reports whether somebody who is in a later epoch, and was in none of
// those that we know, may have come to it from where we are: added by a Commit that we
// miss, as one that reached us before our Welcome. We ask for it; if a Beacon still
// says so when we have had the time to follow, that one is of another branch.
func (m *Machine) mayFollow(now time.Time, g *group, session uint32, v *view) bool {
	h := &g.heal
	if v.epoch <= g.epoch() {
		return false
	}
	first, ok := h.ahead[session]
	if !ok {
		if h.ahead == nil {
			h.ahead = map[uint32]time.Time{}
		}
		if len(h.ahead) >= maxMembers {
			return false
		}
		h.ahead[session], first = now, now
	}
	return now.Sub(first) < beaconLag
}

// history is our own view of a group, as others see it.
func (g *group) history() *view {
	v := &view{epoch: g.epoch()}
	for i := len(g.digests) - 1; i >= 0; i-- {
		d := g.digests[i]
		switch {
		case d.epoch == v.epoch:
			v.now = [16]byte(d.sum[:16])
		case d.epoch == v.epoch-uint64(len(v.past))-1:
			v.past = append(v.past, [envelope.PastLen]byte(d.sum[:envelope.PastLen]))
		}
	}
	return v
}

// common is the latest epoch that two views name.
func (v *view) common(o *view) (uint64, bool) {
	for e := min(v.epoch, o.epoch); ; e-- {
		_, a := v.digest(e)
		_, b := o.digest(e)
		if a && b {
			return e, true
		}
		if e == 0 || v.epoch-e > maxHistory || o.epoch-e > maxHistory {
			return 0, false
		}
	}
}

// compare holds two views against each other at the latest epoch that both name.
func (v *view) compare(o *view) (common, same bool) {
	e, ok := v.common(o)
	if !ok {
		return false, false
	}
	if e == v.epoch && e == o.epoch {
		return true, v.now == o.now
	}
	a, _ := v.digest(e)
	b, _ := o.digest(e)
	return true, a == b
}

// forked notes that a session's history is another than ours. What is not signed by
// the leaf that we know takes nothing from it, and does not keep it.
func (m *Machine) forked(now time.Time, g *group, session uint32, v *view, signed bool) {
	h := &g.heal
	if h.views == nil {
		h.views = map[uint32]*view{}
	}
	if len(h.views) >= maxMembers {
		return
	}
	v.signed = signed
	h.views[session] = v
	if l := g.bySession(session); l != nil && signed {
		l.heard, l.alive = time.Time{}, now // it does not follow us
	}
	if !h.said || signed && !h.sure { // a stranger's word does not hide a member's
		h.said, h.sure = true, signed
		m.stats.Forks++
		m.emit(Notice{Code: NoticeFork, Place: g.index(), Session: session})
	}
	m.again = true
}

// agrees takes back what was noted of a member whose history is ours.
func (m *Machine) agrees(now time.Time, g *group, l *leaf) {
	delete(g.heal.views, l.session())
	delete(g.heal.ahead, l.session())
}

// runHealing brings the lighter branch over to the heavier one, and those who are
// behind up to us (§6.5).
func (m *Machine) runHealing(now time.Time, g *group) {
	if m.groups[g.id] != g {
		return
	}
	m.runBehind(now, g)
	h := &g.heal
	for s, v := range h.views {
		if !m.stillHere(g, s) || m.reached(now, v.at.Add(m.window())) {
			delete(h.views, s)
		}
	}
	for s := range h.ahead {
		if !m.stillHere(g, s) {
			delete(h.ahead, s)
		}
	}
	if len(h.views) == 0 {
		if h.said {
			h.said, h.sure = false, false
			m.emit(Notice{Code: NoticeHealed, Place: g.index()})
		}
		h.moveAt = time.Time{}
		return
	}
	b := g.heaviestBranch()
	if b == nil || !b.outweighs(m.weight(now, g)) {
		h.moveAt = time.Time{}
		return
	}
	if h.moveAt.IsZero() {
		h.moveAt = now.Add(between(0, time.Second))
	}
	if m.reached(now, h.moveAt) {
		m.rejoin(now, g, envelope.HelloFork, b.sessions)
	}
}

// outweighs reports whether our own branch, of this weight, is the lighter one: at
// equal weight the smaller digest stays.
func (b *branch) outweighs(ours int) bool {
	n := len(b.sessions)
	return n > ours || n == ours && bytes.Compare(b.key[:], b.ours[:]) < 0
}

// stillHere reports whether the server shows a session in a group's audience.
func (m *Machine) stillHere(g *group, session uint32) bool {
	if g.place == nil {
		return m.peers[session] != nil
	}
	_, here := g.place.hearer(session)
	return here
}

// heaviestBranch is the other branch that most people are on: of equals the one
// with the smaller digest at the latest epoch that it and we name. Both sides of a
// fork find the same epoch, though their members do not remember equally much. In a
// locked group only what its members have signed counts; nil: there is none.
func (g *group) heaviestBranch() *branch {
	var list []*branch
	own := g.history()
	for _, s := range slices.Sorted(maps.Keys(g.heal.views)) {
		v := g.heal.views[s]
		if g.locked() && !(v.signed && g.bySession(s) != nil) {
			continue // or whoever a locked group keeps out could call its members over
		}
		i := slices.IndexFunc(list, func(b *branch) bool {
			return slices.ContainsFunc(b.views, func(o *view) bool { _, same := o.compare(v); return same })
		})
		if i < 0 {
			i = len(list)
			list = append(list, &branch{})
		}
		list[i].views, list[i].sessions = append(list[i].views, v), append(list[i].sessions, s)
	}
	var best *branch
	for _, b := range list {
		b.parting(own)
		if best == nil || len(b.sessions) > len(best.sessions) ||
			len(b.sessions) == len(best.sessions) && bytes.Compare(b.key[:], best.key[:]) < 0 {
			best = b
		}
	}
	return best
}

// parting finds the digests that decide between a branch and our own: with no
// epoch that both name, those of now.
func (b *branch) parting(own *view) {
	b.key, b.ours = [8]byte(b.views[0].now[:8]), [8]byte(own.now[:8])
	var last uint64
	for _, v := range b.views {
		if e, ok := own.common(v); ok && e >= last {
			last = e
			b.key, _ = v.digest(e)
			b.ours, _ = own.digest(e)
		}
	}
}

// lags reports whether a Beacon of an earlier epoch says that its sender has not followed.
// Where each object is a text it may have waited for seconds, and the next one is half a
// minute away: one that came soon after the Commit says nothing.
func (m *Machine) lags(now time.Time, g *group, v *view) bool {
	if m.regime != RegimeNoEcho {
		return true
	}
	for _, c := range g.log {
		if c.epoch == v.epoch {
			return now.Sub(c.at) >= beaconLag
		}
	}
	return true
}

// runBehind sends a Commit again to members that have not followed it for 3 s: its
// author, or rank 0.
func (m *Machine) runBehind(now time.Time, g *group) {
	for _, l := range g.sorted() {
		if l.index == g.own || l.behindAt.IsZero() || l.beacon == nil || l.beacon.epoch >= g.epoch() || !l.gone.IsZero() {
			continue
		}
		at := latest(l.behindAt, g.epochAt).Add(behindPatience)
		if !l.resent.IsZero() {
			at = latest(at, l.resent.Add(behindPatience))
			if m.regime == RegimeNoEcho && !l.resent.Before(l.beacon.at) {
				continue // the next Beacon says whether that was enough
			}
		}
		if !m.reached(now, at) {
			continue
		}
		l.resent = now
		m.due(now.Add(behindPatience))
		for _, c := range g.log {
			if c.epoch == l.beacon.epoch && (c.author == m.session || g.bySession(c.author) == nil && m.rank(now, g) == 0) {
				m.sendAgain(now, g, wanted{session: l.session(), epoch: c.epoch})
				break
			}
		}
	}
}
