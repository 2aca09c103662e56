package audience

import (
	"bytes"
	"crypto/rand"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/mls"
)

// hello is somebody's wish to be added, unverified until a committer looks at it.
type hello struct {
	envelope.Hello
	kp   *mls.KeyPackage
	leaf envelope.SottoLeaf
	ref  envelope.Ref
	at   time.Time
	// first is when its session first asked for the same.
	first   time.Time
	refused bool // it was looked at, and nobody may commit it: what is said again is anew

	checked bool // verified, or found false
	sound   mls.VerifiedKeyPackage
	who     Who
}

// helloSlot is where a Hello wants in: a session has one home, and listens to
// several channels.
type helloSlot struct {
	role    envelope.Role
	channel uint32 // of a listener
}

// maxWishes is how many Hellos of one session are kept.
const maxWishes = 8

func slotOf(l envelope.SottoLeaf) helloSlot {
	if l.Role == envelope.RoleSpeaker {
		return helloSlot{role: l.Role}
	}
	return helloSlot{l.Role, l.Channel}
}

// wish is the latest Hello of q for a place where it has this role, or nil.
func (q *peer) wish(now time.Time, p *place, role envelope.Role) *hello {
	var last *hello
	for s, h := range q.wishes {
		if s.role == role && p.hasChannel(h.leaf.Channel) && now.Sub(h.at) <= helloLife && (last == nil || h.at.After(last.at) ||
			h.at.Equal(last.at) && h.leaf.Channel < last.leaf.Channel) {
			last = h
		}
	}
	return last
}

// forget drops the Hellos of q for a place.
func (q *peer) forget(p *place, role envelope.Role) {
	for s, h := range q.wishes {
		if s.role == role && p.hasChannel(h.leaf.Channel) {
			delete(q.wishes, s)
		}
	}
}

// helloLife is how long a Hello counts: its sender says it again.
const helloLife = 70 * time.Second

// joining is our own Hello, and what became of it.
type joining struct {
	object  envelope.Object
	suite   mls.CipherSuite
	toAll   bool     // went to everybody here, and goes to who else runs Sotto
	owed    []uint32 // who runs Sotto too, as was seen since; they get it together
	owedAt  time.Time
	token   uint64
	sentAt  time.Time
	placed  time.Time // when its echo came, or it was handed over
	tries   int
	retryAt time.Time
}

// offer is a KeyPackage of ours that is out, for one Welcome.
type offer struct {
	own   *mls.OwnKeyPackage
	at    time.Time
	place *place           // nil for a direct group
	group envelope.GroupID // the only one that it may join; zero for any
	to    uint32           // who asked for it
	token uint64           // of the reply with it
}

func (p *place) stopJoining() { p.joining = nil }

// runJoining sends the Hello that is due, and founds when it is our turn (§4).
func (m *Machine) runJoining(now time.Time, p *place) {
	if !m.want || p.group != nil && p.joining == nil {
		return
	}
	if p.group == nil && p.apart.over(m, now) {
		p.apart = apart{said: p.apart.said}
	}
	to := p.apart.of(m.sottos(p))
	if len(to) == 0 && p.group == nil {
		p.stopJoining() // nobody is here to hear it
		return
	}
	j := p.joining
	if j == nil {
		if p.gatherAt.IsZero() {
			p.gatherAt = now.Add(m.gathering())
		}
		if m.reached(now, p.gatherAt) {
			p.gatherAt = time.Time{}
			m.sayHello(now, p, p.reason, to, true)
		}
		return
	}
	m.runOwed(now, j)
	if m.reached(now, j.retryAt) {
		if p.group != nil {
			// We stay where we are; the reason is looked at again.
			p.stopJoining()
			m.again = true
			return
		}
		m.sayHello(now, p, p.reason, to, true)
		return
	}
	m.runFounding(now, p)
}

// gathering is how long to wait for others to show themselves, so that one Hello
// reaches all of them.
func (m *Machine) gathering() time.Duration {
	if m.regime == RegimeEcho {
		return gather
	}
	return gatherText
}

// runOwed brings our Hello to who has shown itself since.
func (m *Machine) runOwed(now time.Time, j *joining) {
	if len(j.owed) == 0 {
		return
	}
	if j.owedAt.IsZero() {
		j.owedAt = now.Add(m.gathering())
	}
	if m.reached(now, j.owedAt) {
		m.send(j.owed, j.object, PriorityHello, false, sent{})
		for _, s := range j.owed {
			m.emit(Expect{From: s, Kind: envelope.KindWelcome})
		}
		j.owed, j.owedAt = nil, time.Time{}
	}
}

// sayHello sends a Hello with a fresh KeyPackage.
func (m *Machine) sayHello(now time.Time, p *place, reason envelope.HelloReason, to []uint32, toAll bool) {
	if !p.helloAt.IsZero() && !m.reached(now, p.helloAt.Add(helloEvery)) {
		return // others would ignore it (§12)
	}
	last := p.helloAt
	p.helloAt = now
	cs := m.suiteHere(now, p)
	if p.group != nil && reason != envelope.HelloMerge {
		cs = p.group.suite // it stays there, whatever Beacons say of others
	}
	if f := p.heaviest(now); f != nil && p.group == nil && toAll {
		// One group is asked, not all: two that add us would each count on us.
		to = m.adders(p, f, to)
		f.asked(now)
	}
	tries, placed := 0, time.Time{}
	if p.group != nil && !last.IsZero() && now.Sub(last) < helloLife {
		// A member that asks again and again keeps those busy who should add it.
		tries = p.hellos
	}
	if p.joining != nil {
		// A Hello said again keeps the time of the first (§4).
		tries, placed = p.joining.tries, p.joining.placed
	}
	own, err := m.newOffer(now, cs, p, envelope.GroupID{}, 0)
	if err != nil {
		return
	}
	h := envelope.Hello{
		MaxVersion: 1, Regime: m.helloRegime(), Suites: m.suites(), Reason: reason,
		KnownGroup: p.known, Epoch: p.epoch, KeyPackage: own.KeyPackage.Marshal(),
	}
	rand.Read(h.Nonce[:])
	if h.Signature, err = m.sign(cs, identity.LabelHello, h.SignedContent()); err != nil {
		return
	}
	o := envelope.Object{Kind: envelope.KindHello, Body: h.Append(nil)}
	p.joining = &joining{object: o, suite: cs, toAll: toAll, sentAt: now, tries: tries + 1, placed: placed}
	p.hellos = tries + 1
	p.joining.retryAt = now.Add(patience(tries))
	p.joining.token = m.send(to, o, PriorityHello, false, sent{purpose: forHello, place: p})
	for _, s := range to {
		m.emit(Expect{From: s, Kind: envelope.KindWelcome})
	}
	m.again = true
}

// adders are those of to who are asked to add us to a group: its members, as far as they
// have shown themselves. Where objects are texts that is hardly anybody, and whose turn it
// is may not be among them: there also those who speak for no other.
func (m *Machine) adders(p *place, f *foreign, to []uint32) []uint32 {
	if m.regime == RegimeEcho {
		return f.speakers(p)
	}
	return slices.DeleteFunc(to, func(s uint32) bool {
		if f.speaks(s) {
			return false
		}
		for _, o := range p.foreign {
			if o.speaks(s) {
				return true
			}
		}
		return false
	})
}

// patience is how long to wait for a Welcome before the next Hello: 3, 3, 6, 12 ...
// 60 s, spread a little so that many do not speak at once.
func patience(tries int) time.Duration {
	d := helloPatience
	for i := 1; i < tries && d < helloPatience2; i++ {
		d *= 2
	}
	d = min(d, helloPatience2)
	return between(d, d+d/8)
}

// newOffer makes a KeyPackage of ours (§2.6).
func (m *Machine) newOffer(now time.Time, cs mls.CipherSuite, p *place, group envelope.GroupID, to uint32) (*mls.OwnKeyPackage, error) {
	leaf := envelope.SottoLeaf{Audience: envelope.AudienceDirect, Channel: envelope.NoChannel, ForGroup: group}
	if p != nil {
		leaf.Audience, leaf.Channel, leaf.Role = envelope.AudienceChannel, p.Channel, p.Role
	} else if len(m.places) > 0 {
		leaf.Channel = m.places[0].Channel
	}
	profile, err := m.profile(cs, leaf)
	if err != nil {
		return nil, err
	}
	own, err := mls.NewKeyPackage(cs, profile, lifetime(now))
	if err != nil {
		return nil, err
	}
	m.limitOffers(p)
	m.offers = append(m.offers, &offer{own: own, at: now, place: p, group: group, to: to})
	return own, nil
}

// limitOffers wipes the oldest KeyPackages of a place: an answer to one that was
// said again three times is not to be expected.
func (m *Machine) limitOffers(p *place) {
	n := 0
	for i := len(m.offers) - 1; i >= 0 && p != nil; i-- {
		if o := m.offers[i]; o.place == p {
			if n++; n >= maxOffers {
				o.own.Wipe()
				m.offers = slices.Delete(m.offers, i, i+1)
			}
		}
	}
}

func (m *Machine) helloRegime() envelope.HelloRegime {
	switch m.regime {
	case RegimeEcho:
		return envelope.HelloRegimeE
	case RegimeTextEcho:
		return envelope.HelloRegimeT
	}
	return envelope.HelloRegimeN
}

// suiteHere is the suite of the group that is here, or what we found with.
func (m *Machine) suiteHere(now time.Time, p *place) mls.CipherSuite {
	if f := p.heaviest(now); f != nil && m.supports(f.suite) {
		return f.suite
	}
	if p.group != nil {
		return p.group.suite
	}
	return m.cfg.Suites[0]
}

func (m *Machine) supports(cs mls.CipherSuite) bool {
	for _, s := range m.cfg.Suites {
		if s == cs {
			return true
		}
	}
	return false
}

// helloPlaced: our Hello has its point in the order.
func (m *Machine) helloPlaced(now time.Time, p *place, token uint64) {
	if p == nil || p.joining == nil || p.joining.token != token || !p.joining.placed.IsZero() {
		return
	}
	p.joining.placed = now
}

// receivedHello notes that somebody wants in. Nothing is verified yet: that is for
// whoever commits it.
func (m *Machine) receivedHello(now time.Time, q *peer, body []byte) {
	h, err := envelope.ParseHello(body)
	if err != nil {
		m.stats.Malformed++
		return
	}
	if !q.hellos.take(now) {
		m.stats.Limited++
		return
	}
	kp, err := mls.ParseKeyPackage(bytes.Clone(h.KeyPackage))
	if err != nil {
		m.stats.Malformed++
		return
	}
	data, ok := extension(kp.LeafNode.Extensions, envelope.ExtensionLeaf)
	if !ok {
		m.stats.Malformed++
		return
	}
	leaf, err := envelope.ParseSottoLeaf(data)
	if err != nil || leaf.Audience != envelope.AudienceChannel || !leaf.ForGroup.IsZero() {
		m.stats.Malformed++
		return
	}
	if leaf.Session != q.session {
		m.stats.Attribution++
		return
	}
	h.KeyPackage = nil
	m.seesSotto(q)
	for _, p := range m.places {
		p.apart.back(q.session)
	}
	if q.wishes == nil || len(q.wishes) >= maxWishes {
		q.wishes = map[helloSlot]*hello{}
	}
	first := now
	if w := q.wishes[slotOf(leaf)]; w != nil && w.Reason == h.Reason && !w.refused && now.Sub(w.at) <= helloLife {
		first = w.first
	}
	q.wishes[slotOf(leaf)] = &hello{
		Hello: h, kp: kp, leaf: leaf, at: now, first: first,
		ref: envelope.RefOf(envelope.KindHello, body),
	}
}

// check verifies a Hello and its KeyPackage, once.
func (m *Machine) check(now time.Time, q *peer, h *hello) bool {
	if h.checked {
		return h.sound.KeyPackage() != nil
	}
	if !m.verified.take(now) {
		m.stats.Limited++
		m.due(now.Add(time.Second / maxVerifications))
		return false
	}
	h.checked = true
	// The signature covers the KeyPackage, which was not kept twice.
	signed := h.Hello
	signed.KeyPackage = h.kp.Marshal()
	cs := h.kp.CipherSuite
	sound, err := h.kp.Verify(m.mlsConfig(nil), now)
	if err == nil {
		_, h.who, err = m.readLeaf(h.kp.LeafNode)
	}
	if err != nil || !verify(cs, h.kp.LeafNode.SignatureKey, identity.LabelHello, signed.SignedContent(), h.Signature) {
		m.stats.Unverified++
		delete(q.wishes, slotOf(h.leaf))
		return false
	}
	h.sound = sound
	return true
}
