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
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/carrier"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mumble/mirror"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// ownActWindow is how long a request of the own client makes a matching change
// by the server the user's own act (Sotto protocol §11).
const ownActWindow = 10 * time.Second

// Endpoint is the machine. Not safe for concurrent use.
type Endpoint struct {
	secret  *e2ee.Secret // nil with policy off
	mirror  mirror.Mirror
	engine  *e2ee.Engine
	carrier *carrier.Carrier
	out     []Output

	bandwidth uint32 // bit/s that the server allows; 0: it did not say

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

// New returns an endpoint for one connection to the server that cfg names.
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

// Mirror is the server's word about channels and users.
func (e *Endpoint) Mirror() *mirror.Mirror { return &e.mirror }

// Leave is the decision of the gate: nothing, clear or ciphertext.
func (e *Endpoint) Leave() e2ee.Leave { return e.engine.Leave() }

// State is the state of the gate.
func (e *Endpoint) State() e2ee.State { return e.engine.State() }

// Holders are the sessions that proved to hold the secret.
func (e *Endpoint) Holders() []uint32 { return e.engine.Holders() }

// Audience sorts those who may hear the own speech: names of the holders of
// the secret, and names of those who hear silence.
func (e *Endpoint) Audience() (holders, others []string) {
	for _, s := range e.mirror.Hearers() {
		if e.engine.IsHolder(s) {
			holders = append(holders, e.mirror.Name(s))
		} else {
			others = append(others, e.mirror.Name(s))
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
	e.engine.Handle(now, nil)
	e.carrier.Handle(now, carrier.Tick{})
	e.retryTexts(now)
	e.settle(now)
}

// Fate says what becomes of a control message from the server.
type Fate uint8

// A message of the server is for the own client (Pass) or was Sotto's own
// business and must not be shown (Swallow).
const (
	Pass Fate = iota
	Swallow
)

// FromServer takes in one decoded control message. The events say what it
// changed in the mirror. An error means that the connection must end.
func (e *Endpoint) FromServer(now time.Time, m proto.Message) (Fate, []mirror.Event, error) {
	events, err := e.mirror.Apply(m)
	if err != nil {
		return Pass, nil, err
	}
	fate := Pass
	switch m := m.(type) {
	case *mumblepb.ServerSync:
		self := m.GetSession()
		e.bandwidth = m.GetMaxBandwidth()
		e.carrier.Handle(now, carrier.Connected{Session: self})
		e.engine.Handle(now, e2ee.Connected{Session: self})
		e.world(now, true)
	case *mumblepb.ServerConfig:
		if m.MaxBandwidth != nil {
			e.bandwidth = m.GetMaxBandwidth()
		}
		e.carrier.Handle(now, carrier.Limits{
			AllowHTML:          m.GetAllowHtml(),
			MessageLength:      m.GetMessageLength(),
			ImageMessageLength: m.GetImageMessageLength(),
		})
	case *mumblepb.PluginDataTransmission:
		if carrier.IsOurs(m.GetDataID()) {
			fate = Swallow
			e.carrier.Handle(now, carrier.PluginData{From: m.GetSenderSession(), ID: m.GetDataID(), Data: m.GetData()})
		}
	case *mumblepb.TextMessage:
		if carrier.IsText(m.GetMessage()) {
			fate = Swallow
			e.carrier.Handle(now, carrier.Text{From: m.GetActor(), Message: m.GetMessage()})
		}
	case *mumblepb.PermissionDenied:
		if e.deniesCarrier(now, m) {
			fate = Swallow
		} else if now.Before(e.moveUntil) {
			// Most likely the own move was refused, and we are where we were. If
			// it was not, the move that follows is taken for the server's.
			e.moveUntil = time.Time{}
			e.world(now, true)
		}
	}
	if e.mirror.Synced() && moved(events) {
		e.world(now, e.ownAct(now, events))
		e.refreshTargets(now)
	}
	e.settle(now)
	return fate, events, nil
}

// deniesCarrier reports whether a denial answers a message of the handshake
// and so says nothing to the person.
func (e *Endpoint) deniesCarrier(now time.Time, m *mumblepb.PermissionDenied) bool {
	const permissionTextMessage = 0x200
	switch m.GetType() {
	case mumblepb.PermissionDenied_TextTooLong:
	case mumblepb.PermissionDenied_Permission:
		if m.GetPermission()&permissionTextMessage == 0 {
			return false
		}
	default:
		return false
	}
	return e.lastText.handshake && now.Sub(e.lastText.at) < 5*time.Second
}

// moved reports whether one of the events changes who is where.
func moved(events []mirror.Event) bool {
	return slices.ContainsFunc(events, func(ev mirror.Event) bool {
		switch ev := ev.(type) {
		case mirror.UserAdded, mirror.UserRemoved, mirror.ChannelRemoved:
			return true
		case mirror.UserChanged:
			return ev.Old.Channel != ev.New.Channel || ev.Old.Name != ev.New.Name ||
				!slices.Equal(ev.Old.Listens, ev.New.Listens)
		case mirror.ChannelChanged:
			// The parent decides who is in a tree.
			return ev.Old.Parent != ev.New.Parent || !slices.Equal(ev.Old.Links, ev.New.Links)
		case mirror.ChannelAdded:
			return len(ev.Channel.Links) > 0
		}
		return false
	})
}

// ownAct reports whether the events are what the own client asked for.
func (e *Endpoint) ownAct(now time.Time, events []mirror.Event) bool {
	for _, ev := range events {
		c, ok := ev.(mirror.UserChanged)
		if !ok || c.New.Session != e.mirror.Self() || c.Old.Channel == c.New.Channel {
			continue
		}
		own := now.Before(e.moveUntil) && c.New.Channel == e.move
		e.moveUntil = time.Time{}
		return own
	}
	return false
}

// world tells the engine who is where.
func (e *Endpoint) world(now time.Time, own bool) {
	me, ok := e.mirror.Own()
	if !ok {
		return
	}
	hears := e.mirror.Hearers()
	users := e.mirror.Users()
	peers := make([]e2ee.Peer, 0, len(users))
	for _, u := range users {
		if u.Session == me.Session {
			continue
		}
		_, in := slices.BinarySearch(hears, u.Session)
		peers = append(peers, e2ee.Peer{Session: u.Session, Channel: u.Channel, Name: u.Name, Hears: in})
	}
	e.engine.Handle(now, e2ee.World{Channel: me.Channel, Own: own, Peers: peers})
}

// LocalMove says that the own client asks to go to another channel. The gate
// closes until the server has answered.
func (e *Endpoint) LocalMove(now time.Time, channel uint32) {
	e.move, e.moveUntil = channel, now.Add(ownActWindow)
	e.engine.Handle(now, e2ee.LocalMove{Channel: channel})
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

// settle carries the outputs of engine and carrier to each other until both
// are quiet.
func (e *Endpoint) settle(now time.Time) {
	for {
		if o, ok := e.engine.Next(); ok {
			e.fromEngine(now, o)
			continue
		}
		if o, ok := e.carrier.Next(); ok {
			e.fromCarrier(now, o)
			continue
		}
		return
	}
}

func (e *Endpoint) fromEngine(now time.Time, o e2ee.Output) {
	switch o := o.(type) {
	case e2ee.SendObject:
		e.nextToken++
		e.handshake[e.nextToken] = true
		e.carrier.Handle(now, carrier.Send{
			Token: e.nextToken, Object: o.Object, To: o.To, Priority: carrier.PriorityHello,
		})
	case e2ee.SendVoice:
		e.announce(o)
	case e2ee.GateChanged:
		e.emit(Gate{o})
	case e2ee.Holder:
		e.emit(Holder{o})
		e.retryTexts(now)
	case e2ee.OtherSecret:
		e.emit(OtherSecret{o})
	case e2ee.TextReceived:
		e.emit(TextIn{o.From, o.Text})
	case e2ee.Notice:
		e.emit(Notice{o})
	}
}

func (e *Endpoint) fromCarrier(now time.Time, o carrier.Output) {
	switch o := o.(type) {
	case carrier.PluginOut:
		e.emit(Send{&mumblepb.PluginDataTransmission{
			SenderSession:    proto.Uint32(e.mirror.Self()),
			ReceiverSessions: o.To,
			Data:             o.Data,
			DataID:           proto.String(envelope.DataID),
		}})
	case carrier.TextOut:
		p, err := envelope.ParseText(o.Message)
		e.lastText.at, e.lastText.handshake = now, err == nil && p.Kind != envelope.KindSecretText
		e.emit(Send{&mumblepb.TextMessage{Session: o.To, Message: proto.String(o.Message)}})
	case carrier.RegimeChanged:
		e.engine.Handle(now, e2ee.Regime{Known: o.Regime != carrier.RegimeUnknown, Echo: o.Regime == carrier.RegimeEcho})
	case carrier.Received:
		e.engine.Handle(now, e2ee.Received{From: o.From, Object: o.Object})
	case carrier.Delivered:
		delete(e.handshake, o.Token)
		delete(e.texts, o.Token)
	case carrier.Failed:
		delete(e.handshake, o.Token)
		if whom, ok := e.texts[o.Token]; ok {
			delete(e.texts, o.Token)
			e.emit(TextFailed{"your message to " + whom + " did not get through: " + plain(o.Reason)})
		}
	}
}

// plain words an error of the carrier for a person.
func plain(err error) string {
	switch {
	case errors.Is(err, carrier.ErrNoEcho):
		return "the server does not pass it on"
	case errors.Is(err, carrier.ErrQueueFull):
		return "too much is waiting to be sent"
	case errors.Is(err, carrier.ErrTooLong):
		return "it is too long"
	}
	return err.Error()
}
