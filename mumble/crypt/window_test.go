package crypt_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/sotto-voip/sotto/mumble/crypt"
)

func seal(cs *crypt.CryptState, n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = cs.Seal(nil, []byte("nine byte"))
	}
	return out
}

// A step is one datagram arriving, by its number from the sender's first, and
// what Open says to it.
func TestWindow(t *testing.T) {
	type step struct {
		n    int
		want error
	}
	ok := func(ns ...int) (s []step) {
		for _, n := range ns {
			s = append(s, step{n, nil})
		}
		return s
	}
	no := func(ns ...int) (s []step) {
		for _, n := range ns {
			s = append(s, step{n, crypt.ErrReplay})
		}
		return s
	}
	tag := func(ns ...int) (s []step) {
		for _, n := range ns {
			s = append(s, step{n, crypt.ErrTag})
		}
		return s
	}
	join := func(ss ...[]step) (s []step) {
		for _, x := range ss {
			s = append(s, x...)
		}
		return s
	}
	for _, tt := range []struct {
		name  string
		steps []step
		want  crypt.Stats
	}{
		{"in order", ok(1, 2, 3), crypt.Stats{Good: 3}},
		{"same again", join(ok(1), no(1), ok(2), no(1, 2)), crypt.Stats{Good: 2}},
		{"lost", ok(1, 17), crypt.Stats{Good: 2, Lost: 15}},
		{"late ones were lost before", ok(1, 4, 2, 3), crypt.Stats{Good: 4, Late: 2}},
		{"late one again", join(ok(1, 4, 2), no(2)), crypt.Stats{Good: 3, Late: 1, Lost: 1}},
		{"29 behind is late", ok(40, 11), crypt.Stats{Good: 2, Late: 1, Lost: 38}},
		{"30 behind is too late", join(ok(40), no(10)), crypt.Stats{Good: 1, Lost: 39}},
		{"128 ahead", ok(128), crypt.Stats{Good: 1, Lost: 127}},
		{"129 ahead is 127 behind", no(129), crypt.Stats{}},
		{"256 ahead looks like the newest", join(ok(1), no(257)), crypt.Stats{Good: 1}},
		{"257 ahead looks like the next", join(ok(1), tag(258), ok(2)), crypt.Stats{Good: 2}},
		{"a far one does not move the window", join(ok(1), tag(300), ok(2, 3)), crypt.Stats{Good: 3}},
	} {
		// Around each carry of the nonce, and where its second byte is 0, the value
		// upstream takes for "seen".
		for _, start := range []string{
			"55555555555555555555555555555555",
			"00000000000000000000000000000000",
			"fcffffffffffffffffffffffffffffff",
			"f0ffffffffffffff0000000000000000",
			"e0000000000000000000000000000000",
			"80ff0000000000000000000000000000",
		} {
			t.Run(tt.name+"/"+start, func(t *testing.T) {
				sender, receiver := newPair(t, unhex(start))
				d := append([][]byte{nil}, seal(sender, 300)...)
				for i, s := range tt.steps {
					got, err := receiver.Open(nil, d[s.n])
					if !errors.Is(err, s.want) || err == nil && string(got) != "nine byte" {
						t.Fatalf("step %d, datagram %d: %q, %v, want %v", i, s.n, got, err, s.want)
					}
				}
				if got := receiver.Stats(); got != tt.want {
					t.Errorf("stats %+v, want %+v", got, tt.want)
				}
			})
		}
	}
}

func TestReverseRecovery(t *testing.T) {
	sender, receiver := newPair(t, bytes.Repeat([]byte{0x55}, 16))
	d := seal(sender, 128)
	for i := range d {
		_, err := receiver.Open(nil, d[127-i])
		if (err == nil) != (i < 30) {
			t.Fatalf("%d behind: %v", i, err)
		}
	}
	for i := range d {
		if _, err := receiver.Open(nil, d[127-i]); err == nil {
			t.Fatalf("%d behind: opened again", i)
		}
	}
	d = seal(sender, 512)
	for i := range d {
		if _, err := receiver.Open(nil, d[i]); err != nil {
			t.Fatalf("datagram %d: %v", i, err)
		}
	}
	for i := range d {
		if _, err := receiver.Open(nil, d[i]); err == nil {
			t.Fatalf("datagram %d: opened again", i)
		}
	}
}

func TestIVRecovery(t *testing.T) {
	sender, receiver := newPair(t, bytes.Repeat([]byte{0x55}, 16))
	var lost uint32
	for round := range 128 {
		d := seal(sender, 15)
		if _, err := receiver.Open(nil, d[14]); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if lost += 14; receiver.Stats().Lost != lost {
			t.Fatalf("round %d: lost %d, want %d", round, receiver.Stats().Lost, lost)
		}
	}
	if !bytes.Equal(sender.EncryptIV(), receiver.DecryptIV()) {
		t.Fatalf("nonces differ: %x, %x", sender.EncryptIV(), receiver.DecryptIV())
	}

	// Too far: only a resync helps.
	d := seal(sender, 257)
	if _, err := receiver.Open(nil, d[256]); !errors.Is(err, crypt.ErrTag) {
		t.Fatalf("257 ahead: %v", err)
	}
	if err := receiver.SetDecryptIV(sender.EncryptIV()); err != nil {
		t.Fatal(err)
	}
	if _, err := receiver.Open(nil, seal(sender, 1)[0]); err != nil {
		t.Fatalf("after the resync: %v", err)
	}
	if got := receiver.Stats().Resync; got != 1 {
		t.Errorf("resync counted %d times", got)
	}
}

// A resync may bring a nonce older than what was opened since; that is no
// licence to open it again.
func TestResyncAllowsNoReplay(t *testing.T) {
	sender, receiver := newPair(t, testNonce)
	nonce := sender.EncryptIV()
	d := seal(sender, 3)
	for _, x := range d {
		if _, err := receiver.Open(nil, x); err != nil {
			t.Fatal(err)
		}
	}
	if err := receiver.SetDecryptIV(nonce); err != nil {
		t.Fatal(err)
	}
	for i, x := range d {
		if _, err := receiver.Open(nil, x); !errors.Is(err, crypt.ErrReplay) {
			t.Errorf("datagram %d: %v", i, err)
		}
	}
	if _, err := receiver.Open(nil, seal(sender, 1)[0]); err != nil {
		t.Errorf("a new datagram: %v", err)
	}
}

// Late ones behind a resync were never counted as lost.
func TestLostNeverBelowZero(t *testing.T) {
	sender, receiver := newPair(t, testNonce)
	d := seal(sender, 5)
	if err := receiver.SetDecryptIV(sender.EncryptIV()); err != nil {
		t.Fatal(err)
	}
	if _, err := receiver.Open(nil, d[1]); err != nil {
		t.Fatal(err)
	}
	if got, want := receiver.Stats(), (crypt.Stats{Good: 1, Late: 1, Resync: 1}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}
