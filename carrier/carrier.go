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

	buckets [paths]bucket
	probes  prober
	queues  [paths]queue  // what waits; while the regime is unknown, by its likely path
	open    []*transfer   // what is under way, oldest first
	flying  int           // parts whose echo is awaited
	rtt     time.Duration // smoothed, 0 before the first echo
	seen    seen
	gather  gather

	outs  []Output
	stats Stats
}

// Stats counts what was dropped and repeated, over the life of a Carrier.
type Stats struct {
	Malformed  uint64 // ours by name, but not a fragment or text part, or not what its id says
	OverBound  uint64 // parts and unfinished objects above a bound of §12
	Unfinished uint64 // objects of which parts stayed away for too long
	Duplicate  uint64 // objects of the same sender completed less than 60 s ago, and parts that came twice
	Anonymous  uint64 // from session 0, or while not connected
	Misplaced  uint64 // a Probe that is not ours
	StrayEcho  uint64 // our own messages that nobody waits for: late, repeated or altered
	Resent     uint64 // parts sent again because no echo came
	NoEcho     uint64 // objects given up after the last repetition
	QueueFull  uint64 // gave way because too much waited
	LateProbes uint64 // a worse regime left by a Probe's late echo
}

// New returns a Carrier without a connection.
func New() *Carrier {
	c := &Carrier{limits: defaultLimits()}
	c.buckets = newBuckets(c.now)
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

// Limits returns what the server allows in text, as far as is known.
func (c *Carrier) Limits() Limits { return c.limits }

// Regime returns what is known of the server.
func (c *Carrier) Regime() Regime { return c.regime }

// Stats returns the counters so far.
func (c *Carrier) Stats() Stats { return c.stats }

// MaxObject returns how many bytes an object's body may have on this
// connection now to go quickly and to anybody: seven fragments, or one text
// part as the server's limits allow. What a human writes is not longer.
func (c *Carrier) MaxObject() int {
	switch c.regime {
	case RegimeText:
		return envelope.MaxUMurmurPart
	case RegimeEcho:
		return max(maxPlain(c.limits), maxImage(c.limits), fewFragments*envelope.MaxPart)
	case RegimeNone, RegimeUnknown:
	}
	return max(maxPlain(c.limits), maxImage(c.limits))
}

// MaxSend returns how many bytes an object's body may have at most to be sent
// now, in as many parts as it takes, to this many receivers. Strangers keep no
// more than 64 KiB of several parts, and members 256 KiB, unless they asked for
// the object (Solicit).
func (c *Carrier) MaxSend(receivers int) int {
	w, _ := c.route(envelope.KindMLSMessage, envelope.MaxWelcome+1, receivers)
	return w.maxSize
}

// Ordered reports whether a body of n bytes to this many receivers would go on
// the ordered path now. If not, its Delivered and Received say nothing of the
// order, and in regime E a Ref must follow it if that matters.
func (c *Carrier) Ordered(n, receivers int) bool {
	w, ok := c.route(envelope.KindMLSMessage, n, receivers)
	return ok && w.echo && c.regime != RegimeUnknown
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
		c.buckets[pathText].spend(c.now, in.Texts)
	case SpentPlugin:
		c.buckets[pathPlugin].spend(c.now, in.N)
	case Send:
		c.send(in)
	case Cancel:
		c.cancel(in.Token)
	case Members:
		c.gather.setMembers(in.Sessions, &c.stats)
	case Solicit:
		c.gather.solicit(c.now, in)
	case Fenced:
		c.fenced()
	case Disconnected:
		c.disconnect()
	case Tick, nil:
	}
	if c.session != 0 {
		c.probe()
		c.resend()
		c.flush()
		c.gather.expire(c.now, &c.stats)
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
	if c.flying > 0 {
		for _, t := range c.open {
			for i := 0; t.echo && i < t.next; i++ {
				if p := &t.parts[i]; !p.done {
					due(c.partDue(t, p))
				}
			}
		}
	}
	for p := range paths {
		if t, w := c.choose(p); t != nil || w != nil {
			due(c.buckets[p].ready())
		}
	}
	if at := c.gather.due(); !at.IsZero() {
		due(at)
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
	c.buckets = newBuckets(c.now)
	c.probes = prober{next: c.now}
}

func (c *Carrier) disconnect() {
	for _, t := range c.open {
		c.fail(t.token, ErrDisconnected)
	}
	for _, w := range c.takeAll() {
		c.fail(w.token, ErrDisconnected)
	}
	c.session, c.open, c.flying, c.rtt, c.seen, c.gather = 0, nil, 0, 0, seen{}, gather{}
	c.limits = defaultLimits()
	c.setRegime(RegimeUnknown)
}

// takeAll empties the queues.
func (c *Carrier) takeAll() (all []waiting) {
	for p := range paths {
		for w, ok := c.queues[p].pop(); ok; w, ok = c.queues[p].pop() {
			all = append(all, w)
		}
	}
	return all
}

func (c *Carrier) setRegime(r Regime) {
	if c.regime == r {
		return
	}
	c.regime = r
	c.out(RegimeChanged{r})
	// Now it is known which way each object goes.
	for _, w := range c.takeAll() {
		c.enqueue(w)
	}
}

// enqueue puts w into the queue of its path.
func (c *Carrier) enqueue(w waiting) {
	how, _ := c.route(w.object.Kind, len(w.object.Body), len(w.to)) // if none takes it, begin says so
	for _, lost := range c.queues[how.path].push(w) {
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
	if how, ok := c.route(in.Object.Kind, len(in.Object.Body), len(to)); !ok {
		c.fail(in.Token, &TooLongError{Regime: c.regime, Size: len(in.Object.Body), Max: how.maxSize})
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
