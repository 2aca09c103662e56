package client

import (
	"math"
	"testing"
	"time"
)

func TestRTT(t *testing.T) {
	for _, c := range []struct {
		name          string
		trips         []time.Duration
		avg, variance float32
	}{
		{"none", nil, 0, 0},
		{"one", []time.Duration{20 * time.Millisecond}, 20, 0},
		{"equal ones", []time.Duration{20 * time.Millisecond, 20 * time.Millisecond, 20 * time.Millisecond}, 20, 0},
		{"2, 4, 4, 4, 5, 5, 7, 9 ms", []time.Duration{2e6, 4e6, 4e6, 4e6, 5e6, 5e6, 7e6, 9e6}, 5, 4},
		{"parts of a millisecond", []time.Duration{500 * time.Microsecond, 1500 * time.Microsecond}, 1, 0.25},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r rtt
			for _, d := range c.trips {
				r.add(d)
			}
			if r.n != uint32(len(c.trips)) || math.Abs(float64(r.avg()-c.avg)) > 1e-5 || math.Abs(float64(r.variance()-c.variance)) > 1e-5 {
				t.Errorf("n %d, mean %v, variance %v; want %v and %v", r.n, r.avg(), r.variance(), c.avg, c.variance)
			}
		})
	}
}
