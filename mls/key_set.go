package mls

import (
	"bytes"
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

// has reports whether key is in s, and at which node.
func (s *keySet) has(key []byte) (nodeIndex, bool) {
	_, x, found := s.find(key)
	return x, found
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
