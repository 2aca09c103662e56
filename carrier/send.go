package carrier

import (
	"bytes"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
)

// In regime E the echo is the only acknowledgement, because every loss on a
// Mumble server is silent (Sotto protocol §1.2).
const (
	minEchoWait = time.Second
	maxEchoWait = 10 * time.Second // a round trip is the server's word; do not wait for ever on it
	maxSends    = 4                // the first time and three repetitions
)

// flight is an object sent in regime E whose echo is awaited.
type flight struct {
	token uint64
	to    []uint32 // with ourselves
	data  []byte
	sends int
	at    time.Time // of the last time it was sent
	due   time.Time // when its echo is overdue
	held  bool      // the same bytes are under way for somebody else
}

// echoWait is max(1 s, 3 round trips).
func (c *Carrier) echoWait() time.Duration {
	return min(max(minEchoWait, 3*c.rtt), maxEchoWait)
}

// measure smooths the round trip as RFC 6298 §2 does: seven parts old, one part new.
func (c *Carrier) measure(rtt time.Duration) {
	rtt = min(rtt, maxEchoWait)
	if c.rtt == 0 {
		c.rtt = rtt
		return
	}
	c.rtt = (7*c.rtt + rtt) / 8
}

// flightDue returns when something has to be done about f: a repetition waits
// for the bucket, giving up does not.
func (c *Carrier) flightDue(f *flight) time.Time {
	if r := c.plugin.ready(); f.sends < maxSends && r.After(f.due) {
		return r
	}
	return f.due
}

// resend repeats what is overdue, oldest first, and gives up on what was sent
// often enough.
func (c *Carrier) resend() {
	for i := 0; i < len(c.flights); {
		if f := &c.flights[i]; f.held || f.sends < maxSends || c.now.Before(f.due) {
			i++
			continue
		}
		c.stats.NoEcho++
		c.fail(c.land(i).token, ErrNoEcho)
	}
	for i := range c.flights {
		f := &c.flights[i]
		if f.held || c.now.Before(c.flightDue(f)) {
			continue
		}
		if f.sends > 0 {
			c.stats.Resent++
		}
		c.launch(f)
	}
}

// land removes flight i and lets the next one with the same bytes go.
func (c *Carrier) land(i int) flight {
	f := c.flights[i]
	c.flights = slices.Delete(c.flights, i, i+1)
	if next := c.inFlight(f.data); next >= 0 {
		c.flights[next].held, c.flights[next].due = false, c.now
	}
	return f
}

// inFlight returns the oldest flight with these bytes, or -1.
func (c *Carrier) inFlight(data []byte) int {
	return slices.IndexFunc(c.flights, func(f flight) bool { return bytes.Equal(f.data, data) })
}

// launch sends f, again or for the first time.
func (c *Carrier) launch(f *flight) {
	c.plugin.spend(c.now, 1)
	f.sends++
	f.at = c.now
	f.due = c.now.Add(c.echoWait())
	c.out(PluginOut{To: f.to, Data: f.data})
}

// echo takes one of our own messages that came back and acknowledges the
// object it carried. The bytes must be those we sent: a server that alters
// them has not acknowledged anything.
func (c *Carrier) echo(data []byte) bool {
	i := c.inFlight(data)
	if i < 0 {
		return false
	}
	f := c.land(i)
	if f.sends == 1 {
		// The echo of a repeated message may belong to any of its copies (RFC 6298 §3).
		c.measure(c.now.Sub(f.at))
	}
	c.out(Delivered{f.token})
	return true
}

// flush sends what waits, as far as the buckets of the paths allow.
func (c *Carrier) flush() {
	for c.regime == RegimeEcho && len(c.flights) < maxInFlight && !c.now.Before(c.plugin.ready()) {
		w, ok := c.queue.pop()
		if !ok {
			break
		}
		c.sendPlugin(w)
	}
	for !c.now.Before(c.text.ready()) {
		w, ok := c.bulk.pop()
		if !ok {
			break
		}
		c.sendText(w)
	}
}

func (c *Carrier) sendPlugin(w waiting) {
	if err := c.fits(len(w.object.Body)); err != nil {
		c.fail(w.token, err)
		return
	}
	data, err := envelope.AppendSingle(nil, w.object)
	if err != nil {
		c.fail(w.token, err)
		return
	}
	f := flight{token: w.token, to: append(w.to, c.session), data: data}
	// Two Sends of one object have one echo between them: the second waits, or
	// the first one's echo would speak for it.
	if f.held = c.inFlight(data) >= 0; !f.held {
		c.launch(&f)
	}
	c.flights = append(c.flights, f)
}

// sendText hands w over as private text. On Murmur nothing will come back, so
// Delivered follows at once.
func (c *Carrier) sendText(w waiting) {
	if err := c.fits(len(w.object.Body)); err != nil {
		c.fail(w.token, err) // the server has lowered its limits meanwhile
		return
	}
	o := w.object
	image, ok := textForm(c.limits, len(o.Body))
	part := envelope.TextPart{Kind: o.Kind, ID: o.Ref().ID(), Index: 0, Count: 1, Part: o.Body}
	message, err := envelope.AppendText(nil, part, image)
	if !ok || err != nil {
		c.fail(w.token, &TooLongError{Regime: c.regime, Size: len(o.Body), Max: c.MaxObject()})
		return
	}
	c.text.spend(c.now, 1)
	c.out(TextOut{To: w.to, Message: string(message)})
	c.out(Delivered{w.token})
}
