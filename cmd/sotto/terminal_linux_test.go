package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asSotto makes a copy of the test program behave as sotto.
const asSotto = "SOTTO_TEST_RUN"

func init() {
	if os.Getenv(asSotto) != "" {
		os.Exit(run())
	}
}

// noTerminal skips a test that needs a pseudo-terminal; where CI runs there are some.
func noTerminal(t *testing.T, err error) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("no pseudo-terminals: %v", err)
	}
	t.Skipf("no pseudo-terminals: %v", err)
}

// openTerminal opens a pseudo-terminal.
func openTerminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		noTerminal(t, err)
	}
	t.Cleanup(func() { ours.Close() })
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		noTerminal(t, err)
	}
	n, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		noTerminal(t, err)
	}
	theirs, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		noTerminal(t, err)
	}
	t.Cleanup(func() { theirs.Close() })
	return ours, theirs
}

func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return s.Lflag&unix.ECHO != 0
}

// TestSecretPrompt: what is typed is not echoed, and Ctrl-C at the prompt ends
// the program and leaves a terminal that echoes again.
func TestSecretPrompt(t *testing.T) {
	for _, tt := range []struct{ name, typed, want string }{
		{"typed", "correct horse battery\n", "connection refused"},
		{"nothing", "\n", "no secret"},
		{"interrupted", "\x03", "interrupted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := openTerminal(t)
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), self, "--state", filepath.Join(t.TempDir(), "state"), "guard", "--ask-secret", "127.0.0.1:1")
			cmd.Env = append(os.Environ(), asSotto+"=1", "SOTTO_SECRET=the flag counts before this")
			var stderr strings.Builder
			cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, &stderr
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			const patience = 20 * time.Second
			for end := time.Now().Add(patience); echoes(t, theirs); time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					cmd.Process.Kill()
				}
				select {
				case err := <-ended:
					t.Fatalf("the prompt does not come: %v, %s", err, stderr.String())
				default:
				}
			}
			if _, err := ours.WriteString(tt.typed); err != nil {
				t.Fatal(err)
			}
			select {
			case err = <-ended:
			case <-time.After(patience):
				cmd.Process.Kill()
				<-ended
				t.Fatal("it does not end")
			}
			if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != exitError {
				t.Errorf("%v, want exit code %d", err, exitError)
			}
			if out := stderr.String(); !strings.HasPrefix(out, "Secret (not shown): \nsotto: error: ") || !strings.Contains(out, tt.want) || strings.Contains(out, "horse") {
				t.Errorf("%q, want %q", out, tt.want)
			}
			if !echoes(t, theirs) {
				t.Error("the terminal is left without echo")
			}
			// Whatever came back on the terminal, the secret did not.
			if _, err := theirs.WriteString("end"); err != nil {
				t.Fatal(err)
			}
			shown := ""
			for b := make([]byte, 256); !strings.HasSuffix(shown, "end"); {
				n, err := ours.Read(b)
				if err != nil {
					t.Fatal(err)
				}
				shown += string(b[:n])
			}
			if strings.Contains(shown, "horse") {
				t.Errorf("the terminal shows %q", shown)
			}
		})
	}
}
