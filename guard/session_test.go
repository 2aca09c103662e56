package guard_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/guard"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// When one leg ends the other does, without a Reject, and guard takes the next client.
func TestEnds(t *testing.T) {
	s := newStage(t, options{policy: e2ee.PolicyRequire})
	call := s.logIn(v15, v15, nil)
	call.server.conn.Close(0)
	for _, f := range call.client.ended() {
		if f.Type == control.TypeReject {
			t.Error("the client gets a Reject, and would not come back by itself")
		}
	}
	s.wantKind("disconnected")

	call = s.logIn(v15, v15, nil)
	call.client.conn.Close(0)
	call.server.ended()
	s.wantKind("disconnected")

	call = s.logIn(v15, v15, nil)
	call.client.conn.Send(control.TypeTextMessage, make([]byte, control.MaxLen+1))
	call.server.ended()
	s.wantKind("disconnected")
	s.logIn(v15, v15, nil)
}

// What guard cannot do it says in a Reject of type None: the client prints that
// and comes again.
func TestUpstreamFails(t *testing.T) {
	t.Run("the server is away", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		dead := l.Addr().(*net.TCPAddr)
		l.Close()
		store, err := keystore.Open(filepath.Join(t.TempDir(), "state"))
		if err != nil {
			t.Fatal(err)
		}
		record, err := store.Server("127.0.0.1", uint16(dead.Port))
		if err != nil {
			t.Fatal(err)
		}
		s := &stage{t: t, told: make(chan struct{}, 1)}
		if s.guard, err = guard.New(guard.Config{
			Address: dead.String(), Listen: []string{"127.0.0.1:0"}, Policy: e2ee.PolicyOff, Store: store, Server: record, Events: s.event,
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.guard.Check(t.Context()); err == nil {
			t.Error("the check succeeds")
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.guard.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
		client := s.connect(nil)
		client.send(version(v15), &mumblepb.Authenticate{Username: proto.String("alice")})
		if r, _ := until[*mumblepb.Reject](client); r.GetType() != mumblepb.Reject_None || !strings.Contains(r.GetReason(), "cannot reach the server") {
			t.Errorf("%v", r)
		}
		s.wantKind("upstream_failed")
	})
	t.Run("the server shows another certificate", func(t *testing.T) {
		s := newStage(t, options{policy: e2ee.PolicyRequire})
		call := s.logIn(v15, v15, nil)
		call.client.conn.Close(0)
		s.wantKind("disconnected")
		other := selfSigned(t, "somebody in between")
		s.mu.Lock()
		s.cert = other
		s.mu.Unlock()
		client := s.connect(nil)
		client.send(version(v15), &mumblepb.Authenticate{Username: proto.String("alice"), Password: proto.String("pw")})
		if r, _ := until[*mumblepb.Reject](client); r.GetType() != mumblepb.Reject_None || !strings.Contains(r.GetReason(), "another certificate than before") {
			t.Errorf("%v", r)
		}
		s.wantKind("upstream_failed")
		var changed *keystore.PinError
		if err := s.guard.Check(t.Context()); !errors.As(err, &changed) {
			t.Errorf("the check: %v", err)
		}
	})
	t.Run("the server falls silent before its Version", func(t *testing.T) {
		s := newStage(t, options{policy: e2ee.PolicyRequire})
		client := s.connect(nil)
		client.send(version(v13), &mumblepb.Authenticate{Username: proto.String("alice")})
		server := s.upstream()
		if v, _ := until[*mumblepb.Version](server); control.VersionOf(v) != v13 {
			t.Errorf("announced %v", v)
		}
		server.conn.Close(0)
		client.ended()
	})
}
