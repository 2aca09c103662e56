package endpoint

import (
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/carrier"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mirror"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// ErrSecondSync means that the server says for a second time who we are. No
// server does; one that could would make our own words those of somebody else.
var ErrSecondSync = errors.New("endpoint: the server completes the login twice")

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
	if _, again := m.(*mumblepb.ServerSync); again && e.mirror.Synced() {
		return Pass, nil, ErrSecondSync
	}
	events, err := e.mirror.Apply(m)
	if err != nil {
		return Pass, nil, err
	}
	fate := Pass
	switch m := m.(type) {
	case *mumblepb.Version:
		if !e.mirror.Synced() { // it comes first, and says nothing new later
			e.version = uint64(control.VersionOf(m))
		}
	case *mumblepb.ServerSync:
		self := m.GetSession()
		e.bandwidth = m.GetMaxBandwidth()
		if e.engine.State() != e2ee.StateOff {
			// With policy off we are a Mumble client like any other: no Probe either.
			e.carrier.Handle(now, carrier.Connected{Session: self})
		}
		e.engine.Handle(now, e2ee.Connected{Session: self})
		e.world(now, true)
	case *mumblepb.ServerConfig:
		if m.MaxBandwidth != nil {
			e.bandwidth = m.GetMaxBandwidth()
		}
		e.carrier.Handle(now, merge(e.carrier.Limits(), m))
	case *mumblepb.PluginDataTransmission:
		if carrier.IsOurs(m.GetDataID()) {
			fate = Swallow
			e.freshen(now)
			e.counts(now)
			e.carrier.Handle(now, carrier.PluginData{From: m.GetSenderSession(), ID: m.GetDataID(), Data: m.GetData()})
		}
	case *mumblepb.TextMessage:
		if carrier.IsText(m.GetMessage()) {
			fate = Swallow
			e.freshen(now)
			e.counts(now)
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
	e.making.see(now, events)
	for _, ev := range events {
		if gone, ok := ev.(mirror.UserRemoved); ok {
			e.forget(gone.User.Session)
		}
	}
	if e.mirror.Synced() && moved(events) {
		own, self := e.ownAct(now, events)
		if self || now.Sub(e.worldAt) >= worldPace {
			e.world(now, own)
		} else {
			e.stale = true
		}
	}
	e.settle(now)
	e.watchMembers(now)
	return fate, events, nil
}

// deniesCarrier reports whether a denial answers a message of the handshake
// and so says nothing to the person.
func (e *Endpoint) deniesCarrier(now time.Time, m *mumblepb.PermissionDenied) bool {
	const permissionTextMessage = 0x200
	switch m.GetType() {
	case mumblepb.PermissionDenied_TextTooLong:
		return e.sent.tooLong(now)
	case mumblepb.PermissionDenied_Permission:
		return m.GetPermission()&permissionTextMessage != 0 && e.sent.oldest(now)
	default:
		return false
	}
}

// merge takes over what a ServerConfig says. After the login Murmur says only what an
// administrator has changed (src/murmur/Server.cpp, Server::setLiveConf).
func merge(l carrier.Limits, m *mumblepb.ServerConfig) carrier.Limits {
	if m.AllowHtml != nil {
		l.AllowHTML = m.GetAllowHtml()
	}
	if m.MessageLength != nil {
		l.MessageLength = m.GetMessageLength()
	}
	if m.ImageMessageLength != nil {
		l.ImageMessageLength = m.GetImageMessageLength()
	}
	return l
}
