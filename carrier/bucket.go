package carrier

import "time"

// bucket foresees what the server's leaky bucket will say (Murmur:
// src/murmur/ServerUser.cpp, LeakyBucket::ratelimit), and stays below it: it counts
// in whole tokens as the server does, with a smaller size and a slower leak, and so
// never holds less than the server's.
type bucket struct {
	size    int           // we fill it up to here
	ceiling int           // the server's own size: a fuller bucket does not exist
	refill  time.Duration // for one token to leak
	used    int
	since   time.Time // when the leak last restarted
}

const (
	pluginBurst, pluginServerBurst = 10, 15
	textBurst, textServerBurst     = 4, 5

	pluginRefill = 300 * time.Millisecond
	textRefill   = 1200 * time.Millisecond
)

// newBuckets returns those of a new connection. The text bucket has one token
// used: the client's Version is counted by the server and just went by.
func newBuckets(now time.Time) (b [paths]bucket) {
	b[pathPlugin] = bucket{size: pluginBurst, ceiling: pluginServerBurst, refill: pluginRefill, since: now}
	b[pathText] = bucket{size: textBurst, ceiling: textServerBurst, refill: textRefill, used: 1, since: now}
	return b
}

// spend takes n tokens at once, beyond the size if need be: what the local
// client sends goes out whatever we think of it.
func (b *bucket) spend(now time.Time, n int) {
	if n <= 0 {
		return
	}
	if leaked := int64(now.Sub(b.since) / b.refill); leaked > 0 {
		b.used = int(max(int64(b.used)-leaked, 0))
		b.since = now
	}
	b.used = min(b.used+min(n, b.ceiling), b.ceiling)
}

// ready returns the first moment at which one token may be spent; it may be past.
func (b *bucket) ready() time.Time {
	over := max(b.used+1-b.size, 0)
	return b.since.Add(time.Duration(over) * b.refill)
}
