package audience_test

import (
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// capture keeps the last object of a kind that p sends while do runs, and lets it
// reach nobody.
func (p *person) capture(kind envelope.Kind, d time.Duration) (o envelope.Object) {
	h := p.h
	before := h.meddle
	h.meddle = func(from, to uint32, x envelope.Object) []time.Duration {
		if x.Kind == kind && from == p.session {
			o = x
			return nil
		}
		return []time.Duration{h.delay()}
	}
	h.run(d)
	h.meddle = before
	return o
}

// flip changes the last byte of an object, which is one of its signature.
func flip(o envelope.Object) envelope.Object {
	o.Body = slices.Clone(o.Body)
	o.Body[len(o.Body)-1] ^= 1
	return o
}

// M13: Beacons count with a true signature, of the session that the server names, and
// once.
func TestForgedBeacon(t *testing.T) {
	h, all := meeting(t, 130, audience.RegimeEcho, mls.InsecureSuite(t), 3)
	alice, bob, carol := all[0], all[1], all[2]
	h.run(20 * time.Second)
	fresh := bob.capture(envelope.KindBeacon, 12*time.Second)
	old := fresh
	// From now on bob is silent.
	h.meddle = func(from, _ uint32, _ envelope.Object) []time.Duration {
		if from == bob.session {
			return nil
		}
		return []time.Duration{h.delay()}
	}
	h.run(30 * time.Second)
	confirmed := func() bool { return !slices.Contains(alice.homeHealth().Unconfirmed, bob.session) }
	if confirmed() {
		t.Fatal("bob is confirmed")
	}
	alice.handle(audience.Received{From: bob.session, Object: flip(fresh)})
	alice.handle(audience.Received{From: carol.session, Object: fresh})
	if confirmed() {
		t.Error("confirmed by a Beacon that is not true")
	}
	if s := alice.m.Stats(); s.Attribution != 1 || s.Unverified != 2 {
		t.Errorf("%+v", s)
	}
	alice.handle(audience.Received{From: bob.session, Object: fresh})
	if !confirmed() {
		t.Error("a true one is worth nothing")
	}
	h.run(30 * time.Second)
	alice.handle(audience.Received{From: bob.session, Object: old})
	if confirmed() {
		t.Error("confirmed by a Beacon a second time")
	}
}

// A Beacon of a member that is gone is not taken a second time either, nor is one
// from before when its leaf comes back.
func TestBeaconOfFormerLeaf(t *testing.T) {
	h, all := meeting(t, 131, audience.RegimeEcho, mls.InsecureSuite(t), 3)
	alice, bob := all[0], all[1]
	h.run(20 * time.Second)
	old := bob.capture(envelope.KindBeacon, 12*time.Second)
	again := func(when string) {
		t.Helper()
		before := alice.m.Stats()
		alice.handle(audience.Received{From: bob.session, Object: old})
		if s := alice.m.Stats(); s.Stale != before.Stale+1 {
			t.Errorf("%s it is taken again: %+v", when, s)
		}
	}
	alice.handle(audience.Received{From: bob.session, Object: old}) // the first time
	again("while bob is in")
	h.move(bob, 4)
	h.run(5 * time.Second)
	again("when bob is gone")
	h.move(bob, 3)
	h.until(time.Minute, "together", func() bool { return together(all...) })
	again("when bob is back")
}

// A Hello must be signed by its leaf's key, and come from the session that it names.
func TestForgedHello(t *testing.T) {
	h, all := meeting(t, 131, audience.RegimeEcho, mls.InsecureSuite(t), 2)
	h.run(15 * time.Second)
	carol := h.arrive(3)
	hello := carol.capture(envelope.KindHello, 600*time.Millisecond)
	if hello.Kind == 0 {
		t.Fatal("no Hello")
	}
	carol.up = false // it is here, and says nothing any more
	dave := h.newPerson(3)
	h.connect(dave)
	dave.up = false
	h.run(100 * time.Millisecond)
	epoch := all[0].epoch()
	for _, p := range all {
		p.handle(audience.Received{From: carol.session, Object: flip(hello)})
	}
	h.run(2 * time.Second)
	for _, p := range all {
		p.handle(audience.Received{From: all[0].session + all[1].session - p.session, Object: hello})
		p.handle(audience.Received{From: dave.session, Object: hello})
	}
	h.run(2 * time.Second)
	if all[0].epoch() != epoch {
		t.Error("added by a Hello that is not true")
	}
	for _, p := range all {
		p.handle(audience.Received{From: carol.session, Object: hello})
	}
	h.run(2 * time.Second)
	if all[0].epoch() != epoch+1 {
		t.Error("a true one is worth nothing")
	}
}

// A Report counts with a true signature only.
func TestForgedReport(t *testing.T) {
	h, all := meeting(t, 132, audience.RegimeEcho, mls.InsecureSuite(t), 3)
	h.run(15 * time.Second)
	e, _ := all[0].home()
	for i, p := range all[1:] {
		r := envelope.Report{Group: e.Group, Epoch: e.Epoch, Commit: envelope.Ref{1}, Reason: 1, Leaf: e.Leaves[i+1].Index, Seq: 1}
		for _, l := range e.Leaves {
			if l.Session == p.session {
				r.Leaf = l.Index
			}
		}
		all[0].handle(audience.Received{From: p.session, Object: envelope.Object{Kind: envelope.KindReport, Body: r.Append(nil)}})
	}
	if all[0].count(audience.NoticeBlamed) != 0 || all[0].m.Stats().Unverified != 2 {
		t.Errorf("%+v", all[0].notices)
	}
}

// What a member wrote is its own, whatever session the server names.
func TestForgedSender(t *testing.T) {
	h, all := meeting(t, 133, audience.RegimeEcho, mls.InsecureSuite(t), 3)
	h.run(15 * time.Second)
	e, _ := all[1].home()
	o, _, err := all[1].m.Protect(h.now, e.Group, envelope.AppText, [16]byte{1}, []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	all[0].handle(audience.Received{From: all[2].session, Object: o})
	all[2].handle(audience.Received{From: all[1].session, Object: o})
	if len(all[0].apps) != 0 || all[0].m.Stats().Attribution != 1 || len(all[2].apps) != 1 {
		t.Errorf("%+v", all[0].apps)
	}
	// A second time it is a copy.
	all[2].handle(audience.Received{From: all[1].session, Object: o})
	if len(all[2].apps) != 1 || all[2].m.Stats().Stale == 0 {
		t.Error("read twice")
	}
}

// A Welcome is good once, and for the place that it was asked for.
func TestWelcomeOnce(t *testing.T) {
	h, all := meeting(t, 134, audience.RegimeEcho, mls.InsecureSuite(t), 2)
	h.run(15 * time.Second)
	carol := h.arrive(3)
	var welcome envelope.Object
	h.meddle = func(_, to uint32, o envelope.Object) []time.Duration {
		if o.Kind == envelope.KindWelcome && to == carol.session {
			welcome = o
		}
		return []time.Duration{h.delay()}
	}
	h.until(10*time.Second, "in", func() bool { return together(append(slices.Clone(all), carol)...) })
	n := len(carol.history)
	carol.handle(audience.Received{From: all[0].session, Object: welcome})
	if len(carol.history) != n {
		t.Error("joined twice by one Welcome")
	}
	carol.handle(audience.Join{Want: false})
	h.run(2 * time.Second)
	carol.handle(audience.Join{Want: true})
	n = len(carol.history)
	carol.handle(audience.Received{From: all[0].session, Object: welcome})
	if len(carol.history) != n {
		t.Error("joined again by the Welcome of before")
	}
	// Another one, and meanwhile dave has gone to another channel.
	dave := h.arrive(3)
	welcome = envelope.Object{}
	h.meddle = func(_, to uint32, o envelope.Object) []time.Duration {
		if o.Kind == envelope.KindWelcome && to == dave.session {
			welcome = o
			return nil
		}
		return []time.Duration{h.delay()}
	}
	h.until(10*time.Second, "a Welcome", func() bool { return welcome.Kind != 0 })
	h.move(dave, 8)
	h.run(200 * time.Millisecond)
	dave.handle(audience.Received{From: all[0].session, Object: welcome})
	if _, in := dave.home(); in || len(dave.groups) > 0 {
		t.Error("joined the group of a channel that it has left")
	}
}

// Who does not want in any more when its Welcome comes leaves at once.
func TestDecline(t *testing.T) {
	h, all := meeting(t, 135, audience.RegimeEcho, mls.InsecureSuite(t), 2)
	h.run(15 * time.Second)
	carol := h.arrive(3)
	h.until(10*time.Second, "a Commit", func() bool { e, _ := all[0].home(); return len(e.Leaves) == 3 })
	carol.want = false
	carol.handle(audience.Join{Want: false})
	h.until(3*time.Second, "out", func() bool { return together(all...) })
	if len(carol.history) > 0 {
		t.Error("it was a member")
	}
}

// Keys of voice cannot be derived a second time in an epoch.
func TestExporterIsErased(t *testing.T) {
	_, all := meeting(t, 136, audience.RegimeEcho, mls.InsecureSuite(t), 2)
	e, _ := all[0].home()
	g, err := all[0].m.Copy(e.Group, lenient)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Export("sotto/1 media", []byte{0, 0, 0, 0}, 32); err == nil {
		t.Error("derived again")
	}
}

// Garbage of every kind, from members and strangers: counted, and nothing changes.
func TestGarbage(t *testing.T) {
	h, all := meeting(t, 137, audience.RegimeEcho, mls.InsecureSuite(t), 3)
	h.run(15 * time.Second)
	before := all[0].epoch()
	for i := range 3000 {
		b := make([]byte, h.rng.IntN(200))
		for j := range b {
			b[j] = byte(h.rng.IntN(256))
		}
		o := envelope.Object{Kind: envelope.Kind(h.rng.IntN(16)), Body: b}
		all[0].handle(audience.Received{From: uint32(i % 5), Object: o, Bulk: i%2 == 0})
	}
	if s := all[0].m.Stats(); s.Malformed == 0 || s.Unknown == 0 || all[0].epoch() != before {
		t.Errorf("%+v", s)
	}
	for what, n := range all[0].m.Sizes() {
		if n > sizeLimits[what] {
			t.Errorf("keeps %d %s", n, what)
		}
	}
}

// M2: Commits that wait, bodies and Wants are bounded, whatever members send.
func TestFloods(t *testing.T) {
	h, all := meeting(t, 138, audience.RegimeEcho, mls.InsecureSuite(t), 3)
	h.run(15 * time.Second)
	e, _ := all[0].home()
	x := all[2].turnHostile(t)
	for i := range 100 {
		var r envelope.Ref
		r[0], r[1] = byte(i), 7
		ref := envelope.RefObject{Ref: r, Kind: envelope.KindMLSMessage, Size: 9000, Group: e.Group, Epoch: e.Epoch + uint64(i%12)}
		all[0].handle(audience.Received{From: x.session, Object: envelope.Object{Kind: envelope.KindRef, Body: ref.Append(nil)}})
		want := envelope.Want{Group: e.Group, Epoch: e.Epoch - 1}
		all[0].handle(audience.Received{From: x.session, Object: envelope.Object{Kind: envelope.KindWant, Body: want.Append(nil)}})
		if i < 30 {
			c, err := x.g.Commit(mls.CommitOptions{AuthenticatedData: make([]byte, 60_000)}, h.now)
			if err != nil {
				t.Fatal(err)
			}
			all[0].handle(audience.Received{From: x.session, Object: envelope.Object{Kind: envelope.KindMLSMessage, Body: c.Message().Marshal()}, Bulk: true})
		}
	}
	sizes := all[0].m.Sizes()
	for what, n := range sizes {
		if n > sizeLimits[what] {
			t.Errorf("keeps %d %s", n, what)
		}
	}
	if sizes["waiting"] != 8 || sizes["bodies"] == 0 {
		t.Errorf("nothing was kept: %v", sizes)
	}
	if s := all[0].m.Stats(); s.Limited < 100 {
		t.Errorf("%+v", s)
	}
}
