package guard_test

import (
	"crypto/sha256"
	"errors"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/guard"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// The certificate that the client shows first is the one that may come.
func TestClientPin(t *testing.T) {
	first, second := selfSigned(t, "alice"), selfSigned(t, "mallory")
	s := newStage(t, options{policy: e2ee.PolicyOff})
	call := s.logIn(v15, v15, &first)
	if len(call.server.cert) == 0 {
		t.Error("guard shows the server no certificate, though its client has one")
	}
	if e := s.wantKind("client_pinned"); e.Fingerprint != keystore.Fingerprint(sha256.Sum256(first.Certificate[0])) {
		t.Errorf("event %+v", e)
	}
	refusedWith := func(l *leg, words string) {
		t.Helper()
		l.send(version(v15), &mumblepb.Authenticate{Username: proto.String("mallory")})
		r, _ := until[*mumblepb.Reject](l)
		if r.GetType() != mumblepb.Reject_None || !strings.Contains(r.GetReason(), words) || strings.HasSuffix(r.GetReason(), ".") {
			t.Errorf("refused with %v", r)
		}
		l.ended()
		s.wantKind("client_refused")
	}
	// While the session lasts another is sent away, and the session does not suffer.
	refusedWith(s.connect(&second), "another Mumble")
	refusedWith(s.connect(nil), "another Mumble")
	if got := call.goesUp(&mumblepb.UserStats{Session: proto.Uint32(bobby)}); len(got) != 1 {
		t.Errorf("the session suffered: %v", got)
	}
	// The same client comes again, before we noticed that it was gone: it replaces
	// itself.
	again := s.connect(&first)
	again.send(version(v15), &mumblepb.Authenticate{Username: proto.String("alice")})
	call.client.ended()
	call.server.ended()
	server := s.upstream()
	server.send(version(v15))
	if a, _ := until[*mumblepb.Authenticate](server); a.GetUsername() != "alice" {
		t.Errorf("login %v", a)
	}
	// With nobody there the others are refused as well.
	again.conn.Close(0)
	server.ended()
	s.wantKind("disconnected")
	refusedWith(s.connect(&second), "belongs to another Mumble")
	refusedWith(s.connect(nil), "shows none")
}

// A client that hides its certificate stays hidden.
func TestHiddenCertificate(t *testing.T) {
	call := newStage(t, options{policy: e2ee.PolicyOff}).logIn(v15, v15, nil)
	if len(call.server.cert) != 0 {
		t.Error("guard shows the server a certificate, though its client has none")
	}
}

// A client that does not finish its login, or says something else first.
func TestArrivals(t *testing.T) {
	s := newStage(t, options{policy: e2ee.PolicyRequire})
	l := s.connect(nil)
	l.send(&mumblepb.UserState{Session: proto.Uint32(1)}, &mumblepb.Ping{})
	l.conn.Send(control.TypeVersion, []byte{0xFF})
	l.ended() // a malformed Version is no client
	l = s.connect(nil)
	l.conn.Send(control.TypeTextMessage, make([]byte, 2<<20))
	l.ended() // more than 1 MiB before the login
	nc, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", portOf(s)))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	nc.SetReadDeadline(time.Now().Add(patience))
	for b := make([]byte, 100); ; {
		if _, err := nc.Read(b); err != nil {
			break
		}
	}
	s.logIn(v15, v15, nil)
}

// Many who connect and say nothing push each other out, and keep nobody away.
func TestSilentCallers(t *testing.T) {
	s := newStage(t, options{policy: e2ee.PolicyRequire})
	var silent []net.Conn
	for range 40 {
		nc, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", portOf(s)))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		silent = append(silent, nc)
	}
	for i, nc := range silent[:20] {
		nc.SetReadDeadline(time.Now().Add(patience))
		if _, err := nc.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Fatalf("caller %d is still there: %v", i, err)
		}
	}
	s.logIn(v15, v15, nil)
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func TestNewRefuses(t *testing.T) {
	store, err := keystore.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	record, err := store.Server("example.org", 64738)
	if err != nil {
		t.Fatal(err)
	}
	base := guard.Config{Address: "example.org:64738", Listen: []string{"127.0.0.1:0"}, Policy: e2ee.PolicyOff, Store: store, Server: record}
	for _, c := range []struct {
		name   string
		change func(*guard.Config)
		want   string
	}{
		{"no secret to mix in", func(c *guard.Config) { c.Policy, c.GroupSecret = e2ee.PolicyPrefer, true }, "no secret"},
		{"nor with require", func(c *guard.Config) { c.Policy, c.GroupSecret = e2ee.PolicyRequire, true }, "no secret"},
		{"not loopback", func(c *guard.Config) { c.Listen = []string{"0.0.0.0:0"} }, "loopback"},
		{"a name", func(c *guard.Config) { c.Listen = []string{"localhost:0"} }, "loopback"},
		{"nowhere", func(c *guard.Config) { c.Listen = nil }, "nowhere"},
		{"no port", func(c *guard.Config) { c.Listen = []string{"127.0.0.1"} }, "port"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := base
			c.change(&cfg)
			g, err := guard.New(cfg)
			if err == nil {
				g.Close()
				t.Fatal("it starts")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v", err)
			}
		})
	}
	// Without a secret keys are agreed on automatically.
	for _, policy := range []e2ee.Policy{e2ee.PolicyPrefer, e2ee.PolicyRequire} {
		cfg := base
		cfg.Policy = policy
		g, err := guard.New(cfg)
		if err != nil {
			t.Fatalf("%v: %v", policy, err)
		}
		g.Close()
	}
	g, err := guard.New(base)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	// A port that somebody else has is said as such.
	taken := base
	taken.Listen = []string{net.JoinHostPort("127.0.0.1", strconv.Itoa(int(g.Port())))}
	if second, err := guard.New(taken); err == nil {
		second.Close()
		t.Error("two guards on one port")
	}
}

// A client that goes without a login asks its person about guard's certificate. If
// none has come in good time, guard says so, once.
func TestUndecided(t *testing.T) {
	t.Parallel()
	s := newStage(t, options{policy: e2ee.PolicyOff})
	s.connect(nil).conn.Close(0)
	s.connect(nil).conn.Close(0)
	if e := s.wantKind("client_undecided"); e.Text != s.guard.Link() || !strings.Contains(e.Text, ":"+portOf(s)+"/") {
		t.Errorf("event %+v", e)
	}
}
