package mls_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/mls"
)

// certify issues a certificate of name for key, by itself.
func certify(t *testing.T, name string, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now, NotAfter: now.Add(time.Hour),
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "issuer"}}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestX509Credentials(t *testing.T) {
	for _, cs := range []mls.CipherSuite{mls.X25519AES128GCM, mls.P256AES128GCM} {
		t.Run(cs.String(), func(t *testing.T) {
			profile := func(name string, right bool) mls.Profile {
				var key crypto.Signer
				var raw []byte
				var err error
				if cs == mls.X25519AES128GCM {
					_, k, e := ed25519.GenerateKey(nil)
					key, raw, err = k, k, e
				} else {
					k, e := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
					if e != nil {
						t.Fatal(e)
					}
					key = k
					raw, err = k.Bytes()
				}
				if err != nil {
					t.Fatal(err)
				}
				p := newProfile(t, cs, name)
				if right {
					if p.SignatureKey, err = mls.ParseSignatureKey(cs, raw); err != nil {
						t.Fatal(err)
					}
				}
				p.Credential = mls.X509Credential(certify(t, name, key), []byte("an intermediate"))
				p.Capabilities.Credentials = append(p.Capabilities.Credentials, mls.CredentialX509)
				return p
			}
			var asked []string
			cfg := testConfig()
			cfg.Authenticate = func(id mls.Identity) error {
				cert, err := x509.ParseCertificate(id.Credential.Certificates[0])
				if err != nil || len(id.Credential.Certificates) != 2 {
					return errors.New("not a chain of two")
				}
				asked = append(asked, cert.Subject.CommonName)
				return nil
			}
			g, err := mls.NewGroup(cfg, mls.GroupOptions{CipherSuite: cs, Profile: profile("A", true), Lifetime: lifetime()}, now)
			if err != nil {
				t.Fatal(err)
			}
			b, err := mls.NewKeyPackage(cs, profile("B", true), lifetime())
			if err != nil {
				t.Fatal(err)
			}
			c, err := g.Commit(mls.CommitOptions{Proposals: []mls.Proposal{mls.Add{KeyPackage: b.KeyPackage}}}, now)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := mls.Join(cfg, wire(t, &mls.Message{Welcome: c.Welcomes()[0]}).Welcome, b, mls.JoinOptions{}, now); err != nil {
				t.Fatal(err)
			}
			if len(asked) < 4 {
				t.Errorf("asked about %v", asked)
			}

			for name, edit := range map[string]func(*mls.Profile){
				"certificate of another key": func(p *mls.Profile) { *p = profile("C", false) },
				"no certificate":             func(p *mls.Profile) { p.Credential.Certificates = nil },
				"certificate that is none":   func(p *mls.Profile) { p.Credential.Certificates[0] = []byte("x") },
			} {
				p := profile("C", true)
				edit(&p)
				kp, err := mls.NewKeyPackage(cs, p, lifetime())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := kp.KeyPackage.Verify(cfg, now); !errors.Is(err, mls.ErrLeafNode) {
					t.Errorf("%s: %v", name, err)
				}
			}
			// Nobody may use a kind of credential that a member does not support.
			cfg.Authenticate = accept
			basic := newKeyPackage(t, cs, "basic")
			if _, err := g.Commit(mls.CommitOptions{Proposals: []mls.Proposal{mls.Add{KeyPackage: basic.KeyPackage}}}, now); !errors.Is(err, mls.ErrLeafNode) {
				t.Errorf("a member that does not support X.509: %v", err)
			}
		})
	}
}
