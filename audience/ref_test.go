package audience_test

import (
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
)

// big is a hall whose Commits with a path are too long for fragments.
func big(t *testing.T, seed uint64) (*hall, []*person) {
	h, all := meeting(t, seed, audience.RegimeEcho, audience.SuiteHybrid, 9)
	h.run(20 * time.Second)
	return h, all
}

// A long Commit goes beside the order, with a Ref in it.
func TestRef(t *testing.T) {
	h, all := big(t, 30)
	refs, wants := h.sent[envelope.KindRef], h.sent[envelope.KindWant]
	h.leave(all[8], true)
	h.until(5*time.Second, "out", func() bool { return together(all[:8]...) })
	if h.sent[envelope.KindRef] == refs {
		t.Fatal("no Ref was needed")
	}
	if h.sent[envelope.KindWant] != wants {
		t.Error("somebody asked for a body that came")
	}
}

// The body does not come: the receiver asks for it and gets it.
func TestBodyLost(t *testing.T) {
	h, all := big(t, 31)
	lost, victim := 0, last(all[:8])
	h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
		if isCommit(o) && to == victim.session && lost == 0 {
			lost++
			return nil
		}
		return []time.Duration{h.delay()}
	}
	hellos := h.sent[envelope.KindHello]
	h.leave(all[8], true)
	d := h.until(5*time.Second, "caught up", func() bool { return lost > 0 && together(all[:8]...) })
	t.Logf("caught up after %v", d)
	if h.sent[envelope.KindHello] != hellos {
		t.Error("by a Hello")
	}
}

// A Ref of a member to something that never comes: after 3 s it is skipped for
// all, and what stood behind it takes effect.
func TestBodyWithheld(t *testing.T) {
	h, all := big(t, 32)
	eve := all[8].turnHostile(t)
	e, _ := all[0].home()
	ref := envelope.RefObject{Ref: envelope.Ref{1, 2, 3}, Kind: envelope.KindMLSMessage, Size: 9000, Group: e.Group, Epoch: e.Epoch}
	eve.send(envelope.Object{Kind: envelope.KindRef, Body: ref.Append(nil)})
	h.run(100 * time.Millisecond)
	wants := h.sent[envelope.KindWant]
	if wants == 0 {
		t.Error("nobody asks for it")
	}
	// Behind it stands a small Commit of the same member, which is valid.
	c, err := eve.g.Commit(eve.one(eve.policy(func(g *envelope.SottoGroup) { g.Flags |= envelope.FlagLocked })), h.now)
	if err != nil {
		t.Fatal(err)
	}
	o := envelope.Object{Kind: envelope.KindMLSMessage, Body: c.Message().Marshal()}
	eve.send(o)
	h.run(2500 * time.Millisecond)
	if all[0].epoch() != e.Epoch {
		t.Error("what stands behind it took effect before its time")
	}
	h.run(1500 * time.Millisecond)
	for _, p := range all[:8] {
		if x, _ := p.home(); x.Epoch != e.Epoch+1 || !x.Locked {
			t.Errorf("%s: epoch %d", p.name, x.Epoch)
		}
	}
}

// The same, and our own Commit stands behind the Ref.
func TestOwnBehindRef(t *testing.T) {
	h, all := big(t, 33)
	eve := all[8].turnHostile(t)
	e, _ := all[0].home()
	all[0].handle(audience.SetLocked{Locked: true})
	ref := envelope.RefObject{Ref: envelope.Ref{1, 2, 3}, Kind: envelope.KindMLSMessage, Size: 9000, Group: e.Group, Epoch: e.Epoch}
	object := envelope.Object{Kind: envelope.KindRef, Body: ref.Append(nil)}
	for _, p := range all[:8] {
		p.handle(audience.Received{From: eve.session, Object: object}) // it was first
	}
	if !all[0].m.Pending(e.Group) {
		t.Fatal("its Commit is gone")
	}
	h.run(2500 * time.Millisecond)
	if all[0].epoch() != e.Epoch {
		t.Error("too early")
	}
	h.run(1500 * time.Millisecond)
	for _, p := range all[:8] {
		if x, _ := p.home(); x.Epoch != e.Epoch+1 || x.Committer != all[0].session {
			t.Errorf("%s: epoch %d by %d", p.name, x.Epoch, x.Committer)
		}
	}
}
