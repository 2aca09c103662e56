package simnet_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/internal/simnet"
)

// TestMSChaos: everything at once, on each kind of server. People who were protected
// together speak and write without a pause while the server does what it likes, and
// they come and go; nothing readable leaves, also after it has become honest again.
// How soon they are together then is measured, and promised by nobody: what was
// torn apart for three minutes is healed by the paces of §6.5.
func TestMSChaos(t *testing.T) {
	for _, profile := range profiles {
		t.Run(profile().Name, func(t *testing.T) {
			n := uint64(4)
			if testing.Short() {
				n = 1
			}
			for seed := range n {
				chaos(t, newStage(t, 100+seed, profile()))
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

func chaos(t *testing.T, s *stage) {
	s.srv.AddChannel(0, "lobby")
	s.srv.AddChannel(0, "far")
	var all []*soul
	for i, name := range []string{"alice", "bob", "carol", "dave"} {
		p := s.soul(name, []e2ee.Policy{e2ee.PolicyPrefer, e2ee.PolicyRequire}[i%2])
		p.peer.Retry = 3 * time.Second
		all = append(all, p)
		p.peer.Connect()
	}
	s.within(2*time.Minute, "together at first", func() bool { return isTogether(all) })
	s.run(12 * time.Second)
	s.srv.Chaos(simnet.Chaos{
		Drop: .05, Stall: .02, Reorder: .05, Duplicate: .05, Truncate: .02, Flip: .02, Swap: .02, Withhold: .1, Partial: .03, Replay: .05, Voice: true,
		Move: .1, Link: .05, RenameChannel: .05, Ghost: .05, Hide: .05, Rename: .03, Rehash: .03, Forge: .2, Fork: .05,
	})
	for round := range 18 {
		for i, p := range all {
			p.talk(10 * time.Second)
			if p.peer.Session() != 0 {
				p.write(fmt.Sprintf("round %d of %s", round, p.name))
			}
			switch (round + i) % 9 {
			case 3:
				p.peer.Cut()
			case 7:
				p.again()
			}
		}
		s.run(10 * time.Second)
	}
	s.sealed()
	s.srv.Fair()
	for _, p := range all {
		s.srv.Move(p.peer.Session(), 0)
	}
	s.run(time.Second)
	for _, p := range all {
		if p.peer.Session() == 0 {
			p.peer.Connect()
		}
	}
	came := s.answers(3*time.Minute, all...)
	t.Logf("together again: %v", came)
	s.sealed()
}
