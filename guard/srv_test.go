package guard_test

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/guard"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// signpost answers each SRV question with one place.
type signpost struct{ to netip.AddrPort }

func (s *signpost) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", []*net.SRV{{Target: s.to.Addr().String() + ".", Port: s.to.Port()}}, nil
}

func (s *signpost) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}

// An SRV record leads to the server, whose certificate is remembered under the name
// that was typed: a record that leads elsewhere later, to a server with a certificate
// of its own, leads nowhere.
func TestSRVCannotSwapServers(t *testing.T) {
	first := newStage(t, options{policy: e2ee.PolicyOff})
	second := newStage(t, options{policy: e2ee.PolicyOff})
	post := &signpost{netip.MustParseAddrPort(first.address)}
	store, err := keystore.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	record, err := store.Server("voice.example", 64738)
	if err != nil {
		t.Fatal(err)
	}
	g, err := guard.New(guard.Config{
		Address: "voice.example:64738", SRV: true, Net: client.Net{Resolver: post}, Listen: []string{"127.0.0.1:0"},
		Policy: e2ee.PolicyOff, Store: store, Server: record,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if err := g.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, known, err := record.Pin(); !known || err != nil {
		t.Fatalf("not remembered under the typed name: %v", err)
	}
	post.to = netip.MustParseAddrPort(second.address)
	err = g.Check(t.Context())
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("another server: %v", err)
	}
	post.to = netip.MustParseAddrPort(first.address)
	if err := g.Check(t.Context()); err != nil {
		t.Errorf("the first server again: %v", err)
	}
}

// A client that comes again and again costs one connection upstream each time, and
// none while it stays away: a server bans who comes more than ten times in two minutes.
func TestOneAttemptUpstreamForEach(t *testing.T) {
	onPaper(t, options{policy: e2ee.PolicyOff}, func(t *testing.T, s *stage) {
		for n := range 5 {
			c := s.connect(nil)
			c.send(version(v15), &mumblepb.Authenticate{Username: proto.String("alice")})
			server := s.upstream()
			server.send(version(v15))
			until[*mumblepb.Authenticate](server)
			if n%2 == 0 { // refused, or lost
				server.send(&mumblepb.Reject{Type: mumblepb.Reject_ServerFull.Enum()})
			}
			server.conn.Close(0)
			c.ended()
			select {
			case <-s.calls:
				t.Fatal("guard tries again by itself")
			default:
			}
		}
		s.paper.server.Close() // the server is down
		for range 3 {
			c := s.connect(nil)
			c.send(version(v15), &mumblepb.Authenticate{Username: proto.String("alice")})
			until[*mumblepb.Reject](c)
		}
		if got := s.paper.dials(); got != 5+3 {
			t.Errorf("%d attempts upstream for 8 of the client", got)
		}
	})
}
