package endpoint

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// maxReaders is how many people a direct group takes besides us (Sotto protocol §3).
const (
	maxReaders  = audience.MaxDirectPeople
	manyReaders = "more people would get it than Sotto encrypts one message for, which are 32"
)

// wide reports whether no direct group can be made of those whom a target means:
// they are too many, or a group of the server's, whose members nobody but it knows.
// Such a shout only ever leaves in clear, and never before everybody whom it could
// reach was asked in vain (Sotto protocol §11.3).
func (t *target) wide() bool { return t.refused != "" || len(t.sessions) > maxReaders }

// ready reports whether there is a direct group of exactly those whom a target means.
func (t *target) ready() bool {
	return !t.group.IsZero() && !t.wide() && slices.Equal(t.asked, t.sessions)
}

// people are those whom a target could reach.
func (t *target) people() []uint32 {
	if t.refused != "" {
		return t.might
	}
	return t.sessions
}

// survey asks the people of a wide target whether they have Sotto, some at a time.
func (e *Endpoint) survey(now time.Time, id uint32, t *target) {
	people := t.people()
	if t.token == 0 && !now.Before(t.again) && !slices.Equal(t.failed, people) && len(people) > 0 {
		switch ask := e.unasked(people, t.vain); {
		case len(ask) == 0:
			e.inVain(t, people, e.strangers(people))
		default:
			t.asked = ask
			t.token = e.openDirect(now, ask, direct{target: id})
		}
	}
	if t.refused != "" {
		e.shoutClear(id, t)
	}
}

// unasked are the next of people to ask, sorted; none where a question would be a text
// that they read.
func (e *Endpoint) unasked(people, vain []uint32) []uint32 {
	if len(e.strangers(people)) > 0 {
		return nil
	}
	rest := slices.DeleteFunc(slices.Clone(people), func(s uint32) bool { return has(vain, s) })
	return rest[:min(len(rest), maxReaders)]
}

// surveyed takes what became of a question: whom was asked in vain. It reports whether
// that is everybody who was asked.
func surveyed(vain *[]uint32, asked, missing []uint32) bool {
	all := slices.Concat(*vain, missing)
	slices.Sort(all)
	*vain = slices.Compact(all)
	return !slices.ContainsFunc(asked, func(s uint32) bool { return !has(*vain, s) })
}

// targetSurveyed goes on with a survey; somebody who answered ends it for a while.
func (e *Endpoint) targetSurveyed(now time.Time, id uint32, t *target, missing []uint32) {
	if !surveyed(&t.vain, t.asked, missing) {
		t.again = now.Add(targetPatienceMost)
	}
	t.token, t.asked = 0, nil
	e.survey(now, id, t)
}

// notAsked: not everybody whom something is for could be asked, as too much is under way
// or somebody left. So nobody was asked in vain, and nothing leaves in clear for it.
func (e *Endpoint) notAsked(now time.Time, token uint64, d direct) {
	const why = "not everybody whom it is for could be asked for Sotto; try again"
	switch t := e.targets[d.target]; {
	case d.plugin != nil:
		e.pluginLost(now, why)
	case d.target == 0:
		e.emit(TextFailed{refused(why).Error()})
	case t != nil && t.token == token:
		t.token, t.asked, t.kept = 0, nil, nil
		t.again = now.Add(targetPatience)
	}
}

// shoutClear keeps the server's copy of a shout to a group of its own to where that
// may leave in clear, as the client sends it.
func (e *Endpoint) shoutClear(id uint32, t *target) {
	may := slices.Equal(t.failed, t.might) && e.groups.MayWhisperClear(t.might)
	switch {
	case may && !t.shouting:
		e.emit(Send{t.spec})
	case !may && t.shouting:
		e.emit(Send{&mumblepb.VoiceTarget{Id: proto.Uint32(id)}})
	}
	t.shouting = may
}

// surveyText asks the readers of a text for more than a direct group takes whether
// they have Sotto. If nobody has, it leaves in clear where that is allowed.
func (e *Endpoint) surveyText(now time.Time, w waitingText) error {
	ask := e.unasked(w.to, w.vain)
	switch {
	case len(ask) > 0:
		e.openDirect(now, ask, direct{text: w, asked: ask})
	case e.mayClearText(w):
		e.emit(ClearText{w.message})
	default:
		return refused(manyReaders)
	}
	return nil
}

// mayClearText reports whether a text may leave in clear after its readers were asked
// in vain: the server would give it to who reads there now, which nobody may do who was
// not asked.
func (e *Endpoint) mayClearText(w waitingText) bool {
	_, now, _ := e.address(w.message)
	for _, s := range now {
		if !slices.Contains(w.to, s) {
			return false
		}
	}
	return e.groups.MayWhisperClear(now)
}

// forget drops what was found out about a session that is gone: its number may be
// somebody else's soon.
func (e *Endpoint) forget(session uint32) {
	is := func(s uint32) bool { return s == session }
	for _, t := range e.targets {
		t.vain = slices.DeleteFunc(t.vain, is)
		if has(t.failed, session) {
			t.failed = nil
		}
		if has(t.asked, session) && t.token != 0 {
			t.token, t.asked, t.kept = 0, nil, nil
		}
	}
	for token, d := range e.asking {
		d.text.vain = slices.DeleteFunc(slices.Clone(d.text.vain), is)
		d.text.to = slices.DeleteFunc(slices.Clone(d.text.to), is)
		if d.plugin != nil && has(d.plugin.GetReceiverSessions(), session) {
			delete(e.asking, token)
			continue
		}
		e.asking[token] = d
	}
	if has(e.plugins.failed, session) {
		e.plugins.failed = nil
	}
}
