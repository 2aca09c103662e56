package audience

import (
	"crypto/rand"
	"errors"
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// Protect encrypts application data of a type to a group (§8): the object to send
// to the sessions, all other members. id names the data; a copy of what was sent
// in a former epoch has the same. It fails with ErrNoGroup, with ErrTooLong, or with
// ErrWait for a second at most while a change of ours is under way.
func (m *Machine) Protect(now time.Time, group envelope.GroupID, t envelope.AppType, id [16]byte, body []byte) (envelope.Object, []uint32, error) {
	g := m.groups[group]
	if g == nil {
		return envelope.Object{}, nil, ErrNoGroup
	}
	if len(body) > envelope.MaxAppBody {
		return envelope.Object{}, nil, ErrTooLong
	}
	if g.pending != nil && now.Sub(g.pending.at) < time.Second {
		return envelope.Object{}, nil, ErrWait
	}
	data := envelope.AppData{Type: t, ID: id, Seq: g.seq, SentMS: uint64(max(now.UnixMilli(), 0)), Body: body}
	msg, err := g.mls.Protect(data.Append(nil), nil)
	if err != nil {
		return envelope.Object{}, nil, err
	}
	g.seq++
	g.usedAt = now
	return envelope.Object{Kind: envelope.KindMLSMessage, Body: msg.Marshal()}, m.present(g.sessions()), nil
}

// receivedApplication reads what a member wrote. The leaf that signed it must claim
// the session that the server names.
func (m *Machine) receivedApplication(now time.Time, g *group, q *peer, msg *mls.Message) {
	r, err := g.mls.Read(msg, now)
	if err != nil {
		if errors.Is(err, mls.ErrGeneration) || errors.Is(err, mls.ErrWrongEpoch) {
			m.stats.Stale++
		} else {
			m.stats.Unverified++
		}
		return
	}
	a, ok := r.(*mls.ApplicationMessage)
	if !ok {
		m.stats.Malformed++
		return
	}
	l := g.leaves[uint32(a.Sender)]
	if l == nil {
		m.stats.Stale++ // of somebody removed
		return
	}
	if l.session() != q.session {
		m.stats.Attribution++
		return
	}
	data, err := envelope.ParseAppData(a.Data)
	if err != nil {
		m.stats.Malformed++
		return
	}
	if a.Epoch == g.epoch() {
		m.hear(now, g, l)
		l.behindAt = time.Time{}
	}
	if data.Type == envelope.AppLeave {
		if !l.leaving {
			l.leaving, l.gone = true, now
			m.again = true
		}
		return
	}
	g.usedAt = now
	m.emit(Application{
		Group: g.id, Place: g.index(), Epoch: a.Epoch, Leaf: l.index, Session: l.session(), Who: l.who, Data: data,
	})
}

// sayLeave tells the others that we speak clear from now on, or are elsewhere, so
// that they remove us (§3).
func (m *Machine) sayLeave(now time.Time, g *group) {
	m.sendLeave(now, g.mls, g.sessions(), g.seq)
}

func (m *Machine) sendLeave(now time.Time, mg *mls.Group, to []uint32, seq uint32) {
	data := envelope.AppData{Type: envelope.AppLeave, Seq: seq, SentMS: uint64(max(now.UnixMilli(), 0))}
	rand.Read(data.ID[:])
	msg, err := mg.Protect(data.Append(nil), nil)
	if err != nil {
		return
	}
	m.send(to, envelope.Object{Kind: envelope.KindMLSMessage, Body: msg.Marshal()}, PriorityRemove, false, sent{})
}

// setLocked asks for our channel's group to be locked or opened (§2.4).
func (m *Machine) setLocked(locked bool) {
	if len(m.places) == 0 || m.places[0].group == nil {
		return
	}
	g := m.places[0].group
	if locked == (g.ext.Flags&envelope.FlagLocked != 0) {
		g.lock = nil
		return
	}
	g.lock = &locked
}
