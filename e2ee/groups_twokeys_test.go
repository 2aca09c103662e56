package e2ee_test

import (
	"bytes"
	"crypto/aes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
)

// block is an element of GF(2^128) as GCM writes it: the first bit is that of x^0.
type block [16]byte

func (a block) plus(b block) block {
	for i := range a {
		a[i] ^= b[i]
	}
	return a
}

// times multiplies (NIST SP 800-38D, algorithm 1).
func (a block) times(b block) (z block) {
	for i := range 128 {
		if a[i/8]>>(7-i%8)&1 == 1 {
			z = z.plus(b)
		}
		last := b[15] & 1
		for j := 15; j > 0; j-- {
			b[j] = b[j]>>1 | b[j-1]<<7
		}
		b[0] >>= 1
		if last == 1 {
			b[0] ^= 0xE1
		}
	}
	return z
}

// inverse is a^(2^128-2).
func (a block) inverse() block {
	z, square := block{0x80}, a
	for range 127 {
		square = square.times(square)
		z = z.times(square)
	}
	return z
}

// gcmView is how one key sees a frame.
type gcmView struct {
	key, nonce, aad []byte
}

// encrypt is the block cipher alone.
func (v gcmView) encrypt(b block) (out block) {
	c, err := aes.NewCipher(v.key)
	if err != nil {
		panic(err)
	}
	c.Encrypt(out[:], b[:])
	return out
}

// stream is block n of the key stream, the first is 1; block 0 masks the tag.
func (v gcmView) stream(n uint32) block {
	var b block
	copy(b[:], v.nonce)
	binary.BigEndian.PutUint32(b[12:], n+1)
	return v.encrypt(b)
}

// tag is the tag of ciphertext c, a number of whole blocks.
func (v gcmView) tag(c []byte) (z block) {
	h := v.encrypt(block{})
	data := append(bytes.Clone(v.aad), make([]byte, (16-len(v.aad)%16)%16)...)
	data = append(data, c...)
	data = binary.BigEndian.AppendUint64(data, uint64(8*len(v.aad)))
	data = binary.BigEndian.AppendUint64(data, uint64(8*len(c)))
	for i := 0; i < len(data); i += 16 {
		z = z.plus(block(data[i:])).times(h)
	}
	return z.plus(v.stream(0))
}

// twoKeys makes one ciphertext and tag that are true under both views: AES-GCM binds
// nobody to a key. Under the first one the plaintext begins with head.
func twoKeys(a, b gcmView, head []byte) []byte {
	var c [32]byte
	first := a.stream(1)
	copy(c[:16], head)
	for i := range first {
		c[i] ^= first[i]
	}
	// The second block counts H^2 times in a tag.
	ha, hb := a.encrypt(block{}), b.encrypt(block{})
	free := a.tag(c[:]).plus(b.tag(c[:])).times(ha.times(ha).plus(hb.times(hb)).inverse())
	copy(c[16:], free[:])
	tag := a.tag(c[:])
	return append(c[:], tag[:]...)
}

// M16: a frame that is true under two keys which its receiver holds. It is opened
// with the one that its KID names and no other, once.
func TestGroupsTwoKeys(t *testing.T) {
	now := dawn
	view := func(id envelope.GroupID, epoch uint64, header []byte) gcmView {
		base := epochOf(now, id, epoch, 2, 1, 2).Leaves[0].BaseKey
		f := refFrame{group: id[:], base: base[:], epoch: epoch, long: true, number: 7}
		key, nonce := refKey(base[:], f.id())
		return gcmView{key, nonce, append(bytes.Clone(header), f.metadata()...)}
	}
	for name, other := range map[string]struct {
		id    envelope.GroupID
		epoch uint64
	}{"of the next epoch": {groupA, 21}, "of the epoch before": {groupA, 19}, "of another group": {groupB, 20}} {
		t.Run(name, func(t *testing.T) {
			header := refHeader(refFrame{group: groupA[:], epoch: 20, long: true}.id(), 0)
			a, b := view(groupA, 20, header), view(other.id, other.epoch, header)
			sealed := twoKeys(a, b, []byte("\x00\x04opus"))
			for _, v := range []gcmView{a, b} {
				if _, err := refGCM(v.key).Open(nil, v.nonce, sealed, v.aad); err != nil {
					t.Fatal("the frame is not true under both keys")
				}
			}
			body := append(append([]byte{envelope.VoiceMLS}, header...), sealed...)
			begin := func(both bool) *e2ee.Groups {
				bob := speaker(t, 2, 1)
				e := epochOf(now, groupA, 20, 2, 1, 2)
				o := epochOf(now, other.id, other.epoch, 2, 1, 2)
				if other.id != groupA {
					o.Place = 1
				}
				switch {
				case !both:
					bob.BeginEpoch(now, o)
				case other.epoch < 20:
					bob.BeginEpoch(now, o)
					bob.BeginEpoch(now, e)
				default:
					bob.BeginEpoch(now, e)
					bob.BeginEpoch(now, o)
				}
				return bob
			}
			bob := begin(true)
			opus, o, err := openAt(bob, now, 1, body)
			if err != nil || opus != "opus" || o.Group != groupA || bob.Opens() != 1 {
				t.Errorf("%q of %x after %d tries: %v", opus, o.Group, bob.Opens(), err)
			}
			if _, _, err := openAt(bob, now, 1, body); !errors.Is(err, e2ee.ErrReplay) || bob.Opens() != 1 {
				t.Errorf("again: %v, %d tries", err, bob.Opens())
			}
			// Who has the other key alone does not open it, nor under the KID of that.
			bob = begin(false)
			if opus, _, err := openAt(bob, now, 1, body); err == nil || bob.Opens() != 0 {
				t.Errorf("with the other key: %q, %v, %d tries", opus, err, bob.Opens())
			}
			header = refHeader(refFrame{group: other.id[:], epoch: other.epoch, long: true}.id(), 0)
			named := append(append([]byte{envelope.VoiceMLS}, header...), sealed...)
			if opus, _, err := openAt(begin(true), now, 1, named); !errors.Is(err, e2ee.ErrAuth) {
				t.Errorf("under the other KID: %q, %v", opus, err)
			}
		})
	}
}
