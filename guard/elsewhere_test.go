package guard_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// TestElsewhere: the server removes us because somebody has come with the same
// certificate, which is said in guard's own window; other removals are not.
func TestElsewhere(t *testing.T) {
	const ghost = "You connected to the server from another device"
	s := newStage(t, options{policy: e2ee.PolicyRequire})
	call := s.logIn(v15, v15, nil)
	for _, m := range []*mumblepb.UserRemove{
		{Session: proto.Uint32(bobby), Reason: proto.String(ghost)},
		{Session: proto.Uint32(alice), Actor: proto.Uint32(bobby), Reason: proto.String("enough")},
		{Session: proto.Uint32(alice), Reason: proto.String(ghost)},
	} {
		got := fenced(call.server, call.client, func() { call.server.send(m) })
		passed := false
		for _, f := range got {
			passed = passed || f.Type == control.TypeUserRemove
		}
		if !passed {
			t.Errorf("%v does not reach the client", m)
		}
	}
	if e := s.wantKind("elsewhere"); !strings.Contains(e.Text, "not protected") {
		t.Errorf("event %+v", e)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Event == "elsewhere" {
			t.Errorf("said again: %+v", e)
		}
	}
}

// TestHideCertificate: whoever hides their certificate in the client stays hidden,
// whatever the client shows to guard.
func TestHideCertificate(t *testing.T) {
	cert := selfSigned(t, "alice")
	s := newStage(t, options{policy: e2ee.PolicyOff, hide: true})
	if call := s.logIn(v15, v15, &cert); len(call.server.cert) != 0 {
		t.Error("guard shows the server a certificate")
	}
}

// TestCame: who started a client can see how far it came.
func TestCame(t *testing.T) {
	s := newStage(t, options{policy: e2ee.PolicyOff})
	if n, in := s.guard.Came(); n != 0 || in != 0 {
		t.Errorf("before anybody came: %d, %d", n, in)
	}
	s.connect(nil).conn.Close(0)
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		n, in := s.guard.Came()
		if n == 1 && in == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("one came and left: %d, %d", n, in)
		}
	}
	s.logIn(v15, v15, nil)
	if n, in := s.guard.Came(); n != 2 || in != 1 {
		t.Errorf("one more logged in: %d, %d", n, in)
	}
}
