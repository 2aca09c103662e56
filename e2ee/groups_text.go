package e2ee

import (
	"crypto/rand"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/trust"
)

// NoticeMissing says that a text of somebody did not come.
const NoticeMissing = "missing"

// gapPatience is how long a text may be late before that is said (§8).
const gapPatience = 5 * time.Second

// author is a leaf in a group, as a writer.
type author struct {
	group envelope.GroupID
	leaf  uint32
}

// gap is what is missing of an author's texts.
type gap struct {
	next    uint32 // expected seq
	session uint32
	missing int
	at      time.Time // when it is said; zero: nothing is missing
}

// SealText encrypts a text to a group: the own channel's if group is zero. It
// returns the object and its receivers. Errors are ErrHeld unless the gate lets
// ciphertext out or the group is a direct one, audience.ErrWait for a second at
// most while the group changes, ErrTextTooLong, and ErrMalformed for a scope that is
// none, or a private text to a channel.
func (e *Groups) SealText(now time.Time, group envelope.GroupID, t Text) (envelope.Object, []uint32, error) {
	if !utf8.ValidString(t.HTML) || !t.addressed() {
		return envelope.Object{}, nil, ErrMalformed
	}
	if len(t.HTML) > maxHTML {
		return envelope.Object{}, nil, ErrTextTooLong
	}
	if group.IsZero() {
		if e.gate.Leave() != LeaveCiphertext {
			return envelope.Object{}, nil, ErrHeld
		}
		if t.Scope == ScopePrivate {
			return envelope.Object{}, nil, ErrMalformed // the whole channel would read it
		}
		group = e.home
	} else if !e.mayDirect(group) {
		e.askAgain()
		return envelope.Object{}, nil, ErrHeld
	}
	if t.ID == ([16]byte{}) {
		rand.Read(t.ID[:])
	}
	body := envelope.AppTextBody{Scope: envelope.Scope(t.Scope), Channel: t.Channel, HTML: []byte(t.HTML)}
	o, to, err := e.aud.Protect(now, group, envelope.AppText, t.ID, body.Append(nil))
	if errors.Is(err, audience.ErrNoGroup) {
		err = ErrHeld
	}
	return o, to, err
}

// application takes in what a member wrote.
func (e *Groups) application(now time.Time, a audience.Application) {
	e.follow(now, a)
	switch a.Data.Type {
	case envelope.AppText:
	case envelope.AppPlugin:
		e.pluginData(a)
		return
	default:
		return // verification and what later versions bring
	}
	body, err := envelope.ParseAppText(a.Data.Body)
	private := body.Scope == envelope.ScopePrivate
	if err != nil || !utf8.Valid(body.HTML) || private && a.Place >= 0 {
		e.stats.count(ErrMalformed)
		return
	}
	if !e.texts.add(a.Session, a.Data.ID) {
		e.stats.count(ErrReplay)
		return
	}
	t := Text{
		ID: a.Data.ID, Seq: a.Data.Seq, SentMS: a.Data.SentMS,
		Scope: uint8(body.Scope), Channel: body.Channel, HTML: string(body.HTML),
	}
	if sent := time.UnixMilli(int64(t.SentMS)); sent.Sub(now).Abs() > clockMinutes*time.Minute {
		t.SentMS = 0
	}
	e.emit(TextReceived{From: a.Session, Text: t})
}

// follow watches an author's numbers for what does not come (§8).
func (e *Groups) follow(now time.Time, a audience.Application) {
	k := author{a.Group, a.Leaf}
	g := e.missing[k]
	if g == nil || g.session != a.Session {
		if len(e.missing) >= maxTextIDs {
			clear(e.missing)
		}
		e.missing[k] = &gap{next: a.Data.Seq + 1, session: a.Session} // what was before we came is not ours
		return
	}
	switch {
	case a.Data.Seq >= g.next:
		if n := int(a.Data.Seq - g.next); n > 0 {
			g.missing += n
			g.at = now.Add(gapPatience)
		}
		g.next = a.Data.Seq + 1
	case g.missing > 0:
		if g.missing--; g.missing == 0 {
			g.at = time.Time{}
		}
	}
}

func (e *Groups) gapDeadline() (at time.Time) {
	for _, g := range e.missing {
		if !g.at.IsZero() && (at.IsZero() || g.at.Before(at)) {
			at = g.at
		}
	}
	return at
}

// sayGaps says what has been missing for too long.
func (e *Groups) sayGaps(now time.Time) {
	for _, g := range e.missing {
		if !g.at.IsZero() && !now.Before(g.at) {
			g.at, g.missing = time.Time{}, 0
			e.emit(Notice{NoticeMissing, "A message of " + e.label(g.session) + " is missing."})
		}
	}
}

// MayPlayClear reports whether ordinary Opus of a session may be played: that of
// somebody who is no member here, under prefer. A clear packet under a member's
// name is never played (§7.4).
func (e *Groups) MayPlayClear(session uint32) bool {
	if e.cfg.Policy != PolicyPrefer || e.peers[session] == nil {
		return false
	}
	for _, r := range e.groupsOf {
		if r.direct {
			continue
		}
		if _, ok := r.member(session); ok {
			return false
		}
	}
	return true
}

// MayWhisperClear reports whether a private text or whisper to these people may
// leave in clear: under prefer, while the person speaks in clear here, and if
// nobody of them runs Sotto or was ever protected with the person (§11).
func (e *Groups) MayWhisperClear(sessions []uint32) bool {
	if e.cfg.Policy != PolicyPrefer || e.gate.Leave() != LeaveClear || len(sessions) == 0 {
		return false
	}
	var people []trust.Person
	for _, s := range sessions {
		if e.peers[s] == nil || e.RunsSotto(s) {
			return false
		}
		people = append(people, e.person(s, e.identityOf(s)))
	}
	_, sticky := e.cfg.Book.Sticky(e.watching.now, e.cfg.Address, envelope.NoChannel, people)
	return !sticky
}

// MaxText returns the length in bytes of the longest HTML that an object body of
// limit bytes can hold.
func (e *Groups) MaxText(limit int) int {
	const step = 4096 // of the padding of what is encrypted (§2)
	room := limit - textOutside
	if room >= step {
		room = room / step * step
	}
	return min(max(0, room-textInside), maxHTML)
}

// What MLS and AppData add to a text besides its padding, rounded up: group id, sender
// data, tags and heads around what is padded, and signature and heads in it.
const (
	textOutside = 200
	textInside  = 200
)

// IsMember reports whether a session is in the group of the own channel.
func (e *Groups) IsMember(session uint32) bool {
	r := e.groupsOf[e.home]
	if r == nil {
		return false
	}
	_, ok := r.member(session)
	return ok
}

// RunsSotto reports whether a session has shown signs of Sotto, authenticated or
// not.
func (e *Groups) RunsSotto(session uint32) bool {
	p := e.peers[session]
	return p != nil && (p.sotto || e.IsMember(session))
}

// Members returns the sessions in the group of the own channel, ours too, in the
// order of the tree.
func (e *Groups) Members() []uint32 {
	r := e.groupsOf[e.home]
	if r == nil {
		return nil
	}
	out := make([]uint32, 0, len(r.Leaves))
	for _, l := range r.Leaves {
		out = append(out, l.Session)
	}
	return out
}

// Health returns what is known of the own channel's group besides its members.
func (e *Groups) Health() audience.Health {
	if r := e.groupsOf[e.home]; r != nil {
		return r.health
	}
	return audience.Health{}
}

// Epoch returns the group and epoch of the own channel, zero for none.
func (e *Groups) Epoch() (envelope.GroupID, uint64) {
	if r := e.groupsOf[e.home]; r != nil {
		return r.Group, r.EpochBegan.Epoch
	}
	return envelope.GroupID{}, 0
}

// PostQuantum reports whether the keys of the own channel's group stand against a
// quantum computer (§2); false without a group.
func (e *Groups) PostQuantum() bool {
	r := e.groupsOf[e.home]
	return r != nil && r.Suite == audience.SuiteHybrid
}

// QuestionText returns the question that is open, in words, "" without one.
func (e *Groups) QuestionText() string {
	if e.gate.State() != StateAsked {
		return ""
	}
	return e.asked
}

// KeyID is the id of the typed secret in the own channel, "" without one.
func (e *Groups) KeyID() string {
	if e.cfg.Secret == nil || !e.placed {
		return ""
	}
	return e.cfg.Secret.KeyID(e.world.Channel)
}
