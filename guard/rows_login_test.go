package guard_test

import (
	"crypto/tls"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// What is refused is said, once.
func TestRefusalsAreSaid(t *testing.T) {
	call := newStage(t, options{policy: e2ee.PolicyRequire}).logIn(v15, v15, nil)
	call.settled()
	for _, c := range []struct {
		name string
		do   func()
		want string
	}{
		{"a text while held", func() {
			call.client.send(&mumblepb.TextMessage{ChannelId: []uint32{0}, Message: proto.String("x")})
		}, "your message was not sent"},
		{"plugin data", func() {
			for range 20 {
				call.client.send(&mumblepb.PluginDataTransmission{ReceiverSessions: []uint32{bobby}, Data: []byte("x"), DataID: proto.String("game")})
			}
		}, "plugins was not sent"},
		{"an unknown message", func() {
			for range 20 {
				call.client.conn.Send(99, nil)
			}
		}, "does not know"},
		{"a command", func() {
			call.client.send(&mumblepb.TextMessage{Message: proto.String("/sotto")})
		}, "microphone is held"},
	} {
		// Up to the server and back down: what guard says in between has come then.
		fenced(call.client, call.server, c.do)
		said := lines(call.goesDown())
		if len(said) != 1 || !strings.Contains(said[0], c.want) {
			t.Errorf("%s: guard says %q", c.name, said)
		}
	}
}

// A login is rewritten where it must be, and not elsewhere.
func TestRowsOfLogin(t *testing.T) {
	for _, policy := range []e2ee.Policy{e2ee.PolicyRequire, e2ee.PolicyOff} {
		t.Run(policy.String(), func(t *testing.T) {
			c := newStage(t, options{policy: policy}).logIn(v13, v15, nil)
			want := &mumblepb.Authenticate{Username: proto.String("alice"), Password: proto.String("pw"), Tokens: []string{"t1"}, Opus: proto.Bool(true)}
			if !proto.Equal(c.login, want) {
				t.Errorf("login %v", c.login)
			}
			if c.shown.GetRelease() != "test via Sotto" || control.VersionOf(c.shown) != v15 {
				t.Errorf("shown %v", c.shown)
			}
			bandwidth := uint32(72000)
			if policy != e2ee.PolicyOff {
				bandwidth -= 22400
			}
			if c.sync.GetSession() != alice || c.sync.GetMaxBandwidth() != bandwidth ||
				!strings.HasPrefix(c.sync.GetWelcomeText(), "Connected through Sotto") || !strings.HasSuffix(c.sync.GetWelcomeText(), "hi") {
				t.Errorf("ServerSync %v", c.sync)
			}
			// The brake is on before the client may speak at all.
			braked := false
			for _, f := range c.before {
				m, err := control.Decode(f)
				if err != nil {
					t.Fatal(err)
				}
				if u, ok := m.(*mumblepb.UserState); ok && u.GetSession() == alice && u.GetSuppress() {
					braked = true
				}
			}
			if braked != (policy != e2ee.PolicyOff) {
				t.Errorf("braked before ServerSync: %v", braked)
			}
		})
	}
}

// refuse lets the server answer one login with a Reject, and returns what the client gets.
func (s *stage) refuse(cert *tls.Certificate, user, password string, with mumblepb.Reject_RejectType, reason string) *mumblepb.Reject {
	s.t.Helper()
	client := s.connect(cert)
	client.send(version(v15), &mumblepb.Authenticate{Username: proto.String(user), Password: proto.String(password)})
	server := s.upstream()
	server.send(version(v15))
	until[*mumblepb.Authenticate](server)
	server.send(&mumblepb.Reject{Type: with.Enum(), Reason: proto.String(reason)})
	r, _ := until[*mumblepb.Reject](client)
	client.ended() // whether or not the server closes the connection
	server.ended()
	return r
}

// The stock client ignores the reason of some refusals, so they become others; all
// else it is told as without guard.
func TestRowReject(t *testing.T) {
	cert := selfSigned(t, "alice")
	type row struct {
		name     string
		cert     *tls.Certificate
		user     string
		in, want mumblepb.Reject_RejectType
		say      string // part of the reason; "": as sent
	}
	rows := []row{
		{"a registered name", &cert, "alice", mumblepb.Reject_WrongUserPW, mumblepb.Reject_None, "import-mumble"},
		{"a registered name of a client that hides its certificate", nil, "alice", mumblepb.Reject_WrongUserPW, mumblepb.Reject_WrongUserPW, ""},
		{"SuperUser's password", &cert, "SuperUser", mumblepb.Reject_WrongUserPW, mumblepb.Reject_WrongUserPW, ""},
		{"a certificate is wanted", &cert, "alice", mumblepb.Reject_NoCertificate, mumblepb.Reject_None, "import-mumble"},
		{"a certificate is wanted of a client that hides its own", nil, "alice", mumblepb.Reject_NoCertificate, mumblepb.Reject_None, "your Mumble shows none"},
	}
	for number, name := range mumblepb.Reject_RejectType_name {
		kind := mumblepb.Reject_RejectType(number)
		if kind != mumblepb.Reject_WrongUserPW && kind != mumblepb.Reject_NoCertificate {
			rows = append(rows, row{name, &cert, "alice", kind, kind, ""})
		}
	}
	if len(mumblepb.Reject_RejectType_name) != 10 {
		t.Errorf("there are %d types of refusal", len(mumblepb.Reject_RejectType_name))
	}
	for _, c := range rows {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, options{policy: e2ee.PolicyRequire})
			r := s.refuse(c.cert, c.user, "", c.in, "go away")
			if r.GetType() != c.want || c.say == "" && r.GetReason() != "go away" || !strings.Contains(r.GetReason(), c.say) {
				t.Errorf("got %v", r)
			}
			if e := s.wantKind("rejected"); e.Code != c.in.String() || e.Reason != "go away" {
				t.Errorf("event %+v", e)
			}
		})
	}
	s := newStage(t, options{policy: e2ee.PolicyOff})
	if r := s.refuse(&cert, "alice", "", mumblepb.Reject_ServerFull, "Sotto: type your secret"); r.GetReason() != "[server] Sotto: type your secret" {
		t.Errorf("a refusal in our name arrives as %v", r)
	}
}

// The stock client tries again every 10 s. Guard answers that by itself, or the
// server would shut this address out.
func TestRejectIsRepeated(t *testing.T) {
	cert := selfSigned(t, "alice")
	s := newStage(t, options{policy: e2ee.PolicyRequire})
	s.refuse(&cert, "alice", "", mumblepb.Reject_WrongUserPW, "go away")
	for range 3 {
		client := s.connect(&cert)
		client.send(version(v15), &mumblepb.Authenticate{Username: proto.String("alice")})
		r, _ := until[*mumblepb.Reject](client)
		if r.GetType() != mumblepb.Reject_None || !strings.Contains(r.GetReason(), "import-mumble") {
			t.Errorf("a repetition is answered with %v", r)
		}
		client.ended()
	}
	if len(s.calls) != 0 {
		t.Errorf("the server was asked %d times more", len(s.calls))
	}
	// What could have another answer is asked for: another password, another name.
	s.refuse(&cert, "alice", "pw", mumblepb.Reject_WrongUserPW, "go away")
	s.refuse(&cert, "alice2", "", mumblepb.Reject_UsernameInUse, "in use")
	// What time may heal is asked for each time.
	s.refuse(&cert, "alice2", "", mumblepb.Reject_UsernameInUse, "in use")
}

// Whatever a server says before its Version, what it is decides what guard
// announces: speaking as to an old one would be worse for both.
func TestVersionIsAwaited(t *testing.T) {
	s := newStage(t, options{policy: e2ee.PolicyOff})
	client := s.connect(nil)
	client.send(version(v13), &mumblepb.Authenticate{Username: proto.String("alice")})
	server := s.upstream()
	server.send(&mumblepb.CodecVersion{Alpha: proto.Int32(1), Beta: proto.Int32(2), PreferAlpha: proto.Bool(false), Opus: proto.Bool(true)})
	until[*mumblepb.CodecVersion](client)
	server.send(version(v15))
	v, before := until[*mumblepb.Version](server)
	if control.VersionOf(v) != control.MakeVersion(1, 5, 0) || v.GetVersionV1() != 0x010500 || len(before) != 0 {
		t.Errorf("announced %v after %d frames", v, len(before))
	}
	until[*mumblepb.Authenticate](server)
}
