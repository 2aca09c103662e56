package endpoint

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sotto-voip/sotto/carrier"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

const (
	// askTime is how long a private text waits for its readers to show the secret.
	askTime = 2 * time.Second
	// maxWaiting bounds the texts that wait at the same time.
	maxWaiting = 16
)

// waitingText is a text whose readers have been asked for the secret.
type waitingText struct {
	text  e2ee.Text
	to    []uint32
	until time.Time

	// With groups: where it goes, the zero group for the own channel; and the
	// message as the client sent it.
	group   envelope.GroupID
	message *mumblepb.TextMessage
	vain    []uint32 // of a survey: who was asked in vain, sorted
}

// TextError says why a text is not sent. Its text is for the person.
type TextError struct{ Reason string }

func (e *TextError) Error() string { return e.Reason }

// SendText encrypts a TextMessage of the own client and sends it to everybody
// it names. It returns a *TextError when it is refused at once; what fails
// later comes as TextFailed. Nothing of it leaves in clear in any case.
//
// A text to the own channel goes to those who hear it and hold the secret; the
// others see nothing. A text to people, another channel or a tree is sent only
// if all of them hold the secret, whatever the state of the own channel.
func (e *Endpoint) SendText(now time.Time, m *mumblepb.TextMessage) error {
	if most := e.MaxText(); len(m.GetMessage()) > most {
		return refused(fmt.Sprintf("it has %d bytes, and at most %d can be encrypted on this server", len(m.GetMessage()), most))
	}
	t, to, own := e.address(m)
	rand.Read(t.ID[:]) // fixed now: a text that waits is still one text
	if e.groups != nil {
		return e.sendInGroup(now, t, to, own, m)
	}
	if own {
		return e.sendChannel(now, t, to)
	}
	if len(to) == 0 {
		return refused("nobody is there to read it")
	}
	if e.allHold(to) {
		return e.sendPrivate(now, t, to)
	}
	if len(e.waiting) >= maxWaiting {
		return refused("too many messages are waiting")
	}
	e.waiting = append(e.waiting, waitingText{text: t, to: to, until: now.Add(askTime)})
	e.typed.AskHolders(now, slices.DeleteFunc(slices.Clone(to), e.hears))
	e.settle(now)
	return nil
}

func refused(reason string) error {
	return &TextError{"your message was not sent: " + reason}
}

func (e *Endpoint) sendChannel(now time.Time, t e2ee.Text, to []uint32) error {
	if e.engine.Leave() != e2ee.LeaveCiphertext {
		return refused(e.heldReason())
	}
	to = slices.DeleteFunc(to, func(s uint32) bool { return !e.hears(s) })
	if len(to) == 0 {
		return refused("nobody here holds the secret")
	}
	o, err := e.typed.SealText(now, e.carrier.MaxObject(), t)
	return e.carry(now, o, err, to)
}

func (e *Endpoint) sendPrivate(now time.Time, t e2ee.Text, to []uint32) error {
	o, err := e.typed.SealPrivate(now, e.carrier.MaxObject(), to, t)
	return e.carry(now, o, err, to)
}

// carry hands a sealed text to the carrier, or words why it could not be sealed.
func (e *Endpoint) carry(now time.Time, o envelope.Object, err error, to []uint32) error {
	switch {
	case errors.Is(err, e2ee.ErrHeld):
		return refused("the keys are not ready")
	case errors.Is(err, e2ee.ErrNotHolder):
		return refused(e.missing(to))
	case err != nil:
		return refused(strings.TrimPrefix(err.Error(), "e2ee: "))
	}
	e.nextToken++
	e.texts[e.nextToken] = e.whom(to)
	e.carrier.Handle(now, carrier.Send{Token: e.nextToken, Object: o, To: to, Priority: carrier.PriorityText})
	e.settle(now)
	return nil
}

// MaxText is the longest text, in bytes of HTML, that can be sent now.
func (e *Endpoint) MaxText() int {
	if e.groups != nil {
		return e.groups.MaxText(e.carrier.MaxObject())
	}
	return e.typed.MaxText(e.carrier.MaxObject())
}

// heldReason words the state of the gate for a refused text.
func (e *Endpoint) heldReason() string {
	switch e.engine.State() {
	case e2ee.StateAlone:
		return "nobody else is here"
	case e2ee.StateHeld:
		if e.groups != nil {
			return "the keys are being prepared"
		}
		return "nobody here has shown the secret yet"
	case e2ee.StateAsked:
		return "a question is open"
	}
	return "the keys are not ready"
}

// address resolves whom a text names: sessions without the own, and whether it
// is for the own channel alone.
func (e *Endpoint) address(m *mumblepb.TextMessage) (t e2ee.Text, to []uint32, own bool) {
	t = e2ee.Text{Scope: e2ee.ScopePrivate, Channel: e2ee.NoChannel, HTML: m.GetMessage()}
	me, _ := e.mirror.Own()
	for _, s := range m.GetSession() {
		if _, ok := e.mirror.User(s); ok {
			to = append(to, s)
		}
	}
	for _, c := range m.GetChannelId() {
		t.Scope, t.Channel = e2ee.ScopeChannel, c
		to = append(to, e.mirror.Within([]uint32{c})...)
	}
	for _, c := range m.GetTreeId() {
		t.Scope, t.Channel = e2ee.ScopeTree, c
		to = append(to, e.mirror.Within(e.mirror.Tree(c))...)
	}
	own = len(m.GetSession()) == 0 && len(m.GetTreeId()) == 0 &&
		len(m.GetChannelId()) == 1 && m.GetChannelId()[0] == me.Channel
	slices.Sort(to)
	to = slices.Compact(to)
	return t, slices.DeleteFunc(to, func(s uint32) bool { return s == me.Session }), own
}

func (e *Endpoint) whom(to []uint32) string {
	if len(to) == 1 {
		return e.mirror.Label(to[0])
	}
	return fmt.Sprintf("%d people", len(to))
}

// retryTexts sends what waited for a holder, and gives up what waited too long.
func (e *Endpoint) retryTexts(now time.Time) {
	if e.groups != nil {
		e.retryInGroups(now)
		return
	}
	waiting := e.waiting
	e.waiting = nil
	for _, w := range waiting {
		var err error
		switch {
		case e.allHold(w.to):
			err = e.sendPrivate(now, w.text, w.to)
		case !now.Before(w.until):
			err = refused(e.missing(w.to))
		default:
			e.waiting = append(e.waiting, w)
		}
		if err != nil {
			e.emit(TextFailed{err.Error()})
		}
	}
}
