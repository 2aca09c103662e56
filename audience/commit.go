package audience

import (
	"bytes"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// pending is our Commit that waits to take effect. Until then nothing changes, for
// us either (§6.1).
type pending struct {
	staged *mls.StagedCommit
	token  uint64 // of the Send whose echo is its point in the order
	object envelope.Object
	ref    envelope.Ref
	epoch  uint64 // that it ends
	digest [32]byte
	at     time.Time
	tries  int
}

// needs is what a group wants committed.
type needs struct {
	removes  []*leaf
	adds     []wish
	lock     bool
	removeAt time.Time
	addAt    time.Time
	updateAt time.Time // after a burst of path-less Adds, or our own turn
	own      bool      // the update is our own renewal, whatever our rank
}

// wish is a Hello that can be committed.
type wish struct {
	*hello
	peer *peer
}

func (n needs) any() bool {
	return len(n.removes) > 0 || len(n.adds) > 0 || n.lock || !n.updateAt.IsZero()
}

// look finds out what the group needs.
func (m *Machine) look(now time.Time, g *group) needs {
	var n needs
	earliest := func(at *time.Time, t time.Time) {
		if at.IsZero() || t.Before(*at) {
			*at = t
		}
	}
	for _, l := range g.sorted() {
		switch {
		case l.index == g.own:
		case l.leaving || !l.gone.IsZero():
			n.removes = append(n.removes, l)
			earliest(&n.removeAt, l.gone)
		case g.place != nil && m.reached(now, m.silentAt(l)):
			n.removes = append(n.removes, l)
			earliest(&n.removeAt, m.silentAt(l))
		}
	}
	if g.place != nil && !m.welcoming(now, g) {
		for _, h := range g.place.Hearers {
			q := m.peers[h.Session]
			if q == nil {
				continue
			}
			w := q.wish(now, g.place, h.Role)
			m.knocks(g, q, w)
			if w != nil && m.mayAdd(now, g, q, w) {
				n.adds = append(n.adds, wish{w, q})
				earliest(&n.addAt, m.askedAt(w))
			}
		}
	}
	n.lock = g.lock != nil
	if !g.burst.IsZero() {
		n.updateAt = g.burst
	}
	renewAt := latest(g.renewAt, g.pathAt.Add(updateGap))
	if len(g.leaves) > 1 && (n.updateAt.IsZero() || renewAt.Before(n.updateAt)) {
		n.updateAt, n.own = renewAt, true
	}
	if len(g.leaves) == 1 {
		n.updateAt = time.Time{} // nobody to renew against
	}
	return n
}

// askedAt is from when on the ranks wait for each other to add somebody. Where objects are
// texts that takes longer than until the next Hello, which must not put it off.
func (m *Machine) askedAt(w *hello) time.Time {
	if m.regime == RegimeEcho {
		return w.at
	}
	return w.first
}

// knocks says once that somebody wants into a group that is locked.
func (m *Machine) knocks(g *group, q *peer, w *hello) {
	switch {
	case g.ext.Flags&envelope.FlagLocked == 0:
		g.knocked = nil
	case w != nil && w.kp.CipherSuite == g.suite && g.bySession(q.session) == nil && !g.knocked[q] && len(g.knocked) < maxMembers:
		if g.knocked == nil {
			g.knocked = map[*peer]bool{}
		}
		g.knocked[q] = true
		m.emit(Notice{Code: NoticeNotAdded, Place: g.index(), Session: q.session, Locked: true})
	}
}

// mayAdd reports whether q's Hello can be committed in g (§4).
func (m *Machine) mayAdd(now time.Time, g *group, q *peer, w *hello) bool {
	if w.kp.CipherSuite != g.suite {
		return false
	}
	if w.Reason == envelope.HelloMerge && w.KnownGroup == g.id {
		return false // it moves away from here
	}
	if w.checked && w.sound.KeyPackage() == nil {
		return false
	}
	old := g.bySession(q.session)
	if old == nil {
		return g.ext.Flags&envelope.FlagLocked == 0 && (len(g.leaves) < maxMembers)
	}
	if w.checked && !mayReplace(old, w) {
		return false // while it is here; else ranks would be due for what none may commit
	}
	if w.Reason == envelope.HelloJoin && old.gone.IsZero() && !old.leaving && bytes.Equal(w.kp.LeafNode.SignatureKey, old.key) &&
		!old.heard.IsZero() && now.Sub(old.heard) <= m.window() {
		// It is in, on this very connection, and follows: somebody plays its Hello again.
		return false
	}
	// A Welcome may still be under way to who was just added, and says it again.
	return !old.heard.IsZero() || !old.gone.IsZero() || m.reached(now, old.added.Add(m.welcomeTime()))
}

// mayReplace: with equal identity and device always, with others only after the
// server showed the old user gone (§4).
func mayReplace(old *leaf, w *hello) bool {
	return old.who.Identity == w.who.Identity && old.who.Device == w.who.Device || !old.gone.IsZero()
}

// runCommit commits what is due when it is our turn (§6.1).
func (m *Machine) runCommit(now time.Time, g *group) {
	if m.groups[g.id] != g {
		return
	}
	if g.pending != nil {
		m.runPending(now, g)
		return
	}
	if g.stall != nil {
		return
	}
	n := m.look(now, g)
	if !n.any() {
		return
	}
	if at := m.turn(now, g, n); !m.reached(now, at) {
		return
	}
	m.commit(now, g, n)
}

// turn is when we are to commit.
func (m *Machine) turn(now time.Time, g *group, n needs) time.Time {
	rank := time.Duration(m.rank(now, g)) * m.rankPause()
	var at time.Time
	earliest := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	since := func(t time.Time) time.Time { return latest(t, g.epochAt) }
	if len(n.removes) > 0 {
		t := since(n.removeAt)
		if g.removal {
			t = latest(t, g.committed.Add(commitEvery))
		}
		earliest(t.Add(rank))
	}
	if len(n.adds) > 0 {
		earliest(latest(since(n.addAt.Add(batchAdds)), g.committed.Add(m.addPause(g))).Add(m.addWait(now, g, n.addAt)))
	}
	if n.lock {
		earliest(g.committed.Add(commitEvery))
	}
	if !n.updateAt.IsZero() {
		t := latest(n.updateAt, g.committed.Add(commitEvery))
		if !n.own {
			t = t.Add(rank)
		}
		earliest(t)
	}
	if !g.joinedAt.IsZero() && !g.stays(g.joinedAt) {
		// A Commit that reached us before our Welcome was for the epoch that it brought,
		// and others are further by now: ours would be a branch of our own.
		at = latest(at, g.joinedAt.Add(newcomerWait))
	}
	return latest(at, g.blockedAt)
}

// addPause: at most one Commit a second; a group of ourselves alone has nobody who
// could be flooded.
func (m *Machine) addPause(g *group) time.Duration {
	if g.alone() {
		return 0
	}
	return commitEvery
}

// commit makes a Commit of all that is due: Removes first, then Adds.
func (m *Machine) commit(now time.Time, g *group, n needs) {
	d := draft{lock: n.lock}
	for _, l := range n.removes {
		if len(d.removes) < maxProposals/2 {
			d.removes = append(d.removes, l)
		}
	}
	// Who came first goes first: a later Hello may be made to collide with it.
	slices.SortStableFunc(n.adds, func(a, b wish) int { return a.at.Compare(b.at) })
	for _, w := range n.adds {
		q := w.peer
		if d.size(g)+3 > maxProposals || len(g.leaves)-len(d.removes)+len(d.adds) >= maxMembers {
			break
		}
		if !m.check(now, q, w.hello) {
			continue
		}
		old := g.bySession(q.session)
		if old != nil && !slices.Contains(d.removes, old) && !mayReplace(old, w.hello) {
			w.refused = true
			continue
		}
		if g.ext.Admission != envelope.AdmitPresent && (old == nil || old.who.Identity != w.who.Identity) && (m.cfg.Admit == nil || !m.cfg.Admit(w.who)) {
			m.emit(Notice{Code: NoticeNotAdded, Place: g.index(), Session: q.session})
			q.forget(g.place, w.leaf.Role)
			continue
		}
		d.adds = append(d.adds, w)
	}
	update := !n.updateAt.IsZero() && !now.Before(n.updateAt)
	if d.size(g) == 0 && !update {
		if len(n.adds) > 0 {
			g.blockedAt = now.Add(rankPause) // what was said was not true, or not yet checked
		}
		return
	}
	staged, err := m.stage(now, g, &d)
	if err != nil && len(d.adds) > 0 {
		m.sift(now, g, &d)
		if d.size(g) == 0 && !update {
			g.blockedAt = now.Add(rankPause)
			return
		}
		staged, err = m.stage(now, g, &d)
	}
	if err != nil {
		m.refuse(now, g)
		return
	}
	m.launch(now, g, staged, d.size(g), len(d.gone(g)) > 0)
}

// lockProposal changes the flag "locked" and nothing else.
func (m *Machine) lockProposal(g *group) mls.Proposal {
	ext := g.ext
	ext.Flags &^= envelope.FlagLocked
	if *g.lock {
		ext.Flags |= envelope.FlagLocked
	}
	list := slices.Clone(g.mls.Context().Extensions)
	for i, e := range list {
		if e.Type == mls.ExtensionType(envelope.ExtensionGroup) {
			list[i].Data = ext.Append(nil)
		}
	}
	return mls.GroupContextExtensions{Extensions: list}
}

// propose stages our Commit and sends it.
func (m *Machine) propose(now time.Time, g *group, proposals []mls.Proposal, path mls.PathPolicy) {
	staged, err := m.stageProposals(now, g, proposals, path)
	if err != nil {
		m.refuse(now, g)
		return
	}
	m.launch(now, g, staged, len(proposals), false)
}

// refuse waits after a Commit that could not be made.
func (m *Machine) refuse(now time.Time, g *group) {
	m.stats.Invalid++
	g.blockedAt = now.Add(commitAgain)
	m.dropHellos(g)
}

// launch sends our Commit of so many proposals.
func (m *Machine) launch(now time.Time, g *group, staged *mls.StagedCommit, proposals int, removes bool) {
	o := envelope.Object{Kind: envelope.KindMLSMessage, Body: staged.Message().Marshal()}
	if len(o.Body) > maxCommit {
		staged.Discard()
		g.blockedAt = now.Add(commitAgain)
		return
	}
	w := &pending{
		staged: staged, object: o, ref: o.Ref(), epoch: g.epoch(), at: now,
		digest: digestOf(g.id, g.epoch()+1, staged.EpochAuthenticator()),
	}
	g.pending = w
	if g.alone() {
		m.takeOwn(now, g) // nobody else has an order to agree on
		return
	}
	priority := PriorityUpdate
	switch {
	case removes:
		priority = PriorityRemove
	case proposals > 0:
		priority = PriorityAdd
	}
	w.token = m.sendCommit(g, g.sessions(), o, g.epoch(), priority)
	if w.token == 0 || m.regime == RegimeNoEcho && !m.witnesses(now, g, staged) {
		m.takeOwn(now, g) // nobody is there, or nobody who could show that it took effect
	}
}

// witnesses reports whether somebody who follows stays in the group of a Commit.
func (m *Machine) witnesses(now time.Time, g *group, c *mls.StagedCommit) bool {
	for _, l := range m.ranks(now, g) {
		if l.index != g.own && !slices.Contains(c.Removed(), mls.LeafIndex(l.index)) {
			return true
		}
	}
	return false
}

// dropHellos forgets what could not be committed, so that one bad KeyPackage does
// not stop the others for ever. Whoever means it says Hello again.
func (m *Machine) dropHellos(g *group) {
	if g.place == nil {
		return
	}
	for _, h := range g.place.Hearers {
		if q := m.peers[h.Session]; q != nil {
			q.forget(g.place, h.Role)
		}
	}
}

// sendCommit sends a Commit in the order: itself, or where it is too long for
// that its body beside the order first and then a Ref (§6.2). The token is that of
// what is under way.
func (m *Machine) sendCommit(g *group, to []uint32, o envelope.Object, epoch uint64, priority Priority) uint64 {
	if m.regime != RegimeEcho || len(o.Body) <= maxOrdered {
		return m.send(to, o, priority, false, sent{purpose: forCommit, group: g.id, epoch: epoch})
	}
	return m.send(to, o, priority, true, sent{purpose: forBody, group: g.id, epoch: epoch, priority: priority})
}

// bodySent: the body of our Commit has left, so that its Ref finds it there: who
// waits for a body stops the order. Where the carrier had to send it in the order,
// it has its point already.
func (m *Machine) bodySent(now time.Time, g *group, token uint64, why sent, ordered bool) {
	w := g.pending
	if w == nil || w.token != token {
		return
	}
	if ordered {
		m.ownEcho(now, g, token)
		return
	}
	ref := envelope.RefObject{Ref: w.ref, Kind: w.object.Kind, Size: uint32(len(w.object.Body)), Group: g.id, Epoch: w.epoch}
	w.token = m.send(g.sessions(), envelope.Object{Kind: envelope.KindRef, Body: ref.Append(nil)}, why.priority, false,
		sent{purpose: forCommit, group: g.id, epoch: w.epoch})
	if w.token == 0 {
		m.takeOwn(now, g) // none of them is on the server any more
	}
}

// ownEcho: our Commit came back, first in the order for its epoch.
func (m *Machine) ownEcho(now time.Time, g *group, token uint64) {
	w := g.pending
	if w == nil || w.token != token || w.epoch != g.epoch() || m.regime == RegimeNoEcho {
		return
	}
	if g.stall != nil {
		// Another Ref stands before it; its body decides.
		g.stall.own = true
		return
	}
	m.takeOwn(now, g)
}

func (m *Machine) takeOwn(now time.Time, g *group) {
	w := g.pending
	g.pending = nil
	m.stats.Commits++
	g.blockedAt = time.Time{}
	m.take(now, g, w.staged, w.object, m.session)
}

// commitFailed: the server does not pass our Commit on (§6.2).
func (m *Machine) commitFailed(now time.Time, g *group, token uint64) {
	if g.pending == nil || g.pending.token != token {
		return
	}
	m.discard(g)
	g.blockedAt = now.Add(commitAgain)
	m.emit(Notice{Code: NoticeNoCommit, Place: g.index()})
}

// discard gives our pending Commit up.
func (m *Machine) discard(g *group) {
	w := g.pending
	g.pending = nil
	w.staged.Discard()
	if w.token != 0 {
		m.cancel(w.token)
	}
}

// runPending waits for evidence where there is no echo: the same bytes twice more,
// then it is given up (§6.3). With an echo the carrier says Failed.
func (m *Machine) runPending(now time.Time, g *group) {
	w := g.pending
	if m.regime != RegimeNoEcho || !m.reached(now, w.at.Add(evidenceWait)) {
		return
	}
	w.tries++
	if w.tries >= evidenceTries {
		token := w.token
		m.commitFailed(now, g, token)
		return
	}
	w.at = now
	delete(m.tokens, w.token)
	if w.token = m.sendCommit(g, g.sessions(), w.object, w.epoch, PriorityRemove); w.token == 0 {
		m.takeOwn(now, g)
		return
	}
	m.due(w.at.Add(evidenceWait))
}
