package audience

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// Reasons why a Welcome is refused.
var (
	errWelcome = errors.New("audience: no Welcome for us")
	errSecret  = errors.New("audience: the typed secret does not fit")
	errSigner  = errors.New("audience: the Welcome is signed in another's name")
)

// secretError is errSecret with the group, where that could be read.
type secretError struct{ group envelope.GroupID }

func (e *secretError) Error() string { return errSecret.Error() }

func (e *secretError) Is(target error) bool { return target == errSecret }

// receivedWelcome joins the group of a Welcome that answers a KeyPackage of ours
// (§4). The session that the server names must be the one that the signer's leaf
// claims: else somebody could found a group in another's name, and be in it without
// being named.
func (m *Machine) receivedWelcome(now time.Time, q *peer, body []byte) {
	msg, err := mls.ParseMessage(body)
	if err != nil || msg.Welcome == nil {
		m.stats.Malformed++
		return
	}
	i := slices.IndexFunc(m.offers, func(o *offer) bool { return msg.Welcome.Answers(o.own.KeyPackage) })
	if i < 0 {
		m.stats.Stale++
		return
	}
	o := m.offers[i]
	if o.place != nil && !slices.Contains(m.places, o.place) {
		m.stats.Stale++
		return
	}
	if o.place == nil && o.to != q.session {
		m.stats.Attribution++ // it was for somebody else's group
		return
	}
	if !m.answered.take(now) { // opening costs as much as some signatures
		m.stats.Limited++
		return
	}
	mg, err := m.join(now, msg.Welcome, o, q.session)
	switch {
	case errors.Is(err, errSecret):
		if o.place != nil {
			m.keptOut(now, o.place, q.session, err)
		}
		return
	case errors.Is(err, errSigner):
		m.stats.Attribution++
		return
	case err == nil && o.place != nil && !m.want:
		m.decline(now, mg, o)
		return
	case err != nil:
		// "cannot process" goes on by the clock: the next Hello has a fresh KeyPackage.
		m.stats.Invalid++
		if o.place != nil && o.place.joining != nil {
			o.place.reason = envelope.HelloCannotProcess
		}
		return
	}
	m.joined(now, mg, o, q.session)
}

// keptOut goes on as if the group of a Welcome were not here: the secret keeps us out
// of it.
func (m *Machine) keptOut(now time.Time, p *place, from uint32, why error) {
	var secret *secretError
	var id envelope.GroupID
	if errors.As(why, &secret) {
		id = secret.group
	}
	p.apart.note(now, p, from, id)
	if !p.apart.said {
		p.apart.said = true
		m.emit(Notice{Code: NoticeSecret, Place: p.index})
	}
	switch {
	case p.joining == nil:
	case p.group != nil:
		p.stopJoining() // we stay where we are
	default:
		p.joining.retryAt = now // others are asked
	}
	m.again = true
}

// decline leaves a group at once that we do not want to be in any more: we asked
// for it before, and its members believe us to be in.
func (m *Machine) decline(now time.Time, mg *mls.Group, o *offer) {
	var to []uint32
	for _, member := range mg.Members() {
		if l, _, err := m.readLeaf(member.Leaf); err == nil {
			to = append(to, l.Session)
		}
	}
	m.sendLeave(now, mg, to, 0)
	mg.Wipe()
	m.withdraw(o.place)
}

// join tries the secrets that we have, if the Welcome wants one (§10.2). from is
// the session that sent it.
func (m *Machine) join(now time.Time, w *mls.Welcome, o *offer, from uint32) (*mls.Group, error) {
	var err error
	signer := func(l *mls.LeafNode) error {
		if ext, _, err := m.readLeaf(l); err != nil {
			return err
		} else if ext.Session != from {
			return errSigner
		}
		if old := lockedIn(o.place); old != nil && !old.has(from, l.SignatureKey) {
			return errSigner
		}
		return nil
	}
	for n := range 4 {
		asked, had := false, false
		cfg := m.mlsConfig(func(id []byte) []byte {
			asked = true
			if m.cfg.PSK == nil {
				return nil
			}
			if list := m.cfg.PSK(id); n < len(list) {
				had = true
				return list[n]
			}
			return nil
		})
		var mg *mls.Group
		mg, err = mls.Join(cfg, w, o.own, mls.JoinOptions{Signer: signer}, now)
		if err == nil {
			if err = m.checkJoined(now, mg, o); err != nil {
				mg.Wipe()
				return nil, err
			}
			return mg, nil
		}
		switch {
		case !asked:
			return nil, err
		case !had:
			return nil, errSecret
		}
	}
	return nil, errSecret
}

// lockedIn is the locked group that we are in at a place, nil if there is none. Only its members lead out of it, and only into another branch of it: else
// whoever it keeps out could.
func lockedIn(p *place) *group {
	if p == nil || p.group == nil || !p.group.locked() {
		return nil
	}
	return p.group
}

// locked reports whether nobody is let in here, and we stay: until a member says
// otherwise, also when the server has made us the last one.
func (g *group) locked() bool { return g.ext.Flags&envelope.FlagLocked != 0 }

// has reports whether a session has a leaf here with this key. Who had one does not
// count: the lock may keep out just that person.
func (g *group) has(session uint32, key []byte) bool {
	l := g.bySession(session)
	return l != nil && bytes.Equal(l.key, key)
}

// checkJoined holds a group that a Welcome leads into against §2.3, §2.4, §2.5 and
// what the server shows.
func (m *Machine) checkJoined(now time.Time, mg *mls.Group, o *offer) error {
	id := mg.ID()
	if len(id) != len(envelope.GroupID{}) || !envelope.GroupID(id).Valid() {
		return errWelcome
	}
	gid := envelope.GroupID(id)
	for other := range m.groups {
		if other != gid && other.Tag() == gid.Tag() {
			return errWelcome
		}
	}
	ext, err := groupExtension(mg.Context().Extensions)
	if err != nil {
		return err
	}
	if err := m.checkTree(mg.Members(), gid, ext); err != nil {
		return err
	}
	if m.cfg.RequirePSK && ext.Audience == envelope.AudienceChannel && ext.Flags&envelope.FlagPSKRequired == 0 {
		return &secretError{gid} // who wants a second lock does not go where there is none (§10.2)
	}
	if o.place != nil {
		if ext.Audience != envelope.AudienceChannel || !o.place.hasChannel(ext.Anchor) {
			return errWelcome
		}
		if old := lockedIn(o.place); old != nil && old.id != gid {
			return errWelcome
		}
		// Somebody else founded in the same moment: of two groups with one person in
		// each the smaller id stays (§4).
		if g := o.place.group; g != nil && o.place.joining == nil && !(m.weight(now, g) == 1 && outweighs(1, gid, 1, g.id)) {
			return errWelcome
		}
	} else if ext.Audience != envelope.AudienceDirect || gid != o.group || m.groups[gid] != nil {
		return errWelcome
	}
	if len(m.groups) >= maxGroups {
		return errWelcome
	}
	return nil
}

// joined takes the new group into use, and leaves the one that it replaces. from
// signed the Welcome, and so has shown that it is in.
func (m *Machine) joined(now time.Time, mg *mls.Group, o *offer, from uint32) {
	gid := envelope.GroupID(mg.ID())
	if o.place == nil {
		m.offers = slices.DeleteFunc(m.offers, func(x *offer) bool { return x == o })
		o.own.Wipe()
		m.makeRoomForDirect(now)
		m.shows(now, m.install(now, mg, nil, true), from)
		return
	}
	p, healed := o.place, o.place.forked
	p.forked = false
	wasLocked := p.group != nil && p.group.locked()
	if old := p.group; old != nil {
		healed = healed || old.heal.said
		if old.id != gid {
			m.sayLeave(now, old)
			p.moves = append(p.moves, now)
			m.stats.Moves++
			m.drop(old, LostMoved, 0)
		} else {
			m.replaced(old)
		}
	}
	p.stopJoining()
	p.hellos = 0
	m.withdraw(p)
	p.reason, p.known, p.epoch = envelope.HelloJoin, envelope.GroupID{}, 0
	g := m.install(now, mg, p, true)
	m.shows(now, g, from)
	if wasLocked != g.locked() {
		m.emit(Notice{Code: NoticeLocked, Place: p.index, By: from, Locked: g.locked()})
	}
	if healed { // by going over; if somebody has another history still, that is said anew
		m.emit(Notice{Code: NoticeHealed, Place: g.index()})
	}
}

// shows notes who has signed the Welcome.
func (m *Machine) shows(now time.Time, g *group, session uint32) {
	if l := g.bySession(session); l != nil {
		m.hear(now, g, l)
	}
}

// replaced erases our old leaf's view of a group that we were added to again.
func (m *Machine) replaced(old *group) {
	if old.pending != nil {
		m.discard(old)
	}
	m.cancelBeacon(old)
	old.mls.Wipe()
	delete(m.groups, old.id)
	old.place.group = nil
	m.emit(Lost{Group: old.id, Place: old.index(), Reason: LostMoved})
}
