package audience_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mutant is one bug of testdata/mutants.txt, in a file of this package or, with its
// folder in front, of a neighbour that carries out what was agreed here.
type mutant struct{ name, file, before, after string }

// sample: one bug of so many is tried where none was chosen.
const sample = 25

// TestMutants puts the bugs of a list into their packages, one at a time, and prints
// which of them the package's quick tests find: at least 38 of 40. It changes no file, for the
// compiler gets the changed one as an overlay. scripts/mutate runs it, with
// SOTTO_MUTANTS set to a part of the names, or all, which takes a quarter of an hour;
// else a few of them are tried.
func TestMutants(t *testing.T) {
	part, chosen := os.LookupEnv("SOTTO_MUTANTS")
	if !chosen && testing.Short() {
		t.Skip("runs the quick tests once for each bug")
	}
	part = strings.TrimPrefix(part, "all")
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	list, err := parse(filepath.Join("testdata", "mutants.txt"))
	if err != nil {
		t.Fatal(err)
	}
	temp := t.TempDir()
	found, tried, broken := 0, 0, 0
	sound := map[string]bool{}
	for i, m := range list {
		if !strings.Contains(m.name, part) || !chosen && i%sample != 0 {
			continue
		}
		// Tests that fail or do not end without a bug would find every one.
		if room := filepath.Dir(m.file); !sound[room] {
			if by, err := try(temp, dir, mutant{"no bug", m.file, m.before, m.before}); by != "" || err != nil {
				t.Fatalf("%s without a bug: %s, %v", room, by, err)
			}
			sound[room] = true
		}
		tried++
		began := time.Now()
		by, err := try(temp, dir, m)
		verdict := "SURVIVED"
		switch {
		case err != nil:
			verdict, by = "BROKEN", err.Error()
			broken++
		case by != "":
			found++
			verdict = "killed"
		}
		fmt.Printf("%-8s  %-58s  %-16s  %4.1f s  %s\n", verdict, m.name, m.file, time.Since(began).Seconds(), by)
	}
	t.Logf("%d of %d mutants killed", found, tried)
	if broken > 0 {
		t.Errorf("%d of them are bugs no more: the code has changed", broken)
	}
	if found*40 < 38*tried {
		t.Errorf("less than 38 of 40")
	}
}

// TestMutantsStand: what the list would change stands in the code, once.
func TestMutantsStand(t *testing.T) {
	list, err := parse(filepath.Join("testdata", "mutants.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 40 {
		t.Errorf("%d mutants", len(list))
	}
	for _, m := range list {
		if _, err := m.apply("."); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}

// apply returns the file of a bug with the bug in it.
func (m mutant) apply(dir string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(dir, m.file))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(b, []byte(m.before)); n != 1 {
		return nil, fmt.Errorf("stands in %s %d times:\n%s", m.file, n, m.before)
	}
	return bytes.Replace(b, []byte(m.before), []byte(m.after), 1), nil
}

// parse reads a list: blocks apart by an empty line, of a name, a file, and lines
// with < and >.
func parse(name string) ([]mutant, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var list []mutant
	for block := range strings.SplitSeq(string(b), "\n\n") {
		var m mutant
		for line := range strings.Lines(block) {
			switch {
			case line[0] == '#' || strings.TrimSpace(line) == "":
			case line[0] == '<':
				m.before += line[1:]
			case line[0] == '>':
				m.after += line[1:]
			case m.name == "":
				m.name = strings.TrimSpace(line)
			default:
				m.file = strings.TrimSpace(line)
			}
		}
		if m.name != "" {
			m.before, m.after = strings.TrimSuffix(m.before, "\n"), strings.TrimSuffix(m.after, "\n")
			list = append(list, m)
		}
	}
	return list, nil
}

// try runs the tests with a bug in place and returns the first that fails, or "".
func try(temp, dir string, m mutant) (string, error) {
	b, err := m.apply(dir)
	if err != nil {
		return "", err
	}
	original := filepath.Join(dir, m.file)
	dir = filepath.Dir(original)
	changed := filepath.Join(temp, filepath.Base(m.file))
	if err := os.WriteFile(changed, b, 0o600); err != nil {
		return "", err
	}
	overlay := filepath.Join(temp, "overlay.json")
	j, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, j, 0o600); err != nil {
		return "", err
	}
	binary := filepath.Join(temp, "mutant.test")
	if out, err := exec.Command("go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", overlay, "-o", binary, dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("does not compile: %s", out)
	}
	// What takes longer comes last, for most bugs are found before.
	const slow = "Traces|CrashPoints|HonestNoFork|SameSeedSameLog|SmallModel|Long|WeightLies|Crowd"
	for _, choice := range []string{"-test.skip=^Test(" + slow + "|Mutants)$", "-test.run=^Test(" + slow + ")$"} {
		if by, err := run(binary, dir, choice); by != "" || err != nil {
			return by, err
		}
	}
	return "", nil
}

// run runs tests and returns the first that fails, or "".
func run(binary, dir, choice string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	run := exec.CommandContext(ctx, binary, "-test.short", "-test.failfast", choice)
	run.Dir = dir
	out, err := run.CombinedOutput()
	switch {
	case err == nil:
		return "", nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "no end in a minute", nil
	}
	for line := range strings.Lines(string(out)) {
		if after, ok := strings.CutPrefix(strings.TrimSpace(line), "--- FAIL: "); ok {
			return strings.TrimSpace(after), nil
		}
		if strings.HasPrefix(line, "panic:") {
			return strings.TrimSpace(line), nil
		}
	}
	return "failed", nil
}
