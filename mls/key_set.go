package mls

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
)

// keySet finds keys that appear twice (RFC 9420 §16.7). It does not copy them:
// the keys of a large hybrid tree are megabytes.
type keySet struct {
	seed maphash.Seed
	at   map[uint64]keyAt
}

type keyAt struct {
	key []byte
	x   nodeIndex
}

func newKeySet(size int) *keySet {
	return &keySet{maphash.MakeSeed(), make(map[uint64]keyAt, size)}
}

// add puts in key, or reports at which node it is already.
func (s *keySet) add(key []byte, x nodeIndex) (nodeIndex, bool) {
	h, y, found := s.find(key)
	if !found {
		s.at[h] = keyAt{key, x}
	}
	return y, found
}

// find returns the place of key, or the free one where it would go.
func (s *keySet) find(key []byte) (h uint64, x nodeIndex, found bool) {
	for h = maphash.Bytes(s.seed, key); ; h++ {
		e, taken := s.at[h]
		if !taken {
			return h, 0, false
		}
		if bytes.Equal(e.key, key) {
			return h, e.x, true
		}
	}
}

// fewKeys is a set of the few keys that are new, for looking up the many that are
// there: by their beginning, since to hash each key of a large hybrid tree takes
// longer than to open a path in it.
type fewKeys map[uint64][]keyAt

func (s fewKeys) add(key []byte, x nodeIndex) {
	b := beginning(key)
	s[b] = append(s[b], keyAt{key, x})
}

// find returns the node with which key was added.
func (s fewKeys) find(key []byte) (nodeIndex, bool) {
	for _, k := range s[beginning(key)] {
		if bytes.Equal(k.key, key) {
			return k.x, true
		}
	}
	return 0, false
}

func beginning(key []byte) uint64 {
	var b [8]byte
	copy(b[:], key)
	return binary.LittleEndian.Uint64(b[:])
}
