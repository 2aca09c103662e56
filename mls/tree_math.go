package mls

import "math/bits"

// The array form of a left-balanced, full binary tree (RFC 9420 Appendix C):
// leaf i is node 2i, parents stand between their subtrees, and the level of a
// node is the number of trailing one bits of its index.
//
//	                      7
//	          3                       11
//	    1           5           9           13
//	 0     2     4     6     8    10    12    14

// LeafIndex numbers the leaves of a tree from the left. It names a member for
// the time of one epoch (RFC 9420 §5.3.3).
type LeafIndex uint32

func (i LeafIndex) node() nodeIndex { return nodeIndex(i) * 2 }

type nodeIndex uint32

func (x nodeIndex) isLeaf() bool    { return x&1 == 0 }
func (x nodeIndex) leaf() LeafIndex { return LeafIndex(x / 2) }
func (x nodeIndex) level() int      { return bits.TrailingZeros32(^uint32(x)) }

// left and right are the children of a parent node.
func (x nodeIndex) left() nodeIndex  { return x ^ (1 << (x.level() - 1)) }
func (x nodeIndex) right() nodeIndex { return x ^ (3 << (x.level() - 1)) }

// parent is the node above x, which may lie outside of a given tree.
func (x nodeIndex) parent() nodeIndex {
	k := x.level()
	return (x | 1<<k) &^ (1 << (k + 1))
}

// sibling is the other child of the parent.
func (x nodeIndex) sibling() nodeIndex {
	if p := x.parent(); x < p {
		return p.right()
	} else {
		return p.left()
	}
}

// covers reports whether y is x or in the subtree below x.
func (x nodeIndex) covers(y nodeIndex) bool {
	half := nodeIndex(1)<<x.level() - 1
	return x-half <= y && y <= x+half
}

// firstLeaf and endLeaf bound the leaves below x: firstLeaf <= i < endLeaf.
func (x nodeIndex) firstLeaf() LeafIndex {
	return LeafIndex((x - (1<<x.level() - 1)) / 2)
}

func (x nodeIndex) endLeaf() LeafIndex { return x.firstLeaf() + 1<<x.level() }

// root is the root of the tree with n leaves, n a power of two.
func root(n int) nodeIndex { return nodeIndex(n - 1) }

// commonAncestor is the lowest node above or at both.
func commonAncestor(x, y nodeIndex) nodeIndex {
	for !x.covers(y) {
		x = x.parent()
	}
	return x
}

// directPath lists the nodes above leaf i up to the root of a tree with n
// leaves, and copath the siblings on the way: copath[k] is the other child of
// direct[k].
func directPath(i LeafIndex, n int) (direct, copath []nodeIndex) {
	for x := i.node(); x != root(n); x = x.parent() {
		direct, copath = append(direct, x.parent()), append(copath, x.sibling())
	}
	return direct, copath
}
