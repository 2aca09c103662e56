package mls

import "slices"

// checkStructure verifies what RFC 9420 §12.4.3.1 asks of a ratchet tree besides
// its hash and its leaves: parent hashes, unmerged leaves, unique keys.
func (t *tree) checkStructure() error {
	keys := newKeySet(count(t.leaves) + count(t.parents))
	for i, l := range t.members() {
		keys.add(l.EncryptionKey, i.node())
	}
	for k, p := range t.parents {
		if p == nil {
			continue
		}
		x := nodeIndex(2*k + 1)
		if y, twice := keys.add(p.EncryptionKey, x); twice {
			return broken(ErrTree, "12.4.3.1", "nodes %d and %d have the same encryption_key", y, x)
		}
		if err := t.suite.hpke.check(p.EncryptionKey); err != nil {
			return brokenBy(ErrTree, "5.1.1", err, "encryption_key of node %d", x)
		}
		if err := t.checkUnmerged(x, p); err != nil {
			return err
		}
	}
	return t.checkParentHashes()
}

// checkUnmerged: "Verify that the entry represents a non-blank leaf node that is
// a descendant of the parent node. Verify that every non-blank intermediate node
// between the leaf node and the parent node also has an entry for the leaf node
// in its unmerged_leaves."
func (t *tree) checkUnmerged(x nodeIndex, p *ParentNode) error {
	for _, i := range p.UnmergedLeaves {
		if t.leaf(i) == nil || !x.covers(i.node()) {
			return broken(ErrTree, "12.4.3.1", "unmerged leaf %d of node %d is no member below it", i, x)
		}
		for y := i.node().parent(); y != x; y = y.parent() {
			if q := t.parentNode(y); q != nil {
				if _, found := slices.BinarySearch(q.UnmergedLeaves, i); !found {
					return broken(ErrTree, "12.4.3.1", "leaf %d is unmerged at node %d but not at node %d", i, x, y)
				}
			}
		}
	}
	return nil
}

// checkAll verifies a tree that came from outside: the structure, and each leaf
// by itself and among the others (§7.3).
func (t *tree) checkAll(v *leafRules) error {
	if err := t.checkStructure(); err != nil {
		return err
	}
	if err := t.among(); err != nil {
		return err
	}
	for i, l := range t.members() {
		if err := v.one(l, i, nil); err != nil {
			return err
		}
	}
	return nil
}
