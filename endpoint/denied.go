package endpoint

import (
	"slices"
	"time"
)

// sentTexts are the text messages that went to the server of late, oldest first. A
// refusal does not say which one it answers, but servers handle what comes over one
// connection in turn and refuse a text at once.
type sentTexts []sentText

type sentText struct {
	at     time.Time
	ours   bool // of the handshake: its refusal says nothing to the person
	length int  // bytes
}

// Bounds of what is remembered.
const (
	denialLife   = 5 * time.Second
	maxSentTexts = 64 // more than a server takes in that time
)

func (l *sentTexts) add(now time.Time, ours bool, length int) {
	l.expire(now)
	if len(*l) >= maxSentTexts {
		*l = slices.Delete(*l, 0, 1)
	}
	*l = append(*l, sentText{now, ours, length})
}

func (l *sentTexts) expire(now time.Time) {
	*l = slices.DeleteFunc(*l, func(t sentText) bool { return now.Sub(t.at) >= denialLife })
}

// oldest takes the text that a refusal answers, and reports whether it was ours.
func (l *sentTexts) oldest(now time.Time) bool {
	l.expire(now)
	return l.take(0)
}

// tooLong is oldest for the refusal of a text because of its length. It answers the
// longest one, whatever else is on its way.
func (l *sentTexts) tooLong(now time.Time) bool {
	l.expire(now)
	longest := 0
	for i, t := range *l {
		if t.length > (*l)[longest].length {
			longest = i
		}
	}
	return l.take(longest)
}

func (l *sentTexts) take(i int) bool {
	if i >= len(*l) {
		return false
	}
	ours := (*l)[i].ours
	*l = slices.Delete(*l, i, i+1)
	return ours
}
