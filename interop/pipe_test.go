package interop_test

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/sotto-voip/sotto/interop/peers"
)

// TestPipe: what is piped into chat and ends at once gets through, or is refused
// in words with an exit code that says so; as a person at a shell sees it.
func TestPipe(t *testing.T) {
	t.Parallel()
	server := peers.Start(t, peers.Murmur134, peers.ServerOptions{})
	secret := newSecret(t)
	file := secretFile(t, secret)
	bob := startClient(t, "chat", "bob", server.Addr(), secret, nil)
	bob.wait("connected", nil)

	// Of more lines than the server allows in a second none is lost.
	const lines = 8
	var page strings.Builder
	for i := range lines {
		fmt.Fprintf(&page, "line %d\n", i)
	}
	stdout, stderr, code := pipe(t, page.String()+strings.Repeat("x", 70_000)+"\nlast\n",
		"chat", "--state", shortDir(t), "--secret-file", file, "mumble://carl@"+server.Addr()+"/")
	for i := range lines {
		bob.text(0, "carl", fmt.Sprintf("line %d", i))
	}
	bob.text(0, "carl", "last")
	if code != 1 || !strings.Contains(stdout, "* your message was not sent: the line is longer than 64 KiB\n") {
		t.Errorf("a line that is too long: exit code %d, %q, %q", code, stdout, stderr)
	}
	if !regexp.MustCompile(`(?m)^Encrypted, not checked: .*bob.* Secret [0-9a-f]{8}\.$`).MatchString(stderr) || strings.Contains(stdout, "Secret") {
		t.Errorf("where things stand: %q, %q", stdout, stderr)
	}

	// Nobody holds this other secret.
	stdout, stderr, code = pipe(t, "hello\n", "chat", "--state", shortDir(t), "--secret-file", secretFile(t, newSecret(t)), "mumble://dave@"+server.Addr()+"/")
	if code != 3 || !strings.Contains(stdout, "* your message was not sent: nobody here can read it encrypted yet\n") ||
		!strings.HasPrefix(stderr[strings.LastIndex(stderr, "sotto: error"):], "sotto: error: not everything that was typed was sent") {
		t.Errorf("held: exit code %d, %q, %q", code, stdout, stderr)
	}

	// Through a guard that has nobody to talk to, as a client that knows nothing of it.
	g := startGuard(t, "guard", server.Addr(), newSecret(t))
	stdout, stderr, code = pipe(t, "hello\n", "chat", "--plain", "--state", shortDir(t), "mumble://alice@"+g.addr()+"/")
	if code != 1 || !strings.Contains(stdout, "your message was not sent") {
		t.Errorf("refused by guard: exit code %d, %q, %q", code, stdout, stderr)
	}
}

// pipe runs the program with an input that ends, and returns what a person sees.
func pipe(t *testing.T, in string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	cmd := exec.CommandContext(t.Context(), program(t), args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", args, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}
