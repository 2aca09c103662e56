package guard

import (
	"maps"
	"strings"
	"time"
	"unicode"

	"golang.org/x/net/html"
	"golang.org/x/text/unicode/norm"
)

// Lines of ours in the client's log. What the server can cause is bounded, or
// it could bury the line that matters, and a name that it chose is quoted.
//
// There is no secret phrase in them by which the person would know them. Everything
// that the client shows has come through guard, so that it is the others' lines that
// are marked: "[server]" on what has no author, "[not encrypted]" on what has one, and
// what is left under an author's name is that author's. A phrase would have to be
// looked at each time, and stands in each picture of a screen.
const (
	lineBurst = 5
	lineEvery = time.Second
	// kindPause is how often a line of one kind is repeated.
	kindPause = 10 * time.Second
)

// lineBucket lets through lineBurst lines at once and then one per lineEvery.
type lineBucket struct {
	used float64
	at   time.Time
	owed bool // a line was left out: the state is to be said when there is room
}

func (b *lineBucket) take(now time.Time) bool {
	b.used = max(0, b.used-float64(now.Sub(b.at))/float64(lineEvery))
	b.at = now
	if b.used > lineBurst-1 {
		return false
	}
	b.used++
	return true
}

// deadline is when an owed line can be said; zero: none is owed.
func (b *lineBucket) deadline() time.Time {
	if !b.owed {
		return time.Time{}
	}
	return b.at.Add(lineEvery)
}

// say tells the person, once the client is ready to show it. It reports whether
// there was room for the line.
func (s *session) say(text string) bool {
	if !s.synced {
		return false
	}
	if !s.lines.take(time.Now()) {
		s.lines.owed = true
		return false
	}
	s.down.say(text)
	return true
}

// marks are those of whom it was said that they speak unencrypted. Each is named,
// or one could speak under the mark of another.
type marks map[uint32]time.Time

const (
	markLife = time.Minute
	maxMarks = 64
)

// due reports whether somebody's clear voice may be played only after a new line
// about it, and whether there is room to remember that.
func (m marks) due(now time.Time, session uint32) (due, room bool) {
	if at, ok := m[session]; ok && now.Sub(at) < markLife {
		return false, true
	}
	if len(m) >= maxMarks {
		maps.DeleteFunc(m, func(_ uint32, at time.Time) bool { return now.Sub(at) >= markLife })
	}
	return true, len(m) < maxMarks
}

// marked says that somebody speaks unencrypted, and reports whether the person has
// been told: what could not be said is not played.
func (s *session) marked(now time.Time, session uint32) bool {
	// Each has a line of its own, so that others can make many: they have their own
	// room, or a question could be lost among them.
	due, room := s.marks.due(now, session)
	if due && room && s.synced && s.markLines.take(now) {
		s.down.say(s.end.Mirror().Label(session) + " speaks unencrypted: what you hear of it is not protected.")
		s.marks[session] = now
		due = false
	}
	return !due
}

// sayOwed says how things stand when lines were left out.
func (s *session) sayOwed(now time.Time) {
	if s.lines.owed && s.synced && s.lines.take(now) {
		s.lines.owed = false
		s.down.say(s.stateLine())
	}
}

// sayRarely says something of a kind that would otherwise be said fifty times
// a second; as a refusal, which the client marks and sounds, if deny is set.
func (s *session) sayRarely(now time.Time, kind string, deny bool, text string) {
	if last, ok := s.said[kind]; ok && now.Sub(last) < kindPause {
		return
	}
	if deny {
		s.down.deny(text)
	} else if !s.say(text) {
		return // when it happens again
	}
	s.said[kind] = now
}

// claimsSotto reports whether a text of somebody else looks like one of ours.
func claimsSotto(text string) bool {
	return strings.Contains(skeleton(text), "sotto")
}

// textClaimsSotto is claimsSotto for what is shown as markup: it looks at the text
// without tags and with entities resolved.
func textClaimsSotto(in string) bool {
	if len(in) > maxHTML {
		return true
	}
	var shown strings.Builder
	z := html.NewTokenizer(strings.NewReader(in))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return claimsSotto(shown.String())
		case html.TextToken:
			shown.Write(z.Text())
		}
	}
}

// skeleton maps a text to what it looks like: lower case, letters of other
// scripts that look like ours as ours, without accents, and nothing that does not show.
func skeleton(text string) string {
	return strings.Map(func(r rune) rune {
		switch r = unicode.ToLower(r); r {
		case '\u0455', '\ua731', '$', '5':
			return 's'
		case '\u043e', '\u03bf', '\u0585', '\u1d0f', '0', '\u00f8':
			return 'o'
		case '\u0442', '\u03c4', '\u1d1b', '7', '+':
			return 't'
		}
		if !unicode.IsLetter(r) {
			return -1
		}
		return r
	}, norm.NFKD.String(text))
}
