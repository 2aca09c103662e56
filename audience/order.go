package audience

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// waiting is a Commit, or with no message a Ref to one, in the order.
type waiting struct {
	epoch   uint64
	ref     envelope.Ref
	object  envelope.Object
	message *mls.Message // nil: the body is elsewhere
	from    uint32
	at      time.Time
}

// stall is a Ref whose body has not come: what is behind it waits (§6.2).
type stall struct {
	waiting
	since time.Time
	askAt time.Time
	own   bool // our own Commit stands behind it, and took its place
}

// bodies are Commits that came beside the order, before their Refs.
type bodies struct {
	list []waiting
	size int
}

const bodyLife = 30 * time.Second

func (b *bodies) put(w waiting) {
	for _, x := range b.list {
		if x.ref == w.ref {
			return
		}
	}
	b.list = append(b.list, w)
	b.size += len(w.object.Body)
	for len(b.list) > maxBodies || b.size > maxBodyBytes {
		b.size -= len(b.list[0].object.Body)
		b.list = slices.Delete(b.list, 0, 1)
	}
}

func (b *bodies) get(ref envelope.Ref) (waiting, bool) {
	for _, x := range b.list {
		if x.ref == ref {
			return x, true
		}
	}
	return waiting{}, false
}

func (b *bodies) expire(now time.Time) {
	b.list = slices.DeleteFunc(b.list, func(w waiting) bool {
		old := now.Sub(w.at) > bodyLife
		if old {
			b.size -= len(w.object.Body)
		}
		return old
	})
}

// receivedBody keeps a Commit that came beside the order until its Ref is there.
// Only members are kept room for.
func (m *Machine) receivedBody(now time.Time, g *group, q *peer, w waiting) {
	if g.bySession(q.session) == nil {
		m.stats.Unknown++
		return
	}
	m.bodies.put(w)
	if s := g.stall; s != nil && s.ref == w.ref {
		g.stall = nil
		w.epoch = s.epoch
		own := s.own
		m.process(now, g, w)
		m.ownBehind(now, g, own)
		m.drain(now, g)
	}
}

// receivedRef gives a Commit that was sent as bulk its place in the order.
func (m *Machine) receivedRef(now time.Time, q *peer, body []byte) {
	r, err := envelope.ParseRef(body)
	if err != nil || r.Kind != envelope.KindMLSMessage || r.Size > maxCommit {
		m.stats.Malformed++
		return
	}
	g := m.groups[r.Group]
	if g == nil || g.bySession(q.session) == nil {
		m.stats.Unknown++
		return
	}
	m.order(now, g, waiting{epoch: r.Epoch, ref: r.Ref, from: q.session, at: now})
}

// order takes a Commit whose turn it is; what stands behind a missing body or
// belongs to a later epoch waits.
func (m *Machine) order(now time.Time, g *group, w waiting) {
	switch {
	case w.epoch < g.epoch():
		m.stats.Stale++
		return
	case w.epoch > g.epoch()+maxHistory:
		m.stats.Unknown++
		return
	case w.epoch > g.epoch() || g.stall != nil:
		m.hold(now, g, w)
		return
	}
	m.process(now, g, w)
	m.drain(now, g)
}

func (m *Machine) hold(now time.Time, g *group, w waiting) {
	for _, x := range g.waiting {
		if x.ref == w.ref {
			return
		}
	}
	if len(g.waiting) >= maxWaiting {
		m.stats.Limited++
		return
	}
	g.waiting = append(g.waiting, w)
	if w.epoch > g.epoch() {
		m.fallBehind(now, g, w.from)
	}
}

// drain processes what waited and has its turn now.
func (m *Machine) drain(now time.Time, g *group) {
	for range maxWaiting {
		if g.stall != nil || m.groups[g.id] != g {
			return
		}
		g.waiting = slices.DeleteFunc(g.waiting, func(w waiting) bool { return w.epoch < g.epoch() })
		i := slices.IndexFunc(g.waiting, func(w waiting) bool { return w.epoch == g.epoch() })
		if i < 0 {
			return
		}
		w := g.waiting[i]
		g.waiting = slices.Delete(g.waiting, i, i+1)
		m.process(now, g, w)
	}
}

// process takes the first valid Commit of an epoch (§6.2), or in a regime without
// an order the first that arrives (§6.3).
func (m *Machine) process(now time.Time, g *group, w waiting) {
	if w.message == nil {
		body, ok := m.bodies.get(w.ref)
		if !ok {
			if w.ref == ownRef(g) {
				return // an answer to a Want of somebody else
			}
			g.stall = &stall{waiting: w, since: now, askAt: now}
			m.again = true
			return
		}
		body.epoch = w.epoch
		w = body
	}
	if w.message.Private == nil || w.message.Private.Epoch != g.epoch() || envelope.GroupID(w.message.Private.GroupID) != g.id {
		m.stats.Stale++
		return
	}
	if !g.budget.take(now) {
		// "Commits per group ... 4/s processed, rest delayed" (§12).
		m.hold(now, g, w)
		g.delayed = now.Add(time.Second / commitsPerSec)
		return
	}
	r, err := g.mls.Read(w.message, now)
	if err != nil {
		if !errors.Is(err, mls.ErrOwnMessage) {
			m.report(now, g, w, 0)
		}
		return
	}
	c, ok := r.(*mls.StagedCommit)
	if !ok {
		m.stats.Malformed++
		return
	}
	author := g.leaves[uint32(c.Sender().Leaf)]
	if author == nil {
		c.Discard()
		m.stats.Malformed++
		return
	}
	if err := m.checkCommit(g, c); err != nil {
		c.Discard()
		m.report(now, g, w, author.session())
		return
	}
	if m.regime == RegimeNoEcho && g.pending != nil && (g.want == nil || g.want.strange) && bytes.Compare(author.rank[:], g.leaves[g.own].rank[:]) > 0 {
		c.Discard() // ours goes before (§6.3), unless others have taken this one
		return
	}
	if author.session() == w.from {
		m.hear(now, g, author) // else somebody else brought it, perhaps one who made that leaf up
	}
	m.take(now, g, c, w.object, author.session())
}

func ownRef(g *group) envelope.Ref {
	if g.pending == nil {
		return envelope.Ref{}
	}
	return g.pending.ref
}

// ownBehind lets our own Commit take effect that stood behind a Ref which led to
// nothing.
func (m *Machine) ownBehind(now time.Time, g *group, own bool) {
	if own && g.pending != nil && g.pending.epoch == g.epoch() && g.stall == nil {
		m.takeOwn(now, g)
	}
}

// runOrder asks for the body of a stalled Ref, and skips it after 3 s as if it had
// never been sent: a withheld body must not block the epoch (§6.2).
func (m *Machine) runOrder(now time.Time, g *group) {
	if !g.delayed.IsZero() && m.reached(now, g.delayed) {
		g.delayed = time.Time{}
		m.drain(now, g)
	}
	s := g.stall
	if s == nil {
		return
	}
	if m.reached(now, s.since.Add(refSkip)) {
		g.stall = nil
		m.ownBehind(now, g, s.own)
		m.drain(now, g)
		return
	}
	if m.reached(now, s.askAt) {
		s.askAt = now.Add(wantPace)
		m.due(s.askAt)
		m.emit(Expect{From: s.from, Kind: envelope.KindMLSMessage})
		want := envelope.Want{Ref: s.ref}
		m.send(g.sessions(), envelope.Object{Kind: envelope.KindWant, Body: want.Append(nil)}, PriorityHello, false, sent{})
	}
}
