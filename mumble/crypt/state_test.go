package crypt_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/sotto-voip/sotto/mumble/crypt"
)

func TestSkipLegacyPing(t *testing.T) {
	for _, skip := range []bool{false, true} {
		sender, receiver := newPair(t, testNonce)
		sender.SkipLegacyPing(skip)
		ones := 0
		for _, d := range seal(sender, 500) {
			if d[0] == 1 {
				ones++
			}
			if _, err := receiver.Open(nil, d); err != nil {
				t.Fatal(err)
			}
		}
		want := crypt.Stats{Good: 500}
		if skip {
			want.Lost = 2
		}
		if skip != (ones == 0) || receiver.Stats() != want {
			t.Errorf("skip %v: %d first bytes of 1, stats %+v", skip, ones, receiver.Stats())
		}
	}
}

func TestKeys(t *testing.T) {
	var cs crypt.CryptState
	if cs.Valid() || cs.Key() != nil {
		t.Error("the zero state has a key")
	}
	if _, err := cs.Open(nil, make([]byte, 20)); !errors.Is(err, crypt.ErrNoKey) {
		t.Errorf("Open without a key: %v", err)
	}
	if got := cs.Seal([]byte("x"), []byte("plain")); string(got) != "x" {
		t.Errorf("Seal without a key wrote %q", got)
	}
	good := make([]byte, 16)
	for _, bad := range [][]byte{nil, make([]byte, 15), make([]byte, 17), make([]byte, 32)} {
		for _, err := range []error{cs.SetKey(bad, good, good), cs.SetKey(good, bad, good), cs.SetKey(good, good, bad), cs.SetDecryptIV(bad)} {
			if !errors.Is(err, crypt.ErrSize) {
				t.Errorf("%d bytes: %v", len(bad), err)
			}
		}
	}
	if cs.Valid() || cs.Stats() != (crypt.Stats{}) {
		t.Error("a refused key changed the state")
	}

	cs.GenerateKey()
	if !cs.Valid() || len(cs.Key()) != 16 || bytes.Equal(cs.EncryptIV(), cs.DecryptIV()) {
		t.Errorf("generated key %x, nonces %x, %x", cs.Key(), cs.EncryptIV(), cs.DecryptIV())
	}
	var other crypt.CryptState
	other.GenerateKey()
	if bytes.Equal(cs.Key(), other.Key()) {
		t.Error("two generated keys are equal")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, &cs); s != "crypt.CryptState(with key)" {
			t.Errorf("%s prints %s", verb, s)
		}
	}

	// The peer's end, from what a CryptSetup carries.
	if err := other.SetKey(cs.Key(), cs.DecryptIV(), cs.EncryptIV()); err != nil {
		t.Fatal(err)
	}
	for range 300 {
		a, errA := other.Open(nil, cs.Seal(nil, []byte("to b")))
		b, errB := cs.Open(nil, other.Seal(nil, []byte("to a")))
		if string(a) != "to b" || string(b) != "to a" || errA != nil || errB != nil {
			t.Fatalf("%q, %v; %q, %v", a, errA, b, errB)
		}
	}
}

// A new key may come with nonces used before; what was opened under the old key
// says nothing about them.
func TestNewKeyForgetsHistory(t *testing.T) {
	sender, receiver := newPair(t, testNonce)
	for round := range 2 {
		for i, d := range seal(sender, 3) {
			if _, err := receiver.Open(nil, d); err != nil {
				t.Fatalf("round %d, datagram %d: %v", round, i, err)
			}
		}
		key := counting(16, 100)
		if err := errors.Join(sender.SetKey(key, testNonce, testNonce), receiver.SetKey(key, testNonce, testNonce)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestShort(t *testing.T) {
	_, receiver := newPair(t, testNonce)
	for n := range crypt.Overhead {
		if _, err := receiver.Open(nil, make([]byte, n)); !errors.Is(err, crypt.ErrShort) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}
