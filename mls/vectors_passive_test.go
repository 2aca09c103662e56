package mls

import (
	"errors"
	"testing"
)

type passiveVector struct {
	Suite         CipherSuite    `json:"cipher_suite"`
	PSKs          []passivePSK   `json:"external_psks"`
	KeyPackage    hexBytes       `json:"key_package"`
	Signature     hexBytes       `json:"signature_priv"`
	Encryption    hexBytes       `json:"encryption_priv"`
	Init          hexBytes       `json:"init_priv"`
	Welcome       hexBytes       `json:"welcome"`
	Tree          hexBytes       `json:"ratchet_tree"`
	Authenticator hexBytes       `json:"initial_epoch_authenticator"`
	Epochs        []passiveEpoch `json:"epochs"`
}

type passivePSK struct {
	ID  hexBytes `json:"psk_id"`
	PSK hexBytes `json:"psk"`
}

type passiveEpoch struct {
	Proposals     []hexBytes `json:"proposals"`
	Commit        hexBytes   `json:"commit"`
	Authenticator hexBytes   `json:"epoch_authenticator"`
}

// TestVectorsPassiveClient follows groups that others made. After each message
// the group is written and read back, so that nothing lives outside of its state.
func TestVectorsPassiveClient(t *testing.T) {
	for _, file := range []string{"passive-client-welcome.json", "passive-client-handling-commit.json", "passive-client-random.json"} {
		eachVector(t, file, func(v *passiveVector) CipherSuite { return v.Suite }, follow)
	}
}

func follow(t *testing.T, s *suite, v *passiveVector) {
	cfg := *trusting
	cfg.PSK = func(id PreSharedKeyID) ([]byte, error) {
		for _, p := range v.PSKs {
			if string(p.ID) == string(id.ID) {
				return p.PSK, nil
			}
		}
		return nil, errors.New("unknown")
	}
	own := &OwnKeyPackage{
		KeyPackage: must(ParseMessage(v.KeyPackage))(t).KeyPackage, init: fullKey(s, v.Init), leaf: fullKey(s, v.Encryption),
		signer: must(ParseSignatureKey(v.Suite, v.Signature))(t),
	}
	own = must(UnmarshalOwnKeyPackage(must(own.Marshal())(t)))(t)
	w := must(ParseMessage(v.Welcome))(t).Welcome
	g, err := Join(&cfg, w, own, JoinOptions{RatchetTree: v.Tree}, atTime)
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, "epoch authenticator", g.EpochAuthenticator(), v.Authenticator)
	for i, e := range v.Epochs {
		for _, p := range e.Proposals {
			if _, err := g.Read(must(ParseMessage(p))(t), atTime); err != nil {
				t.Fatalf("epoch %d: proposal: %v", i, err)
			}
			g = reload(t, &cfg, g)
		}
		r, err := g.Read(must(ParseMessage(e.Commit))(t), atTime)
		if err != nil {
			t.Fatalf("epoch %d: %v", i, err)
		}
		if err := g.Merge(r.(*StagedCommit)); err != nil {
			t.Fatal(err)
		}
		wantBytes(t, "epoch authenticator", g.EpochAuthenticator(), e.Authenticator)
		g = reload(t, &cfg, g)
	}
}

func reload(t testing.TB, cfg *Config, g *Group) *Group {
	t.Helper()
	b, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	n, err := UnmarshalGroup(cfg, b)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// fullKey puts back the leading zeros that the vectors leave out of P-521 keys.
func fullKey(s *suite, k []byte) secret {
	if s.id != P521AES256GCM {
		return k
	}
	return append(make(secret, 66-len(k)), k...)
}
