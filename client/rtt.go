package client

import "time"

// rtt is the running mean and variance of round trips, as the Ping message
// reports them (Mumble's accumulator over all pings of the connection).
type rtt struct {
	n        uint32
	mean, m2 float64
}

// add takes in one round trip (Welford's recurrence).
func (r *rtt) add(d time.Duration) {
	ms := float64(d) / float64(time.Millisecond)
	r.n++
	delta := ms - r.mean
	r.mean += delta / float64(r.n)
	r.m2 += delta * (ms - r.mean)
}

// avg and variance are in milliseconds and square milliseconds.
func (r *rtt) avg() float32 { return float32(r.mean) }

func (r *rtt) variance() float32 {
	if r.n < 2 {
		return 0
	}
	return float32(r.m2 / float64(r.n))
}
