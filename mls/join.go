package mls

import (
	"slices"
	"time"
)

// JoinOptions are what [Join] may need besides the Welcome.
type JoinOptions struct {
	RatchetTree []byte // if the Welcome does not carry it
	// From is the group that the new one continues, by a reinit or as a branch
	// (§11.2, §11.3). A Welcome to a group that does not is then refused.
	From *Group
	// SameClient says whether a leaf of the old and one of the new group are the
	// same client; nil compares credentials. With From only.
	SameClient func(old, new *LeafNode) bool
	// Signer says whether a Welcome whose GroupInfo this leaf has signed is taken,
	// once the signature is known to be true; nil takes it from any member. Its error
	// is returned as it is.
	Signer func(*LeafNode) error
}

// Join enters a group with the Welcome that answers a KeyPackage of ours (RFC
// 9420 §12.4.3.1). The KeyPackage should be wiped afterwards: the group keeps a copy
// of its leaf key.
//
// It fails with ErrWelcome if the Welcome is not for this KeyPackage or breaks a
// rule of its own, ErrDecrypt, ErrPSK, ErrGroupInfo, ErrSignature, ErrTree,
// ErrLeafNode, ErrAuthentication, ErrConfirmationTag, ErrMalformed or
// ErrUnsupported. Rules of the application can be checked on the Group that it
// returns; if they are broken, [Group.Wipe] it.
//
// The time is for the credential callbacks and bounds on lifetimes; leaves that
// are in the tree already are not refused for having expired since (§7.3).
func Join(cfg *Config, w *Welcome, own *OwnKeyPackage, o JoinOptions, now time.Time) (*Group, error) {
	s, err := w.CipherSuite.suite()
	if err != nil {
		return nil, err
	}
	if own.KeyPackage.CipherSuite != w.CipherSuite {
		return nil, broken(ErrWelcome, "12.4.3.1", "suite %#04x where the KeyPackage has %#04x", uint16(w.CipherSuite), uint16(own.KeyPackage.CipherSuite))
	}
	gs, err := openGroupSecrets(s, w, own)
	if err != nil {
		return nil, err
	}
	defer wipeAll(gs.joiner, gs.path)
	g := &Group{cfg: cfg, suite: s, signer: own.signer, keys: privateKeys{}}
	psks, err := g.joinPSKs(gs.psks, o.From)
	if err != nil {
		return nil, err
	}
	psk := s.pskSecret(gs.psks, psks)
	member := s.memberSecret(gs.joiner, psk)
	psk.wipe()
	key, nonce := s.welcomeKey(s.welcomeSecret(member))
	plain, err := s.aeadOpen(key, nonce, nil, w.EncryptedGroupInfo)
	wipeAll(key, nonce)
	if err != nil {
		member.wipe()
		return nil, brokenBy(ErrDecrypt, "12.4.3.1", err, "encrypted_group_info")
	}
	if err := g.enter(plain, own, gs, member, o, now); err != nil {
		g.wipe()
		member.wipe()
		return nil, err
	}
	return g, nil
}

// openGroupSecrets opens the part of a Welcome that is for own.
func openGroupSecrets(s *suite, w *Welcome, own *OwnKeyPackage) (*groupSecrets, error) {
	e := w.entry(own.KeyPackage.ref(s))
	if e == nil {
		return nil, broken(ErrWelcome, "12.4.3.1", "nothing in it for this KeyPackage")
	}
	plain, err := s.decryptWithLabel(own.init, "Welcome", w.EncryptedGroupInfo, e.Secrets)
	if err != nil {
		return nil, err
	}
	gs, err := parseOwned(plain, decodeGroupSecrets)
	if err != nil {
		return nil, err
	}
	if len(gs.joiner) != s.nh {
		return nil, broken(ErrWelcome, "12.4.3.1", "joiner_secret of %d bytes", len(gs.joiner))
	}
	return gs, nil
}

// enter is the rest of §12.4.3.1, with the decrypted GroupInfo.
func (g *Group) enter(plain []byte, own *OwnKeyPackage, gs *groupSecrets, member secret, o JoinOptions, now time.Time) error {
	s := g.suite
	gi, err := parseOwned(plain, decodeGroupInfo)
	if err != nil {
		return err
	}
	if gi.GroupContext.CipherSuite != s.id {
		return broken(ErrGroupInfo, "12.4.3.1", "suite %#04x where the KeyPackage has %#04x", uint16(gi.GroupContext.CipherSuite), uint16(s.id))
	}
	if g.tree, err = treeOf(g.cfg, s, gi, o.RatchetTree); err != nil {
		return err
	}
	rules, err := newLeafRules(s, g.cfg, gi.GroupContext.GroupID, gi.GroupContext.Extensions)
	if err != nil {
		return err
	}
	if err := g.cfg.checkUnused(gi.GroupContext.GroupID); err != nil {
		return err
	}
	if err := gi.check(rules, g.tree); err != nil {
		return err
	}
	if o.Signer != nil {
		if err := o.Signer(g.tree.leaf(gi.Signer)); err != nil {
			return err
		}
	}
	if err := g.findOwnLeaf(own.KeyPackage.LeafNode); err != nil {
		return err
	}
	g.ctx = gi.GroupContext
	if err := g.checkExternalSenders(g.ctx.Extensions); err != nil {
		return err
	}
	g.keys.set(g.own.node(), slices.Clone(own.leaf))
	if gs.path != nil {
		if g.own == gi.Signer {
			return broken(ErrWelcome, "12.4.3.1", "signed by our own leaf")
		}
		x := commonAncestor(g.own.node(), gi.Signer.node())
		path, _ := g.tree.filteredDirectPath(gi.Signer)
		k := slices.Index(path, x)
		if k < 0 {
			return broken(ErrWelcome, "12.4.3.1", "node %d is not on the committer's path", x)
		}
		commit, err := g.tree.derivePath(slices.Clone(gs.path), path[k:], g.keys)
		if err != nil {
			return err
		}
		commit.wipe()
	}
	if err := g.tree.knows(g.own, g.keys); err != nil {
		return err
	}
	epoch := s.startEpoch(member, g.ctx.append(nil))
	g.start(epoch)
	if !s.verifyMACTag(g.confirmationTag, gi.ConfirmationTag) {
		return broken(ErrConfirmationTag, "12.4.3.1", "the GroupInfo is of another epoch")
	}
	return g.checkOrigin(gs.psks, o)
}

// findOwnLeaf: "Identify a leaf whose LeafNode is identical to the one in the
// KeyPackage."
func (g *Group) findOwnLeaf(l *LeafNode) error {
	for i, m := range g.tree.members() {
		if m.equal(l) {
			g.own = i
			return nil
		}
	}
	return broken(ErrWelcome, "12.4.3.1", "our leaf is not in the tree")
}
