package sframe_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"strings"
	"testing"

	"github.com/sotto-voip/sotto/sframe"
)

var allSuites = []sframe.Suite{
	sframe.AES_128_CTR_HMAC_SHA256_80, sframe.AES_128_CTR_HMAC_SHA256_64, sframe.AES_128_CTR_HMAC_SHA256_32,
	sframe.AES_128_GCM_SHA256_128, sframe.AES_256_GCM_SHA512_128,
}

func isGCM(s sframe.Suite) bool { return s >= sframe.AES_128_GCM_SHA256_128 }

// baseKey is 32 bytes that count up from first.
func baseKey(first byte) []byte {
	b := make([]byte, 32)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func newKey(t testing.TB, s sframe.Suite, kid uint64) *sframe.Key {
	t.Helper()
	k, err := sframe.NewKey(s, kid, baseKey(1))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSealOpen(t *testing.T) {
	for _, s := range allSuites {
		for _, ctr := range []uint64{0, 7, 8, 255, 256, 1 << 14, 1<<64 - 1} {
			for _, n := range []int{0, 1, 15, 16, 17, 80, 896} {
				k := newKey(t, s, 0x31)
				plain := bytes.Repeat([]byte{0xA5}, n)
				meta := []byte("metadata")
				before := []byte("before")
				frame := k.Seal(before, ctr, meta, plain)
				if !bytes.HasPrefix(frame, before) {
					t.Fatalf("%v: Seal changed what stood in dst", s)
				}
				frame = frame[len(before):]
				if len(frame) != n+k.Overhead(ctr) {
					t.Errorf("%v: %d bytes became %d, Overhead says %d", s, n, len(frame), k.Overhead(ctr))
				}
				got, err := k.Open(before, frame, meta)
				if err != nil || string(got) != string(before)+string(plain) {
					t.Errorf("%v, CTR %d, %d bytes: got %x, %v", s, ctr, n, got, err)
				}
			}
		}
	}
}

// Errors of Open, one row each; dst comes back as it was.
func TestOpenErrors(t *testing.T) {
	k := newKey(t, sframe.AES_128_GCM_SHA256_128, 9)
	frame := k.Seal(nil, 300, nil, []byte("voice"))
	other, err := sframe.NewKey(sframe.AES_128_GCM_SHA256_128, 9, baseKey(2))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		key   *sframe.Key
		frame []byte
		want  error
	}{
		{"nothing", k, nil, sframe.ErrHeader},
		{"half a header", k, frame[:2], sframe.ErrHeader},
		{"header alone", k, frame[:4], sframe.ErrAuth},
		{"a tag less one byte", k, frame[:4+15], sframe.ErrAuth},
		{"a tag and nothing in it", k, frame[:4+16], sframe.ErrAuth},
		{"another KID", newKey(t, sframe.AES_128_GCM_SHA256_128, 8), frame, sframe.ErrKID},
		{"same KID, another base key", other, frame, sframe.ErrAuth},
		{"same KID and base key, another suite", newKey(t, sframe.AES_256_GCM_SHA512_128, 9), frame, sframe.ErrAuth},
	} {
		dst, err := tt.key.Open([]byte("dst"), tt.frame, nil)
		if !errors.Is(err, tt.want) || string(dst) != "dst" {
			t.Errorf("%s: got %q, %v, want %v", tt.name, dst, err, tt.want)
		}
	}
}

func TestNewKeyErrors(t *testing.T) {
	for _, s := range []sframe.Suite{0, 6, 0xF000} {
		if _, err := sframe.NewKey(s, 0, baseKey(0)); !errors.Is(err, sframe.ErrSuite) {
			t.Errorf("NewKey of suite %v: %v", s, err)
		}
		if _, err := sframe.Ratchet(s, baseKey(0), 32); !errors.Is(err, sframe.ErrSuite) {
			t.Errorf("Ratchet of suite %v: %v", s, err)
		}
		if s.Nh() != 0 || s.Nt() != 0 {
			t.Errorf("suite %v has Nh %d, Nt %d", s, s.Nh(), s.Nt())
		}
	}
	if _, err := sframe.NewKey(allSuites[0], 0, make([]byte, 15)); !errors.Is(err, sframe.ErrBaseKey) {
		t.Errorf("NewKey of 15 bytes: %v", err)
	}
	if _, err := sframe.Ratchet(allSuites[0], make([]byte, 15), 32); !errors.Is(err, sframe.ErrBaseKey) {
		t.Errorf("Ratchet of 15 bytes: %v", err)
	}
	if _, err := sframe.Ratchet(allSuites[0], make([]byte, 32), 15); !errors.Is(err, sframe.ErrBaseKey) {
		t.Errorf("Ratchet to 15 bytes: %v", err)
	}
	if _, err := sframe.Ratchet(allSuites[0], make([]byte, 32), 255*32+1); err == nil {
		t.Error("Ratchet to more than HKDF can expand to: no error")
	}
}

// The three HMAC suites differ in the length of the tag alone, but the suite is
// in the key derivation, so their frames share nothing.
func TestSuitesAreApart(t *testing.T) {
	seen := map[string]sframe.Suite{}
	for _, s := range allSuites {
		frame := newKey(t, s, 1).Seal(nil, 1, nil, make([]byte, 32))
		body := string(frame[1:33])
		if twin, ok := seen[body]; ok {
			t.Errorf("%v and %v encrypt alike", s, twin)
		}
		seen[body] = s
	}
}

func TestRatchet(t *testing.T) {
	for _, s := range allSuites {
		step := baseKey(3)
		seen := map[string]bool{string(step): true}
		for range 4 {
			next, err := sframe.Ratchet(s, step, s.Nh())
			if err != nil || len(next) != s.Nh() || seen[string(next)] {
				t.Fatalf("%v: next base key %x, %v", s, next, err)
			}
			seen[string(next)] = true
			step = next
		}
		hash := sha256.New
		if s.Nh() == sha512.Size {
			hash = sha512.New
		}
		want := hmacOf(hash, hmacOf(hash, nil, baseKey(3)), []byte("SFrame 1.0 Ratchet\x01"))
		if got, err := sframe.Ratchet(s, baseKey(3), s.Nh()); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: Ratchet gives %x, %v, RFC 5869 by hand %x", s, got, err, want)
		}
		short, err := sframe.Ratchet(s, baseKey(3), 16)
		long, err2 := sframe.Ratchet(s, baseKey(3), 32)
		if err != nil || err2 != nil || !bytes.HasPrefix(long, short) {
			t.Errorf("%v: the length changes more than the length: %x, %x", s, short, long)
		}
	}
}

func hmacOf(h func() hash.Hash, key, msg []byte) []byte {
	mac := hmac.New(h, key)
	mac.Write(msg)
	return mac.Sum(nil)
}

// A key must not print itself, by pointer or by value, whatever the verb.
func TestKeyIsSecret(t *testing.T) {
	k := newKey(t, sframe.AES_128_GCM_SHA256_128, 5)
	want := fmt.Sprint(k)
	if !strings.Contains(want, "secret") {
		t.Errorf("a key prints as %q", want)
	}
	if k.String() != want || k.GoString() != want {
		t.Errorf("String %q, GoString %q, want %q", k.String(), k.GoString(), want)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		for _, v := range []any{k, *k} {
			if got := fmt.Sprintf(verb, v); got != want {
				t.Errorf("%s prints %q", verb, got)
			}
		}
	}
}

// The suites that Sotto uses allocate nothing when dst has the room.
func TestAllocs(t *testing.T) {
	meta, plain := make([]byte, 90), make([]byte, 96)
	for _, s := range allSuites {
		if !isGCM(s) {
			continue
		}
		k := newKey(t, s, 0x1F)
		buf := make([]byte, 0, 2*sframe.MaxHeaderLen+len(plain)+len(meta)+28)
		if n := testing.AllocsPerRun(100, func() { k.Seal(buf, 1000, meta, plain) }); n != 0 {
			t.Errorf("%v: Seal allocates %v times", s, n)
		}
		frame := k.Seal(nil, 1000, meta, plain)
		buf = make([]byte, 0, len(frame)+len(meta)+28)
		if n := testing.AllocsPerRun(100, func() {
			if _, err := k.Open(buf, frame, meta); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%v: Open allocates %v times", s, n)
		}
	}
}

// One key serves several goroutines; run with -race.
func TestConcurrent(t *testing.T) {
	for _, s := range allSuites {
		k := newKey(t, s, 3)
		done := make(chan error)
		for g := range uint64(4) {
			go func() {
				for i := range uint64(50) {
					frame := k.Seal(nil, g<<32|i, []byte("m"), []byte("voice"))
					if got, err := k.Open(nil, frame, []byte("m")); err != nil || string(got) != "voice" {
						done <- fmt.Errorf("%v: %q, %v", s, got, err)
						return
					}
				}
				done <- nil
			}()
		}
		for range 4 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	for _, s := range allSuites {
		b.Run(s.String(), func(b *testing.B) {
			k := newKey(b, s, 0x1F)
			meta, plain, buf := make([]byte, 90), make([]byte, 96), make([]byte, 0, 512)
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			ctr := uint64(0)
			for b.Loop() {
				k.Seal(buf, ctr, meta, plain)
				ctr++
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, s := range allSuites {
		b.Run(s.String(), func(b *testing.B) {
			k := newKey(b, s, 0x1F)
			meta, buf := make([]byte, 90), make([]byte, 0, 512)
			frame := k.Seal(nil, 1000, meta, make([]byte, 96))
			b.SetBytes(96)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.Open(buf, frame, meta); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNewKey(b *testing.B) {
	base := baseKey(1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sframe.NewKey(sframe.AES_128_GCM_SHA256_128, 1, base); err != nil {
			b.Fatal(err)
		}
	}
}
