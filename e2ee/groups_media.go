package e2ee

import (
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/sframe"
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
	// homeOf is, for each session, the channel group in which a speaker leaf that
	// claims it most recently appeared (§7.2): its short KIDs mean that group.
	homeOf map[uint32]*mediaGroup

	plain, meta, sealed []byte
}

// mediaGroup is one group: its current epoch and those that end.
type mediaGroup struct {
	id     envelope.GroupID
	direct bool
	epochs []*mediaEpoch // the last is the current one
	spoke  time.Time     // our first frame in it; zero: none
	size   int           // ladder step that our longest frame took (§7.3)
	muted  bool          // we are a listener here
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
	var before *mediaEpoch
	if n := len(g.epochs); n > 0 {
		before = g.epochs[n-1]
	}
	for _, l := range b.Leaves {
		if l.Index == b.Own {
			epoch.own = groupSend{ratchet: ratchet{base: l.BaseKey}, leaf: l.Index}
			g.muted = l.Role == envelope.RoleListener
			continue
		}
		epoch.leaves[l.Session] = &mediaLeaf{
			index: l.Index, listener: l.Role == envelope.RoleListener, recv: groupRecv{cur: groupStep{ratchet: ratchet{base: l.BaseKey}}},
		}
		if g.direct || l.Role == envelope.RoleListener {
			continue
		}
		if before == nil || before.leaves[l.Session] == nil || before.leaves[l.Session].index != l.Index {
			m.homeOf[l.Session] = g
		}
	}
	g.retire(now, b)
	g.epochs = append(g.epochs, epoch)
	for len(g.epochs) > keepEpochs+1 {
		g.epochs[0].erase()
		g.epochs = g.epochs[1:]
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
			for _, i := range b.Removed {
				if l.index == i {
					l.recv.erase()
					delete(e.leaves, session)
				}
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
}

func (e *mediaEpoch) erase() {
	e.own.erase()
	for _, l := range e.leaves {
		l.recv.erase()
	}
	clear(e.context[:])
	clear(e.leaves)
}

// expire erases epochs whose time is over.
func (m *media) expire(now time.Time) {
	for _, g := range m.groups {
		for len(g.epochs) > 1 && !g.epochs[0].end.IsZero() && !now.Before(g.epochs[0].end) {
			g.epochs[0].erase()
			g.epochs = g.epochs[1:]
		}
	}
}

func (m *media) deadline() (at time.Time) {
	for _, g := range m.groups {
		for _, e := range g.epochs {
			if !e.end.IsZero() && (at.IsZero() || e.end.Before(at)) {
				at = e.end
			}
		}
	}
	return at
}

// ratchet is the base key of a step (§7.1).
type ratchet struct {
	step uint64
	base [baseKeyLen]byte
}

// next is the ratchet one step on.
func (r *ratchet) next() (ratchet, error) {
	base, err := sframe.Ratchet(suite, r.base[:], baseKeyLen)
	if err != nil {
		return ratchet{}, err
	}
	n := ratchet{r.step + 1, [baseKeyLen]byte(base)}
	clear(base)
	return n, nil
}

// shortKID and longKID name an epoch and step (§7.2).
func shortKID(epoch, step uint64) uint64 { return epoch%16<<4 | step%16 }

func longKID(tag uint32, epoch, step uint64) uint64 {
	return uint64(tag)<<16 | epoch%256<<8 | step%256
}

// kids are the two forms of the KID of a step; each has an SFrame key of its own,
// and they share one counter.
type kids struct{ short, long *sframe.Key }

func (k *kids) get(r *ratchet, long bool, tag uint32, epoch uint64) (*sframe.Key, error) {
	at, kid := &k.short, shortKID(epoch, r.step)
	if long {
		at, kid = &k.long, longKID(tag, epoch, r.step)
	}
	if *at == nil {
		key, err := sframe.NewKey(suite, kid, r.base[:])
		if err != nil {
			return nil, err
		}
		*at = key
	}
	return *at, nil
}

// groupSend is our own voice in one epoch.
type groupSend struct {
	ratchet
	leaf  uint32
	keys  kids
	ctr   uint64    // of this step
	first time.Time // frame of this step; zero: none yet
}

// advance moves to the next step when this one has had its frames or its time.
func (s *groupSend) advance(now time.Time) error {
	if s.ctr < stepFrames && (s.first.IsZero() || now.Sub(s.first) < stepAge) {
		return nil
	}
	n, err := s.next()
	if err != nil {
		return err
	}
	clear(s.base[:])
	s.ratchet, s.keys, s.ctr, s.first = n, kids{}, 0, time.Time{}
	return nil
}

func (s *groupSend) erase() {
	clear(s.base[:])
	s.keys = kids{}
}

// groupStep is one step of somebody's voice.
type groupStep struct {
	ratchet
	keys   kids
	replay replayFilter
	first  time.Time
}

// groupRecv is somebody's voice in one epoch.
type groupRecv struct {
	cur, prev groupStep
	prevEnd   time.Time // zero: there is no step before
}

func (r *groupRecv) erase() {
	clear(r.cur.base[:])
	clear(r.prev.base[:])
	r.cur.keys, r.prev.keys = kids{}, kids{}
	r.prevEnd = time.Time{}
}

// age moves on when 5 min have passed since the first frame of the step, without a
// frame, and drops the step before when its time is over.
func (r *groupRecv) age(now time.Time) error {
	if !r.cur.first.IsZero() && now.Sub(r.cur.first) >= stepAge {
		n, err := r.cur.next()
		if err != nil {
			return err
		}
		r.enter(groupStep{ratchet: n}, r.cur, r.cur.first.Add(stepAge))
	}
	if !r.prevEnd.IsZero() && !now.Before(r.prevEnd) {
		clear(r.prev.base[:])
		r.prev, r.prevEnd = groupStep{}, time.Time{}
	}
	return nil
}

func (r *groupRecv) enter(cur, prev groupStep, at time.Time) {
	clear(r.cur.base[:])
	r.cur, r.prev, r.prevEnd = cur, prev, at.Add(keepStep)
}
