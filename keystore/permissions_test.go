//go:build unix

package keystore_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sotto-voip/sotto/keystore"
)

// TestUmask runs first use in processes of their own, for the umask belongs to
// the whole process.
func TestUmask(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, mask := range []string{"000", "022", "077", "777"} {
		dir := filepath.Join(t.TempDir(), "sotto") // its parent exists: nobody can make one under 777
		for range 2 {
			cmd := exec.Command("/bin/sh", "-c", `umask "$0" && exec "$1"`, mask, exe)
			cmd.Env = append(os.Environ(), childDir+"="+dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("umask %s: %v: %s", mask, err, out)
			}
		}
		wantPrivate(t, dir)
	}
}

func hint(t *testing.T, err error) string {
	t.Helper()
	var e *keystore.Error
	if !errors.As(err, &e) || e.Path == "" {
		t.Errorf("%v is no *Error with a path", err)
		return ""
	}
	return e.Hint()
}

func TestOpenToOthers(t *testing.T) {
	for _, mode := range []os.FileMode{0o701, 0o702, 0o710, 0o720, 0o740, 0o755, 0o777} {
		dir := stateDir(t)
		open(t, dir)
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		_, err := keystore.Open(dir)
		if !errors.Is(err, keystore.ErrPermissions) || !strings.Contains(err.Error(), fmt.Sprintf("%04o", mode)) {
			t.Errorf("%04o: %v", mode, err)
		}
		if h := hint(t, err); !strings.Contains(h, "chmod 700") || !strings.Contains(h, dir) {
			t.Errorf("hint %q", h)
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != mode {
			t.Error("it was repaired in silence")
		}
	}
	for _, mode := range []os.FileMode{0o601, 0o604, 0o620, 0o640, 0o644, 0o666} {
		dir := stateDir(t)
		s := open(t, dir)
		v := server(t, s, "a", 1)
		if _, err := s.Identity(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.OwnCertificate(); err != nil {
			t.Fatal(err)
		}
		if _, err := v.TLSCertificate(); err != nil {
			t.Fatal(err)
		}
		if err := v.SetPort(9); err != nil {
			t.Fatal(err)
		}
		for file, use := range map[string]func() error{
			"identity.key":            func() error { _, err := s.Identity(); return err },
			"own.pem":                 func() error { _, _, err := s.MumbleCertificate(); return err },
			"servers/a_1/guard.pem":   func() error { _, err := v.TLSCertificate(); return err },
			"servers/a_1/server.json": func() error { return v.CheckPin(nil) },
		} {
			path := filepath.Join(dir, file)
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			err := use()
			if !errors.Is(err, keystore.ErrPermissions) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s with %04o: %v", file, mode, err)
			}
			if h := hint(t, err); !strings.Contains(h, "chmod 600") {
				t.Errorf("hint %q", h)
			}
		}
	}
	dir := stateDir(t)
	s := open(t, dir)
	server(t, s, "a", 1)
	if err := os.Chmod(filepath.Join(dir, "servers", "a_1"), 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Server("a", 1); !errors.Is(err, keystore.ErrPermissions) {
		t.Errorf("a server's directory: %v", err)
	}
}

// A fresh directory, as mkdir or mktemp's like make it, is closed to others when
// it is first used, and only then.
func TestTighten(t *testing.T) {
	for _, mode := range []os.FileMode{0o755, 0o777, 0o701} {
		dir := t.TempDir()
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		s, err := keystore.Open(dir)
		if err != nil {
			t.Errorf("an empty directory of mode %04o: %v", mode, err)
			continue
		}
		if !s.Tightened() {
			t.Errorf("%04o was repaired in silence", mode)
		}
		wantPrivate(t, dir)
		if s := open(t, dir); s.Tightened() {
			t.Error("the second use says it again")
		}
	}
	if s := open(t, stateDir(t)); s.Tightened() {
		t.Error("a directory that we made ourselves was tightened")
	}
	// One thing in it, and it may have been there for others to see or to plant.
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "x"), nil, 0o600), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	if _, err := keystore.Open(dir); !errors.Is(err, keystore.ErrPermissions) {
		t.Errorf("with a file in it: %v", err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Error("it was repaired all the same")
	}
	// Nor is somebody else's, whatever its mode.
	if os.Geteuid() == 0 {
		dir := t.TempDir()
		if err := errors.Join(os.Chown(dir, 12345, 12345), os.Chmod(dir, 0o755)); err != nil {
			t.Skip("directories cannot be given away here: " + err.Error())
		}
		if _, err := keystore.Open(dir); !errors.Is(err, keystore.ErrOwner) {
			t.Errorf("somebody else's: %v", err)
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
			t.Error("somebody else's was changed")
		}
	}
}

func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only the superuser can give files away")
	}
	dir := stateDir(t)
	s := open(t, dir)
	if _, err := s.Identity(); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "identity.key")
	if err := os.Chown(key, 12345, 12345); err != nil {
		t.Skip("files cannot be given away here: " + err.Error())
	}
	if _, err := s.Identity(); !errors.Is(err, keystore.ErrOwner) || hint(t, err) == "" {
		t.Errorf("somebody else's key: %v", err)
	}
	if err := os.Chown(dir, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if _, err := keystore.Open(dir); !errors.Is(err, keystore.ErrOwner) || hint(t, err) == "" {
		t.Errorf("somebody else's directory: %v", err)
	}
}

func TestNotRegular(t *testing.T) {
	for _, name := range []string{"identity.key", "own.pem", "servers/a_1/guard.pem", "servers/a_1/server.json"} {
		for kind, place := range map[string]func(path string) error{
			"a link":              func(path string) error { return os.Symlink(path+".real", path) },
			"a link to somewhere": func(path string) error { return os.Symlink("/nowhere/at/all", path) },
			"a directory":         func(path string) error { return os.Mkdir(path, 0o700) },
			"a pipe":              func(path string) error { return unix.Mkfifo(path, 0o600) },
		} {
			dir := stateDir(t)
			s := open(t, dir)
			v := server(t, s, "a", 1)
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path+".real", []byte("# nothing\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := place(path); err != nil {
				t.Fatal(err)
			}
			var err error
			switch filepath.Base(name) {
			case "identity.key":
				_, err = s.Identity()
			case "own.pem":
				_, err = s.OwnCertificate()
			case "guard.pem":
				_, err = v.TLSCertificate()
			case "server.json":
				err = v.SetPort(1)
			}
			if !errors.Is(err, keystore.ErrNotRegular) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s is %s: %v", name, kind, err)
			}
			if b, err := os.ReadFile(path + ".real"); err != nil || string(b) != "# nothing\n" {
				t.Errorf("%s is %s: its target was written", name, kind)
			}
		}
	}
	// The state directory itself may be a link, those inside may not.
	real := stateDir(t)
	open(t, real)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	s := open(t, link)
	if err := os.Symlink(t.TempDir(), filepath.Join(real, "servers")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Server("a", 1); !errors.Is(err, keystore.ErrNotRegular) {
		t.Errorf("servers is a link: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keystore.Open(file); !errors.Is(err, keystore.ErrNotRegular) {
		t.Errorf("a file as state directory: %v", err)
	}
	// A link where an imported certificate would be written.
	if err := os.Symlink(file, filepath.Join(real, "mumble.pem")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ImportMumble(legacyP12(t), ""); !errors.Is(err, keystore.ErrNotRegular) {
		t.Errorf("mumble.pem is a link: %v", err)
	}
	if info, err := os.Stat(file); err != nil || info.Size() != 0 {
		t.Error("its target was written")
	}
}

// TestTornWrite: what a crash leaves behind is removed, the old file stands,
// and files that are not ours to remove stay.
func TestTornWrite(t *testing.T) {
	dir := stateDir(t)
	s := open(t, dir)
	id, err := s.Identity()
	if err != nil {
		t.Fatal(err)
	}
	server(t, s, "a", 1)
	torn := []string{filepath.Join(dir, ".tmp-0123"), filepath.Join(dir, "servers", "a_1", ".tmp-4567")}
	for _, path := range torn {
		if err := os.WriteFile(path, []byte("# This file is you in So"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kept := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(kept, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	server(t, s, "a", 1)
	for _, path := range torn {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
	if _, err := os.Lstat(kept); err != nil {
		t.Error("a file of the user's was removed")
	}
	if again, err := s.Identity(); err != nil || !again.Equal(*id) {
		t.Errorf("the identity changed: %v", err)
	}
}

// TestFailedWrite: a write that fails leaves the old file and no rubbish.
func TestFailedWrite(t *testing.T) {
	if os.Geteuid() == 0 { // for whom no directory is read-only
		asNobody(t)
		return
	}
	dir := stateDir(t)
	s := open(t, dir)
	v := server(t, s, "a", 1)
	if err := v.CheckPin([]byte("c")); err != nil {
		t.Fatal(err)
	}
	inner := filepath.Join(dir, "servers", "a_1")
	if err := os.Chmod(inner, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(inner, 0o700)
	if err := v.SetPort(5); !errors.Is(err, os.ErrPermission) {
		t.Errorf("%v", err)
	}
	if err := v.CheckPin([]byte("c")); err != nil {
		t.Errorf("reading: %v", err)
	}
}

// asNobody runs the calling test once more, in a process of a user without rights.
func asNobody(t *testing.T) {
	t.Helper()
	const nobody = 65534
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Where everybody can run it, with a directory for its files.
	dir, err := os.MkdirTemp("", "sotto-nobody")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	copied, temp := filepath.Join(dir, "test"), filepath.Join(dir, "temp")
	b, err := os.ReadFile(exe)
	if err = errors.Join(err, os.Chmod(dir, 0o755), os.WriteFile(copied, b, 0o755), os.Mkdir(temp, 0o700), os.Chown(temp, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(copied, "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = temp, append(os.Environ(), "TMPDIR="+temp, "HOME="+temp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}
