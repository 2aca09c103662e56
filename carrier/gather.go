package carrier

import (
	"maps"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
)

// Bounds of objects of which parts are missing (Sotto protocol §12), in bytes
// of parts and of what is needed to keep them.
const (
	maxStranger  = 64 << 10  // of one peer that is no member
	maxMember    = 256 << 10 // of one member
	maxSolicited = 512 << 10 // of one object asked for, instead of the above
	maxLarge     = 2         // of those, in all
	maxStrangers = 12 << 20  // of all that are no members; the rest is for the others
	maxGathered  = 16 << 20  // of all
	maxPartials  = 4         // objects of one peer

	gatherFor    = 30 * time.Second // a stranger's from its first part, a member's from its latest
	largeFor     = 10 * time.Second // from the latest part; after that from the first one it may be displaced
	solicitFor   = 10 * time.Second
	maxSolicits  = 64
	sweepEvery   = time.Second
	partialCost  = 256 // a partial and its places in maps, rounded up
	partSlotCost = 24  // one slice header
)

// key says which parts belong together. The path is part of it: the two have
// parts of different size.
type key struct {
	from  uint32
	id    envelope.ID
	kind  envelope.Kind
	path  path
	count int
}

// partial is an object of which parts are missing.
type partial struct {
	key
	parts       [][]byte
	have        int
	cost        int // what it weighs against the bounds
	first, last time.Time
	large       bool // it has one of the places for what was asked for
}

// peer is what one session has unfinished here, in the order of last parts.
type peer struct {
	partials []*partial
	cost     int // without large ones
}

// solicit is an object that the engine asked for.
type solicit struct {
	from  uint32 // 0: anybody
	kind  envelope.Kind
	ref   envelope.Ref // zero: any of the kind
	until time.Time
}

// gather puts objects together from their parts. The zero value is empty.
type gather struct {
	peers    map[uint32]*peer
	members  map[uint32]bool
	solicits []solicit
	large    []*partial
	total    int       // cost of all
	strange  int       // cost of what began as a stranger's, not large
	sweep    time.Time // when to look for what is to be given up
}

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

// add keeps a part, or returns the body if it was the last one missing.
func (g *gather) add(now time.Time, a arrived, stats *Stats) (body []byte, whole bool) {
	p := g.find(a.key)
	if p != nil && !now.Before(g.expires(p)) {
		g.remove(p)
		stats.Unfinished++
		p = nil
	}
	if p == nil {
		p = g.begin(now, a.key, stats)
	} else if p.parts[a.index] != nil {
		stats.Duplicate++
		return nil, false
	}
	if !g.room(now, p, len(a.part), stats) {
		g.remove(p)
		stats.OverBound++
		return nil, false
	}
	g.charge(p, len(a.part))
	p.parts[a.index] = append(make([]byte, 0, len(a.part)), a.part...) // no more than is charged
	p.last = now
	if p.have++; p.have < p.count {
		return nil, false
	}
	g.remove(p)
	return slices.Concat(p.parts...), true
}

func (g *gather) find(k key) *partial {
	q := g.peers[k.from]
	if q == nil {
		return nil
	}
	i := slices.IndexFunc(q.partials, func(p *partial) bool { return p.key == k })
	if i < 0 {
		return nil
	}
	p := q.partials[i]
	q.partials = append(slices.Delete(q.partials, i, i+1), p) // it is the latest now
	return p
}

// begin opens an object. A peer's fifth costs it the one that is silent for longest.
func (g *gather) begin(now time.Time, k key, stats *Stats) *partial {
	q := g.peers[k.from]
	if q == nil {
		if g.peers == nil {
			g.peers = map[uint32]*peer{}
		}
		q = &peer{}
		g.peers[k.from] = q
	}
	for open := len(q.partials) - g.largeOf(k.from); open >= maxPartials; open-- {
		g.evict(q, nil, stats)
	}
	p := &partial{key: k, parts: make([][]byte, k.count), first: now, last: now}
	q.partials = append(q.partials, p)
	g.charge(p, partialCost+k.count*partSlotCost)
	return p
}

func (g *gather) largeOf(from uint32) (n int) {
	for _, p := range g.large {
		if p.from == from {
			n++
		}
	}
	return n
}

// room makes room for n more bytes of p, which is the latest of its peer, or
// reports that there is none.
func (g *gather) room(now time.Time, p *partial, n int, stats *Stats) bool {
	q := g.peers[p.from]
	bound, all := maxStranger, maxStrangers
	member := g.members[p.from]
	if member {
		bound, all = maxMember, maxGathered
	}
	if !p.large && (q.cost+n > bound || !member && g.strange+n > all) {
		g.enlarge(now, p, stats)
	}
	if p.large {
		return p.cost+n-partialCost-p.count*partSlotCost <= maxSolicited && g.total+n <= maxGathered
	}
	for q.cost+n > bound {
		if !g.evict(q, p, stats) {
			return false
		}
	}
	return g.total+n <= maxGathered && (member || g.strange+n <= all)
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

// charge adds n bytes to what p costs.
func (g *gather) charge(p *partial, n int) {
	p.cost += n
	g.total += n
	if !p.large {
		g.peers[p.from].cost += n
		if !g.members[p.from] {
			g.strange += n
		}
	}
}

// evict drops the object of q that is silent for longest, but not keep and not
// a large one.
func (g *gather) evict(q *peer, keep *partial, stats *Stats) bool {
	for _, p := range q.partials {
		if p != keep && !p.large {
			g.remove(p)
			stats.OverBound++
			return true
		}
	}
	return false
}

func (g *gather) remove(p *partial) {
	g.charge(p, -p.cost)
	q := g.peers[p.from]
	q.partials = slices.DeleteFunc(q.partials, func(o *partial) bool { return o == p })
	if len(q.partials) == 0 {
		delete(g.peers, p.from)
	}
	g.large = slices.DeleteFunc(g.large, func(o *partial) bool { return o == p })
}

// expires returns when p is given up. What a stranger began ends by the clock;
// a member's may take long, as 128 parts of text do, while parts keep coming.
func (g *gather) expires(p *partial) time.Time {
	switch {
	case p.large:
		return p.last.Add(largeFor)
	case g.members[p.from]:
		return p.last.Add(gatherFor)
	}
	return p.first.Add(gatherFor)
}

// expire drops what nobody completed, at most once per sweepEvery: a look at
// everything must not be had for the price of a message.
func (g *gather) expire(now time.Time, stats *Stats) {
	if now.Before(g.sweep) {
		return
	}
	next := now.Add(gatherFor)
	for _, q := range g.peers {
		for _, p := range slices.Clone(q.partials) {
			switch due := g.expires(p); {
			case !now.Before(due):
				g.remove(p)
				stats.Unfinished++
			case due.Before(next):
				next = due
			}
		}
	}
	if g.sweep = now.Add(sweepEvery); next.After(g.sweep) {
		g.sweep = next
	}
}

// due returns when expire has something to do, the zero time if nothing is open.
func (g *gather) due() time.Time {
	if len(g.peers) == 0 {
		return time.Time{}
	}
	return g.sweep
}
