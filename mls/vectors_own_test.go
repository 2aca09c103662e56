package mls

import (
	"encoding/json"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/mlkem768x25519-*.json anew")

const (
	ownBasics  = "testdata/mlkem768x25519-basics.json"
	ownPassive = "testdata/mlkem768x25519-passive-client.json"
)

// basicsVector has what is new in a suite with another KEM. The file's format is
// in testdata/README.md.
type basicsVector struct {
	Suite   CipherSuite `json:"cipher_suite"`
	Encrypt struct {
		Priv       hexBytes `json:"priv"`
		Pub        hexBytes `json:"pub"`
		Label      string   `json:"label"`
		Context    hexBytes `json:"context"`
		Plaintext  hexBytes `json:"plaintext"`
		KEMOutput  hexBytes `json:"kem_output"`
		Ciphertext hexBytes `json:"ciphertext"`
	} `json:"encrypt_with_label"`
	PathSecrets []struct {
		PathSecret hexBytes `json:"path_secret"`
		NodePriv   hexBytes `json:"node_priv"`
		NodePub    hexBytes `json:"node_pub"`
	} `json:"path_secrets"`
	External struct {
		Secret     hexBytes `json:"external_secret"`
		Pub        hexBytes `json:"external_pub"`
		KEMOutput  hexBytes `json:"kem_output"`
		InitSecret hexBytes `json:"init_secret"`
	} `json:"external_init"`
}

// TestOwnVectors checks the vectors of the post-quantum suite, for which there
// are no published ones. With -update it makes them anew.
func TestOwnVectors(t *testing.T) {
	cs := MLKEM768X25519AES128GCM
	if *update {
		writeJSON(t, ownBasics, makeBasics(t, cs))
		writeJSON(t, ownPassive, []*passiveVector{makePassive(t, cs, TreeInWelcome), makePassive(t, cs, TreeElsewhere)})
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	eachCase(t, ownBasics, read(ownBasics), func(v *basicsVector) CipherSuite { return v.Suite }, func(t *testing.T, s *suite, v *basicsVector) {
		e := &v.Encrypt
		wantBytes(t, "public key", must(s.hpke.public(secret(e.Priv)))(t), e.Pub)
		wantBytes(t, "plaintext", must(s.decryptWithLabel(secret(e.Priv), e.Label, e.Context, HPKECiphertext{e.KEMOutput, e.Ciphertext}))(t), e.Plaintext)
		for i, p := range v.PathSecrets {
			n := must(s.node(secret(p.PathSecret)))(t)
			wantBytes(t, "node private key", n.private, p.NodePriv)
			wantBytes(t, "node public key", n.public, p.NodePub)
			if i+1 < len(v.PathSecrets) {
				wantBytes(t, "next path secret", s.deriveSecret(secret(p.PathSecret), "path"), v.PathSecrets[i+1].PathSecret)
			}
		}
		private, public, err := s.externalKey(secret(v.External.Secret))
		if err != nil {
			t.Fatal(err)
		}
		wantBytes(t, "external_pub", public, v.External.Pub)
		wantBytes(t, "init secret", must(s.hpke.exportFrom(private, v.External.KEMOutput, externalInitLabel, s.nh))(t), v.External.InitSecret)
	})
	eachCase(t, ownPassive, read(ownPassive), func(v *passiveVector) CipherSuite { return v.Suite }, follow)
}

func writeJSON(t *testing.T, name string, v any) {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func makeBasics(t *testing.T, cs CipherSuite) []*basicsVector {
	s := must(cs.suite())(t)
	v := &basicsVector{Suite: cs}
	e := &v.Encrypt
	priv, pub, err := s.hpke.generate()
	if err != nil {
		t.Fatal(err)
	}
	e.Priv, e.Pub, e.Label, e.Context, e.Plaintext = hexBytes(priv), pub, "EncryptWithLabel", random(20), random(32)
	ct := must(s.encryptWithLabel(pub, e.Label, e.Context, e.Plaintext))(t)
	e.KEMOutput, e.Ciphertext = ct.KEMOutput, ct.Ciphertext
	at := secret(random(s.nh))
	for range 3 {
		n := must(s.node(at))(t)
		v.PathSecrets = append(v.PathSecrets, struct {
			PathSecret hexBytes `json:"path_secret"`
			NodePriv   hexBytes `json:"node_priv"`
			NodePub    hexBytes `json:"node_pub"`
		}{hexBytes(at), hexBytes(n.private), n.public})
		at = s.deriveSecret(at, "path")
	}
	x := &v.External
	x.Secret = random(s.nh)
	if _, x.Pub, err = s.externalKey(secret(x.Secret)); err != nil {
		t.Fatal(err)
	}
	enc, init, err := s.hpke.exportTo(x.Pub, externalInitLabel, s.nh)
	if err != nil {
		t.Fatal(err)
	}
	x.KEMOutput, x.InitSecret = enc, hexBytes(init)
	return []*basicsVector{v}
}

// makePassive lets a client join a group of four and follow it through all kinds
// of Commits, in both wire formats.
func makePassive(t *testing.T, cs CipherSuite, tree TreePolicy) *passiveVector {
	g := testGroup(t, cs, 4)
	s := g[0].suite
	kp := testKeyPackage(t, cs, testProfile(t, cs, "passive"))
	v := &passiveVector{Suite: cs, PSKs: []passivePSK{{[]byte("x"), []byte("psk of x")}},
		KeyPackage: kp.Message().Marshal(), Init: hexBytes(kp.init), Encryption: hexBytes(kp.leaf), Signature: must(kp.signer.Bytes())(t)}
	psk := func() Proposal {
		return PreSharedKey{PreSharedKeyID{Type: PSKExternal, ID: []byte("x"), Nonce: random(s.nh)}}
	}
	commit := func(by int, o CommitOptions) *StagedCommit {
		t.Helper()
		c := must(g[by].Commit(o, atTime))(t)
		m := c.Message()
		for i, other := range g {
			if i != by && other.Active() {
				if err := other.Merge(must(other.Read(m, atTime))(t).(*StagedCommit)); err != nil {
					t.Fatal(err)
				}
			}
		}
		welcomes := c.welcomes
		if err := g[by].Merge(c); err != nil {
			t.Fatal(err)
		}
		return &StagedCommit{message: m, welcomes: welcomes}
	}
	c := commit(1, CommitOptions{Tree: tree, Proposals: []Proposal{Add{kp.KeyPackage}, psk()}})
	v.Welcome = (&Message{Welcome: c.welcomes[0]}).Marshal()
	if tree == TreeElsewhere {
		v.Tree = g[1].RatchetTree()
	}
	v.Authenticator = g[1].EpochAuthenticator()
	for i, o := range []CommitOptions{
		{},
		{Proposals: []Proposal{Add{testKeyPackage(t, cs, testProfile(t, cs, "more")).KeyPackage}}, Path: PathIfRequired},
		{Proposals: []Proposal{psk()}},
		{},
		{Proposals: []Proposal{Remove{3}}},
		{Proposals: []Proposal{GroupContextExtensions{[]Extension{RequiredCapabilities{Credentials: []CredentialType{CredentialBasic}}.Extension()}}}},
		{},
	} {
		for _, m := range g {
			cfg := *m.cfg
			cfg.Handshake = WireFormatPrivateMessage - WireFormat(i%2)
			m.cfg = &cfg
		}
		e := passiveEpoch{Proposals: []hexBytes{}}
		if i == 3 {
			m := must(g[2].ProposeUpdate(nil, nil, atTime))(t)
			for _, k := range []int{0, 1, 3} {
				must(g[k].Read(m, atTime))(t)
			}
			e.Proposals = append(e.Proposals, m.Marshal())
		}
		e.Commit = commit(i%3, o).message.Marshal()
		e.Authenticator = g[0].EpochAuthenticator()
		v.Epochs = append(v.Epochs, e)
	}
	return v
}
