package carrier

import "github.com/sotto-voip/sotto/envelope"

// Regime is what a server does with messages to ourselves, and so which message
// carries objects and what is known of their order (Sotto protocol §1.4).
type Regime uint8

const (
	// RegimeUnknown means that probing has not ended, or that there is no connection.
	RegimeUnknown Regime = iota
	// RegimeEcho is E: plugin messages come back to a sender that lists itself,
	// and everybody sees them in one order (Murmur 1.4 and later).
	RegimeEcho
	// RegimeNone is N: nothing comes back; private text carries objects and
	// there is no common order (Murmur before 1.4).
	RegimeNone
)

// String returns the letter of the Sotto protocol, or "unknown".
func (r Regime) String() string {
	switch r {
	case RegimeEcho:
		return "E"
	case RegimeNone:
		return "N"
	case RegimeUnknown:
		return "unknown"
	}
	return "invalid"
}

// path is the kind of Mumble message that carries an object.
type path uint8

const (
	pathNone path = iota
	pathPlugin
	pathText
)

// profile is one row of the table of regimes: everything that sending has to
// know about a server.
type profile struct {
	path path
	echo bool // our own copy comes back and acknowledges
	max  int  // bytes of body in one message
}

// profileOf returns the row of a regime.
func profileOf(r Regime) profile {
	switch r {
	case RegimeEcho:
		return profile{path: pathPlugin, echo: true, max: envelope.MaxPart}
	case RegimeNone:
		return profile{path: pathText, max: envelope.MaxPlainPart}
	case RegimeUnknown:
	}
	return profile{}
}

// MaxObject returns how many bytes an object's body may have in regime r on a
// server with default limits. For RegimeUnknown it is the smallest of all
// regimes, so that what fits it fits whatever probing will find.
func MaxObject(r Regime) int {
	if p := profileOf(r); p.path != pathNone {
		return p.max
	}
	return min(envelope.MaxPart, envelope.MaxPlainPart)
}

// maxText returns how many bytes of body fit one plain text part when messages
// may have limit characters; 0 is Murmur's word for no limit.
func maxText(limit uint32) int {
	if limit == 0 {
		return envelope.MaxPlainPart
	}
	// Any limit above this one is above MaxPlainPart's; int may have 32 bits.
	return envelope.MaxTextPart(int(min(limit, 1<<20)), false)
}
