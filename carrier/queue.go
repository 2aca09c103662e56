package carrier

import (
	"slices"

	"github.com/sotto-voip/sotto/envelope"
)

// Bounds of what waits to be sent, for each path.
const (
	maxQueued      = 64
	maxQueuedBytes = 2 << 20
)

// waiting is an object on its way: first in the queue, then under way.
type waiting struct {
	token  uint64
	object envelope.Object
	to     []uint32 // cleaned, without ourselves
	prio   Priority
}

// weight is what an object weighs against maxQueuedBytes.
func (w waiting) weight() int { return len(w.object.Body) + 4*len(w.to) }

// queue holds what waits, by priority and then in order of arrival. The zero
// value is empty.
type queue struct {
	lines [priorities][]waiting
	count int
	bytes int
}

// push adds w at the end of its line and returns what had to give way: the
// oldest of the lowest priority, which may be w itself.
func (q *queue) push(w waiting) (evicted []waiting) {
	q.lines[w.prio] = append(q.lines[w.prio], w)
	q.count++
	q.bytes += w.weight()
	for q.count > maxQueued || q.bytes > maxQueuedBytes {
		for p := priorities - 1; ; p-- {
			if len(q.lines[p]) > 0 {
				evicted = append(evicted, q.take(p, 0))
				break
			}
		}
	}
	return evicted
}

// peek returns what is to be sent next, nil if nothing waits.
func (q *queue) peek() *waiting {
	for p := range q.lines {
		if len(q.lines[p]) > 0 {
			return &q.lines[p][0]
		}
	}
	return nil
}

// pop removes what is to be sent next.
func (q *queue) pop() (waiting, bool) {
	for p := range q.lines {
		if len(q.lines[p]) > 0 {
			return q.take(Priority(p), 0), true
		}
	}
	return waiting{}, false
}

// remove takes the Send with this token out, and reports whether it was there.
func (q *queue) remove(token uint64) bool {
	for p := range q.lines {
		if i := slices.IndexFunc(q.lines[p], func(w waiting) bool { return w.token == token }); i >= 0 {
			q.take(Priority(p), i)
			return true
		}
	}
	return false
}

func (q *queue) take(p Priority, i int) waiting {
	w := q.lines[p][i]
	if i == 0 {
		q.lines[p][0] = waiting{} // let the body go
		q.lines[p] = q.lines[p][1:]
	} else {
		q.lines[p] = slices.Delete(q.lines[p], i, i+1)
	}
	if len(q.lines[p]) == 0 {
		q.lines[p] = nil
	}
	q.count--
	q.bytes -= w.weight()
	return w
}
