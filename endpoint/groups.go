package endpoint

import (
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/carrier"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// direct is what a direct group was asked for: a whisper's target, or a text.
type direct struct {
	target uint32 // 0: a text
	text   waitingText
	asked  []uint32 // of a survey for a text: those asked now
	plugin *mumblepb.PluginDataTransmission
}

// fromGroups carries the outputs that only the engine of groups has.
func (e *Endpoint) fromGroups(now time.Time, o e2ee.Output) {
	switch o := o.(type) {
	case e2ee.Carry:
		e.nextToken++
		e.handshake[e.nextToken] = o.Token
		e.carried[o.Token] = e.nextToken
		e.carrier.Handle(now, carrier.Send{Token: e.nextToken, Object: o.Object, To: o.To, Priority: priority(o.Priority)})
	case e2ee.CancelCarry:
		if token, ok := e.carried[o.Token]; ok {
			e.carrier.Handle(now, carrier.Cancel{Token: token})
		}
	case e2ee.Expect:
		e.carrier.Handle(now, carrier.Solicit{From: o.From, Kind: o.Kind})
	case e2ee.RosterChanged:
		e.rosterChanged(now, o)
	case e2ee.KeysChanged:
		e.retryEarly(now)
	case e2ee.MemoryChanged:
		e.emit(Memory{})
	case e2ee.Asked:
		e.emit(Question{o})
	case e2ee.PluginReceived:
		e.emit(PluginIn{o})
	case e2ee.DirectReady:
		e.directReady(now, o)
	case e2ee.DirectFailed:
		e.directFailed(now, o)
	}
}

// priority is the carrier's word for one of the agreement.
func priority(p audience.Priority) carrier.Priority { return carrier.Priority(p) }

// done forgets a token of the carrier and returns the engine's, 0 if it has none.
func (e *Endpoint) done(token uint64) uint64 {
	engine := e.handshake[token]
	delete(e.handshake, token)
	delete(e.carried, engine)
	return engine
}

// rosterChanged keeps the carrier's list of members, and with it what they may
// send, and tells who waits for somebody.
func (e *Endpoint) rosterChanged(now time.Time, o e2ee.RosterChanged) {
	if e.rosters == nil {
		e.rosters = map[envelope.GroupID][]uint32{}
	}
	if len(o.Members) == 0 {
		delete(e.rosters, o.Group)
		for _, t := range e.targets {
			if t.group == o.Group {
				t.group, t.asked, t.token = envelope.GroupID{}, nil, 0 // asked for again when it is wanted
			}
		}
	} else {
		e.rosters[o.Group] = o.Members
	}
	var all []uint32
	for _, members := range e.rosters {
		all = append(all, members...)
	}
	slices.Sort(all)
	e.carrier.Handle(now, carrier.Members{Sessions: slices.Compact(all)})
	e.emit(Roster{o})
	e.retryInGroups(now)
}

// strangers are those of the sessions who cannot be asked: where a request is a text,
// people without Sotto would read it (Sotto protocol §1.3).
func (e *Endpoint) strangers(sessions []uint32) (out []uint32) {
	if e.carrier.Regime() == carrier.RegimeEcho {
		return nil
	}
	for _, s := range sessions {
		if !e.groups.RunsSotto(s) {
			out = append(out, s)
		}
	}
	return out
}

func (e *Endpoint) openDirect(now time.Time, sessions []uint32, d direct) uint64 {
	e.nextToken++
	token := e.nextToken
	e.asking[token] = d
	e.engine.Handle(now, e2ee.OpenDirect{Token: token, Sessions: sessions})
	return token
}

// withoutSotto words who of the sessions has not shown that it runs Sotto, to us at
// least: where nobody can be asked, people learn it in a channel that they share.
func (e *Endpoint) withoutSotto(sessions []uint32) string {
	var names []string
	for _, s := range sessions {
		if !e.groups.RunsSotto(s) {
			names = append(names, e.mirror.Label(s))
		}
	}
	has, have := " has no Sotto", " have no Sotto"
	if e.carrier.Regime() != carrier.RegimeEcho {
		const meet = " not shown Sotto yet; on this server you first have to meet in a channel"
		has, have = " has"+meet, " have"+meet
	}
	switch {
	case len(names) == 0:
		return "no keys could be agreed on"
	case len(names) == 1:
		return names[0] + has
	case len(names) > 3:
		names = append(names[:3:3], "others")
	}
	return strings.Join(names, ", ") + have
}

// sendInGroup encrypts a text to the group of the own channel, or to a direct
// group of the people it names.
func (e *Endpoint) sendInGroup(now time.Time, t e2ee.Text, to []uint32, own bool, m *mumblepb.TextMessage) error {
	if own {
		if e.engine.Leave() != e2ee.LeaveCiphertext {
			return refused(e.heldReason())
		}
		return e.sealInGroup(now, waitingText{text: t, to: to, until: now.Add(askTime), message: m})
	}
	if len(to) == 0 {
		return refused("nobody is there to read it")
	}
	if len(e.asking)+len(e.waiting) >= maxWaiting {
		return refused("too many messages are waiting")
	}
	if missing := e.strangers(to); len(missing) > 0 {
		if !e.groups.MayWhisperClear(to) {
			return refused(e.withoutSotto(missing))
		}
		e.emit(ClearText{proto.Clone(m).(*mumblepb.TextMessage)})
		return nil
	}
	w := waitingText{text: t, to: to, until: now.Add(askTime), message: proto.Clone(m).(*mumblepb.TextMessage)}
	if len(to) > maxReaders {
		if !e.groups.MayWhisperClear(to) {
			return refused(manyReaders)
		}
		e.notice(NoticeAsking, "Your message waits until everybody whom it is for was asked for Sotto.")
		err := e.surveyText(now, w)
		e.settle(now)
		return err
	}
	e.openDirect(now, to, direct{text: w})
	e.settle(now)
	return nil
}

// sealInGroup sends a text whose group is there, or lets it wait for a change of
// the group that is under way.
func (e *Endpoint) sealInGroup(now time.Time, w waitingText) error {
	o, to, err := e.groups.SealText(now, w.group, w.text)
	switch {
	case errors.Is(err, audience.ErrWait) && now.Before(w.until):
		if len(e.waiting) >= maxWaiting {
			return refused("too many messages are waiting")
		}
		e.waiting = append(e.waiting, w)
		return nil
	case errors.Is(err, e2ee.ErrTextTooLong):
		return refused("it is too long")
	case err != nil:
		return refused("the keys are not ready")
	case len(to) == 0:
		return refused("nobody here can read it")
	}
	e.nextToken++
	e.texts[e.nextToken] = e.whom(to)
	e.carrier.Handle(now, carrier.Send{Token: e.nextToken, Object: o, To: to, Priority: carrier.PriorityText})
	e.settle(now)
	return nil
}

// retryInGroups sends what waited for a change of the group.
func (e *Endpoint) retryInGroups(now time.Time) {
	waiting := e.waiting
	e.waiting = nil
	for _, w := range waiting {
		if err := e.sealInGroup(now, w); err != nil {
			e.emit(TextFailed{err.Error()})
		}
	}
}

func (e *Endpoint) directReady(now time.Time, o e2ee.DirectReady) {
	d, ok := e.asking[o.Token]
	if !ok {
		return
	}
	delete(e.asking, o.Token)
	if d.plugin != nil {
		e.sealPlugin(now, o.Group, d.plugin)
		return
	}
	if d.target != 0 {
		if t := e.targets[d.target]; t != nil && t.token == o.Token && t.wide() {
			e.targetSurveyed(now, d.target, t, nil)
		} else if t != nil && t.token == o.Token {
			t.group, t.tries = o.Group, 0
			e.playOn(now, t)
		}
		return
	}
	if d.asked != nil {
		e.emit(TextFailed{refused(manyReaders).Error()})
		return
	}
	d.text.group, d.text.until = o.Group, now.Add(askTime)
	if err := e.sealInGroup(now, d.text); err != nil {
		e.emit(TextFailed{err.Error()})
	}
}

// directFailed: somebody has no Sotto. A text goes in clear only where that is
// allowed and everybody of them was never protected with the person.
func (e *Endpoint) directFailed(now time.Time, o e2ee.DirectFailed) {
	d, ok := e.asking[o.Token]
	if !ok {
		return
	}
	delete(e.asking, o.Token)
	if o.Unasked {
		e.notAsked(now, o.Token, d)
		return
	}
	switch {
	case d.plugin != nil:
		e.pluginInVain(now, d.plugin, o.Missing)
	case d.target != 0:
		if t := e.targets[d.target]; t != nil && t.token == o.Token && t.wide() {
			e.targetSurveyed(now, d.target, t, o.Missing)
		} else if t != nil && t.token == o.Token {
			e.inVain(t, t.asked, o.Missing)
			t.token, t.asked, t.kept = 0, nil, nil
			t.again = now.Add(min(targetPatience<<min(t.tries, 8), targetPatienceMost))
			t.tries++
		}
	case d.asked != nil:
		err := refused(manyReaders)
		if surveyed(&d.text.vain, d.asked, o.Missing) {
			err = e.surveyText(now, d.text)
		}
		if err != nil {
			e.emit(TextFailed{err.Error()})
		}
	case e.mayClearText(d.text):
		e.emit(ClearText{d.text.message})
	default:
		e.emit(TextFailed{refused(e.withoutSotto(o.Missing)).Error()})
	}
}

// Suspects are the people in groups that we speak to whose key is another than before,
// which the person has not accepted: their sessions, sorted.
func (e *Endpoint) Suspects() []uint32 {
	if e.groups == nil {
		return nil
	}
	return e.groups.Suspects()
}

// MayPlayClear reports whether ordinary Opus of a session may be played, with the
// mark that it is not protected.
func (e *Endpoint) MayPlayClear(session uint32) bool {
	return e.groups != nil && e.groups.MayPlayClear(session)
}

// UserClear, UserProtect and UserWait are answers and wishes of the person.
func (e *Endpoint) UserClear(now time.Time) { e.act(now, e2ee.UserClear{}) }

// UserProtect says that the person wants protection, or goes on in spite of what
// was asked.
func (e *Endpoint) UserProtect(now time.Time) { e.act(now, e2ee.UserProtect{}) }

// UserWait says that the person waits.
func (e *Endpoint) UserWait(now time.Time) { e.act(now, e2ee.Wait{}) }

// Renew has our own keys in all groups renewed: the computer was asleep.
func (e *Endpoint) Renew(now time.Time) { e.act(now, e2ee.Renew{}) }

// Lock closes the group of the own channel to newcomers, or opens it.
func (e *Endpoint) Lock(now time.Time, locked bool) { e.act(now, e2ee.Lock{Locked: locked}) }

func (e *Endpoint) act(now time.Time, in e2ee.Input) {
	if e.groups == nil {
		if _, ok := in.(e2ee.Wait); !ok {
			return
		}
	}
	e.engine.Handle(now, in)
	e.settle(now)
}

// Bounds of frames that came before their keys (Sotto protocol §7.4).
const (
	earlyTime   = 600 * time.Millisecond
	earlySender = 40
	earlyAll    = 400
)

// early keeps packets of epochs that have not begun here.
type early struct {
	packets []earlyPacket
	from    map[uint32]int
	until   time.Time // of the packet that is tried again, which gets no more time
}

type earlyPacket struct {
	packet voice.Packet
	until  time.Time
}

func (b *early) keep(now time.Time, in *voice.Packet) {
	if len(b.packets) >= earlyAll || b.from[in.Session] >= earlySender {
		return
	}
	if b.from == nil {
		b.from = map[uint32]int{}
	}
	b.from[in.Session]++
	p := *in
	p.Data = slices.Clone(in.Data)
	until := b.until
	if until.IsZero() {
		until = now.Add(earlyTime)
	}
	b.packets = append(b.packets, earlyPacket{p, until})
}

func (b *early) expire(now time.Time) {
	for len(b.packets) > 0 && !now.Before(b.packets[0].until) {
		b.from[b.packets[0].packet.Session]--
		b.packets = b.packets[1:]
	}
	if len(b.packets) == 0 {
		*b = early{}
	}
}

func (b *early) deadline() time.Time {
	if len(b.packets) == 0 {
		return time.Time{}
	}
	return b.packets[0].until
}

// retryEarly opens what came too early, in the order in which it came.
func (e *Endpoint) retryEarly(now time.Time) {
	e.early.expire(now)
	waiting := e.early.packets
	e.early = early{}
	for _, w := range waiting {
		var out voice.Packet
		e.early.until = w.until
		if err := e.Unprotect(nil, now, &w.packet, &out); err == nil {
			e.emit(Played{out})
		}
	}
	e.early.until = time.Time{}
}

// LeaveForText is the decision for a text of the own client: clear, ciphertext
// (SendText, which may still refuse), or nothing. With groups one that is not for
// the own channel alone has an audience of its own.
func (e *Endpoint) LeaveForText(m *mumblepb.TextMessage) e2ee.Leave {
	leave := e.engine.Leave()
	_, _, own := e.address(m)
	if e.groups == nil {
		if leave == e2ee.LeaveNothing && len(m.GetSession()) > 0 {
			return e2ee.LeaveCiphertext // between its readers, whoever stands beside us
		}
		return leave
	}
	if own {
		return leave
	}
	// They are asked first (Sotto protocol §11.3); in clear it goes as ClearText.
	return e2ee.LeaveCiphertext
}
