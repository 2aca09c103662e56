package guard

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/mumble/mirror"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// drain does what the endpoint asks for.
func (s *session) drain() {
	for {
		o, ok := s.end.Next()
		if !ok {
			s.brake()
			s.estrange()
			return
		}
		switch o := o.(type) {
		case endpoint.Send:
			s.up.SendMessage(o.Message)
		case endpoint.Fence:
			s.fence = s.up.Ping(time.Now())
		case endpoint.Voice:
			s.up.SendVoice(&o.Packet)
		case endpoint.Gate:
			s.gateChanged(o)
		case endpoint.Holder:
			s.g.emit(events.Event{Event: "holder", Session: o.Session, Name: o.Name, Holds: &o.Holds})
			if o.Holds && s.shown == e2ee.StateTyped {
				s.say(mirror.Label(o.Name) + " holds the secret too.")
			}
		case endpoint.OtherSecret:
			s.g.emit(events.Event{Event: "other_secret", Session: o.Session, Name: o.Name})
			s.say(mirror.Label(o.Name) + " uses another secret and cannot hear you.")
		case endpoint.TextIn:
			s.textIn(o)
		case endpoint.TextFailed:
			s.g.emit(events.Event{Event: "text_failed", Reason: o.Reason})
			s.down.deny(o.Reason)
		case endpoint.Notice:
			s.g.emit(events.Event{Event: "notice", Code: o.Code, Text: o.Text})
			s.say(o.Text)
		default:
			s.fromGroups(o)
		}
	}
}

// gateChanged shows the new state and sets the brake: a suppressed client
// stops sending by itself and shows a crossed microphone.
func (s *session) gateChanged(o endpoint.Gate) {
	s.g.emit(events.Event{Event: "gate", State: o.To.String(), Was: o.From.String(), Leave: s.end.Leave().String(), Reason: o.Reason})
	s.brake()
	s.shown = o.To
	switch o.To {
	case e2ee.StateTyped, e2ee.StateAlone, e2ee.StatePriv, e2ee.StateClear:
		s.say(s.stateLine())
	case e2ee.StateFind, e2ee.StateHeld, e2ee.StateAsked, e2ee.StateOff:
		// Find is short; the others come with a sentence of the engine.
	}
}

// held reports whether the client is to stop sending by itself. It would then stop
// whispers and the loopback test too (src/mumble/AudioInput.cpp looks at no target),
// so not while a whisper may leave, or while nobody is there whom speech is kept from.
func (s *session) held() bool {
	return s.end.Leave() == e2ee.LeaveNothing && s.end.State() != e2ee.StateAlone && !s.end.Whispers()
}

// unmarked reports whether speech is held and the client does not know, for the sake of
// its whispers.
func (s *session) unmarked() bool {
	return !s.braked && (s.end.State() == e2ee.StateHeld || s.end.State() == e2ee.StateAsked)
}

// brake tells the client whether it may speak: the server's word or ours.
func (s *session) brake() {
	held := s.held()
	if !s.synced || held == s.braked {
		return
	}
	s.braked = held
	me, _ := s.end.Mirror().Own()
	s.down.conn.SendMessage(&mumblepb.UserState{
		Session: proto.Uint32(me.Session), Suppress: proto.Bool(held || me.Suppress),
	})
}
