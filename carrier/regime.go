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
	// RegimeText is T: plugin messages are lost, but private text comes back to a
	// sender that lists itself, in the same order for everybody (uMurmur).
	RegimeText
	// RegimeNone is N: nothing comes back; private text carries objects and
	// there is no common order (Murmur before 1.4).
	RegimeNone
)

// String returns the letter of the Sotto protocol, or "unknown".
func (r Regime) String() string {
	switch r {
	case RegimeEcho:
		return "E"
	case RegimeText:
		return "T"
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
	pathPlugin path = iota
	pathText
	paths
)

// Sizes of the ways (Sotto protocol §1.2, §1.3).
const (
	// fewFragments go on the ordered path by choice; more only where text will
	// not do.
	fewFragments = 7
	// On uMurmur one control message above 8 186 bytes ends the connection, and
	// each listed session takes up to 6 of them.
	listedFree, listedCost = 20, 6
)

// way is how one object travels: in count parts of size bytes, the last one shorter.
type way struct {
	path    path
	image   bool // text in the image form
	echo    bool // each part comes back to us, and everybody sees one order
	size    int
	count   int
	maxSize int // the longest body this way takes
}

// over returns w for a body of n bytes, and whether it takes that.
func (w way) over(n, maxParts int) (way, bool) {
	w.maxSize = min(w.size*maxParts, envelope.MaxWelcome)
	if w.size > 0 {
		w.count = (n + w.size - 1) / w.size
	}
	return w, n <= w.maxSize
}

func fragments(n, most int) (way, bool) {
	return way{path: pathPlugin, echo: true, size: envelope.MaxPart}.over(n, most)
}

// route returns how a body of n bytes travels to this many receivers, or false
// and the way that takes most. While the regime is unknown the roomiest one is
// hoped for.
func (c *Carrier) route(kind envelope.Kind, n, receivers int) (way, bool) {
	switch c.regime {
	case RegimeEcho, RegimeUnknown:
		if kind == envelope.KindWelcome && n > quickWelcome {
			// It needs no point in the order, and who waits for it hears nothing yet:
			// one text is there before many fragments are.
			if text, ok := textWay(c.limits, n); ok && text.count == 1 {
				return text, true
			}
		}
		if w, ok := fragments(n, fewFragments); ok {
			return w, true
		}
		text, ok := textWay(c.limits, n)
		if ok {
			return text, true
		}
		w, ok := fragments(n, envelope.MaxFragments)
		if !ok && text.maxSize > w.maxSize {
			return text, false
		}
		return w, ok
	case RegimeText:
		listed := receivers + 1
		size := envelope.MaxUMurmurPart - listedCost*max(0, listed-listedFree)
		return way{path: pathText, echo: true, size: max(0, size)}.over(n, envelope.MaxTextParts)
	case RegimeNone:
	}
	return textWay(c.limits, n)
}

// quickWelcome is the length in bytes of a Welcome that goes as fragments: two.
const quickWelcome = 2 * envelope.MaxPart

// textWay returns the form in which a body of n bytes travels as text on
// Murmur. The plain form is taken where one part suffices: it is the smaller
// liberty with a server's limits.
func textWay(l Limits, n int) (way, bool) {
	plain := way{path: pathText, size: maxPlain(l)}
	if w, ok := plain.over(n, 1); ok {
		return w, true
	}
	image, ok := way{path: pathText, image: true, size: maxImage(l)}.over(n, envelope.MaxImageParts)
	if ok {
		return image, true
	}
	plain, ok = plain.over(n, envelope.MaxTextParts)
	if !ok && image.maxSize > plain.maxSize {
		return image, false
	}
	return plain, ok
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
