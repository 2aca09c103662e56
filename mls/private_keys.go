package mls

import "slices"

// privateKeys holds the HPKE private keys that a member has: of its leaf and of
// the nodes above it at which it is not unmerged (RFC 9420 §4.2).
type privateKeys map[nodeIndex]secret

func (k privateKeys) clone() privateKeys {
	c := make(privateKeys, len(k))
	for x, s := range k {
		c[x] = slices.Clone(s)
	}
	return c
}

// set replaces the key of x and wipes the old one (§7.5: "each outdated node key
// pair that was replaced by the update").
func (k privateKeys) set(x nodeIndex, s secret) {
	k[x].wipe()
	k[x] = s
}

// prune wipes the keys of nodes that are blank in t.
func (k privateKeys) prune(t *tree) {
	for x, s := range k {
		if t.encryptionKey(x) == nil {
			s.wipe()
			delete(k, x)
		}
	}
}

func (k privateKeys) wipe() {
	for _, s := range k {
		s.wipe()
	}
}

// knows verifies that own has the key of each node above it at which it is not
// unmerged (§4.2). One who was let in without them could not read the next Commit.
func (t *tree) knows(own LeafIndex, keys privateKeys) error {
	direct, _ := directPath(own, len(t.leaves))
	for _, x := range direct {
		if p := t.parentNode(x); p != nil && len(keys[x]) == 0 {
			if _, unmerged := slices.BinarySearch(p.UnmergedLeaves, own); !unmerged {
				return broken(ErrWelcome, "12.4.3.1", "no path secret for node %d, at which we are not unmerged", x)
			}
		}
	}
	return nil
}
