package mls

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// The vectors are those of the MLS working group, github.com/mlswg/mls-implementations,
// test-vectors/*.json. They are read from $SOTTO_VECTORS/mls, or from
// shared/vectors/mls beside the repository.

func vectorFile(t testing.TB, name string) []byte {
	t.Helper()
	dirs := []string{os.Getenv("SOTTO_VECTORS")}
	if dirs[0] == "" {
		dirs = nil
		for up := "."; len(up) < 40; up += "/.." {
			dirs = append(dirs, filepath.Join(up, "shared", "vectors"))
		}
	}
	for _, d := range dirs {
		if b, err := os.ReadFile(filepath.Join(d, "mls", name)); err == nil {
			return b
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("no %s: set SOTTO_VECTORS (from github.com/mlswg/mls-implementations)", name)
	}
	t.Skipf("no %s: set SOTTO_VECTORS (from github.com/mlswg/mls-implementations)", name)
	return nil
}

// hexBytes is bytes in hex; null is nil.
type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil || s == nil {
		return err
	}
	v, err := hex.DecodeString(*s)
	*h = v
	return err
}

func (h hexBytes) MarshalJSON() ([]byte, error) {
	if h == nil {
		return []byte("null"), nil
	}
	return json.Marshal(hex.EncodeToString(h))
}

// eachVector runs check on each case of a file; for cases of suites that this
// package does not have, suiteOf says so and they are counted apart.
func eachVector[T any](t *testing.T, name string, suiteOf func(*T) CipherSuite, check func(*testing.T, *suite, *T)) {
	t.Helper()
	eachCase(t, name, vectorFile(t, name), suiteOf, check)
}

func eachCase[T any](t *testing.T, name string, file []byte, suiteOf func(*T) CipherSuite, check func(*testing.T, *suite, *T)) {
	t.Helper()
	var cases []T
	if err := json.Unmarshal(file, &cases); err != nil {
		t.Fatal(err)
	}
	ran, skipped := 0, 0
	for i := range cases {
		var s *suite
		if suiteOf != nil {
			var err error
			if s, err = suiteOf(&cases[i]).suite(); err != nil {
				skipped++
				continue
			}
		}
		ran++
		if !t.Run("", func(t *testing.T) { check(t, s, &cases[i]) }) {
			t.Errorf("%s: case %d failed", name, i)
		}
	}
	if ran == 0 {
		t.Errorf("%s: no case ran", name)
	}
	t.Logf("%s: %d cases, %d of suites not supported", name, ran, skipped)
}

func wantBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n got %x\nwant %x", what, got, want)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestVectorsDeserialization(t *testing.T) {
	type vector struct {
		Header hexBytes `json:"vlbytes_header"`
		Length int
	}
	eachVector(t, "deserialization.json", nil, func(t *testing.T, _ *suite, v *vector) {
		r := &reader{b: v.Header}
		if n := r.varint(); n != v.Length || r.end() != nil {
			t.Errorf("%x: got %d, %v, want %d", v.Header, n, r.err, v.Length)
		}
		wantBytes(t, "encoded", appendVarint(nil, v.Length), v.Header)
	})
}

func TestVectorsTreeMath(t *testing.T) {
	type vector struct {
		Leaves                       int `json:"n_leaves"`
		Nodes                        int `json:"n_nodes"`
		Root                         nodeIndex
		Left, Right, Parent, Sibling []*nodeIndex
	}
	eachVector(t, "tree-math.json", nil, func(t *testing.T, _ *suite, v *vector) {
		if got := root(v.Leaves); got != v.Root || v.Nodes != 2*v.Leaves-1 {
			t.Errorf("root %d, want %d", got, v.Root)
		}
		for i := range v.Nodes {
			x := nodeIndex(i)
			if !x.isLeaf() && (x.left() != *v.Left[i] || x.right() != *v.Right[i]) {
				t.Errorf("children of %d: %d %d", x, x.left(), x.right())
			}
			if x != v.Root && (x.parent() != *v.Parent[i] || x.sibling() != *v.Sibling[i]) {
				t.Errorf("parent of %d: %d, sibling %d", x, x.parent(), x.sibling())
			}
			if x == v.Root && v.Parent[i] != nil {
				t.Errorf("root %d has a parent", x)
			}
		}
	})
}

func TestVectorsCryptoBasics(t *testing.T) {
	type vector struct {
		Suite   CipherSuite `json:"cipher_suite"`
		RefHash struct {
			Label      string
			Value, Out hexBytes
		} `json:"ref_hash"`
		Expand struct {
			Secret  hexBytes
			Label   string
			Context hexBytes
			Length  int
			Out     hexBytes
		} `json:"expand_with_label"`
		Derive struct {
			Secret hexBytes
			Label  string
			Out    hexBytes
		} `json:"derive_secret"`
		Tree struct {
			Secret     hexBytes
			Label      string
			Generation uint32
			Length     int
			Out        hexBytes
		} `json:"derive_tree_secret"`
		Sign struct {
			Priv, Pub, Content, Signature hexBytes
			Label                         string
		} `json:"sign_with_label"`
		Encrypt struct {
			Priv, Pub, Context, Plaintext, Ciphertext hexBytes
			KEMOutput                                 hexBytes `json:"kem_output"`
			Label                                     string
		} `json:"encrypt_with_label"`
	}
	eachVector(t, "crypto-basics.json", func(v *vector) CipherSuite { return v.Suite }, func(t *testing.T, s *suite, v *vector) {
		wantBytes(t, "RefHash", s.refHash(v.RefHash.Label, v.RefHash.Value), v.RefHash.Out)
		wantBytes(t, "ExpandWithLabel", s.expandWithLabel(secret(v.Expand.Secret), v.Expand.Label, v.Expand.Context, v.Expand.Length), v.Expand.Out)
		wantBytes(t, "DeriveSecret", s.deriveSecret(secret(v.Derive.Secret), v.Derive.Label), v.Derive.Out)
		wantBytes(t, "DeriveTreeSecret", s.deriveTreeSecret(secret(v.Tree.Secret), v.Tree.Label, v.Tree.Generation, v.Tree.Length), v.Tree.Out)

		if err := s.verifyWithLabel(v.Sign.Pub, v.Sign.Label, v.Sign.Content, v.Sign.Signature); err != nil {
			t.Error(err)
		}
		k := must(ParseSignatureKey(v.Suite, v.Sign.Priv))(t)
		wantBytes(t, "public key", k.Public(), v.Sign.Pub)
		wantBytes(t, "private key", bytes.TrimLeft(must(k.Bytes())(t), "\x00"), bytes.TrimLeft(v.Sign.Priv, "\x00"))
		sig := must(s.signWithLabel(k, v.Sign.Label, v.Sign.Content))(t)
		if err := s.verifyWithLabel(v.Sign.Pub, v.Sign.Label, v.Sign.Content, sig); err != nil {
			t.Error(err)
		}
		sig[len(sig)/2] ^= 1
		if s.verifyWithLabel(v.Sign.Pub, v.Sign.Label, v.Sign.Content, sig) == nil {
			t.Error("a changed signature verifies")
		}

		e := &v.Encrypt
		ct := HPKECiphertext{e.KEMOutput, e.Ciphertext}
		wantBytes(t, "plaintext", must(s.decryptWithLabel(secret(e.Priv), e.Label, e.Context, ct))(t), e.Plaintext)
		ct = must(s.encryptWithLabel(e.Pub, e.Label, e.Context, e.Plaintext))(t)
		wantBytes(t, "plaintext again", must(s.decryptWithLabel(secret(e.Priv), e.Label, e.Context, ct))(t), e.Plaintext)
	})
}
