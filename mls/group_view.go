package mls

import "bytes"

// active fails in a group that takes no more messages.
func (g *Group) active() error {
	switch g.state {
	case stateRemoved:
		return broken(ErrInactive, "12.4.2", "we were removed")
	case stateReInit:
		return broken(ErrInactive, "12.4.2", "the group was reinitialized")
	case stateWiped:
		return broken(ErrInactive, "9.2", "its keys are wiped")
	}
	return nil
}

// gone reports whether no secrets are left.
func (g *Group) gone() bool { return g.state == stateRemoved || g.state == stateWiped }

// Member is one leaf that is not blank.
type Member struct {
	Index LeafIndex
	Leaf  *LeafNode // must not be changed
}

func (t *tree) memberList() []Member {
	var list []Member
	for i, l := range t.members() {
		list = append(list, Member{i, l})
	}
	return list
}

// Members lists the members from the left. It is empty after our removal and after [Group.Wipe].
func (g *Group) Members() []Member {
	if g.gone() {
		return nil
	}
	return g.tree.memberList()
}

// Member returns the leaf at i, nil if it is blank or beyond the tree. It must not be
// changed.
func (g *Group) Member(i LeafIndex) *LeafNode {
	if g.gone() {
		return nil
	}
	return g.tree.leaf(i)
}

// OwnIndex is our own leaf. It stays the same for as long as we are a member.
func (g *Group) OwnIndex() LeafIndex { return g.own }

// ID returns the group ID (RFC 9420 §8.1).
func (g *Group) ID() []byte { return bytes.Clone(g.ctx.GroupID) }

// Epoch counts the Commits since the group began.
func (g *Group) Epoch() uint64 { return g.ctx.Epoch }

// CipherSuite returns the suite of the group.
func (g *Group) CipherSuite() CipherSuite { return g.suite.id }

// Context returns the GroupContext, which must not be changed.
func (g *Group) Context() GroupContext { return g.ctx }

// Active reports whether the group still takes and gives messages: false after
// our removal, after a ReInit and after [Group.Wipe].
func (g *Group) Active() bool { return g.state == stateActive }

// RatchetTree encodes the public tree as the ratchet_tree extension has it (RFC
// 9420 §12.4.3.3), for joiners whose Welcome does not carry it.
func (g *Group) RatchetTree() []byte {
	if g.gone() {
		return nil
	}
	return g.tree.append(nil)
}

// Export derives a secret of n bytes, at most 255 hashes, for use outside of MLS
// (RFC 9420 §8.5). The same label and context give all members of an epoch the
// same bytes. It fails with ErrUsage for a wrong n and after
// [Group.EraseExporter], and with ErrInactive when the group is gone.
func (g *Group) Export(label string, context []byte, n int) ([]byte, error) {
	if g.gone() {
		return nil, g.active()
	}
	if n < 0 || n > 255*g.suite.nh || n > 1<<16-1 || len(label) > 1<<16 {
		return nil, broken(ErrUsage, "8.5", "cannot export %d bytes", n)
	}
	if len(g.secrets.exporter) == 0 {
		return nil, broken(ErrUsage, "8.5", "exporter_secret is erased")
	}
	return g.suite.export(g.secrets.exporter, label, context, n), nil
}

// EpochAuthenticator returns KDF.Nh bytes that are the same for all members who
// have the same view of this epoch (RFC 9420 §8.7). nil after our removal and after
// [Group.Wipe].
func (g *Group) EpochAuthenticator() []byte { return bytes.Clone(g.secrets.authenticator) }

// ResumptionPSK returns the resumption PSK of this epoch (RFC 9420 §8.6), for the
// PSK function of a group that refers to it: KDF.Nh bytes, nil after our removal and
// after [Group.Wipe].
func (g *Group) ResumptionPSK() []byte { return bytes.Clone(g.secrets.resumption) }
