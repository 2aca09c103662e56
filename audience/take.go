package audience

import (
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// take makes a Commit take effect: the next epoch begins.
func (m *Machine) take(now time.Time, g *group, c *mls.StagedCommit, o envelope.Object, author uint32) {
	if g.pending != nil {
		m.discard(g) // another took effect first
	}
	b := begun{committer: author, path: c.HasPath(), alone: g.alone()}
	var out []*leaf
	for _, i := range c.Removed() {
		b.removed = append(b.removed, uint32(i))
		if l := g.leaves[uint32(i)]; l != nil {
			out = append(out, l)
			g.former = append(g.former, formerLeaf{l, g.epoch()})
		}
	}
	welcomes, added, removesUs := c.Welcomes(), c.Added(), c.RemovesUs()
	m.logCommit(now, g, o, author)
	if err := g.mls.Merge(c); err != nil {
		m.stats.Invalid++ // cannot happen: it was staged in this epoch
		m.drop(g, LostBroken, 0)
		return
	}
	if removesUs {
		m.removedUs(now, g, author)
		return
	}
	for _, l := range out {
		g.mls.ForgetLeaf(mls.LeafIndex(l.index))
		delete(g.leaves, l.index)
	}
	g.own = uint32(g.mls.OwnIndex())
	if data, ok := extension(g.mls.Context().Extensions, envelope.ExtensionGroup); ok {
		before := g.ext.Flags
		if ext, err := envelope.ParseSottoGroup(data); err == nil {
			g.ext = ext
		}
		if locked := g.ext.Flags & envelope.FlagLocked; locked != before&envelope.FlagLocked {
			m.emit(Notice{Code: NoticeLocked, Place: g.index(), By: author, Locked: locked != 0})
		}
		if g.lock != nil && *g.lock == (g.ext.Flags&envelope.FlagLocked != 0) {
			g.lock = nil
		}
	}
	m.readLeaves(now, g)
	m.afterCommit(now, g, b, author)
	m.fulfilled(g, added)
	if author == m.session {
		for _, i := range added {
			if l := g.leaves[uint32(i)]; l != nil {
				l.shown = true // by the Hello or answer that we checked
			}
		}
	}
	m.watch(now, g)
	m.begin(now, g, b)
	if author == m.session && len(g.leaves) == len(added)+1 {
		g.beaconAt = now // a founder is to be seen before others found
		if g.place != nil && g.place.joining == nil {
			m.withdraw(g.place) // who has company goes nowhere by the Hello of before
		}
	}
	if author == m.session {
		m.sendWelcomes(now, g, welcomes, added)
	}
	m.tellRemoved(g, out, added, author)
	m.drain(now, g)
}

// afterCommit keeps the clocks of §6.1 and §8.
func (m *Machine) afterCommit(now time.Time, g *group, b begun, author uint32) {
	g.committed, g.removal = now, len(b.removed) > 0
	if b.path {
		g.pathAt, g.burst = now, time.Time{}
		if author == m.session {
			g.renewed, g.unrefreshed = now, false
			m.scheduleRenewal(now, g)
		}
	} else {
		g.burst = now.Add(between(burstUpdateMin, burstUpdateMax))
	}
	life := pastLife
	if len(b.removed) > 0 {
		life = pastLifeRemove
	}
	if until := now.Add(life); g.pastUntil.IsZero() || len(b.removed) > 0 || until.After(g.pastUntil) {
		g.pastUntil = until
	}
	g.want, g.stall = nil, nil
	g.answers = slices.DeleteFunc(g.answers, func(w wanted) bool { return w.epoch+maxHistory < g.epoch() })
}

// logCommit keeps the ciphertext for who missed it (§6.4).
func (m *Machine) logCommit(now time.Time, g *group, o envelope.Object, author uint32) {
	g.log = append(g.log, logged{epoch: g.epoch(), object: o, ref: o.Ref(), author: author, at: now})
	g.logSize += len(o.Body)
	for len(g.log) > maxHistory || g.logSize > maxHistoryBytes && len(g.log) > 1 {
		g.logSize -= len(g.log[0].object.Body)
		g.log = slices.Delete(g.log, 0, 1)
	}
}

// fulfilled drops the Hellos of those who were added.
func (m *Machine) fulfilled(g *group, added []mls.LeafIndex) {
	for _, i := range added {
		if l := g.leaves[uint32(i)]; l != nil {
			if q := m.peers[l.session()]; q != nil && g.place != nil {
				q.forget(g.place, l.ext.Role)
			}
		}
	}
}

// sendWelcomes goes to those whom our Commit added, after it took effect (§4).
func (m *Machine) sendWelcomes(now time.Time, g *group, welcomes []*mls.Welcome, added []mls.LeafIndex) {
	for i, w := range welcomes {
		var to []uint32
		for _, x := range added[min(i*maxJoiners, len(added)):min((i+1)*maxJoiners, len(added))] {
			if l := g.leaves[uint32(x)]; l != nil {
				to = append(to, l.session())
			}
		}
		body := (&mls.Message{Welcome: w}).Marshal()
		token := m.send(to, envelope.Object{Kind: envelope.KindWelcome, Body: body}, PriorityWelcome,
			m.regime == RegimeEcho && len(body) > maxOrdered, sent{purpose: forWelcome, group: g.id})
		if token != 0 {
			g.welcomes, g.welcomedAt = g.welcomes+1, now
		}
	}
}

// welcoming reports whether a Welcome of ours has not left yet: to add more people
// meanwhile would only make the queue longer.
func (m *Machine) welcoming(now time.Time, g *group) bool {
	return g.welcomes > 0 && !m.reached(now, g.welcomedAt.Add(m.welcomeTime()))
}

// welcomeTime is how long a joiner's Welcome may be under way.
func (m *Machine) welcomeTime() time.Duration {
	if m.regime == RegimeNoEcho {
		return 2 * welcomeGrace // a text a second, in both directions
	}
	return welcomeGrace
}

// tellRemoved names who removed somebody that the server still shows (§5).
func (m *Machine) tellRemoved(g *group, out []*leaf, added []mls.LeafIndex, author uint32) {
	back := map[uint32]bool{}
	for _, i := range added {
		if l := g.leaves[uint32(i)]; l != nil {
			back[l.session()] = true
		}
	}
	for _, l := range out {
		if l.gone.IsZero() && !l.leaving && !back[l.session()] && author != m.session {
			m.emit(Notice{Code: NoticeRemovedBy, Place: g.index(), Session: l.session(), By: author})
		}
	}
}

// removedUs: somebody else decided that we are gone. If we are not, we say Hello
// again (§5).
func (m *Machine) removedUs(now time.Time, g *group, author uint32) {
	p := g.place
	id, epoch := g.id, g.mls.Epoch()
	others := g.sessions()
	m.drop(g, LostRemoved, author)
	if p == nil || !m.want {
		return
	}
	p.forked = p.forked || g.heal.said
	m.stays(now, p, g, others)
	// One that replaces us comes with a Welcome; else wait as for any other.
	p.reason, p.known, p.epoch = envelope.HelloCannotProcess, id, epoch
	if p.joining == nil {
		p.joining = &joining{retryAt: now.Add(between(reevaluate, time.Second)), sentAt: now, tries: 1}
		m.emit(Notice{Code: NoticeRemovedUs, Place: p.index, By: author})
	}
}

// stays notes that a group which we are no longer in goes on here: nobody founds
// beside it, and the Welcome of who replaced us may be on its way.
func (m *Machine) stays(now time.Time, p *place, g *group, members []uint32) {
	f := &foreign{id: g.id, suite: g.suite, sessions: map[uint32]time.Time{}}
	for _, s := range members {
		if _, here := p.hearer(s); here {
			f.sessions[s] = now
		}
	}
	if len(f.sessions) > 0 && len(p.foreign) < maxForeign {
		p.foreign[g.id] = f
	}
}
