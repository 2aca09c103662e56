package keystore_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/keystore"
)

// childDir makes the test binary a process that uses a state directory once.
const childDir = "SOTTO_TEST_KEYSTORE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		bufio.NewReader(os.Stdin).ReadByte() // all children start at once
		if err := useOnce(dir); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// useOnce makes everything that first use makes and prints what came of it.
func useOnce(dir string) error {
	s, err := keystore.Open(dir)
	if err != nil {
		return err
	}
	id, err := s.Identity()
	if err != nil {
		return err
	}
	device, err := s.Device()
	if err != nil {
		return err
	}
	own, err := s.OwnCertificate()
	if err != nil {
		return err
	}
	v, err := s.Server("voice.example.org", 64738)
	if err != nil {
		return err
	}
	guard, err := v.TLSCertificate()
	if err != nil {
		return err
	}
	// Each shows another server certificate; one of them is remembered.
	v.CheckPin([]byte(fmt.Sprint(os.Getpid(), time.Now().UnixNano())))
	pin, ok, err := v.Pin()
	if err != nil || !ok {
		return fmt.Errorf("no pin: %w", err)
	}
	fmt.Printf("%s %s %x %x %x\n", id.Public().Contact(), device.Public(), sha256.Sum256(own.Certificate[0]), sha256.Sum256(guard.Certificate[0]), pin)
	return nil
}

func open(t testing.TB, dir string) *keystore.Store {
	t.Helper()
	s, err := keystore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func server(t testing.TB, s *keystore.Store, host string, port uint16) *keystore.Server {
	t.Helper()
	v, err := s.Server(host, port)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// stateDir returns the name of a state directory that does not exist yet.
func stateDir(t testing.TB) string { return filepath.Join(t.TempDir(), "deep", "sotto") }

func TestDir(t *testing.T) {
	if got, err := keystore.Dir("some/where"); err != nil || !filepath.IsAbs(got) || !strings.HasSuffix(got, filepath.Join("some", "where")) {
		t.Errorf("--state some/where: %q, %v", got, err)
	}
	xdg := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", xdg)
	if got, err := keystore.Dir(""); err != nil || got != filepath.Join(xdg, "sotto") {
		t.Errorf("XDG_CONFIG_HOME: %q, %v", got, err)
	}
	if runtime.GOOS == "linux" {
		home := t.TempDir()
		t.Setenv("XDG_CONFIG_HOME", "")
		t.Setenv("HOME", home)
		if got, err := keystore.Dir(""); err != nil || got != filepath.Join(home, ".config", "sotto") {
			t.Errorf("HOME: %q, %v", got, err)
		}
		t.Setenv("HOME", "")
		var e *keystore.Error
		if _, err := keystore.Dir(""); !errors.As(err, &e) || !strings.Contains(e.Hint(), "--state") {
			t.Errorf("no HOME: %v", err)
		}
	}
}

// TestFirstUse: everything is made once and found again by another Store.
func TestFirstUse(t *testing.T) {
	dir := stateDir(t)
	s := open(t, dir)
	a, err := s.Identity()
	if err != nil {
		t.Fatal(err)
	}
	b, err := open(t, dir).Identity()
	if err != nil || !a.Equal(*b) {
		t.Errorf("another identity the second time: %v", err)
	}
	v := server(t, s, "Voice.Example.ORG", 64738)
	if got := v.Address(); got != "voice.example.org:64738" {
		t.Errorf("address %q", got)
	}
	c1, err := v.TLSCertificate()
	if err != nil {
		t.Fatal(err)
	}
	c2, err := server(t, open(t, dir), "voice.example.org", 64738).TLSCertificate()
	if err != nil || string(c1.Certificate[0]) != string(c2.Certificate[0]) {
		t.Errorf("another certificate the second time: %v", err)
	}
	c3, err := server(t, s, "voice.example.org", 64739).TLSCertificate()
	if err != nil || string(c1.Certificate[0]) == string(c3.Certificate[0]) {
		t.Errorf("two servers share a certificate: %v", err)
	}
	own, imported, err := s.MumbleCertificate()
	if err != nil || imported {
		t.Fatalf("MumbleCertificate: imported %v, %v", imported, err)
	}
	if c, err := s.OwnCertificate(); err != nil || string(c.Certificate[0]) != string(own.Certificate[0]) {
		t.Errorf("another own certificate: %v", err)
	}
	wantPrivate(t, dir)
}

// wantPrivate fails if anything at or below dir is open to others.
func wantPrivate(t *testing.T, dir string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		return
	}
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		n++
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %04o, want %04o", path, got, want)
		}
		if strings.HasPrefix(d.Name(), ".tmp-") {
			t.Errorf("%s was left behind", path)
		}
		return nil
	})
	if err != nil || n < 2 {
		t.Errorf("%d files in %s, %v", n, dir, err)
	}
}

func TestGuardCertificate(t *testing.T) {
	c, err := server(t, open(t, stateDir(t)), "a", 1).TLSCertificate()
	if err != nil {
		t.Fatal(err)
	}
	x, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"::1", "[::1]", "127.0.0.1", "localhost"} {
		if err := x.VerifyHostname(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if x.VerifyHostname("a") == nil || x.IsCA {
		t.Error("it says more than it should")
	}
	if pub, ok := x.PublicKey.(*ecdsa.PublicKey); !ok || pub.Curve != elliptic.P256() {
		t.Errorf("key is %T", x.PublicKey)
	}
	if left := time.Until(x.NotAfter); left < 19*365*24*time.Hour || time.Now().Before(x.NotBefore) {
		t.Errorf("valid from %v to %v", x.NotBefore, x.NotAfter)
	}
	// One error and no other stands between the stock client and this certificate.
	roots := x509.NewCertPool()
	roots.AddCert(x)
	if _, err := x.Verify(x509.VerifyOptions{DNSName: "localhost", Roots: roots}); err != nil {
		t.Errorf("even who trusts it refuses it: %v", err)
	}
}

// TestHandshake uses both kinds of certificate in one TLS connection.
func TestHandshake(t *testing.T) {
	s := open(t, stateDir(t))
	guard, err := server(t, s, "a", 1).TLSCertificate()
	if err != nil {
		t.Fatal(err)
	}
	own, err := s.OwnCertificate()
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	srv := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{guard}, ClientAuth: tls.RequireAnyClientCert})
	done := make(chan error, 1)
	go func() { done <- srv.Handshake() }()
	cli := tls.Client(b, &tls.Config{Certificates: []tls.Certificate{own}, InsecureSkipVerify: true})
	if err := cli.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := srv.ConnectionState().PeerCertificates[0].Subject.CommonName; got != "Mumble User" {
		t.Errorf("the server sees %q", got)
	}
}

// TestRace: goroutines that use a directory for the first time at once end
// with one of everything.
func TestRace(t *testing.T) {
	dir := stateDir(t)
	var wg sync.WaitGroup
	ids := make([]string, 12)
	for i := range ids {
		wg.Go(func() {
			s, err := keystore.Open(dir)
			if err != nil {
				ids[i] = err.Error()
				return
			}
			id, err := s.Identity()
			if err != nil {
				ids[i] = err.Error()
				return
			}
			ids[i] = id.Public().Contact()
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] || !strings.HasPrefix(id, "sotto1") {
			t.Errorf("%q and %q", id, ids[0])
		}
	}
}

func TestRaceOfProcesses(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := stateDir(t)
	const n = 6
	var cmds [n]*exec.Cmd
	var outs [n]strings.Builder
	for i := range cmds {
		cmds[i] = exec.Command(exe)
		cmds[i].Env = append(os.Environ(), childDir+"="+dir)
		cmds[i].Stdout = &outs[i]
	}
	stdins := make([]interface{ Close() error }, n)
	for i, c := range cmds {
		in, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdins[i] = in
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, in := range stdins {
		in.Close() // go
	}
	for i, c := range cmds {
		if err := c.Wait(); err != nil {
			t.Errorf("process %d: %v: %s", i, err, outs[i].String())
		}
	}
	for i := range outs {
		if outs[i].String() != outs[0].String() || !strings.HasPrefix(outs[i].String(), "sotto1") {
			t.Errorf("process %d: %s, process 0: %s", i, outs[i].String(), outs[0].String())
		}
	}
	wantPrivate(t, dir)
}

func BenchmarkIdentity(b *testing.B) {
	s := open(b, stateDir(b))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Identity(); err != nil {
			b.Fatal(err)
		}
	}
}
