package mls

import (
	"bytes"
	"slices"
)

// pathNode is one step of the derivation of §7.4.
type pathNode struct {
	secret  secret // path_secret[n]
	private secret
	public  []byte
}

// node derives the key pair of a path secret:
//
//	node_secret[n] = DeriveSecret(path_secret[n], "node")
//	node_priv[n], node_pub[n] = KEM.DeriveKeyPair(node_secret[n])
func (s *suite) node(pathSecret secret) (pathNode, error) {
	nodeSecret := s.deriveSecret(pathSecret, "node")
	private, public, err := s.hpke.derive(nodeSecret)
	nodeSecret.wipe()
	if err != nil {
		return pathNode{}, brokenBy(ErrInvalidKey, "7.4", err, "DeriveKeyPair")
	}
	return pathNode{pathSecret, private, public}, nil
}

// newPath is what the sender of an UpdatePath knows of it.
type newPath struct {
	leaf         *LeafNode
	leafPrivate  secret
	path, copath []nodeIndex
	nodes        []pathNode
	commitSecret secret
}

func (p *newPath) wipe() {
	for i := range p.nodes {
		p.nodes[i].secret.wipe()
	}
	p.commitSecret.wipe()
}

// renew updates the direct path of leaf i (§7.5 "updates their direct path"): it
// blanks the path, puts fresh keys on its filtered part, sets the parent hashes
// and signs the new leaf, for which template gives all but keys and hash.
func (t *tree) renew(i LeafIndex, template *LeafNode, signer *SignaturePrivateKey, groupID []byte) (*newPath, error) {
	s := t.suite
	t.blankDirectPath(i)
	p := &newPath{}
	p.path, p.copath = t.filteredDirectPath(i)
	pathSecret := secret(random(s.nh))
	keys := make([][]byte, len(p.path))
	for k := range p.path {
		n, err := s.node(pathSecret)
		if err != nil {
			return nil, err
		}
		p.nodes = append(p.nodes, n)
		keys[k] = n.public
		pathSecret = s.deriveSecret(pathSecret, "path")
	}
	p.commitSecret = pathSecret

	private, public, err := s.hpke.generate()
	if err != nil {
		return nil, brokenBy(ErrInvalidKey, "7.5", err, "leaf key")
	}
	leaf := *template
	leaf.EncryptionKey, leaf.SignatureKey = public, signer.public
	leaf.Source, leaf.Lifetime = LeafNodeSourceCommit, Lifetime{}
	leaf.ParentHash = t.setPath(p.path, p.copath, keys)
	if err := leaf.sign(s, signer, groupID, i); err != nil {
		return nil, err
	}
	p.leaf, p.leafPrivate = &leaf, private
	t.setLeaf(i, &leaf)
	return p, nil
}

// setPath puts keys on a filtered direct path whose nodes are blank and returns
// the parent hash for the leaf. Hashes run from the root down, "so that each
// hash incorporates all the non-blank nodes above it" (§7.5).
func (t *tree) setPath(path, copath []nodeIndex, keys [][]byte) []byte {
	h := &hasher{h: t.suite.newHash()}
	var above []byte
	for k := len(path) - 1; k >= 0; k-- {
		p := &ParentNode{EncryptionKey: keys[k], ParentHash: above}
		t.setParent(path[k], p)
		above = h.parentHash(p, t.hashAt(h, copath[k]))
	}
	return above
}

// seal encrypts the path secrets to the group (§7.5), except to the leaves in
// added, who get theirs in the Welcome.
func (p *newPath) seal(t *tree, added []LeafIndex, context []byte) (*UpdatePath, error) {
	u := &UpdatePath{LeafNode: p.leaf, Nodes: make([]UpdatePathNode, len(p.path))}
	var res []nodeIndex
	for k := range p.path {
		u.Nodes[k].EncryptionKey = p.nodes[k].public
		res = t.resolution(res[:0], p.copath[k], added)
		for _, y := range res {
			c, err := t.suite.encryptWithLabel(t.encryptionKey(y), "UpdatePathNode", context, p.nodes[k].secret)
			if err != nil {
				return nil, err
			}
			u.Nodes[k].EncryptedPathSecret = append(u.Nodes[k].EncryptedPathSecret, c)
		}
	}
	return u, nil
}

// merge puts a received UpdatePath of leaf i into the tree (§7.5 "merges
// UpdatePath into the tree") and returns its filtered direct path.
func (t *tree) merge(i LeafIndex, u *UpdatePath) (path, copath []nodeIndex, err error) {
	if err := t.checkNewKeys(u); err != nil {
		return nil, nil, err
	}
	t.blankDirectPath(i)
	path, copath = t.filteredDirectPath(i)
	if len(path) != len(u.Nodes) {
		return nil, nil, broken(ErrUpdatePath, "7.5", "%d nodes where the filtered direct path has %d", len(u.Nodes), len(path))
	}
	keys := make([][]byte, len(path))
	for k := range u.Nodes {
		keys[k] = u.Nodes[k].EncryptionKey
	}
	if want := t.setPath(path, copath, keys); !bytes.Equal(want, u.LeafNode.ParentHash) {
		return nil, nil, broken(ErrUpdatePath, "7.9.2", "parent_hash of the leaf is wrong")
	}
	t.setLeaf(i, u.LeafNode)
	return path, copath, nil
}

// checkNewKeys: "Verify that none of the public keys in the UpdatePath appear in
// any node of the new ratchet tree" (§12.4.2), nor twice among themselves.
func (t *tree) checkNewKeys(u *UpdatePath) error {
	fresh := fewKeys{}
	fresh.add(u.LeafNode.EncryptionKey, 0)
	for k := range u.Nodes {
		key := u.Nodes[k].EncryptionKey
		if _, twice := fresh.find(key); twice {
			return broken(ErrUpdatePath, "12.4.2", "the same public key twice in the path")
		}
		if err := t.suite.hpke.check(key); err != nil {
			return brokenBy(ErrUpdatePath, "5.1.1", err, "encryption_key of path node %d", k)
		}
		fresh.add(key, 0)
	}
	for i, l := range t.members() {
		if _, found := fresh.find(l.EncryptionKey); found {
			return broken(ErrUpdatePath, "12.4.2", "a public key of the path is that of leaf %d", i)
		}
	}
	for _, p := range t.parents {
		if p != nil {
			if _, found := fresh.find(p.EncryptionKey); found {
				return broken(ErrUpdatePath, "12.4.2", "a public key of the path is in the tree already")
			}
		}
	}
	return nil
}

// open decrypts the path secret meant for leaf own and derives the keys from
// there to the root (§7.5 "decrypts the path secrets"). It puts the private keys
// into keys and returns the commit secret. t is the tree after merge.
func (t *tree) open(u *UpdatePath, path, copath []nodeIndex, own LeafIndex, keys privateKeys, added []LeafIndex, context []byte) (secret, error) {
	k := slices.IndexFunc(copath, func(x nodeIndex) bool { return x.covers(own.node()) })
	if k < 0 {
		return nil, broken(ErrUpdatePath, "7.5", "leaf %d is under no copath node", own)
	}
	var opened secret
	for j := range path {
		res := t.resolution(nil, copath[j], added)
		if n := len(u.Nodes[j].EncryptedPathSecret); n != len(res) {
			return nil, broken(ErrUpdatePath, "7.6", "%d path secrets for a resolution of %d", n, len(res))
		}
		if j != k {
			continue
		}
		at := slices.IndexFunc(res, func(x nodeIndex) bool { return len(keys[x]) > 0 })
		if at < 0 {
			return nil, broken(ErrUpdatePath, "7.5", "no private key for the resolution of node %d", copath[j])
		}
		var err error
		if opened, err = t.suite.decryptWithLabel(keys[res[at]], "UpdatePathNode", context, u.Nodes[j].EncryptedPathSecret[at]); err != nil {
			return nil, err
		}
	}
	return t.derivePath(opened, path[k:], keys)
}

// derivePath derives the key pairs of path from its first path secret on, which
// it wipes, checks them against the tree and returns the secret after the last.
func (t *tree) derivePath(from secret, path []nodeIndex, keys privateKeys) (secret, error) {
	if len(from) != t.suite.nh {
		return nil, broken(ErrUpdatePath, "7.4", "path secret of %d bytes", len(from))
	}
	for _, x := range path {
		n, err := t.suite.node(from)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(n.public, t.encryptionKey(x)) {
			return nil, broken(ErrUpdatePath, "7.5", "the path secret does not give the public key of node %d", x)
		}
		keys.set(x, n.private)
		next := t.suite.deriveSecret(from, "path")
		from.wipe()
		from = next
	}
	return from, nil
}
