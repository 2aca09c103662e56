package audience

import (
	"bytes"
	"time"

	"github.com/sotto-voip/sotto/envelope"
)

// healing is what is known of other branches of a group: members that are shown
// another history (§6.5).
type healing struct {
	branches map[uint32]branch // by session
	said     bool              // NoticeFork
	moveAt   time.Time
}

// branch is where a member's history leaves ours.
type branch struct {
	epoch uint64  // the first that differs, as far as both name it
	key   [8]byte // its D there
	ours  [8]byte // ours there
	at    time.Time
}

// forked notes that l's history is another than ours.
func (m *Machine) forked(now time.Time, g *group, l *leaf, v *view) {
	b := branch{epoch: v.epoch, key: [8]byte(v.now[:8]), at: now}
	if d, ok := g.digestAt(g.epoch()); ok {
		b.ours = [8]byte(d[:8])
	}
	for _, d := range g.digests {
		if theirs, ok := v.digest(d.epoch); ok && theirs != [8]byte(d.sum[:8]) {
			b.epoch, b.key, b.ours = d.epoch, theirs, [8]byte(d.sum[:8])
			break
		}
	}
	m.branched(now, g, l.session(), b)
}

// strangeBeacon is one for our group from a leaf that we do not know, at an epoch
// where it should be known: it was added on another branch, or is made up. Without
// a signature it counts as a wish to be asked, no more.
func (m *Machine) strangeBeacon(now time.Time, g *group, q *peer, b envelope.Beacon) {
	v := view{epoch: b.Epoch, now: b.Now, past: b.Past, at: now}
	for _, d := range g.digests {
		if theirs, ok := v.digest(d.epoch); ok {
			if theirs != [8]byte(d.sum[:8]) {
				m.branched(now, g, q.session, branch{epoch: d.epoch, key: theirs, ours: [8]byte(d.sum[:8]), at: now})
				return
			}
			// The same history so far, and it is in: we are behind.
			if b.Epoch > g.epoch() {
				m.fallBehind(now, g, q.session)
				return
			}
		}
	}
}

func (m *Machine) branched(now time.Time, g *group, session uint32, b branch) {
	h := &g.heal
	if h.branches == nil {
		h.branches = map[uint32]branch{}
	}
	if len(h.branches) >= maxMembers {
		return
	}
	h.branches[session] = b
	if l := g.bySession(session); l != nil {
		l.heard = time.Time{} // it does not follow us
	}
	if !h.said {
		h.said = true
		m.stats.Forks++
		m.emit(Notice{Code: NoticeFork, Place: g.index(), Session: session})
	}
	m.again = true
}

// agrees takes back what was noted of a member whose history is ours.
func (m *Machine) agrees(now time.Time, g *group, l *leaf) {
	delete(g.heal.branches, l.session())
}

// runHealing brings the lighter branch over to the heavier one, and those who are
// behind up to us (§6.5).
func (m *Machine) runHealing(now time.Time, g *group) {
	if m.groups[g.id] != g {
		return
	}
	m.runBehind(now, g)
	h := &g.heal
	for s, b := range h.branches {
		if !m.stillHere(g, s) || m.reached(now, b.at.Add(m.window())) {
			delete(h.branches, s)
		}
	}
	if len(h.branches) == 0 {
		if h.said {
			h.said = false
			m.emit(Notice{Code: NoticeHealed, Place: g.index()})
		}
		h.moveAt = time.Time{}
		return
	}
	key, weight, to := m.heaviestBranch(g)
	ours := m.weight(now, g)
	b := h.branches[to[0]]
	if weight < ours || weight == ours && bytes.Compare(key[:], b.ours[:]) >= 0 {
		h.moveAt = time.Time{}
		return
	}
	if h.moveAt.IsZero() {
		h.moveAt = now.Add(between(0, time.Second))
	}
	if m.reached(now, h.moveAt) {
		m.rejoin(now, g, envelope.HelloFork, to)
	}
}

// stillHere reports whether the server shows a session in a group's audience.
func (m *Machine) stillHere(g *group, session uint32) bool {
	if g.place == nil {
		return m.peers[session] != nil
	}
	_, here := g.place.hearer(session)
	return here
}

// heaviestBranch is the other branch that most members are on: of equals the one
// with the smaller digest.
func (m *Machine) heaviestBranch(g *group) (key [8]byte, weight int, to []uint32) {
	count := map[[8]byte][]uint32{}
	for s, b := range g.heal.branches {
		count[b.key] = append(count[b.key], s)
	}
	for k, list := range count {
		if len(list) > weight || len(list) == weight && bytes.Compare(k[:], key[:]) < 0 {
			key, weight, to = k, len(list), list
		}
	}
	return key, weight, m.present(to)
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
