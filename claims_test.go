package sotto

import (
	"fmt"
	"go/ast"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The claims ledger promises P1 to P14 and denies N1 to N12. It holds groups to the
// invariants I1 to I14, and lists what a malicious member does as M1 to M19.
const (
	claimsFile = "docs/security/claims.md"
	promises   = 14
	denials    = 12
	invariants = 14
	attacks    = 19
)

var (
	promiseHead = regexp.MustCompile(`^## (P[0-9]+) \S`)
	denialRow   = regexp.MustCompile(`^\| (N[0-9]+) \| (.*) \|$`)
	caseRow     = regexp.MustCompile(`^\| ([IM][0-9]+) \| `)
	testName    = regexp.MustCompile("`([a-z][a-z0-9/_]*)\\.((?:Test|Fuzz)[^`]*)`")
	quoted      = regexp.MustCompile("`[^`]*`")
	notYet      = regexp.MustCompile(`\*\*not yet:\*\* *([^|]*)`)
)

// TestClaims holds the ledger to the tests that are there: what it names exists,
// and what it promises has a test or says what is missing.
func TestClaims(t *testing.T) {
	ledger, err := os.ReadFile(claimsFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range checkClaims(string(ledger), testsOf(t, readHouse(t))) {
		t.Errorf("%s: %s", claimsFile, wrong)
	}
}

// testsOf returns the test and fuzz functions of the house as "package.Function",
// by folder, each with the text of its file; the root is "sotto".
func testsOf(t *testing.T, house map[string][]goFile) map[string]string {
	t.Helper()
	tests := map[string]string{}
	for dir, files := range house {
		if dir == "." {
			dir = "sotto"
		}
		for _, f := range files {
			if !f.test {
				continue
			}
			text, err := os.ReadFile(f.name)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if ok && fn.Recv == nil && fn.Type.Params.NumFields() == 1 {
					tests[dir+"."+fn.Name.Name] = string(text)
				}
			}
		}
	}
	return tests
}

// checkClaims returns what is wrong with the ledger, given the tests that exist.
// A row of a promise has a test or a "not yet" with words behind it; a promise
// has a row; each promise, denial, invariant and attack stands once. Of the tests for
// an invariant or attack at least one names it, in its file.
func checkClaims(ledger string, tests map[string]string) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	rows, seen := map[string]int{}, map[string]int{}
	promise := ""
	for line := range strings.Lines(ledger) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "#") {
			promise = ""
			if m := promiseHead.FindStringSubmatch(line); m != nil {
				promise = m[1]
				seen[promise]++
			}
			continue
		}
		if m := denialRow.FindStringSubmatch(line); m != nil && promise == "" {
			seen[m[1]]++
			if len(strings.Fields(m[2])) < 3 {
				say("%s is not said in words", m[1])
			}
			continue
		}
		of := promise
		if m := caseRow.FindStringSubmatch(line); m != nil && promise == "" {
			of = m[1]
			seen[of]++
		}
		if of == "" || !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| what ") {
			continue
		}
		rows[of]++
		last := strings.Split(strings.Trim(line, "| "), " | ")
		cell := last[len(last)-1]
		named := testName.FindAllStringSubmatch(cell, -1)
		names := of == promise
		for _, m := range named {
			text, ok := tests[m[1]+"."+m[2]]
			names = names || regexp.MustCompile(`\b`+of+`\b`).MatchString(text)
			if name := m[1] + "." + m[2]; !ok {
				say("%s names %s, which does not exist", of, name)
			}
		}
		if !names && len(named) > 0 {
			say("%s is named by none of its tests", of)
		}
		missing := notYet.FindStringSubmatch(cell)
		switch {
		case missing != nil:
			if len(strings.Fields(missing[1])) < 3 {
				say("%s: a \"not yet\" without words: %s", of, line)
			}
		case len(named) == 0:
			say("%s: a row with neither a test nor a \"not yet\": %s", of, line)
		case len(named) != len(quoted.FindAllString(cell, -1)):
			say("%s: something quoted is no test: %s", of, line)
		}
	}
	want := func(letter string, n int) {
		for i := 1; i <= n; i++ {
			name := fmt.Sprintf("%s%d", letter, i)
			if seen[name] != 1 {
				say("%s stands %d times, want once", name, seen[name])
			}
			if letter == "P" && rows[name] == 0 {
				say("%s has no row", name)
			}
			delete(seen, name)
		}
	}
	want("P", promises)
	want("N", denials)
	want("I", invariants)
	want("M", attacks)
	for name := range seen {
		say("%s is nothing that Sotto claims", name)
	}
	slices.Sort(wrong)
	return wrong
}

// TestClaimsCheckFails breaks a good ledger in each way that checkClaims is for.
func TestClaimsCheckFails(t *testing.T) {
	var b strings.Builder
	for i := 1; i <= promises; i++ {
		fmt.Fprintf(&b, "## P%d A promise\n\n| what | tests |\n|---|---|\n| row %d | `room.TestIt` |\n\n", i, i)
	}
	b.WriteString("## Not promised\n\n")
	for i := 1; i <= denials; i++ {
		fmt.Fprintf(&b, "| N%d | This is not promised. |\n", i)
	}
	for i := 1; i <= invariants; i++ {
		fmt.Fprintf(&b, "| I%d | This holds. | `room.TestIt` |\n", i)
	}
	all := ""
	for i := 1; i <= attacks; i++ {
		fmt.Fprintf(&b, "| M%d | This is done. | `room.TestIt` |\n", i)
		all += fmt.Sprintf("I%d M%d ", i, i)
	}
	good, tests := b.String(), map[string]string{"room.TestIt": all, "room.TestElse": "I33"}
	if wrong := checkClaims(good, tests); len(wrong) != 0 {
		t.Fatalf("a good ledger: %q", wrong)
	}
	for _, c := range []struct{ why, from, to, want string }{
		{"a test that is not there", "| row 3 | `room.TestIt`", "| row 3 | `room.TestIt` `room.TestOther`", "P3 names room.TestOther, which"},
		{"a test of another package", "| row 3 | `room.TestIt`", "| row 3 | `hall.TestIt`", "P3 names hall.TestIt, which"},
		{"something quoted that is no test", "| row 3 | `room.TestIt`", "| row 3 | `room.TestIt` `room`", "P3: something quoted"},
		{"an empty cell", "| row 3 | `room.TestIt`", "| row 3 | ", "P3: a row with neither"},
		{"words instead of a test", "| row 3 | `room.TestIt`", "| row 3 | it works", "P3: a row with neither"},
		{"not yet and no words", "| row 3 | `room.TestIt`", "| row 3 | **not yet:** ", `P3: a "not yet" without words`},
		{"a promise without rows", "| row 3 | `room.TestIt` |\n", "", "P3 has no row"},
		{"a promise that is gone", "## P3 A promise", "## A promise", "P3 stands 0 times"},
		{"a promise twice", "## P4 A", "## P3 A", "P3 stands 2 times"},
		{"a promise too many", "## Not promised", "## P15 More\n", "P15 is nothing"},
		{"a denial that is gone", "| N12 | This is not promised. |\n", "", "N12 stands 0 times"},
		{"an invariant that is gone", "| I3 | This holds. | `room.TestIt` |\n", "", "I3 stands 0 times"},
		{"an attack twice", "| M3 | This", "| M4 | This", "M4 stands 2 times"},
		{"an attack too many", "| M19 |", "| M20 |", "M20 is nothing"},
		{"an invariant whose test is gone", "| I3 | This holds. | `room.TestIt`", "| I3 | This holds. | `room.TestGone`", "I3 names room.TestGone, which"},
		{"an invariant that no test names", "| I3 | This holds. | `room.TestIt`", "| I3 | This holds. | `room.TestElse`", "I3 is named by none"},
		{"an attack without a test", "| M3 | This is done. | `room.TestIt` |", "| M3 | This is done. | |", "M3: a row with neither"},
		{"a denial without words", "| N12 | This is not promised. |", "| N12 |  |", "N12 is not said"},
	} {
		bad := strings.Replace(good, c.from, c.to, 1)
		if bad == good {
			t.Fatalf("%s: nothing changed", c.why)
		}
		wrong := checkClaims(bad, tests)
		if !slices.ContainsFunc(wrong, func(w string) bool { return strings.HasPrefix(w, c.want) }) {
			t.Errorf("%s: %q, want %q", c.why, wrong, c.want)
		}
	}
	allowed := strings.Replace(good, "| row 3 | `room.TestIt`", "| row 3 | **not yet:** the other room is missing", 1)
	if wrong := checkClaims(allowed, tests); len(wrong) != 0 {
		t.Errorf("not yet in words: %q", wrong)
	}
}
