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
	small path // for objects of one fragment
	large path // for longer ones, up to one text part
}

// profileOf returns the row of a regime.
func profileOf(r Regime) profile {
	switch r {
	case RegimeEcho:
		return profile{small: pathPlugin, large: pathText}
	case RegimeNone:
		return profile{small: pathText, large: pathText}
	case RegimeUnknown:
	}
	return profile{}
}

// pathOf returns how a body of n bytes travels in regime r.
func pathOf(r Regime, n int) path {
	if n <= envelope.MaxPart {
		return profileOf(r).small
	}
	return profileOf(r).large
}

// textForm returns whether a body of n bytes travels in the image form, and
// false if it fits no text that the server allows. The plain form is taken
// where it suffices: it is the smaller liberty with a server's limits.
func textForm(l Limits, n int) (image, ok bool) {
	if n <= maxPlain(l) {
		return false, true
	}
	return true, n <= maxImage(l)
}

// maxPlain returns how many bytes of body fit one text part in the plain form.
func maxPlain(l Limits) int {
	return min(envelope.MaxPlainPart, maxText(l.MessageLength, false))
}

// maxImage returns how many bytes of body fit one text part in the image form,
// 0 where the server takes HTML away.
func maxImage(l Limits) int {
	if !l.AllowHTML {
		return 0
	}
	return maxText(l.ImageMessageLength, true)
}

// maxText turns a limit of the server in characters, 0 for none, into bytes.
func maxText(limit uint32, image bool) int {
	const beyond = 1 << 20 // above what any part has; int may have 32 bits
	if limit == 0 || limit > beyond {
		limit = beyond
	}
	return envelope.MaxTextPart(int(limit), image)
}
