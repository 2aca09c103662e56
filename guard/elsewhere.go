package guard

import (
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// ghostReason is what a server says to the older of two connections with the same
// certificate, or the same name from the same address (src/murmur/Messages.cpp,
// msgAuthenticate, 1.3.4 and 1.5.735).
const ghostReason = "You connected to the server from another device"

// ghosted reports whether the server removes this very session because its user
// has connected another time. The likeliest other device is the same Mumble on its
// old favourite, around guard and in clear.
func (s *session) ghosted(f control.Frame) bool {
	if f.Type != control.TypeUserRemove {
		return false
	}
	m, err := control.Decode(f)
	if err != nil {
		return false
	}
	r, ok := m.(*mumblepb.UserRemove)
	return ok && s.synced && r.GetSession() == s.end.Mirror().Self() && r.GetReason() == ghostReason
}

// sayElsewhere tells guard's own window: the client's connection here ends.
func (s *session) sayElsewhere() {
	s.g.emit(events.Event{Event: "elsewhere", Text: "somebody has connected to the server with your certificate or name. " +
		"If that was your Mumble, it went around Sotto and what you say there is not protected: disconnect it, and connect to guard"})
}
