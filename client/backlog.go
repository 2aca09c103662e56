package client

import (
	"errors"
	"slices"
)

// Bounds of the events nobody has read yet.
const (
	maxPendingVoice = 2048 // beyond, voice is dropped
	maxPending      = 8192 // beyond, the connection ends
	maxPendingBytes = 16 << 20
)

var errUnread = errors.New("client: nobody reads the events")

// backlog is the events that nobody has read yet.
type backlog struct {
	list  []Event
	bytes int
}

func (b *backlog) add(ev Event) { b.insert(len(b.list), ev) }

func (b *backlog) insert(at int, ev Event) {
	b.list = slices.Insert(b.list, at, ev)
	b.bytes += weight(ev)
}

// next is the first event and where it is to be sent: nowhere without any.
func (b *backlog) next(to chan Event) (chan Event, Event) {
	if len(b.list) == 0 {
		return nil, nil
	}
	return to, b.list[0]
}

// sent drops the first.
func (b *backlog) sent() {
	b.bytes -= weight(b.list[0])
	b.list[0] = nil
	b.list = b.list[1:]
}

// check returns errUnread beyond the bounds.
func (b *backlog) check() error {
	if len(b.list) > maxPending || b.bytes > maxPendingBytes {
		return errUnread
	}
	return nil
}

// weight is about how many bytes an event holds.
func weight(ev Event) int {
	const each = 256 // names are bounded by the mirror
	switch ev := ev.(type) {
	case TextMessage:
		return each + len(ev.HTML)
	case Denied:
		return each + len(ev.Reason)
	case Voice:
		return each + len(ev.Opus)
	case Notice:
		return each + len(ev.Text)
	}
	return each
}
