package audience

import (
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
)

// place is one channel audience that we belong to, and our way into its group.
type place struct {
	Place
	index   int
	entered time.Time // when we came here, or the regime was known
	group   *group
	joining *joining
	foreign map[envelope.GroupID]*foreign // other groups of this audience, by their Beacons
	moves   []time.Time                   // to another group or branch, the last ten minutes

	reason envelope.HelloReason // of the next Hello
	known  envelope.GroupID     // and the group it names
	epoch  uint64
	apart  apart // until we come anew, or the person acts

	gatherAt time.Time // when the first Hello goes out
	helloAt  time.Time // our last Hello here
	hellos   int       // Hellos of a member that nothing came of yet, for the pause before the next
	announce time.Time // when a presence is due; zero: none
	voiced   time.Time // last presence in voice
	spoken   int       // presences in voice since somebody unknown came
	asked    map[uint32]int
	askedAt  time.Time // all who have shown no sign of Sotto
	split    bool      // NoticeTwoGroups was said
	forked   bool      // NoticeFork was said of a group that we were removed from
}

// hearer returns how session hears this place.
func (p *place) hearer(session uint32) (Hearer, bool) {
	i, ok := slices.BinarySearchFunc(p.Hearers, session, func(h Hearer, s uint32) int { return int(int64(h.Session) - int64(s)) })
	if !ok {
		return Hearer{}, false
	}
	return p.Hearers[i], true
}

func (p *place) hasChannel(c uint32) bool {
	_, ok := slices.BinarySearch(p.Closure, c)
	return ok
}

// peer is somebody else on the server.
type peer struct {
	session   uint32
	sotto     bool
	since     time.Time            // first seen here
	answerAt  time.Time            // our answer to its Presence; zero: none due
	beacon    bool                 // the answer is a Beacon
	answered  time.Time            // the last one
	repeats   bucket               // answers to who was known already
	wishes    map[helloSlot]*hello // to be added, by where
	hellos    bucket
	presences bucket
	beacons   bucket
	told      bucket
}

// setWorld takes over who is where.
func (m *Machine) setWorld(now time.Time, w World) {
	if m.session == 0 {
		return
	}
	m.world = w
	for _, s := range w.People {
		if m.peers[s] == nil {
			m.peers[s] = &peer{session: s, since: now,
				hellos:    bucket{rate: helloEvery, burst: helloBurst},
				presences: bucket{rate: helloEvery, burst: 2 * helloBurst}, // one in voice is three packets
				beacons:   bucket{rate: time.Second / 2, burst: 6},
				repeats:   bucket{rate: answerRepeat, burst: 3},
				told:      bucket{rate: replyEvery, burst: 2},
			}
		}
	}
	for s, q := range m.peers {
		if _, here := slices.BinarySearch(w.People, s); !here {
			for _, g := range m.groups {
				delete(g.knocked, q)
			}
			delete(m.peers, s)
			for _, p := range m.places {
				p.apart.back(s)
			}
			delete(m.wants, s)
			delete(m.requests, s)
		}
	}
	m.setPlaces(now, w.Places)
	m.placed = true
	for _, g := range m.sortedGroups() {
		m.watch(now, g)
	}
}

// setPlaces finds the places of before again, and leaves the groups of those that
// are gone.
func (m *Machine) setPlaces(now time.Time, list []Place) {
	before := m.places
	m.places = nil
	for i, data := range list {
		if slices.ContainsFunc(m.places, func(p *place) bool { return p.hasChannel(data.Channel) }) {
			continue // who listens to a channel that is linked to an earlier one hears it there
		}
		p := takePlace(before, i, data)
		if p == nil {
			p = &place{foreign: map[envelope.GroupID]*foreign{}}
		}
		moved := p.Channel != data.Channel || p.entered.IsZero()
		if m.regime != RegimeEcho && slices.ContainsFunc(data.Hearers, func(h Hearer) bool { _, known := p.hearer(h.Session); return !known }) {
			m.announceSoon(now, p)
		}
		known := p.Hearers
		p.Place, p.index = data, i
		if p.group != nil && !p.hasChannel(p.group.anchor) {
			// The group belongs to where we are no longer heard (§5).
			m.drop(p.group, LostLeft, 0)
			moved = true
		}
		if moved {
			m.enter(now, p)
		}
		if !moved {
			m.announceAgain(now, p, known)
		}
		for s := range p.asked {
			if _, here := p.hearer(s); !here {
				delete(p.asked, s)
			}
		}
		m.places = append(m.places, p)
	}
	for _, p := range before {
		if p != nil && !slices.Contains(m.places, p) && p.group != nil {
			m.drop(p.group, LostLeft, 0)
		}
	}
}

// takePlace finds what data was before and takes it out of the list: our own place
// is the first, places that we listen to are known by their channel.
func takePlace(before []*place, i int, data Place) *place {
	for j, p := range before {
		if p != nil && (i == 0 && j == 0 || i > 0 && j > 0 && p.Channel == data.Channel) {
			return p
		}
	}
	return nil
}

// enter begins anew in a place.
func (m *Machine) enter(now time.Time, p *place) {
	p.gatherAt = time.Time{}
	p.entered, p.announce, p.voiced, p.helloAt, p.spoken = now, now, time.Time{}, time.Time{}, 0
	p.asked = map[uint32]int{}
	p.apart, p.split, p.reason, p.known, p.epoch = apart{}, false, envelope.HelloJoin, envelope.GroupID{}, 0
	if p.group == nil {
		p.stopJoining()
	}
	for id, f := range p.foreign {
		if f.forgets(p) {
			delete(p.foreign, id)
		}
	}
}

// setWant: who goes clear leaves the group (§3).
func (m *Machine) setWant(now time.Time, want bool) {
	if m.want == want {
		return
	}
	m.want = want
	for _, p := range m.places {
		p.apart = apart{}
		if want {
			continue
		}
		p.stopJoining()
		if p.group != nil {
			m.sayLeave(now, p.group)
			m.drop(p.group, LostLeft, 0)
		}
	}
}

// present returns those of to who are on the server, ascending, without us and
// without copies.
func (m *Machine) present(to []uint32) []uint32 {
	out := make([]uint32, 0, len(to))
	for _, s := range to {
		if m.peers[s] != nil && s != m.session {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// sottos are the sessions of a place that run Sotto, as far as we know.
func (m *Machine) sottos(p *place) []uint32 {
	var out []uint32
	for _, h := range p.Hearers {
		if q := m.peers[h.Session]; q != nil && q.sotto {
			out = append(out, h.Session)
		}
	}
	return out
}

// runPlaces does what is due in each place: to be known, and to get into its group.
func (m *Machine) runPlaces(now time.Time) {
	for _, p := range m.places {
		m.runPresence(now, p)
		m.runForeign(now, p)
		m.runJoining(now, p)
	}
	m.runAnswers(now)
}
