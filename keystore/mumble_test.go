package keystore_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/sotto-voip/sotto/keystore"
)

// rsaKey is one key for all tests: making one takes long.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// cert makes a certificate of key, signed by the parent or by itself.
func cert(t testing.TB, name string, key crypto.Signer, until time.Time, parent *x509.Certificate, parentKey crypto.Signer) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: until.AddDate(-20, 0, 0), NotAfter: until, IsCA: parent == nil, BasicConstraintsValid: true,
	}
	if parent == nil {
		parent, parentKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	x, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func p12(t testing.TB, enc *pkcs12.Encoder, key any, leaf *x509.Certificate, chain []*x509.Certificate, password string) []byte {
	t.Helper()
	b, err := enc.Encode(key, leaf, chain, password)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// legacyP12 is what the stock client exports: RSA 2048, old algorithms, no password.
func legacyP12(t testing.TB) []byte {
	return p12(t, pkcs12.LegacyRC2, rsaKey(), cert(t, "alice", rsaKey(), time.Now().AddDate(1, 0, 0), nil, nil), nil, "")
}

func TestImport(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	later, earlier := time.Now().AddDate(1, 0, 0), time.Now().AddDate(-1, 0, 0)
	ca := cert(t, "ca", caKey, later, nil, nil)
	rsaCert, ecCert := cert(t, "alice", rsaKey(), later, nil, nil), cert(t, "bob", ec, later, ca, caKey)
	old := cert(t, "old", ec, earlier, nil, nil)
	cas := []*x509.Certificate{ca}
	for _, tt := range []struct {
		name     string
		p12      []byte
		password string
		err      error
		leaf     *x509.Certificate
		chain    int
	}{
		{"the stock client's", p12(t, pkcs12.LegacyRC2, rsaKey(), rsaCert, nil, ""), "", nil, rsaCert, 0},
		{"triple DES", p12(t, pkcs12.LegacyDES, rsaKey(), rsaCert, nil, ""), "", nil, rsaCert, 0},
		{"modern", p12(t, pkcs12.Modern2023, ec, ecCert, nil, ""), "", nil, ecCert, 0},
		{"the newest", p12(t, pkcs12.Modern2026, ec, ecCert, nil, "secret"), "secret", nil, ecCert, 0},
		{"not encrypted", p12(t, pkcs12.Passwordless, ec, ecCert, nil, ""), "", nil, ecCert, 0},
		{"with a password", p12(t, pkcs12.LegacyRC2, rsaKey(), rsaCert, nil, "secret"), "secret", nil, rsaCert, 0},
		{"with a password not given", p12(t, pkcs12.LegacyRC2, rsaKey(), rsaCert, nil, "secret"), "", keystore.ErrPassword, nil, 0},
		{"with another password", p12(t, pkcs12.Modern2023, rsaKey(), rsaCert, nil, "secret"), "Secret", keystore.ErrPassword, nil, 0},
		{"without the password given", p12(t, pkcs12.LegacyRC2, rsaKey(), rsaCert, nil, ""), "secret", nil, rsaCert, 0},
		{"with its authority", p12(t, pkcs12.LegacyDES, ec, ecCert, cas, ""), "", nil, ecCert, 1},
		{"its authority first", p12(t, pkcs12.Passwordless, ec, ca, []*x509.Certificate{ecCert}, ""), "", nil, ecCert, 1},
		{"expired", p12(t, pkcs12.LegacyDES, ec, old, nil, ""), "", nil, old, 0},
		{"somebody else's key", p12(t, pkcs12.Passwordless, caKey, ecCert, nil, ""), "", keystore.ErrPKCS12, nil, 0},
		{"too many certificates", p12(t, pkcs12.Passwordless, ec, ecCert, bytesOf(ca, 20), ""), "", keystore.ErrPKCS12, nil, 0},
		{"no file", nil, "", keystore.ErrPKCS12, nil, 0},
		{"something else", []byte("-----BEGIN CERTIFICATE-----"), "", keystore.ErrPKCS12, nil, 0},
		{"huge", make([]byte, 2<<20), "", keystore.ErrPKCS12, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := stateDir(t)
			s := open(t, dir)
			got, err := s.ImportMumble(tt.p12, tt.password)
			c, imported, certErr := s.MumbleCertificate()
			if certErr != nil {
				t.Fatal(certErr)
			}
			if tt.err != nil {
				if !errors.Is(err, tt.err) || hintOf(err) == "" || imported {
					t.Errorf("%v, hint %q, imported %v", err, hintOf(err), imported)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			hash := sha1.Sum(tt.leaf.Raw)
			want := keystore.Imported{
				Name: tt.leaf.Subject.CommonName, Hash: hex.EncodeToString(hash[:]), NotAfter: tt.leaf.NotAfter,
				Expired: tt.leaf == old, Chain: tt.chain,
			}
			if *got != want {
				t.Errorf("%+v, want %+v", *got, want)
			}
			if !imported || !bytes.Equal(c.Certificate[0], tt.leaf.Raw) || len(c.Certificate) != 1+tt.chain {
				t.Errorf("imported %v, %d certificates", imported, len(c.Certificate))
			}
			if tt.chain == 1 && !bytes.Equal(c.Certificate[1], ca.Raw) {
				t.Error("the authority was lost")
			}
			signer := c.PrivateKey.(crypto.Signer)
			if pub, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(tt.leaf.PublicKey) {
				t.Error("another key")
			}
			wantPrivate(t, dir)
		})
	}
}

func hintOf(err error) string {
	var e *keystore.Error
	if errors.As(err, &e) {
		return e.Hint()
	}
	return ""
}

func bytesOf(c *x509.Certificate, n int) (out []*x509.Certificate) {
	for range n {
		out = append(out, c)
	}
	return out
}

// TestImportAgain: a new import replaces the old one, a failed one does not.
func TestImportAgain(t *testing.T) {
	s := open(t, stateDir(t))
	later := time.Now().AddDate(1, 0, 0)
	first, second := cert(t, "first", rsaKey(), later, nil, nil), cert(t, "second", rsaKey(), later, nil, nil)
	for _, c := range []*x509.Certificate{first, second} {
		if _, err := s.ImportMumble(p12(t, pkcs12.LegacyRC2, rsaKey(), c, nil, ""), ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.ImportMumble([]byte("rubbish"), ""); err == nil {
		t.Fatal("rubbish was imported")
	}
	if c, imported, err := s.MumbleCertificate(); err != nil || !imported || !bytes.Equal(c.Certificate[0], second.Raw) {
		t.Errorf("imported %v, %v", imported, err)
	}
}

// TestIterations: a file that asks for an hour of work is refused at once,
// wherever the number stands.
func TestIterations(t *testing.T) {
	s := open(t, stateDir(t))
	leaf := cert(t, "alice", rsaKey(), time.Now().AddDate(1, 0, 0), nil, nil)
	for name, enc := range map[string]*pkcs12.Encoder{"legacy": pkcs12.LegacyRC2, "modern": pkcs12.Modern2023, "newest": pkcs12.Modern2026} {
		// A count of three bytes, 02 03 01 02 03, enlarged in place.
		plain := p12(t, enc.WithIterations(0x10203), rsaKey(), leaf, nil, "")
		if _, err := s.ImportMumble(plain, ""); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		mark := []byte{2, 3, 1, 2, 3}
		if n := bytes.Count(plain, mark); n < 2 {
			t.Fatalf("%s: %d iteration counts found", name, n)
		}
		for at, i := 0, 0; ; i++ {
			k := bytes.Index(plain[at:], mark)
			if k < 0 {
				break
			}
			at += k + len(mark)
			bad := bytes.Clone(plain)
			copy(bad[at-3:], []byte{0x7f, 0xff, 0xff})
			start := time.Now()
			if _, err := s.ImportMumble(bad, ""); !errors.Is(err, keystore.ErrPKCS12) {
				t.Errorf("%s, count %d: %v", name, i, err)
			}
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("%s, count %d: refused after %v", name, i, d)
			}
		}
	}
}

func FuzzImportMumble(f *testing.F) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	leaf := cert(f, "a", ec, time.Now().AddDate(1, 0, 0), nil, nil)
	f.Add(p12(f, pkcs12.LegacyRC2.WithIterations(1), ec, leaf, nil, ""))
	f.Add(p12(f, pkcs12.Modern2023.WithIterations(1), ec, leaf, nil, ""))
	f.Add(p12(f, pkcs12.Passwordless, ec, leaf, nil, ""))
	dir := stateDir(f)
	s := open(f, dir)
	f.Fuzz(func(t *testing.T, b []byte) {
		os.Remove(filepath.Join(dir, "mumble.pem"))
		_, err := s.ImportMumble(b, "")
		if err != nil {
			if !errors.Is(err, keystore.ErrPKCS12) && !errors.Is(err, keystore.ErrPassword) {
				t.Errorf("%v", err)
			}
			if _, err := os.Stat(filepath.Join(dir, "mumble.pem")); err == nil {
				t.Error("a failed import wrote something")
			}
			return
		}
		if _, imported, err := s.MumbleCertificate(); !imported || err != nil {
			t.Errorf("imported %v, %v", imported, err)
		}
	})
}
