package audience

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/mls"
)

// sessionKey is the signature key of our leaves of one suite, fresh for each
// connection (§2.2), with the statement that says whose it is.
type sessionKey struct {
	private   *mls.SignaturePrivateKey
	statement []byte
}

// statementKey names a statement together with what it was verified for.
type statementKey [sha256.Size]byte

func nameStatement(statement, key []byte, server [32]byte, session uint32) statementKey {
	h := sha256.New()
	fmt.Fprintf(h, "%d|%d|%x|", len(statement), session, server)
	h.Write(statement)
	h.Write(key)
	return statementKey(h.Sum(nil))
}

func (m *Machine) keyFor(cs mls.CipherSuite) (*sessionKey, error) {
	if k := m.keys[cs]; k != nil {
		return k, nil
	}
	private, err := mls.GenerateSignatureKey(cs)
	if err != nil {
		return nil, err
	}
	statement, err := m.cfg.Statement(private.Public(), m.session)
	if err != nil {
		return nil, err
	}
	k := &sessionKey{private, statement}
	m.keys[cs] = k
	return k, nil
}

// profile is what our leaf shows (§2, §2.3).
func (m *Machine) profile(cs mls.CipherSuite, l envelope.SottoLeaf) (mls.Profile, error) {
	k, err := m.keyFor(cs)
	if err != nil {
		return mls.Profile{}, err
	}
	l.Server, l.Session = m.cfg.Server, m.session
	return mls.Profile{
		Credential:   mls.BasicCredential(k.statement),
		Capabilities: m.capabilities(),
		Extensions:   []mls.Extension{{Type: mls.ExtensionType(envelope.ExtensionLeaf), Data: l.Append(nil)}},
		SignatureKey: k.private,
	}, nil
}

func (m *Machine) capabilities() mls.Capabilities {
	return mls.Capabilities{
		Versions:     []mls.ProtocolVersion{mls.MLS10},
		CipherSuites: slices.Clone(m.cfg.Suites),
		Extensions:   []mls.ExtensionType{mls.ExtensionType(envelope.ExtensionLeaf), mls.ExtensionType(envelope.ExtensionGroup)},
		Credentials:  []mls.CredentialType{mls.CredentialBasic},
	}.WithGREASE()
}

// required is what every leaf must support (§2).
func required() mls.Extension {
	return mls.RequiredCapabilities{
		Extensions:  []mls.ExtensionType{mls.ExtensionType(envelope.ExtensionLeaf), mls.ExtensionType(envelope.ExtensionGroup)},
		Credentials: []mls.CredentialType{mls.CredentialBasic},
	}.Extension()
}

func extension(list []mls.Extension, t uint16) ([]byte, bool) {
	for _, e := range list {
		if e.Type == mls.ExtensionType(t) {
			return e.Data, true
		}
	}
	return nil, false
}

var errLeaf = errors.New("audience: leaf without a sound sotto_leaf or statement")

// readLeaf takes a leaf's extension and statement apart and verifies the
// statement (§2.2, §2.3), once for each content.
func (m *Machine) readLeaf(l *mls.LeafNode) (envelope.SottoLeaf, Who, error) {
	data, ok := extension(l.Extensions, envelope.ExtensionLeaf)
	if !ok {
		return envelope.SottoLeaf{}, Who{}, errLeaf
	}
	ext, err := envelope.ParseSottoLeaf(data)
	if err != nil {
		return envelope.SottoLeaf{}, Who{}, err
	}
	if l.Credential.Type != mls.CredentialBasic {
		return envelope.SottoLeaf{}, Who{}, errLeaf
	}
	name := nameStatement(l.Credential.Identity, l.SignatureKey, ext.Server, ext.Session)
	if who, ok := m.known[name]; ok {
		return ext, who, nil
	}
	who, err := m.cfg.Verify(l.Credential.Identity, l.SignatureKey, ext.Server, ext.Session)
	if err != nil {
		return envelope.SottoLeaf{}, Who{}, err
	}
	if len(m.known) >= maxStatements {
		clear(m.known)
	}
	m.known[name] = who
	return ext, who, nil
}

// mlsConfig is what mls asks us. try is the PSK to answer with.
func (m *Machine) mlsConfig(try func(id []byte) []byte) *mls.Config {
	return &mls.Config{
		MaxLeaves: 2 * maxMembers, // Adds take the leftmost blank leaves, so it never gets there
		Authenticate: func(id mls.Identity) error {
			if id.Leaf == nil {
				return errLeaf // external senders have no place here (§2)
			}
			ext, who, err := m.readLeaf(id.Leaf)
			if err != nil || id.Previous == nil {
				return err
			}
			return m.sameOwner(id.Previous, id.Leaf, ext, who)
		},
		PSK: func(id mls.PreSharedKeyID) ([]byte, error) {
			if id.Type == mls.PSKExternal && try != nil {
				if psk := try(id.ID); psk != nil {
					return psk, nil
				}
			}
			return nil, errors.New("audience: no such secret")
		},
		Padding:      padding,
		MaxLifetime:  lifeBefore + lifeAfter,
		MaxProposals: maxProposals,
		PastEpochs:   1,
	}
}

// sameOwner: a member that renews its leaf stays who it was (§2.5, clause 12). The
// session and the role of a leaf were held against what the server shows when it was
// added, and by its identity_key a locked group knows whom it lets in again.
func (m *Machine) sameOwner(old, l *mls.LeafNode, ext envelope.SottoLeaf, who Who) error {
	before, was, err := m.readLeaf(old)
	if err != nil {
		return err
	}
	switch {
	case !bytes.Equal(old.SignatureKey, l.SignatureKey):
		return invalid("a leaf with another signature_key than before")
	case ext.Session != before.Session, ext.Role != before.Role, ext.Audience != before.Audience:
		return invalid("a leaf of another session, role or audience_kind than before")
	case who.Identity != was.Identity:
		return invalid("a leaf of another identity_key than before")
	}
	return nil
}

// firstPSK answers with the first secret, which is the one that founding uses.
func (m *Machine) firstPSK(id []byte) []byte {
	if m.cfg.PSK == nil {
		return nil
	}
	if list := m.cfg.PSK(id); len(list) > 0 {
		return list[0]
	}
	return nil
}

// padding of PrivateMessages: text to 64, 256, 1024, 4096 bytes, then multiples of
// 4096; Commits none (§2).
func padding(t mls.ContentType, size int) int {
	if t != mls.ContentApplication {
		return 0
	}
	for _, step := range []int{64, 256, 1024, 4096} {
		if size <= step {
			return step - size
		}
	}
	return (4096 - size%4096) % 4096
}

// sign is SottoSign (§2.1) with our key of a suite.
func (m *Machine) sign(cs mls.CipherSuite, label identity.Label, content []byte) ([envelope.SignatureLen]byte, error) {
	var out [envelope.SignatureLen]byte
	k, err := m.keyFor(cs)
	if err != nil {
		return out, err
	}
	s, err := k.private.SignOutside(identity.SignContent(label, content))
	if err != nil {
		return out, err
	}
	if len(s) != len(out) {
		return out, errors.New("audience: signature of an unknown length")
	}
	return [envelope.SignatureLen]byte(s), nil
}

// verify checks a SottoSign of the owner of a session key.
func verify(cs mls.CipherSuite, key []byte, label identity.Label, content []byte, signature [envelope.SignatureLen]byte) bool {
	if cs == SuiteHybrid || cs == SuiteClassic {
		// "small-order and non-canonical keys ... are rejected" (§2.1).
		if len(key) != len(identity.PublicKey{}) || identity.PublicKey(key).Check() != nil {
			return false
		}
	}
	return mls.VerifyOutside(cs, key, identity.SignContent(label, content), signature[:]) == nil
}

func lifetime(now time.Time) mls.Lifetime {
	return mls.LifetimeAround(now, lifeBefore, lifeAfter)
}
