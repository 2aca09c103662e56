// Package interop_test runs the program as people run it, between unmodified
// Mumble servers and the unmodified desktop client. Nothing stands for any of
// them; package peers starts them and watches.
package interop_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/interop/peers"
)

// patience bounds each wait for something that must come. It is that of a busy
// machine with two cores; nothing waits for it when all is well.
const patience = 20 * time.Second

// workshop is where the program under test lies, for the life of the test binary.
var workshop string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sotto-i")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	workshop = dir
	return m.Run()
}

// build makes the program under test, once, as it is released: without cgo.
var build = sync.OnceValues(func() (string, error) {
	name := filepath.Join(workshop, "sotto")
	cmd := exec.Command("go", "build", "-trimpath", "-o", name, "../cmd/sotto")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ../cmd/sotto: %w\n%s", err, out)
	}
	return name, nil
})

func program(t testing.TB) string {
	t.Helper()
	name, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// shortDir is a directory whose path leaves room for a socket's name: t.TempDir
// repeats the name of the test in it.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sotto-s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// automatic stands for the secret of who has none and needs none: keys are agreed
// on automatically.
const automatic = "automatic"

// newSecret lets the program make a secret.
func newSecret(t testing.TB) string {
	t.Helper()
	out, err := exec.Command(program(t), "secret").Output()
	if err != nil {
		t.Fatalf("sotto secret: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// secretFile writes a secret where only we can read it.
func secretFile(t testing.TB, secret string) string {
	t.Helper()
	name := filepath.Join(shortDir(t), "secret")
	if err := os.WriteFile(name, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// sotto is one running sotto command. Its methods belong to the test's goroutine.
type sotto struct {
	*peers.Program
	t     testing.TB
	name  string
	stdin io.WriteCloser // of chat
	out   *eventLog
}

// event is one line that --json prints.
type event = events.Event

// eventLog takes the lines that --json prints.
type eventLog struct {
	mu      sync.Mutex
	rest    []byte
	events  []event
	strange []string // lines that are no event
	changed chan struct{}
}

func (l *eventLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, b...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			break
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil || e.Event == "" || e.Time.IsZero() {
			l.strange = append(l.strange, string(line))
		} else {
			l.events = append(l.events, e)
		}
		l.rest = rest
	}
	close(l.changed)
	l.changed = make(chan struct{})
	return len(b), nil
}

// all returns the events so far and a channel that is closed with the next ones.
func (l *eventLog) all() ([]event, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events), l.changed
}

// start starts a sotto command. It ends with the test, which fails if the
// command has panicked or printed what is no event.
func start(t testing.TB, name string, args ...string) *sotto {
	t.Helper()
	s := &sotto{t: t, name: name, out: &eventLog{changed: make(chan struct{})}}
	cmd := exec.Command(program(t), args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SOTTO_") }),
		"GOTRACEBACK=all")
	cmd.WaitDelay = 2 * time.Second
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.stdin = w
	cmd.Stdin = r
	s.Program = peers.StartProgram(t, "sotto "+args[0]+" "+name, cmd, s.out)
	r.Close()
	t.Cleanup(func() {
		w.Close()
		s.Stop()
		s.checkHealth()
	})
	return s
}

// checkHealth finds what no run may leave behind.
func (s *sotto) checkHealth() {
	s.t.Helper()
	if text := s.Stderr(); strings.Contains(text, "panic:") || strings.Contains(text, "goroutine ") || strings.Contains(text, "DATA RACE") {
		s.t.Errorf("%s has panicked:\n%s", s.name, text)
	}
	if len(s.out.strange) > 0 {
		s.t.Errorf("%s printed what is no event: %q", s.name, s.out.strange)
	}
}

// events returns what has been reported so far.
func (s *sotto) events() []event {
	all, _ := s.out.all()
	return all
}

// mark is a place in the events: a later waitFrom looks only at what follows.
func (s *sotto) mark() int { return len(s.events()) }

// wait waits for an event of that kind that match accepts, already there or yet
// to come; a nil match accepts all.
func (s *sotto) wait(kind string, match func(event) bool) event {
	s.t.Helper()
	return s.waitFrom(0, kind, match)
}

// waitFrom is wait for what comes after a mark.
func (s *sotto) waitFrom(mark int, kind string, match func(event) bool) event {
	s.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		all, changed := s.out.all()
		for _, e := range all[mark:] {
			if e.Event == kind && (match == nil || match(e)) {
				return e
			}
		}
		select {
		case <-changed:
		case <-s.Done():
			if again, _ := s.out.all(); len(again) == len(all) {
				s.t.Fatalf("%s has ended (exit code %d) without the event %q: %s", s.name, s.ExitCode(), kind, s.tell(all))
			}
		case <-limit.C:
			s.t.Fatalf("%s: no event %q within %v: %s", s.name, kind, patience, s.tell(all))
		}
	}
}

// tell puts what is known into a message of failure.
func (s *sotto) tell(all []event) string {
	var b strings.Builder
	for _, e := range all {
		line, _ := json.Marshal(e)
		fmt.Fprintf(&b, "\n%s", line)
	}
	return b.String() + "\n" + s.Stderr()
}

// gate waits until what may leave is as wanted: nothing, clear or ciphertext.
func (s *sotto) gate(mark int, leave string) {
	s.t.Helper()
	s.waitFrom(mark, "gate", func(e event) bool { return e.Leave == leave })
}

// leaves is what may leave by the last word of the gate.
func (s *sotto) leaves() string {
	last := "nothing"
	for _, e := range s.events() {
		switch e.Event {
		case "connected", "disconnected":
			last = "nothing" // each connection begins so
		case "gate":
			last = e.Leave
		}
	}
	return last
}

// end waits until the command has ended by itself, and returns its exit code.
func (s *sotto) end(limit time.Duration) int {
	s.t.Helper()
	select {
	case <-s.Done():
	case <-time.After(limit):
		s.t.Fatalf("%s does not end within %v: %s", s.name, limit, s.tell(s.events()))
	}
	return s.ExitCode()
}

// say types a line into chat.
func (s *sotto) say(line string) {
	s.t.Helper()
	if _, err := io.WriteString(s.stdin, line+"\n"); err != nil {
		s.t.Fatalf("%s: %v", s.name, err)
	}
}

// rss is the resident memory of the process in bytes, from the kernel.
func (s *sotto) rss() int {
	s.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.Pid()))
	if err != nil && runtime.GOOS != "linux" {
		s.t.Skipf("resident memory is read from Linux' /proc: %v", err)
	}
	if err != nil {
		s.t.Fatalf("%s has ended: %v", s.name, err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		s.t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// guarded is a running guard.
type guarded struct {
	*sotto
	port uint16
}

// startGuard starts a guard for the server at addr and waits until it listens.
// secret "" runs it with policy off. More flags may follow.
func startGuard(t testing.TB, name, addr, secret string, flags ...string) *guarded {
	t.Helper()
	args := []string{"guard", "--state", shortDir(t), "--json", "--listen", "0"}
	switch secret {
	case "":
		args = append(args, "--policy", "off")
	case automatic:
	default:
		args = append(args, "--secret-file", secretFile(t, secret))
	}
	g := &guarded{sotto: start(t, name, append(append(args, flags...), addr)...)}
	g.port = g.wait("listening", nil).Port
	return g
}

// addr is where a client connects; guard also listens on [::1].
func (g *guarded) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(g.port))) }

// joined waits until a client is logged in through the guard, and returns its
// session.
func (g *guarded) joined(mark int) uint32 {
	g.t.Helper()
	return g.waitFrom(mark, "joined", nil).Session
}

// startClient starts a headless client. With secret "" it is a Mumble client
// without Sotto. flags come first, what follows the URL is in rest.
func startClient(t testing.TB, command, name, addr, secret string, flags []string, rest ...string) *sotto {
	t.Helper()
	args := []string{command, "--state", shortDir(t), "--json"}
	switch secret {
	case "":
		args = append(args, "--plain")
	case automatic:
	default:
		args = append(args, "--secret-file", secretFile(t, secret))
	}
	args = append(args, flags...)
	args = append(args, fmt.Sprintf("mumble://%s@%s/", name, addr))
	return start(t, name, append(args, rest...)...)
}

// waitFor waits until ok, asked again and again. It is for what no event or
// message announces.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	waitWithin(t, patience, what, ok)
}

func waitWithin(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come within %v", what, limit)
		}
	}
}

// holds accepts the event that somebody of that name has shown the secret.
func holds(name string) func(event) bool {
	return func(e event) bool { return e.Name == name && e.Holds != nil && *e.Holds }
}
