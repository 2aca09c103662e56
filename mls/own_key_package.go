package mls

import (
	"bytes"
	"slices"
	"time"
)

// OwnKeyPackage is a KeyPackage of ours with its private keys (RFC 9420 §10). It
// is for one Welcome, except if published as a last resort (§16.8); Wipe it
// afterwards.
type OwnKeyPackage struct {
	KeyPackage *KeyPackage
	init, leaf secret
	signer     *SignaturePrivateKey
}

// NewKeyPackage makes a KeyPackage with fresh keys (RFC 9420 §10): 316 bytes as a
// message in suite 1 with a name of 32, 2686 in the post-quantum suite. It fails with
// ErrUnsupported for the suite and ErrUsage for what others could not decode.
func NewKeyPackage(cs CipherSuite, p Profile, l Lifetime, extensions ...Extension) (*OwnKeyPackage, error) {
	s, err := cs.suite()
	if err != nil {
		return nil, err
	}
	if err := p.check(s); err != nil {
		return nil, err
	}
	if err := checkExtensions(extensions); err != nil {
		return nil, err
	}
	o := &OwnKeyPackage{signer: p.SignatureKey}
	var initPublic, leafPublic []byte
	if o.init, initPublic, err = s.hpke.generate(); err != nil {
		return nil, brokenBy(ErrInvalidKey, "10", err, "init key")
	}
	if o.leaf, leafPublic, err = s.hpke.generate(); err != nil {
		return nil, brokenBy(ErrInvalidKey, "10", err, "leaf key")
	}
	leaf := p.leaf()
	leaf.EncryptionKey, leaf.Source, leaf.Lifetime = leafPublic, LeafNodeSourceKeyPackage, l
	if err := leaf.sign(s, p.SignatureKey, nil, 0); err != nil {
		return nil, err
	}
	kp := &KeyPackage{Version: MLS10, CipherSuite: cs, InitKey: initPublic, LeafNode: leaf, Extensions: slices.Clone(extensions)}
	if kp.Signature, err = s.signWithLabel(p.SignatureKey, "KeyPackageTBS", kp.appendUnsigned(nil)); err != nil {
		return nil, err
	}
	o.KeyPackage = kp
	return o, nil
}

// Wipe deletes the private keys (RFC 9420 §9.2, §16.8). A group that was joined keeps its own copy of
// the leaf's.
func (o *OwnKeyPackage) Wipe() {
	wipeAll(o.init, o.leaf)
	o.init, o.leaf = nil, nil
}

// Message wraps the KeyPackage for publication.
func (o *OwnKeyPackage) Message() *Message { return &Message{KeyPackage: o.KeyPackage} }

// Marshal encodes the KeyPackage and its private keys, which are secret.
func (o *OwnKeyPackage) Marshal() ([]byte, error) {
	k, err := o.signer.Bytes()
	if err != nil {
		return nil, err
	}
	b := o.KeyPackage.append([]byte{stateVersion})
	return appendOpaque(appendOpaque(appendOpaque(b, o.init), o.leaf), k), nil
}

// UnmarshalOwnKeyPackage reads what Marshal wrote and checks that the private
// keys belong to it: ErrKeyPackage if not, else ErrMalformed or ErrUnsupported.
func UnmarshalOwnKeyPackage(b []byte) (*OwnKeyPackage, error) {
	r := &reader{b: bytes.Clone(b)}
	if v := r.uint8(); r.err == nil && v != stateVersion {
		return nil, broken(ErrUnsupported, "10", "stored KeyPackage of version %d", v)
	}
	o := &OwnKeyPackage{KeyPackage: decodeKeyPackage(r), init: r.opaque(), leaf: r.opaque()}
	k := r.opaque()
	if err := r.end(); err != nil {
		return nil, err
	}
	var err error
	if o.signer, err = ParseSignatureKey(o.KeyPackage.CipherSuite, k); err != nil {
		return nil, err
	}
	s, err := o.KeyPackage.CipherSuite.suite()
	if err != nil {
		return nil, err
	}
	return o, o.check(s)
}

// check verifies that the private keys belong to the public ones.
func (o *OwnKeyPackage) check(s *suite) error {
	init, err1 := s.hpke.public(o.init)
	leaf, err2 := s.hpke.public(o.leaf)
	if err1 != nil || err2 != nil || !bytes.Equal(init, o.KeyPackage.InitKey) ||
		!bytes.Equal(leaf, o.KeyPackage.LeafNode.EncryptionKey) ||
		!bytes.Equal(o.signer.public, o.KeyPackage.LeafNode.SignatureKey) {
		return broken(ErrKeyPackage, "10", "the private keys are not those of the KeyPackage")
	}
	return nil
}

// Expired reports whether now is outside of the lifetime, so that the KeyPackage may
// not be used to add its client (RFC 9420 §7.3).
func (o *OwnKeyPackage) Expired(now time.Time) bool {
	return checkLifetime(o.KeyPackage.LeafNode.Lifetime, now) != nil
}
