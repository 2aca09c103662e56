package carrier

import "github.com/sotto-voip/sotto/envelope"

// Bounds of what waits to be sent.
const (
	maxQueued      = 64
	maxQueuedBytes = 256 << 10
	maxInFlight    = 64
)

// waiting is an object on its way: first in the queue, in regime E then in
// flight until its echo.
type waiting struct {
	token  uint64
	object envelope.Object
	to     []uint32 // cleaned, without ourselves
	prio   Priority
}

// size is what an object weighs against maxQueuedBytes.
func (w waiting) size() int { return len(w.object.Body) + 4*len(w.to) }

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
	q.bytes += w.size()
	for q.count > maxQueued || q.bytes > maxQueuedBytes {
		for p := priorities - 1; ; p-- {
			if len(q.lines[p]) > 0 {
				evicted = append(evicted, q.take(p))
				break
			}
		}
	}
	return evicted
}

// pop removes what is to be sent next.
func (q *queue) pop() (waiting, bool) {
	for p := range q.lines {
		if len(q.lines[p]) > 0 {
			return q.take(Priority(p)), true
		}
	}
	return waiting{}, false
}

func (q *queue) take(p Priority) waiting {
	w := q.lines[p][0]
	q.lines[p][0] = waiting{} // let the body go
	if q.lines[p] = q.lines[p][1:]; len(q.lines[p]) == 0 {
		q.lines[p] = nil
	}
	q.count--
	q.bytes -= w.size()
	return w
}
