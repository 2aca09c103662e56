package audience

import (
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// Machine is the state of one client on one server. It is not safe for concurrent
// use; its owner is one goroutine.
type Machine struct {
	cfg   Config
	queue []Output
	wake  time.Time // set anew by each Handle
	again bool      // run once more: something was done that enables more
	token uint64
	stats Stats

	connection
}

// connection is what begins anew with each connection.
type connection struct {
	session uint32
	regime  Regime
	keys    map[mls.CipherSuite]*sessionKey
	known   map[statementKey]Who // statements that verified

	world  World
	placed bool
	want   bool // to be in groups
	places []*place
	peers  map[uint32]*peer

	groups   map[envelope.GroupID]*group
	tokens   map[uint64]sent
	direct   map[uint64]*opening
	offers   []*offer // KeyPackages of ours that are out
	presence news

	verified               bucket // signatures of strangers who want in
	answered               bucket // what answers us: Welcomes, and KeyPackages that were asked for
	requests               map[uint32]*bucket
	replies, memberReplies bucket    // KeyPackages for strangers, and for members of our groups
	askers                 []uint32  // strangers who asked for one, and are to hear that we run Sotto
	toldAt                 time.Time // when we last told such
	wants                  map[uint32]*bucket
	bodies                 bodies
	beacons                uint32 // our own so far, in whatever group: their seq
}

// Stats counts what was dropped, and what was done.
type Stats struct {
	Malformed   uint64 // objects that are not what their kind says
	Unverified  uint64 // signatures or statements that are not true
	Limited     uint64 // above a bound of §12
	Stale       uint64 // of a former epoch, or a copy
	Unknown     uint64 // for a group or from a session that we do not know
	Invalid     uint64 // Commits that break a rule
	Commits     uint64 // ours that took effect
	Epochs      uint64 // begun here
	Forks       uint64
	Moves       uint64 // to another group or branch
	Attribution uint64 // the sender's leaf claims another session
}

// New returns a Machine that is not connected. The error is ErrConfig.
func New(cfg Config) (*Machine, error) {
	if len(cfg.Suites) == 0 || cfg.Statement == nil || cfg.Verify == nil || cfg.RequirePSK && cfg.PSK == nil {
		return nil, ErrConfig
	}
	m := &Machine{cfg: cfg}
	m.connection = newConnection()
	return m, nil
}

func newConnection() connection {
	return connection{
		keys:     map[mls.CipherSuite]*sessionKey{},
		known:    map[statementKey]Who{},
		peers:    map[uint32]*peer{},
		groups:   map[envelope.GroupID]*group{},
		tokens:   map[uint64]sent{},
		direct:   map[uint64]*opening{},
		requests: map[uint32]*bucket{},
		wants:    map[uint32]*bucket{},
		verified: bucket{rate: time.Second / maxVerifications, burst: maxVerifications},
		answered: bucket{rate: time.Second / maxAnswers, burst: MaxDirectPeople},
	}
}

// Handle takes an input at the time now, and does what is due by then.
func (m *Machine) Handle(now time.Time, in Input) {
	switch in := in.(type) {
	case Connected:
		m.disconnect()
		m.session = in.Session
	case Disconnected:
		m.disconnect()
	case Regime:
		m.setRegime(now, in)
	case World:
		m.setWorld(now, in)
	case Join:
		m.setWant(now, in.Want)
	case Received:
		m.received(now, in)
	case HeardPresence:
		m.heardPresence(now, in.From)
	case Proof:
		m.proof(now, in)
	case Delivered:
		m.delivered(now, in.Token, in.Ordered)
	case Failed:
		m.failed(now, in.Token)
	case OpenDirect:
		m.openDirect(now, in)
	case UseDirect:
		if g := m.groups[in.Group]; g != nil && g.kind == envelope.AudienceDirect {
			g.usedAt = now
		}
	case SetLocked:
		m.setLocked(in.Locked)
	case Renew:
		for _, g := range m.groups {
			g.renewAt = now
		}
	case nil:
	}
	m.run(now)
}

// run does what is due, until nothing more is, and notes when to run again. Each
// round can enable another, so there is a bound on them.
func (m *Machine) run(now time.Time) {
	for range 16 {
		m.wake, m.again = time.Time{}, false
		if m.session == 0 || m.regime == RegimeUnknown || !m.placed {
			return
		}
		m.runPlaces(now)
		m.runGroups(now)
		m.runDirect(now)
		m.expire(now)
		if !m.again {
			return
		}
	}
	m.due(now.Add(10 * time.Millisecond))
}

// due asks to be run again at t.
func (m *Machine) due(t time.Time) {
	if !t.IsZero() && (m.wake.IsZero() || t.Before(m.wake)) {
		m.wake = t
	}
}

// reached reports whether t has come, and otherwise asks to be run then.
func (m *Machine) reached(now, t time.Time) bool {
	if !now.Before(t) {
		return true
	}
	m.due(t)
	return false
}

// Deadline returns when Handle is to be called again even if nothing happens;
// zero: not at all.
func (m *Machine) Deadline() time.Time { return m.wake }

// Next returns the next output, or false when there is none.
func (m *Machine) Next() (Output, bool) {
	if len(m.queue) == 0 {
		m.queue = nil
		return nil, false
	}
	out := m.queue[0]
	m.queue[0] = nil
	m.queue = m.queue[1:]
	return out, true
}

// Stats returns the counters so far.
func (m *Machine) Stats() Stats { return m.stats }

func (m *Machine) emit(out Output) { m.queue = append(m.queue, out) }

// disconnect erases what belongs to a connection.
func (m *Machine) disconnect() {
	for _, g := range m.sortedGroups() {
		m.drop(g, LostLeft, 0)
	}
	for _, o := range m.offers {
		o.own.Wipe()
	}
	m.connection = newConnection()
	m.wake = time.Time{}
}

// setRegime takes what the carrier found out. A regime can get better once, when
// a Probe's echo comes late; Commits under way are settled by the new rules.
func (m *Machine) setRegime(now time.Time, r Regime) {
	m.regime = r
	for _, p := range m.places {
		p.entered = now
	}
}

// sent is what an own object is for, until the carrier is done with it.
type sent struct {
	purpose purpose
	group   envelope.GroupID
	epoch   uint64
	place   *place

	priority Priority // of the Ref that follows
}

type purpose uint8

const (
	forNothing purpose = iota // nobody waits for it
	forNews                   // that can wait for more of its kind
	forHello
	forCommit
	forBody // of a Commit, whose Ref follows
	forWelcome
	forRequest // a KeyPackageRequest
)

// send hands an object to the carrier. Without receivers nothing is sent.
func (m *Machine) send(to []uint32, o envelope.Object, p Priority, bulk bool, why sent) uint64 {
	to = m.present(to)
	if len(to) == 0 {
		return 0
	}
	m.token++
	if why.purpose != forNothing {
		m.tokens[m.token] = why
	}
	m.emit(Send{Token: m.token, To: to, Object: o, Priority: p, Bulk: bulk})
	return m.token
}

// waits reports whether the carrier has not yet said what became of a Send.
func (m *Machine) waits(token uint64) bool {
	_, ok := m.tokens[token]
	return ok
}

// cancel takes a Send back, as far as it has not left.
func (m *Machine) cancel(token uint64) {
	delete(m.tokens, token)
	m.emit(Cancel{token})
}

// delivered: the carrier is done with a Send; where there is an order, this is
// the place of our own object in it.
func (m *Machine) delivered(now time.Time, token uint64, ordered bool) {
	why, ok := m.tokens[token]
	if !ok {
		return
	}
	delete(m.tokens, token)
	switch why.purpose {
	case forHello:
		m.helloPlaced(now, why.place, token)
	case forCommit:
		if g := m.groups[why.group]; g != nil {
			m.ownEcho(now, g, token)
		}
	case forBody:
		if g := m.groups[why.group]; g != nil {
			m.bodySent(now, g, token, why, ordered)
		}
	case forWelcome:
		m.welcomed(why.group)
	case forRequest:
		m.requested(now, why.group, true)
	}
}

func (m *Machine) failed(now time.Time, token uint64) {
	why, ok := m.tokens[token]
	if !ok {
		return
	}
	delete(m.tokens, token)
	switch why.purpose {
	case forHello:
		m.helloPlaced(now, why.place, token) // it may have arrived; retries go on by the clock
	case forCommit, forBody:
		if g := m.groups[why.group]; g != nil {
			m.commitFailed(now, g, token)
		}
	case forWelcome:
		m.welcomed(why.group)
	case forRequest:
		m.requested(now, why.group, false)
	}
}

// welcomed: a Welcome of ours has left, or never will.
func (m *Machine) welcomed(id envelope.GroupID) {
	if g := m.groups[id]; g != nil && g.welcomes > 0 {
		g.welcomes--
		m.again = true
	}
}

// between returns a random time from a to b, to spread what many would else do in
// the same instant.
func between(a, b time.Duration) time.Duration {
	var r [8]byte
	rand.Read(r[:])
	return a + time.Duration(binary.BigEndian.Uint64(r[:])%uint64(b-a+1))
}

func latest(a time.Time, more ...time.Time) time.Time {
	for _, b := range more {
		if b.After(a) {
			a = b
		}
	}
	return a
}

// Suite returns the cipher suite of a group that we are in, else 0.
func (m *Machine) Suite(group envelope.GroupID) mls.CipherSuite {
	if g := m.groups[group]; g != nil {
		return g.suite
	}
	return 0
}
