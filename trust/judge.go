package trust

import (
	"fmt"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/identity"
)

// Verdict is what the Book says about somebody.
type Verdict uint8

// The verdicts.
const (
	// Unknown: no identity key, so nothing to compare.
	Unknown Verdict = iota
	// FirstSeen: a new key, and nothing about it belongs to another one.
	FirstSeen
	// Known: a key that was seen before, with nothing that belongs to another.
	Known
	// Changed: a certificate, registration or name that belongs to another key.
	Changed
)

// String returns the word for v.
func (v Verdict) String() string {
	switch v {
	case Unknown:
		return "unknown"
	case FirstSeen:
		return "first seen"
	case Known:
		return "known"
	case Changed:
		return "changed"
	}
	return fmt.Sprintf("Verdict(%d)", uint8(v))
}

// Judgement is a Verdict with its reasons.
type Judgement struct {
	Verdict Verdict
	// Before says, for Changed, to whom the marks belong: certificate first, then
	// registration, then name.
	Before []Before
	// KeySeen says that the key itself was seen before. With Changed it means
	// that one known person shows up with the marks of another.
	KeySeen bool

	name string
}

// Before is one mark and a key it belongs to.
type Before struct {
	By          Kind
	Identity    identity.PublicKey
	Name        string // as last shown, at most 64 bytes; from a server
	First, Last time.Time
}

// Reason says in one sentence what Changed means here, for people; else it is
// empty. Names in it are quoted.
func (j Judgement) Reason() string {
	if j.Verdict != Changed || len(j.Before) == 0 {
		return ""
	}
	before := j.Before[0]
	what := "name"
	switch before.By {
	case ByCertificate:
		what = "Mumble certificate"
	case ByRegistration:
		what = "registration on this server"
	}
	if j.KeySeen {
		return fmt.Sprintf("%s has the %s of somebody else, %s", quote(j.name), what, quote(before.Name))
	}
	return fmt.Sprintf("%s has a new identity key; the one with the same %s was first seen on %s",
		quote(j.name), what, before.First.UTC().Format(time.DateOnly))
}

// Judge says what is known about p as the server shows it (Sotto protocol
// §9.5). It changes nothing.
func (b *Book) Judge(server string, p Person) Judgement {
	j := Judgement{name: p.Name}
	if p.Identity == (identity.PublicKey{}) {
		return j
	}
	_, j.KeySeen = b.people[p.Identity]
	for _, k := range marksOf(serverName(server), p) {
		m := b.marks[k]
		if m == nil || slices.Contains(m.keys, p.Identity) {
			continue
		}
		for _, other := range m.keys {
			e := b.people[other]
			j.Before = append(j.Before, Before{k.kind, other, e.name, time.Unix(e.first, 0), time.Unix(e.last, 0)})
		}
	}
	switch {
	case len(j.Before) > 0:
		j.Verdict = Changed
	case j.KeySeen:
		j.Verdict = Known
	default:
		j.Verdict = FirstSeen
	}
	return j
}

// See remembers p's key and marks, if nothing about them is in question: for
// Changed it does nothing, the user decides first. It reports whether the key
// with all marks is remembered now; false also means that there is no room, or
// no key.
func (b *Book) See(now time.Time, server string, p Person) bool {
	switch b.Judge(server, p).Verdict {
	case Unknown, Changed:
		return false
	case FirstSeen, Known:
	}
	if b.crowded() {
		return false
	}
	return b.record(now.Unix(), serverName(server), p, false)
}

// Accept is the user's word that p's key belongs to whom p looks like: p's
// marks are that key's from now on, beside those they had. It reports whether
// there was room; people who were seen longest ago make some.
func (b *Book) Accept(now time.Time, server string, p Person) bool {
	if p.Identity == (identity.PublicKey{}) {
		return false
	}
	return b.record(now.Unix(), serverName(server), p, true)
}

// record adds key and marks; accepted ones also where another key is.
func (b *Book) record(now int64, server string, p Person, accepted bool) bool {
	if b.people == nil {
		b.people, b.marks = map[identity.PublicKey]*entry{}, map[key]*mark{}
	}
	e, changed := b.people[p.Identity], false
	if e == nil {
		if p.Identity.Check() != nil || !b.makeRoom(now) {
			return false
		}
		e, changed = &entry{first: now, last: now}, true
		b.people[p.Identity] = e
	}
	if shown := clean(p.Name, maxShown); shown != "" && shown != e.name {
		e.name, changed = shown, true
	}
	if now-e.last >= touch {
		e.last, changed = now, true
	}
	all := true
	for _, k := range marksOf(server, p) {
		c, ok := b.bind(now, k, p.Identity, accepted)
		changed, all = changed || c, all && ok
	}
	if changed {
		b.log(func(o *Book) {
			if accepted || o.Judge(server, p).Verdict != Changed { // another process may have seen another key first
				o.record(now, server, p, accepted)
			}
		})
	}
	return all
}

// bind gives a mark to a key.
func (b *Book) bind(now int64, k key, p identity.PublicKey, accepted bool) (changed, ok bool) {
	m := b.marks[k]
	switch {
	case m == nil:
		if b.people[p].marks >= maxPersonMarks && !accepted || !b.makeMarkRoom(now) {
			return false, false
		}
		m = &mark{keys: []identity.PublicKey{p}, seen: now}
		b.marks[k] = m
		b.people[p].marks++
		return true, true
	case !slices.Contains(m.keys, p):
		if len(m.keys) >= maxMarkKeys {
			b.people[m.keys[0]].marks--
			m.keys = slices.Delete(m.keys, 0, 1)
		}
		m.keys = append(m.keys, p)
		b.people[p].marks++
		m.seen = now
		return true, true
	case now-m.seen >= touch:
		m.seen = now
		return true, true
	}
	return false, true
}
