package evilserver

import (
	"container/heap"
	"errors"
	"sync"
	"time"
)

// What one leg may owe.
const (
	maxQueue      = 65_536
	maxQueueBytes = 32 << 20
)

var errQueue = errors.New("too much is waiting to go out")

// entry is something that goes out: a frame, or a voice packet before its
// cipher, or the end of the connection.
type entry struct {
	frame []byte
	plain []byte
	udp   bool
	ping  bool
	end   bool
	due   time.Duration // from push

	at  time.Time
	seq uint64
}

// queue lets out entries in order of their time, those of the same time in order
// of arrival. One goroutine calls next.
type queue struct {
	wake chan struct{} // holds one token if something changed

	mu     sync.Mutex
	heap   entries
	bytes  int
	seq    uint64
	closed bool
	err    error
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

func (q *queue) push(e entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.bytes += len(e.frame) + len(e.plain)
	if len(q.heap) >= maxQueue || q.bytes > maxQueueBytes {
		q.err, q.closed = errQueue, true
	} else {
		q.seq++
		e.at, e.seq = time.Now().Add(e.due), q.seq
		heap.Push(&q.heap, e)
	}
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// next waits for the next entry that is due; false when the queue is closed.
func (q *queue) next() (entry, bool) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		q.mu.Lock()
		if q.closed {
			q.heap, q.bytes = nil, 0
			q.mu.Unlock()
			return entry{}, false
		}
		wait := time.Hour
		if len(q.heap) > 0 {
			if wait = time.Until(q.heap[0].at); wait <= 0 {
				e := heap.Pop(&q.heap).(entry)
				q.bytes -= len(e.frame) + len(e.plain)
				q.mu.Unlock()
				return e, true
			}
		}
		q.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-q.wake:
		case <-timer.C:
		}
	}
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

func (q *queue) failure() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

// entries is a heap by time and arrival.
type entries []entry

func (h entries) Len() int { return len(h) }
func (h entries) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].seq < h[j].seq
	}
	return h[i].at.Before(h[j].at)
}
func (h entries) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *entries) Push(x any)   { *h = append(*h, x.(entry)) }
func (h *entries) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = entry{}
	*h = (*h)[:last]
	return e
}
