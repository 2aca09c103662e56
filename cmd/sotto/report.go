package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/headless"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// report writes an error for a person: one line, and a hint where there is one.
func report(w io.Writer, err error) {
	fmt.Fprintln(w, "sotto: error:", credentials.ReplaceAllString(oneLine(sentence(err)), "$1:...@"))
	if hint := hintFor(err); hint != "" {
		fmt.Fprintln(w, "sotto: hint:", oneLine(hint))
	}
}

// labelled says what an error is about, in words of the person: a file, a server.
type labelled struct {
	what string
	err  error
}

func (l labelled) Error() string { return l.what + ": " + l.err.Error() }
func (l labelled) Unwrap() error { return l.err }

// about puts what an error is about before it.
func about(what string, err error) error { return labelled{what, err} }

// sentence is an error without the names of packages, but with the words of a
// person, who may have a file of such a name.
func sentence(err error) string {
	var l labelled
	if errors.As(err, &l) && l.Error() == err.Error() {
		return l.what + ": " + headless.Sentence(l.err.Error())
	}
	return headless.Sentence(err.Error())
}

// credentials is the password in a URL, wherever in an error somebody quotes it;
// not that in mumble://NAME[:PASS]@HOST.
var credentials = regexp.MustCompile(`(?i)(mumble://[^:@\s"\[]*):[^\s"]*@`)

// oneLine keeps what others can put into a message (a server's reason, a name,
// an argument) from acting on the terminal.
func oneLine(s string) string { return strings.Join(strings.Fields(headless.Printable(s)), " ") }

// hintFor finds what can be done about an error: what the error itself says,
// else what its kind suggests.
func hintFor(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		return h.Hint()
	}
	var reject *client.RejectError
	var dns *net.DNSError
	var proxy *client.ProxyError
	switch {
	case errors.As(err, &proxy):
		return "is the proxy running, and does it let you through? Nothing went around it"
	case errors.Is(err, client.ErrOnion):
		return "with Tor on this computer: --proxy socks5://127.0.0.1:9050"
	case errors.As(err, &reject):
		return rejectHint(reject.Type)
	case errors.As(err, &dns):
		return "check the spelling of the server's name"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "is the server running, and is this its port? Mumble's is 64738"
	case errors.Is(err, syscall.EADDRINUSE):
		return "another program has this port; choose one with --listen PORT, or stop the other"
	case errors.Is(err, os.ErrPermission):
		return "check who owns the file and who may read it"
	case errors.Is(err, client.ErrHungUp):
		return "the server may have banned this address for a while because of many connection attempts; wait some minutes and try once more"
	case errors.Is(err, client.ErrNoChannel):
		return "channel paths are case-sensitive and start below the root: Lobby/Red team"
	case errors.Is(err, headless.ErrNotReady), errors.Is(err, headless.ErrHeldBack):
		return "nobody there could be reached encrypted; start the other side (with the same secret, if you use one), or use --plain to talk unencrypted"
	case isTimeout(err):
		return "is the server reachable from here?"
	}
	return ""
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

func rejectHint(t mumblepb.Reject_RejectType) string {
	switch t {
	case mumblepb.Reject_WrongUserPW:
		return "this name is registered; show its certificate: sotto identity import-mumble FILE.p12, or give its password: mumble://NAME:PASS@HOST"
	case mumblepb.Reject_WrongServerPW:
		return "the server wants a password: mumble://NAME:PASS@HOST"
	case mumblepb.Reject_UsernameInUse, mumblepb.Reject_InvalidUsername:
		return "choose another name"
	case mumblepb.Reject_NoCertificate:
		return "import your Mumble certificate: sotto identity import-mumble FILE.p12"
	}
	return ""
}

// reporter hands events to a person or, with --json, to a program.
type reporter struct {
	mu    sync.Mutex
	json  io.Writer // nil: for a person
	human io.Writer
	state io.Writer                 // for the line of the state; nil: human
	words func(client.Event) string // headless.Describe or DescribePlain
	feed  *events.Feed
	adorn func(events.Event, string) (events.Event, string) // adds to an event and its line; nil: nothing
}

func newReporter(asJSON bool, out, human io.Writer) *reporter {
	r := &reporter{human: human, words: headless.Describe}
	if asJSON {
		r.json = out
	}
	return r
}

// event reports one event; the line is its wording for a person, "" for none.
func (r *reporter) event(e events.Event, line string) {
	if e.Time.IsZero() {
		e.Time = time.Now().UTC()
	}
	if r.adorn != nil {
		e, line = r.adorn(e, line)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.feed != nil {
		r.feed.Publish(e)
	}
	if r.json != nil {
		if b, err := e.Line(); err == nil {
			r.json.Write(b)
		}
	} else if line != "" {
		fmt.Fprintln(r.human, headless.Printable(line)) // names and reasons are the server's
	}
}

// client reports an event of a headless client.
func (r *reporter) client(ev client.Event) {
	line := r.words(ev)
	switch ev := ev.(type) {
	case client.Connected:
		r.event(events.Event{Event: "connected", Session: ev.Session, Server: ev.Server.String()}, line)
	case client.Disconnected:
		r.event(events.Event{Event: "disconnected", Reason: headless.Sentence(ev.Err.Error()), RetryMS: ev.Retry.Milliseconds()}, line)
	case client.GateChanged:
		r.event(events.Event{Event: "gate", State: ev.To.String(), Was: ev.From.String(), Leave: ev.Leave.String(), Reason: ev.Reason}, "")
		r.stateLine(ev)
	case client.Holder:
		r.event(events.Event{Event: "holder", Session: ev.Session, Name: ev.Name, Holds: &ev.Holds}, line)
	case client.OtherSecret:
		r.event(events.Event{Event: "other_secret", Session: ev.Session, Name: ev.Name}, line)
	case client.TextMessage:
		r.event(events.Event{Event: "text", Session: ev.From, Name: ev.Name, Text: ev.HTML, Encrypted: &ev.Encrypted}, line)
	case client.Denied:
		r.event(events.Event{Event: "denied", Reason: ev.Reason, Code: denyCode(ev)}, line)
	case client.Question:
		r.event(events.Event{Event: "question", Code: ev.Question.String(), Text: ev.Text}, line)
	case client.Roster:
		suite, quantum := ev.Suite, &ev.PostQuantum
		if len(ev.Members) == 0 {
			suite, quantum = "", nil
		}
		e := events.Event{Event: "roster", Epoch: ev.Epoch, Suite: suite, PostQuantum: quantum, Members: ev.Members}
		if ev.Direct {
			e = events.Event{Event: "direct", Epoch: ev.Epoch, Suite: suite, PostQuantum: quantum, Members: ev.Members}
		} else if !ev.Home {
			return // of a channel that we listen to
		}
		r.event(e, line)
	case client.Notice:
		r.event(events.Event{Event: "notice", Code: ev.Code, Text: ev.Text}, line)
	}
}

// stateLine tells a person where things stand, with the eight digits by which
// people compare their secrets, when guard says so in Mumble's window. It is no
// result of the command.
func (r *reporter) stateLine(ev client.GateChanged) {
	if r.json != nil {
		return
	}
	switch ev.To {
	case e2ee.StateTyped, e2ee.StateAlone, e2ee.StatePriv, e2ee.StateClear:
	case e2ee.StateFind, e2ee.StateHeld, e2ee.StateAsked, e2ee.StateOff:
		return // they come with a sentence of their own, or are short
	}
	w := r.state
	if w == nil {
		w = r.human
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintln(w, headless.Printable(ev.Line))
}

func denyCode(d client.Denied) string {
	if d.Reason != "" && d.Type == mumblepb.PermissionDenied_Text {
		return ""
	}
	return d.Type.String()
}

// notPrivate is the error of a command that would have had to speak in clear.
func notPrivate(err error) error { return coded{err, exitNotPrivate} }
