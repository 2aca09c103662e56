package audience_test

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/mls"
)

// What the makers of MLS vectors have in common. Signatures and statements are made
// by the letter of Sotto protocol §2; keys of HPKE by package mls.

var (
	vectorServer = bytes.Repeat([]byte{0xC0}, 32)
	vectorNow    = time.Unix(1_800_000_000, 0)
)

// someone is whom a leaf stands for.
type someone struct {
	id, device, key       ed25519.PrivateKey
	leaf                  envelope.SottoLeaf
	statedServer          []byte // what the statement is for, if not what the leaf says
	statedSession         uint32
	break_                int // a byte of the statement that is changed; 0: none
	noLeaf, noCapability  bool
	notBefore, notAfter   int64 // seconds from vectorNow; 0: those of §2.6
	deviceLabel, keyLabel string
}

func vectorKey(fill byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{fill}, 32))
}

// who is somebody in channel 3.
func who(n byte, session uint32) someone {
	return someone{id: vectorKey(n), device: vectorKey(n + 0x20), key: vectorKey(n + 0x40),
		leaf: envelope.SottoLeaf{Server: [32]byte(vectorServer), Session: session, Audience: envelope.AudienceChannel, Channel: 3}}
}

// with changes a copy.
func (s someone) with(change func(*someone)) someone { change(&s); return s }

func mlsVec(b []byte) []byte {
	switch n := len(b); {
	case n < 64:
		return append([]byte{byte(n)}, b...)
	case n < 1<<14:
		return append([]byte{0x40 | byte(n>>8), byte(n)}, b...)
	default:
		return append([]byte{0x80, byte(n >> 16), byte(n >> 8), byte(n)}, b...)
	}
}

func sottoSign(k ed25519.PrivateKey, label string, content []byte) []byte {
	return ed25519.Sign(k, append(mlsVec([]byte("Sotto 1 "+label)), mlsVec(content)...))
}

func publicOf(k ed25519.PrivateKey) []byte { return k.Public().(ed25519.PublicKey) }

func (s someone) statement() []byte {
	server, session := s.leaf.Server[:], s.leaf.Session
	if s.statedServer != nil {
		server = s.statedServer
	}
	if s.statedSession != 0 {
		session = s.statedSession
	}
	label := func(l, d string) string {
		if l == "" {
			return d
		}
		return l
	}
	head := slices.Concat(publicOf(s.id), publicOf(s.device), be64(0))
	b := slices.Concat([]byte{0, 1, 0}, head,
		sottoSign(s.id, label(s.deviceLabel, "Device"), append([]byte{0, 1}, head...)),
		sottoSign(s.device, label(s.keyLabel, "Session"), slices.Concat(publicOf(s.key), server, be32(session))), []byte{0})
	if s.break_ != 0 {
		b[s.break_] ^= 1
	}
	return b
}

func (s someone) profile(t *testing.T, cs mls.CipherSuite) mls.Profile {
	t.Helper()
	key, err := mls.ParseSignatureKey(cs, s.key.Seed())
	if err != nil {
		t.Fatal(err)
	}
	p := mls.Profile{
		Credential: mls.BasicCredential(s.statement()), SignatureKey: key,
		Capabilities: mls.Capabilities{
			Versions:     []mls.ProtocolVersion{mls.MLS10},
			CipherSuites: []mls.CipherSuite{audience.SuiteHybrid, audience.SuiteClassic},
			Extensions:   []mls.ExtensionType{0xF510, 0xF511},
			Credentials:  []mls.CredentialType{mls.CredentialBasic},
		},
		Extensions: []mls.Extension{{Type: 0xF510, Data: s.leaf.Append(nil)}},
	}
	if s.noLeaf {
		p.Extensions = nil
	}
	if s.noCapability {
		p.Capabilities.Extensions = []mls.ExtensionType{0xF511}
	}
	return p
}

func (s someone) keyPackage(t *testing.T, cs mls.CipherSuite) *mls.OwnKeyPackage {
	t.Helper()
	life := mls.Lifetime{NotBefore: uint64(vectorNow.Unix() - 86_400), NotAfter: uint64(vectorNow.Unix() + 90_000)}
	if s.notBefore != 0 {
		life.NotBefore = uint64(vectorNow.Unix() + s.notBefore)
	}
	if s.notAfter != 0 {
		life.NotAfter = uint64(vectorNow.Unix() + s.notAfter)
	}
	own, err := mls.NewKeyPackage(cs, s.profile(t, cs), life)
	if err != nil {
		t.Fatal(err)
	}
	return own
}

// signKeyPackage signs a KeyPackage anew, of which something inside was changed.
func signKeyPackage(k ed25519.PrivateKey, kp []byte) []byte {
	tbs := kp[:len(kp)-66]
	return slices.Concat(tbs, mlsVec(ed25519.Sign(k, append(mlsVec([]byte("MLS 1.0 KeyPackageTBS")), mlsVec(tbs)...))))
}

// signLeaf signs the leaf of a KeyPackage anew, which begins at a place in it.
func signLeaf(k ed25519.PrivateKey, kp []byte, at int) []byte {
	end := len(kp) - 66 - 1 - 66 // in front of its signature, the extensions and the signature of the KeyPackage
	tbs := kp[at:end]
	return slices.Concat(kp[:end], mlsVec(ed25519.Sign(k, append(mlsVec([]byte("MLS 1.0 LeafNodeTBS")), mlsVec(tbs)...))), kp[end+66:])
}

// trueStatement is the verifier of §2.2, as the engine has it.
func trueStatement(b, key []byte, server [32]byte, session uint32) (audience.Who, error) {
	s, err := identity.ParseStatement(b)
	if err != nil {
		return audience.Who{}, err
	}
	if len(key) != 32 {
		return audience.Who{}, identity.ErrPublicKey
	}
	if err := s.Verify(identity.PublicKey(key), identity.SHA256(server), session); err != nil {
		return audience.Who{}, err
	}
	return audience.Who{Identity: s.Identity, Device: s.Device}, nil
}

// vectorMachine is the receiver of vectors: session 2 in channel 3 of the server,
// where it sees the others.
func vectorMachine(t *testing.T, secrets [][]byte, others ...uint32) *audience.Machine {
	t.Helper()
	bob := who(2, 2)
	cfg := audience.Config{
		Server: [32]byte(vectorServer), Suites: []mls.CipherSuite{audience.SuiteHybrid, audience.SuiteClassic},
		Statement: func(key []byte, session uint32) ([]byte, error) { return bob.statement(), nil },
		Verify:    trueStatement,
	}
	if secrets != nil {
		cfg.PSK, cfg.RequirePSK = func([]byte) [][]byte { return secrets }, true
	}
	m, err := audience.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	m.Handle(vectorNow, audience.Connected{Session: 2})
	m.Handle(vectorNow, audience.RegimeEcho)
	place := audience.Place{Channel: 3, Closure: []uint32{3}}
	for _, s := range others {
		place.Hearers = append(place.Hearers, audience.Hearer{Session: s})
	}
	m.Handle(vectorNow, audience.World{Places: []audience.Place{place}, People: others})
	m.Handle(vectorNow, audience.Join{Want: true})
	return m
}
