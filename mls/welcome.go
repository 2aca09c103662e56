package mls

import (
	"bytes"
	"slices"
)

// GroupInfo describes a group to one who joins it (RFC 9420 §12.4.3). A parsed
// one is unverified. It must not be changed.
type GroupInfo struct {
	GroupContext    GroupContext
	Extensions      []Extension
	ConfirmationTag []byte
	Signer          LeafIndex
	Signature       []byte

	signed []byte // GroupInfoTBS as it was decoded, which holds the whole tree
}

func (g *GroupInfo) appendUnsigned(b []byte) []byte {
	b = appendExtensions(g.GroupContext.append(b), g.Extensions)
	return appendUint32(appendOpaque(b, g.ConfirmationTag), g.Signer)
}

func (g *GroupInfo) append(b []byte) []byte { return appendOpaque(g.appendUnsigned(b), g.Signature) }

func decodeGroupInfo(r *reader) *GroupInfo {
	before := r.b
	g := &GroupInfo{
		GroupContext: decodeGroupContext(r), Extensions: decodeExtensions(r), ConfirmationTag: r.opaque(), Signer: LeafIndex(r.uint32()),
	}
	if r.err == nil {
		g.signed = before[:len(before)-len(r.b)]
	}
	g.Signature = r.opaque()
	return g
}

func (g *GroupInfo) sign(s *suite, k *SignaturePrivateKey) (err error) {
	g.Signature, err = s.signWithLabel(k, "GroupInfoTBS", g.appendUnsigned(nil))
	return err
}

func (g *GroupInfo) verify(s *suite, public []byte) error {
	tbs := g.signed
	if tbs == nil {
		tbs = g.appendUnsigned(nil)
	}
	return s.verifyWithLabel(public, "GroupInfoTBS", tbs, g.Signature)
}

// EncryptedGroupSecrets is the part of a Welcome for one new member (RFC 9420
// §12.4.3.1).
type EncryptedGroupSecrets struct {
	NewMember []byte // KeyPackageRef
	Secrets   HPKECiphertext
}

// Welcome brings new members into a group (RFC 9420 §12.4.3.1).
type Welcome struct {
	CipherSuite        CipherSuite
	Secrets            []EncryptedGroupSecrets
	EncryptedGroupInfo []byte
}

func (w *Welcome) append(b []byte) []byte {
	b = appendVector(appendUint16(b, w.CipherSuite), func(b []byte) []byte {
		for i := range w.Secrets {
			b = w.Secrets[i].Secrets.append(appendOpaque(b, w.Secrets[i].NewMember))
		}
		return b
	})
	return appendOpaque(b, w.EncryptedGroupInfo)
}

func decodeWelcome(r *reader) *Welcome {
	w := &Welcome{CipherSuite: CipherSuite(r.uint16())}
	in := r.vector()
	for in.more() {
		e := EncryptedGroupSecrets{in.key("KeyPackageRef"), decodeHPKECiphertext(in)}
		w.Secrets = append(w.Secrets, e)
	}
	r.join(in)
	w.EncryptedGroupInfo = r.opaque()
	return w
}

// Answers reports whether w has something for kp, so that a client with several
// KeyPackages knows with which to [Join] (RFC 9420 §12.4.3.1). Nothing is
// verified.
func (w *Welcome) Answers(kp *KeyPackage) bool {
	s, err := kp.CipherSuite.suite()
	return err == nil && kp.CipherSuite == w.CipherSuite && w.entry(kp.ref(s)) != nil
}

// entry finds the part of the Welcome that is for a KeyPackage.
func (w *Welcome) entry(ref []byte) *EncryptedGroupSecrets {
	for i := range w.Secrets {
		if bytes.Equal(w.Secrets[i].NewMember, ref) {
			return &w.Secrets[i]
		}
	}
	return nil
}

// groupSecrets is GroupSecrets of §12.4.3.1.
type groupSecrets struct {
	joiner secret
	path   secret // nil if the Commit had no path
	psks   []PreSharedKeyID
}

func (g *groupSecrets) append(b []byte) []byte {
	b = appendOptional(appendOpaque(b, g.joiner), g.path != nil)
	if g.path != nil {
		b = appendOpaque(b, g.path)
	}
	return appendVector(b, func(b []byte) []byte {
		for i := range g.psks {
			b = g.psks[i].append(b)
		}
		return b
	})
}

func decodeGroupSecrets(r *reader) *groupSecrets {
	g := &groupSecrets{joiner: r.opaque()}
	if r.optional() {
		g.path = r.opaque()
	}
	in := r.vector()
	for in.more() {
		in.room(len(g.psks), maxListed)
		g.psks = append(g.psks, decodePreSharedKeyID(in))
	}
	r.join(in)
	return g
}

// welcomeAll makes the Welcomes for the members that a Commit adds (§12.4.3.1).
// g is the new epoch; path is nil if the Commit has none.
func (g *Group) welcomeAll(ch *change, path *newPath, joiner, welcome secret, o CommitOptions) ([]*Welcome, error) {
	gi, err := g.groupInfo(o.Tree, o.WelcomeExtensions)
	if err != nil {
		return nil, err
	}
	key, nonce := g.suite.welcomeKey(welcome)
	encrypted := g.suite.aeadSeal(key, nonce, nil, gi.append(nil))
	wipeAll(key, nonce)
	per := o.JoinersPerWelcome
	if per <= 0 {
		per = len(ch.added)
	}
	var out []*Welcome
	for i, kp := range ch.added {
		if i%per == 0 {
			out = append(out, &Welcome{CipherSuite: g.suite.id, EncryptedGroupInfo: encrypted})
		}
		gs := &groupSecrets{joiner: joiner, psks: ch.psks}
		if path != nil {
			k := slices.IndexFunc(path.path, func(x nodeIndex) bool { return x.covers(ch.addedLeaves[i].node()) })
			gs.path = path.nodes[k].secret
		}
		plain := gs.append(nil)
		ct, err := g.suite.encryptWithLabel(kp.InitKey, "Welcome", encrypted, plain)
		clear(plain)
		if err != nil {
			return nil, err
		}
		w := out[len(out)-1]
		w.Secrets = append(w.Secrets, EncryptedGroupSecrets{kp.ref(g.suite), ct})
	}
	return out, nil
}
