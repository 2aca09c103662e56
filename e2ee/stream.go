package e2ee

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/sotto-voip/sotto/sframe"
)

const (
	suite      = sframe.AES_128_GCM_SHA256_128
	sframeTag  = 16 // Nt of the suite
	nonceLen   = 16
	baseKeyLen = 32
)

// Life of a stream (Sotto protocol §7.1, §10.3, §12).
const (
	stepFrames   = 1 << 14          // frames per step
	stepAge      = 5 * time.Minute  // after its first frame a step is over
	stepAhead    = 8                // steps a receiver goes ahead
	keepStep     = 10 * time.Second // the step before is kept
	nonceAge     = 15 * time.Minute // a sender draws a new nonce
	nonceMaxAge  = 30 * time.Minute // a receiver accepts a nonce no longer
	keepNonce    = 10 * time.Second // the nonce before is kept
	keepSeen     = 11 * time.Minute // nonces and salts held before are known
	clockMinutes = 5                // tolerance between two clocks
)

// chain is a base key on its way through the ratchet.
type chain struct {
	n    uint64 // number of the nonce in the sender's connection, low 4 bits matter
	step uint64
	base []byte
}

// kid is (n mod 16) << 4 | step mod 16 (§10.3).
func (c *chain) kid() uint64 { return c.n%16<<4 | c.step%16 }

func (c *chain) key() (*sframe.Key, error) { return sframe.NewKey(suite, c.kid(), c.base) }

// after returns the chain d steps on; c stays as it is.
func (c *chain) after(d uint64) (chain, error) {
	next := chain{c.n, c.step + d, append([]byte(nil), c.base...)}
	for range d {
		base, err := sframe.Ratchet(suite, next.base, baseKeyLen)
		clear(next.base)
		if err != nil {
			return chain{}, fmt.Errorf("e2ee: ratchet: %w", err)
		}
		next.base = base
	}
	return next, nil
}

// sendStream is the own stream under one nonce.
type sendStream struct {
	chain
	channel uint32
	keys    *channelKeys
	nonce   [nonceLen]byte
	drawn   time.Time
	key     *sframe.Key
	ctr     uint64    // next counter of this step
	first   time.Time // first frame of this step; zero: none yet
	size    int       // rung that the longest frame took (§7.3)

	named time.Time // when a packet or SecretReady last said the nonce
	spurt int       // packets of this talk spurt so far
	last  time.Time // when the last of them was sealed
}

// sending returns the own stream, ready to seal one more frame now: a new nonce
// after a move, and after 15 min; the next step when the old one is used up.
func (e *Engine) sending(now time.Time) (*sendStream, error) {
	if s := e.out; s != nil {
		if s.channel != e.channel || now.Sub(s.drawn) >= nonceAge {
			e.dropSending()
		} else if err := s.advance(now); err != nil {
			return nil, err
		} else if s.step > stepAhead {
			// A receiver that meets this nonce first now could not go that far.
			e.dropSending()
		}
	}
	if e.out == nil {
		s := &sendStream{channel: e.channel, keys: e.keysOf(e.channel), drawn: now, named: now}
		rand.Read(s.nonce[:])
		s.chain = chain{n: e.drawn, base: s.keys.streamBase(e.session, s.nonce)}
		key, err := s.chain.key()
		if err != nil {
			return nil, fmt.Errorf("e2ee: own stream: %w", err)
		}
		s.key = key
		e.drawn++
		e.out = s
		e.sweepSoon(now)
	}
	return e.out, nil
}

// advance moves to the next step when this one has had its frames or its time.
// A step without frames does not age.
func (s *sendStream) advance(now time.Time) error {
	if s.ctr < stepFrames && (s.first.IsZero() || now.Sub(s.first) < stepAge) {
		return nil
	}
	next, err := s.after(1)
	if err != nil {
		return err
	}
	key, err := next.key()
	if err != nil {
		return fmt.Errorf("e2ee: own stream: %w", err)
	}
	clear(s.base)
	s.chain, s.key, s.ctr, s.first = next, key, 0, time.Time{}
	return nil
}

// dropSending forgets the own stream and erases its base key. Its nonce counts as
// held before: a server that gives us another session, or makes us reconnect,
// cannot play our own voice back to us as somebody else's.
func (e *Engine) dropSending() {
	if e.out == nil {
		return
	}
	e.nonces.add(e.out.named, e.session, e.out.nonce)
	clear(e.out.base)
	e.out = nil
}

// minuteOf is the Unix minute that packets carry.
func minuteOf(now time.Time) uint32 { return uint32(now.Unix() / 60) }

// sameTime reports whether a minute from a peer is within 5 of the own clock.
func sameTime(now time.Time, minute uint32) bool {
	d := now.Unix()/60 - int64(minute)
	return -clockMinutes <= d && d <= clockMinutes
}
