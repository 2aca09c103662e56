package peers

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// serverUser is the account both Debian packages make for the server.
const serverUser = "mumble-server"

// site is where one server lives: its directory, and how to run its program
// there. Root runs the program as serverUser, as Debian would; an ordinary user
// runs it as himself. The program of the Debian 13 tree runs inside the tree,
// which an ordinary user may enter by way of a user namespace.
type site struct {
	dir  string // as this process sees it
	seen string // as the program sees it
	root string // chroot, or ""
	uid  int    // of serverUser, or -1
	gid  int
	argv []string
	env  []string
}

// newSite finds the program and makes a directory it may write to.
func newSite(t testing.TB, kind ServerKind) *site {
	t.Helper()
	s := &site{uid: -1, gid: -1, env: []string{"LC_ALL=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}}
	tree := ""
	switch kind {
	case Murmur134:
		s.argv = []string{Tool(t, "murmurd")}
	case Murmur15:
		tree = filepath.Join(cacheDir(), "trixie")
		if _, err := os.Stat(filepath.Join(tree, "usr/bin/mumble-server")); err != nil {
			Missing(t, "the Debian 13 tree with mumble-server 1.5")
		}
		s.argv = []string{"/usr/bin/mumble-server"}
	default:
		t.Fatalf("peers: no such server: %v", kind)
	}
	parent := os.TempDir()
	s.root = tree
	if tree != "" {
		parent = filepath.Join(tree, "tmp")
	}
	if os.Getuid() == 0 {
		s.uid, s.gid = account(t, filepath.Join("/", tree, "etc/passwd"))
	} else if tree != "" && !mayEnter(tree) {
		Missing(t, "the right to enter the Debian 13 tree (root, or user namespaces)")
	}
	dir, err := os.MkdirTemp(parent, "sotto-murmur-")
	if err != nil {
		t.Fatalf("peers: make a directory for %v: %v", kind, err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("peers: remove the directory of %v: %v", kind, err)
		}
	})
	s.dir, s.seen = dir, dir
	if s.root != "" {
		s.seen = path.Join("/tmp", filepath.Base(dir))
	}
	s.own(t, dir)
	return s
}

// account reads the user and group id of serverUser from a passwd file.
func account(t testing.TB, passwd string) (uid, gid int) {
	t.Helper()
	b, err := os.ReadFile(passwd)
	if err != nil {
		t.Fatalf("peers: %v", err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 4 || f[0] != serverUser {
			continue
		}
		uid, err1 := strconv.Atoi(f[2])
		gid, err2 := strconv.Atoi(f[3])
		if err1 == nil && err2 == nil {
			return uid, gid
		}
	}
	Missing(t, "the account "+serverUser)
	return -1, -1
}

// own hands a path to the server's account.
func (s *site) own(t testing.TB, name string) {
	t.Helper()
	if s.uid < 0 {
		return
	}
	if err := os.Chown(name, s.uid, s.gid); err != nil {
		t.Fatalf("peers: %v", err)
	}
}

// inside is the path of a file of the site as the program sees it.
func (s *site) inside(name string) string { return path.Join(s.seen, name) }

// command is the server's program with arguments, ready to start.
func (s *site) command(args ...string) *exec.Cmd {
	argv := append(append([]string{}, s.argv...), args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(append([]string{}, s.env...), "HOME="+s.seen)
	switch {
	case s.uid >= 0:
		confine(cmd, s.root, uint32(s.uid), uint32(s.gid))
	case s.root != "":
		enter(cmd, s.root)
	}
	// Inside the tree the working directory must exist as well.
	cmd.Dir = s.seen
	return cmd
}

// write puts a file into the site, readable by the server alone.
func (s *site) write(t testing.TB, name string, b []byte) {
	t.Helper()
	p := filepath.Join(s.dir, name)
	if err := os.WriteFile(p, b, 0o600); err != nil {
		t.Fatalf("peers: %v", err)
	}
	s.own(t, p)
}

// read returns a file of the site, nil if it is not there.
func (s *site) read(name string) []byte {
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		return nil
	}
	return b
}
