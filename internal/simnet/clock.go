package simnet

import (
	"errors"
	"time"
)

// Start is the virtual time at which every Clock begins.
var Start = time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)

// Errors of Run and Step.
var (
	// ErrTooMany says that more events happened than the Clock's Limit.
	ErrTooMany = errors.New("simnet: more events than the limit")
	// ErrSpin says that events go on without time passing: two machines answer
	// each other at once and for ever, or a Deadline stays in the past.
	ErrSpin = errors.New("simnet: time does not pass any more")
)

// The bounds of a Clock that does not set its own.
const (
	defaultLimit = 200_000_000 // events in all
	maxAtOnce    = 1_000_000   // events in one instant
)

// Clock is virtual time and what is to happen in it. Events happen in the order
// of their times, and those of one time in the order in which they were added.
type Clock struct {
	// Limit is how many events may happen in all; 0 means 200 million.
	Limit uint64

	now    time.Time
	heap   []event
	serial uint64
	done   uint64
	atOnce uint64
	err    error
}

type event struct {
	at     int64 // nanoseconds since Start
	serial uint64
	do     func()
}

// NewClock returns a Clock that stands at Start.
func NewClock() *Clock { return &Clock{now: Start} }

// Now is the virtual time.
func (c *Clock) Now() time.Time { return c.now }

// Elapsed is how much virtual time has passed.
func (c *Clock) Elapsed() time.Duration { return c.now.Sub(Start) }

// Events is how many events have happened.
func (c *Clock) Events() uint64 { return c.done }

// Pending is how many events are still to happen.
func (c *Clock) Pending() int { return len(c.heap) }

// At adds an event. One for the past happens now, after what is due already.
func (c *Clock) At(at time.Time, do func()) {
	if at.Before(c.now) {
		at = c.now
	}
	c.serial++
	c.push(event{int64(at.Sub(Start)), c.serial, do})
}

// After adds an event d from now.
func (c *Clock) After(d time.Duration, do func()) { c.At(c.now.Add(d), do) }

// Step lets the next event happen and reports whether there was one. After an
// error it does nothing.
func (c *Clock) Step() (bool, error) {
	if c.err != nil || len(c.heap) == 0 {
		return false, c.err
	}
	limit := c.Limit
	if limit == 0 {
		limit = defaultLimit
	}
	e := c.pop()
	if at := Start.Add(time.Duration(e.at)); at.After(c.now) {
		c.now, c.atOnce = at, 0
	}
	c.done++
	c.atOnce++
	switch {
	case c.done > limit:
		c.err = ErrTooMany
	case c.atOnce > maxAtOnce:
		c.err = ErrSpin
	default:
		e.do()
	}
	return c.err == nil, c.err
}

// Run lets everything happen that is due until then, and ends at that time. An
// error stays: a Clock that has failed does not go on.
func (c *Clock) Run(until time.Time) error {
	end := int64(until.Sub(Start))
	for len(c.heap) > 0 && c.heap[0].at <= end {
		if _, err := c.Step(); err != nil {
			return err
		}
	}
	if c.err == nil && until.After(c.now) {
		c.now, c.atOnce = until, 0
	}
	return c.err
}

// RunFor is Run for a length of time.
func (c *Clock) RunFor(d time.Duration) error { return c.Run(c.now.Add(d)) }

// fail ends the run: a machine broke a rule that no test should overlook.
func (c *Clock) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

func (e event) before(f event) bool {
	return e.at < f.at || e.at == f.at && e.serial < f.serial
}

// push and pop keep a binary heap; container/heap would box every event.
func (c *Clock) push(e event) {
	h := append(c.heap, e)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !e.before(h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
	c.heap = h
}

func (c *Clock) pop() event {
	h := c.heap
	top, last := h[0], h[len(h)-1]
	h[len(h)-1] = event{}
	h = h[:len(h)-1]
	c.heap = h
	if len(h) == 0 {
		return top
	}
	i := 0
	for {
		down := 2*i + 1
		if down >= len(h) {
			break
		}
		if down+1 < len(h) && h[down+1].before(h[down]) {
			down++
		}
		if !h[down].before(last) {
			break
		}
		h[i] = h[down]
		i = down
	}
	h[i] = last
	return top
}
