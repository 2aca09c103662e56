package mls_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/mls"
)

// TestInsecureSuite plays a life of a group without cryptography.
func TestInsecureSuite(t *testing.T) {
	if mls.CipherSuite(0xf0f0).Supported() {
		t.Fatal("the insecure suite is there before a test asked for it")
	}
	cs := mls.InsecureSuite(t)
	if again := mls.InsecureSuite(t); again != cs || !cs.Supported() {
		t.Error("asked twice")
	}
	began := time.Now()
	w := newWorld(t, cs, 20)
	w.reload = true
	for i := range 20 {
		w.commit(i%len(w.members), mls.CommitOptions{})
		w.commit((i+1)%len(w.members), mls.CommitOptions{}, newKeyPackage(t, cs, "new"))
		w.commit(0, mls.CommitOptions{Proposals: []mls.Proposal{mls.Remove{Removed: w.members[2].OwnIndex()}}})
	}
	w.talk()
	t.Logf("60 Commits among 20 in %v", time.Since(began).Round(time.Millisecond))
}

// TestInsecureSuiteIsForTests: nothing but tests may call InsecureSuite.
func TestInsecureSuiteIsForTests(t *testing.T) {
	calls := 0
	err := filepath.WalkDir("..", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == ".git" {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if strings.Contains(string(b), "InsecureSuite(") {
			if strings.HasSuffix(p, "_test.go") {
				calls++
			} else if filepath.Base(p) != "insecure_suite.go" {
				t.Errorf("%s uses the insecure suite outside of a test", p)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if calls == 0 {
		t.Error("the search finds nothing")
	}
}
