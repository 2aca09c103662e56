package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestImportQuestion: on a terminal guard asks whether to use the certificate of
// the stock client. There is no server, so that it ends after the answer.
func TestImportQuestion(t *testing.T) {
	const question = `Your Mumble: found 1.5 or later, certificate "alice" - use it here? [Y/n] `
	p12, err := os.ReadFile(filepath.Join("..", "..", "stockclient", "testdata", "alice.p12"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, typed string
		asked       int
		imported    bool
		again       int    // how often it asks at the next start
		says        string // before it fails
	}{
		{"Enter", "\n", 1, true, 0, "refused"},
		{"yes", "YES\n", 1, true, 0, "refused"},
		{"no", "n\n", 1, false, 0, "will not work through guard"},
		{"something else, then yes", "what\ny\n", 2, true, 0, "refused"},
		{"the end of the input", "\x04", 1, false, 1, "refused"},
		{"interrupted", "\x03", 1, false, 1, "interrupted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home := t.TempDir()
			settings := filepath.Join(home, ".config", "Mumble", "Mumble")
			if err := os.MkdirAll(settings, 0o700); err != nil {
				t.Fatal(err)
			}
			text := fmt.Sprintf(`{"settings_version":1,"certificate":%q}`, base64.StdEncoding.EncodeToString(p12))
			if err := os.WriteFile(filepath.Join(settings, "mumble_settings.json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			shown := startOnTerminal(t, home, tt.typed)
			if n := strings.Count(shown, question); n != tt.asked || !strings.Contains(shown, tt.says) {
				t.Errorf("asked %d times, want %d; shown: %q, want %q", n, tt.asked, shown, tt.says)
			}
			if _, err := os.Stat(filepath.Join(home, ".config", "sotto", "mumble.pem")); (err == nil) != tt.imported {
				t.Errorf("imported: %v, want %v", err == nil, tt.imported)
			}
			if n := strings.Count(startOnTerminal(t, home, "n\n"), question); n != tt.again {
				t.Errorf("asked %d times at the next start, want %d", n, tt.again)
			}
		})
	}
}

// startOnTerminal runs guard for a server that is not there, types, and returns
// what the terminal shows.
func startOnTerminal(t *testing.T, home, typed string) string {
	t.Helper()
	ours, theirs := openTerminal(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "guard", "127.0.0.1:1")
	cmd.Env = []string{asSotto + "=1", "HOME=" + home, "PATH=" + os.Getenv("PATH")}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait() // it fails in every case
		theirs.WriteString("\nend\n")
		close(ended)
	}()
	late := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	defer late.Stop()
	shown, sent := "", false
	for b := make([]byte, 4096); !strings.HasSuffix(shown, "end\r\n"); {
		n, err := ours.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		shown += string(b[:n])
		if !sent && strings.Contains(shown, "[Y/n] ") {
			sent = true
			if _, err := ours.WriteString(typed); err != nil {
				t.Fatal(err)
			}
		}
	}
	<-ended
	if cmd.ProcessState.ExitCode() != exitError {
		t.Errorf("exit code %d, want %d", cmd.ProcessState.ExitCode(), exitError)
	}
	return shown
}
