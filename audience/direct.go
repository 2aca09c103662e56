package audience

import (
	"bytes"
	"crypto/rand"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// opening is a direct group that waits for KeyPackages (§4).
type opening struct {
	token    uint64
	group    envelope.GroupID
	suite    mls.CipherSuite
	sessions []uint32
	requests map[envelope.Ref]uint32
	replies  map[uint32]mls.VerifiedKeyPackage
	queued   int       // requests that have not left yet
	unasked  bool      // one of them never will
	until    time.Time // when whoever has not answered is given up
}

// openDirect finds the direct group of exactly these people, or asks them for
// KeyPackages: on request and for this group only, so that nobody can place them
// elsewhere.
func (m *Machine) openDirect(now time.Time, in OpenDirect) {
	to := m.present(in.Sessions)
	if m.session == 0 || len(to) == 0 || len(to) > MaxDirectPeople {
		m.emit(DirectFailed{Token: in.Token, Missing: in.Sessions, Unasked: true})
		return
	}
	if g := m.directOf(to); g != nil {
		g.usedAt = now
		m.emit(DirectReady{Token: in.Token, Group: g.id})
		return
	}
	if len(m.direct) >= maxReplies || !m.roomForDirect(now) {
		m.emit(DirectFailed{Token: in.Token, Missing: to, Unasked: true})
		return
	}
	o := &opening{
		token: in.Token, group: newGroupID(), suite: m.cfg.Suites[0], sessions: to,
		queued: len(to), until: now.Add(directMost),
		requests: map[envelope.Ref]uint32{}, replies: map[uint32]mls.VerifiedKeyPackage{},
	}
	m.direct[in.Token] = o
	for _, s := range to {
		r := envelope.KeyPackageRequest{Audience: envelope.AudienceDirect, Group: o.group, Suite: uint16(o.suite)}
		rand.Read(r.Nonce[:])
		object := envelope.Object{Kind: envelope.KindKeyPackageRequest, Body: r.Append(nil)}
		o.requests[object.Ref()] = s
		m.emit(Expect{From: s, Kind: envelope.KindKeyPackageReply})
		m.send([]uint32{s}, object, PriorityHello, false, sent{purpose: forRequest, group: o.group})
	}
}

// requested: a KeyPackageRequest of ours has left, or never will. Many take the
// carrier longer than an answer takes.
func (m *Machine) requested(now time.Time, id envelope.GroupID, left bool) {
	for _, o := range m.direct {
		if o.group != id {
			continue
		}
		o.unasked = o.unasked || !left
		if o.queued--; o.queued == 0 && now.Add(directAsk).Before(o.until) {
			o.until = now.Add(directAsk)
			m.due(o.until)
		}
	}
}

// directOf is a direct group that we hold with exactly these sessions; of two the
// one with the smaller id.
func (m *Machine) directOf(to []uint32) *group {
	for _, g := range m.sortedGroups() {
		if g.kind == envelope.AudienceDirect && slices.Equal(g.sessions(), to) &&
			!slices.ContainsFunc(g.sorted(), func(l *leaf) bool { return !l.gone.IsZero() || l.leaving }) {
			return g
		}
	}
	return nil
}

func (m *Machine) countDirect() int {
	n := 0
	for _, g := range m.groups {
		if g.kind == envelope.AudienceDirect {
			n++
		}
	}
	return n
}

// roomForDirect reports whether there is room for one more direct group, or one that
// was not used for a while could give way.
func (m *Machine) roomForDirect(now time.Time) bool {
	return m.countDirect() < maxDirect || m.idlest(now) != nil
}

// makeRoomForDirect leaves that one: else who opens many with us, and says nothing in
// them, would keep others from us.
func (m *Machine) makeRoomForDirect(now time.Time) {
	if m.countDirect() < maxDirect {
		return
	}
	if g := m.idlest(now); g != nil {
		m.sayLeave(now, g)
		m.drop(g, LostIdle, 0)
	}
}

// idlest is the direct group that was not used for longest, nil if all were lately.
func (m *Machine) idlest(now time.Time) (idlest *group) {
	for _, g := range m.sortedGroups() {
		if g.kind == envelope.AudienceDirect && now.Sub(g.usedAt) >= directSpare && (idlest == nil || g.usedAt.Before(idlest.usedAt)) {
			idlest = g
		}
	}
	return idlest
}

// asked notes that a stranger asked for a KeyPackage, and is to hear that we run Sotto: if
// none comes, or comes late, we would seem to have none, and what is for us could leave in
// clear. Where objects are texts only who has shown Sotto is asked.
func (m *Machine) asked(now time.Time, q *peer) {
	if m.regime == RegimeEcho && !m.isMember(q.session) && !slices.Contains(m.askers, q.session) && q.told.take(now) {
		m.askers = append(m.askers, q.session)
		m.again = true
	}
}

// runAsked tells all of them at once, before what else we have to say to strangers, and
// once a second at most: many could ask.
func (m *Machine) runAsked(now time.Time) {
	if len(m.askers) == 0 || !m.reached(now, m.toldAt.Add(toldEvery)) {
		return
	}
	to := m.askers
	m.askers, m.toldAt = nil, now
	slices.Sort(to)
	m.send(to, m.ownPresence(), PriorityWelcome, false, sent{})
}

// isMember reports whether a session is in the group of one of our places.
func (m *Machine) isMember(session uint32) bool {
	for _, g := range m.groups {
		if g.place != nil && g.bySession(session) != nil {
			return true
		}
	}
	return false
}

// mayReply bounds the KeyPackages that are sent for requests. Each is several messages,
// in the line of what our groups need.
func (m *Machine) mayReply(now time.Time, session uint32) bool {
	b, rate := &m.replies, strangersReply
	if m.isMember(session) {
		b, rate = &m.memberReplies, membersReply
	}
	b.rate, b.burst = rate, repliesBurst
	if m.regime != RegimeEcho {
		b.rate, b.burst = replyEvery, repliesBurst/3
	}
	return b.take(now)
}

// receivedRequest answers with a KeyPackage that may join this group only, one per
// ten seconds and requester (§2.6).
func (m *Machine) receivedRequest(now time.Time, q *peer, o envelope.Object) {
	r, err := envelope.ParseKeyPackageRequest(o.Body)
	if err != nil || r.Audience != envelope.AudienceDirect || r.Group.IsZero() {
		m.stats.Malformed++
		return
	}
	m.seesSotto(q)
	m.asked(now, q)
	if !m.supports(mls.CipherSuite(r.Suite)) || m.groups[r.Group] != nil {
		m.stats.Unknown++
		return
	}
	b := m.requests[q.session]
	if b == nil {
		b = &bucket{rate: replyEvery, burst: 3}
		m.requests[q.session] = b
	}
	if !m.roomForDirect(now) || !b.take(now) || !m.mayReply(now, q.session) {
		m.stats.Limited++
		return
	}
	m.limitReplies()
	own, err := m.newOffer(now, mls.CipherSuite(r.Suite), nil, r.Group, q.session)
	if err != nil {
		return
	}
	reply := envelope.KeyPackageReply{Request: o.Ref(), KeyPackage: own.KeyPackage.Marshal()}
	m.emit(Expect{From: q.session, Kind: envelope.KindWelcome})
	out := envelope.Object{Kind: envelope.KindKeyPackageReply, Body: reply.Append(nil)}
	m.offers[len(m.offers)-1].token = m.send([]uint32{q.session}, out, PriorityHello, false, sent{purpose: forNews})
}

// limitReplies makes room for one more KeyPackage that was asked for: the oldest of
// who has most of them goes, so that nobody keeps others from theirs.
func (m *Machine) limitReplies() {
	has := map[uint32]int{}
	out := 0
	for _, o := range m.offers {
		if o.place == nil {
			has[o.to]++
			out++
		}
	}
	if out < maxReplies {
		return
	}
	last := -1
	for i, o := range m.offers {
		if o.place == nil && (last < 0 || has[o.to] > has[m.offers[last].to]) {
			last = i // they stand in the order of their age
		}
	}
	if o := m.offers[last]; m.waits(o.token) {
		m.cancel(o.token)
	}
	m.offers[last].own.Wipe()
	m.offers = slices.Delete(m.offers, last, last+1)
}

// receivedReply takes a KeyPackage that we asked for.
func (m *Machine) receivedReply(now time.Time, q *peer, body []byte) {
	r, err := envelope.ParseKeyPackageReply(body)
	if err != nil {
		m.stats.Malformed++
		return
	}
	for _, o := range m.direct {
		if s, ok := o.requests[r.Request]; !ok || s != q.session {
			continue
		}
		m.seesSotto(q) // by the nonce of the request, whatever else is wrong with it
		if _, again := o.replies[q.session]; again || !m.answered.take(now) {
			m.stats.Limited++
			return
		}
		kp, err := mls.ParseKeyPackage(bytes.Clone(r.KeyPackage))
		if err != nil {
			m.stats.Malformed++
			return
		}
		sound, err := kp.Verify(m.mlsConfig(nil), now)
		if err != nil || kp.CipherSuite != o.suite {
			m.stats.Unverified++
			return
		}
		l, _, err := m.readLeaf(kp.LeafNode)
		if err != nil || l.Session != q.session || l.Audience != envelope.AudienceDirect || l.ForGroup != o.group {
			m.stats.Attribution++
			return
		}
		o.replies[q.session] = sound
		m.again = true
		return
	}
	m.stats.Stale++
}

// runDirect founds the groups for which everybody has answered, and gives those up
// that wait too long.
func (m *Machine) runDirect(now time.Time) {
	m.runAsked(now)
	tokens := make([]uint64, 0, len(m.direct))
	for t := range m.direct {
		tokens = append(tokens, t)
	}
	slices.Sort(tokens)
	for _, t := range tokens {
		o := m.direct[t]
		switch {
		case len(o.replies) == len(o.sessions):
			delete(m.direct, t)
			m.foundDirect(now, o)
		case m.reached(now, o.until):
			delete(m.direct, t)
			m.emit(DirectFailed{Token: o.token, Missing: slices.DeleteFunc(slices.Clone(o.sessions), func(s uint32) bool {
				_, ok := o.replies[s]
				return ok
			}), Unasked: o.unasked || o.queued > 0 || len(o.sessions) > len(m.present(o.sessions))})
		}
	}
}

// foundDirect makes the group with one Commit, and sends the Welcome (§4).
func (m *Machine) foundDirect(now time.Time, o *opening) {
	fail := func() { m.emit(DirectFailed{Token: o.token}) } // everybody has Sotto
	ext := envelope.SottoGroup{Audience: envelope.AudienceDirect, Anchor: envelope.NoChannel, Server: m.cfg.Server}
	mg, err := m.newGroup(now, o.suite, o.group, nil, ext)
	if err != nil {
		fail()
		return
	}
	m.makeRoomForDirect(now)
	g := m.install(now, mg, nil, false)
	var adds []mls.Proposal
	for _, s := range o.sessions {
		adds = append(adds, o.replies[s].Add())
	}
	m.propose(now, g, adds, mls.PathIfRequired)
	if m.groups[g.id] != g || g.epoch() != 1 {
		m.drop(g, LostBroken, 0)
		fail()
		return
	}
	m.emit(DirectReady{Token: o.token, Group: g.id})
}
