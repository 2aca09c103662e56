package guard_test

import (
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

// The stock client ignores the reason of some refusals, so they become others.
func TestRowReject(t *testing.T) {
	cert := selfSigned(t, "alice")
	for _, c := range []struct {
		name string
		user string
		in   mumblepb.Reject_RejectType
		want mumblepb.Reject_RejectType
		say  string // part of the reason; "": as sent
	}{
		{"a registered name", "alice", mumblepb.Reject_WrongUserPW, mumblepb.Reject_None, "import-mumble"},
		{"SuperUser's password", "SuperUser", mumblepb.Reject_WrongUserPW, mumblepb.Reject_WrongUserPW, ""},
		{"a certificate is wanted", "alice", mumblepb.Reject_NoCertificate, mumblepb.Reject_None, "certificate"},
		{"the server's password", "alice", mumblepb.Reject_WrongServerPW, mumblepb.Reject_WrongServerPW, ""},
		{"a full server", "alice", mumblepb.Reject_ServerFull, mumblepb.Reject_ServerFull, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, options{policy: e2ee.PolicyRequire})
			client := s.connect(&cert)
			client.send(version(v15), &mumblepb.Authenticate{Username: proto.String(c.user)})
			server := s.upstream()
			server.send(version(v15))
			until[*mumblepb.Authenticate](server)
			server.send(&mumblepb.Reject{Type: c.in.Enum(), Reason: proto.String("go away")})
			r, _ := until[*mumblepb.Reject](client)
			if r.GetType() != c.want || c.say == "" && r.GetReason() != "go away" || !strings.Contains(r.GetReason(), c.say) {
				t.Errorf("got %v", r)
			}
			if e := s.wantKind("rejected"); e.Code != c.in.String() || e.Reason != "go away" {
				t.Errorf("event %+v", e)
			}
			server.conn.Close(0)
			client.ended()
		})
	}
}
