package endpoint

import (
	"fmt"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/carrier"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/mirror"
)

// missing is a member without a recent proof of our epoch.
type missing struct {
	since time.Time
	said  bool
}

// watchMembers says who does not show the current keys for too long.
func (e *Endpoint) watchMembers(now time.Time) {
	if e.groups == nil {
		return
	}
	out := e.groups.Health().Unconfirmed
	for s := range e.suspects.missing {
		if !slices.Contains(out, s) {
			delete(e.suspects.missing, s)
		}
	}
	for _, s := range out {
		m, ok := e.suspects.missing[s]
		switch {
		case !ok:
			if e.suspects.missing == nil {
				e.suspects.missing = map[uint32]missing{}
			}
			e.suspects.missing[s] = missing{since: now}
		case !m.said && !now.Before(m.since.Add(e.unconfirmedAfter())):
			e.suspects.missing[s] = missing{m.since, true}
			who := e.mirror.Label(s)
			e.notice(NoticeUnconfirmed, who+" has not shown the current keys for a while: "+who+
				" may not hear you, or the server holds back what "+who+" sends.")
		}
	}
}

func (e *Endpoint) unconfirmedAfter() time.Duration {
	if e.carrier.Regime() == carrier.RegimeNone {
		return unconfirmedTimeLong
	}
	return unconfirmedTime
}

// room is the own channel as it was last looked at.
type room struct {
	channel uint32
	name    string
	closure []uint32
	renamed bool // and not said yet
	linked  bool
	said    time.Time
}

// watchRoom says what the server made of the own channel while the gate stayed
// open; where it closed, the engine says so.
func (e *Endpoint) watchRoom(now time.Time, me mirror.User) {
	r := &e.suspects.room
	c, _ := e.mirror.Channel(me.Channel)
	closure := e.mirror.Closure(me.Channel)
	if r.closure != nil && r.channel == me.Channel {
		r.renamed = r.renamed || r.name != c.Name
		r.linked = r.linked || !slices.Equal(r.closure, closure)
	} else {
		r.renamed, r.linked = false, false
	}
	r.channel, r.name, r.closure = me.Channel, c.Name, closure
	e.sayRoom(now)
}

// whoIsHere says for whom the microphone is held after the server changed that.
func (e *Endpoint) whoIsHere() string {
	holders, others := e.Audience()
	return fmt.Sprintf(" Here now: %s, of whom %d can read you.", people(len(holders)+len(others)), len(holders))
}

func people(n int) string {
	if n == 1 {
		return "1 person"
	}
	return fmt.Sprintf("%d people", n)
}

func (e *Endpoint) sayRoom(now time.Time) {
	r := &e.suspects.room
	if !r.renamed && !r.linked || now.Before(r.saidUntil()) {
		return
	}
	renamed, linked := r.renamed, r.linked
	r.renamed, r.linked = false, false
	if s := e.engine.State(); s != e2ee.StatePriv && s != e2ee.StateTyped {
		return
	}
	r.said = now
	if renamed {
		e.notice(NoticeChannel, "This channel is called "+mirror.Label(r.name)+" now. Those who can read you are the same people as before.")
	}
	if linked {
		holders, others := e.Audience()
		e.notice(NoticeChannel, fmt.Sprintf("The links of this channel were changed: what you say goes to %s, of whom %d can read it.",
			people(len(holders)+len(others)), len(holders)))
	}
}

func (r *room) saidUntil() time.Time {
	if r.said.IsZero() {
		return time.Time{}
	}
	return r.said.Add(channelPause)
}

// deadline is when something is to be said even if nothing happens.
func (s *suspects) deadline(patience time.Duration) (at time.Time) {
	for _, m := range s.missing {
		if !m.said {
			at = earlier(at, m.since.Add(patience))
		}
	}
	if s.room.renamed || s.room.linked {
		at = earlier(at, s.room.saidUntil())
	}
	return at
}
