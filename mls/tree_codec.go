package mls

import (
	"bytes"
	"math"
)

const (
	nodeTypeLeaf   = 1
	nodeTypeParent = 2
)

func (p *ParentNode) append(b []byte) []byte {
	b = appendOpaque(appendOpaque(b, p.EncryptionKey), p.ParentHash)
	return appendUint32s(b, p.UnmergedLeaves)
}

func appendUint32s(b []byte, list []LeafIndex) []byte {
	b = appendVarint(b, 4*len(list))
	for _, i := range list {
		b = appendUint32(b, i)
	}
	return b
}

func decodeParentNode(r *reader) *ParentNode {
	p := &ParentNode{EncryptionKey: r.key("encryption_key"), ParentHash: r.opaque()}
	in := r.vector()
	p.UnmergedLeaves = make([]LeafIndex, 0, len(in.b)/4)
	for in.more() {
		i := LeafIndex(in.uint32())
		if n := len(p.UnmergedLeaves); n > 0 && p.UnmergedLeaves[n-1] >= i {
			in.fail("7.1", "unmerged_leaves not in increasing order")
		}
		p.UnmergedLeaves = append(p.UnmergedLeaves, i)
	}
	r.join(in)
	return p
}

// append writes the tree as the ratchet_tree extension has it (RFC 9420
// §12.4.3.3): in order, without blank nodes at the end.
func (t *tree) append(b []byte) []byte {
	last := len(t.leaves) - 1
	for last > 0 && t.leaves[last] == nil {
		last--
	}
	return appendVector(b, func(b []byte) []byte {
		for x := nodeIndex(0); x <= LeafIndex(last).node(); x++ {
			if t.blank(x) {
				b = append(b, 0)
			} else if x.isLeaf() {
				b = t.leaves[x.leaf()].append(append(b, 1, nodeTypeLeaf))
			} else {
				b = t.parentNode(x).append(append(b, 1, nodeTypeParent))
			}
		}
		return b
	})
}

// decodeTree reads a ratchet_tree and checks its shape, nothing else: at most that
// many leaves, node types in their places and no blank node at the end. A blank
// node is one byte, so the nodes are counted first, and the arrays made in their
// size.
func decodeTree(s *suite, limit int) func(*reader) *tree {
	return func(r *reader) *tree {
		in := r.vector()
		n := in.countNodes()
		if n/2 >= limit {
			r.failWith(broken(ErrTree, "12.4.3.3", "%d nodes, more than for %d leaves", n, limit))
			return nil
		}
		t := &tree{suite: s, leaves: make([]*LeafNode, 0, (n+1)/2), parents: make([]*ParentNode, 0, n/2)}
		blank := true
		for x := nodeIndex(0); in.more(); x++ {
			blank = !in.optional()
			if !blank {
				if typ := in.uint8(); typ != nodeTypeLeaf && typ != nodeTypeParent || (typ == nodeTypeLeaf) != x.isLeaf() {
					in.fail("12.4.3.3", "node %d has node_type %d", x, typ)
					break
				}
			}
			switch {
			case x.isLeaf() && blank:
				t.leaves = append(t.leaves, nil)
			case x.isLeaf():
				t.leaves = append(t.leaves, decodeLeafNode(in))
			case blank:
				t.parents = append(t.parents, nil)
			default:
				t.parents = append(t.parents, decodeParentNode(in))
			}
		}
		r.join(in)
		if r.err == nil && blank {
			r.fail("12.4.3.3", "no nodes, or a blank node at the end")
		}
		if r.err == nil && len(t.parents) != len(t.leaves)-1 {
			// Removing the last member below a parent blanks that parent.
			r.fail("12.4.3.3", "a parent node at the end has no leaf to its right")
		}
		return t
	}
}

// countNodes counts the entries of a ratchet_tree up to the first error.
func (r *reader) countNodes() (n int) {
	for c := (&reader{b: r.b}); c.more(); n++ {
		if !c.optional() {
			continue
		}
		if c.uint8() == nodeTypeParent {
			for range 3 {
				c.opaque()
			}
			continue
		}
		c.opaque()
		c.opaque()
		c.uint16() // credential type; both kinds go on with one vector
		for range 6 {
			c.opaque()
		}
		switch LeafNodeSource(c.uint8()) {
		case LeafNodeSourceKeyPackage:
			c.take(16)
		case LeafNodeSourceCommit:
			c.opaque()
		}
		c.opaque()
		c.opaque()
	}
	return n
}

// parseTree decodes a ratchet tree, which it copies, and fills it up to the
// next full size.
func parseTree(s *suite, b []byte) (*tree, error) {
	return parseTreeOwned(s, bytes.Clone(b), math.MaxInt)
}

// parseTreeOwned is parseTree for bytes that the tree may keep, with at most that
// many leaves.
func parseTreeOwned(s *suite, b []byte, limit int) (*tree, error) {
	t, err := parseOwned(b, decodeTree(s, limit))
	if err != nil {
		return nil, err
	}
	n := 1
	for n < len(t.leaves) {
		n *= 2
	}
	t.leaves = append(make([]*LeafNode, 0, n), t.leaves...)[:n]
	t.parents = append(make([]*ParentNode, 0, n-1), t.parents...)[:n-1]
	t.hashes = make([][]byte, 2*n-1)
	return t, nil
}
