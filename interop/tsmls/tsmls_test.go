package tsmls

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/mls"
)

// These tests let members that run our package and members that run ts-mls
// (github.com/LukaJCB/ts-mls, from the npm registry) live in the same groups.
// They need Node 20; without it they are skipped, or fail with
// SOTTO_TSMLS=require. SOTTO_TSMLS_HISTORIES is how many histories are played
// (default 100), SOTTO_TSMLS_SEED which one comes first.

func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	what := fmt.Sprintf(format, args...)
	if os.Getenv("SOTTO_TSMLS") == "require" {
		t.Fatalf("%s, and SOTTO_TSMLS=require", what)
	}
	t.Skip(what)
}

// cacheDir is where scripts/setup puts what it downloads; it must agree with
// scripts/lib/cache.bash.
func cacheDir(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("SOTTO_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		missing(t, "no cache directory: %v", err)
	}
	return filepath.Join(dir, "sotto")
}

// node returns a Node of version 20 or later: that on the path, else the one that
// scripts/setup has put into the cache directory.
func node(t *testing.T) string {
	t.Helper()
	var found []string
	for _, name := range []string{"node", filepath.Join(cacheDir(t), "node", "node_modules", ".bin", "node")} {
		out, err := exec.Command(name, "--version").Output()
		if err != nil {
			found = append(found, err.Error())
			continue
		}
		major, _, _ := strings.Cut(strings.TrimPrefix(string(out), "v"), ".")
		if n, err := strconv.Atoi(major); err == nil && n >= 20 {
			return name
		}
		found = append(found, fmt.Sprintf("%s is %s", name, bytes.TrimSpace(out)))
	}
	missing(t, "no Node 20 (%s): run scripts/setup", strings.Join(found, ", "))
	return ""
}

// install puts ts-mls into the user's cache directory and returns where.
func install(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(cacheDir(t), "tsmls")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	fresh := true
	for _, name := range []string{"package.json", "package-lock.json", "peer.mjs"} {
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		have, _ := os.ReadFile(filepath.Join(dir, name))
		if !bytes.Equal(want, have) {
			fresh = fresh && name == "peer.mjs"
			if err := os.WriteFile(filepath.Join(dir, name), want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "ts-mls")); err != nil || !fresh {
		cmd := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			os.RemoveAll(filepath.Join(dir, "node_modules"))
			missing(t, "npm ci: %v\n%s", err, out)
		}
	}
	return dir
}

// peer is the process with all members that run ts-mls.
type peer struct {
	in  io.WriteCloser
	out *bufio.Scanner
}

type question struct {
	Op      string   `json:"op"`
	Who     int      `json:"who"`
	Name    string   `json:"name,omitempty"`
	Suite   string   `json:"suite,omitempty"`
	Now     int64    `json:"now,omitempty"`
	Group   []byte   `json:"group,omitempty"`
	Message []byte   `json:"message,omitempty"`
	Data    []byte   `json:"data,omitempty"`
	Adds    [][]byte `json:"adds,omitempty"`
	Removes []uint32 `json:"removes,omitempty"`
	PSKs    [][]byte `json:"psks,omitempty"`
	Nonce   int      `json:"nonce,omitempty"`
	Public  bool     `json:"public"`
	Resync  bool     `json:"resync"`
}

type answer struct {
	Error         string `json:"error"`
	KeyPackage    []byte `json:"keyPackage"`
	Message       []byte `json:"message"`
	Welcome       []byte `json:"welcome"`
	Epoch         uint64 `json:"epoch"`
	Authenticator []byte `json:"authenticator"`
	Active        bool   `json:"active"`
	Leaf          uint32 `json:"leaf"`
	Data          []byte `json:"data"`
}

func startPeer(t *testing.T) *peer {
	t.Helper()
	cmd := exec.Command(node(t), "peer.mjs")
	cmd.Dir = install(t)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	p := &peer{in, bufio.NewScanner(out)}
	p.out.Buffer(nil, 16<<20)
	return p
}

func (p *peer) ask(t testing.TB, q question) answer {
	t.Helper()
	b, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.in.Write(append(b, '\n')); err != nil {
		t.Fatalf("ts-mls is gone: %v", err)
	}
	if !p.out.Scan() {
		t.Fatalf("ts-mls is gone: %v", p.out.Err())
	}
	var a answer
	if err := json.Unmarshal(p.out.Bytes(), &a); err != nil {
		t.Fatalf("%v in %q", err, p.out.Bytes())
	}
	if strings.Contains(a.Error, unequalUnmerged) && (q.Op == "join" || q.Op == "external") {
		return a
	}
	if a.Error != "" {
		t.Fatalf("ts-mls: %s: %s", q.Op, a.Error)
	}
	return a
}

// unequalUnmerged is what ts-mls 1.6.4 says to a tree in which two nodes above an
// unmerged leaf have different lists of unmerged leaves. RFC 9420 §12.4.3.1 only
// wants the leaf to be in all lists between it and the node, so such trees are
// common and valid; a member of theirs then cannot join.
const unequalUnmerged = "must list leaf node in its unmerged_leaves"

func TestHistories(t *testing.T) {
	p := startPeer(t)
	n, first := 100, 1
	if testing.Short() {
		n = 5
	}
	if s := os.Getenv("SOTTO_TSMLS_HISTORIES"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	if s := os.Getenv("SOTTO_TSMLS_SEED"); s != "" {
		first, _ = strconv.Atoi(s)
	}
	began := time.Now()
	var total counts
	for seed := first; seed < first+n && !t.Failed(); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			h := &history{T: t, peer: p, rand: rand.New(rand.NewPCG(uint64(seed), 0))}
			h.play()
			total.add(h.counts)
		})
	}
	t.Logf("%d histories in %v: %+v", n, time.Since(began).Round(time.Second), total)
	if n >= 100 {
		for what, k := range map[string]int{"commits of ours": total.Ours, "of theirs": total.Theirs, "external joins": total.External, "resyncs": total.Resync, "messages": total.Messages, "proposals": total.Proposals, "PSKs": total.PSK} {
			if k == 0 {
				t.Errorf("no %s in all histories", what)
			}
		}
	}
}

var suites = []mls.CipherSuite{mls.X25519AES128GCM, mls.P256AES128GCM, mls.X25519ChaCha20Poly1305}
