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
	return HPKECiphertext{r.opaque(), r.opaque()}
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
		n := UpdatePathNode{EncryptionKey: in.opaque()}
		list := in.vector()
		for list.more() {
			// An HPKECiphertext of no bytes is two, and 48 in memory; it is refused
			// here because no suite has one.
			c := decodeHPKECiphertext(list)
			if len(c.KEMOutput) < 16 || len(c.Ciphertext) < 16 {
				list.fail("7.6", "HPKECiphertext too short")
				break
			}
			n.EncryptedPathSecret = append(n.EncryptedPathSecret, c)
		}
		in.join(list)
		if in.err == nil && len(n.EncryptionKey) < 16 {
			in.fail("7.6", "UpdatePathNode without a key")
			break
		}
		p.Nodes = append(p.Nodes, n)
	}
	r.join(in)
	return p
}
