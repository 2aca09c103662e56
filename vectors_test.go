package sotto

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// vectorFolder holds the test vectors of Sotto protocol §13.
const vectorFolder = "docs/spec/vectors"

// ownForm are files with another form than cases that are valid or not.
var ownForm = map[string]bool{"gate.json": true}

// maxVectorFile keeps the files readable.
const maxVectorFile = 500_000

// TestVectorFiles counts the cases: in every file at least as many must fail as
// must pass.
func TestVectorFiles(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(vectorFolder, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("docs/spec/13-test-vectors.md")
	if err != nil {
		t.Fatal(err)
	}
	allGood, allBad := 0, 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		name := filepath.Base(file)
		if len(b) > maxVectorFile {
			t.Errorf("%s has %d bytes", name, len(b))
		}
		if !strings.Contains(string(page), "vectors/"+name) {
			t.Errorf("docs/spec/13-test-vectors.md does not link %s", name)
		}
		good, bad := countCases(v)
		if good+bad > 0 == ownForm[name] || bad < good {
			t.Errorf("%s: %d cases must pass, %d must fail", name, good, bad)
		}
		t.Logf("%-16s %7d bytes, %4d must pass, %4d must fail", name, len(b), good, bad)
		allGood, allBad = allGood+good, allBad+bad
	}
	t.Logf("%d files, %d must pass, %d must fail", len(files), allGood, allBad)
	if len(files) < 12 {
		t.Errorf("%d files", len(files))
	}
}

// countCases counts what is valid and what is not, however deep.
func countCases(v any) (good, bad int) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			g, b := countCases(x)
			good, bad = good+g, bad+b
		}
	case map[string]any:
		if valid, ok := v["valid"].(bool); ok {
			if why, _ := v["why"].(string); why == "" {
				return 0, 0 // a case must say what it is
			}
			if valid {
				good++
			} else {
				bad++
			}
		}
		for _, x := range v {
			g, b := countCases(x)
			good, bad = good+g, bad+b
		}
	}
	return good, bad
}
