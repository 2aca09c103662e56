package audience_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// Many come to a server where each object is a text, of which it allows one a second:
// soon after the last one they are in one group.
func TestTextsCrowd(t *testing.T) {
	for _, regime := range []audience.Regime{audience.RegimeNoEcho, audience.RegimeTextEcho} {
		t.Run(fmt.Sprint(regime), func(t *testing.T) { crowds(t, regime) })
	}
}

func crowds(t *testing.T, regime audience.Regime) {
	for _, gap := range []time.Duration{50 * time.Millisecond, 300 * time.Millisecond, 600 * time.Millisecond, time.Second, 2500 * time.Millisecond} {
		for _, n := range []int{10, 40} {
			t.Run(fmt.Sprintf("%v/%d", gap, n), func(t *testing.T) {
				var took []time.Duration
				for seed := range uint64(160 / n / 2) {
					h := newHall(t, 900+seed, regime, mls.InsecureSuite(t))
					h.texts = true
					var all []*person
					for range n {
						h.run(gap)
						all = append(all, h.arrive(3))
						for _, p := range all {
							if b, n := p.waiting(envelope.KindBeacon), p.waiting(envelope.KindPresence); b > 2 || n > 1 {
								t.Errorf("seed %d: %d Beacons and %d Presences of %s wait", seed, b, n, p.name)
							}
						}
					}
					d := h.until(15*time.Second, "together", func() bool { return together(all...) })
					took = append(took, d.Round(100*time.Millisecond))
				}
				t.Logf("after %v", took)
			})
		}
	}
}

// waiting is how many objects of a kind have not left yet.
func (p *person) waiting(kind envelope.Kind) (n int) {
	for _, out := range p.queue {
		if out.Object.Kind == kind {
			n++
		}
	}
	return n
}

// Where Beacons are half a minute apart, one of an earlier epoch that comes soon after a
// Commit was on its way before it, and is no reason to send the Commit again; nor is one
// Beacon a reason to send it twice.
func TestTextsBehind(t *testing.T) {
	h, all := meeting(t, 910, audience.RegimeNoEcho, mls.InsecureSuite(t), 3)
	h.run(80 * time.Second)
	alice, bob := all[0], all[1]
	var beacons []envelope.Object // of bob, on their way
	h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
		switch {
		case from == bob.session && to == alice.session && o.Kind == envelope.KindBeacon:
			beacons = append(beacons, o)
			return nil
		case from == bob.session && o.Kind != envelope.KindBeacon,
			to == bob.session && (isCommit(o) || o.Kind == envelope.KindBeacon):
			return nil // it misses the Commit, and never learns that it is behind
		}
		return []time.Duration{h.delay()}
	}
	resent := 0
	h.before = func(_ *person, out audience.Send) {
		if isCommit(out.Object) && slices.Equal(out.To, []uint32{bob.session}) {
			resent++
		}
	}
	h.until(40*time.Second, "bob's Beacon", func() bool { return len(beacons) == 1 })
	before := alice.epoch()
	alice.handle(audience.SetLocked{Locked: true})
	h.until(5*time.Second, "alice's Commit", func() bool { return alice.epoch() > before })
	h.run(2 * time.Second)
	arrives := func(o envelope.Object) {
		alice.handle(audience.Received{From: bob.session, Object: o})
		h.run(20 * time.Second)
	}
	arrives(beacons[0])
	if resent != 0 {
		t.Fatalf("sent again %d times, for a Beacon of before", resent)
	}
	h.until(40*time.Second, "bob's next Beacon", func() bool { return len(beacons) > 1 })
	arrives(beacons[1])
	if resent != 1 {
		t.Errorf("sent again %d times", resent)
	}
}

// Who may yet say Hello does not spend a text on each newcomer: it answers a second or two
// later, all of them at once, and not at all if its Hello has told them.
func TestTextsAnswers(t *testing.T) {
	for _, wants := range []bool{false, true} {
		t.Run(fmt.Sprint(wants), func(t *testing.T) {
			h := newHall(t, 911, audience.RegimeNoEcho, mls.InsecureSuite(t))
			alice := h.newPerson(3)
			alice.want = false
			h.connect(alice)
			h.run(time.Second)
			sent := map[envelope.Kind]int{}
			told := map[uint32]bool{}
			h.before = func(p *person, out audience.Send) {
				if p == alice {
					sent[out.Object.Kind]++
					for _, s := range out.To {
						told[s] = true
					}
				}
			}
			var others []*person
			for range 3 {
				p := h.newPerson(3)
				p.want = false
				h.connect(p)
				others = append(others, p)
				h.run(200 * time.Millisecond)
			}
			if wants {
				h.run(400 * time.Millisecond) // all of them have said in voice that they are here
				alice.handle(audience.Join{Want: true})
			}
			h.run(8 * time.Second)
			t.Logf("sent %v", sent)
			if n := sent[envelope.KindPresence]; wants && n != 0 || !wants && (n < 1 || n > 2) {
				t.Errorf("%d texts that say only that she is here", n)
			}
			for _, p := range others {
				if !told[p.session] {
					t.Errorf("%s is told nothing", p.name)
				}
			}
		})
	}
}

// A newcomer says Hello again while its Welcome waits in a queue, and others are an epoch
// further when they hear that it is in: it is not added once more.
func TestTextsHelloAgain(t *testing.T) {
	h, all := meeting(t, 912, audience.RegimeNoEcho, mls.InsecureSuite(t), 3)
	h.run(80 * time.Second)
	var hello, beacon envelope.Object
	var bob *person
	h.meddle = func(from, _ uint32, o envelope.Object) []time.Duration {
		if bob != nil && from == bob.session {
			switch o.Kind {
			case envelope.KindHello:
				hello = o
			case envelope.KindBeacon:
				if beacon.Kind == 0 {
					beacon = o
				}
				return nil
			}
		}
		return []time.Duration{h.delay()}
	}
	bob = h.newPerson(3)
	h.connect(bob)
	h.until(20*time.Second, "bob is in", func() bool { return beacon.Kind != 0 && together(append(all, bob)...) })
	everybody := append(slices.Clone(all), bob, h.arrive(3))
	h.until(20*time.Second, "the next one", func() bool { return together(everybody...) })
	for _, p := range all {
		p.handle(audience.Received{From: bob.session, Object: hello})
		p.handle(audience.Received{From: bob.session, Object: beacon})
	}
	h.run(time.Minute)
	joined := 0
	for _, e := range bob.history {
		if e.Joined {
			joined++
		}
	}
	if joined != 1 || !together(everybody...) {
		t.Errorf("bob was added %d times\n%s", joined, h.state())
	}
}

// People write, one locks, one leaves: what shows a Commit to have taken effect waits
// behind other texts, and the next Commit comes before it has left. Its author takes it
// from a later Beacon too, and nobody is told that keys cannot change.
func TestTextsEvidence(t *testing.T) {
	for seed := range uint64(20) {
		h, all := meeting(t, 920+seed, audience.RegimeNoEcho, mls.InsecureSuite(t), 4)
		h.run(80 * time.Second)
		h.texts = true
		h.run(80 * time.Second)
		g, _ := all[0].home()
		for _, p := range all[1:3] {
			for range 5 {
				p.queue = append(p.queue, audience.Send{To: []uint32{all[0].session}, Object: envelope.Object{Kind: envelope.KindWant}, Priority: audience.PriorityText})
			}
			p.nextOut()
		}
		all[0].handle(audience.SetLocked{Locked: true})
		h.run(200 * time.Millisecond)
		h.leave(all[3], false)
		h.until(5*time.Second, "together", func() bool { return together(all[:3]...) })
		if n := all[0].count(audience.NoticeNoCommit); n != 0 {
			t.Errorf("seed %d: told %d times that keys cannot change", seed, n)
		}
		if e, _ := all[0].home(); e.Group != g.Group || !e.Locked {
			t.Errorf("seed %d: group %x after %x, locked %v", seed, e.Group, g.Group, e.Locked)
		}
	}
}

// The Beacons of the very epoch that a Commit makes are lost on the way to its author: a
// later one that names it as past is as good.
func TestTextsLaterEvidence(t *testing.T) {
	h, all := meeting(t, 940, audience.RegimeNoEcho, mls.InsecureSuite(t), 4)
	h.run(80 * time.Second)
	alice := all[0]
	before := alice.epoch()
	var took time.Time
	h.epoch = func(p *person, e audience.EpochBegan) {
		if p == alice && e.Epoch == before+1 {
			took = h.now
		}
	}
	h.meddle = func(_, to uint32, o envelope.Object) []time.Duration {
		if to != alice.session {
			return []time.Duration{h.delay()}
		}
		if b, err := envelope.ParseBeacon(o.Body); o.Kind == envelope.KindBeacon && (err != nil || b.Epoch == before+1) || isCommit(o) {
			return nil
		}
		return []time.Duration{h.delay()}
	}
	alice.handle(audience.SetLocked{Locked: true})
	h.run(500 * time.Millisecond)
	if !took.IsZero() {
		t.Fatal("her Commit took effect without evidence")
	}
	left := h.now
	h.leave(all[3], false)
	h.run(3 * time.Second)
	if took.IsZero() || took.Sub(left) > 2*time.Second {
		t.Errorf("her Commit took effect %v after the next one", took.Sub(left))
	}
}

// Somebody who makes a member send more of the same kind than its line takes does not
// silence it.
func TestTextsKeepTheirPlace(t *testing.T) {
	h, all := meeting(t, 950, audience.RegimeNoEcho, mls.InsecureSuite(t), 3)
	h.texts = true
	alice := all[0]
	const minutes = 10
	for i := range minutes * 60 {
		if i == minutes*30 {
			h.left[envelope.KindBeacon] = 0
		}
		if len(alice.queue) < 60 { // the bound of package carrier
			alice.queue = append(alice.queue, audience.Send{To: []uint32{all[1].session}, Object: envelope.Object{Kind: envelope.KindReport}, Priority: audience.PriorityBeacon})
			alice.nextOut()
		}
		h.run(time.Second)
	}
	if n := alice.health[h.homeOf(alice)].Unconfirmed; len(n) != 0 {
		t.Errorf("alice does not hear from %v", n)
	}
	for _, p := range all[1:] {
		if n := p.health[h.homeOf(p)].Unconfirmed; len(n) != 0 {
			t.Errorf("%s does not hear from %v", p.name, n)
		}
	}
	if !together(all...) {
		t.Errorf("not together\n%s", h.state())
	}
}

func (h *hall) homeOf(p *person) envelope.GroupID {
	e, _ := p.home()
	return e.Group
}

// Whose turn it is to add does not act: the next one waits for its pause, counted from the
// first Hello, however often that is said again.
func TestTextsFirstHello(t *testing.T) {
	for seed := range uint64(12) {
		h, all := meeting(t, 960+seed, audience.RegimeNoEcho, mls.InsecureSuite(t), 3)
		h.run(80 * time.Second)
		var mute uint32 // the first to commit
		h.meddle = func(from, _ uint32, o envelope.Object) []time.Duration {
			if mute == 0 && isCommit(o) {
				mute = from
			}
			if from == mute && o.Kind != envelope.KindBeacon {
				return nil
			}
			return []time.Duration{h.delay()}
		}
		x := h.arrive(3)
		h.until(8*time.Second, "in", func() bool { e, _ := x.home(); return len(e.Leaves) == len(all)+1 })
	}
}

// TestTextsOldBeacons: members have so much to say that a Beacon waits for ten seconds and
// more. Who joins meanwhile takes none of a former epoch for a fork.
func TestTextsOldBeacons(t *testing.T) {
	for _, regime := range []audience.Regime{audience.RegimeNoEcho, audience.RegimeTextEcho} {
		t.Run(fmt.Sprint(regime), func(t *testing.T) {
			told := 0
			for seed := range uint64(40) {
				h, all := meeting(t, 4000+seed, regime, mls.InsecureSuite(t), 6)
				h.run(80 * time.Second)
				h.texts = true
				h.run(time.Duration(80_000+h.rng.IntN(20_000)) * time.Millisecond)
				for _, p := range all {
					for range 10 {
						p.queue = append(p.queue, audience.Send{
							To: []uint32{all[0].session}, Object: envelope.Object{Kind: envelope.KindSecretText, Body: []byte{1}}, Priority: audience.PriorityText,
						})
					}
					p.nextOut()
				}
				x := h.arrive(3)
				h.run(40 * time.Second)
				told += x.count(audience.NoticeFork)
			}
			if told > 0 {
				t.Errorf("%d of 40 are told of a fork", told)
			}
		})
	}
}

// TestTextsWants: a member asks for every Commit there is, again and again. Where objects
// are texts each is sent again once, and then one in half a minute.
func TestTextsWants(t *testing.T) {
	for _, regime := range []audience.Regime{audience.RegimeNoEcho, audience.RegimeTextEcho} {
		t.Run(fmt.Sprint(regime), func(t *testing.T) {
			h, all := meeting(t, 920, regime, mls.InsecureSuite(t), 8)
			h.run(80 * time.Second)
			eve := all[3]
			home, _ := eve.home()
			commits := 0
			var answered map[uint32]int
			h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
				switch {
				case isCommit(o) && to == eve.session && answered != nil:
					commits++
					answered[from]++
					return nil
				case from == eve.session && o.Kind == envelope.KindBeacon:
					return nil // else they see that it is where they are
				}
				return []time.Duration{h.delay()}
			}
			for range 8 { // as many epochs
				h.arrive(3)
				h.run(5 * time.Second)
			}
			answered = map[uint32]int{}
			for range 60 {
				for epoch := eve.epoch() - min(8, eve.epoch()); epoch < eve.epoch(); epoch++ {
					want := envelope.Want{Group: home.Group, Epoch: epoch}
					for _, p := range all {
						if p != eve {
							p.handle(audience.Received{From: eve.session, Object: envelope.Object{Kind: envelope.KindWant, Body: want.Append(nil)}})
						}
					}
					h.run(125 * time.Millisecond)
				}
			}
			if t.Logf("%d answers", commits); commits == 0 || commits > 8*3+2*3 {
				t.Error("want each once from its author and two others, and a few")
			}
			for from, n := range answered {
				if n > 8+2 {
					t.Errorf("%d sends %d Commits again in a minute", from, n)
				}
			}
		})
	}
}

// TestTextsHelloOfAnother: in the name of a member, which says no Beacons, somebody with
// another identity asks to be added, again and again. Nobody may do that while the member is
// here, and it makes nobody add others out of turn.
func TestTextsHelloOfAnother(t *testing.T) {
	for _, regime := range []audience.Regime{audience.RegimeNoEcho, audience.RegimeTextEcho} {
		t.Run(fmt.Sprint(regime), func(t *testing.T) {
			forks, seeds := 0, uint64(64)
			if testing.Short() {
				seeds = 8
			}
			for seed := range seeds {
				forks += helloOfAnother(t, 3000+seed, regime)
			}
			if t.Logf("told of %d forks", forks); forks > 3 {
				t.Error("more than without it")
			}
		})
	}
}

func helloOfAnother(t *testing.T, seed uint64, regime audience.Regime) (forks int) {
	h, all := meeting(t, seed, regime, mls.InsecureSuite(t), 8)
	h.run(80 * time.Second)
	eve := all[3]
	double := h.double(h.newPerson(3), eve.session)
	double.Handle(h.now, regime)
	double.Handle(h.now, audience.World{
		Places: []audience.Place{{Channel: 3, Closure: []uint32{3}, Hearers: []audience.Hearer{{Session: all[0].session}}}},
		People: []uint32{all[0].session},
	})
	double.Handle(h.now, audience.Join{Want: true})
	presence := envelope.Presence{MaxVersion: 1, Suites: []uint16{uint16(h.suites[0])}, Wish: envelope.WishProtect}
	double.Handle(h.now, audience.Received{From: all[0].session, Object: envelope.Object{Kind: envelope.KindPresence, Body: presence.Append(nil)}})
	list := slices.Clone(all)
	var hello envelope.Object
	for at := h.now; hello.Kind == 0; {
		if at = at.Add(10 * time.Millisecond); at.Sub(h.now) > 3*time.Second {
			t.Fatal("no Hello")
		}
		double.Handle(at, nil)
		for _, o := range outputs(double, envelope.KindHello) {
			hello = o.Object
		}
	}
	h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
		if from == eve.session && o.Kind == envelope.KindBeacon {
			return nil
		}
		return []time.Duration{h.delay()}
	}
	var alive, say func()
	alive = func() { // it speaks
		for _, p := range list {
			e, ok := p.home()
			for _, l := range e.Leaves {
				if ok && p != eve && l.Session == eve.session {
					p.handle(audience.Proof{Group: e.Group, Epoch: e.Epoch, Leaf: l.Index})
				}
			}
		}
		h.at(time.Second, alive)
	}
	say = func() {
		for _, i := range h.rng.Perm(len(list)) {
			if p := list[i]; p != eve {
				p.handle(audience.Received{From: eve.session, Object: hello})
			}
		}
		h.at(50*time.Second, say)
	}
	h.at(0, alive)
	h.at(0, say)
	h.run(40 * time.Second)
	for range 5 {
		h.run(time.Duration(8000+h.rng.IntN(2000)) * time.Millisecond)
		list = append(list, h.arrive(3))
		h.until(45*time.Second, "together", func() bool { return together(list...) })
	}
	for _, p := range list {
		forks += p.count(audience.NoticeFork)
	}
	return forks
}
