package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/headless"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// bad is what a server, a name or an argument may hold.
const bad = "\x1b[2J\x1b]0;x\x07\u202e\r\nsotto: error: forged\u2028"

// TestReport: each error is one line, with a hint where something can be done,
// and the exit code that its kind has.
func TestReport(t *testing.T) {
	pin := &keystore.PinError{Address: "h:1", Old: [32]byte{1}, New: [32]byte{2}}
	reject := func(r mumblepb.Reject_RejectType) error { return &client.RejectError{Type: r, Reason: bad} }
	for _, tt := range []struct {
		name string
		err  error
		code int
		hint string // a part of it; "": none
	}{
		{"plain", errors.New("x"), 1, ""},
		{"several lines", errors.New(bad), 1, ""},
		{"usage", usageError{errors.New("x")}, 2, "sotto help"},
		{"usage, with a better hint", usageError{hinted{errors.New("x"), "do y"}}, 2, "do y"},
		{"hint of many lines", hinted{errors.New("x"), "do\n" + bad}, 1, "do"},
		{"wrapped hint", fmt.Errorf("h: %w", hinted{io.EOF, "do y"}), 1, "do y"},
		{"not private", notPrivate(headless.ErrNotReady), 3, "same secret"},
		{"pin changed", fmt.Errorf("h: %w", pin), 4, "--accept-certificate"},
		{"joined", errors.Join(pin, errors.New("second\nline")), 4, "--accept-certificate"},
		{"wrong password", reject(mumblepb.Reject_WrongUserPW), 1, "import-mumble"},
		{"server password", reject(mumblepb.Reject_WrongServerPW), 1, "mumble://NAME:PASS@HOST"},
		{"name in use", reject(mumblepb.Reject_UsernameInUse), 1, "another name"},
		{"bad name", reject(mumblepb.Reject_InvalidUsername), 1, "another name"},
		{"no certificate", reject(mumblepb.Reject_NoCertificate), 1, "import-mumble"},
		{"full", reject(mumblepb.Reject_ServerFull), 1, ""},
		{"no such host", &net.OpError{Op: "dial", Err: &net.DNSError{Name: "nosuch", IsNotFound: true}}, 1, "spelling"},
		{"refused", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, 1, "64738"},
		{"port in use", &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}, 1, "--listen"},
		{"not allowed", &os.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, 1, "who may read"},
		{"no channel", fmt.Errorf("h: %w", client.ErrNoChannel), 1, "case-sensitive"},
		{"timeout", &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, 1, "reachable"},
		{"banned for a while", fmt.Errorf("h: %w: %w", client.ErrHungUp, syscall.ECONNRESET), 1, "banned this address for a while"},
		{"reset later", fmt.Errorf("h: %w", syscall.ECONNRESET), 1, ""},
		{"the form of a URL", errors.New(`"x" is not of the form mumble://NAME[:PASS]@HOST`), 1, ""},
		{"a URL in it", errors.New(`bad "mumble://bob:hunter2@host/" and MUMBLE://a:hunter2@b`), 1, ""},
	} {
		var out bytes.Buffer
		report(&out, tt.err)
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		want := 1
		if tt.hint != "" {
			want = 2
		}
		if len(lines) != want || !strings.HasPrefix(lines[0], "sotto: error: ") {
			t.Errorf("%s: %q", tt.name, out.String())
			continue
		}
		if tt.hint != "" && (!strings.HasPrefix(lines[1], "sotto: hint: ") || !strings.Contains(lines[1], tt.hint)) {
			t.Errorf("%s: %q, want a hint with %q", tt.name, lines[1], tt.hint)
		}
		if strings.ContainsAny(out.String(), "\x1b\x07\r\u202e\u2028") || strings.Contains(out.String(), "hunter2") {
			t.Errorf("%s: %q", tt.name, out.String())
		}
		if strings.Contains(tt.err.Error(), "[:PASS]") != strings.Contains(out.String(), "[:PASS]") {
			t.Errorf("%s: %q lacks the form", tt.name, out.String())
		}
		if got := exitCode(tt.err); got != tt.code {
			t.Errorf("%s: exit code %d, want %d", tt.name, got, tt.code)
		}
	}
}

// TestSentences: what a person reads names no package.
func TestSentences(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{notPrivate(headless.ErrNotReady), "the microphone is held"},
		{hinted{about("ogg", fmt.Errorf("packet 3: %w", headless.ErrEmpty)), "x"}, "ogg: packet 3: the file holds no audio"},
		{coded{about("h:1", client.ErrClosed), 1}, "h:1: connection closed"},
		{usageError{fmt.Errorf("--accept-client: %w", keystore.ErrFingerprint)}, "--accept-client: not the accepted fingerprint"},
	} {
		var out bytes.Buffer
		report(&out, tt.err)
		if line, _, _ := strings.Cut(out.String(), "\n"); line != "sotto: error: "+tt.want {
			t.Errorf("%q, want %q", line, tt.want)
		}
	}
}

// TestGuardLine: the command of a hint is what a shell takes apart as it was meant.
func TestGuardLine(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell")
	}
	a := &app{state: "my state"}
	f := guardFlags{listen: "5000", policy: "off", secret: secretFlags{file: "it's $(mine)", mode: secretGroups}, with: []string{"a", "b;c"}, json: true, verbose: true,
		proxy: proxyFlag{"socks5://me:hunter2@[::1]:9050"}, open: openFlags{open: true, name: "al ice", channel: "a/b"}, apart: true}
	sum := keystore.Fingerprint([32]byte{0xAB})
	line := a.guardLine(f, "accept-client", sum, "[::1]:5")
	out, err := exec.Command(sh, "-c", "sotto() { printf '%s\n' \"$@\"; }; "+line).Output()
	want := []string{"--state", "my state", "guard", "--listen", "5000", "--policy", "off", "--secret-file", "it's $(mine)", "--secret-mode", "groups",
		"--with", "a", "--with", "b;c", "--proxy", "socks5://me@[::1]:9050", "--open", "--name", "al ice", "--channel", "a/b", "--no-mumble", "--json", "--verbose", "--accept-client", strings.ReplaceAll(sum, " ", ""), "[::1]:5"}
	if got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"); err != nil || !slices.Equal(got, want) {
		t.Errorf("%s\nis %q, %v, want %q", line, got, err, want)
	}
	for _, tt := range []struct {
		secret secretFlags
		want   string
	}{
		{secretFlags{mode: secretAlone}, "sotto guard --accept-client ABCD h"},
		{secretFlags{mode: secretAlone, ask: true}, "sotto guard --ask-secret --accept-client ABCD h"},
		{secretFlags{mode: secretGroups, ask: true}, "sotto guard --ask-secret --secret-mode groups --accept-client ABCD h"},
	} {
		if got := new(app).guardLine(guardFlags{policy: defaultPolicy, secret: tt.secret}, "accept-client", "AB CD", "h"); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// TestNoFlagTakesASecret: arguments are visible to everybody on the machine. The
// flags about secrets name a file, are yes or no, or are one of two words.
func TestNoFlagTakesASecret(t *testing.T) {
	suspicious := regexp.MustCompile(`(?i)secret|pass|phrase|token|psk|\bkey\b`)
	about, flags := map[string]int{}, 0
	for _, c := range all(newRoot()) {
		c.InitDefaultHelpFlag()
		visit := func(f *pflag.Flag) {
			flags++
			switch f.Name {
			case "secret-file": // names where it lies
				about[f.Name]++
				return
			case "ask-secret":
				if f.Value.Type() == "bool" {
					about[f.Name]++
					return
				}
			case "secret-mode":
				mode := secretFlags{file: "missing", mode: "correct horse battery"}
				if _, _, err := mode.read(t.Context(), e2ee.PolicyPrefer); exitCode(err) == exitUsage {
					about[f.Name]++ // nothing but the words that it knows
					return
				}
			}
			if suspicious.MatchString(f.Name) {
				t.Errorf("%s takes --%s", c.CommandPath(), f.Name)
			}
		}
		c.LocalFlags().VisitAll(visit)
		for _, word := range strings.Fields(c.Use)[1:] {
			// The password of a Mumble account is part of Mumble's own URL.
			if word = strings.ReplaceAll(word, "[:PASS]", ""); suspicious.MatchString(word) {
				t.Errorf("%s takes %s", c.CommandPath(), word)
			}
		}
	}
	if want := map[string]int{"secret-file": 4, "ask-secret": 4, "secret-mode": 4}; !maps.Equal(about, want) || flags < 20 {
		t.Errorf("%d flags, of them %v, want %v; the test has lost its way", flags, about, want)
	}
}

// TestCommandsExplainThemselves: every command and flag has its words, and every
// command checks its arguments.
func TestCommandsExplainThemselves(t *testing.T) {
	for _, c := range all(newRoot()) {
		if c.Short == "" || !c.Runnable() || c.Args == nil {
			t.Errorf("%s: %q, runnable %v", c.CommandPath(), c.Short, c.Runnable())
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s says nothing", c.CommandPath(), f.Name)
			}
		})
	}
}

// TestHelpPrints runs help of every command without a process.
func TestHelpPrints(t *testing.T) {
	for _, c := range all(newRoot()) {
		path := strings.Fields(c.CommandPath())[1:]
		root := newRoot()
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetErr(&out)
		root.SetArgs(append(path, "--help"))
		if err := root.ExecuteContext(t.Context()); err != nil || !strings.Contains(out.String(), "Usage:") {
			t.Errorf("%v: %v\n%s", path, err, out.String())
		}
	}
}

// TestReporter: a person gets a line that cannot act on the terminal, a program
// gets one JSON object.
func TestReporter(t *testing.T) {
	for _, ev := range []client.Event{
		client.Connected{Session: 7, Server: client.Version},
		client.Disconnected{Err: errors.New(bad), Retry: time.Second},
		client.GateChanged{GateChanged: e2ee.GateChanged{From: e2ee.StateFind, To: e2ee.StateTyped, Leave: e2ee.LeaveCiphertext, Reason: bad}},
		client.Holder{Holder: e2ee.Holder{Session: 7, Name: bad, Holds: true}},
		client.OtherSecret{OtherSecret: e2ee.OtherSecret{Session: 7, Name: bad}},
		client.TextMessage{From: 7, Name: bad, HTML: bad},
		client.Denied{Type: mumblepb.PermissionDenied_Text, Reason: bad},
		client.Denied{Type: mumblepb.PermissionDenied_Permission},
		client.Notice{Notice: e2ee.Notice{Code: "x", Text: bad}},
	} {
		var out, human bytes.Buffer
		newReporter(true, &out, &human).client(ev)
		var e events.Event
		if err := json.Unmarshal(out.Bytes(), &e); err != nil || e.Event == "" || e.Time.IsZero() || strings.Count(out.String(), "\n") != 1 || human.Len() != 0 {
			t.Errorf("%T: %q, %v; for a person %q", ev, out.String(), err, human.String())
		}
		out.Reset()
		newReporter(false, &out, &human).client(ev)
		if out.Len() != 0 || strings.Count(human.String(), "\n") > 1 || strings.ContainsAny(human.String(), "\x1b\x07\r\u202e") {
			t.Errorf("%T: %q, for a program %q", ev, human.String(), out.String())
		}
	}
	// What is not worth a line is none, and no event either.
	var out, human bytes.Buffer
	newReporter(true, &out, &human).client(client.Voice{Name: "bob"})
	if out.Len()+human.Len() != 0 {
		t.Errorf("voice: %q, %q", out.String(), human.String())
	}
}

// TestStateLine: where things stand is for a person and no result, so it goes
// beside what the command prints; a program has the gate event.
func TestStateLine(t *testing.T) {
	gate := func(to e2ee.State) client.Event {
		return client.GateChanged{GateChanged: e2ee.GateChanged{To: to, Leave: e2ee.LeaveCiphertext, Reason: "bob holds it"}, Line: "Secret 5f3a90c1." + bad}
	}
	for state, want := range map[e2ee.State]bool{
		e2ee.StateTyped: true, e2ee.StateAlone: true, e2ee.StateFind: false, e2ee.StateHeld: false, e2ee.StateAsked: false,
	} {
		for _, asJSON := range []bool{false, true} {
			var out, human, aside bytes.Buffer
			r := newReporter(asJSON, &out, &human)
			r.state = &aside
			r.client(gate(state))
			if got := strings.HasPrefix(aside.String(), "Secret 5f3a90c1."); got != (want && !asJSON) || strings.Count(aside.String(), "\n") > 1 {
				t.Errorf("%v, JSON %v: %q", state, asJSON, aside.String())
			}
			if human.Len() != 0 || asJSON == (out.Len() == 0) || strings.Contains(out.String(), "5f3a90c1") {
				t.Errorf("%v, JSON %v: %q and %q", state, asJSON, human.String(), out.String())
			}
		}
	}
}

// TestDescribe: the lines of a running guard, with hostile names.
func TestDescribe(t *testing.T) {
	yes, no := true, false
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.Local)
	for _, tt := range []struct {
		e    events.Event
		want string
	}{
		{events.Event{Event: "connected", Server: "1.5.735"}, "12:00:00  your Mumble has come; connected to the server (1.5.735)"},
		{events.Event{Event: "gate", State: "Typed", Leave: "ciphertext", Reason: "bob holds it"}, "12:00:00  Typed: leaves as ciphertext. bob holds it"},
		{events.Event{Event: "holder", Name: "bob" + bad, Holds: &yes}, "12:00:00  “bob[2J]0;xsotto: error: forged” holds the secret"},
		{events.Event{Event: "roster", Members: []string{"bob", "carol holds the secret"}}, "12:00:00  in the encrypted group: bob, “carol holds the secret”"},
		{events.Event{Event: "holder", Name: "bob", Holds: &no}, "12:00:00  bob is gone"},
		{events.Event{Event: "other_secret", Name: "eve"}, "12:00:00  eve uses another secret"},
		{events.Event{Event: "notice", Text: "one sentence"}, "12:00:00  one sentence"},
		{events.Event{Event: "rejected", Reason: "full" + bad}, "12:00:00  rejected: full[2J]0;x sotto: error: forged\u2028"},
		{events.Event{Event: "server_pinned", Fingerprint: "AB"}, "12:00:00  the server's certificate is remembered from now on: AB"},
		{events.Event{Event: "server_pinned", Fingerprint: "AB", Reason: "it expired"}, "12:00:00  the server's certificate is remembered from now on: AB. Compare it with the server's owner: it expired"},
		{events.Event{Event: "client_pinned", Fingerprint: "AB"}, "12:00:00  this guard now belongs to the Mumble with certificate AB"},
		{events.Event{Event: "client_undecided", Text: "mumble://[::1]:64738/?version=1.2.0"}, "12:00:00  a Mumble asked about the certificate of this guard and has not come back. If you pressed Enter, that was No: connect again to mumble://[::1]:64738/?version=1.2.0, compare, and press Yes"},
		{events.Event{Event: "client_unknown", Fingerprint: "AB CD"}, "12:00:00  another Mumble came, with certificate AB CD; if it is yours, start again with: sotto guard --accept-client ABCD voice.example.org"},
		{events.Event{Event: "upstream_failed", Reason: "it is away"}, "12:00:00  upstream failed: it is away"},
		{events.Event{Event: "upstream_failed", Code: "identity_changed", Fingerprint: "AB CD", Reason: "another certificate"},
			"12:00:00  another certificate. Ask the server's owner over another way than this server whether it was renewed; then start again with: sotto guard --accept-certificate ABCD voice.example.org"},
		{events.Event{Event: "text", Name: "bob"}, ""},
		{events.Event{Event: "listening"}, ""},
	} {
		tt.e.Time = at
		var out, human bytes.Buffer
		newReporter(false, &out, &human).event(tt.e, new(app).describe(tt.e, guardFlags{policy: defaultPolicy}, "voice.example.org"))
		want := tt.want
		if want != "" {
			want += "\n"
		}
		if human.String() != want || out.Len() != 0 {
			t.Errorf("%s: %q, want %q", tt.e.Event, human.String(), want)
		}
	}
}
