package mls

import (
	"errors"
	"runtime"
	"testing"
)

// TestHugeTrees: a blank node is one byte, and costs a joiner hashes and slots.
func TestHugeTrees(t *testing.T) {
	g := testGroup(t, X25519AES128GCM, 1)
	own := testKeyPackage(t, X25519AES128GCM, testProfile(t, X25519AES128GCM, "joiner"))
	// The attacker at leaf 0, blanks, and the joiner at the end.
	sparse := func(leaves int) *Welcome {
		h := hostileWelcome{tree: func(tr *tree) {
			l := tr.leaves[1]
			n := 2
			for n < leaves {
				n *= 2
			}
			tr.leaves = append([]*LeafNode{tr.leaves[0]}, make([]*LeafNode, n-1)...)
			tr.leaves[leaves-1] = l
			tr.parents, tr.hashes = make([]*ParentNode, n-1), make([][]byte, 2*n-1)
		}}
		return h.make(t, g, own)
	}
	for _, c := range []struct {
		leaves, limit int
		want          error
	}{{129, 128, ErrTree}, {128, 128, nil}, {65537, 0, ErrTree}, {40000, 0, nil}, {1 << 18, 1 << 18, nil}, {1 << 18, 0, ErrTree}} {
		w := sparse(c.leaves)
		cfg := hostileConfig()
		cfg.MaxLeaves = c.limit
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Join(cfg, w, own, JoinOptions{}, atTime)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, c.want) {
			t.Errorf("%d leaves of at most %d: %v", c.leaves, c.limit, err)
		}
		size, got := len(w.EncryptedGroupInfo), after.TotalAlloc-before.TotalAlloc
		t.Logf("%d leaves: %d bytes for a Welcome of %d (%v)", c.leaves, got, size, err)
		if limit := uint64(10*size + 128<<10); c.want != nil && got > limit {
			t.Errorf("%d leaves: %d bytes to refuse it, at most %d", c.leaves, got, limit)
		}
		full := 2
		for full < c.leaves {
			full *= 2
		}
		if got > uint64(10*size+150*full+256<<10) {
			t.Errorf("%d leaves cost %d bytes", c.leaves, got)
		}
	}
	if _, err := Join(hostileConfig(), (&hostileWelcome{outside: true}).make(t, g, own), own, JoinOptions{RatchetTree: appendOpaque(nil, make([]byte, 1<<20))}, atTime); !errors.Is(err, ErrTree) {
		t.Errorf("a tree from elsewhere: %v", err)
	}
}

// TestLongTypeLists: a leaf and required_capabilities that are checked against
// each other entry by entry may not be long.
func TestLongTypeLists(t *testing.T) {
	for n, want := range map[int]error{1024: nil, 1025: ErrMalformed} {
		_, err := parse(appendUint16s(nil, make([]ExtensionType, n)), decodeUint16s[ExtensionType])
		if !errors.Is(err, want) {
			t.Errorf("%d types: %v", n, err)
		}
	}
}
