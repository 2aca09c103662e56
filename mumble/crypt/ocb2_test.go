package crypt_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/sotto-voip/sotto/mumble/crypt"
)

var (
	testKey   = unhex("000102030405060708090a0b0c0d0e0f")
	testNonce = unhex("ffeeddccbbaa99887766554433221100")
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// before returns the nonce one below v, little endian.
func before(v []byte) []byte {
	w := bytes.Clone(v)
	for i := range w {
		w[i]--
		if w[i] != 0xff {
			break
		}
	}
	return w
}

// newPair returns two ends with one key: what one seals the other opens.
func newPair(t testing.TB, nonce []byte) (sender, receiver *crypt.CryptState) {
	t.Helper()
	sender, receiver = new(crypt.CryptState), new(crypt.CryptState)
	other := make([]byte, crypt.NonceSize)
	for _, err := range []error{sender.SetKey(testKey, nonce, other), receiver.SetKey(testKey, other, nonce)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return sender, receiver
}

func counting(n, from int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i + from)
	}
	return b
}

// The known answers of draft-krovetz-ocb-00 (key and nonce 00 01 .. 0f), as far
// as Mumble's datagrams show them.
func TestKnownAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, cipher, tag string
		plain             []byte
	}{
		{"empty", "", "bf3108130773ad5ec70ec69e7875a7b0", nil},
		{"40 bytes", "f75d6bc8b4dc8d66b836a2b08b32a6369f1cd3c5228d79fd6c267f5f6aa7b231c7dfb9d59951ae9c",
			"9db0cdf880f73e3e10d4eb3217766688", counting(40, 0)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nonce := counting(16, 0)
			sender, receiver := newPair(t, before(nonce))
			want := append(append([]byte{0}, unhex(tt.tag)[:3]...), unhex(tt.cipher)...)
			got := sender.Seal(nil, tt.plain)
			if !bytes.Equal(got, want) {
				t.Errorf("Seal = %x, want %x", got, want)
			}
			if plain, err := receiver.Open(nil, want); err != nil || !bytes.Equal(plain, tt.plain) {
				t.Errorf("Open = %x, %v", plain, err)
			}
			// The oracle of the other tests agrees, whole tag included.
			if c, tag := newReference(t, testKey).seal(bytes16(nonce), tt.plain); !bytes.Equal(tag[:], unhex(tt.tag)) || !bytes.Equal(c, want[4:]) {
				t.Errorf("reference = %x, tag %x", c, tag)
			}
		})
	}
}

func TestSealAgainstReference(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		key, nonce, plain := make([]byte, 16), make([]byte, 16), make([]byte, n)
		for _, b := range [][]byte{key, nonce, plain} {
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
		}
		var cs crypt.CryptState
		if err := cs.SetKey(key, before(nonce), before(nonce)); err != nil {
			t.Fatal(err)
		}
		want := newReference(t, key).datagram(bytes16(nonce), plain)
		if got := cs.Seal(nil, plain); !bytes.Equal(got, want) {
			t.Fatalf("%d bytes: Seal = %x, want %x", n, got, want)
		}
		if got, err := cs.Open(nil, want); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%d bytes: Open = %x, %v, want %x", n, got, err, plain)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for n := range 128 {
		sender, receiver := newPair(t, testNonce)
		plain := counting(n, 1)
		d := sender.Seal([]byte("head"), plain)
		if len(d) != 4+crypt.Overhead+n {
			t.Fatalf("%d bytes became %d", n, len(d)-4)
		}
		got, err := receiver.Open([]byte("front"), d[4:])
		if err != nil || string(got) != "front"+string(plain) {
			t.Fatalf("%d bytes: Open = %q, %v", n, got, err)
		}
	}
}

func TestInPlace(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 17, 32, 92, 1024} {
		sender, receiver := newPair(t, testNonce)
		twin, _ := newPair(t, testNonce)
		plain := counting(n, 7)
		buf := append(make([]byte, crypt.Overhead), plain...)
		d := sender.Seal(buf[:0], buf[crypt.Overhead:])
		if want := twin.Seal(nil, plain); !bytes.Equal(d, want) {
			t.Fatalf("%d bytes: Seal in place = %x, want %x", n, d, want)
		}
		got, err := receiver.Open(d[crypt.Overhead:crypt.Overhead], d)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%d bytes: Open in place = %x, %v", n, got, err)
		}
	}
}

// A stock client's digital silence keeps every bit but one, and comes out so.
func TestSenderFlipsBit(t *testing.T) {
	for _, tt := range []struct {
		name    string
		plain   []byte
		flipped int // index, -1 for none
	}{
		{"two whole blocks, first of zeros", append(make([]byte, 16), counting(16, 1)...), 0},
		{"any last byte, so shorter lengths too", append(append(make([]byte, 15), 128), counting(16, 1)...), 0},
		{"last block of one byte", append(make([]byte, 16), 9), 0},
		{"all zero", make([]byte, 100), 80},
		{"one block alone", make([]byte, 16), -1},
		{"fifteenth byte set", append(append(make([]byte, 14), 1, 0), counting(16, 1)...), -1},
		{"zeros further in front", append(make([]byte, 16), counting(40, 1)...), -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := bytes.Clone(tt.plain)
			if tt.flipped >= 0 {
				want[tt.flipped] ^= 1
			}
			sender, receiver := newPair(t, testNonce)
			d := sender.Seal(nil, tt.plain)
			if ref := newReference(t, testKey).datagram(bytes16(sender.EncryptIV()), want); !bytes.Equal(d, ref) {
				t.Errorf("sealed %x, want %x", d, ref)
			}
			if got, err := receiver.Open(nil, d); err != nil || !bytes.Equal(got, want) {
				t.Errorf("opened %x, %v, want %x", got, err, want)
			}
		})
	}
}

// The minimal forgery of ePrint 2019/311, section 4.1, made from what a sender
// without the counter-measure would have sent.
//
// The sender's M[1] is len(n), M[2] a whole known block. Then C[1] ^ 2D is the
// Pad of a datagram of n bytes alone. Let that be C[1] ^ len(16): it decrypts to
// len(16) ^ 2D, so its tag is E(len(16) ^ 2D ^ 6D) = E(len(16) ^ 4D), and that is
// C[2] ^ M[2]. For n below 16 the bytes of C[1] behind the n must happen to be
// those of len(16).
func TestForgeryRefused(t *testing.T) {
	ref := newReference(t, testKey)
	for _, n := range []int{16, 15} {
		plain := bytes.Repeat([]byte{42}, 32)
		clear(plain[:15])
		plain[15] = byte(8 * n)

		nonce := bytes16(testNonce)
		c, _ := ref.seal(nonce, plain)
		for n < 16 && c[15] != 128 {
			nonce[5]++
			if nonce[5] == testNonce[5] {
				nonce[6]++
			}
			c, _ = ref.seal(nonce, plain)
		}
		forged := bytes.Clone(c[:n])
		if n == 16 {
			forged[15] ^= 128
		}
		tag := xor16(bytes16(c[16:]), bytes16(plain[16:]))
		if _, want := ref.open(nonce, forged); tag != want {
			t.Fatalf("%d bytes: not a forgery, tag %x instead of %x", n, tag, want)
		}

		_, receiver := newPair(t, before(nonce[:]))
		d := append([]byte{nonce[0], tag[0], tag[1], tag[2]}, forged...)
		if got, err := receiver.Open(nil, d); !errors.Is(err, crypt.ErrTag) {
			t.Errorf("%d bytes: forgery opened to %x, %v", n, got, err)
		}
		if receiver.Stats() != (crypt.Stats{}) {
			t.Errorf("%d bytes: forgery counted: %+v", n, receiver.Stats())
		}
	}
}

func TestTamper(t *testing.T) {
	sender, receiver := newPair(t, testNonce)
	plain := []byte("It rained all day in the town.")
	d := sender.Seal(nil, plain)
	iv := receiver.DecryptIV()
	for bit := range 8 * len(d) {
		d[bit/8] ^= 1 << (bit % 8)
		room := make([]byte, 0, 64)
		got, err := receiver.Open(room, d)
		if !errors.Is(err, crypt.ErrTag) && !errors.Is(err, crypt.ErrReplay) {
			t.Fatalf("bit %d: Open = %q, %v", bit, got, err)
		}
		if len(got) != 0 || !bytes.Equal(room[:cap(room)], make([]byte, cap(room))) {
			t.Fatalf("bit %d: plaintext is left behind", bit)
		}
		if !bytes.Equal(receiver.DecryptIV(), iv) || receiver.Stats() != (crypt.Stats{}) {
			t.Fatalf("bit %d: state moved to %x, %+v", bit, receiver.DecryptIV(), receiver.Stats())
		}
		d[bit/8] ^= 1 << (bit % 8)
	}
	for n := range len(d) {
		if _, err := receiver.Open(nil, d[:n]); err == nil {
			t.Fatalf("opened the first %d bytes", n)
		}
	}
	if got, err := receiver.Open(nil, d); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("untouched: Open = %q, %v", got, err)
	}
}
