package carrier

import (
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
	if a.path == pathPlugin { // it lies in the caller's buffer
		a.part = append(make([]byte, 0, len(a.part)), a.part...) // no more than is charged
	}
	p.parts[a.index] = slices.Clip(a.part)
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
