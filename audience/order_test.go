package audience_test

import (
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// isCommit reports whether an object is a Commit.
func isCommit(o envelope.Object) bool {
	if o.Kind != envelope.KindMLSMessage {
		return false
	}
	m, err := mls.ParseMessage(o.Body)
	return err == nil && m.Private != nil && m.Private.ContentType == mls.ContentCommit
}

func (p *person) epoch() uint64 { e, _ := p.home(); return e.Epoch }

// last is the member whose turn to commit comes last.
func last(list []*person) *person {
	best := list[0]
	for _, p := range list {
		a, _ := p.home()
		b, _ := best.home()
		if p.m.Rank(p.h.now, a.Group) > best.m.Rank(p.h.now, b.Group) {
			best = p
		}
	}
	return best
}

// Two Commits for one epoch: the first in the order takes effect for all, also for
// the author of the second.
func TestTwoCommits(t *testing.T) {
	for name, regime := range regimes {
		t.Run(name, func(t *testing.T) {
			h, all := meeting(t, 20, regime, mls.InsecureSuite(t), 4)
			h.run(80 * time.Second)
			before := all[0].epoch()
			// A hostile member commits in the moment in which an honest one does.
			x := all[3].turnHostile(t)
			h.leave(all[2], true)
			h.until(15*time.Second, "a Commit under way", func() bool {
				e, _ := all[0].home()
				return all[0].m.Pending(e.Group) || all[1].m.Pending(e.Group) || e.Epoch > before
			})
			x.commit(mls.CommitOptions{})
			h.run(30 * time.Second)
			if !together2(all[0], all[1]) || all[0].epoch() < before+1 {
				t.Errorf("apart:\n%s", h.state())
			}
			n := map[uint64]map[[32]byte]bool{}
			for _, p := range all[:2] {
				for _, e := range p.history {
					if n[e.Epoch] == nil {
						n[e.Epoch] = map[[32]byte]bool{}
					}
					n[e.Epoch][e.Context] = true
				}
			}
			if len(n[before+1]) > 1 && regime != audience.RegimeNoEcho {
				t.Errorf("epoch %d began in %d ways", before+1, len(n[before+1]))
			}
		})
	}
}

// A Commit that is lost on the way to one member: it sees that it is behind, asks
// for it and catches up, without being added again.
func TestLostCommit(t *testing.T) {
	for name, regime := range regimes {
		t.Run(name, func(t *testing.T) {
			h, all := meeting(t, 21, regime, mls.InsecureSuite(t), 4)
			h.run(80 * time.Second)
			victim := last(all[:3])
			lost, wants, before := 0, 0, victim.epoch()
			h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
				if isCommit(o) && to == victim.session && lost < 1 {
					lost++
					return nil
				}
				if o.Kind == envelope.KindWant {
					wants++
				}
				return []time.Duration{h.delay()}
			}
			hellos := h.sent[envelope.KindHello]
			h.leave(all[3], true)
			d := h.until(40*time.Second, "caught up", func() bool { return lost > 0 && victim.epoch() > before && together(all[:3]...) })
			t.Logf("caught up after %v", d)
			if h.sent[envelope.KindHello] != hellos || wants == 0 && regime != audience.RegimeNoEcho {
				t.Errorf("%d Hellos, %d Wants", h.sent[envelope.KindHello]-hellos, wants)
			}
		})
	}
}

// Nobody answers: 3 s later it asks to be added again.
func TestBehindForGood(t *testing.T) {
	h, all := meeting(t, 22, audience.RegimeEcho, mls.InsecureSuite(t), 4)
	h.run(20 * time.Second)
	victim := last(all[:3])
	h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
		if isCommit(o) && to == victim.session {
			return nil
		}
		return []time.Duration{h.delay()}
	}
	old := victim.epoch()
	h.leave(all[3], true)
	d := h.until(30*time.Second, "in again", func() bool { return victim.epoch() > old && together(all[:3]...) })
	t.Logf("in again after %v", d)
	if e, _ := victim.home(); !e.Joined {
		t.Error("not by a Welcome")
	}
}

// A member that does not follow is sent the Commit again without asking.
func TestResent(t *testing.T) {
	h, all := meeting(t, 23, audience.RegimeEcho, mls.InsecureSuite(t), 4)
	h.run(20 * time.Second)
	victim := last(all[:3])
	lost, before := 0, victim.epoch()
	h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
		if isCommit(o) && to == victim.session && lost == 0 {
			lost++
			return nil
		}
		if o.Kind == envelope.KindWant || o.Kind == envelope.KindBeacon && to == victim.session {
			return nil // it never learns that it is behind
		}
		return []time.Duration{h.delay()}
	}
	hellos := h.sent[envelope.KindHello]
	other := all[0]
	if other == victim {
		other = all[1]
	}
	other.handle(audience.SetLocked{Locked: true})
	d := h.until(30*time.Second, "caught up", func() bool { return victim.epoch() > before && together(all...) })
	t.Logf("caught up after %v", d)
	if lost == 0 {
		t.Error("nothing was lost")
	}
	if h.sent[envelope.KindHello] != hellos {
		t.Error("by a Hello")
	}
}

// The echo of a Commit comes late: until then its author changes nothing.
func TestLateEcho(t *testing.T) {
	h, all := meeting(t, 24, audience.RegimeEcho, mls.InsecureSuite(t), 3)
	h.run(20 * time.Second)
	before := all[0].epoch()
	h.echo = func(_ *person, o envelope.Object) (time.Duration, bool) {
		if isCommit(o) {
			return 2 * time.Second, true
		}
		return h.delay(), true
	}
	h.leave(all[2], true)
	h.run(1500 * time.Millisecond)
	a, b := all[0].epoch(), all[1].epoch()
	if a == b || a != before && b != before {
		t.Errorf("epochs %d and %d", a, b)
	}
	h.until(5*time.Second, "both", func() bool { return together(all[:2]...) })
}

// No echo at all: the Commit is given up, and a person hears of it. When it got to
// the others nevertheless, its author is behind and catches up.
func TestNoEcho(t *testing.T) {
	h, all := meeting(t, 25, audience.RegimeEcho, mls.InsecureSuite(t), 3)
	h.run(20 * time.Second)
	h.echo = func(_ *person, o envelope.Object) (time.Duration, bool) { return h.delay(), !isCommit(o) }
	before := all[0].epoch()
	all[0].handle(audience.SetLocked{Locked: true})
	h.run(6 * time.Second)
	if all[0].count(audience.NoticeNoCommit) == 0 {
		t.Errorf("notices %+v", all[0].notices)
	}
	h.echo = nil
	h.until(15*time.Second, "together", func() bool { return together(all...) && all[0].epoch() > before })

	// And when it got to nobody.
	h, all = meeting(t, 26, audience.RegimeEcho, mls.InsecureSuite(t), 3)
	h.run(20 * time.Second)
	before = all[0].epoch()
	h.echo = func(_ *person, o envelope.Object) (time.Duration, bool) { return h.delay(), !isCommit(o) }
	h.meddle = func(_, _ uint32, o envelope.Object) []time.Duration {
		if isCommit(o) {
			return nil
		}
		return []time.Duration{h.delay()}
	}
	all[0].handle(audience.SetLocked{Locked: true})
	h.run(6 * time.Second)
	if all[0].count(audience.NoticeNoCommit) != 1 || all[0].epoch() != before || !together(all...) {
		t.Errorf("epoch %d, notices %+v", all[0].epoch(), all[0].notices)
	}
	h.echo, h.meddle = nil, nil
	h.until(10*time.Second, "done", func() bool { e, _ := all[1].home(); return e.Locked })
}

// Where nothing is echoed a Commit takes effect with the first evidence, and is
// sent again and then given up without one.
func TestEvidence(t *testing.T) {
	h, all := meeting(t, 27, audience.RegimeNoEcho, mls.InsecureSuite(t), 3)
	h.run(80 * time.Second)
	before := all[0].epoch()
	e, _ := all[0].home()
	all[0].handle(audience.SetLocked{Locked: true})
	h.run(10 * time.Millisecond)
	if all[0].epoch() != before || !all[0].m.Pending(e.Group) {
		t.Error("it took effect at once")
	}
	d := h.until(5*time.Second, "evidence", func() bool { return all[0].epoch() == before+1 })
	t.Logf("after %v", d)

	commits := 0
	h.meddle = func(_, _ uint32, o envelope.Object) []time.Duration {
		if isCommit(o) {
			commits++
			return nil
		}
		return []time.Duration{h.delay()}
	}
	all[0].handle(audience.SetLocked{Locked: false})
	h.run(11 * time.Second)
	if commits != 2*3 || all[0].epoch() != before+1 || all[0].count(audience.NoticeNoCommit) != 1 {
		t.Errorf("%d Commits, epoch %d, notices %+v", commits, all[0].epoch(), all[0].notices)
	}
}

// In the regime without an order the Commit of the lower rank goes before, when
// two cross.
func TestCrossingCommits(t *testing.T) {
	h, all := meeting(t, 28, audience.RegimeNoEcho, mls.InsecureSuite(t), 3)
	h.run(80 * time.Second)
	e, _ := all[0].home()
	before := e.Epoch
	first, second := all[0], all[1]
	if second.m.Rank(h.now, e.Group) < first.m.Rank(h.now, e.Group) {
		first, second = second, first
	}
	h.delay = func() time.Duration { return 100 * time.Millisecond }
	first.handle(audience.SetLocked{Locked: true})
	second.handle(audience.SetLocked{Locked: true})
	if !first.m.Pending(e.Group) || !second.m.Pending(e.Group) {
		t.Fatal("no Commits cross")
	}
	h.run(250 * time.Millisecond)
	if first.epoch() != before || second.epoch() != before+1 || !first.m.Pending(e.Group) {
		t.Errorf("epochs %d and %d", first.epoch(), second.epoch())
	}
	h.until(40*time.Second, "together", func() bool { return together(all...) && first.epoch() > before })
	for _, x := range second.history {
		if x.Epoch == before+1 && x.Committer != first.session {
			t.Errorf("second took that of %d", x.Committer)
		}
	}
}
