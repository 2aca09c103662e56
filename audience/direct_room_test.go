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

// Who asks too often gets no KeyPackage, but the word that we run Sotto, a few times: to
// nobody we seem to be without it because others keep us busy.
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
	for i := range byte(20) {
		r := envelope.KeyPackageRequest{Audience: envelope.AudienceDirect, Group: envelope.GroupID{0x80, i}, Suite: uint16(h.suites[0]), Nonce: [16]byte{i}}
		bob.handle(audience.Received{From: asker.session, Object: envelope.Object{Kind: envelope.KindKeyPackageRequest, Body: r.Append(nil)}})
	}
	h.run(time.Second)
	if want := (map[envelope.Kind]int{envelope.KindKeyPackageReply: 3, envelope.KindPresence: 3}); !maps.Equal(got, want) {
		t.Errorf("bob answers %v, want %v", got, want)
	}
}
