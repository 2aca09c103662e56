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

// People with a typed secret, with another, and with none are in one channel: those
// of a kind come together, whoever was there first, and stay, without a Commit more for
// those who are not (§10.2).
func TestApart(t *testing.T) {
	const none = ""
	for _, regime := range []audience.Regime{audience.RegimeEcho, audience.RegimeNoEcho} {
		for _, c := range []struct {
			name  string
			kinds []string // in the order in which they come
			pause time.Duration
		}{
			{"three without, then two with", []string{none, none, none, "ours", "ours"}, 30 * time.Second},
			{"two with, then three without", []string{"ours", "ours", none, none, none}, 30 * time.Second},
			{"in turn", []string{none, "ours", none, "ours", none, "ours"}, 30 * time.Second},
			{"two secrets", []string{"ours", "theirs", "ours", "theirs"}, 30 * time.Second},
			{"all at once", []string{none, "ours", "theirs", none, "ours", "theirs", none, "ours"}, 0},
		} {
			t.Run(fmt.Sprintf("%v/%s", regime, c.name), func(t *testing.T) {
				within := 4 * time.Minute
				if regime == audience.RegimeNoEcho && c.pause == 0 {
					// Everybody is added in vain by two groups, once for each Hello that
					// was said before they knew, and each time for 90 s.
					within = 8 * time.Minute
				}
				for seed := range uint64(8) {
					apartFrom(t, seed, regime, c.kinds, c.pause, within)
				}
			})
		}
	}
}

func apartFrom(t *testing.T, seed uint64, regime audience.Regime, kinds []string, pause, within time.Duration) {
	h := newHall(t, 700+seed, regime, mls.InsecureSuite(t))
	of := map[string][]*person{}
	for _, kind := range kinds {
		p := h.newPerson(3)
		if kind != "" {
			p.secrets = [][]byte{[]byte(kind)}
		}
		h.connect(p)
		of[kind] = append(of[kind], p)
		h.run(pause)
	}
	all := slices.Concat(of[""], of["ours"], of["theirs"])
	settled := func() bool {
		for _, list := range of {
			if !together(list...) {
				return false
			}
		}
		return true
	}
	hear := h.until(time.Minute, "those of a kind hear each other", func() bool {
		for _, list := range of {
			if !shared(list...) {
				return false
			}
		}
		return true
	})
	took := h.until(within, "those of a kind together, and nobody else", settled)
	t.Logf("seed %d: hear each other after %v, alone after %v", seed, hear, took)
	h.run(2 * time.Minute) // who was added in vain is removed
	if !settled() {
		t.Errorf("seed %d: they do not stay\n%s", seed, h.state())
	}
	before := map[*person]uint64{}
	for _, p := range all {
		e, _ := p.home()
		before[p] = e.Epoch
		if n := p.count(audience.NoticeSecret); n > 1 {
			t.Errorf("seed %d: %d is told %d times of another secret", seed, p.session, n)
		}
	}
	hellos := h.sent[envelope.KindHello]
	h.run(5 * time.Minute) // no own Update is due yet
	if n := h.sent[envelope.KindHello] - hellos; n != 0 {
		t.Errorf("seed %d: %d Hellos of people who have a group", seed, n)
	}
	for _, p := range all {
		if e, _ := p.home(); e.Epoch != before[p] {
			t.Errorf("seed %d: %d is in epoch %d after %d, though nobody came or went", seed, p.session, e.Epoch, before[p])
		}
	}
	if !settled() {
		t.Errorf("seed %d: not together at the end\n%s", seed, h.state())
	}
}

// Who has the secret alone asks the others again, once in five minutes.
func TestApartAsksAgain(t *testing.T) {
	h := newHall(t, 780, audience.RegimeEcho, mls.InsecureSuite(t))
	h.arrive(3)
	h.arrive(3)
	h.run(time.Minute)
	alice := h.newPerson(3)
	alice.secrets = [][]byte{[]byte("ours")}
	h.connect(alice)
	h.run(time.Minute)
	hellos := h.sent[envelope.KindHello]
	h.run(10 * time.Minute)
	if n := h.sent[envelope.KindHello] - hellos; n < 2 || n > 6 {
		t.Errorf("%d Hellos in ten minutes", n)
	}
	if _, in := alice.home(); in || alice.count(audience.NoticeSecret) != 1 {
		t.Errorf("in a group: %v, told %d times", in, alice.count(audience.NoticeSecret))
	}
}

// Somebody without the secret answers a newcomer in the name of the group that has it.
// That keeps the newcomer out for a while at most.
func TestApartMadeUp(t *testing.T) {
	h := newHall(t, 790, audience.RegimeEcho, mls.InsecureSuite(t))
	ours := func() *person {
		p := h.newPerson(3)
		p.secrets = [][]byte{[]byte("ours")}
		h.connect(p)
		return p
	}
	bob, carol := ours(), ours()
	h.until(time.Minute, "together", func() bool { return together(bob, carol) })
	mallory := h.arrive(3)
	h.run(2 * time.Minute)
	mallory.up = false // by hand from now on
	group, _ := bob.home()
	var hello envelope.Object
	var alice *person
	h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
		if alice == nil || from != alice.session && to != alice.session || from == to {
			return []time.Duration{h.delay()}
		}
		if from == alice.session && to == mallory.session && o.Kind == envelope.KindHello {
			hello = o
		}
		return nil // the server helps her: alice sees nobody else
	}
	alice = ours()
	presence := envelope.Presence{MaxVersion: 1, Suites: []uint16{uint16(h.suites[0])}, Wish: envelope.WishProtect}
	alice.handle(audience.Received{From: mallory.session, Object: envelope.Object{Kind: envelope.KindPresence, Body: presence.Append(nil)}})
	h.until(30*time.Second, "her Hello", func() bool { return hello.Kind != 0 })
	x, err := envelope.ParseHello(hello.Body)
	if err != nil {
		t.Fatal(err)
	}
	kp, err := mls.ParseKeyPackage(x.KeyPackage)
	if err != nil {
		t.Fatal(err)
	}
	profile, err := mallory.m.Profile(h.suites[0], envelope.SottoLeaf{Server: server, Session: mallory.session, Audience: envelope.AudienceChannel, Channel: 3})
	if err != nil {
		t.Fatal(err)
	}
	ext := envelope.SottoGroup{Audience: envelope.AudienceChannel, Anchor: 3, Server: server} // needs no secret
	required := mls.RequiredCapabilities{Extensions: []mls.ExtensionType{0xF510, 0xF511}, Credentials: []mls.CredentialType{mls.CredentialBasic}}
	g, err := mls.NewGroup(lenient, mls.GroupOptions{
		CipherSuite: h.suites[0], ID: group.Group[:], Profile: profile, Lifetime: audience.NewLifetime(h.now),
		Extensions: []mls.Extension{required.Extension(), {Type: 0xF511, Data: ext.Append(nil)}},
	}, h.now)
	if err != nil {
		t.Fatal(err)
	}
	c, err := g.Commit(mls.CommitOptions{Proposals: []mls.Proposal{mls.Add{KeyPackage: kp}}}, h.now)
	if err != nil {
		t.Fatal(err)
	}
	alice.handle(audience.Received{From: mallory.session, Object: envelope.Object{Kind: envelope.KindWelcome, Body: (&mls.Message{Welcome: c.Welcomes()[0]}).Marshal()}})
	if alice.count(audience.NoticeSecret) != 1 {
		t.Error("alice is not told of it")
	}
	if _, in := alice.home(); in {
		t.Fatal("alice went where her secret is not wanted")
	}
	h.meddle = nil
	t.Log(h.until(7*time.Minute, "with those who have it", func() bool { return together(alice, bob, carol) }))
}
