package mls

import (
	"maps"
	"math"
	"slices"
)

// secretTree gives each member two sequences of keys for one epoch (RFC 9420
// §9). It opens subtrees only when a key below them is needed and drops each
// secret once its children are derived, so a large group costs what it sends.
//
// Deletion (§9.2): find reads without changing anything, and what it found is
// used up by consume, which the caller calls after decryption succeeded.
type secretTree struct {
	suite    *suite
	leaves   int
	nodes    map[nodeIndex]secret // unopened subtrees
	ratchets map[ratchetID]*ratchet
}

type ratchetKind uint8

const (
	ratchetHandshake ratchetKind = iota
	ratchetApplication
)

type ratchetID struct {
	leaf LeafIndex
	kind ratchetKind
}

// ratchet is one sequence: the secret of the next generation, and keys that
// were passed over and may still be asked for.
type ratchet struct {
	secret     secret
	generation uint32
	skipped    map[uint32]messageKey
}

type messageKey struct {
	key, nonce secret
}

func (k messageKey) wipe() { wipeAll(k.key, k.nonce) }

// newSecretTree takes over encryption, the root secret.
func newSecretTree(s *suite, leaves int, encryption secret) *secretTree {
	return &secretTree{s, leaves, map[nodeIndex]secret{root(leaves): encryption}, map[ratchetID]*ratchet{}}
}

// found is a key and what follows from using it.
type found struct {
	messageKey
	tree       *secretTree
	id         ratchetID
	generation uint32
	fresh      map[nodeIndex]secret // subtrees that opening the leaf leaves behind
	opened     nodeIndex            // the subtree that was opened, if fresh is set
	both       [2]*ratchet          // the ratchets of a leaf opened just now
	next       *ratchet             // state after generation; nil if it was skipped before
	window     int
}

// open derives the ratchets of a leaf that has none yet.
func (t *secretTree) open(f *found) error {
	x := f.id.leaf.node()
	for len(t.nodes[x]) == 0 {
		if x == root(t.leaves) {
			return broken(ErrGeneration, "9.2", "keys of leaf %d are deleted", f.id.leaf)
		}
		x = x.parent()
	}
	f.opened, f.fresh = x, map[nodeIndex]secret{}
	at := slices.Clone(t.nodes[x])
	for !x.isLeaf() {
		left := t.suite.expandWithLabel(at, "tree", []byte("left"), t.suite.nh)
		right := t.suite.expandWithLabel(at, "tree", []byte("right"), t.suite.nh)
		at.wipe()
		if x.left().covers(f.id.leaf.node()) {
			f.fresh[x.right()], at, x = right, left, x.left()
		} else {
			f.fresh[x.left()], at, x = left, right, x.right()
		}
	}
	f.both[ratchetHandshake] = &ratchet{secret: t.suite.expandWithLabel(at, "handshake", nil, t.suite.nh)}
	f.both[ratchetApplication] = &ratchet{secret: t.suite.expandWithLabel(at, "application", nil, t.suite.nh)}
	at.wipe()
	return nil
}

// find derives the key of a generation. It goes at most forward generations
// ahead of the last one, and plans to keep at most window of those passed over.
func (t *secretTree) find(leaf LeafIndex, kind ratchetKind, generation uint32, forward, window int) (*found, error) {
	if uint64(leaf) >= uint64(t.leaves) {
		return nil, broken(ErrGeneration, "9", "leaf %d is not in the secret tree", leaf)
	}
	f := &found{tree: t, id: ratchetID{leaf, kind}, generation: generation, window: window}
	r := t.ratchets[f.id]
	if r == nil {
		if err := t.open(f); err != nil {
			return nil, err
		}
		r = f.both[kind]
	}
	if generation < r.generation {
		k, ok := r.skipped[generation]
		if !ok {
			return nil, broken(ErrGeneration, "9.2", "key of generation %d of leaf %d was used or is too old", generation, leaf)
		}
		f.messageKey = messageKey{slices.Clone(k.key), slices.Clone(k.nonce)}
		return f, nil
	}
	if ahead := generation - r.generation; uint64(ahead) > uint64(forward) || generation == math.MaxUint32 {
		return nil, broken(ErrGeneration, "15.3", "generation %d of leaf %d is %d ahead", generation, leaf, ahead)
	}
	f.next = &ratchet{secret: slices.Clone(r.secret), generation: r.generation, skipped: map[uint32]messageKey{}}
	for f.next.generation < generation {
		g := f.next.generation
		k := f.next.step(t.suite)
		if uint64(generation-g) <= uint64(window) {
			f.next.skipped[g] = k
		} else {
			k.wipe()
		}
	}
	f.messageKey = f.next.step(t.suite)
	return f, nil
}

// step returns the key of the current generation and moves on to the next.
func (r *ratchet) step(s *suite) messageKey {
	k := messageKey{
		s.deriveTreeSecret(r.secret, "key", r.generation, s.nk),
		s.deriveTreeSecret(r.secret, "nonce", r.generation, nn),
	}
	next := s.deriveTreeSecret(r.secret, "secret", r.generation, s.nh)
	r.secret.wipe()
	r.secret = next
	r.generation++
	return k
}

// consume deletes what §9.2 calls consumed by the use of the key.
func (f *found) consume() {
	t := f.tree
	f.messageKey.wipe()
	if f.fresh != nil {
		t.nodes[f.opened].wipe()
		delete(t.nodes, f.opened)
		maps.Copy(t.nodes, f.fresh)
		for kind, r := range f.both {
			t.ratchets[ratchetID{f.id.leaf, ratchetKind(kind)}] = r
		}
	}
	r := t.ratchets[f.id]
	if f.next == nil {
		r.skipped[f.generation].wipe()
		delete(r.skipped, f.generation)
		return
	}
	r.secret.wipe()
	r.secret, r.generation = f.next.secret, f.next.generation
	if r.skipped == nil {
		r.skipped = map[uint32]messageKey{}
	}
	maps.Copy(r.skipped, f.next.skipped)
	for len(r.skipped) > f.window {
		oldest := slices.Min(slices.Collect(maps.Keys(r.skipped)))
		r.skipped[oldest].wipe()
		delete(r.skipped, oldest)
	}
}

// sendGeneration returns the next generation of our own ratchet.
func (t *secretTree) sendGeneration(leaf LeafIndex, kind ratchetKind) uint32 {
	if r := t.ratchets[ratchetID{leaf, kind}]; r != nil {
		return r.generation
	}
	return 0
}

// dropHandshake forgets all that is not needed to read late application
// messages: the ratchets for handshakes of leaves that are open.
func (t *secretTree) dropHandshake() {
	for id, r := range t.ratchets {
		if id.kind == ratchetHandshake {
			r.wipe()
			delete(t.ratchets, id)
		}
	}
}

// drop deletes the keys of one leaf and keeps those of all others: it opens the
// leaf, so that no subtree is left that leads to it.
func (t *secretTree) drop(leaf LeafIndex) {
	if uint64(leaf) >= uint64(t.leaves) {
		return
	}
	f := &found{tree: t, id: ratchetID{leaf, ratchetApplication}}
	if t.ratchets[f.id] == nil && t.open(f) == nil {
		t.nodes[f.opened].wipe()
		delete(t.nodes, f.opened)
		maps.Copy(t.nodes, f.fresh)
		for _, r := range f.both {
			r.wipe()
		}
	}
	for _, kind := range []ratchetKind{ratchetHandshake, ratchetApplication} {
		id := ratchetID{leaf, kind}
		if r := t.ratchets[id]; r != nil {
			r.wipe()
			delete(t.ratchets, id)
		}
	}
}

func (r *ratchet) wipe() {
	r.secret.wipe()
	for _, k := range r.skipped {
		k.wipe()
	}
}

func (t *secretTree) wipe() {
	for _, s := range t.nodes {
		s.wipe()
	}
	for _, r := range t.ratchets {
		r.wipe()
	}
	t.nodes, t.ratchets = nil, nil
}
