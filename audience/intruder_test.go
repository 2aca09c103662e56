package audience_test

import (
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/mls"
)

// double is a machine of eve's that says it has the session of somebody else. It
// hears what eve hears, and all it sends comes from eve.
func (h *hall) double(eve *person, session uint32) *audience.Machine {
	h.t.Helper()
	m, err := audience.New(audience.Config{
		Server: server, Suites: h.suites,
		Statement: func(key []byte, session uint32) ([]byte, error) {
			return statement(eve.identity, eve.device, key, server, session), nil
		},
		Verify: verifyStatement,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	m.Handle(h.now, audience.Connected{Session: session})
	return m
}

// outputs are what a machine wants to send of a kind; everything else is lost.
func outputs(m *audience.Machine, kind envelope.Kind) (list []audience.Send) {
	for out, ok := m.Next(); ok; out, ok = m.Next() {
		if s, is := out.(audience.Send); is && s.Object.Kind == kind {
			list = append(list, s)
		}
	}
	return list
}

// Eve stands in the channel with a client of her own and is in no group. She
// founds one in the name of bob, who has no Sotto, and sends alice the Welcome: alice
// would speak for bob's eyes only, and for eve's, whom no list shows.
func TestWelcomeInAnothersName(t *testing.T) {
	h := newHall(t, 300, audience.RegimeEcho, mls.InsecureSuite(t))
	bob, eve := h.newPerson(3), h.newPerson(3)
	for _, p := range []*person{bob, eve} {
		p.want = false
		h.connect(p)
		p.up = false // what they do, they do by hand
	}
	alice := h.newPerson(3)
	var hello envelope.Object
	h.manual = func(p *person, out audience.Send) {
		if p == alice && out.Object.Kind == envelope.KindHello {
			hello = out.Object
		}
	}
	h.connect(alice)
	h.run(500 * time.Millisecond)
	presence := envelope.Presence{MaxVersion: 1, Suites: []uint16{uint16(h.suites[0])}, Wish: envelope.WishProtect}
	for _, p := range []*person{bob, eve} {
		alice.handle(audience.Received{From: p.session, Object: envelope.Object{Kind: envelope.KindPresence, Body: presence.Append(nil)}})
	}
	h.run(500 * time.Millisecond)
	if hello.Kind == 0 {
		t.Fatal("alice says no Hello")
	}
	// Eve's double has bob's session. It founds, and adds alice.
	double := h.double(eve, bob.session)
	double.Handle(h.now, audience.RegimeEcho)
	double.Handle(h.now, audience.World{
		Places: []audience.Place{{Channel: 3, Closure: []uint32{3}, Hearers: []audience.Hearer{{Session: alice.session}}}},
		People: []uint32{alice.session},
	})
	double.Handle(h.now, audience.Join{Want: true})
	double.Handle(h.now, audience.Received{From: alice.session, Object: envelope.Object{Kind: envelope.KindPresence, Body: presence.Append(nil)}})
	var welcome []audience.Send
	now := h.now
	for range 300 {
		now = now.Add(100 * time.Millisecond)
		double.Handle(now, nil)
		for out, ok := double.Next(); ok; out, ok = double.Next() {
			if s, is := out.(audience.Send); is {
				double.Handle(now, audience.Delivered{Token: s.Token})
				if s.Object.Kind == envelope.KindWelcome {
					welcome = append(welcome, s)
				}
			}
		}
		if len(welcome) > 0 {
			break
		}
		double.Handle(now, audience.Received{From: alice.session, Object: hello})
	}
	if len(welcome) == 0 {
		t.Fatal("eve has no Welcome to send")
	}
	alice.handle(audience.Received{From: eve.session, Object: welcome[0].Object})
	if e, ok := alice.home(); ok {
		t.Errorf("alice is in a group of %d that eve made in bob's name", len(e.Leaves))
	}
	// From bob it would be sound: it is by whom the server says.
	alice.handle(audience.Received{From: bob.session, Object: welcome[0].Object})
	if _, ok := alice.home(); !ok {
		t.Error("a Welcome from who signed it is refused")
	}
}

// The same with a direct group: it would be taken for the one with bob.
func TestDirectWelcomeInAnothersName(t *testing.T) {
	h := newHall(t, 301, audience.RegimeEcho, mls.InsecureSuite(t))
	alice, bob, eve := h.arrive(3), h.arrive(4), h.newPerson(5)
	h.connect(eve)
	eve.up = false
	h.run(time.Second)
	double := h.double(eve, bob.session)
	double.Handle(h.now, audience.RegimeEcho)
	double.Handle(h.now, audience.World{Places: []audience.Place{{Channel: 4, Closure: []uint32{4}}}, People: []uint32{alice.session}})
	double.Handle(h.now, audience.OpenDirect{Token: 1, Sessions: []uint32{alice.session}})
	request := outputs(double, envelope.KindKeyPackageRequest)
	if len(request) != 1 {
		t.Fatal(request)
	}
	var reply envelope.Object
	h.manual = func(p *person, out audience.Send) {
		if p == alice && out.Object.Kind == envelope.KindKeyPackageReply {
			reply = out.Object
		}
	}
	alice.handle(audience.Received{From: eve.session, Object: request[0].Object})
	h.manual = nil
	double.Handle(h.now, audience.Received{From: alice.session, Object: reply})
	welcome := outputs(double, envelope.KindWelcome)
	if len(welcome) != 1 {
		t.Fatal("no Welcome")
	}
	alice.handle(audience.Received{From: eve.session, Object: welcome[0].Object})
	alice.handle(audience.OpenDirect{Token: 9, Sessions: []uint32{bob.session}})
	h.run(3 * time.Second)
	id := alice.ready[9]
	if _, ok := bob.groups[id]; !ok {
		t.Errorf("alice's group with bob is one of eve's: %x", id)
	}
}

// One stranger says by Beacons that another group is here, and answers nobody. Those
// who are here come together all the same.
func TestBeaconsOfNoGroup(t *testing.T) {
	h := newHall(t, 302, audience.RegimeEcho, mls.InsecureSuite(t))
	eve := h.newPerson(3)
	eve.want = false
	h.connect(eve)
	eve.up = false
	id := envelope.GroupID{0x80} // below all others
	seq := uint32(0)
	var flood func()
	flood = func() {
		seq++
		b := envelope.Beacon{Group: id, Suite: uint16(h.suites[0]), Epoch: 1, Leaf: 0, Seq: seq}
		for _, s := range h.sessions() {
			if p := h.people[s]; p != eve {
				p.handle(audience.Received{From: eve.session, Object: envelope.Object{Kind: envelope.KindBeacon, Body: b.Append(nil)}})
			}
		}
		h.at(3*time.Second, flood)
	}
	h.at(100*time.Millisecond, flood)
	alice, bob := h.arrive(3), h.arrive(3)
	d := h.until(3*time.Minute, "together", func() bool { return together(alice, bob) })
	t.Log("together after", d)
	if d > 45*time.Second {
		t.Error("a stranger kept them apart for", d)
	}
}

// A session counts once, for the group of its last Beacon: who claims many is one.
func TestBeaconsOfManyGroups(t *testing.T) {
	h, all := meeting(t, 305, audience.RegimeEcho, mls.InsecureSuite(t), 2)
	eve := h.newPerson(3)
	eve.want = false
	h.connect(eve)
	eve.up = false
	h.run(5 * time.Second)
	for i := range 20 {
		b := envelope.Beacon{Group: envelope.GroupID{0x80, byte(i)}, Suite: uint16(h.suites[0]), Epoch: 1, Seq: uint32(i)}
		all[0].handle(audience.Received{From: eve.session, Object: envelope.Object{Kind: envelope.KindBeacon, Body: b.Append(nil)}})
		h.run(time.Second)
		if n := all[0].m.Sizes()["foreign"]; n != 1 {
			t.Fatalf("one session speaks for %d groups", n)
		}
	}
}

// One stranger asks for KeyPackages all the time and uses none. Others get theirs.
func TestKeyPackagesForAll(t *testing.T) {
	h := newHall(t, 303, audience.RegimeEcho, mls.InsecureSuite(t))
	alice, bob, eve := h.arrive(3), h.arrive(4), h.newPerson(5)
	h.connect(eve)
	eve.up = false
	h.run(time.Second)
	for i := range 60 {
		r := envelope.KeyPackageRequest{Audience: envelope.AudienceDirect, Group: envelope.GroupID{0x80, byte(i)}, Suite: uint16(h.suites[0])}
		alice.handle(audience.Received{From: eve.session, Object: envelope.Object{Kind: envelope.KindKeyPackageRequest, Body: r.Append(nil)}})
		h.run(2 * time.Second)
	}
	bob.handle(audience.OpenDirect{Token: 9, Sessions: []uint32{alice.session}})
	h.run(3 * time.Second)
	if bob.ready[9] == (envelope.GroupID{}) {
		t.Errorf("bob gets no KeyPackage of alice: %v", bob.failed[9])
	}
	if n := alice.m.Sizes()["offers"]; n > 12 {
		t.Errorf("%d KeyPackages are out", n)
	}
}

// A stranger sees the digests of members in their Beacons, and says with them that
// it is ahead. Nobody leaves its leaf for that.
func TestStrangerAhead(t *testing.T) {
	h, all := meeting(t, 304, audience.RegimeEcho, mls.InsecureSuite(t), 4)
	h.run(20 * time.Second)
	eve := h.newPerson(3)
	eve.want = false
	h.connect(eve)
	eve.up = false
	h.run(20 * time.Second)
	presence := envelope.Presence{MaxVersion: 1, Suites: []uint16{uint16(h.suites[0])}}
	for _, p := range all {
		p.handle(audience.Received{From: eve.session, Object: envelope.Object{Kind: envelope.KindPresence, Body: presence.Append(nil)}})
	}
	var last envelope.Beacon
	h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
		if to == eve.session && o.Kind == envelope.KindBeacon {
			last, _ = envelope.ParseBeacon(o.Body)
		}
		return []time.Duration{h.delay()}
	}
	h.run(15 * time.Second)
	if last.Group.IsZero() {
		t.Fatal("eve sees no Beacon")
	}
	hellos := h.sent[envelope.KindHello]
	commits := all[0].epoch()
	seq := uint32(0)
	for range 20 {
		seq++
		b := last
		b.Past = append([][envelope.PastLen]byte{[envelope.PastLen]byte(last.Now[:envelope.PastLen])}, last.Past...)
		b.Past = b.Past[:min(len(b.Past), envelope.MaxPast)]
		b.Epoch, b.Leaf, b.Seq, b.Now = last.Epoch+1, 77, seq, [16]byte{1, 2, 3}
		for _, p := range all {
			p.handle(audience.Received{From: eve.session, Object: envelope.Object{Kind: envelope.KindBeacon, Body: b.Append(nil)}})
		}
		h.run(5 * time.Second)
	}
	t.Log("hellos", h.sent[envelope.KindHello]-hellos, "commits", all[0].epoch()-commits)
	if n := h.sent[envelope.KindHello] - hellos; n > 4 {
		t.Errorf("%d Hellos because of a stranger's word", n)
	}
}

// A stranger's Beacon of a group that is none does not decide in which suite others
// found theirs.
func TestBeaconOfWorseSuite(t *testing.T) {
	h := newHall(t, 305, audience.RegimeEcho, audience.SuiteHybrid, audience.SuiteClassic)
	eve := h.newPerson(3)
	eve.want = false
	h.connect(eve)
	eve.up = false
	b := envelope.Beacon{Group: envelope.GroupID{0x80}, Suite: uint16(audience.SuiteClassic), Epoch: 1}
	alice, bob := h.newPerson(3), h.newPerson(3)
	for range 12 {
		h.at(0, func() {
			b.Seq++
			for _, p := range []*person{alice, bob} {
				if p.up {
					p.handle(audience.Received{From: eve.session, Object: envelope.Object{Kind: envelope.KindBeacon, Body: b.Append(nil)}})
				}
			}
		})
		if !alice.up {
			h.connect(alice)
			h.connect(bob)
		}
		h.run(3 * time.Second)
	}
	h.until(40*time.Second, "together", func() bool { return together(alice, bob) })
	e, _ := alice.home()
	if cs := alice.m.Suite(e.Group); cs != audience.SuiteHybrid {
		t.Errorf("founded in suite %#04x", uint16(cs))
	}
}

// A Hello whose KeyPackage is true and cannot be added, for it supports less than
// the group requires, holds up neither who leaves nor who else wants in.
func TestHelloThatCannotBeAdded(t *testing.T) {
	h, all := meeting(t, 306, audience.RegimeEcho, mls.InsecureSuite(t), 3)
	h.run(15 * time.Second)
	eve := h.newPerson(3)
	eve.want = false
	h.connect(eve)
	h.run(100 * time.Millisecond)
	cs := h.suites[0]
	hello := func() envelope.Object {
		l := envelope.SottoLeaf{Server: server, Session: eve.session, Audience: envelope.AudienceChannel, Channel: 3}
		p, err := eve.m.Profile(cs, l)
		if err != nil {
			t.Fatal(err)
		}
		p.Capabilities.Extensions = []mls.ExtensionType{mls.ExtensionType(envelope.ExtensionLeaf)}
		own, err := mls.NewKeyPackage(cs, p, audience.NewLifetime(h.now))
		if err != nil {
			t.Fatal(err)
		}
		x := envelope.Hello{MaxVersion: 1, Regime: envelope.HelloRegimeE, Suites: []uint16{uint16(cs)}, KeyPackage: own.KeyPackage.Marshal()}
		s, err := p.SignatureKey.SignOutside(identity.SignContent(identity.LabelHello, x.SignedContent()))
		if err != nil {
			t.Fatal(err)
		}
		x.Signature = [envelope.SignatureLen]byte(s)
		return envelope.Object{Kind: envelope.KindHello, Body: x.Append(nil)}
	}
	eve.up = false
	var flood func()
	flood = func() {
		o := hello()
		for _, p := range all {
			if p.up {
				p.handle(audience.Received{From: eve.session, Object: o})
			}
		}
		h.at(time.Second, flood)
	}
	flood()
	h.run(2 * time.Second)
	h.leave(all[2], true)
	d := h.until(time.Minute, "the leaver is removed", func() bool { return together(all[:2]...) })
	t.Log("removed after", d)
	if d > 3*time.Second {
		t.Errorf("a stranger held the Remove up for %v", d)
	}
	bob := h.arrive(3)
	d = h.until(time.Minute, "bob is in", func() bool { return together(all[0], all[1], bob) })
	t.Log("bob is in after", d)
	if d > 5*time.Second {
		t.Errorf("a stranger held bob up for %v", d)
	}
}

// Nor does it decide in which suite a member that is behind asks to be added again:
// its own group could not take it.
func TestBeaconOfWorseSuiteWhileBehind(t *testing.T) {
	h := newHall(t, 306, audience.RegimeEcho, audience.SuiteHybrid, audience.SuiteClassic)
	all := []*person{h.arrive(3), h.arrive(3), h.arrive(3)}
	h.until(40*time.Second, "together", func() bool { return together(all...) })
	eve := h.newPerson(3)
	eve.want = false
	h.connect(eve)
	eve.up = false
	victim := last(all)
	h.meddle = func(_, to uint32, o envelope.Object) []time.Duration {
		if isCommit(o) && to == victim.session {
			return nil // only a Welcome helps
		}
		return []time.Duration{h.delay()}
	}
	b := envelope.Beacon{Group: envelope.GroupID{0x80}, Suite: uint16(audience.SuiteClassic), Epoch: 1}
	var lie func()
	lie = func() {
		b.Seq++
		victim.handle(audience.Received{From: eve.session, Object: envelope.Object{Kind: envelope.KindBeacon, Body: b.Append(nil)}})
		h.at(3*time.Second, lie)
	}
	lie()
	before := victim.epoch()
	all[0].handle(audience.SetLocked{Locked: true})
	all[1].handle(audience.SetLocked{Locked: true})
	h.until(60*time.Second, "together again", func() bool { return victim.epoch() > before && together(all...) })
}
