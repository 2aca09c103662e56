//go:build ignore

// Mutate puts the bugs of a list into a package, one at a time, and says which of
// them its quick tests find. It changes no file: the compiler gets the changed one
// as an overlay.
//
//	go run scripts/lib/mutate.go [-least N] PACKAGE [NAME PART]
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// mutant is one bug.
type mutant struct{ name, file, before, after string }

func main() {
	log.SetFlags(0)
	least := flag.Int("least", 38, "how many of 40 must be found")
	flag.Parse()
	dir, err := filepath.Abs(flag.Arg(0))
	if err != nil || flag.NArg() == 0 {
		log.Fatal("usage: mutate [-least N] PACKAGE [NAME PART]")
	}
	list, err := parse(filepath.Join(dir, "testdata", "mutants.txt"))
	if err != nil {
		log.Fatal(err)
	}
	temp, err := os.MkdirTemp("", "mutate")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(temp)
	found, tried := 0, 0
	for _, m := range list {
		if !strings.Contains(m.name, flag.Arg(1)) {
			continue
		}
		tried++
		began := time.Now()
		by, err := try(temp, dir, m)
		verdict := "SURVIVED"
		switch {
		case err != nil:
			verdict, by = "BROKEN", err.Error()
		case by != "":
			found++
			verdict = "killed"
		}
		fmt.Printf("%-8s  %-58s  %-16s  %4.1f s  %s\n", verdict, m.name, m.file, time.Since(began).Seconds(), by)
	}
	fmt.Printf("%d of %d mutants killed\n", found, tried)
	if found*40 < *least*tried {
		os.RemoveAll(temp)
		os.Exit(1)
	}
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
	name := filepath.Join(dir, m.file)
	b, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	if n := bytes.Count(b, []byte(m.before)); n != 1 {
		return "", fmt.Errorf("stands in %s %d times:\n%s", m.file, n, m.before)
	}
	changed := filepath.Join(temp, m.file)
	if err := os.WriteFile(changed, bytes.Replace(b, []byte(m.before), []byte(m.after), 1), 0o600); err != nil {
		return "", err
	}
	overlay := filepath.Join(temp, "overlay.json")
	j, err := json.Marshal(map[string]map[string]string{"Replace": {name: changed}})
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
	slow := "^Test(Traces|SameSeedSameLog|SmallModel|Long|WeightLies|Crowd)$"
	for _, choice := range []string{"-test.skip=" + slow, "-test.run=" + slow} {
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
