package simnet_test

import (
	"bytes"
	"fmt"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/internal/simnet"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// club is some people who know one secret.
type club struct {
	t     testing.TB
	clock *simnet.Clock
	srv   *simnet.Server
	nodes []*node
	peers []*simnet.Peer
	bad   int // voice packets that did not open
	log   bytes.Buffer
}

func newClub(t testing.TB, seed uint64, p simnet.Profile, net simnet.Network, names ...string) *club {
	t.Helper()
	cryptotest.SetGlobalRandom(t.(*testing.T), seed)
	c := &club{t: t, clock: simnet.NewClock()}
	c.srv = simnet.NewServer(c.clock, simnet.Config{Seed: seed, Profile: p, Network: net, Log: &c.log})
	words := e2ee.NewSecret()
	for _, name := range names {
		n := newNode(t, words)
		peer := c.srv.NewPeer(name, n)
		peer.Retry = 5 * time.Second
		peer.OnVoice = func(in, out *voice.Packet, err error) {
			if err != nil {
				c.bad++
			}
		}
		c.nodes, c.peers = append(c.nodes, n), append(c.peers, peer)
	}
	return c
}

func (c *club) run(d time.Duration) { c.t.Helper(); run(c.t, c.clock, d) }

func (c *club) wantTyped(when string) {
	c.t.Helper()
	for i, n := range c.nodes {
		if s := n.State(); s != e2ee.StateTyped {
			c.t.Errorf("%s: %s is %v with holders %v", when, c.peers[i].Name(), s, n.Holders())
		}
	}
}

// wantTalk lets everybody talk and demands that everything that arrives opens.
func (c *club) wantTalk(when string) {
	c.t.Helper()
	c.bad = 0
	before := make([]simnet.PeerStats, len(c.peers))
	for i, p := range c.peers {
		before[i] = p.Stats()
		p.Talk(2*time.Second, opus(byte(i)))
	}
	c.run(3 * time.Second)
	for i, p := range c.peers {
		s := p.Stats()
		if said := s.Said - before[i].Said; said < 100 {
			c.t.Errorf("%s: %s said %d packets", when, p.Name(), said)
		}
		if heard := s.Heard - before[i].Heard; heard < 200 {
			c.t.Errorf("%s: %s heard %d packets", when, p.Name(), heard)
		}
	}
	if c.bad != 0 {
		c.t.Errorf("%s: %d packets did not open", when, c.bad)
	}
}

func TestTypedSecretEverywhere(t *testing.T) {
	for _, p := range profiles {
		t.Run(p().Name, func(t *testing.T) {
			c := newClub(t, 1, p(), simnet.Lossy(0.05), "alice", "bob", "carol", "dave")
			lobby := c.srv.AddChannel(0, "Lobby")
			for _, peer := range c.peers {
				peer.Connect()
			}
			c.run(20 * time.Second)
			c.wantTyped("connected")
			c.wantTalk("connected")
			for _, peer := range c.peers {
				peer.Move(lobby)
			}
			c.run(10 * time.Second)
			c.wantTyped("moved")
			c.wantTalk("moved")
			c.peers[0].Cut()
			c.run(40 * time.Second)
			c.peers[0].Move(lobby) // a guest comes back into the root
			c.run(10 * time.Second)
			c.wantTyped("reconnected")
			c.wantTalk("reconnected")
			if d := c.srv.Dropped(); d.Limited() != 0 {
				t.Errorf("dropped: %+v", d)
			}
			t.Logf("%d events, %+v", c.clock.Events(), c.srv.Counters())
		})
	}
}

func TestSameSeedSameLog(t *testing.T) {
	logs := map[string]int{}
	var first []byte
	for i, seed := range []uint64{7, 7, 8} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			c := newClub(t, seed, simnet.Murmur15(), simnet.Lossy(0.05), "alice", "bob", "carol", "dave")
			c.srv.Chaos(simnet.Chaos{Drop: 0.05, Reorder: 0.05, Duplicate: 0.05, Truncate: 0.02, Voice: true, Ghost: 0.1, Rename: 0.1, Hide: 0.1, Fork: 0.1})
			for _, p := range c.peers {
				p.Connect()
			}
			c.run(20 * time.Second)
			for _, p := range c.peers {
				p.Talk(2*time.Second, opus(1))
			}
			c.run(20 * time.Second)
			logs[c.log.String()]++
			if i == 0 {
				first = bytes.Clone(c.log.Bytes())
			}
			if i == 1 && !bytes.Equal(first, c.log.Bytes()) {
				t.Error(difference(first, c.log.Bytes()))
			}
		})
	}
	if len(logs) != 2 {
		t.Errorf("%d different logs of 2 seeds", len(logs))
	}
	if n := bytes.Count(first, []byte("\n")); n < 1000 {
		t.Errorf("a log of %d lines", n)
	}
}

// difference names the first line in which two logs differ.
func difference(a, b []byte) string {
	x, y := bytes.Split(a, []byte("\n")), bytes.Split(b, []byte("\n"))
	for i := range min(len(x), len(y)) {
		if !bytes.Equal(x[i], y[i]) {
			return fmt.Sprintf("line %d: %s / %s", i+1, x[i], y[i])
		}
	}
	return fmt.Sprintf("%d and %d lines", len(x), len(y))
}
