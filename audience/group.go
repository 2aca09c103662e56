package audience

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// group is one group that we are a member of.
type group struct {
	id     envelope.GroupID
	mls    *mls.Group
	suite  mls.CipherSuite
	kind   envelope.AudienceKind
	anchor uint32
	ext    envelope.SottoGroup
	place  *place // nil for a direct group
	own    uint32
	leaves map[uint32]*leaf
	former []formerLeaf // removed in the last epochs, whose Beacons we can still verify

	digests []digest // of the last epochs, the current one last
	log     []logged // Commits of the last epochs
	logSize int

	epochAt     time.Time // the current epoch took effect here
	joinedAt    time.Time // the epoch that our Welcome brought; zero: we founded the group
	committed   time.Time // the last Commit, anybody's
	removal     bool      // it removed somebody
	burst       time.Time // an Update is due after path-less Commits; zero: none
	renewed     time.Time // our own leaf has fresh keys since
	renewAt     time.Time
	pathAt      time.Time      // the last Commit with a path, anybody's
	pastUntil   time.Time      // then former epochs' application keys are forgotten
	blockedAt   time.Time      // a Commit of ours got lost; not before then again
	unrefreshed bool           // NoticeNoRefresh was said
	lock        *bool          // what SetLocked wants
	knocked     map[*peer]bool // who is here and wants in while it is locked: that was said
	welcomes    int            // ours that are on their way
	welcomedAt  time.Time      // the last one

	pending *pending
	waiting []waiting // Commits that wait for their epoch or body
	stall   *stall
	budget  bucket    // Commits processed
	delayed time.Time // when one that was too many is processed

	beaconAt  time.Time
	beacon    news
	proves    bool // the next one shows others that a Commit took effect
	answers   []wanted
	want      *behind
	strangers time.Time // no stranger's word for a later epoch counts before then
	heal      healing
	health    Health
	reports   map[envelope.Ref]*reported
	reportSeq uint32

	usedAt time.Time // direct groups
	seq    uint32    // of our application data
}

// leaf is a member.
type leaf struct {
	index    uint32
	ext      envelope.SottoLeaf
	who      Who
	key      []byte
	added    time.Time
	since    uint64    // first epoch with it, as far as we know
	assumed  time.Time // when we joined and found it there: counts for ranks only
	alive    time.Time // last sign of life, in whatever branch; zero: none yet
	heard    time.Time // last proof of a current epoch; zero: none yet
	gone     time.Time // since when the server shows it gone; zero: it is here
	leaving  bool      // it said so
	shown    bool      // its session has shown that it has the leaf's key
	seq      int64     // of its last Beacon, -1 for none
	beacon   *view     // its last Beacon
	rank     [32]byte  // in this epoch
	behindAt time.Time // since when its Beacons show it behind us; zero: not
	resent   time.Time // when a Commit that it missed was sent to it again
	// Its Wants are answered up to this epoch, and were last then.
	answered   uint64
	answeredAt time.Time
}

// silentAt is when a leaf that gives no sign of life is removed. One that never
// gave any lost its Welcome, or did not want it any more; one that gave some may
// have gone clear, and what it said then got lost. Who is removed and wants to be in
// says Hello again, at once.
func (m *Machine) silentAt(l *leaf) time.Time {
	never, long := silentNever, silentLong
	if m.regime == RegimeNoEcho {
		never, long = 3*never, 3*long // as Beacons are rarer
	}
	if l.alive.IsZero() {
		return latest(l.added, l.assumed).Add(never)
	}
	return l.alive.Add(long)
}

func (l *leaf) session() uint32 { return l.ext.Session }

// formerLeaf is a member that is gone, whose late Beacons we can still verify (§6.4).
type formerLeaf struct {
	*leaf
	until uint64 // last epoch that had it
}

// digest is D(e) of §6.4.
type digest struct {
	epoch uint64
	sum   [32]byte
}

func digestOf(id envelope.GroupID, epoch uint64, authenticator []byte) [32]byte {
	h := sha256.New()
	h.Write([]byte("sotto/1 epoch"))
	h.Write(id[:])
	var e [8]byte
	binary.BigEndian.PutUint64(e[:], epoch)
	h.Write(e[:])
	h.Write(authenticator)
	return [32]byte(h.Sum(nil))
}

// logged is a Commit that took effect, as it was sent.
type logged struct {
	epoch  uint64 // that it ended
	object envelope.Object
	ref    envelope.Ref
	author uint32 // session
	at     time.Time
}

func (g *group) epoch() uint64 { return g.mls.Epoch() }

func (g *group) index() int {
	if g.place == nil {
		return -1
	}
	return g.place.index
}

// digestAt returns D of an epoch that we remember.
func (g *group) digestAt(epoch uint64) ([32]byte, bool) {
	for _, d := range g.digests {
		if d.epoch == epoch {
			return d.sum, true
		}
	}
	return [32]byte{}, false
}

// sessions are those of all other members.
func (g *group) sessions() []uint32 {
	out := make([]uint32, 0, len(g.leaves))
	for _, l := range g.leaves {
		if l.index != g.own {
			out = append(out, l.session())
		}
	}
	slices.Sort(out)
	return out
}

func (g *group) bySession(session uint32) *leaf {
	for _, l := range g.leaves {
		if l.session() == session {
			return l
		}
	}
	return nil
}

// sorted are the members from the left.
func (g *group) sorted() []*leaf {
	out := make([]*leaf, 0, len(g.leaves))
	for _, l := range g.leaves {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b *leaf) int { return int(int64(a.index) - int64(b.index)) })
	return out
}

func (g *group) alone() bool { return len(g.leaves) == 1 }

// sortedGroups are all groups in an order that does not change from run to run.
func (m *Machine) sortedGroups() []*group {
	out := make([]*group, 0, len(m.groups))
	for _, g := range m.groups {
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b *group) int { return bytes.Compare(a.id[:], b.id[:]) })
	return out
}

// install takes a new group into use.
func (m *Machine) install(now time.Time, mg *mls.Group, p *place, joined bool) *group {
	data, _ := extension(mg.Context().Extensions, envelope.ExtensionGroup)
	ext, _ := envelope.ParseSottoGroup(data) // was checked
	g := &group{
		id: envelope.GroupID(mg.ID()), mls: mg, suite: mg.CipherSuite(), ext: ext,
		kind: ext.Audience, anchor: ext.Anchor, place: p, own: uint32(mg.OwnIndex()),
		leaves: map[uint32]*leaf{}, reports: map[envelope.Ref]*reported{},
		renewed: now, usedAt: now, budget: bucket{rate: time.Second / commitsPerSec, burst: 2 * commitsPerSec},
		health: Health{Groups: 1},
	}
	m.groups[g.id] = g
	if p != nil {
		p.group = g
		delete(p.foreign, g.id)
	}
	m.readLeaves(now, g)
	for _, l := range g.leaves {
		if joined {
			l.assumed = now
			if q := m.peers[l.session()]; q != nil && p != nil {
				q.forget(p, l.ext.Role) // it is in: what it asked for before is done
			}
		}
	}
	m.watch(now, g)
	m.begin(now, g, begun{joined: joined})
	return g
}

// readLeaves makes our list of members that of the tree.
func (m *Machine) readLeaves(now time.Time, g *group) {
	before := g.leaves
	g.leaves = make(map[uint32]*leaf, len(before)+1)
	for _, member := range g.mls.Members() {
		i := uint32(member.Index)
		if l := before[i]; l != nil && bytes.Equal(l.key, member.Leaf.SignatureKey) && l.ext.Session != 0 {
			if ext, who, err := m.readLeaf(member.Leaf); err == nil {
				l.ext, l.who = ext, who
			}
			g.leaves[i] = l
			continue
		}
		l := &leaf{index: i, key: member.Leaf.SignatureKey, added: now, since: g.epoch(), seq: -1}
		for _, f := range g.former {
			if f.index == i && bytes.Equal(f.key, l.key) {
				l.seq = max(l.seq, f.seq) // the same leaf again: its old Beacons stay old
			}
		}
		l.ext, l.who, _ = m.readLeaf(member.Leaf) // Authenticate has accepted it
		g.leaves[i] = l
	}
}

// watch notes which members the server shows gone. In a channel group that is who
// does not hear the place any more, in a direct one who left the server.
func (m *Machine) watch(now time.Time, g *group) {
	for _, l := range g.leaves {
		if l.index == g.own {
			continue
		}
		here := m.peers[l.session()] != nil
		if here && g.place != nil {
			h, ok := g.place.hearer(l.session())
			here = ok && h.Role == l.ext.Role
		}
		// Who is gone once stays gone: its own guard has left the group as well, and
		// the session may belong to somebody else when it shows again (§5).
		if !here && l.gone.IsZero() {
			l.gone = now
			m.again = true
		}
	}
}

// drop erases a group.
func (m *Machine) drop(g *group, why LostReason, by uint32) {
	if m.groups[g.id] != g {
		return
	}
	if g.pending != nil {
		m.discard(g)
	}
	m.cancelBeacon(g)
	g.mls.Wipe()
	delete(m.groups, g.id)
	if g.place != nil && g.place.group == g {
		g.place.group = nil
	}
	m.emit(Lost{Group: g.id, Place: g.index(), Reason: why, By: by})
}

// cancelBeacon takes a Beacon back that waits where each object is a text: nothing of the
// group is to be said any more.
func (m *Machine) cancelBeacon(g *group) {
	if m.regime != RegimeEcho && m.waits(g.beacon.token) {
		m.cancel(g.beacon.token)
	}
}

// runGroups does what is due in each group.
func (m *Machine) runGroups(now time.Time) {
	for _, g := range m.sortedGroups() {
		m.runOrder(now, g)
		m.runCommit(now, g)
		m.runWants(now, g)
		m.runBeacon(now, g)
		m.runHealing(now, g)
		m.runPast(now, g)
		m.tellHealth(now, g)
		idle := g.kind == envelope.AudienceDirect && m.reached(now, g.usedAt.Add(directIdle))
		if idle || g.kind == envelope.AudienceDirect && g.alone() && g.epoch() > 0 { // or nobody else is left
			m.sayLeave(now, g)
			m.drop(g, LostIdle, 0)
		}
	}
}

// runPast forgets the application keys of former epochs (§8).
func (m *Machine) runPast(now time.Time, g *group) {
	if !g.pastUntil.IsZero() && m.reached(now, g.pastUntil) {
		g.pastUntil = time.Time{}
		g.mls.ForgetPast()
	}
}

// expire drops KeyPackages whose time is over.
func (m *Machine) expire(now time.Time) {
	m.offers = slices.DeleteFunc(m.offers, func(o *offer) bool {
		if m.reached(now, o.at.Add(offerLife)) {
			o.own.Wipe()
			return true
		}
		return false
	})
	m.bodies.expire(now)
}

// withdraw wipes the KeyPackages that were out for a place.
func (m *Machine) withdraw(p *place) {
	m.offers = slices.DeleteFunc(m.offers, func(o *offer) bool {
		if o.place == p && p != nil {
			o.own.Wipe()
			return true
		}
		return false
	})
}
