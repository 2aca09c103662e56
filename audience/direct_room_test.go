package audience_test

import (
	"crypto/rand"
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
