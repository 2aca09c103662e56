package peers

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// setupHint ends every message about a missing program.
const setupHint = "run scripts/setup"

// Missing skips the test because a real peer is not installed, or fails it when
// SOTTO_INTEROP=require says that the run is worth nothing without.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("SOTTO_INTEROP") == "require" {
		t.Fatalf("peers: %s is missing, and SOTTO_INTEROP=require: %s", what, setupHint)
	}
	t.Skipf("peers: %s is missing: %s", what, setupHint)
}

// Tool returns the path of a program, looking also where Debian puts daemons.
// If there is none the test is skipped or failed, see Missing.
func Tool(t testing.TB, name string) string {
	t.Helper()
	if p, err := exec.LookPath(name); err == nil {
		return p
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/usr/games"} {
		p := filepath.Join(dir, name)
		if info, err := os.Stat(p); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return p
		}
	}
	Missing(t, name)
	return ""
}

// cacheDir is the directory scripts/peers builds into; it must agree with
// scripts/lib/cache.bash.
func cacheDir() string {
	if dir := os.Getenv("SOTTO_CACHE"); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "sotto")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".cache", "sotto")
}

// until asks ok again and again, at most for d, and reports whether it became
// true. It is the only way this package waits for another program.
func until(d time.Duration, ok func() bool) bool {
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok() {
			return true
		}
		select {
		case <-deadline.C:
			return ok()
		case <-tick.C:
		}
	}
}
