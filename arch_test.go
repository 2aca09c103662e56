package sotto

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/sotto-voip/sotto"

// floorPlan is the house. Each line names a room, whether it is pure, and the
// rooms and foreign modules it may enter; the standard library is open to all
// but for what purity forbids. A package that does not stand here fails the
// test. If code wants a new door, first ask whether it stands in the wrong room.
//
// Lines read from the ground floor up: protocols, the centre, edges, front doors.
const floorPlan = `
.                     pure

# protocols: what the world agreed on; they know nothing of Sotto
mls                   pure    golang.org/x/crypto
mumble/mumblepb       exempt  google.golang.org/protobuf
mumble/control        pure    mumble/mumblepb google.golang.org/protobuf
mumble/voice          pure
mumble/crypt          pure
mumble/mirror         pure    mumble/control mumble/mumblepb google.golang.org/protobuf
opus                  pure
ogg                   pure    opus
sframe                pure

# the centre: pure, sans-IO
identity              pure
envelope              pure    opus
carrier               pure    envelope
audience              pure    mls envelope identity
e2ee                  pure    audience trust mls identity sframe envelope golang.org/x/crypto golang.org/x/text
endpoint              pure    e2ee audience carrier envelope opus mumble/mirror mumble/control mumble/mumblepb mumble/voice google.golang.org/protobuf

# edges: sockets, files, screens
trust                 pure    identity golang.org/x/text
keystore              edge    identity trust software.sslmate.com/src/go-pkcs12 golang.org/x/sys
events                edge
stockclient           edge
client                edge    endpoint e2ee identity trust opus mumble/mirror mumble/control mumble/mumblepb mumble/voice mumble/crypt golang.org/x/net golang.org/x/sys google.golang.org/protobuf
headless              edge    client endpoint e2ee events opus ogg mumble/mirror golang.org/x/net
guard                 edge    events client endpoint envelope e2ee keystore identity trust opus mumble/mirror mumble/control mumble/mumblepb mumble/voice mumble/crypt golang.org/x/net golang.org/x/text google.golang.org/protobuf

# front doors: flags in, parts wired
internal/demo         edge    client e2ee envelope events internal/evilserver opus ogg mumble/mumblepb mumble/voice google.golang.org/protobuf
cmd/sotto             edge    client headless guard events keystore stockclient identity e2ee opus ogg internal/demo mumble/control mumble/mumblepb mumble/voice github.com/spf13/cobra golang.org/x/term

# tests with real peers, and a simulated network; only _test files may import these,
# and internal/demo the malicious server
internal/simnet       edge    envelope mumble/mumblepb mumble/voice google.golang.org/protobuf
interop/peers         edge    mumble/control mumble/mumblepb mumble/voice mumble/crypt google.golang.org/protobuf golang.org/x/net
internal/vectors      edge
internal/evilserver   edge    envelope mumble/control mumble/mumblepb mumble/voice mumble/crypt google.golang.org/protobuf
`

// forbiddenInPure are the packages that bring a clock, a socket, a file, a lock
// or a log line. A pure room that wants one of them wants a parameter.
var forbiddenInPure = []string{
	"context", "database/sql", "log", "log/slog", "net", "net/http", "os", "os/exec", "os/signal",
	"path/filepath", "runtime", "sync", "sync/atomic", "syscall", "io/ioutil", "io/fs", "math/rand", "math/rand/v2",
}

// clockFunctions of package time read or wait on the wall clock.
var clockFunctions = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer"}

// keyRooms hold what protects people. The server reaches none of them, neither
// directly nor through others: nobody can hand it a key by accident.
var keyRooms = []string{"audience", "e2ee", "sframe", "mls", "trust", "keystore"}

type room struct {
	kind  string // pure, edge or exempt
	doors []string
}

func readPlan(t *testing.T) map[string]room {
	t.Helper()
	plan := map[string]room{}
	for line := range strings.Lines(floorPlan) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		if len(f) < 2 || !slices.Contains([]string{"pure", "edge", "exempt"}, f[1]) {
			t.Fatalf("floor plan: cannot read line %q", line)
		}
		if _, twice := plan[f[0]]; twice {
			t.Fatalf("floor plan: %s stands twice", f[0])
		}
		plan[f[0]] = room{f[1], f[2:]}
	}
	return plan
}

type goFile struct {
	*ast.File
	name string
	test bool
}

// readHouse parses every Go file of the main module, by package folder.
func readHouse(t *testing.T) map[string][]goFile {
	t.Helper()
	house := map[string][]goFile{}
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || nestedModule(p)) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		dir := path.Dir(filepath.ToSlash(p))
		house[dir] = append(house[dir], goFile{f, p, strings.HasSuffix(p, "_test.go")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return house
}

func nestedModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func imports(f goFile) []string {
	var out []string
	for _, spec := range f.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		out = append(out, p)
	}
	return out
}

// local turns an import path of this module into its room, else reports false.
func local(imp string) (string, bool) {
	if imp == module {
		return ".", true
	}
	return strings.CutPrefix(imp, module+"/")
}

// TestFloorPlan holds every package to its line of the plan.
func TestFloorPlan(t *testing.T) {
	plan, house := readPlan(t), readHouse(t)
	for dir, files := range house {
		if !slices.ContainsFunc(files, func(f goFile) bool { return !f.test }) {
			continue // a folder of tests alone is no room
		}
		r, ok := plan[dir]
		if !ok {
			t.Errorf("%s is not on the floor plan", dir)
			continue
		}
		for _, f := range files {
			if f.test {
				continue
			}
			for _, imp := range imports(f) {
				if !mayEnter(r, imp) {
					t.Errorf("%s imports %s: no such door on the floor plan", f.name, imp)
				}
				if r.kind == "pure" && slices.Contains(forbiddenInPure, imp) {
					t.Errorf("%s imports %s: %s is pure", f.name, imp, dir)
				}
			}
			if r.kind == "pure" {
				checkPurity(t, f)
			}
		}
	}
	for dir := range plan {
		if _, ok := house[dir]; !ok {
			t.Errorf("the floor plan names %s, which is not there", dir)
		}
	}
}

func mayEnter(r room, imp string) bool {
	if here, ok := local(imp); ok {
		return slices.Contains(r.doors, here)
	}
	first, _, _ := strings.Cut(imp, "/")
	if !strings.Contains(first, ".") {
		return true // standard library
	}
	return slices.ContainsFunc(r.doors, func(d string) bool { return imp == d || strings.HasPrefix(imp, d+"/") })
}

// checkPurity finds what imports alone do not show: the clock and goroutines.
func checkPurity(t *testing.T, f goFile) {
	ast.Inspect(f.File, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			t.Errorf("%s starts a goroutine in a pure room", f.name)
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clockFunctions, n.Sel.Name) {
				t.Errorf("%s uses time.%s in a pure room: take the time as a parameter", f.name, n.Sel.Name)
			}
		}
		return true
	})
}

// TestServerNeverReachesKeys follows the imports of server as they are, through
// all rooms, and fails when one of the key rooms is reached.
func TestServerNeverReachesKeys(t *testing.T) {
	house := readHouse(t)
	if path := wayToKeys(graph(house), "server"); path != nil {
		t.Errorf("server reaches the keys: %s", strings.Join(path, " -> "))
	}
	// The check itself must be able to fail: guard does reach them.
	if _, ok := house["guard"]; ok && wayToKeys(graph(house), "guard") == nil {
		t.Error("the walk finds no way from guard to the keys, so it proves nothing about server")
	}
}

func graph(house map[string][]goFile) map[string][]string {
	g := map[string][]string{}
	for dir, files := range house {
		for _, f := range files {
			if f.test {
				continue
			}
			for _, imp := range imports(f) {
				if here, ok := local(imp); ok {
					g[dir] = append(g[dir], here)
				}
			}
		}
	}
	return g
}

// wayToKeys returns a path from any package at or below start to a key room.
func wayToKeys(g map[string][]string, start string) []string {
	seen := map[string]bool{}
	var walk func(at string, path []string) []string
	walk = func(at string, path []string) []string {
		path = append(slices.Clone(path), at)
		if slices.Contains(keyRooms, at) {
			return path
		}
		if seen[at] {
			return nil
		}
		seen[at] = true
		for _, next := range g[at] {
			if way := walk(next, path); way != nil {
				return way
			}
		}
		return nil
	}
	for dir := range g {
		if dir == start || strings.HasPrefix(dir, start+"/") {
			if way := walk(dir, nil); way != nil {
				return way
			}
		}
	}
	return nil
}

// TestPackageComments wants each package to say what it is, once.
func TestPackageComments(t *testing.T) {
	for dir, files := range readHouse(t) {
		n := 0
		named := false
		for _, f := range files {
			if f.test {
				continue
			}
			named = true
			if f.Doc != nil && !ast.IsGenerated(f.File) {
				n++
			}
		}
		if named && n != 1 {
			t.Errorf("%s has %d package comments, want 1", dir, n)
		}
	}
}

// TestDirectDependencies is the golden list: a new dependency is a visible diff
// here and a reason in docs/deps.md.
func TestDirectDependencies(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	why, err := os.ReadFile("docs/deps.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(mod)) {
		f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(f) < 2 || !strings.HasPrefix(f[1], "v") || strings.Contains(line, "// indirect") {
			continue
		}
		n++
		if !strings.Contains(string(why), "`"+f[0]+"`") {
			t.Errorf("docs/deps.md gives no reason for %s", f[0])
		}
	}
	if n > 12 {
		t.Errorf("%d direct dependencies, want at most 12", n)
	}
}
