package e2ee

import "time"

// Bounds of what is remembered to refuse it when it comes again. At a bound new
// ones are refused rather than old ones forgotten: only holders can fill it.
const (
	maxSeenNonces = 8192
	maxSeenSalts  = 16384
	maxTextIDs    = 1024
)

// seenKey names a nonce or a salt of a session.
type seenKey struct {
	session uint32
	value   [nonceLen]byte
}

// seenSet remembers nonces or salts for 11 min after their last packet, which is
// longer than a packet can pass the check of its minute: 5 min before the
// receiver's clock to 5 min after it.
type seenSet struct {
	last map[seenKey]time.Time
	max  int
}

func newSeenSet(max int) seenSet { return seenSet{make(map[seenKey]time.Time), max} }

// has reports whether the value was held before, and if so keeps it longer.
func (s *seenSet) has(now time.Time, session uint32, value [nonceLen]byte) bool {
	k := seenKey{session, value}
	last, ok := s.last[k]
	if !ok || now.Sub(last) > keepSeen {
		return false
	}
	s.last[k] = now
	return true
}

func (s *seenSet) full() bool { return len(s.last) >= s.max }

func (s *seenSet) add(last time.Time, session uint32, value [nonceLen]byte) {
	s.last[seenKey{session, value}] = last
}

func (s *seenSet) sweep(now time.Time) {
	for k, last := range s.last {
		if now.Sub(last) > keepSeen {
			delete(s.last, k)
		}
	}
}

// textIDs remembers the last 1024 ids of texts, with their author: nobody can
// use up another's id.
type textIDs struct {
	known map[seenKey]struct{}
	ring  []seenKey
	next  int
}

// add reports whether the id is new, and remembers it.
func (t *textIDs) add(session uint32, id [nonceLen]byte) bool {
	k := seenKey{session, id}
	if _, ok := t.known[k]; ok {
		return false
	}
	if len(t.ring) < maxTextIDs {
		t.ring = append(t.ring, k)
	} else {
		delete(t.known, t.ring[t.next])
		t.ring[t.next] = k
		t.next = (t.next + 1) % maxTextIDs
	}
	if t.known == nil {
		t.known = make(map[seenKey]struct{})
	}
	t.known[k] = struct{}{}
	return true
}

// bucket lets through burst at once and then rate each second (§12). The zero
// value is full.
type bucket struct {
	used float64
	at   time.Time
}

func (b *bucket) take(now time.Time, rate, burst float64) bool {
	return b.takeN(now, 1, rate, burst)
}

// takeN lets through n at once, or none.
func (b *bucket) takeN(now time.Time, n int, rate, burst float64) bool {
	b.has(now, rate, burst)
	if b.used+float64(n) > burst {
		return n == 0
	}
	b.used += float64(n)
	return true
}

// has reports whether take would let one through.
func (b *bucket) has(now time.Time, rate, burst float64) bool {
	if !b.at.IsZero() {
		b.used = max(0, b.used-rate*max(0, now.Sub(b.at).Seconds()))
	}
	b.at = now
	return b.used <= burst-1
}
