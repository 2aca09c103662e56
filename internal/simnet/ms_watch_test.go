package simnet_test

import (
	"time"

	"github.com/sotto-voip/sotto/e2ee"
)

// watch lets time pass and looks ten times a second.
func (s *stage) watch(d time.Duration, look func()) {
	s.t.Helper()
	for end := s.clock.Now().Add(d); s.clock.Now().Before(end); {
		s.run(100 * time.Millisecond)
		look()
	}
}

// epochs watches for two of them at the same time: people who speak protected in one
// place, each in an epoch of their own.
type epochs struct {
	s       *stage
	all     []*soul
	since   map[[2]*soul]time.Time
	longest time.Duration // that two did so, and neither knew
}

func (s *stage) epochs(all []*soul) *epochs {
	return &epochs{s: s, all: all, since: map[[2]*soul]time.Time{}}
}

// look takes note of who is apart now and of whether they know it: that there is a
// fork, or that somebody has not shown the current keys.
func (e *epochs) look() {
	for i, p := range e.all {
		for _, q := range e.all[:i] {
			pair := [2]*soul{p, q}
			if !parallel(p, q) {
				delete(e.since, pair)
				continue
			}
			began, ok := e.since[pair]
			if !ok {
				began = e.s.clock.Now()
				e.since[pair] = began
			}
			e.longest = max(e.longest, e.s.clock.Now().Sub(began))
		}
	}
}

// parallel reports whether both count as protected and neither knows that they do not
// have the same keys.
func parallel(p, q *soul) bool {
	for _, x := range []*soul{p, q} {
		if x.State() != e2ee.StatePriv || x.Groups().Health().Fork || len(x.Groups().Health().Unconfirmed) > 0 {
			return false
		}
	}
	pg, pe := p.Groups().Epoch()
	qg, qe := q.Groups().Epoch()
	return pg != qg || pe != qe
}
