package mls

import (
	"bytes"
	"time"
)

// KeyPackage lets others add a client to a group while it is away (RFC 9420
// §10). A parsed KeyPackage is unverified; [KeyPackage.Verify] checks it.
// It must not be changed.
type KeyPackage struct {
	Version     ProtocolVersion
	CipherSuite CipherSuite
	InitKey     []byte
	LeafNode    *LeafNode
	Extensions  []Extension
	Signature   []byte
}

func (kp *KeyPackage) appendUnsigned(b []byte) []byte {
	b = appendUint16(appendUint16(b, kp.Version), kp.CipherSuite)
	b = kp.LeafNode.append(appendOpaque(b, kp.InitKey))
	return appendExtensions(b, kp.Extensions)
}

func (kp *KeyPackage) append(b []byte) []byte {
	return appendOpaque(kp.appendUnsigned(b), kp.Signature)
}

func decodeKeyPackage(r *reader) *KeyPackage {
	return &KeyPackage{
		ProtocolVersion(r.uint16()), CipherSuite(r.uint16()), r.opaque(),
		decodeLeafNode(r), decodeExtensions(r), r.opaque(),
	}
}

// Marshal encodes the bare KeyPackage; [Message] wraps one for the wire.
func (kp *KeyPackage) Marshal() []byte { return kp.append(nil) }

// ParseKeyPackage decodes a bare KeyPackage, which it copies. It verifies nothing.
// Errors match ErrMalformed or ErrUnsupported.
func ParseKeyPackage(b []byte) (*KeyPackage, error) { return parse(b, decodeKeyPackage) }

// Ref returns the KeyPackageRef by which a Welcome names this KeyPackage (RFC
// 9420 §5.2), of the length of the suite's hash.
func (kp *KeyPackage) Ref() ([]byte, error) {
	s, err := kp.CipherSuite.suite()
	if err != nil {
		return nil, err
	}
	return kp.ref(s), nil
}

func (kp *KeyPackage) ref(s *suite) []byte {
	return s.refHash("MLS 1.0 KeyPackage Reference", kp.append(nil))
}

// check is §10.1 for a group whose rules are v, without the lifetime.
func (kp *KeyPackage) check(v *leafRules) error {
	if kp.Version != MLS10 || kp.CipherSuite != v.suite.id {
		return broken(ErrKeyPackage, "10.1", "version %d and suite %#04x are not the group's", kp.Version, uint16(kp.CipherSuite))
	}
	if kp.LeafNode.Source != LeafNodeSourceKeyPackage {
		return broken(ErrKeyPackage, "10.1", "leaf_node_source %d", kp.LeafNode.Source)
	}
	if err := v.suite.hpke.check(kp.InitKey); err != nil {
		return brokenBy(ErrKeyPackage, "10", err, "init_key")
	}
	if err := v.suite.sig.check(kp.LeafNode.SignatureKey); err != nil {
		return brokenBy(ErrKeyPackage, "5.1.1", err, "signature_key")
	}
	if bytes.Equal(kp.InitKey, kp.LeafNode.EncryptionKey) {
		return broken(ErrKeyPackage, "10.1", "init_key is the encryption_key")
	}
	if err := v.suite.verifyWithLabel(kp.LeafNode.SignatureKey, "KeyPackageTBS", kp.appendUnsigned(nil), kp.Signature); err != nil {
		return err
	}
	for _, e := range kp.Extensions {
		if _, listed := indexOf(kp.LeafNode.Capabilities.Extensions, e.Type); !listed && !e.Type.isDefault() {
			return broken(ErrKeyPackage, "10", "extension %#04x is not in the capabilities", uint16(e.Type))
		}
	}
	return v.one(kp.LeafNode, 0, nil)
}

// VerifiedKeyPackage is a KeyPackage whose signatures, credential and lifetime
// were found good at some time. Only [KeyPackage.Verify] makes one.
type VerifiedKeyPackage struct {
	kp *KeyPackage
}

// KeyPackage returns the KeyPackage.
func (v VerifiedKeyPackage) KeyPackage() *KeyPackage { return v.kp }

// Add returns the proposal to add its client.
func (v VerifiedKeyPackage) Add() Add { return Add{KeyPackage: v.kp} }

// Verify checks a KeyPackage as RFC 9420 §10.1 asks before it is used, with
// now inside its lifetime. Whether it fits a group is checked when it is
// committed. It costs two signature verifications and a call of Authenticate. It
// fails with ErrKeyPackage, ErrLeafNode, ErrSignature, ErrAuthentication or
// ErrUnsupported.
func (kp *KeyPackage) Verify(cfg *Config, now time.Time) (VerifiedKeyPackage, error) {
	s, err := kp.CipherSuite.suite()
	if err != nil {
		return VerifiedKeyPackage{}, err
	}
	if kp.LeafNode == nil {
		return VerifiedKeyPackage{}, broken(ErrUsage, "10", "KeyPackage without a leaf")
	}
	v := &leafRules{suite: s, cfg: cfg}
	if err := kp.check(v); err != nil {
		return VerifiedKeyPackage{}, err
	}
	if err := checkLifetime(kp.LeafNode.Lifetime, now); err != nil {
		return VerifiedKeyPackage{}, err
	}
	return VerifiedKeyPackage{kp}, nil
}

func indexOf[T comparable](list []T, v T) (int, bool) {
	for i, x := range list {
		if x == v {
			return i, true
		}
	}
	return -1, false
}
