package simnet_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/internal/simnet"
)

// Events happen by time, those of one time as they were added.
func TestClockOrder(t *testing.T) {
	c := simnet.NewClock()
	rng := rand.New(rand.NewPCG(1, 2))
	type stamp struct {
		at time.Duration
		n  int
	}
	var want, got []stamp
	for n := range 5000 {
		s := stamp{time.Duration(rng.IntN(200)) * time.Millisecond, n}
		want = append(want, s)
		c.After(s.at, func() {
			if c.Elapsed() != s.at {
				t.Errorf("event of %v at %v", s.at, c.Elapsed())
			}
			got = append(got, s)
		})
	}
	slices.SortStableFunc(want, func(a, b stamp) int { return int(a.at - b.at) })
	if err := c.RunFor(99 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if n := len(got); n == 0 || n == len(want) || got[n-1].at > 99*time.Millisecond || want[n].at <= 99*time.Millisecond {
		t.Errorf("%d events until 99 ms", n)
	}
	if err := c.RunFor(time.Second); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Error("another order")
	}
	if c.Elapsed() != 1099*time.Millisecond || c.Events() != 5000 || c.Pending() != 0 {
		t.Errorf("ended at %v after %d events", c.Elapsed(), c.Events())
	}
}

// What is added for the past happens now, behind what is due.
func TestClockPast(t *testing.T) {
	c := simnet.NewClock()
	var got []string
	c.After(time.Second, func() {
		c.At(simnet.Start, func() { got = append(got, "past") })
		got = append(got, "first")
	})
	c.After(time.Second, func() { got = append(got, "second") })
	for {
		more, err := c.Step()
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
	}
	if !slices.Equal(got, []string{"first", "second", "past"}) || c.Elapsed() != time.Second {
		t.Errorf("%v at %v", got, c.Elapsed())
	}
}

func TestClockBounds(t *testing.T) {
	c := simnet.NewClock()
	var spin func()
	spin = func() { c.After(0, spin) }
	spin()
	if err := c.RunFor(time.Second); !errors.Is(err, simnet.ErrSpin) {
		t.Errorf("spinning: %v", err)
	}
	if err := c.RunFor(time.Second); !errors.Is(err, simnet.ErrSpin) || c.Elapsed() != 0 {
		t.Errorf("a failed clock goes on: %v at %v", err, c.Elapsed())
	}
	c = simnet.NewClock()
	c.Limit = 100
	var tick func()
	tick = func() { c.After(time.Second, tick) }
	tick()
	if err := c.RunFor(time.Hour); !errors.Is(err, simnet.ErrTooMany) || c.Events() != 101 {
		t.Errorf("%d events: %v", c.Events(), err)
	}
}
