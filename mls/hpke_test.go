package mls

import (
	"crypto/hpke"
	"testing"
)

// FuzzHybridKeyCheck compares our check of a hybrid public key with the one of
// crypto/hpke.
func FuzzHybridKeyCheck(f *testing.F) {
	s, err := MLKEM768X25519AES128GCM.suite()
	if err != nil {
		f.Fatal(err)
	}
	good := must2(s.hpke.generate())
	f.Add(uint16(0), byte(0xff), byte(0xff), 0)
	f.Add(uint16(1151), byte(0xd0), byte(0x00), 0)
	f.Add(uint16(1152), byte(0xff), byte(0xff), 0)
	f.Add(uint16(1184), byte(0), byte(0), 0)
	f.Add(uint16(3), byte(0), byte(0), -1)
	f.Add(uint16(3), byte(0), byte(0), 1)
	kem := hpke.MLKEM768X25519()
	f.Fuzz(func(t *testing.T, pos uint16, x, y byte, longer int) {
		key := append([]byte(nil), good...)
		if longer < 0 {
			key = key[:len(key)-1]
		} else if longer > 0 {
			key = append(key, 0)
		}
		at := int(pos) % (len(key) - 1)
		key[at], key[at+1] = x, y
		_, want := kem.NewPublicKey(key)
		if want == nil {
			// It takes points of low order, and cannot encrypt to them.
			_, _, want = s.hpke.seal(key, nil, nil)
		}
		if got := s.hpke.check(key); (got == nil) != (want == nil) {
			t.Errorf("byte %d: got %v, want %v", at, got, want)
		}
	})
}
