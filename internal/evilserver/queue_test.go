package evilserver

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestQueue lets entries wait: each goes at its time, those of one time in order.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		start := time.Now()
		for i, due := range []time.Duration{3, 0, 1, 0, 1, -5} {
			q.push(entry{frame: []byte{byte(i)}, due: due * time.Second})
		}
		go func() {
			time.Sleep(2 * time.Second)
			q.push(entry{frame: []byte{9}})
		}()
		var order []byte
		var at []time.Duration
		for range 7 {
			e, ok := q.next()
			if !ok {
				t.Fatal("closed")
			}
			order = append(order, e.frame[0])
			at = append(at, time.Since(start)/time.Second)
		}
		if want := []byte{5, 1, 3, 2, 4, 9, 0}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
		if want := []time.Duration{0, 0, 0, 1, 1, 2, 3}; !slices.Equal(at, want) {
			t.Errorf("at %v, want %v", at, want)
		}
		go q.close()
		if _, ok := q.next(); ok {
			t.Error("a closed queue gives something")
		}
		q.push(entry{frame: []byte{1}})
		if q.failure() != nil {
			t.Errorf("closing is no failure: %v", q.failure())
		}
	})
}

// TestQueueIsBounded fills one by number and one by bytes.
func TestQueueIsBounded(t *testing.T) {
	for _, size := range []int{1, 1 << 20} {
		q := newQueue()
		n := 0
		for ; q.failure() == nil; n++ {
			q.push(entry{frame: make([]byte, size), due: time.Hour})
		}
		if n > maxQueue+1 || n*size > maxQueueBytes+size {
			t.Errorf("%d entries of %d bytes", n, size)
		}
		if _, ok := q.next(); ok || !errors.Is(q.failure(), errQueue) {
			t.Error("it goes on")
		}
	}
}
