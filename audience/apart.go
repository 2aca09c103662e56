package audience

import (
	"slices"

	"github.com/sotto-voip/sotto/envelope"
)

// apart are the groups of a place that a typed secret keeps us out of: they want one
// that we do not have, or want none where we want one (§10.2). They and their members
// count for nothing in founding and merging, or those who were here first, with a
// secret or without, would keep all others apart. The zero value is nobody.
type apart struct {
	groups   map[envelope.GroupID]bool
	sessions map[uint32]envelope.GroupID // their members; zero: a group that no Beacon named yet
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

// note takes in a Welcome that did not fit, of a session and, if it is known, a group.
func (a *apart) note(p *place, session uint32, id envelope.GroupID) {
	if a.groups == nil {
		a.groups, a.sessions = map[envelope.GroupID]bool{}, map[uint32]envelope.GroupID{}
	}
	for other, f := range p.foreign {
		if _, speaks := f.sessions[session]; speaks && id.IsZero() {
			id = other
		}
	}
	a.put(session, id)
	if f := p.foreign[id]; f != nil {
		for s := range f.sessions {
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

// back: a session wants into a group, is in ours, or has left the server.
func (a *apart) back(session uint32) { delete(a.sessions, session) }
