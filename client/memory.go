package client

import (
	"time"

	"github.com/sotto-voip/sotto/trust"
)

// memoryPace is the least time between two writes of a Memory: whoever is renamed
// every second by a server makes no more.
const memoryPace = 2 * time.Second

// Memory writes a Book while its owner goes on: to sort and sync a large one takes
// longer than a packet of voice. All but Merge is used by the owner of the Book.
type Memory struct {
	Book *trust.Book
	// Merge writes changes on top of what is kept, and returns what is kept then. It
	// runs in a goroutine, one at a time. nil: nothing is kept.
	Merge func(trust.Patch) (*trust.Book, error)

	done    chan Merged
	writing bool
	next    time.Time // no write begins before
}

// Merged is how a write ended.
type Merged struct {
	at    time.Time
	patch trust.Patch
	book  *trust.Book
	err   error
}

// Tick begins a write if there is something to write and none is under way.
func (m *Memory) Tick(now time.Time) {
	if at := m.Deadline(); at.IsZero() || now.Before(at) {
		return
	}
	if m.done == nil {
		m.done = make(chan Merged, 1)
	}
	m.writing = true
	p, merge, done := m.Book.Take(), m.Merge, m.done
	go func() {
		b, err := merge(p)
		done <- Merged{time.Now(), p, b, err}
	}()
}

// Deadline is when Tick has something to do; zero: not before the Book changes, or
// Done says that a write has ended.
func (m *Memory) Deadline() time.Time {
	if m.Merge == nil || m.Book == nil || m.writing || !m.Book.Changed() {
		return time.Time{}
	}
	if m.next.IsZero() {
		return time.Unix(0, 0) // now
	}
	return m.next
}

// Done tells when a write has ended; what comes from it is for Ended.
func (m *Memory) Done() <-chan Merged { return m.done }

// Ended takes what others have written into the Book. After an error, which it
// returns, the changes are tried again.
func (m *Memory) Ended(e Merged) error {
	m.writing, m.next = false, e.at.Add(memoryPace)
	if e.err != nil {
		m.Book.Return(e.patch)
		return e.err
	}
	m.Book.Rebase(e.book)
	return nil
}

// Flush writes what is left, and waits for it.
func (m *Memory) Flush() error {
	for range 2 { // what is being written, and what came meanwhile
		if !m.writing {
			m.next = time.Time{}
			m.Tick(time.Now())
		}
		if !m.writing {
			return nil
		}
		if err := m.Ended(<-m.done); err != nil {
			return err
		}
	}
	return nil
}
