package carrier

import (
	"slices"
	"time"
)

// In the regimes with an echo it is the only acknowledgement, because every
// loss on a Mumble server is silent (Sotto protocol §1.2).
const (
	minEchoWait = time.Second
	maxEchoWait = 10 * time.Second // a round trip is the server's word; do not wait for ever on it
	maxSends    = 4                // the first time and three repetitions
	// No repetition leaves later than this after the first time: a receiver waits
	// for a part for 30 s, and two of them must not end differently about it.
	repeatFor = 25 * time.Second
)

// Bounds of what is under way.
const (
	maxInFlight = 64 // parts whose echo is awaited; transfers
	// A receiver keeps four unfinished objects of one peer (Sotto protocol §12).
	// The last place is for what is urgent.
	maxOpen       = 4
	maxOpenCommon = 3
	// And it keeps a stranger's no longer than 30 s: what has begun so long ago
	// is the most urgent.
	agedAfter = 5 * time.Second
)

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

// late: an echo came after a repetition. Nothing overtakes within a connection, so it
// belongs to the first copy unless that was dropped, which is rare. If the server is
// slow, because many came at once, all that we send would be sent again until the end,
// and make it slower: wait longer. Echoes in time bring that down again.
func (c *Carrier) late(since time.Duration) {
	c.rtt = max(c.rtt, min(since, maxEchoWait))
}

// partDue returns when something has to be done about a part in flight: a
// repetition waits for the bucket, giving up does not.
func (c *Carrier) partDue(t *transfer, p *partState) time.Time {
	if r := c.buckets[t.path].ready(); r.After(p.due) && p.repeatable(r) {
		return r
	}
	return p.due
}

// repeatable reports whether p may be sent again at that time.
func (p *partState) repeatable(at time.Time) bool {
	return p.sends < maxSends && at.Sub(p.first) <= repeatFor
}

// resend repeats what is overdue, oldest first, and gives up on an object of
// which a part was sent often or long enough.
func (c *Carrier) resend() {
	if c.flying == 0 {
		return
	}
	for _, t := range slices.Clone(c.open) {
		if t.echo && slices.ContainsFunc(t.parts[:t.next], func(p partState) bool {
			return !p.done && !p.repeatable(c.now) && !c.now.Before(p.due)
		}) {
			c.stats.NoEcho++
			c.drop(t)
			c.fail(t.token, ErrNoEcho)
		}
	}
	for _, t := range slices.Clone(c.open) {
		for i := 0; t.echo && i < t.next; i++ {
			if p := &t.parts[i]; !p.done && !c.now.Before(c.partDue(t, p)) {
				c.stats.Resent++
				c.launch(t, i)
			}
		}
	}
}

// flush sends what never left, as far as the buckets of the paths allow.
func (c *Carrier) flush() {
	for p := range paths {
		for !c.now.Before(c.buckets[p].ready()) {
			t, w := c.choose(p)
			if t == nil && w == nil {
				break
			}
			if t == nil {
				if t = c.begin(p); t == nil {
					continue // it went elsewhere or failed; the queue is shorter
				}
			}
			if !t.held {
				c.launch(t, t.next)
			}
		}
	}
}

// begin takes what choose found in the queue of p out of it.
func (c *Carrier) begin(p path) *transfer {
	w, _ := c.queues[p].pop()
	how, ok := c.route(w.object.Kind, len(w.object.Body), len(w.to))
	switch {
	case !ok: // the server has lowered its limits meanwhile
		c.fail(w.token, &TooLongError{Regime: c.regime, Size: len(w.object.Body), Max: how.maxSize})
		return nil
	case how.path != p:
		c.enqueue(w)
		return nil
	}
	c.start(w, how)
	return c.open[len(c.open)-1]
}

// choose returns whose next part is to leave on p: of something under way, or
// of what is first in the queue, whichever is more urgent. Both are nil if
// nothing can leave.
func (c *Carrier) choose(p path) (t *transfer, w *waiting) {
	if c.regime == RegimeUnknown || c.flying >= maxInFlight {
		return nil, nil
	}
	unfinished := 0
	for _, o := range c.open {
		if o.count > 1 {
			unfinished++
		}
		if o.path == p && !o.held && o.next < o.count && (t == nil || c.urgency(o) < c.urgency(t)) {
			t = o
		}
	}
	w = c.queues[p].peek()
	if w == nil || t != nil && c.urgency(t) <= 2*int(w.prio) || len(c.open) >= maxInFlight {
		return t, nil
	}
	most := maxOpenCommon
	if w.prio <= PriorityAdd {
		most = maxOpen
	}
	if how, ok := c.route(w.object.Kind, len(w.object.Body), len(w.to)); ok && how.count > 1 && unfinished >= most {
		return t, nil
	}
	return nil, w
}

// urgency is twice the priority of something under way. What has begun long ago goes
// before all but Removes.
func (c *Carrier) urgency(t *transfer) int {
	if t.next > 0 && c.now.Sub(t.begun) >= agedAfter {
		return min(2*int(t.prio), 2*int(PriorityRemove)+1)
	}
	return 2 * int(t.prio)
}

// cancel forgets a Send that nobody wants any more.
func (c *Carrier) cancel(token uint64) {
	for p := range c.queues {
		if c.queues[p].remove(token) {
			c.fail(token, ErrCanceled)
			return
		}
	}
	for _, t := range c.open {
		if t.token == token {
			c.drop(t)
			c.fail(token, ErrCanceled)
			return
		}
	}
}
