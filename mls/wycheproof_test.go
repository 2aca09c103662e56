package mls

import (
	"bytes"
	"crypto/hkdf"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// wycheproofTest has the fields of all the kinds of tests that are used here.
type wycheproofTest struct {
	ID                       int `json:"tcId"`
	Flags                    []string
	Result                   string
	Msg, Sig                 hexBytes
	Key, IV, AAD, CT, Tag    hexBytes
	IKM, Salt, Info, OKM, EK hexBytes
	Size                     int
	Public, Private          hexBytes
}

type wycheproofGroup struct {
	IVSize, TagSize, KeySize int
	PublicKey                struct {
		PK, Uncompressed hexBytes
	}
	Tests []wycheproofTest
}

// TestWycheproof runs the vectors of github.com/c2sp/wycheproof through the
// primitives as this package calls them. The nested module mls/wycheproof knows
// where they are and says so in SOTTO_WYCHEPROOF.
func TestWycheproof(t *testing.T) {
	dir := os.Getenv("SOTTO_WYCHEPROOF")
	if dir == "" {
		t.Skip("no SOTTO_WYCHEPROOF: run the tests of mls/wycheproof")
	}
	suiteOf := func(cs CipherSuite) *suite { return must(cs.suite())(t) }
	s1, s2, s3, s5, s7, pq := suiteOf(1), suiteOf(2), suiteOf(3), suiteOf(5), suiteOf(7), suiteOf(MLKEM768X25519AES128GCM)

	signature := func(s *suite) func(*wycheproofGroup, *wycheproofTest) (bool, bool) {
		return func(g *wycheproofGroup, c *wycheproofTest) (bool, bool) {
			return s.sig.verify(append(g.PublicKey.PK, g.PublicKey.Uncompressed...), c.Msg, c.Sig), true
		}
	}
	aead := func(of ...*suite) func(*wycheproofGroup, *wycheproofTest) (bool, bool) {
		return func(g *wycheproofGroup, c *wycheproofTest) (bool, bool) {
			k := slices.IndexFunc(of, func(s *suite) bool { return s.nk*8 == g.KeySize })
			if k < 0 || g.IVSize != 8*nn || g.TagSize != 128 {
				return false, false
			}
			whole := slices.Concat(c.CT, c.Tag)
			if c.Result == "valid" && !bytes.Equal(of[k].aeadSeal(secret(c.Key), secret(c.IV), c.AAD, c.Msg), whole) {
				return false, true
			}
			plain, err := of[k].aeadOpen(secret(c.Key), secret(c.IV), c.AAD, whole)
			return err == nil && bytes.Equal(plain, c.Msg), true
		}
	}
	derive := func(s *suite) func(*wycheproofGroup, *wycheproofTest) (bool, bool) {
		return func(_ *wycheproofGroup, c *wycheproofTest) (bool, bool) {
			out, err := hkdf.Expand(s.newHash, s.extract(secret(c.Salt), secret(c.IKM)), string(c.Info), c.Size)
			return err == nil && bytes.Equal(out, c.OKM), true
		}
	}
	mac := func(s *suite) func(*wycheproofGroup, *wycheproofTest) (bool, bool) {
		return func(g *wycheproofGroup, c *wycheproofTest) (bool, bool) {
			return s.verifyMAC(secret(c.Key), c.Msg, c.Tag), g.TagSize == 8*s.nh
		}
	}
	for _, f := range []struct {
		file string
		run  func(*wycheproofGroup, *wycheproofTest) (ok, applies bool)
	}{
		{"ed25519_test.json", signature(s1)},
		{"ecdsa_secp256r1_sha256_test.json", signature(s2)},
		{"ecdsa_secp521r1_sha512_test.json", signature(s5)},
		{"ecdsa_secp384r1_sha384_test.json", signature(s7)},
		{"aes_gcm_test.json", aead(s1, s5)},
		{"chacha20_poly1305_test.json", aead(s3)},
		{"hkdf_sha256_test.json", derive(s1)},
		{"hkdf_sha384_test.json", derive(s7)},
		{"hkdf_sha512_test.json", derive(s5)},
		{"hmac_sha256_test.json", mac(s1)},
		{"hmac_sha384_test.json", mac(s7)},
		{"hmac_sha512_test.json", mac(s5)},
		// A shared secret of zero must be an error, and such keys are refused before
		// anybody encrypts to them; all else agrees on some secret.
		{"x25519_test.json", func(_ *wycheproofGroup, c *wycheproofTest) (bool, bool) {
			_, err := s1.hpke.exportFrom(secret(c.Private), c.Public, "test", 32)
			low := s1.hpke.check(c.Public) != nil
			if zero := slices.Contains(c.Flags, "ZeroSharedSecret"); zero {
				return err != nil && low, true
			}
			return err == nil && !low, true
		}},
		{"mlkem_768_encaps_test.json", func(_ *wycheproofGroup, c *wycheproofTest) (bool, bool) {
			base := append([]byte{9}, make([]byte, 31)...) // any X25519 key
			return pq.hpke.check(append(bytes.Clone(c.EK), base...)) == nil, true
		}},
	} {
		b, err := os.ReadFile(filepath.Join(dir, "testvectors_v1", f.file))
		if err != nil {
			t.Fatal(err)
		}
		var v struct{ TestGroups []wycheproofGroup }
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		n := 0
		for i := range v.TestGroups {
			for k := range v.TestGroups[i].Tests {
				c := &v.TestGroups[i].Tests[k]
				ok, applies := f.run(&v.TestGroups[i], c)
				if !applies {
					continue
				}
				n++
				if want := c.Result == "valid"; ok != want && c.Result != "acceptable" || c.Result == "acceptable" && !ok && f.file == "x25519_test.json" {
					t.Errorf("%s: test %d is %s, got %v", f.file, c.ID, c.Result, ok)
				}
			}
		}
		if n == 0 {
			t.Errorf("%s: no test applies", f.file)
		}
		t.Logf("%s: %d tests", f.file, n)
	}
}
