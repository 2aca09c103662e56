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

// add reports whether key is there already, and at which node.
func (s *keySet) add(key []byte, x nodeIndex) (nodeIndex, bool) {
	for h := maphash.Bytes(s.seed, key); ; h++ {
		e, taken := s.at[h]
		if !taken {
			s.at[h] = keyAt{key, x}
			return 0, false
		}
		if bytes.Equal(e.key, key) {
			return e.x, true
		}
	}
}
