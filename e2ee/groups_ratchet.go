package e2ee

import (
	"time"

	"github.com/sotto-voip/sotto/sframe"
)

// ratchet is the base key of a step (§7.1).
type ratchet struct {
	step uint64
	base [baseKeyLen]byte
}

// next is the ratchet one step on.
func (r *ratchet) next() (ratchet, error) {
	base, err := sframe.Ratchet(suite, r.base[:], baseKeyLen)
	if err != nil {
		return ratchet{}, err
	}
	n := ratchet{r.step + 1, [baseKeyLen]byte(base)}
	clear(base)
	return n, nil
}

// shortKID and longKID name an epoch and step (§7.2).
func shortKID(epoch, step uint64) uint64 { return epoch%16<<4 | step%16 }

func longKID(tag uint32, epoch, step uint64) uint64 {
	return uint64(tag)<<16 | epoch%256<<8 | step%256
}

// kids are the two forms of the KID of a step; each has an SFrame key of its own,
// and they share one counter.
type kids struct{ short, long *sframe.Key }

func (k *kids) get(r *ratchet, long bool, tag uint32, epoch uint64) (*sframe.Key, error) {
	at, kid := &k.short, shortKID(epoch, r.step)
	if long {
		at, kid = &k.long, longKID(tag, epoch, r.step)
	}
	if *at == nil {
		key, err := sframe.NewKey(suite, kid, r.base[:])
		if err != nil {
			return nil, err
		}
		*at = key
	}
	return *at, nil
}

// groupSend is our own voice in one epoch.
type groupSend struct {
	ratchet
	leaf  uint32
	keys  kids
	ctr   uint64    // of this step
	first time.Time // frame of this step; zero: none yet
}

// advance moves to the next step when this one has had its frames or its time.
func (s *groupSend) advance(now time.Time) error {
	if s.ctr < stepFrames {
		return s.age(now)
	}
	return s.move()
}

// age moves on when 5 min have passed since the first frame of the step.
func (s *groupSend) age(now time.Time) error {
	if s.first.IsZero() || now.Sub(s.first) < stepAge {
		return nil
	}
	return s.move()
}

// ages is when age has something to do; zero: not before the next frame.
func (s *groupSend) ages() time.Time {
	if s.first.IsZero() {
		return time.Time{}
	}
	return s.first.Add(stepAge)
}

func (s *groupSend) move() error {
	n, err := s.next()
	if err != nil {
		return err
	}
	clear(s.base[:])
	s.ratchet, s.keys, s.ctr, s.first = n, kids{}, 0, time.Time{}
	return nil
}

func (s *groupSend) erase() {
	clear(s.base[:])
	s.keys = kids{}
}

// groupStep is one step of somebody's voice.
type groupStep struct {
	ratchet
	keys   kids
	replay replayFilter
	first  time.Time
}

// groupRecv is somebody's voice in one epoch.
type groupRecv struct {
	cur, prev groupStep
	prevEnd   time.Time // zero: there is no step before
}

func (r *groupRecv) erase() {
	clear(r.cur.base[:])
	clear(r.prev.base[:])
	r.cur.keys, r.prev.keys = kids{}, kids{}
	r.prevEnd = time.Time{}
}

// age moves on when 5 min have passed since the first frame of the step, without a
// frame, and drops the step before when its time is over.
func (r *groupRecv) age(now time.Time) error {
	if !r.cur.first.IsZero() && now.Sub(r.cur.first) >= stepAge {
		n, err := r.cur.next()
		if err != nil {
			return err
		}
		r.enter(groupStep{ratchet: n}, r.cur, r.cur.first.Add(stepAge))
	}
	if !r.prevEnd.IsZero() && !now.Before(r.prevEnd) {
		clear(r.prev.base[:])
		r.prev, r.prevEnd = groupStep{}, time.Time{}
	}
	return nil
}

// ages is when age has something to do; zero: not before the next frame.
func (r *groupRecv) ages() time.Time {
	at := r.prevEnd
	if f := r.cur.first; !f.IsZero() && (at.IsZero() || f.Add(stepAge).Before(at)) {
		at = f.Add(stepAge)
	}
	return at
}

func (r *groupRecv) enter(cur, prev groupStep, at time.Time) {
	clear(r.cur.base[:])
	r.cur, r.prev, r.prevEnd = cur, prev, at.Add(keepStep)
}
