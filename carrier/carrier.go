package carrier

import (
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
)

// Carrier is the state of one connection to a server. Handle takes what
// happened, Next gives what follows from it, Deadline says when Handle wants
// to be called with Tick at the latest. It is not safe for concurrent use.
type Carrier struct {
	now     time.Time
	session uint32 // ours; 0 while there is no connection
	regime  Regime
	limits  Limits

	plugin, text bucket
	probes       prober
	queue        queue // what waits for the regime, or for the plugin bucket
	bulk         queue // what waits for the text bucket
	flights      []flight
	rtt          time.Duration // smoothed, 0 before the first echo
	seen         seen

	outs  []Output
	stats Stats
}

// Stats counts what was dropped and repeated, over the life of a Carrier.
type Stats struct {
	Malformed  uint64 // ours by name, but not a fragment or text part, or not what its id says
	MultiPart  uint64 // parts of objects of several, not supported
	Duplicate  uint64 // objects of the same sender completed less than 60 s ago
	Anonymous  uint64 // from session 0, or while not connected
	Misplaced  uint64 // a Probe that is not ours
	StrayEcho  uint64 // our own messages that nobody waits for: late, repeated or altered
	Resent     uint64 // sent again because no echo came
	NoEcho     uint64 // given up after the last repetition
	QueueFull  uint64 // gave way because too much waited
	LateProbes uint64 // regime N left by a Probe's late echo
}

// New returns a Carrier without a connection.
func New() *Carrier {
	c := &Carrier{limits: defaultLimits()}
	c.plugin, c.text = newPluginBucket(c.now), newTextBucket(c.now)
	return c
}

// defaultLimits are those of Murmur's ini file, valid until the server says other ones.
func defaultLimits() Limits {
	return Limits{AllowHTML: true, MessageLength: 5000, ImageMessageLength: 131072}
}

// IsOurs reports whether a plugin message with this dataID is Sotto's, so that
// it belongs here and not to the local client's plugins.
func IsOurs(dataID string) bool { return dataID == envelope.DataID }

// IsText reports whether a text message is Sotto's, well formed or not: it must
// never be shown to a human, and belongs here if it is a private one.
func IsText(message string) bool { return envelope.LooksLikeText(message) }

// Regime returns what is known of the server.
func (c *Carrier) Regime() Regime { return c.regime }

// Stats returns the counters so far.
func (c *Carrier) Stats() Stats { return c.stats }

// MaxObject returns how many bytes an object's body may have on this
// connection now: one fragment, or one text part as the server's limits allow.
func (c *Carrier) MaxObject() int {
	most := max(maxPlain(c.limits), maxImage(c.limits))
	if c.regime == RegimeEcho {
		most = max(most, envelope.MaxPart)
	}
	return most
}

// Handle takes one input at time now. Time never runs backwards: an earlier
// now counts as the latest one seen. A nil input is a Tick.
func (c *Carrier) Handle(now time.Time, in Input) {
	if now.After(c.now) {
		c.now = now
	}
	switch in := in.(type) {
	case Connected:
		c.connect(in.Session)
	case Limits:
		c.limits = in
	case PluginData:
		c.receivePlugin(in)
	case Text:
		c.receiveText(in)
	case Spent:
		c.text.spend(c.now, in.Texts)
	case SpentPlugin:
		c.plugin.spend(c.now, in.N)
	case Send:
		c.send(in)
	case Disconnected:
		c.disconnect()
	case Tick, nil:
	}
	if c.session != 0 {
		c.probe()
		c.resend()
		c.flush()
	}
}

// Next returns the next output, or false when there is none. The caller takes
// all of them after each Handle.
func (c *Carrier) Next() (Output, bool) {
	if len(c.outs) == 0 {
		return nil, false
	}
	out := c.outs[0]
	c.outs[0] = nil
	if c.outs = c.outs[1:]; len(c.outs) == 0 {
		c.outs = nil
	}
	return out, true
}

// Deadline returns when Handle wants to be called at the latest; the zero time
// if nothing is due.
func (c *Carrier) Deadline() time.Time {
	var first time.Time
	due := func(t time.Time) {
		if first.IsZero() || t.Before(first) {
			first = t
		}
	}
	if c.session == 0 {
		return first
	}
	if c.regime == RegimeUnknown {
		due(c.probeDue())
	}
	for i := range c.flights {
		if f := &c.flights[i]; !f.held {
			due(c.flightDue(f))
		}
	}
	if c.queue.count > 0 && c.regime == RegimeEcho && len(c.flights) < maxInFlight {
		due(c.plugin.ready())
	}
	if c.bulk.count > 0 {
		due(c.text.ready())
	}
	return first
}

func (c *Carrier) out(o Output) { c.outs = append(c.outs, o) }

func (c *Carrier) fail(token uint64, reason error) { c.out(Failed{token, reason}) }

// connect starts anew. What an earlier connection left behind fails: its
// sessions mean other people now.
func (c *Carrier) connect(session uint32) {
	c.disconnect()
	if session == 0 {
		return
	}
	c.session = session
	c.plugin, c.text = newPluginBucket(c.now), newTextBucket(c.now)
	c.probes = prober{next: c.now}
}

func (c *Carrier) disconnect() {
	for i := range c.flights {
		c.fail(c.flights[i].token, ErrDisconnected)
	}
	for _, q := range []*queue{&c.queue, &c.bulk} {
		for w, ok := q.pop(); ok; w, ok = q.pop() {
			c.fail(w.token, ErrDisconnected)
		}
	}
	c.session, c.flights, c.rtt, c.seen = 0, nil, 0, seen{}
	c.limits = defaultLimits()
	c.setRegime(RegimeUnknown)
}

func (c *Carrier) setRegime(r Regime) {
	if c.regime == r {
		return
	}
	c.regime = r
	c.out(RegimeChanged{r})
	// Now it is known which way each object goes.
	var all []waiting
	for _, q := range []*queue{&c.queue, &c.bulk} {
		for w, ok := q.pop(); ok; w, ok = q.pop() {
			all = append(all, w)
		}
	}
	for _, w := range all {
		c.enqueue(w)
	}
}

// enqueue puts w into the queue of its path.
func (c *Carrier) enqueue(w waiting) {
	q := &c.queue
	if pathOf(c.regime, len(w.object.Body)) == pathText {
		q = &c.bulk
	}
	for _, lost := range q.push(w) {
		c.stats.QueueFull++
		c.fail(lost.token, ErrQueueFull)
	}
}

// send puts an object into the queue, or says at once why not.
func (c *Carrier) send(in Send) {
	switch {
	case c.session == 0:
		c.fail(in.Token, ErrDisconnected)
		return
	case len(in.Object.Body) == 0:
		c.fail(in.Token, ErrEmpty)
		return
	}
	to := c.receivers(in.To)
	if len(to) == 0 {
		c.fail(in.Token, ErrNoReceiver)
		return
	}
	if err := c.fits(len(in.Object.Body)); err != nil {
		c.fail(in.Token, err)
		return
	}
	c.enqueue(waiting{in.Token, in.Object, to, min(in.Priority, priorities-1)})
}

// receivers returns to sorted, once each, without ourselves and session 0,
// which no user has.
func (c *Carrier) receivers(to []uint32) []uint32 {
	out := slices.Clone(to)
	slices.Sort(out)
	out = slices.Compact(out)
	return slices.DeleteFunc(out, func(s uint32) bool { return s == 0 || s == c.session })
}

// fits returns an error if a body of n bytes does not fit one message. While
// the regime is unknown the roomier one is hoped for.
func (c *Carrier) fits(n int) error {
	most := c.MaxObject()
	if c.regime == RegimeUnknown {
		most = max(most, envelope.MaxPart)
	}
	if n > most {
		return &TooLongError{Regime: c.regime, Size: n, Max: most}
	}
	return nil
}
