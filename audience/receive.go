package audience

import (
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/mls"
)

// received takes in one object from the carrier. Who sent it is the server's word.
func (m *Machine) received(now time.Time, in Received) {
	if m.session == 0 || in.From == m.session {
		return
	}
	q := m.peers[in.From]
	if q == nil {
		m.stats.Unknown++
		return
	}
	switch in.Object.Kind {
	case envelope.KindPresence:
		m.receivedPresence(now, q, in.Object.Body)
	case envelope.KindHello:
		m.receivedHello(now, q, in.Object.Body)
	case envelope.KindMLSMessage:
		m.receivedMessage(now, q, in.Object, in.Bulk)
	case envelope.KindWelcome:
		m.receivedWelcome(now, q, in.Object.Body)
	case envelope.KindRef:
		m.receivedRef(now, q, in.Object.Body)
	case envelope.KindWant:
		m.receivedWant(now, q, in.Object.Body)
	case envelope.KindBeacon:
		m.receivedBeacon(now, q, in.Object.Body)
	case envelope.KindKeyPackageRequest:
		m.receivedRequest(now, q, in.Object)
	case envelope.KindKeyPackageReply:
		m.receivedReply(now, q, in.Object.Body)
	case envelope.KindReport:
		m.receivedReport(now, q, in.Object.Body)
	}
}

// receivedMessage is a PrivateMessage: application data, which is read at once, or
// a Commit, which has a point in the order. All else has no use here (§2).
func (m *Machine) receivedMessage(now time.Time, q *peer, o envelope.Object, bulk bool) {
	msg, err := mls.ParseMessage(o.Body)
	if err != nil || msg.Private == nil || len(msg.Private.GroupID) != len(envelope.GroupID{}) {
		m.stats.Malformed++
		return
	}
	g := m.groups[envelope.GroupID(msg.Private.GroupID)]
	if g == nil {
		m.stats.Unknown++
		return
	}
	switch msg.Private.ContentType {
	case mls.ContentApplication:
		m.receivedApplication(now, g, q, msg)
	case mls.ContentCommit:
		if len(o.Body) > maxCommit {
			m.stats.Limited++
			return
		}
		if g.bySession(q.session) == nil {
			m.stats.Unknown++ // a member added in a Commit that we miss; others have it too
			return
		}
		w := waiting{epoch: msg.Private.Epoch, ref: o.Ref(), object: o, message: msg, from: q.session, at: now}
		if bulk && m.regime == RegimeEcho {
			m.receivedBody(now, g, q, w)
			return
		}
		m.order(now, g, w)
	default:
		m.stats.Malformed++
	}
}

// receivedReport: a member could not process a Commit. Two of them name its author
// (§6.5).
func (m *Machine) receivedReport(now time.Time, q *peer, body []byte) {
	r, err := envelope.ParseReport(body)
	if err != nil {
		m.stats.Malformed++
		return
	}
	g := m.groups[r.Group]
	if g == nil {
		m.stats.Unknown++
		return
	}
	l := g.leaves[r.Leaf]
	if l == nil || l.session() != q.session || !q.hellos.take(now) ||
		!verify(g.suite, l.key, identity.LabelReport, r.SignedContent(), r.Signature) {
		m.stats.Unverified++
		return
	}
	c := g.reported(r.Commit)
	if slices.Contains(c.by, q.session) {
		return
	}
	c.by = append(c.by, q.session)
	m.blame(g, r.Commit, c)
}

// reported is a Commit that members could not process, and who they are.
type reported struct {
	author uint32 // session, if we know it
	by     []uint32
}

func (g *group) reported(ref envelope.Ref) *reported {
	c := g.reports[ref]
	if c == nil {
		if len(g.reports) >= maxHistory {
			clear(g.reports)
		}
		c = &reported{}
		g.reports[ref] = c
		for _, l := range g.log {
			if l.ref == ref {
				c.author = l.author
			}
		}
	}
	return c
}

// blame names the author of a Commit that two members report.
func (m *Machine) blame(g *group, ref envelope.Ref, c *reported) {
	if len(c.by) == 2 {
		m.emit(Notice{Code: NoticeBlamed, Place: g.index(), Session: c.author})
	}
}

// report tells the others that we skip a Commit, once for each. Where its author
// cannot be read from it, that is whom the server names, unless we asked for it.
func (m *Machine) report(now time.Time, g *group, w waiting, author uint32) {
	m.stats.Invalid++
	if len(g.heal.views) > 0 {
		return // of the other branch, and nobody's fault among us
	}
	c := g.reported(w.ref)
	if slices.Contains(c.by, m.session) {
		return
	}
	if author == 0 && g.want == nil && g.bySession(w.from) != nil {
		author = w.from
	}
	c.author = author
	m.emit(Notice{Code: NoticeBadCommit, Place: g.index(), Session: author})
	c.by = append(c.by, m.session)
	m.blame(g, w.ref, c)
	g.reportSeq++
	r := envelope.Report{Group: g.id, Epoch: w.epoch, Commit: w.ref, Reason: 1, Leaf: g.own, Seq: g.reportSeq}
	var err error
	if r.Signature, err = m.sign(g.suite, identity.LabelReport, r.SignedContent()); err != nil {
		return
	}
	m.send(g.sessions(), envelope.Object{Kind: envelope.KindReport, Body: r.Append(nil)}, PriorityBeacon, false, sent{})
}
