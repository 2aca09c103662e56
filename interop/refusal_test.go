package interop_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// fails wants a command to end with an exit code, one line of error that holds
// words, and a hint that holds others ("" wants none to be checked).
func (s *sotto) fails(code int, words, hint string) {
	s.t.Helper()
	if got := s.end(patience); got != code {
		s.t.Errorf("%s ended with %d, want %d: %s", s.name, got, code, s.Stderr())
	}
	var errs, hints []string
	for line := range strings.Lines(s.Stderr()) {
		if e, ok := strings.CutPrefix(line, "sotto: error: "); ok {
			errs = append(errs, e)
		}
		if h, ok := strings.CutPrefix(line, "sotto: hint: "); ok {
			hints = append(hints, h)
		}
	}
	if len(errs) != 1 || !strings.Contains(errs[0], words) {
		s.t.Errorf("%s: the errors are %q, want one with %q", s.name, errs, words)
	}
	if hint != "" && (len(hints) != 1 || !strings.Contains(hints[0], hint)) {
		s.t.Errorf("%s: the hints are %q, want one with %q", s.name, hints, hint)
	}
	s.t.Logf("%s: %s", s.name, strings.TrimSpace(s.Stderr()))
}

// rejected wants a login to be refused with a reason, in good time.
func rejected(t *testing.T, addr, name string, opts peers.RawOptions, typ mumblepb.Reject_RejectType, words string) {
	t.Helper()
	r, err := peers.TryRaw(addr, name, opts)
	if err == nil {
		r.Close()
		t.Errorf("%s came in", name)
		return
	}
	var no *peers.Rejected
	if !errors.As(err, &no) {
		t.Errorf("%s was not rejected but: %v", name, err)
		return
	}
	t.Logf("%s: %v", name, err)
	if no.Type != typ || !strings.Contains(no.Reason, words) {
		t.Errorf("%s was rejected with %v, %q, want %v, %q", name, no.Type, no.Reason, typ, words)
	}
}

// TestRefusedLogins: each reason of a server not to let somebody in, seen by a
// client behind guard and by a headless one.
func TestRefusedLogins(t *testing.T) {
	for _, kind := range peers.ServerKinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			secret := newSecret(t)

			closed := peers.Start(t, kind, peers.ServerOptions{Password: "open sesame"})
			g := startGuard(t, "guard", closed.Addr(), secret)
			rejected(t, g.addr(), "alice", peers.RawOptions{Password: "wrong"}, mumblepb.Reject_WrongServerPW, "")
			rejected(t, g.addr(), "alice", peers.RawOptions{}, mumblepb.Reject_WrongServerPW, "")
			peers.DialRaw(t, g.addr(), "alice", peers.RawOptions{Password: "open sesame"})
			startClient(t, "chat", "bob:wrong", closed.Addr(), "", nil).fails(1, "refused the login", "password")

			// Murmur resets a connection beyond twice its limit without a word.
			full := peers.Start(t, kind, peers.ServerOptions{Ini: []string{"users=3"}})
			g = startGuard(t, "guard", full.Addr(), secret)
			for _, early := range []string{"one", "two", "three"} {
				peers.DialRaw(t, full.Addr(), early, peers.RawOptions{})
			}
			rejected(t, g.addr(), "alice", peers.RawOptions{}, mumblepb.Reject_ServerFull, "")
			startClient(t, "record", "bob", full.Addr(), "", nil, t.TempDir()).fails(1, "refused the login", "")

			// A registered name belongs to a certificate, and guard shows another.
			// No password helps, so the type is changed: the client shows the words.
			home := peers.Start(t, kind, peers.ServerOptions{SuperUserPassword: "hall"})
			g = startGuard(t, "guard", home.Addr(), secret)
			cert := peers.NewCertificate(t, "alice")
			alice := peers.DialRaw(t, home.Addr(), "alice", peers.RawOptions{Certificate: cert})
			admin := home.Admin()
			admin.Send(&mumblepb.UserState{Session: &alice.Session, UserId: proto.Uint32(0)})
			waitFor(t, "registration", func() bool { return alice.Users()[alice.Session].UserId != nil })
			alice.Close()
			rejected(t, g.addr(), "alice", peers.RawOptions{Certificate: cert}, mumblepb.Reject_None, "import-mumble")
			startClient(t, "chat", "alice", home.Addr(), "", nil).fails(1, "refused the login", "import-mumble")
		})
	}
}

// TestServerAway: guard does not start without its server, and tells its client
// when the server has gone.
func TestServerAway(t *testing.T) {
	t.Parallel()
	server := peers.Start(t, peers.Murmur134, peers.ServerOptions{})
	g := startGuard(t, "guard", server.Addr(), newSecret(t))
	server.Stop()
	rejected(t, g.addr(), "alice", peers.RawOptions{}, mumblepb.Reject_None, "cannot reach the server")
	g.wait("upstream_failed", nil)
	start(t, "guard without server", "guard", "--state", shortDir(t), "--policy", "off", "--listen", "0", server.Addr()).
		fails(1, server.Addr(), "is the server running")
	startClient(t, "chat", "bob", server.Addr(), "", nil).fails(1, server.Addr(), "is the server running")
	startClient(t, "chat", "bob", "no-such-host.invalid", "", nil).fails(1, "no-such-host.invalid", "")
}

// TestChangedCertificate: the server that was known shows another certificate.
func TestChangedCertificate(t *testing.T) {
	t.Parallel()
	old, changed := peers.NewCertificate(t, "old"), peers.NewCertificate(t, "new")
	was, is := keystore.Fingerprint(old.Fingerprint()), keystore.Fingerprint(changed.Fingerprint())
	s := startScripted(t, old)
	guardState, chatState := shortDir(t), shortDir(t)
	secret := secretFile(t, newSecret(t))
	guard := []string{"guard", "--json", "--state", guardState, "--listen", "0", "--secret-file", secret, s.addr()}
	chat := []string{"chat", "--json", "--plain", "--state", chatState, "mumble://bob@" + s.addr()}
	g := &guarded{sotto: start(t, "guard", guard...)}
	g.port = g.wait("listening", nil).Port
	s.set(old, welcomed)
	c := start(t, "chat", chat...)
	c.wait("connected", nil)
	c.stdin.Close()
	c.end(patience)

	s.set(changed, welcomed)
	rejected(t, g.addr(), "alice", peers.RawOptions{}, mumblepb.Reject_None, "another certificate")
	g.Stop()
	for name, args := range map[string][]string{"guard": guard, "chat": chat} {
		c := start(t, name+" later", args...)
		c.fails(4, "", "")
		for _, fingerprint := range []string{was, is} {
			if !strings.Contains(c.Stderr(), fingerprint) {
				t.Errorf("%s does not show the fingerprint %s", name, fingerprint)
			}
		}
	}
	// The person has compared the new one: now it counts, and the old one does not.
	accept := func(fingerprint string) []string {
		args := append([]string{}, guard[:len(guard)-1]...)
		return append(args, "--accept-certificate", fingerprint, s.addr())
	}
	start(t, "guard accepting a third", accept(strings.Repeat("00", 32))...).fails(4, "", "")
	g = &guarded{sotto: start(t, "guard accepting", accept(is)...)}
	g.wait("listening", nil)
	g.Stop()
	g = &guarded{sotto: start(t, "guard, new certificate", guard...)}
	g.wait("listening", nil)
	g.Stop()
	s.set(old, nil)
	start(t, "guard, old certificate", guard...).fails(4, "", "")
}

// TestBadStart: what guard finds out about its own machine before it listens.
func TestBadStart(t *testing.T) {
	t.Parallel()
	s := startScripted(t, peers.NewCertificate(t, "server"))
	file := secretFile(t, newSecret(t))
	guard := func(name string, flags ...string) *sotto {
		return start(t, name, append(append([]string{"guard", "--state", shortDir(t)}, flags...), s.addr())...)
	}
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	guard("port in use", "--secret-file", file, "--listen", strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)).
		fails(1, "in use", "--listen")
	guard("no secret file", "--secret-file", file+".gone").fails(1, "secret", "")
	guard("no terminal to ask on", "--ask-secret").fails(1, "no secret", "--secret-file")
	open := filepath.Join(shortDir(t), "open")
	if err := os.WriteFile(open, []byte("sotto\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil { // whatever the umask
		t.Fatal(err)
	}
	guard("secret for all to read", "--secret-file", open).fails(1, "0644", "chmod 600")
	empty := secretFile(t, "")
	guard("empty secret", "--secret-file", empty).fails(1, "empty", "sotto secret")
	short := secretFile(t, "short")
	guard("short secret", "--secret-file", short).fails(1, "", "")
	guard("not on loopback", "--secret-file", file, "--listen", "0.0.0.0:0").fails(2, "loopback", "")
}

// TestOneClient: a guard belongs to one client, known by its certificate.
func TestOneClient(t *testing.T) {
	t.Parallel()
	server := peers.Start(t, peers.Murmur15, peers.ServerOptions{})
	g := startGuard(t, "guard", server.Addr(), newSecret(t))
	// Before a certificate was shown, anybody is let in.
	first := peers.DialRaw(t, g.addr(), "first", peers.RawOptions{})
	first.Close()
	cert, other := peers.NewCertificate(t, "alice"), peers.NewCertificate(t, "mallory")
	alice := peers.DialRaw(t, g.addr(), "alice", peers.RawOptions{Certificate: cert})
	g.wait("client_pinned", nil)
	rejected(t, g.addr(), "mallory", peers.RawOptions{Certificate: other}, mumblepb.Reject_None, "this guard")
	rejected(t, g.addr(), "nobody", peers.RawOptions{}, mumblepb.Reject_None, "this guard")
	alice.Send(&mumblepb.UserStats{Session: &alice.Session})
	alice.Wait(patience, "answer of the server", func(got peers.Received) bool {
		_, ok := got.Message.(*mumblepb.UserStats)
		return ok
	})
	// The same client again, before guard has seen the first go: it replaces it.
	again := peers.DialRaw(t, g.addr(), "alice2", peers.RawOptions{Certificate: cert})
	waitFor(t, "end of the first connection", func() bool { return alice.Err() != nil })
	again.Close()
	// And when it is gone the others still do not come in.
	g.wait("disconnected", func(e event) bool { return strings.Contains(e.Reason, "left") })
	rejected(t, g.addr(), "mallory", peers.RawOptions{Certificate: other}, mumblepb.Reject_None, "this guard")
	rejected(t, g.addr(), "nobody", peers.RawOptions{}, mumblepb.Reject_None, "this guard")
	if texts := fmt.Sprint(again.Texts()); strings.Contains(texts, "mallory") {
		t.Errorf("the client was told about the strangers: %s", texts)
	}
}
