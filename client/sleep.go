package client

import "time"

// sleepJump is how far the clocks may part, or the owner be late, before that
// counts as sleep.
const sleepJump = 10 * time.Second

// SleepWatch notices that its owner has not run for a while: the computer was
// suspended, which its monotonic clock does not count and its wall clock does, or
// the process was stopped, and a timer is late. The zero value works.
type SleepWatch struct {
	// Wall is the wall clock; nil: the system's.
	Wall func() time.Time

	wall, now time.Time // at the last look
}

// Woke reports whether there was a sleep since the last call. now carries the
// monotonic clock; due is when the owner wanted to look again, zero: not said.
func (w *SleepWatch) Woke(now, due time.Time) bool {
	wall := now.Round(0) // without the monotonic reading
	if w.Wall != nil {
		wall = w.Wall()
	}
	jump := time.Duration(0)
	if !w.now.IsZero() {
		jump = wall.Sub(w.wall) - now.Sub(w.now)
	}
	w.wall, w.now = wall, now
	return jump > sleepJump || !due.IsZero() && now.Sub(due) > sleepJump
}
