package mls

// HPKECiphertext is a message sealed to one public key (RFC 9420 §7.6).
type HPKECiphertext struct {
	KEMOutput  []byte
	Ciphertext []byte
}

func (c *HPKECiphertext) append(b []byte) []byte {
	return appendOpaque(appendOpaque(b, c.KEMOutput), c.Ciphertext)
}

func decodeHPKECiphertext(r *reader) HPKECiphertext {
	return HPKECiphertext{r.key("kem_output"), r.key("ciphertext")}
}

// UpdatePathNode is one new parent node with its path secret sealed to each
// node of the resolution of the copath child (RFC 9420 §7.6).
type UpdatePathNode struct {
	EncryptionKey       []byte
	EncryptedPathSecret []HPKECiphertext
}

// UpdatePath renews a member's leaf and the nodes above it (RFC 9420 §7.6).
type UpdatePath struct {
	LeafNode *LeafNode
	Nodes    []UpdatePathNode
}

func (p *UpdatePath) append(b []byte) []byte {
	b = p.LeafNode.append(b)
	return appendVector(b, func(b []byte) []byte {
		for i := range p.Nodes {
			n := &p.Nodes[i]
			b = appendOpaque(b, n.EncryptionKey)
			b = appendVector(b, func(b []byte) []byte {
				for k := range n.EncryptedPathSecret {
					b = n.EncryptedPathSecret[k].append(b)
				}
				return b
			})
		}
		return b
	})
}

func decodeUpdatePath(r *reader) *UpdatePath {
	p := &UpdatePath{LeafNode: decodeLeafNode(r)}
	in := r.vector()
	for in.more() {
		n := UpdatePathNode{EncryptionKey: in.key("encryption_key")}
		list := in.vector()
		for list.more() {
			n.EncryptedPathSecret = append(n.EncryptedPathSecret, decodeHPKECiphertext(list))
		}
		in.join(list)
		p.Nodes = append(p.Nodes, n)
	}
	r.join(in)
	return p
}
