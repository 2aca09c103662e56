package e2ee

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
)

// Life of media keys of groups (Sotto protocol §7.4, §12).
const (
	keepEpoch       = 5 * time.Second // after an epoch
	keepEpochRemove = 2 * time.Second // after one that ended with a Remove
	keepEpochs      = 4
	longKIDTime     = 2 * time.Second // of speech in a newly joined group
	proofEvery      = 5 * time.Second // a frame proves its sender's view (§6.5)
)

// media are the voice keys of all groups. The engine's owner reads and writes
// them without a lock; sealing and opening allocate nothing once a step runs.
type media struct {
	groups map[envelope.GroupID]*mediaGroup
	byTag  map[uint32]*mediaGroup
	// homeOf is, for each session, the channel group in which it last spoke with a
	// long KID, and before that the first in which a speaker leaf claims it (§7.2):
	// its short KIDs mean that group.
	homeOf map[uint32]*mediaGroup

	agesAt time.Time // when the first step's time is over; zero: none has begun

	plain, meta, sealed []byte
}

// mediaGroup is one group: its current epoch and those that end.
type mediaGroup struct {
	id     envelope.GroupID
	direct bool
	epochs []*mediaEpoch // the last is the current one
	spoke  time.Time     // our first frame in it; zero: none
	size   int           // rung that our longest frame took (§7.3)
	muted  bool          // we are a listener here
	used   time.Time     // when the agreement was told that we speak in it (direct groups)
	opens  uint64        // how often a key was tried on a frame
}

// mediaEpoch holds one epoch's keys.
type mediaEpoch struct {
	number  uint64
	context [32]byte
	leaves  map[uint32]*mediaLeaf // by session, without our own
	own     groupSend
	from    time.Time // our voice goes over to it
	end     time.Time // it is read no longer; zero: the current one

	tag    [tagLen]byte // of our plugin context, if tagFor is its number
	tagFor int
}

// mediaLeaf is one speaker in one epoch.
type mediaLeaf struct {
	index    uint32
	listener bool
	recv     groupRecv
	proved   time.Time
}

// begin takes over the keys of a new epoch.
func (m *media) begin(now time.Time, b audience.EpochBegan) {
	if m.groups == nil {
		m.groups, m.byTag, m.homeOf = map[envelope.GroupID]*mediaGroup{}, map[uint32]*mediaGroup{}, map[uint32]*mediaGroup{}
		m.plain, m.meta, m.sealed = make([]byte, 0, 2*maxVoiceBody), make([]byte, 0, 256), make([]byte, 0, 2*maxVoiceBody)
	}
	g := m.groups[b.Group]
	if g == nil {
		g = &mediaGroup{id: b.Group, direct: b.Audience == envelope.AudienceDirect}
		m.groups[b.Group], m.byTag[b.Group.Tag()] = g, g
	}
	epoch := &mediaEpoch{number: b.Epoch, context: b.Context, leaves: make(map[uint32]*mediaLeaf, len(b.Leaves)), from: b.Switch, tagFor: -1}
	for _, l := range b.Leaves {
		if l.Index == b.Own {
			epoch.own = groupSend{ratchet: ratchet{base: l.BaseKey}, leaf: l.Index}
			g.muted = l.Role == envelope.RoleListener
			continue
		}
		epoch.leaves[l.Session] = &mediaLeaf{
			index: l.Index, listener: l.Role == envelope.RoleListener, recv: groupRecv{cur: groupStep{ratchet: ratchet{base: l.BaseKey}}},
		}
	}
	if n := len(g.epochs); n > 0 && len(g.epochs[n-1].leaves) == 0 {
		epoch.from = now // nobody was there to hear the old one
	}
	g.retire(now, b)
	g.epochs = append(g.epochs, epoch)
	m.settleHomes()
	for len(g.epochs) > keepEpochs+1 {
		g.epochs[0].erase()
		g.epochs = g.epochs[1:]
	}
}

// speaks reports whether session can speak in g's current epoch.
func (g *mediaGroup) speaks(session uint32) bool {
	l := g.epochs[len(g.epochs)-1].leaves[session]
	return !g.direct && l != nil && !l.listener
}

// settleHomes gives everybody a home who has none or whose home has lost them. A
// leaf alone takes nobody away from where they are: anybody in a group that we
// listen to could make one that claims somebody else's session.
func (m *media) settleHomes() {
	for _, id := range slices.SortedFunc(maps.Keys(m.groups), func(a, b envelope.GroupID) int { return bytes.Compare(a[:], b[:]) }) {
		g := m.groups[id]
		for s := range g.epochs[len(g.epochs)-1].leaves {
			if h := m.homeOf[s]; g.speaks(s) && (h == nil || !h.speaks(s)) {
				m.homeOf[s] = g
			}
		}
	}
}

// moved notes that session speaks in g, with a KID that names it.
func (m *media) moved(session uint32, g *mediaGroup) {
	if m.homeOf[session] != g && g.speaks(session) {
		m.homeOf[session] = g
	}
}

// retire gives the epochs before their end; a removed leaf's keys go at once.
func (g *mediaGroup) retire(now time.Time, b audience.EpochBegan) {
	life := keepEpoch
	if len(b.Removed) > 0 {
		life = keepEpochRemove
	}
	for _, e := range g.epochs {
		if end := now.Add(life); e.end.IsZero() || end.Before(e.end) {
			e.end = end
		}
		for session, l := range e.leaves {
			if slices.Contains(b.Removed, l.index) {
				l.recv.erase()
				delete(e.leaves, session)
			}
		}
	}
}

// drop erases a group's keys.
func (m *media) drop(id envelope.GroupID) {
	g := m.groups[id]
	if g == nil {
		return
	}
	for _, e := range g.epochs {
		e.erase()
	}
	delete(m.groups, id)
	if m.byTag[id.Tag()] == g {
		delete(m.byTag, id.Tag())
	}
	for s, h := range m.homeOf {
		if h == g {
			delete(m.homeOf, s)
		}
	}
	m.settleHomes()
}

// erase forgets all groups.
func (m *media) erase() {
	for id := range m.groups {
		m.drop(id)
	}
}

func (e *mediaEpoch) erase() {
	e.own.erase()
	for _, l := range e.leaves {
		l.recv.erase()
	}
	clear(e.context[:])
	clear(e.leaves)
}

// expire erases epochs and steps whose time is over, even if nobody speaks.
func (m *media) expire(now time.Time) {
	for _, g := range m.groups {
		for len(g.epochs) > 1 && !g.epochs[0].end.IsZero() && !now.Before(g.epochs[0].end) {
			g.epochs[0].erase()
			g.epochs = g.epochs[1:]
		}
	}
	if m.agesAt.IsZero() || now.Before(m.agesAt) {
		return
	}
	m.agesAt = time.Time{}
	for _, g := range m.groups {
		for _, e := range g.epochs {
			if e.own.age(now) == nil { // else the next frame fails
				m.agesBy(e.own.ages())
			}
			for _, l := range e.leaves {
				if l.recv.age(now) == nil {
					m.agesBy(l.recv.ages())
				}
			}
		}
	}
}

// agesBy notes that a step's time is over at a time; zero: nothing.
func (m *media) agesBy(at time.Time) {
	if !at.IsZero() && (m.agesAt.IsZero() || at.Before(m.agesAt)) {
		m.agesAt = at
	}
}

func (m *media) deadline() (at time.Time) {
	at = m.agesAt
	for _, g := range m.groups {
		for _, e := range g.epochs {
			if !e.end.IsZero() && (at.IsZero() || e.end.Before(at)) {
				at = e.end
			}
		}
	}
	return at
}
