package e2ee

import (
	"time"

	"github.com/sotto-voip/sotto/sframe"
)

// recvStep is one step of somebody's stream.
type recvStep struct {
	step   uint64
	key    *sframe.Key
	replay replayFilter
	first  time.Time // first frame accepted; zero: none yet
}

// recvStream is somebody's stream under one nonce.
type recvStream struct {
	chain    // of the current step
	nonce    [nonceLen]byte
	keys     *channelKeys
	accepted time.Time // when the nonce was
	last     time.Time // last packet
	cur      recvStep
	prev     recvStep // the step before, if its key is there
	prevEnd  time.Time
}

// receiver is what is held of one session: its newest nonce, and the one before
// until prevEnd.
type receiver struct {
	newest, prev *recvStream
	prevEnd      time.Time
}

// newRecvStream begins a stream at the step that a first packet names. The nonce
// is at most 15 min old at an honest sender, who changes it after 8 steps, so the
// low bits are the step.
func newRecvStream(keys *channelKeys, session uint32, nonce [nonceLen]byte, kid uint64) (*recvStream, error) {
	step := kid % 16
	if step > stepAhead {
		return nil, ErrNoKey
	}
	c := chain{n: kid >> 4, base: keys.streamBase(session, nonce)}
	at, err := c.after(step)
	clear(c.base)
	if err != nil {
		return nil, err
	}
	key, err := at.key()
	if err != nil {
		return nil, err
	}
	return &recvStream{chain: at, nonce: nonce, keys: keys, cur: recvStep{step: at.step, key: key}}, nil
}

// age moves on when 5 min have passed since the first frame of the current step,
// without a frame, and drops the step before when its time is over.
func (s *recvStream) age(now time.Time) error {
	if !s.cur.first.IsZero() && now.Sub(s.cur.first) >= stepAge {
		next, err := s.after(1)
		if err != nil {
			return err
		}
		if err := s.enter(next, s.cur, s.cur.first.Add(stepAge)); err != nil {
			return err
		}
	}
	if s.prev.key != nil && !now.Before(s.prevEnd) {
		s.prev = recvStep{}
	}
	return nil
}

// enter makes next the current step and prev the one before, from the time at.
func (s *recvStream) enter(next chain, prev recvStep, at time.Time) error {
	key, err := next.key()
	if err != nil {
		return err
	}
	clear(s.base)
	s.chain = next
	s.prev, s.prevEnd = prev, at.Add(keepStep)
	s.cur = recvStep{step: next.step, key: key}
	return nil
}

// open opens one SFrame ciphertext whose header is h into dst. It picks at most
// one key and tries it once; only what opened moves anything.
func (s *recvStream) open(dst []byte, now time.Time, h sframe.Header, frame, metadata []byte) ([]byte, error) {
	if err := s.age(now); err != nil {
		return nil, err
	}
	if h.CTR > stepFrames {
		return nil, ErrNoKey
	}
	var at *recvStep
	switch ahead := (h.KID - s.step) % 16; {
	case ahead == 0:
		at = &s.cur
	case ahead <= stepAhead:
		return s.openAhead(dst, now, ahead, h, frame, metadata)
	case ahead == 15 && s.prev.key != nil:
		at = &s.prev
	default:
		return nil, ErrNoKey
	}
	if !at.replay.fresh(h.CTR) {
		return nil, ErrReplay
	}
	plain, err := at.key.Open(dst, frame, metadata)
	if err != nil {
		return nil, ErrAuth
	}
	at.replay.accept(h.CTR)
	if at.first.IsZero() {
		at.first = now
	}
	s.last = now
	return plain, nil
}

// openAhead opens a frame of a later step, and goes there if it opens.
func (s *recvStream) openAhead(dst []byte, now time.Time, ahead uint64, h sframe.Header, frame, metadata []byte) ([]byte, error) {
	before, err := s.after(ahead - 1)
	if err != nil {
		return nil, err
	}
	defer clear(before.base)
	next, err := before.after(1)
	if err != nil {
		return nil, err
	}
	key, err := next.key()
	if err != nil {
		return nil, err
	}
	plain, err := key.Open(dst, frame, metadata)
	if err != nil {
		return nil, ErrAuth
	}
	prev := s.cur
	if ahead > 1 {
		// Steps were missed; stragglers of the last of them may still come.
		prevKey, err := before.key()
		if err != nil {
			return nil, err
		}
		prev = recvStep{step: before.step, key: prevKey}
	}
	if err := s.enter(next, prev, now); err != nil {
		return nil, err
	}
	s.cur.replay.accept(h.CTR)
	s.cur.first, s.last = now, now
	return plain, nil
}

// erase forgets the stream's keys.
func (s *recvStream) erase() {
	clear(s.base)
	s.cur, s.prev = recvStep{}, recvStep{}
}
