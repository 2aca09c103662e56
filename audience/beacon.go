package audience

import (
	"bytes"
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/mls"
)

// view is what a member's Beacon says of its history.
type view struct {
	epoch uint64
	now   [16]byte
	past  [][envelope.PastLen]byte
	at    time.Time
	// signed: by the leaf that we know of its session. Anybody could have made the others.
	signed bool
}

// digest returns the first eight bytes of D(e) that the Beacon names.
func (v *view) digest(e uint64) ([8]byte, bool) {
	switch {
	case e == v.epoch:
		return [8]byte(v.now[:8]), true
	case e < v.epoch && v.epoch-e <= uint64(len(v.past)):
		return v.past[v.epoch-e-1], true
	}
	return [8]byte{}, false
}

func (m *Machine) beaconPace(now time.Time, g *group) time.Duration {
	d := beaconEvery
	switch {
	case g.kind == envelope.AudienceDirect && now.Sub(g.usedAt) < directActive:
		d = beaconDirect
	case g.kind == envelope.AudienceDirect:
		d = directIdle
	case m.regime == RegimeNoEcho:
		d = beaconEveryN
	}
	return between(d*9/10, d*11/10)
}

// runBeacon sends our Beacon when it is due: to all Sotto sessions of the
// audience, members or not (§6.4).
func (m *Machine) runBeacon(now time.Time, g *group) {
	if m.groups[g.id] != g || g.beaconAt.IsZero() || !m.reached(now, g.beaconAt) {
		return
	}
	g.beaconAt = now.Add(m.beaconPace(now, g))
	m.due(g.beaconAt)
	priority := PriorityBeacon
	if g.proves && m.regime == RegimeNoEcho {
		priority = PriorityAdd // the author of the Commit waits for it
	}
	g.proves = false
	m.sendBeacon(now, g, append(m.sottosOf(g), g.sessions()...), priority)
}

func (m *Machine) sendBeacon(now time.Time, g *group, to []uint32, p Priority) {
	m.beacons++
	sum, _ := g.digestAt(g.epoch())
	b := envelope.Beacon{
		Group: g.id, Suite: uint16(g.suite), Epoch: g.epoch(), Leaf: g.own, Seq: m.beacons, Now: [16]byte(sum[:16]),
	}
	for i := len(g.digests) - 2; i >= 0 && len(b.Past) < envelope.MaxPast; i-- {
		if g.digests[i].epoch != g.epoch()-uint64(len(b.Past))-1 {
			break
		}
		b.Past = append(b.Past, [envelope.PastLen]byte(g.digests[i].sum[:envelope.PastLen]))
	}
	var err error
	if b.Signature, err = m.sign(g.suite, identity.LabelBeacon, b.SignedContent()); err != nil {
		return
	}
	m.tell(now, &g.beacon, to, envelope.Object{Kind: envelope.KindBeacon, Body: b.Append(nil)}, p)
}

// receivedBeacon: somebody says which epoch of which group it is in.
func (m *Machine) receivedBeacon(now time.Time, q *peer, body []byte) {
	b, err := envelope.ParseBeacon(body)
	if err != nil {
		m.stats.Malformed++
		return
	}
	if !q.beacons.take(now) {
		m.stats.Limited++
		return
	}
	m.seesSotto(q)
	g := m.groups[b.Group]
	if g == nil {
		m.foreignBeacon(now, q, b)
		return
	}
	if p := g.place; p != nil {
		p.forgetForeign(q.session)
		p.apart.back(q.session)
	}
	l := m.signerOf(g, q, b)
	if l == nil {
		// A leaf that our tree does not have: of another branch, or made up. It can
		// make us ask, and nothing else.
		m.stats.Unverified++
		if g.place != nil {
			// On another branch a member can have another leaf than here.
			m.strangeBeacon(now, g, q, &view{epoch: b.Epoch, now: b.Now, past: b.Past, at: now})
		}
		return
	}
	if int64(b.Seq) <= l.seq {
		m.stats.Stale++
		return
	}
	l.seq, l.shown = int64(b.Seq), true
	l.beacon = &view{epoch: b.Epoch, now: b.Now, past: b.Past, at: now}
	m.evidence(now, g, l.beacon)
	m.compare(now, g, l)
}

// signerOf returns the member whose signature a Beacon bears, by the key that we
// know at its leaf, now or in the last epochs. The session that the server names
// must be the one that the leaf claims.
func (m *Machine) signerOf(g *group, q *peer, b envelope.Beacon) *leaf {
	// Whose it says to be comes first: what strangers send is not worth a verification.
	if l := g.leaves[b.Leaf]; l != nil && l.session() == q.session {
		if verify(g.suite, l.key, identity.LabelBeacon, b.SignedContent(), b.Signature) {
			if mls.CipherSuite(b.Suite) != g.suite {
				m.stats.Attribution++
				return nil
			}
			return l
		}
	} else if l != nil {
		m.stats.Attribution++
	}
	for _, f := range g.former {
		if f.index == b.Leaf && f.session() == q.session && verify(g.suite, f.key, identity.LabelBeacon, b.SignedContent(), b.Signature) {
			// Removed here, and it does not know: it is behind or on another branch.
			return f.leaf
		}
	}
	return nil
}

// evidence: where nothing is echoed, a member that is or was in the epoch which our
// Commit makes has taken it (§6.3).
func (m *Machine) evidence(now time.Time, g *group, v *view) {
	w := g.pending
	if m.regime != RegimeNoEcho || w == nil || g.epoch() != w.epoch {
		return
	}
	d, ok := v.digest(w.epoch + 1)
	if ok && d == [8]byte(w.digest[:8]) && (v.epoch > w.epoch+1 || v.now == [16]byte(w.digest[:16])) {
		m.takeOwn(now, g)
	}
}

// compare holds a member's history against ours at the latest epoch that both
// name (§6.5).
func (m *Machine) compare(now time.Time, g *group, l *leaf) {
	v := l.beacon
	if g.late(now, v) {
		return
	}
	switch common, same := g.history().compare(v); {
	case !common && m.mayFollow(now, g, l.session(), v):
		m.fallBehind(now, g, l.session())
		return
	case !same:
		m.forked(now, g, l.session(), v, true)
		return
	}
	m.agrees(now, g, l)
	if v.epoch >= l.since {
		m.isIn(now, g, l)
	}
	switch {
	case v.epoch > g.epoch():
		m.fallBehind(now, g, l.session())
	case v.epoch == g.epoch():
		m.hear(now, g, l)
		l.behindAt = time.Time{}
		if q := m.peers[l.session()]; q != nil && g.place != nil {
			q.forget(g.place, l.ext.Role) // it is in, whatever it asked for before
		}
	default:
		switch lags := m.lags(now, g, v); {
		case !lags:
			l.behindAt = time.Time{}
		case l.behindAt.IsZero():
			l.behindAt = now
		}
	}
}

// hear notes a proof that a member follows.
func (m *Machine) hear(now time.Time, g *group, l *leaf) {
	l.alive, l.shown = now, true
	if now.After(l.heard) {
		l.heard = now
	}
	m.isIn(now, g, l)
}

// isIn: a member has got its Welcome. What it asked for before, and may have asked for
// again until then, is done.
func (m *Machine) isIn(now time.Time, g *group, l *leaf) {
	if q := m.peers[l.session()]; q != nil && g.place != nil && g.leaves[l.index] == l && l.gone.IsZero() && !l.leaving {
		if w := q.wish(now, g.place, l.ext.Role); w != nil && w.Reason == envelope.HelloJoin && bytes.Equal(w.kp.LeafNode.SignatureKey, l.key) {
			q.forget(g.place, l.ext.Role)
		}
	}
}

// proof: a frame of a member opened under our epoch's keys.
func (m *Machine) proof(now time.Time, in Proof) {
	if g := m.groups[in.Group]; g != nil && in.Epoch == g.epoch() {
		if l := g.leaves[in.Leaf]; l != nil {
			m.hear(now, g, l)
			l.behindAt = time.Time{}
		}
	}
}
