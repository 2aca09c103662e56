package simnet_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/cryptotest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/internal/simnet"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// testWords is a typed secret.
var testWords = e2ee.NewSecret()

// club is some people who know one secret.
type club struct {
	t     testing.TB
	clock *simnet.Clock
	srv   *simnet.Server
	nodes []*node
	peers []*simnet.Peer
	bad   int // voice packets that did not open
}

func newClub(t *testing.T, cfg simnet.Config, names ...string) *club {
	t.Helper()
	cryptotest.SetGlobalRandom(t, cfg.Seed)
	c := &club{t: t, clock: simnet.NewClock()}
	c.srv = simnet.NewServer(c.clock, cfg)
	for _, name := range names {
		n := newNode(t, testWords)
		peer := c.srv.NewPeer(name, n)
		peer.Retry = 5 * time.Second
		peer.OnVoice = func(in, out *voice.Packet, err error) {
			if err != nil && !errors.Is(err, endpoint.ErrNothing) { // an announcement opens, and holds no sound
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
		if heard := s.Heard - before[i].Heard; heard < uint64(80*(len(c.peers)-1)) {
			c.t.Errorf("%s: %s heard %d packets", when, p.Name(), heard)
		}
	}
	// A packet that overtakes the five with the key header, or finds them lost, does
	// not open.
	if c.bad > 2 {
		c.t.Errorf("%s: %d packets did not open", when, c.bad)
	}
}

func TestTypedSecretEverywhere(t *testing.T) {
	for _, p := range profiles {
		t.Run(p().Name, func(t *testing.T) {
			c := newClub(t, simnet.Config{Seed: 1, Profile: p(), Network: simnet.Lossy(0.05)}, "alice", "bob", "carol", "dave")
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
			var log bytes.Buffer
			c := newClub(t, simnet.Config{Seed: seed, Profile: simnet.Murmur15(), Network: simnet.Lossy(0.05), Log: &log}, "alice", "bob", "carol", "dave")
			c.srv.Chaos(simnet.Chaos{Drop: 0.05, Reorder: 0.05, Duplicate: 0.05, Truncate: 0.02, Voice: true, Ghost: 0.1, Rename: 0.1, Hide: 0.1, Fork: 0.1})
			for _, p := range c.peers {
				p.Connect()
			}
			c.run(20 * time.Second)
			for _, p := range c.peers {
				p.Talk(2*time.Second, opus(1))
			}
			c.run(20 * time.Second)
			logs[log.String()]++
			if i == 0 {
				first = bytes.Clone(log.Bytes())
			}
			if i == 1 && !bytes.Equal(first, log.Bytes()) {
				t.Error(difference(first, log.Bytes()))
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

// churn lets somebody leave or come back each minute, in four ways, and talk in
// between, for so long.
func (c *club) churn(d time.Duration) {
	c.t.Helper()
	for minute := 0; time.Duration(minute)*time.Minute < d; minute++ {
		i := minute % len(c.peers)
		p := c.peers[i]
		switch minute / len(c.peers) % 4 {
		case 0:
			p.Disconnect()
			c.clock.After(30*time.Second, func() { p.Connect() })
		case 1:
			p.Cut() // comes back by itself
		case 2:
			p.Crash()
			c.clock.After(20*time.Second, func() {
				c.nodes[i] = newNode(c.t, testWords)
				p.SetNode(c.nodes[i])
				p.Connect()
			})
		case 3:
			p.Suspend(time.Duration(minute%50) * time.Second)
		}
		c.run(50 * time.Second)
		for _, p := range c.peers {
			p.Talk(time.Second, opus(1))
		}
		c.run(10 * time.Second)
	}
}

// Two virtual hours, 20 minutes with -short, of eight people who come and go, under
// 5 % loss: nothing is
// above a limit, everybody is together at the end, and it takes no time.
func TestTwoHours(t *testing.T) {
	for _, p := range profiles {
		t.Run(p().Name, func(t *testing.T) {
			c := newClub(t, simnet.Config{Seed: 3, Profile: p(), Network: simnet.Lossy(0.05)}, "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi")
			for _, p := range c.peers {
				p.Connect()
			}
			c.run(20 * time.Second)
			length := 2 * time.Hour
			if testing.Short() {
				length = 20 * time.Minute
			}
			c.churn(length)
			c.run(time.Minute)
			c.wantTyped("after two hours")
			c.wantTalk("after two hours")
			if d := c.srv.Dropped(); d.Limited() != 0 {
				t.Errorf("dropped: %+v", d)
			}
			t.Logf("%d events, %+v", c.clock.Events(), c.srv.Counters())
		})
	}
}

// After a server that did its worst turns fair, everybody is together again
// within a minute, whoever was hidden, swapped or forked off. They meet in a new
// channel, where nobody holds a stream that the server played with.
func TestFairAfterChaos(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			p := profiles[seed%3]()
			c := newClub(t, simnet.Config{Seed: seed, Profile: p, Network: simnet.Lossy(0.05)}, "alice", "bob", "carol", "dave")
			c.srv.AddChannel(0, "Lobby")
			c.srv.Chaos(simnet.Chaos{
				Drop: 0.1, Stall: 0.05, Reorder: 0.1, Duplicate: 0.1, Truncate: 0.05, Flip: 0.05, Swap: 0.05, Withhold: 0.1, Partial: 0.1, Replay: 0.1,
				Voice: true, Move: 0.1, Link: 0.1, RenameChannel: 0.1, Ghost: 0.2, Hide: 0.2, Rename: 0.2, Rehash: 0.2, Forge: 0.5, Fork: 0.2,
			})
			for _, p := range c.peers {
				p.Connect()
			}
			for range 30 {
				c.run(time.Second)
				for _, p := range c.peers {
					p.Talk(time.Second, opus(1))
				}
			}
			c.srv.Fair()
			hall := c.srv.AddChannel(0, "Hall")
			c.run(10 * time.Second)
			for _, p := range c.peers {
				p.Move(hall)
			}
			c.run(time.Minute)
			c.wantTyped("after Fair")
			c.wantTalk("after Fair")
		})
	}
}

// What a server can do to a typed secret with one packet: it withholds a stream
// and plays its first packet later, when another stream of the same person is in
// use. The newer one is then taken for old, and the speaker is not heard until it
// draws a nonce again, 15 minutes later or when it moves.
func TestWithheldStreamSilences(t *testing.T) {
	c := newClub(t, simnet.Config{Seed: 6, Profile: simnet.Murmur13(), Network: simnet.Network{}}, "alice", "bob", "carol")
	lobby := c.srv.AddChannel(0, "Lobby")
	alice, bob := c.peers[0], c.peers[1]
	for _, p := range c.peers {
		p.Connect()
	}
	c.run(20 * time.Second)
	c.srv.Hook(simnet.Only(func(d *simnet.Delivery) { d.Drop = d.Voice != nil }, alice.Session()))
	bob.Move(lobby)
	alice.Move(lobby)
	c.run(10 * time.Second)
	bob.Talk(100*time.Millisecond, opus(1))
	c.run(time.Second)
	recorded := c.srv.RecordedVoice()
	withheld := recorded[len(recorded)-5] // the first of the five, which names the nonce
	if _, vk, _, ok := envelope.ParseVoice(withheld.Voice.Data); !ok || vk != envelope.VoiceTypedKey || withheld.From != bob.Session() {
		t.Fatalf("recorded %+v", withheld)
	}
	bob.Move(0) // where carol is, so that it speaks there and draws a nonce
	c.run(10 * time.Second)
	before := bob.Stats().Said
	bob.Talk(100*time.Millisecond, opus(1))
	c.run(time.Second)
	if n := bob.Stats().Said - before; n != 5 {
		t.Fatalf("said %d packets elsewhere", n)
	}
	bob.Move(lobby)
	c.run(10 * time.Second)
	c.srv.Fair()
	hear := func() (heard, opened uint64) {
		before := alice.Stats()
		bob.Talk(time.Second, opus(2))
		c.run(2 * time.Second)
		return alice.Stats().Heard - before.Heard, alice.Stats().Opened - before.Opened
	}
	if heard, opened := hear(); heard != 50 || opened != 50 {
		t.Fatalf("before: %d heard, %d opened", heard, opened)
	}
	c.srv.Replay(withheld)
	c.run(11 * time.Second)
	if heard, opened := hear(); heard != 50 || opened != 0 {
		t.Errorf("after: %d heard, %d opened: the limit is gone, say so in the specification", heard, opened)
	}
	c.run(15 * time.Minute)
	if heard, opened := hear(); heard != 50 || opened != 50 {
		t.Errorf("15 min later: %d heard, %d opened", heard, opened)
	}
}

// shared fails if a Node writes into a message that others get as well.
type shared struct {
	*node
	t *testing.T
}

func (s shared) FromServer(now time.Time, m proto.Message) error {
	before := proto.CloneOf(m)
	err := s.node.FromServer(now, m)
	if !proto.Equal(before, m) {
		s.t.Errorf("the endpoint changed %v into %v", before, m)
	}
	return err
}

func (s shared) Unprotect(dst []byte, now time.Time, in, out *voice.Packet) error {
	before := bytes.Clone(in.Data)
	err := s.node.Unprotect(dst, now, in, out)
	if !bytes.Equal(before, in.Data) {
		s.t.Error("the endpoint changed a voice packet that others hear")
	}
	return err
}

func TestEndpointsChangeNoSharedMessage(t *testing.T) {
	c := newClub(t, simnet.Config{Seed: 5, Profile: simnet.Murmur15(), Network: simnet.Lossy(0.05)}, "alice", "bob", "carol")
	for i, p := range c.peers {
		p.SetNode(shared{c.nodes[i], t})
		p.Connect()
	}
	c.run(20 * time.Second)
	c.wantTyped("connected")
	c.wantTalk("connected")
}
