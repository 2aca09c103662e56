package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sotto-voip/sotto/events"
)

// fieldNames are the names of the fields of events.Event in JSON.
func fieldNames(t *testing.T) map[string]string {
	t.Helper()
	names := map[string]string{}
	e := reflect.TypeFor[events.Event]()
	for i := range e.NumField() {
		name, _, _ := strings.Cut(e.Field(i).Tag.Get("json"), ",")
		names[e.Field(i).Name] = name
	}
	return names
}

// emitted finds the events that the code of a folder makes, with their fields
// in JSON: each composite literal events.Event{Event: "...", ...}.
func emitted(t *testing.T, dir string, into map[string]map[string]bool) {
	t.Helper()
	names := fieldNames(t)
	fset := token.NewFileSet()
	pkgs, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pkgs {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			sel, ok := lit.Type.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Event" {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); !ok || x.Name != "events" {
				return true
			}
			event, fields := "", []string{}
			for _, el := range lit.Elts {
				kv, ok := el.(*ast.KeyValueExpr)
				if !ok {
					t.Errorf("%s: an event without field names", fset.Position(lit.Pos()))
					return true
				}
				key := kv.Key.(*ast.Ident).Name
				if key != "Event" {
					fields = append(fields, names[key])
					continue
				}
				value, ok := kv.Value.(*ast.BasicLit)
				if !ok {
					t.Errorf("%s: the name of the event is no constant", fset.Position(lit.Pos()))
					return true
				}
				event, _ = strconv.Unquote(value.Value)
			}
			if into[event] == nil {
				into[event] = map[string]bool{}
			}
			for _, f := range fields {
				into[event][f] = true
			}
			return true
		})
	}
}

// documented reads the table of docs/events.md: event, then its fields.
func documented(t *testing.T) map[string]map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "events.md"))
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile("`([a-z_]+)`")
	table := map[string]map[string]bool{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 { // the tables of the file have other widths
			continue
		}
		name := quoted.FindStringSubmatch(cells[1])
		if name == nil {
			continue
		}
		if table[name[1]] != nil {
			t.Errorf("docs/events.md has %s twice", name[1])
		}
		table[name[1]] = map[string]bool{}
		for _, f := range quoted.FindAllStringSubmatch(cells[3], -1) {
			table[name[1]][f[1]] = true
		}
	}
	return table
}

// TestEventsAreDocumented: docs/events.md names every event that the code emits
// and every field of it, and nothing else.
func TestEventsAreDocumented(t *testing.T) {
	code := map[string]map[string]bool{}
	for _, dir := range []string{"guard", "headless", filepath.Join("cmd", "sotto")} {
		emitted(t, filepath.Join("..", "..", dir), code)
	}
	docs := documented(t)
	if len(code) < 10 || len(docs) < 10 {
		t.Fatalf("%d events found in the code, %d in the document: the test has lost its way", len(code), len(docs))
	}
	for name, fields := range code {
		if docs[name] == nil {
			t.Errorf("docs/events.md does not know %q", name)
			continue
		}
		if got, want := sorted(docs[name]), sorted(fields); !slices.Equal(got, want) {
			t.Errorf("%s: docs/events.md names the fields %v, the code sets %v", name, got, want)
		}
	}
	for name := range docs {
		if code[name] == nil {
			t.Errorf("docs/events.md has %q, which nobody emits", name)
		}
	}
}

// TestEventsLiteralsOnly: an event made in another way would be overlooked above.
func TestEventsLiteralsOnly(t *testing.T) {
	assigned := regexp.MustCompile(`\.Event\s*=[^=]`)
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		imports := strings.Contains(string(b), `"github.com/sotto-voip/sotto/events"`)
		if imports && assigned.Match(b) {
			t.Errorf("%s assigns the name of an event", rel)
		}
		switch filepath.ToSlash(filepath.Dir(rel)) {
		case "guard", "headless", "cmd/sotto":
		default:
			if imports && strings.Contains(string(b), "events.Event{") {
				t.Errorf("%s emits events, and TestEventsAreDocumented does not look there", rel)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func sorted(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }
