package e2ee

import (
	"crypto/rand"
	"encoding/binary"
	"slices"
	"time"
)

// Times of saying that we hold the secret (Sotto protocol §10.3).
const (
	tellMin  = 100 * time.Millisecond // SecretReady to newcomers, so that
	tellMax  = 300 * time.Millisecond // several get one
	tellPace = 300 * time.Millisecond // between two of ours
	askAgain = 2 * time.Second        // the same session by AskHolders

	voiceWaiting = 5 * time.Second // announcements in voice while waiting
	voiceSettled = 60 * time.Second
	greetMin     = 200 * time.Millisecond // after a newcomer
	greetMax     = time.Second

	// probeAnswer is how long a server that echoes may take to show it. A server
	// that does not is only known by its silence, 4 s later, and nobody should
	// wait that long for the first word.
	probeAnswer = 500 * time.Millisecond

	// talking is how short ago the last packet of a talk must be for the next
	// one to carry the announcement.
	talking = 500 * time.Millisecond
)

// Frame numbers count 10 ms; servers and clients of old want them below 2^31. An
// announcement takes the number a next packet of 20 ms would have had, so that
// jitter buffers see it in order.
const (
	announceStep = 2
	frameNumbers = 1 << 31
)

const labelReady = "secret ready"

// announcing is what was said and is to be said of the own secret.
type announcing struct {
	toldAt         time.Time // last SecretReady
	announced      time.Time // last announcement in voice; zero: none here yet
	placedAt       time.Time // when we came here
	greetAt        time.Time // a newcomer is to hear one; zero: none
	announceNumber uint64
}

// AskHolders sends the own SecretReady to these sessions, wherever they are, so
// that those who hold the secret answer and show as Holder. Use it before a
// private text or a whisper. Where nothing but voice reaches strangers (regime
// N), only those already known to hold the secret are sent anything.
func (e *Engine) AskHolders(now time.Time, sessions []uint32) {
	if e.cfg.Secret == nil {
		return
	}
	for _, session := range sessions {
		if p := e.peers[session]; p != nil && !p.holder && (p.told.IsZero() || now.Sub(p.told) >= askAgain) {
			p.tell = true
		}
	}
	e.tellReady(now)
}

// wantsReady reports whether p is to get our SecretReady. "In T and N ... text
// only to sessions that have proved to hold the secret" (§10.3).
func (e *Engine) wantsReady(p *peer) bool {
	if e.regime.Echo {
		return p.tell || p.Hears && p.told.IsZero()
	}
	return p.holder && (p.tell || p.told.IsZero())
}

// tellReady sends the own SecretReady to all who are to get it, when its time
// has come.
func (e *Engine) tellReady(now time.Time) {
	if !e.regime.Known || !e.placed || e.moving {
		e.tellAt = time.Time{}
		return
	}
	var to []uint32
	for session, p := range e.peers {
		if e.wantsReady(p) {
			to = append(to, session)
		}
	}
	if len(to) == 0 {
		e.tellAt = time.Time{}
		return
	}
	if e.tellAt.IsZero() {
		e.tellAt = now
		if !e.toldAt.IsZero() {
			e.tellAt = later(now.Add(between(tellMin, tellMax)), e.toldAt.Add(tellPace))
		}
	}
	if now.Before(e.tellAt) {
		return
	}
	e.tellAt = time.Time{}
	object, err := e.sealReady(now)
	if err != nil {
		e.stats.count(err)
		return
	}
	e.toldAt = now
	for _, session := range to {
		p := e.peers[session]
		p.tell, p.told = false, now
	}
	slices.Sort(to)
	e.emit(SendObject{To: to, Object: object, Label: labelReady})
}

// forgetTold tells again those who were told just before the own channel changed:
// it may have reached them after the news of that, under the wrong key.
func (e *Engine) forgetTold(now time.Time) {
	for _, p := range e.peers {
		if !p.told.IsZero() && now.Sub(p.told) < justMoved {
			p.told = time.Time{}
		}
	}
}

// greet notes that somebody new hears.
func (e *Engine) greet(now time.Time) {
	if e.greetAt.IsZero() {
		e.greetAt = now.Add(between(greetMin, greetMax))
	}
}

// announceDue returns when the next announcement in voice is due; zero: never.
func (e *Engine) announceDue() time.Time {
	if e.regime.Echo || !e.placed || e.moving || !e.heard() {
		return time.Time{}
	}
	due := e.announced
	switch {
	case due.IsZero() && !e.regime.Known:
		return e.placedAt.Add(probeAnswer)
	case due.IsZero():
		return e.placedAt
	case e.gate.State() == StateTyped:
		due = due.Add(voiceSettled)
	default:
		due = due.Add(voiceWaiting)
	}
	if !e.greetAt.IsZero() && e.greetAt.Before(due) {
		return e.greetAt
	}
	return due
}

// heard reports whether anybody hears us.
func (e *Engine) heard() bool {
	for _, p := range e.peers {
		if p.Hears {
			return true
		}
	}
	return false
}

// announceInVoice announces the own stream where servers pass nothing but voice.
func (e *Engine) announceInVoice(now time.Time) {
	due := e.announceDue()
	if due.IsZero() || now.Before(due) {
		return
	}
	e.announced, e.greetAt = now, time.Time{}
	if s := e.out; s != nil && e.gate.Leave() == LeaveCiphertext && s.channel == e.channel && now.Sub(s.last) < talking {
		s.spurt = 0 // the next packets of this talk say it
		return
	}
	out, err := e.announce(now)
	if err != nil {
		e.stats.count(err)
		return
	}
	e.emit(out)
}

// between returns a random time from a to b. It spreads what many guards would
// else say in the same instant.
func between(a, b time.Duration) time.Duration {
	var r [8]byte
	rand.Read(r[:])
	return a + time.Duration(binary.BigEndian.Uint64(r[:])%uint64(b-a))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
