package carrier

import (
	"maps"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
)

// solicit is an object that the engine asked for.
type solicit struct {
	from  uint32 // 0: anybody
	kind  envelope.Kind
	ref   envelope.Ref // zero: any of the kind
	until time.Time
}

// setMembers says who has the room of a member from now on.
func (g *gather) setMembers(sessions []uint32, stats *Stats) {
	was := g.members
	g.members = make(map[uint32]bool, len(sessions))
	for _, s := range sessions {
		g.members[s] = true
	}
	g.strange = 0
	for s, q := range g.peers {
		if !g.members[s] {
			g.strange += q.cost
		}
	}
	// Who is no member any more has a stranger's room and a stranger's time.
	for _, s := range slices.Sorted(maps.Keys(was)) {
		if q := g.peers[s]; q != nil && !g.members[s] {
			for (q.cost > maxStranger || g.strange > maxStrangers) && g.evict(q, nil, stats) {
			}
		}
	}
	g.sweep = time.Time{}
}

// solicit adds or renews an expectation.
func (g *gather) solicit(now time.Time, in Solicit) {
	s := solicit{in.From, in.Kind, in.Ref, now.Add(solicitFor)}
	g.solicits = slices.DeleteFunc(g.solicits, func(o solicit) bool {
		return !now.Before(o.until) || o.from == s.from && o.kind == s.kind && o.ref == s.ref
	})
	if len(g.solicits) >= maxSolicits {
		g.solicits = slices.Delete(g.solicits, 0, 1)
	}
	g.solicits = append(g.solicits, s)
}

// answered ends the expectation of one object. Those of a whole kind stay: what
// came may not be what was hoped for.
func (g *gather) answered(ref envelope.Ref) {
	g.solicits = slices.DeleteFunc(g.solicits, func(s solicit) bool { return s.ref == ref })
}

// wanted reports whether the engine asked for this, and whether by its name.
func (g *gather) wanted(now time.Time, k key) (wanted, byName bool) {
	for _, s := range g.solicits {
		if now.Before(s.until) && s.kind == k.kind && (s.from == 0 || s.from == k.from) {
			if s.ref == (envelope.Ref{}) {
				wanted = true
			} else if s.ref.ID() == k.id {
				return true, true
			}
		}
	}
	return wanted, false
}

func (g *gather) largeOf(from uint32) (n int) {
	for _, p := range g.large {
		if p.from == from {
			n++
		}
	}
	return n
}

// enlarge gives p one of the places for what the engine asked for, if it did.
// One session has one place for what was not asked for by name. A place is taken
// from somebody only when its time is over, or for what was asked for by name
// from what was not.
func (g *gather) enlarge(now time.Time, p *partial, stats *Stats) {
	wanted, byName := g.wanted(now, p.key)
	if !wanted || !byName && g.largeOf(p.from) > 0 {
		return
	}
	if len(g.large) >= maxLarge {
		i := slices.IndexFunc(g.large, func(o *partial) bool {
			if now.Sub(o.first) >= largeFor {
				return true
			}
			_, otherByName := g.wanted(now, o.key)
			return byName && !otherByName
		})
		if i < 0 {
			return
		}
		g.remove(g.large[i])
		stats.Unfinished++
	}
	cost := p.cost
	g.charge(p, -cost)
	p.large = true
	g.charge(p, cost)
	g.large = append(g.large, p)
	if due := p.last.Add(largeFor); due.Before(g.sweep) {
		g.sweep = due
	}
}
