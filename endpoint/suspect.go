package endpoint

import (
	"errors"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/voice"
	"github.com/sotto-voip/sotto/opus"
)

// Codes of Notice, besides those of package e2ee.
const (
	NoticeAltered     = "altered"     // the server strips or encodes audio anew
	NoticeMixed       = "mixed"       // voice under a member's name that is not the member's
	NoticeUnconfirmed = "unconfirmed" // a member does not show the current keys
	NoticeChannel     = "channel"     // the own channel was renamed or linked, and stays protected
	NoticeWhisper     = "whisper"     // who is whispered to has no Sotto, and hears it in clear
	NoticeAsking      = "asking"      // a text waits until many people were asked for Sotto
	NoticeFlood       = "flood"       // more texts of somebody than anybody writes, or more of Sotto's own messages
)

const (
	// suspectCount times within suspectTime is no accident any more.
	suspectCount = 10
	suspectTime  = 3 * time.Second
	// suspectPause is how long what was said is not said again.
	suspectPause = 10 * time.Minute
	// unconfirmedTime is how long a member may be without a proof of our epoch, after
	// the engine has begun to miss it; longer where nothing is echoed, because
	// Beacons are rarer there (Sotto protocol §6.4).
	unconfirmedTime     = 15 * time.Second
	unconfirmedTimeLong = 45 * time.Second
	// channelPause bounds what is said of the own channel.
	channelPause = 10 * time.Second
	// textBurst texts of one author are shown at once, and then one each textEvery.
	// Murmur passes on less, so only with the server's help does anybody write more.
	textBurst  = 64
	textEvery  = 250 * time.Millisecond
	floodPause = 10 * time.Second
	maxWriters = 1024
	// floodCount messages in Sotto's name within a second are four times what a full
	// group of 128 sends when all of them act at once.
	floodCount = 2000
)

// suspects is what arrives now and then by chance, and often only if the server
// does something to it.
type suspects struct {
	altered, mixed suspicion
	missing        map[uint32]missing // members, by session
	room           room
	writers        map[uint32]writer // by session
	flood          flood
}

// flood counts what arrives in Sotto's name.
type flood struct {
	since time.Time // the second that is counted
	n     int
	said  time.Time
}

// counts counts a message for the carrier, and says when there are too many. They
// are bounded and dropped one by one all the same.
func (e *Endpoint) counts(now time.Time) {
	f := &e.suspects.flood
	if now.Sub(f.since) >= time.Second {
		f.since, f.n = now, 0
	}
	if f.n++; f.n == floodCount && (f.said.IsZero() || now.Sub(f.said) >= suspectPause) {
		f.said = now
		e.notice(NoticeFlood, "A flood of messages in Sotto's name arrives. They are ignored; the server lets it happen, or makes them.")
	}
}

// suspicion counts one kind of it.
type suspicion struct {
	times [suspectCount]time.Time
	next  int
	said  time.Time
}

// add reports whether it is to be said now.
func (s *suspicion) add(now time.Time) bool {
	s.times[s.next] = now
	s.next = (s.next + 1) % suspectCount
	first := s.times[s.next]
	if first.IsZero() || now.Sub(first) > suspectTime || !s.said.IsZero() && now.Sub(s.said) < suspectPause {
		return false
	}
	s.said = now
	return true
}

// heardClear looks at ordinary Opus. From somebody who hears us encrypted nothing
// but covers comes; a cover without its padding is what is left of one where the
// server encodes audio anew, or cuts off what it takes for ballast.
func (e *Endpoint) heardClear(now time.Time, in *voice.Packet) {
	if e.hears(in.Session) && bareCover(in.Data) && e.suspects.altered.add(now) {
		e.notice(NoticeAltered, "The server alters audio; protection is impossible here. What others say arrives as silence.")
	}
}

// bareCover reports whether b is sound Opus of nothing but the frames of a cover.
func bareCover(b []byte) bool {
	var p opus.Packet
	if len(b) == 0 || opus.Parse(b, &p) != nil || opus.TOC(b[0]).Mode() != opus.CELT || p.Len() == 0 {
		return false
	}
	for i := range p.Len() {
		if f := p.Frame(i); len(f) != 2 || f[0] != 0xFF || f[1] != 0xFE {
			return false
		}
	}
	return true
}

// unopened looks at voice of ours that did not open.
func (e *Endpoint) unopened(now time.Time, in *voice.Packet, err error) {
	if errors.Is(err, e2ee.ErrAuth) && e.hears(in.Session) && e.suspects.mixed.add(now) {
		e.notice(NoticeMixed, "What arrives as the voice of "+e.mirror.Label(in.Session)+
			" does not fit the keys of that person and is not played. The server may mix people up, or alter what they say.")
	}
}

// writer is somebody whose texts are counted.
type writer struct {
	full time.Time // when all of textBurst is allowed again
	said time.Time
}

// mayShow reports whether a text of somebody is shown, or is one of too many.
func (e *Endpoint) mayShow(now time.Time, from uint32) bool {
	w := e.suspects.writers[from]
	if w.full.Before(now) {
		w.full = now
	}
	if w.full.Sub(now) <= (textBurst-1)*textEvery {
		w.full = w.full.Add(textEvery)
		if e.suspects.writers == nil || len(e.suspects.writers) >= maxWriters {
			e.suspects.writers = map[uint32]writer{}
		}
		e.suspects.writers[from] = w
		return true
	}
	e.stats.Flood++
	if w.said.IsZero() || now.Sub(w.said) >= floodPause {
		w.said = now
		e.suspects.writers[from] = w
		e.notice(NoticeFlood, "Too many messages of "+e.mirror.Label(from)+" arrive; some are not shown.")
	}
	return false
}

func (e *Endpoint) notice(code, text string) { e.emit(Notice{e2ee.Notice{Code: code, Text: text}}) }
