package crypt_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/sotto-voip/sotto/mumble/crypt"
)

func TestNoAllocations(t *testing.T) {
	sender, receiver := newPair(t, testNonce)
	plain, d, out := make([]byte, 92), make([]byte, 0, 128), make([]byte, 0, 128)
	if n := testing.AllocsPerRun(100, func() {
		d = sender.Seal(d[:0], plain)
		if _, err := receiver.Open(out, d); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzOpen gives a receiver foreign bytes: it must never open them, and still
// open what its peer sends.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 1, 2, 3})
	f.Add(unhex("00bf3108"))
	f.Add(make([]byte, 96))
	f.Fuzz(func(t *testing.T, b []byte) {
		sender, receiver := newPair(t, testNonce)
		d := sender.Seal(nil, b)
		// 24 bits of tag can be guessed; a fuzzer that does shows it here by name.
		if got, err := receiver.Open(nil, b); err == nil && !bytes.Equal(b, d) {
			t.Logf("guessed a tag: %s opened to %x", hex.EncodeToString(b), got)
			return
		}
		if receiver.Stats() != (crypt.Stats{}) || !bytes.Equal(receiver.DecryptIV(), testNonce) {
			t.Fatal("a refused datagram moved the state")
		}
		got, err := receiver.Open(nil, d)
		if err != nil || len(got) != len(b) {
			t.Fatalf("own datagram: %x, %v", got, err)
		}
		differ := 0
		for i := range b {
			if got[i] != b[i] {
				differ++
			}
		}
		if differ > 1 {
			t.Fatalf("%d bytes differ", differ)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	sender, _ := newPair(b, testNonce)
	plain, d := counting(92, 0), make([]byte, 0, 128)
	b.SetBytes(92)
	b.ReportAllocs()
	for b.Loop() {
		d = sender.Seal(d[:0], plain)
	}
}

func BenchmarkOpen(b *testing.B) {
	sender, receiver := newPair(b, testNonce)
	first, other := sender.EncryptIV(), make([]byte, 16)
	d := make([][]byte, 4096)
	for i := range d {
		d[i] = sender.Seal(nil, counting(92, 0))
	}
	out, i := make([]byte, 0, 128), 0
	b.SetBytes(92)
	b.ReportAllocs()
	for b.Loop() {
		if i == len(d) {
			i = 0
			if err := receiver.SetKey(testKey, other, first); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := receiver.Open(out, d[i]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
