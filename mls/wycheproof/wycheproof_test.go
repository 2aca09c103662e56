// Package wycheproof runs the vectors of github.com/c2sp/wycheproof through
// package mls. It is a module of its own, so that nobody who builds Sotto
// downloads them.
package wycheproof

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	vectors "github.com/c2sp/wycheproof"
)

func TestPrimitives(t *testing.T) {
	if _, err := vectors.TestVectors.Open("ed25519_test.json"); err != nil {
		t.Fatal(err)
	}
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/c2sp/wycheproof").Output()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "test", "-count=1", "-v", "-run", "^TestWycheproof$", ".")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "SOTTO_WYCHEPROOF="+strings.TrimSpace(string(dir)))
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS: TestWycheproof") {
		t.Fatalf("package mls: %v", err)
	}
}
