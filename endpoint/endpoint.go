// Package endpoint is one end of the end-to-end encryption on one server
// connection: mirror, engine and carrier joined into one machine without IO.
//
//	control messages from the server --> FromServer --> mirror ----> engine
//	                                                 \-> carrier --> engine
//	engine --> carrier --> Next: control messages and voice for the server,
//	                             texts, notices, gate changes for the person
//
//	voice out  Protect:   Opus --> engine (SFrame) --> envelope --> silent cover packet
//	voice in   Unprotect: the mirror, and the Opus firewall last
//
// Guard and the headless clients both stand on it, and a simulated network can
// wire a dozen of them together in a test. It owns no socket and no clock; the
// caller passes the time, sends what Next returns, and calls Tick at Deadline.
//
// It decides nothing about keys or the gate: that is package e2ee.
package endpoint

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/carrier"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mumble/mirror"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// Endpoint is the machine. Not safe for concurrent use.
type Endpoint struct {
	secret  *e2ee.Secret // nil with policy off, and with groups
	mirror  mirror.Mirror
	engine  engine
	typed   *e2ee.Engine // the engine, if it is that of a typed secret alone or of policy off
	groups  *e2ee.Groups // the engine, if it is that of automatic groups
	carrier *carrier.Carrier
	out     []Output

	bandwidth uint32 // bit/s that the server allows; 0: it did not say

	worldAt time.Time // when the engine was last told who is where
	stale   bool      // it is not true any more

	move      uint32 // channel the own client asked for
	moveUntil time.Time
	making    making // a temporary channel that the own client has asked for

	nextToken uint64
	handshake map[uint64]uint64 // tokens under way that are not the person's texts, and the engine's
	carried   map[uint64]uint64 // the engine's tokens, and those of the carrier
	early     early
	asking    map[uint64]direct // direct groups that were asked for
	plugins   plugins
	rosters   map[envelope.GroupID][]uint32
	version   uint64 // of the server; 0: it did not say
	texts     map[uint64]string
	waiting   []waitingText
	sent      sentTexts // that the server could still refuse

	targets  map[uint32]*target
	suspects suspects
	stats    Stats
	body     []byte
	frame    e2ee.Frame
}

// Stats counts what was not played or not sent, by reason.
type Stats struct {
	Unopened   uint64 // Sotto packets that no key of ours opens, replays included
	ClearVoice uint64 // ordinary Opus that was not played because a secret is set
	Firewall   uint64 // opened, but not fit for a stock client
	TooLong    uint64 // own frames that do not fit the largest packet
	BadOpus    uint64 // own frames that are no Opus packet of 10, 20, 40 or 60 ms
	Flood      uint64 // texts that were not shown because there were too many

	// Carrier counts what became of objects on their way, Regime is what the server
	// does with them; Agreement is what automatic groups have done and dropped.
	Carrier   carrier.Stats
	Regime    carrier.Regime
	Agreement audience.Stats
}

// Output is what the caller must do: one of the types below.
type Output interface{ output() }

type (
	// Send is a control message for the server.
	Send struct{ Message proto.Message }
	// Fence asks for a ping by TCP, behind all that was sent before; Fenced is for the
	// answer to the latest one.
	Fence struct{}
	// Voice is a packet for the server: an announcement that holds no speech, or a
	// packet of a whisper that waited for its keys.
	Voice struct{ Packet voice.Packet }
	// Gate says that what may leave has changed.
	Gate struct{ e2ee.GateChanged }
	// Holder says that somebody proved to hold the secret.
	Holder struct{ e2ee.Holder }
	// OtherSecret says that somebody uses another secret.
	OtherSecret struct{ e2ee.OtherSecret }
	// TextIn is a text that arrived encrypted and opened.
	TextIn struct {
		From uint32
		Text e2ee.Text
	}
	// TextFailed says that a text of the person was not delivered, and why.
	TextFailed struct{ Reason string }
	// Notice is one plain sentence for the person.
	Notice struct{ e2ee.Notice }
	// Question asks the person something; UserWait, UserClear, UserProtect and
	// leaving the channel are the answers.
	Question struct{ e2ee.Asked }
	// Roster says who is in an encrypted group now.
	Roster struct{ e2ee.RosterChanged }
	// Memory says that the Book is to be written.
	Memory struct{}
	// Played is a packet for the own client that came before its key and opened
	// now. Its Payload is the receiver's.
	Played struct{ Packet voice.Packet }
	// ClearText is a private text that may leave in clear, because somebody whom it
	// is for has no Sotto and nobody of them was ever protected with the person.
	ClearText struct{ Message *mumblepb.TextMessage }
	// PluginIn is data of a plugin of somebody's client that arrived encrypted.
	PluginIn struct{ e2ee.PluginReceived }
	// ClearPlugin is data of a plugin of the own client that may leave in clear.
	ClearPlugin struct {
		Message *mumblepb.PluginDataTransmission
	}
)

func (Send) output()        {}
func (Fence) output()       {}
func (Voice) output()       {}
func (Gate) output()        {}
func (Holder) output()      {}
func (OtherSecret) output() {}
func (TextIn) output()      {}
func (TextFailed) output()  {}
func (Notice) output()      {}
func (Question) output()    {}
func (Roster) output()      {}
func (Memory) output()      {}
func (Played) output()      {}
func (PluginIn) output()    {}
func (ClearPlugin) output() {}
func (ClearText) output()   {}

// engine is what the engines of package e2ee have in common.
type engine interface {
	Handle(now time.Time, in e2ee.Input)
	Next() (e2ee.Output, bool)
	Deadline() time.Time
	State() e2ee.State
	Leave() e2ee.Leave
}

// New returns an endpoint with a typed secret alone, or with policy off, for the
// server that cfg names. It serves one connection after the other; what must not
// be heard twice is remembered across them, so keep it for the whole run.
func New(cfg e2ee.Config) (*Endpoint, error) {
	engine, err := e2ee.New(cfg)
	if err != nil {
		return nil, err
	}
	e := newEndpoint(engine)
	e.typed, e.secret = engine, cfg.Secret
	return e, nil
}

// NewGroups returns an endpoint with automatic groups for the server that cfg
// names. Keep it for the whole run, as that of New.
func NewGroups(cfg e2ee.GroupsConfig) (*Endpoint, error) {
	engine, err := e2ee.NewGroups(cfg)
	if err != nil {
		return nil, err
	}
	e := newEndpoint(engine)
	e.groups = engine
	return e, nil
}

func newEndpoint(engine engine) *Endpoint {
	return &Endpoint{
		engine:    engine,
		carrier:   carrier.New(),
		handshake: map[uint64]uint64{},
		carried:   map[uint64]uint64{},
		asking:    map[uint64]direct{},
		texts:     map[uint64]string{},
		targets:   map[uint32]*target{},
	}
}

// Groups is the engine of automatic groups, nil with a typed secret alone or with
// policy off: for what a status wants to know. It belongs to the endpoint.
func (e *Endpoint) Groups() *e2ee.Groups { return e.groups }

// Disconnected ends a connection. The gate closes, and everything that belonged
// to the connection is forgotten.
func (e *Endpoint) Disconnected(now time.Time) {
	e.carrier.Handle(now, carrier.Disconnected{})
	e.engine.Handle(now, e2ee.PluginContext{})
	e.engine.Handle(now, e2ee.Disconnected{})
	e.waiting = nil
	clear(e.texts) // nobody is there any more who could be told
	e.settle(now)
	clear(e.handshake)
	clear(e.carried)
	clear(e.asking)
	e.plugins = plugins{}
	clear(e.targets)
	clear(e.rosters)
	e.early, e.suspects, e.sent = early{}, suspects{}, nil
	e.mirror = mirror.Mirror{}
	e.bandwidth, e.moveUntil, e.making, e.stale = 0, time.Time{}, making{}, false
}

// Mirror is the server's word about channels and users.
func (e *Endpoint) Mirror() *mirror.Mirror { return &e.mirror }

// Leave is the decision of the gate: nothing, clear or ciphertext.
func (e *Endpoint) Leave() e2ee.Leave { return e.engine.Leave() }

// State is the state of the gate.
func (e *Endpoint) State() e2ee.State { return e.engine.State() }

// Holders are the sessions that hear us encrypted: those that proved to hold the
// secret, or the members of the group.
func (e *Endpoint) Holders() []uint32 {
	if e.typed != nil {
		return e.typed.Holders()
	}
	members := e.groups.Members()
	out := make([]uint32, 0, len(members))
	for _, s := range members {
		if s != e.mirror.Self() {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

// hears reports whether a session hears us encrypted.
func (e *Endpoint) hears(session uint32) bool {
	if e.typed != nil {
		return e.typed.IsHolder(session)
	}
	return e.groups.IsMember(session)
}

// Audience sorts those who may hear the own speech: who hears it encrypted, and who
// hears silence, as labels for people, with the place of those who hear from
// elsewhere. Whoever has the keys is among the first,
// whether the server shows it here or not.
func (e *Endpoint) Audience() (holders, others []string) {
	hearers := e.mirror.Hearers()
	var closure []uint32
	if me, ok := e.mirror.Own(); ok {
		closure = e.mirror.Closure(me.Channel)
	}
	if e.groups != nil {
		for _, s := range unlisted(e.groups.Members(), hearers, e.mirror.Self()) {
			holders = append(holders, e.mirror.Label(s)+" (not on the server's list)")
		}
	}
	for _, s := range hearers {
		if e.hears(s) {
			holders = append(holders, e.mirror.Label(s)+e.mirror.Where(s, closure))
		} else {
			others = append(others, e.mirror.Label(s)+e.mirror.Where(s, closure))
		}
	}
	return holders, others
}

// unlisted are the members whom the server does not show among those who hear.
func unlisted(members, hearers []uint32, self uint32) (list []uint32) {
	for _, s := range members {
		if s != self && !slices.Contains(hearers, s) {
			list = append(list, s)
		}
	}
	return list
}

// KeyID is the id of the secret in the own channel, which people can compare
// aloud: equal ids mean the same secret. It is never sent. "" without one.
func (e *Endpoint) KeyID() string {
	if e.groups != nil {
		return e.groups.KeyID()
	}
	me, ok := e.mirror.Own()
	if !ok || e.secret == nil {
		return ""
	}
	return e.secret.KeyID(me.Channel)
}

// Stats returns the counters.
func (e *Endpoint) Stats() Stats {
	s := e.stats
	s.Carrier, s.Regime = e.carrier.Stats(), e.carrier.Regime()
	if e.groups != nil {
		s.Agreement = e.groups.Agreement()
	}
	return s
}

// Next returns what is to be done, in order, until false.
func (e *Endpoint) Next() (Output, bool) {
	if len(e.out) == 0 {
		return nil, false
	}
	o := e.out[0]
	e.out[0] = nil
	e.out = e.out[1:]
	return o, true
}

func (e *Endpoint) emit(o Output) { e.out = append(e.out, o) }

// Deadline is when Tick must be called; zero: never.
func (e *Endpoint) Deadline() time.Time {
	d := earlier(e.engine.Deadline(), e.carrier.Deadline())
	if e.stale {
		d = earlier(d, e.worldAt.Add(worldPace))
	}
	d = earlier(d, e.targetsDue())
	d = earlier(d, e.keptUntil())
	for _, w := range e.waiting {
		d = earlier(d, w.until)
	}
	d = earlier(d, e.suspects.deadline(e.unconfirmedAfter()))
	return earlier(d, e.early.deadline())
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Tick lets time pass.
func (e *Endpoint) Tick(now time.Time) {
	if e.stale && !now.Before(e.worldAt.Add(worldPace)) {
		e.world(now, false)
	}
	e.engine.Handle(now, nil)
	e.carrier.Handle(now, carrier.Tick{})
	e.retryTargets(now)
	e.expireKept(now)
	e.retryTexts(now)
	e.early.expire(now)
	e.settle(now)
	e.watchMembers(now)
	e.sayRoom(now)
}

// Fenced says that the server has answered the ping of the latest Fence.
func (e *Endpoint) Fenced(now time.Time) {
	e.carrier.Handle(now, carrier.Fenced{})
	e.settle(now)
}

// PluginContext sets the own client's positional context, nil for none. It
// never leaves; see Sotto protocol §7.3.
func (e *Endpoint) PluginContext(now time.Time, context []byte) {
	e.engine.Handle(now, e2ee.PluginContext{Context: context})
	e.settle(now)
}

// Passed says that a text of the own client went to the server as it was: it is one
// that the server may refuse, and counts as Spent.
func (e *Endpoint) Passed(now time.Time, m *mumblepb.TextMessage) {
	e.sent.add(now, false, len(m.GetMessage()))
	e.Spent(now, 1)
}

// Limits is what the server allows in text, as far as is known.
func (e *Endpoint) Limits() carrier.Limits { return e.carrier.Limits() }

// Spent says that the own client used n of the server's allowance for text
// messages (also by mute toggles and moves: one bucket), so that the carrier
// stays below it.
func (e *Endpoint) Spent(now time.Time, n int) {
	e.carrier.Handle(now, carrier.Spent{Texts: n})
	e.settle(now)
}
