package audience

import (
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
)

// apart are the groups of a place that a typed secret keeps us out of: they want one
// that we do not have, or want none where we want one (§10.2). They and their members
// count for nothing in founding and merging, or those who were here first, with a
// secret or without, would keep all others apart. The zero value is nobody.
type apart struct {
	groups   map[envelope.GroupID]bool
	sessions map[uint32]envelope.GroupID // their members; zero: a group that no Beacon named yet
	since    time.Time                   // the first was noted
	said     bool                        // NoticeSecret
}

// is reports whether a group is one of them.
func (a *apart) is(id envelope.GroupID) bool { return a.groups[id] }

// of are those of sessions that are members of none, as far as we know.
func (a *apart) of(sessions []uint32) []uint32 {
	return slices.DeleteFunc(sessions, func(s uint32) bool {
		_, away := a.sessions[s]
		return away
	})
}

// note takes in a Welcome that did not fit, of a session. Which group it was for counts
// only if the session beacons for no other: it could name one that others are in.
func (a *apart) note(now time.Time, p *place, session uint32, id envelope.GroupID) {
	if a.groups == nil {
		a.groups, a.sessions = map[envelope.GroupID]bool{}, map[uint32]envelope.GroupID{}
		a.since = now
	}
	if f := p.foreign[id]; f != nil && !f.speaks(session) {
		id = envelope.GroupID{}
	}
	for other, f := range p.foreign {
		if f.speaks(session) {
			id = other
		}
	}
	a.put(session, id)
	if f := p.foreign[id]; f != nil {
		for _, s := range f.speakers(p) { // not who has gone: a number may be somebody else's soon
			a.put(s, id)
		}
	}
}

func (a *apart) put(session uint32, id envelope.GroupID) {
	a.sessions[session] = id
	if !id.IsZero() && len(a.groups) < maxForeign {
		a.groups[id] = true
	}
}

// beacon: a session speaks for a group that we are not in.
func (a *apart) beacon(session uint32, id envelope.GroupID) {
	at, away := a.sessions[session]
	switch {
	case a.groups[id], away && at.IsZero():
		a.put(session, id)
	case away:
		delete(a.sessions, session) // it has gone over
	}
}

// over reports whether all of them are to be asked once more, which is after a while if
// we have come into no group here: a Welcome can be made up, by who wants us to pass by
// those who have our secret.
func (a *apart) over(m *Machine, now time.Time) bool {
	return a.groups != nil && m.reached(now, a.since.Add(apartLife))
}

// back: a session wants into a group, is in ours, or has left the server.
func (a *apart) back(session uint32) { delete(a.sessions, session) }
