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
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/carrier"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/mirror"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// Endpoint is the machine. Not safe for concurrent use.
type Endpoint struct {
	secret  *e2ee.Secret // nil with policy off
	mirror  mirror.Mirror
	engine  *e2ee.Engine
	carrier *carrier.Carrier
	out     []Output

	bandwidth uint32 // bit/s that the server allows; 0: it did not say

	worldAt time.Time // when the engine was last told who is where
	stale   bool      // it is not true any more

	move      uint32 // channel the own client asked for
	moveUntil time.Time

	nextToken uint64
	handshake map[uint64]bool // tokens under way that are not the person's texts
	texts     map[uint64]string
	waiting   []waitingText
	lastText  struct { // the last text message the carrier sent
		at        time.Time
		handshake bool
	}

	targets map[uint32]*target
	stats   Stats
	body    []byte
	frame   e2ee.Frame
}

// Stats counts what was not played or not sent, by reason.
type Stats struct {
	Unopened   uint64 // Sotto packets that no key of ours opens, replays included
	ClearVoice uint64 // ordinary Opus that was not played because a secret is set
	Firewall   uint64 // opened, but not fit for a stock client
	TooLong    uint64 // own frames that do not fit the largest packet
	BadOpus    uint64 // own frames that are no Opus packet of 10, 20, 40 or 60 ms
}

// Output is what the caller must do: one of the types below.
type Output interface{ output() }

type (
	// Send is a control message for the server.
	Send struct{ Message proto.Message }
	// Voice is a packet for the server: an announcement that holds no speech.
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
)

func (Send) output()        {}
func (Voice) output()       {}
func (Gate) output()        {}
func (Holder) output()      {}
func (OtherSecret) output() {}
func (TextIn) output()      {}
func (TextFailed) output()  {}
func (Notice) output()      {}

// New returns an endpoint for the server that cfg names. It serves one
// connection after the other; what must not be heard twice is remembered across
// them, so keep it for the whole run.
func New(cfg e2ee.Config) (*Endpoint, error) {
	engine, err := e2ee.New(cfg)
	if err != nil {
		return nil, err
	}
	return &Endpoint{
		secret:    cfg.Secret,
		engine:    engine,
		carrier:   carrier.New(),
		handshake: map[uint64]bool{},
		texts:     map[uint64]string{},
		targets:   map[uint32]*target{},
	}, nil
}

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
	clear(e.targets)
	e.mirror = mirror.Mirror{}
	e.bandwidth, e.moveUntil, e.stale = 0, time.Time{}, false
}

// Mirror is the server's word about channels and users.
func (e *Endpoint) Mirror() *mirror.Mirror { return &e.mirror }

// Leave is the decision of the gate: nothing, clear or ciphertext.
func (e *Endpoint) Leave() e2ee.Leave { return e.engine.Leave() }

// State is the state of the gate.
func (e *Endpoint) State() e2ee.State { return e.engine.State() }

// Holders are the sessions that proved to hold the secret.
func (e *Endpoint) Holders() []uint32 { return e.engine.Holders() }

// Audience sorts those who may hear the own speech: the holders of the secret,
// and those who hear silence, as labels for people.
func (e *Endpoint) Audience() (holders, others []string) {
	for _, s := range e.mirror.Hearers() {
		if e.engine.IsHolder(s) {
			holders = append(holders, e.mirror.Label(s))
		} else {
			others = append(others, e.mirror.Label(s))
		}
	}
	return holders, others
}

// KeyID is the id of the secret in the own channel, which people can compare
// aloud: equal ids mean the same secret. It is never sent. "" without one.
func (e *Endpoint) KeyID() string {
	me, ok := e.mirror.Own()
	if !ok || e.secret == nil {
		return ""
	}
	return e.secret.KeyID(me.Channel)
}

// Stats returns the counters.
func (e *Endpoint) Stats() Stats { return e.stats }

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
	for _, w := range e.waiting {
		d = earlier(d, w.until)
	}
	return d
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
	e.retryTexts(now)
	e.settle(now)
}

// PluginContext sets the own client's positional context, nil for none. It
// never leaves; see Sotto protocol §7.3.
func (e *Endpoint) PluginContext(now time.Time, context []byte) {
	e.engine.Handle(now, e2ee.PluginContext{Context: context})
	e.settle(now)
}

// Spent says that the own client used n of the server's allowance for text
// messages (also by mute toggles and moves: one bucket), so that the carrier
// stays below it.
func (e *Endpoint) Spent(now time.Time, n int) {
	e.carrier.Handle(now, carrier.Spent{Texts: n})
	e.settle(now)
}
