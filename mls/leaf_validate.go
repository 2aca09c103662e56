package mls

import (
	"bytes"
	"slices"
)

// Identity is what [Config.Authenticate] judges: a credential and the key that
// comes with it (RFC 9420 §5.3.1).
type Identity struct {
	GroupID      []byte // nil for a KeyPackage that is not yet for a group
	Credential   Credential
	SignatureKey []byte
	Leaf         *LeafNode // nil for an entry of external_senders
	Previous     *LeafNode // the leaf that Leaf replaces, of which it must be a valid successor; nil if new
}

// leafRules judges leaves for one state of a group, §7.3.
type leafRules struct {
	suite    *suite
	cfg      *Config
	groupID  []byte
	groupExt []Extension
	required RequiredCapabilities
	buf      []byte
}

func newLeafRules(s *suite, cfg *Config, groupID []byte, ext []Extension) (*leafRules, error) {
	required, err := requiredCapabilities(ext)
	if err != nil {
		return nil, err
	}
	return &leafRules{suite: s, cfg: cfg, groupID: groupID, groupExt: ext, required: required}, nil
}

// one checks all of §7.3 that concerns the leaf alone: keys, credential,
// signature, capabilities against the group's extensions, and total lifetime.
func (v *leafRules) one(l *LeafNode, index LeafIndex, previous *LeafNode) error {
	if err := v.suite.hpke.check(l.EncryptionKey); err != nil {
		return brokenBy(ErrLeafNode, "10", err, "encryption_key")
	}
	if err := v.suite.sig.check(l.SignatureKey); err != nil {
		return brokenBy(ErrLeafNode, "10", err, "signature_key")
	}
	if err := l.verify(v.suite, &v.buf, v.groupID, index); err != nil {
		return err
	}
	return v.unsigned(l, previous)
}

// unsigned is one without the keys and the signature, for a leaf that we have
// just made.
func (v *leafRules) unsigned(l *LeafNode, previous *LeafNode) error {
	if err := v.capabilities(l); err != nil {
		return err
	}
	if l.Source == LeafNodeSourceKeyPackage {
		if err := v.cfg.checkTotalLifetime(l.Lifetime); err != nil {
			return err
		}
	}
	if err := l.Credential.check(v.suite, l.SignatureKey); err != nil {
		return err
	}
	return v.cfg.authenticate(Identity{v.groupID, l.Credential, l.SignatureKey, l, previous})
}

// capabilities checks l against itself and the group: §7.2, §7.3, §11.1, §13.4.
func (v *leafRules) capabilities(l *LeafNode) error {
	c := &l.Capabilities
	if !slices.Contains(c.Versions, MLS10) || !slices.Contains(c.CipherSuites, v.suite.id) {
		return broken(ErrLeafNode, "11.1", "capabilities without the group's version and suite")
	}
	if !slices.Contains(c.Credentials, l.Credential.Type) {
		return broken(ErrLeafNode, "7.2", "credential type %d is not in the leaf's capabilities", l.Credential.Type)
	}
	for _, e := range l.Extensions {
		if !e.Type.isDefault() && !slices.Contains(c.Extensions, e.Type) {
			return broken(ErrLeafNode, "7.3", "extension %#04x is not in the leaf's capabilities", uint16(e.Type))
		}
	}
	for _, e := range v.groupExt {
		if !e.Type.isDefault() && !slices.Contains(c.Extensions, e.Type) {
			return broken(ErrLeafNode, "13.4", "no support for extension %#04x of the group", uint16(e.Type))
		}
	}
	for _, t := range v.required.Extensions {
		if !t.isDefault() && !slices.Contains(c.Extensions, t) {
			return broken(ErrLeafNode, "7.3", "no support for required extension %#04x", uint16(t))
		}
	}
	for _, t := range v.required.Proposals {
		if !t.isDefault() && !slices.Contains(c.Proposals, t) {
			return broken(ErrLeafNode, "7.3", "no support for required %s", t)
		}
	}
	for _, t := range v.required.Credentials {
		if !slices.Contains(c.Credentials, t) {
			return broken(ErrLeafNode, "7.3", "no support for required credential type %d", t)
		}
	}
	return nil
}

// among checks what §7.3 asks of a leaf among the others: keys that nobody else
// uses, and credential types that everybody supports.
func (t *tree) among() error {
	n := count(t.leaves)
	signature, encryption := newKeySet(n), newKeySet(n)
	var types []CredentialType
	for i, l := range t.members() {
		if x, twice := signature.add(l.SignatureKey, i.node()); twice {
			return broken(ErrLeafNode, "7.3", "signature_key of leaf %d is that of leaf %d", i, x.leaf())
		}
		if x, twice := encryption.add(l.EncryptionKey, i.node()); twice {
			return broken(ErrLeafNode, "7.3", "encryption_key of leaf %d is that of leaf %d", i, x.leaf())
		}
		if !slices.Contains(types, l.Credential.Type) {
			types = append(types, l.Credential.Type)
		}
	}
	for i, l := range t.members() {
		for _, c := range types {
			if !slices.Contains(l.Capabilities.Credentials, c) {
				return broken(ErrLeafNode, "7.3", "leaf %d does not support credential type %d in use", i, c)
			}
		}
	}
	return nil
}

// notParents: the encryption keys of all nodes "MUST be distinct from one another"
// (§16.7). A leaf with the key of a parent node would pass §7.3, and then every
// later joiner would refuse the tree (§12.4.3.1).
func (t *tree) notParents(changed []LeafIndex) error {
	keys := fewKeys{}
	for _, i := range changed {
		keys.add(t.leaf(i).EncryptionKey, i.node())
	}
	for k, p := range t.parents {
		if p == nil {
			continue
		}
		if x, twice := keys.find(p.EncryptionKey); twice {
			return broken(ErrLeafNode, "16.7", "encryption_key of leaf %d is that of node %d", x.leaf(), 2*k+1)
		}
	}
	return nil
}

// amongChanged is among for a tree of which only the leaves in changed are new,
// which takes no maps over all members.
func (t *tree) amongChanged(changed []LeafIndex) error {
	if len(changed) > 8 {
		return t.among()
	}
	for _, c := range changed {
		l := t.leaf(c)
		for i, o := range t.members() {
			if i == c {
				continue
			}
			if bytes.Equal(o.SignatureKey, l.SignatureKey) {
				return broken(ErrLeafNode, "7.3", "signature_key of leaf %d is that of leaf %d", c, i)
			}
			if bytes.Equal(o.EncryptionKey, l.EncryptionKey) {
				return broken(ErrLeafNode, "7.3", "encryption_key of leaf %d is that of leaf %d", c, i)
			}
			if !slices.Contains(o.Capabilities.Credentials, l.Credential.Type) {
				return broken(ErrLeafNode, "7.3", "leaf %d does not support credential type %d of leaf %d", i, l.Credential.Type, c)
			}
			if !slices.Contains(l.Capabilities.Credentials, o.Credential.Type) {
				return broken(ErrLeafNode, "7.3", "leaf %d does not support credential type %d of leaf %d", c, o.Credential.Type, i)
			}
		}
	}
	return nil
}
