package guard_test

import (
	"crypto/sha256"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mirror"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// said is what guard tells its client from do on, until all is at rest.
func (c *call) said(do func()) []string {
	c.t.Helper()
	fenced(c.client, c.server, do)
	return lines(c.goesDown())
}

// What everybody on the server can read is said to be so, once, however often it is
// changed, and not when it is taken away.
func TestPublicIsSaid(t *testing.T) {
	comment := &mumblepb.UserState{Session: proto.Uint32(alice), Comment: proto.String("about me")}
	avatar := &mumblepb.UserState{Session: proto.Uint32(alice), Texture: []byte{1}}
	description := &mumblepb.ChannelState{ChannelId: proto.Uint32(1), Description: proto.String("about it")}
	for _, first := range []proto.Message{comment, avatar, description} {
		call := newStage(t, options{policy: e2ee.PolicyRequire}).logIn(v15, v15, nil)
		call.settled()
		for _, silent := range []proto.Message{
			&mumblepb.UserState{Session: proto.Uint32(alice), Comment: proto.String(""), Texture: []byte{}},
			&mumblepb.ChannelState{ChannelId: proto.Uint32(1), Description: proto.String("")},
			&mumblepb.UserState{Session: proto.Uint32(alice), SelfMute: proto.Bool(true)},
		} {
			if said := call.said(func() { call.client.send(silent) }); len(said) != 0 {
				t.Errorf("%v: guard says %q", silent, said)
			}
		}
		if said := call.said(func() { call.client.send(first) }); len(said) != 1 || !strings.Contains(said[0], "everybody on the server can read") {
			t.Errorf("%v: guard says %q", first, said)
		}
		if said := call.said(func() { call.client.send(comment, avatar, description) }); len(said) != 0 {
			t.Errorf("%v: later guard says %q", first, said)
		}
	}
	call := newStage(t, options{policy: e2ee.PolicyOff}).logIn(v15, v15, nil)
	call.settled()
	if said := call.said(func() { call.client.send(comment) }); len(said) != 0 {
		t.Errorf("with policy off guard says %q", said)
	}
}

// Guard names the certificate of the real server, as the client sees only guard's own.
func TestStatusNamesTheServer(t *testing.T) {
	call := newStage(t, options{policy: e2ee.PolicyRequire}).logIn(v15, v15, nil)
	call.settled()
	want := keystore.Fingerprint(sha256.Sum256(call.cert.Certificate[0]))
	said := call.said(func() {
		call.client.send(&mumblepb.TextMessage{ChannelId: []uint32{0}, Message: proto.String("/Sotto status")})
	})
	if len(said) != 1 || !strings.HasSuffix(said[0], "Certificate of the server: "+want+".") {
		t.Errorf("guard says %q", said)
	}
}

// Who registers while guard shows its own certificate is warned: the name would hang
// on that. It passes all the same.
func TestRegistrationIsWarnedOf(t *testing.T) {
	cert := selfSigned(t, "alice")
	self := &mumblepb.UserState{Session: proto.Uint32(alice), UserId: proto.Uint32(0)}
	other := &mumblepb.UserState{Session: proto.Uint32(bobby), UserId: proto.Uint32(0)}
	call := newStage(t, options{policy: e2ee.PolicyRequire}).logIn(v15, v15, &cert)
	call.settled()
	if said := call.said(func() { call.client.send(other) }); len(said) != 0 {
		t.Errorf("somebody else is registered: guard says %q", said)
	}
	check(t, same("registration", self), withoutOwn(call.goesUp(self)))
	if said := lines(call.goesDown()); len(said) != 1 || !strings.Contains(said[0], "import-mumble") {
		t.Errorf("guard says %q", said)
	}
	call = newStage(t, options{policy: e2ee.PolicyRequire}).logIn(v15, v15, nil)
	call.settled()
	if said := call.said(func() { call.client.send(self) }); len(said) != 0 { // the server will refuse it
		t.Errorf("without a certificate guard says %q", said)
	}
}

// Who is thrown out because somebody came with the same certificate is told what that
// may mean; a kick is a kick.
func TestGhostKick(t *testing.T) {
	const ghost = "You connected to the server from another device"
	for _, c := range []struct {
		name   string
		in     *mumblepb.UserRemove
		warned bool
	}{
		{"another device", &mumblepb.UserRemove{Session: proto.Uint32(alice), Reason: proto.String(ghost)}, true},
		{"somebody who says so", &mumblepb.UserRemove{Session: proto.Uint32(alice), Actor: proto.Uint32(bobby), Reason: proto.String(ghost)}, false},
		{"a kick", &mumblepb.UserRemove{Session: proto.Uint32(alice), Actor: proto.Uint32(bobby), Reason: proto.String("spam")}, false},
		{"somebody else's ghost", &mumblepb.UserRemove{Session: proto.Uint32(bobby), Reason: proto.String(ghost)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			call := newStage(t, options{policy: e2ee.PolicyRequire}).logIn(v15, v15, nil)
			call.settled()
			frames := call.goesDown(c.in)
			said := lines(frames)
			if (len(said) == 1) != c.warned || c.warned && !strings.Contains(said[0], "came with your certificate") {
				t.Errorf("guard says %q", said)
			}
			removed := only[*mumblepb.UserRemove](t, withoutLines(frames))
			if removed.GetReason() != "[server] "+c.in.GetReason() {
				t.Errorf("the client gets %v", removed)
			}
			// The line comes first: behind the removal the client closes.
			if c.warned && line(frames[0]) == "" {
				t.Errorf("the line comes late: %v", frames)
			}
			call.server.conn.Close(0)
			call.client.ended()
			if c.in.GetSession() == alice {
				if e := call.wantKind("kicked"); e.Reason != c.in.GetReason() {
					t.Errorf("event %+v", e)
				}
			}
		})
	}
}

// Clients before 1.4 do not know the refusals of listening, and the server thinks that
// ours does.
func TestNewDenials(t *testing.T) {
	for _, kind := range []mumblepb.PermissionDenied_DenyType{mumblepb.PermissionDenied_ChannelListenerLimit, mumblepb.PermissionDenied_UserListenerLimit} {
		for own, words := range map[control.Version]bool{v13: true, control.MakeVersion(1, 4, 0): false, v15: false} {
			call := newStage(t, options{policy: e2ee.PolicyRequire}).logIn(own, v15, nil)
			call.settled()
			d := only[*mumblepb.PermissionDenied](t, call.goesDown(&mumblepb.PermissionDenied{Type: &kind, Session: proto.Uint32(alice)}))
			if d.GetType() != kind || (d.GetReason() != "") != words || strings.HasSuffix(d.GetReason(), ".") {
				t.Errorf("%v to %v: %v", kind, own, d)
			}
		}
	}
}

// A client before 1.4 shows nobody who listens, so guard names them, once each.
func TestEarsAreNamed(t *testing.T) {
	listens := func(session, channel uint32, name string, add, remove []uint32) proto.Message {
		u := user(session, channel, name)
		u.ListeningChannelAdd, u.ListeningChannelRemove = add, remove
		return u
	}
	for own, policy := range map[control.Version]e2ee.Policy{v13: e2ee.PolicyRequire, 0: e2ee.PolicyOff} {
		call := newStage(t, options{policy: policy}).logIn(own, v15, nil)
		call.settled()
		for _, step := range []struct {
			name string
			in   []proto.Message
			want string // part of the only line about it; "": none
		}{
			{"eve listens to another channel", []proto.Message{listens(20, 1, "eve", []uint32{1}, nil)}, ""},
			{"she listens to ours", []proto.Message{listens(20, 1, "eve", []uint32{0}, nil)}, "from elsewhere by eve."},
			{"she says so again", []proto.Message{listens(20, 1, "eve", []uint32{0}, nil)}, ""},
			{"bob, who is here, listens", []proto.Message{listens(bobby, 0, "bob", []uint32{0}, nil)}, ""},
			{"he goes and listens still", []proto.Message{user(bobby, 1, "bob")}, "from elsewhere by bob."},
			{"eve stops", []proto.Message{listens(20, 1, "eve", nil, []uint32{0, 1})}, ""},
			{"and begins anew", []proto.Message{listens(20, 1, "eve", []uint32{0}, nil)}, "from elsewhere by eve."},
			{"bob leaves", []proto.Message{&mumblepb.UserRemove{Session: proto.Uint32(bobby)}}, ""},
			{"a channel with a listener is linked", []proto.Message{
				&mumblepb.ChannelState{ChannelId: proto.Uint32(2), Parent: proto.Uint32(0), Name: proto.String("Far")},
				listens(21, 1, "mallory", []uint32{2}, nil),
				&mumblepb.ChannelState{ChannelId: proto.Uint32(0), LinksAdd: []uint32{2}},
			}, "from elsewhere by mallory."},
		} {
			var said []string
			for _, l := range lines(call.goesDown(step.in...)) {
				if strings.Contains(l, "from elsewhere") {
					said = append(said, l)
				}
			}
			if step.want == "" && len(said) != 0 || step.want != "" && (len(said) != 1 || !strings.Contains(said[0], step.want)) {
				t.Errorf("%v: %s: guard says %q", own, step.name, said)
			}
		}
	}
	// Clients of 1.4 and later show an ear themselves.
	call := newStage(t, options{policy: e2ee.PolicyRequire}).logIn(v15, v15, nil)
	call.settled()
	if said := lines(call.goesDown(listens(20, 1, "eve", []uint32{0}, nil))); slices.ContainsFunc(said, func(l string) bool { return strings.Contains(l, "from elsewhere") }) {
		t.Errorf("1.5: guard says %q", said)
	}
}

// A server that does what no server does ends the connection once, with the reason.
func TestViolationsAreSaid(t *testing.T) {
	crowd := func(l *leg) {
		for i := range uint32(mirror.MaxUsers + 1) {
			l.send(user(1000+i, 1, "x"))
		}
	}
	giant := func(l *leg) { // a header that promises more than there may be
		l.conn.Send(control.TypeTextMessage, make([]byte, control.MaxLen+1))
	}
	again := func(l *leg) { l.send(&mumblepb.ServerSync{Session: proto.Uint32(bobby)}) }
	for name, c := range map[string]struct {
		do   func(*leg)
		want string
	}{
		"too many people": {crowd, "more people or channels"},
		"a giant message": {giant, "too long"},
		"a second login":  {again, "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			call := newStage(t, options{policy: e2ee.PolicyOff}).logIn(v15, v15, nil)
			call.settled()
			c.do(call.server)
			said := lines(call.client.ended())
			if len(said) == 0 || !strings.Contains(said[len(said)-1], c.want) {
				t.Errorf("guard says %q", said)
			}
			if e := call.wantKind("disconnected"); e.Reason == "" {
				t.Error("the event has no reason")
			}
		})
	}
	t.Run("before the login is complete", func(t *testing.T) {
		s := newStage(t, options{policy: e2ee.PolicyOff})
		client := s.connect(nil)
		client.send(version(v15), &mumblepb.Authenticate{Username: proto.String("alice")})
		server := s.upstream()
		server.send(version(v15))
		until[*mumblepb.Authenticate](server)
		crowd(server)
		r, _ := until[*mumblepb.Reject](client)
		if r.GetType() != mumblepb.Reject_None || !strings.Contains(r.GetReason(), "more people or channels") {
			t.Errorf("the client gets %v", r)
		}
		client.ended()
	})
}
