package mls

import (
	"cmp"
	"maps"
	"slices"
)

// stateVersion is the first byte of what Marshal writes. It is no wire format:
// another version of this package may write another one, and reads this one.
const stateVersion = 1

// Marshal writes the whole group, with its secrets, in a form for
// [UnmarshalGroup]. Keep it where only its owner can read it, and replace the
// last copy with it after each method that changes the group: a group that is
// restored from an older copy sends with keys that were used, and can read again
// what was to be forgotten (RFC 9420 §6.3.1, §9.2).
//
// The same state gives the same bytes.
func (g *Group) Marshal() ([]byte, error) {
	b := append([]byte{stateVersion}, byte(g.state))
	b = g.ctx.append(b)
	b = g.tree.append(b)
	b = appendUint32(b, g.own)
	key, err := g.signer.Bytes()
	if err != nil {
		return nil, err
	}
	b = appendOpaque(b, key)
	clear(key)
	b = appendVector(b, g.keys.append)
	for _, s := range g.secrets.all() {
		b = appendOpaque(b, *s)
	}
	b = g.ratchets.append(b)
	b = appendOpaque(appendOpaque(b, g.interim), g.confirmationTag)
	b = appendVector(b, func(b []byte) []byte {
		for _, p := range g.proposals {
			b = p.content.append(b)
		}
		return b
	})
	for i := range g.updates {
		if _, err := g.updates[i].signer.Bytes(); err != nil {
			return nil, err
		}
	}
	b = appendVector(b, func(b []byte) []byte {
		for _, u := range g.updates {
			key, _ := u.signer.Bytes()
			b = appendOpaque(appendOpaque(appendOpaque(b, u.public), u.private), key)
		}
		return b
	})
	b = appendVector(b, func(b []byte) []byte {
		for _, p := range g.past {
			b = appendOpaque(appendUint64(b, p.epoch), p.context)
			b = appendVector(b, func(b []byte) []byte {
				for _, k := range p.signers {
					b = appendOpaque(b, k)
				}
				return b
			})
			b = p.ratchets.append(appendOpaque(b, p.senderData))
		}
		return b
	})
	b = appendVector(b, func(b []byte) []byte {
		for _, r := range g.resumption {
			b = appendOpaque(appendUint64(b, r.epoch), r.psk)
		}
		return b
	})
	b = appendOptional(b, g.reinit != nil)
	if g.reinit != nil {
		b = g.reinit.append(b)
	}
	b = appendOptional(b, g.link != nil)
	if g.link != nil {
		b = appendOpaque(append(b, byte(g.link.usage)), g.link.groupID)
		b = appendOpaque(appendUint64(b, g.link.epoch), g.link.psk)
	}
	return b, nil
}

func (k privateKeys) append(b []byte) []byte {
	for _, x := range slices.Sorted(maps.Keys(k)) {
		b = appendOpaque(appendUint32(b, x), k[x])
	}
	return b
}

func (t *secretTree) append(b []byte) []byte {
	if t == nil {
		return appendUint32(b, uint32(0))
	}
	b = appendUint32(b, uint32(t.leaves))
	b = appendVector(b, privateKeys(t.nodes).append)
	ids := slices.SortedFunc(maps.Keys(t.ratchets), func(a, b ratchetID) int {
		return cmp.Or(cmp.Compare(a.leaf, b.leaf), cmp.Compare(a.kind, b.kind))
	})
	return appendVector(b, func(b []byte) []byte {
		for _, id := range ids {
			r := t.ratchets[id]
			b = appendUint32(append(appendUint32(b, id.leaf), byte(id.kind)), r.generation)
			b = appendOpaque(b, r.secret)
			b = appendVector(b, func(b []byte) []byte {
				for _, g := range slices.Sorted(maps.Keys(r.skipped)) {
					k := r.skipped[g]
					b = appendOpaque(appendOpaque(appendUint32(b, g), k.key), k.nonce)
				}
				return b
			})
		}
		return b
	})
}
