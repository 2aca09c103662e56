package audience_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// What a member who has turned hostile does with what RFC 9420 allows and Sotto
// does not need: M5, M7 and M19 of the list of attacks.

// seconds is a lifetime around now; so many before, and after.
func seconds(now time.Time, before, after int64) mls.Lifetime {
	return mls.Lifetime{NotBefore: uint64(now.Unix() - before), NotAfter: uint64(now.Unix() + after)}
}

// M5: an Add of a KeyPackage whose lifetime is for ever or too long is refused by
// all members, and nobody new is in. Whether one is over or not begun is what the
// clocks of members differ about: all take it, or the group would part. (One that
// ends before it begins is made by no Commit: package mls has it.)
func TestMemberLifetimes(t *testing.T) {
	const long = 1<<64 - 1
	now := func(now time.Time) time.Time { return now }
	for i, c := range []struct {
		name string
		life func(now time.Time) mls.Lifetime
		at   func(now time.Time) time.Time // the committer's clock
		bad  bool
	}{
		{"as ours", audience.NewLifetime, now, false},
		{"of a second, now", func(now time.Time) mls.Lifetime { return seconds(now, 0, 1) }, now, false},
		{"0", func(time.Time) mls.Lifetime { return mls.Lifetime{} }, func(time.Time) time.Time { return time.Unix(0, 0) }, false},
		{"for ever", func(time.Time) mls.Lifetime { return mls.Lifetime{NotAfter: long} }, now, true},
		{"for ever from now", func(now time.Time) mls.Lifetime {
			return mls.Lifetime{NotBefore: uint64(now.Unix()), NotAfter: long}
		}, now, true},
		{"of a year", func(now time.Time) mls.Lifetime { return seconds(now, 0, 365*86_400) }, now, true},
		{"over for a minute", func(now time.Time) mls.Lifetime { return seconds(now, 3600, -60) },
			func(now time.Time) time.Time { return now.Add(-10 * time.Minute) }, false},
		{"not begun for a minute", func(now time.Time) mls.Lifetime { return seconds(now, -60, 3600) },
			func(now time.Time) time.Time { return now.Add(10 * time.Minute) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, all := meeting(t, uint64(500+i), audience.RegimeEcho, mls.InsecureSuite(t), 3)
			h.run(15 * time.Second)
			x := all[2].turnHostile(t)
			before, _ := all[0].home()
			made, err := x.g.Commit(x.one(mls.Add{KeyPackage: x.keyPackageOf(90, c.life(h.now), nil)}), c.at(h.now))
			if err != nil {
				t.Fatal(err)
			}
			x.send(envelope.Object{Kind: envelope.KindMLSMessage, Body: made.Message().Marshal()})
			h.run(500 * time.Millisecond)
			for _, p := range all[:2] {
				e, _ := p.home()
				if taken := e.Epoch != before.Epoch; taken == c.bad {
					t.Errorf("%s: taken is %v", p.name, taken)
				}
				if c.bad && (p.m.Stats().Invalid != 1 || p.count(audience.NoticeBadCommit) != 1 || len(e.Leaves) != 3) {
					t.Errorf("%s: %+v, %+v", p.name, p.m.Stats(), p.notices)
				}
			}
		})
	}
}

// M7: a ReInit, and PSKs of former epochs, end or change nothing: the group goes on.
func TestMemberReInit(t *testing.T) {
	for i, c := range []struct {
		name string
		make func(x *hostile) mls.CommitOptions
	}{
		{"a ReInit", func(x *hostile) mls.CommitOptions {
			return x.one(mls.ReInit{GroupID: bytes.Repeat([]byte{0xC9}, 16), Version: mls.MLS10, CipherSuite: x.g.CipherSuite()})
		}},
		{"a ReInit to the same id", func(x *hostile) mls.CommitOptions {
			return x.one(mls.ReInit{GroupID: x.g.ID(), Version: mls.MLS10, CipherSuite: x.g.CipherSuite(), Extensions: x.g.Context().Extensions})
		}},
		{"the PSK of an epoch of this group", func(x *hostile) mls.CommitOptions {
			return x.one(mls.PreSharedKey{PSK: mls.PreSharedKeyID{
				Type: mls.PSKResumption, Usage: mls.ResumptionApplication, GroupID: x.g.ID(), Epoch: x.g.Epoch(),
			}})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, all := meeting(t, uint64(520+i), audience.RegimeEcho, mls.InsecureSuite(t), 3)
			h.run(15 * time.Second)
			x := all[2].turnHostile(t)
			before, _ := all[0].home()
			x.commit(c.make(x))
			h.run(500 * time.Millisecond)
			for _, p := range all[:2] {
				e, ok := p.home()
				if !ok || e.Epoch != before.Epoch || p.m.Stats().Invalid != 1 || p.count(audience.NoticeBadCommit) != 1 {
					t.Errorf("%s: %v, epoch %d of %d, %+v, %+v", p.name, ok, e.Epoch, before.Epoch, p.m.Stats(), p.notices)
				}
			}
			// Its own copy has gone on; the others go on without it and with newcomers.
			h.leave(all[2], true)
			dave := h.arrive(3)
			h.until(30*time.Second, "they go on", func() bool { return together(all[0], all[1], dave) })
			if e, _ := all[0].home(); e.Group != before.Group {
				t.Error("in another group")
			}
		})
	}
}

// M7: somebody who wants in gets a Welcome into a branch (RFC 9420 §11.3) that a
// member made of the group. It is not joined, and the true one is; a group of the
// same make that is no branch would be.
func TestMemberBranch(t *testing.T) {
	for i, c := range []struct {
		name   string
		branch bool
		same   bool // id
	}{{"a branch", true, false}, {"a branch of the same id", true, true}, {"another group", false, false}} {
		t.Run(c.name, func(t *testing.T) {
			h, all := meeting(t, uint64(530+i), audience.RegimeEcho, mls.InsecureSuite(t), 3)
			h.run(15 * time.Second)
			x := all[2].turnHostile(t)
			origin, _ := all[0].home()
			id := x.id
			if !c.same {
				id[9] ^= 1
				id[1] ^= 1 // of another tag as well
			}
			welcomes := 0
			h.before = func(p *person, out audience.Send) {
				if out.Object.Kind != envelope.KindHello || p == all[0] || p == all[1] {
					return
				}
				w := x.invite(out.Object.Body, id, c.branch)
				welcomes++
				h.at(0, func() { p.handle(audience.Received{From: x.session, Object: w}) })
			}
			dave := h.arrive(3)
			h.until(30*time.Second, "dave is in a group", func() bool { _, ok := dave.home(); return ok })
			first := dave.history[0]
			if welcomes == 0 || c.branch && (first.Group != origin.Group || len(first.Leaves) != 4) || !c.branch && first.Group != id {
				t.Errorf("after %d Welcomes dave is in %x with %d", welcomes, first.Group, len(first.Leaves))
			}
			if refused := dave.m.Stats().Invalid; refused != 0 != c.branch {
				t.Errorf("%d refused", refused)
			}
			h.run(10 * time.Second)
			if c.branch && !together(all[0], all[1], all[2], dave) {
				t.Errorf("apart:\n%s", h.state())
			}
		})
	}
}

// invite is a Welcome for who said this Hello, into a group of the member's own that
// looks like the true one.
func (x *hostile) invite(body []byte, id envelope.GroupID, branch bool) envelope.Object {
	x.t.Helper()
	hello, err := envelope.ParseHello(body)
	if err != nil {
		x.t.Fatal(err)
	}
	kp, err := mls.ParseKeyPackage(hello.KeyPackage)
	if err != nil {
		x.t.Fatal(err)
	}
	cs := x.g.CipherSuite()
	p, err := x.m.Profile(cs, envelope.SottoLeaf{Server: server, Session: x.session, Audience: envelope.AudienceChannel, Channel: x.channel})
	if err != nil {
		x.t.Fatal(err)
	}
	o := mls.GroupOptions{CipherSuite: cs, ID: id[:], Profile: p, Lifetime: audience.NewLifetime(x.h.now), Extensions: x.g.Context().Extensions}
	var g *mls.Group
	if branch {
		g, err = x.g.Branch(o, x.h.now)
	} else {
		g, err = mls.NewGroup(lenient, o, x.h.now)
	}
	if err != nil {
		x.t.Fatal(err)
	}
	c, err := g.Commit(x.one(mls.Add{KeyPackage: kp}), x.h.now)
	if err != nil {
		x.t.Fatal(err)
	}
	return envelope.Object{Kind: envelope.KindWelcome, Body: (&mls.Message{Welcome: c.Welcomes()[0]}).Marshal()}
}

// M19: a member makes a Commit that nobody can take, and every Welcome of it is
// damaged, so that whom it adds is in without keys. Who began anew just then comes
// back all the same, in the same group: somebody else adds it. Each turn that the
// offender gets first costs the 6 s for which a Welcome may be under way (§4.2). All
// name the offender.
func TestMemberDamagesWelcomes(t *testing.T) {
	damaged := 0
	var worst time.Duration
	for seed := range uint64(12) {
		h, all := meeting(t, 540+seed, audience.RegimeEcho, mls.InsecureSuite(t), 5)
		h.run(15 * time.Second)
		eve, victim := all[2], all[4]
		x := eve.turnHostile(t)
		h.forge = func(p *person, o envelope.Object) envelope.Object {
			if p == eve && o.Kind == envelope.KindWelcome {
				damaged++
				o.Body = bytes.Clone(o.Body)
				o.Body[len(o.Body)-1] ^= 1
			}
			return o
		}
		before, _ := all[0].home()
		x.commit(x.one(x.add(1, nil))) // a session that is a member
		h.run(100 * time.Millisecond)
		h.restart(victim)
		turns := damaged
		d := h.until(30*time.Second, "the victim is back", func() bool { return together(all...) })
		worst = max(worst, d)
		if most := 2*time.Second + time.Duration(damaged-turns)*6*time.Second; d > most {
			t.Errorf("seed %d: after %v, and %d were damaged", seed, d, damaged-turns)
		}
		if e, _ := victim.home(); e.Group != before.Group {
			t.Errorf("seed %d: in another group", seed)
		}
		for _, p := range []*person{all[0], all[1], all[3]} {
			if p.count(audience.NoticeBadCommit) != 1 || p.count(audience.NoticeBlamed) != 1 {
				t.Errorf("seed %d: %s was told %+v", seed, p.name, p.notices)
			}
			for _, n := range p.notices {
				if n.Code == audience.NoticeBlamed && n.Session != eve.session {
					t.Errorf("seed %d: %s blames %d", seed, p.name, n.Session)
				}
			}
		}
	}
	t.Logf("%d Welcomes damaged; back after %v at worst", damaged, worst)
	if damaged == 0 {
		t.Error("nothing was damaged")
	}
}
