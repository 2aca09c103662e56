package simnet_test

import (
	"bytes"
	"fmt"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/internal/simnet"
	"github.com/sotto-voip/sotto/mls"
)

// newGroupNode returns an endpoint of somebody new, with automatic groups.
func newGroupNode(t testing.TB, policy e2ee.Policy, suites ...mls.CipherSuite) *node {
	t.Helper()
	e, err := endpoint.NewGroups(e2ee.GroupsConfig{
		Policy: policy, Server: testServer, Address: "voice.example.org:64738", Device: identity.New().NewDevice(0), Suites: suites,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &node{Endpoint: e}
}

// Four people with Sotto and nothing typed: on each kind of server they are in one
// group, hear each other, and the server's limits drop nothing.
func TestGroupsMeet(t *testing.T) {
	for _, profile := range profiles {
		p := profile()
		t.Run(p.Name, func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, 7)
			var log bytes.Buffer
			clock := simnet.NewClock()
			srv := simnet.NewServer(clock, simnet.Config{Seed: 7, Profile: p, Network: simnet.Lossy(0.02), Log: &log})
			suite := mls.CipherSuite(0xF47A)
			if p.Name == simnet.UMurmur().Name {
				suite = mls.X25519AES128GCM
			}
			var nodes []*node
			var peers []*simnet.Peer
			for i := range 4 {
				n := newGroupNode(t, e2ee.PolicyRequire, suite)
				peer := srv.NewPeer(fmt.Sprintf("p%d", i), n)
				nodes, peers = append(nodes, n), append(peers, peer)
				peer.Connect()
			}
			began := clock.Elapsed()
			for together := false; !together; {
				if clock.Elapsed()-began > time.Minute {
					for _, n := range nodes {
						g := n.Groups()
						t.Logf("%v members %v %+v", n.State(), g.Members(), g.Agreement())
					}
					t.Fatalf("not together\n%s", tail(log.String(), 12000))
				}
				run(t, clock, 100*time.Millisecond)
				together = true
				for _, n := range nodes {
					together = together && n.State() == e2ee.StatePriv && len(n.Groups().Members()) == len(nodes)
				}
			}
			t.Logf("%s: together after %v", p.Name, clock.Elapsed()-began)
			heard := 0
			for _, q := range peers {
				q.Talk(2*time.Second, opus(9))
			}
			run(t, clock, 4*time.Second)
			for _, q := range peers {
				heard += int(q.Stats().Opened)
			}
			t.Logf("%d packets opened", heard)
			if heard < 4*3*90 {
				t.Errorf("%d packets opened\n%s", heard, tail(log.String(), 4000))
			}
			if d := srv.Dropped().Limited(); d != 0 {
				t.Errorf("%d messages above the server's limits", d)
			}
		})
	}
}

func tail(s string, n int) string {
	if len(s) > n {
		return s[len(s)-n:]
	}
	return s
}
