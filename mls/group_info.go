package mls

import (
	"bytes"
	"slices"
)

// groupInfo describes the current epoch, signed by us (RFC 9420 §12.4.1).
func (g *Group) groupInfo(tree TreePolicy, ext []Extension) (*GroupInfo, error) {
	gi := &GroupInfo{GroupContext: g.ctx, Extensions: slices.Clone(ext), ConfirmationTag: g.confirmationTag, Signer: g.own}
	if tree == TreeInWelcome {
		gi.Extensions = append(gi.Extensions, Extension{ExtensionRatchetTree, g.tree.append(nil)})
	}
	if err := checkExtensions(gi.Extensions); err != nil {
		return nil, err
	}
	return gi, gi.sign(g.suite, g.signer)
}

// GroupInfo describes the current epoch to one who knows its secrets or does not
// join: without external_pub nobody can join with it (RFC 9420 §12.4.3). It is signed
// by us. It fails with ErrInactive, and ErrUsage for extensions that stand twice.
func (g *Group) GroupInfo(tree TreePolicy, extensions ...Extension) (*GroupInfo, error) {
	if err := g.active(); err != nil {
		return nil, err
	}
	return g.groupInfo(tree, extensions)
}

// ExternalGroupInfo is a GroupInfo with the external_pub of this epoch: whoever
// has it can send an external Commit, and is a member if the others take it (RFC
// 9420 §12.4.3.2). It is good for one join, since that changes the epoch.
func (g *Group) ExternalGroupInfo(tree TreePolicy, extensions ...Extension) (*GroupInfo, error) {
	if err := g.active(); err != nil {
		return nil, err
	}
	private, public, err := g.suite.externalKey(g.secrets.external)
	if err != nil {
		return nil, err
	}
	private.wipe()
	return g.groupInfo(tree, append(slices.Clone(extensions), Extension{ExtensionExternalPub, appendOpaque(nil, public)}))
}

// treeOf finds the ratchet tree for a GroupInfo: in its extension, or as given.
func treeOf(cfg *Config, s *suite, gi *GroupInfo, given []byte) (*tree, error) {
	if data, inside := findExtension(gi.Extensions, ExtensionRatchetTree); inside {
		return parseTreeOwned(s, data, cfg.maxLeaves())
	}
	if given == nil {
		return nil, broken(ErrGroupInfo, "12.4.3.3", "no ratchet tree, neither inside nor given")
	}
	return parseTreeOwned(s, bytes.Clone(given), cfg.maxLeaves())
}

// check verifies a GroupInfo and its tree (§12.4.3, §12.4.3.1): suite, signature
// of the signer's leaf, tree hash, and all of the tree.
func (gi *GroupInfo) check(v *leafRules, t *tree) error {
	if gi.GroupContext.Version != MLS10 {
		return broken(ErrGroupInfo, "12.4.3", "version %d", gi.GroupContext.Version)
	}
	signer := t.leaf(gi.Signer)
	if signer == nil {
		return broken(ErrGroupInfo, "12.4.3.1", "signer %d is a blank leaf", gi.Signer)
	}
	if err := gi.verify(v.suite, signer.SignatureKey); err != nil {
		return err
	}
	if string(t.hash()) != string(gi.GroupContext.TreeHash) {
		return broken(ErrTree, "12.4.3.1", "tree_hash is not that of the tree")
	}
	return t.checkAll(v)
}
