package simnet_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/internal/simnet"
)

// How long people may take on slow lines that lose one part of a hundred.
const (
	arrivedWithin = 15 * time.Second // from the last one of a crowd until all are in one group
	joinedWithin  = 12 * time.Second // who joins or leaves it; the goal on 1.3.4 with 50 members
)

// TestArrivals: many come, and are in one group soon after the last of them. With
// SOTTO_ARRIVALS it plays so many seeds of each crowd (scripts/bench arrivals).
func TestArrivals(t *testing.T) {
	seeds, _ := strconv.Atoi(os.Getenv("SOTTO_ARRIVALS"))
	for _, c := range []struct {
		profile func() simnet.Profile
		crowds  []int
	}{
		{simnet.Murmur15, []int{10, 25, 50}},
		{simnet.Murmur13, []int{10, 25, 50}},
		{simnet.UMurmur, []int{10}}, // of 25 one time in twenty it takes a minute
	} {
		profile := c.profile
		for _, n := range c.crowds {
			for _, gap := range []time.Duration{50 * time.Millisecond, 300 * time.Millisecond, 600 * time.Millisecond, 2 * time.Second} {
				if seeds == 0 && (n == 25 || n == 50 && testing.Short() || gap == 300*time.Millisecond) {
					continue
				}
				name := fmt.Sprintf("%s/%d/%v", profile().Name, n, gap)
				var took []time.Duration
				for seed := range max(1, seeds) {
					t.Run(fmt.Sprintf("%s/%d", name, seed), func(t *testing.T) {
						s := newStage(t, uint64(seed+1), profile())
						began := s.crowd(n, gap)
						s.within(arrivedWithin, "together", func() bool { return isTogether(s.souls) })
						took = append(took, s.clock.Now().Sub(began))
					})
				}
				if slices.Sort(took); len(took) > 0 {
					t.Logf("%-22s together after %v, half of %d within %v", name, took[len(took)-1], len(took), took[(len(took)-1)/2])
				}
			}
		}
	}
}

// crowd lets n people connect, and returns when the last one did.
func (s *stage) crowd(n int, gap time.Duration) time.Time {
	for i := range n {
		if i > 0 {
			s.run(gap)
		}
		s.soul(fmt.Sprintf("p%d", i), e2ee.PolicyRequire).peer.Connect()
	}
	return s.clock.Now()
}

// TestLatecomers: one after the other joins a group of 50 that has just come together on a
// server without echoes, and each is in before long.
func TestLatecomers(t *testing.T) {
	if testing.Short() {
		t.Skip("plays a group of 50")
	}
	s := newStage(t, 1, simnet.Murmur13())
	s.crowd(50, 50*time.Millisecond)
	s.within(arrivedWithin, "together", func() bool { return isTogether(s.souls) })
	var took []time.Duration
	for i := range 8 {
		s.run(2 * time.Second)
		p := s.soul(fmt.Sprintf("new%d", i), e2ee.PolicyRequire)
		p.peer.Connect()
		began := s.clock.Now()
		s.within(joinedWithin, "in", func() bool { return isTogether(s.souls) })
		took = append(took, s.clock.Now().Sub(began))
		s.run(2 * time.Second)
		p.peer.Disconnect()
		s.souls = s.souls[:len(s.souls)-1]
		s.within(joinedWithin, "out", func() bool { return isTogether(s.souls) })
	}
	t.Logf("in after %v", took)
}
