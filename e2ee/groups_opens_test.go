package e2ee_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/sframe"
)

// No trial decryption (§7.2): whatever comes, at most one key is tried on it. Every
// KID is presented, in both forms, by a member of two groups with five epochs each,
// by one of one group, and by a stranger; then true frames with a byte changed.
func TestOneOpenPerFrame(t *testing.T) {
	now := dawn
	bob := speaker(t, 2, 1, 3, 4)
	for n := uint64(14); n <= 18; n++ {
		bob.BeginEpoch(now, epochOf(now, groupA, n, 2, 1, 2, 3))
		b := epochOf(now, groupB, n, 2, 1, 2)
		b.Place = 1
		bob.BeginEpoch(now, b)
	}
	tries, opened := 0, 0
	offer := func(session uint32, body []byte) {
		t.Helper()
		before := bob.Opens()
		_, _, err := openAt(bob, now, session, body)
		switch n := bob.Opens() - before; {
		case n > 1:
			t.Fatalf("%d keys tried on one frame of %d: %x", n, session, body)
		case n == 1:
			tries++
		}
		if err == nil {
			opened++
		}
	}
	r := rand.New(rand.NewPCG(4, 4))
	tags := []uint64{uint64(groupA.Tag()), uint64(groupB.Tag()), 0x80000000}
	var kids []uint64
	for low := range uint64(256) {
		kids = append(kids, low)
		for _, tag := range tags {
			kids = append(kids, tag<<16|low<<8|r.Uint64N(4))
		}
	}
	for _, kid := range kids {
		key, err := sframe.NewKey(sframe.AES_128_GCM_SHA256_128, kid, make([]byte, 32))
		if err != nil {
			t.Fatal(err)
		}
		body := append([]byte{envelope.VoiceMLS}, key.Seal(nil, 0, nil, []byte("junk"))...)
		for _, session := range []uint32{1, 3, 4, 99} {
			offer(session, body)
		}
	}
	if tries == 0 || opened > 0 {
		t.Errorf("%d tries, %d opened, of frames with made-up keys", tries, opened)
	}
	for _, id := range []envelope.GroupID{groupA, groupB} {
		for n := uint64(14); n <= 18; n++ {
			for _, long := range []bool{false, true} {
				body := sealAt(t, now, id, n, long)
				for i := range body {
					changed := slices.Clone(body)
					changed[i] ^= 1 << r.UintN(8)
					offer(1, changed)
				}
				offer(1, body)
			}
		}
	}
	if opened < 10 {
		t.Errorf("%d true frames opened", opened)
	}
}
