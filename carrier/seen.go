package carrier

import (
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
)

// Bounds of the memory for objects already delivered (Sotto protocol §1.2).
const (
	seenFor     = 60 * time.Second
	seenIDs     = 256  // per sender
	seenSenders = 1024 // in all
)

// seen remembers which ids each sender completed lately. Above its bounds it
// forgets the oldest first, which costs a double delivery and nothing worse:
// the engine refuses replays by cryptography. The zero value is empty.
type seen struct {
	senders map[uint32]*history
}

// history is a ring of the last ids of one sender.
type history struct {
	ids  []seenID
	next int // where the next one goes once the ring is full
	last time.Time
}

type seenID struct {
	id envelope.ID
	at time.Time
}

// add remembers that sender completed id at now, and reports whether it had
// done so within seenFor already.
func (s *seen) add(now time.Time, sender uint32, id envelope.ID) (again bool) {
	h := s.senders[sender]
	if h == nil {
		if s.senders == nil {
			s.senders = map[uint32]*history{}
		}
		if len(s.senders) >= seenSenders {
			s.forget(now)
		}
		h = &history{}
		s.senders[sender] = h
	}
	h.last = now
	for i := range h.ids {
		if h.ids[i].id == id {
			// A repetition does not prolong the memory: 60 s from completion.
			if now.Sub(h.ids[i].at) < seenFor {
				return true
			}
			h.ids[i].at = now
			return false
		}
	}
	entry := seenID{id, now}
	if len(h.ids) < seenIDs {
		h.ids = append(h.ids, entry)
		return false
	}
	h.ids[h.next] = entry
	h.next = (h.next + 1) % seenIDs
	return false
}

// has reports whether add would say that it was again.
func (s *seen) has(now time.Time, sender uint32, id envelope.ID) bool {
	h := s.senders[sender]
	return h != nil && slices.ContainsFunc(h.ids, func(e seenID) bool {
		return e.id == id && now.Sub(e.at) < seenFor
	})
}

// forget drops the senders nobody heard of for seenFor; if there are none, the
// one heard of longest ago.
func (s *seen) forget(now time.Time) {
	var oldest uint32
	var at time.Time
	for sender, h := range s.senders {
		if now.Sub(h.last) >= seenFor {
			delete(s.senders, sender)
		} else if at.IsZero() || h.last.Before(at) || h.last.Equal(at) && sender < oldest {
			oldest, at = sender, h.last
		}
	}
	if len(s.senders) >= seenSenders {
		delete(s.senders, oldest)
	}
}
