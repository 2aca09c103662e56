package mls

import (
	"iter"
	"slices"
)

// ParentNode is an inner node of the ratchet tree (RFC 9420 §7.1). It must not
// be changed once it is in a tree; clones of a tree share it.
type ParentNode struct {
	EncryptionKey  []byte
	ParentHash     []byte
	UnmergedLeaves []LeafIndex // in increasing order
}

// tree is the public ratchet tree (RFC 9420 §4.1, §7) as an array: always full,
// with blank nodes as nil. Nodes are immutable and replaced as a whole, so a
// clone costs a few copied slices, and the tree hashes of what did not change
// stay known.
type tree struct {
	suite   *suite
	leaves  []*LeafNode   // 2^d of them
	parents []*ParentNode // parents[i] is node 2i+1
	hashes  [][]byte      // by node; nil where not computed since the last change below
}

func newTree(s *suite, first *LeafNode) *tree {
	return &tree{s, []*LeafNode{first}, nil, make([][]byte, 1)}
}

func (t *tree) clone() *tree {
	return &tree{t.suite, slices.Clone(t.leaves), slices.Clone(t.parents), slices.Clone(t.hashes)}
}

func (t *tree) root() nodeIndex { return root(len(t.leaves)) }

// leaf returns the leaf at i, nil if it is blank or beyond the tree.
func (t *tree) leaf(i LeafIndex) *LeafNode {
	if uint64(i) >= uint64(len(t.leaves)) {
		return nil
	}
	return t.leaves[i]
}

func (t *tree) parentNode(x nodeIndex) *ParentNode { return t.parents[x/2] }

func (t *tree) blank(x nodeIndex) bool {
	if x.isLeaf() {
		return t.leaves[x.leaf()] == nil
	}
	return t.parentNode(x) == nil
}

// encryptionKey returns the HPKE key of a node, nil if it is blank.
func (t *tree) encryptionKey(x nodeIndex) []byte {
	if uint64(x) >= 2*uint64(len(t.leaves))-1 || t.blank(x) {
		return nil
	}
	if x.isLeaf() {
		return t.leaves[x.leaf()].EncryptionKey
	}
	return t.parentNode(x).EncryptionKey
}

// members yields the leaves that are not blank, from the left.
func (t *tree) members() iter.Seq2[LeafIndex, *LeafNode] {
	return func(yield func(LeafIndex, *LeafNode) bool) {
		for i, l := range t.leaves {
			if l != nil && !yield(LeafIndex(i), l) {
				return
			}
		}
	}
}

// count counts the nodes that are not blank.
func count[T any](nodes []*T) (n int) {
	for _, x := range nodes {
		if x != nil {
			n++
		}
	}
	return n
}

// changed forgets the tree hashes that depend on node x.
func (t *tree) changed(x nodeIndex) {
	for ; x != t.root(); x = x.parent() {
		t.hashes[x] = nil
	}
	t.hashes[x] = nil
}

func (t *tree) setLeaf(i LeafIndex, l *LeafNode) {
	t.leaves[i] = l
	t.changed(i.node())
}

// setParent does not call changed: its callers change whole paths.
func (t *tree) setParent(x nodeIndex, p *ParentNode) { t.parents[x/2] = p }

// blankDirectPath blanks the nodes above leaf i.
func (t *tree) blankDirectPath(i LeafIndex) {
	direct, _ := directPath(i, len(t.leaves))
	for _, x := range direct {
		t.setParent(x, nil)
	}
	t.changed(i.node())
}

// add puts l into the leftmost empty leaf, §12.1.1.
func (t *tree) add(l *LeafNode) LeafIndex {
	i := t.emptyLeaf()
	t.setLeaf(i, l)
	direct, _ := directPath(i, len(t.leaves))
	for _, x := range direct {
		if p := t.parentNode(x); p != nil {
			q := *p
			at, _ := slices.BinarySearch(p.UnmergedLeaves, i)
			q.UnmergedLeaves = slices.Insert(slices.Clone(p.UnmergedLeaves), at, i)
			t.setParent(x, &q)
		}
	}
	return i
}

// emptyLeaf finds the leftmost empty leaf and extends the tree if there is none.
func (t *tree) emptyLeaf() LeafIndex {
	for i, l := range t.leaves {
		if l == nil {
			return LeafIndex(i)
		}
	}
	n := len(t.leaves)
	t.leaves = append(t.leaves, make([]*LeafNode, n)...)
	t.parents = append(t.parents, make([]*ParentNode, n)...)
	t.hashes = append(t.hashes, make([][]byte, 2*n)...)
	return LeafIndex(n)
}

// update replaces leaf i, §12.1.2.
func (t *tree) update(i LeafIndex, l *LeafNode) {
	t.leaves[i] = l
	t.blankDirectPath(i)
}

// remove blanks leaf i and truncates the tree, §12.1.3.
func (t *tree) remove(i LeafIndex) {
	t.leaves[i] = nil
	t.blankDirectPath(i)
	t.truncate()
}

// truncate halves the tree while its right half is empty, §7.7.
func (t *tree) truncate() {
	n := len(t.leaves)
	for n > 1 && !slices.ContainsFunc(t.leaves[n/2:n], func(l *LeafNode) bool { return l != nil }) {
		n /= 2
	}
	// Clipped, so that a later append cannot write into an array that a clone uses.
	t.leaves, t.parents, t.hashes = slices.Clip(t.leaves[:n]), slices.Clip(t.parents[:n-1]), slices.Clip(t.hashes[:2*n-1])
}

// resolution appends the resolution of x (§4.1.1) without the leaves in but.
func (t *tree) resolution(list []nodeIndex, x nodeIndex, but []LeafIndex) []nodeIndex {
	if x.isLeaf() {
		if !t.blank(x) && !slices.Contains(but, x.leaf()) {
			list = append(list, x)
		}
		return list
	}
	p := t.parentNode(x)
	if p == nil {
		return t.resolution(t.resolution(list, x.left(), but), x.right(), but)
	}
	list = append(list, x)
	for _, i := range p.UnmergedLeaves {
		if !slices.Contains(but, i) {
			list = append(list, i.node())
		}
	}
	return list
}

// empty reports whether the resolution of x is empty.
func (t *tree) empty(x nodeIndex) bool {
	if !t.blank(x) {
		return false
	}
	return x.isLeaf() || t.empty(x.left()) && t.empty(x.right())
}

// filteredDirectPath is the direct path of leaf i without the nodes whose child
// on the copath has an empty resolution (§4.1.2), and those children.
func (t *tree) filteredDirectPath(i LeafIndex) (path, copath []nodeIndex) {
	direct, co := directPath(i, len(t.leaves))
	for k, x := range direct {
		if !t.empty(co[k]) {
			path, copath = append(path, x), append(copath, co[k])
		}
	}
	return path, copath
}
