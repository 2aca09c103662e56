package mls

import (
	"bytes"
	"hash"
	"slices"
)

// hasher keeps one hash and one buffer for a whole walk over a tree.
type hasher struct {
	h   hash.Hash
	buf []byte
}

func (h *hasher) sum() []byte {
	h.h.Reset()
	h.h.Write(h.buf)
	return h.h.Sum(nil)
}

// hash returns the tree hash of the whole tree (RFC 9420 §7.8).
func (t *tree) hash() []byte {
	return t.hashAt(&hasher{h: t.suite.newHash()}, t.root())
}

// nodeHash returns the tree hash of the subtree at x.
func (t *tree) nodeHash(x nodeIndex) []byte {
	return t.hashAt(&hasher{h: t.suite.newHash()}, x)
}

func (t *tree) hashAt(h *hasher, x nodeIndex) []byte {
	if t.hashes[x] == nil {
		if x.isLeaf() {
			t.hashes[x] = h.leaf(x.leaf(), t.leaves[x.leaf()])
		} else {
			t.hashes[x] = h.parent(t.parentNode(x), t.hashAt(h, x.left()), t.hashAt(h, x.right()))
		}
	}
	return t.hashes[x]
}

// leaf hashes a TreeHashInput with a LeafNodeHashInput.
func (h *hasher) leaf(i LeafIndex, l *LeafNode) []byte {
	h.buf = appendUint32(append(h.buf[:0], nodeTypeLeaf), i)
	h.buf = appendOptional(h.buf, l != nil)
	if l != nil {
		h.buf = l.append(h.buf)
	}
	return h.sum()
}

// parent hashes a TreeHashInput with a ParentNodeHashInput.
func (h *hasher) parent(p *ParentNode, left, right []byte) []byte {
	h.buf = appendOptional(append(h.buf[:0], nodeTypeParent), p != nil)
	if p != nil {
		h.buf = p.append(h.buf)
	}
	h.buf = appendOpaque(appendOpaque(h.buf, left), right)
	return h.sum()
}

// originalHash is the tree hash of the subtree at x as it was before the leaves
// in but were added (§7.9): "For each leaf L in P.unmerged_leaves, blank L and
// remove it from the unmerged_leaves sets of all parent nodes."
func (t *tree) originalHash(h *hasher, x nodeIndex, but []LeafIndex) []byte {
	from, _ := slices.BinarySearch(but, x.firstLeaf())
	if from == len(but) || but[from] >= x.endLeaf() {
		return t.hashAt(h, x)
	}
	if x.isLeaf() {
		return h.leaf(x.leaf(), nil)
	}
	left, right := t.originalHash(h, x.left(), but), t.originalHash(h, x.right(), but)
	p := t.parentNode(x)
	if p != nil {
		q := *p
		q.UnmergedLeaves = slices.DeleteFunc(slices.Clone(p.UnmergedLeaves), func(i LeafIndex) bool {
			_, found := slices.BinarySearch(but, i)
			return found
		})
		p = &q
	}
	return h.parent(p, left, right)
}

// parentHash is the parent hash of p with a copath child of that original tree
// hash: the hash of ParentHashInput (§7.9).
func (h *hasher) parentHash(p *ParentNode, siblingHash []byte) []byte {
	h.buf = appendOpaque(appendOpaque(h.buf[:0], p.EncryptionKey), p.ParentHash)
	h.buf = appendOpaque(h.buf, siblingHash)
	return h.sum()
}

// checkParentHashes verifies that each parent node is parent-hash valid
// (§7.9.2): exactly one descendant carries its hash. Chained from the bottom,
// that leads each parent to a leaf that signed for it.
func (t *tree) checkParentHashes() error {
	h := &hasher{h: t.suite.newHash()}
	var res []nodeIndex
	for k, p := range t.parents {
		if p == nil {
			continue
		}
		x := nodeIndex(2*k + 1)
		chains := 0
		for _, c := range [2]nodeIndex{x.left(), x.right()} {
			// "The intersection of P's unmerged_leaves with the subtree under C is
			// equal to the resolution of C with D removed": one more node than leaves.
			from, _ := slices.BinarySearch(p.UnmergedLeaves, c.firstLeaf())
			to, _ := slices.BinarySearch(p.UnmergedLeaves, c.endLeaf())
			under := p.UnmergedLeaves[from:to]
			res = t.resolution(res[:0], c, nil)
			if len(res) != len(under)+1 {
				continue
			}
			var d nodeIndex
			others := 0
			for _, y := range res {
				if _, unmerged := slices.BinarySearch(under, y.leaf()); y.isLeaf() && unmerged {
					others++
				} else {
					d = y
				}
			}
			if others != len(under) {
				continue
			}
			if claim := t.parentHashOf(d); len(claim) > 0 && bytes.Equal(claim, h.parentHash(p, t.originalHash(h, c.sibling(), p.UnmergedLeaves))) {
				chains++
			}
		}
		if chains != 1 {
			return broken(ErrTree, "7.9.2", "parent node %d is not parent-hash valid", x)
		}
	}
	return nil
}

// parentHashOf returns the parent_hash field of a node that is not blank.
func (t *tree) parentHashOf(x nodeIndex) []byte {
	if x.isLeaf() {
		return t.leaves[x.leaf()].ParentHash
	}
	return t.parentNode(x).ParentHash
}
