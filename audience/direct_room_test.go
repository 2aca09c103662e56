package audience_test

import (
	"crypto/rand"
	"maps"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// Strangers who ask for KeyPackages and never send a Welcome do not keep others from
// opening a direct group.
func TestRequestsMakeRoom(t *testing.T) {
	suite := mls.InsecureSuite(t)
	h := newHall(t, 90, audience.RegimeEcho, suite)
	alice, bob := h.arrive(3), h.arrive(4)
	var strangers []*person
	for range 6 {
		strangers = append(strangers, h.arrive(5))
	}
	h.run(2 * time.Second)
	for _, s := range strangers {
		for range 3 {
			r := envelope.KeyPackageRequest{Audience: envelope.AudienceDirect, Suite: uint16(suite)}
			rand.Read(r.Group[:])
			r.Group[0] |= 0x80
			bob.handle(audience.Received{From: s.session, Object: envelope.Object{Kind: envelope.KindKeyPackageRequest, Body: r.Append(nil)}})
		}
	}
	alice.handle(audience.OpenDirect{Token: 7, Sessions: []uint32{bob.session}})
	h.until(5*time.Second, "a direct group", func() bool { return !alice.ready[7].IsZero() })
	h.until(5*time.Second, "bob is in it", func() bool { _, in := bob.groups[alice.ready[7]]; return in })
}

// Who asks hears that we run Sotto, at once and again after a while, whether it gets a
// KeyPackage or not: to nobody we seem to be without it because others keep us busy.
func TestDeclines(t *testing.T) {
	h := newHall(t, 61, audience.RegimeEcho, mls.InsecureSuite(t))
	bob, asker := h.arrive(3), h.arrive(5)
	h.run(10 * time.Second)
	got := map[envelope.Kind]int{}
	h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
		if from == bob.session && to == asker.session {
			got[o.Kind]++
		}
		return []time.Duration{h.delay()}
	}
	n := byte(0)
	ask := func() {
		n++
		r := envelope.KeyPackageRequest{Audience: envelope.AudienceDirect, Group: envelope.GroupID{0x80, n}, Suite: uint16(h.suites[0]), Nonce: [16]byte{n}}
		bob.handle(audience.Received{From: asker.session, Object: envelope.Object{Kind: envelope.KindKeyPackageRequest, Body: r.Append(nil)}})
	}
	for range 20 {
		ask()
	}
	h.run(900 * time.Millisecond)
	if want := (map[envelope.Kind]int{envelope.KindKeyPackageReply: 3, envelope.KindPresence: 1}); !maps.Equal(got, want) {
		t.Errorf("bob answers %v, want %v", got, want)
	}
	for range 90 { // he is told twice, then once in ten seconds
		ask()
		h.run(time.Second)
	}
	if got[envelope.KindPresence] < 9 || got[envelope.KindPresence] > 11 || got[envelope.KindKeyPackageReply] < 11 || got[envelope.KindKeyPackageReply] > 12 {
		t.Errorf("bob answers %v in a minute and a half", got)
	}
}

// Many strangers who ask together get a KeyPackage each at first, then one of them in five
// seconds, so that what they cost leaves room for the groups.
func TestManyAsk(t *testing.T) {
	h := newHall(t, 62, audience.RegimeEcho, mls.InsecureSuite(t))
	bob := h.arrive(3)
	var askers []*person
	for range 30 {
		askers = append(askers, h.arrive(5))
	}
	h.run(20 * time.Second)
	got := map[envelope.Kind]int{}
	h.meddle = func(from, to uint32, o envelope.Object) []time.Duration {
		if from == bob.session {
			got[o.Kind]++
		}
		return []time.Duration{h.delay()}
	}
	for i := range 60 {
		for j, asker := range askers {
			r := envelope.KeyPackageRequest{Audience: envelope.AudienceDirect, Group: envelope.GroupID{0x80, byte(i), byte(j)}, Suite: uint16(h.suites[0]), Nonce: [16]byte{byte(i), byte(j)}}
			bob.handle(audience.Received{From: asker.session, Object: envelope.Object{Kind: envelope.KindKeyPackageRequest, Body: r.Append(nil)}})
		}
		h.run(time.Second)
	}
	if n := got[envelope.KindKeyPackageReply]; n < 30 || n > 24+12+1 {
		t.Errorf("%d KeyPackages in a minute", n)
	}
	if n := got[envelope.KindPresence]; n < 30*6 || n > 30*8 { // copies of a few messages to all
		t.Errorf("%d times told that he runs Sotto", n)
	}
}
