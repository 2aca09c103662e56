package client

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"
)

// signed makes a certificate for host, by parent or by itself.
func signed(t *testing.T, host string, ca bool, life time.Duration, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(life),
		IsCA: ca, BasicConstraintsValid: true,
	}
	if !ca {
		tmpl.DNSNames = []string{host}
	}
	if parent == nil {
		parent, by = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// MS21: where roots decide, a certificate must be in time, for this name, and lead
// to one of them, over what the server shows beside it.
func TestRoots(t *testing.T) {
	root, rootKey := signed(t, "root", true, time.Hour, nil, nil)
	middle, middleKey := signed(t, "middle", true, time.Hour, root, rootKey)
	good, _ := signed(t, "voice.example.org", false, time.Hour, middle, middleKey)
	expired, _ := signed(t, "voice.example.org", false, -time.Hour, middle, middleKey)
	wrong, _ := signed(t, "other.example.org", false, time.Hour, middle, middleKey)
	nobody, _ := signed(t, "voice.example.org", false, time.Hour, nil, nil)
	pool := x509.NewCertPool()
	pool.AddCert(root)
	for _, c := range []struct {
		what  string
		chain []*x509.Certificate
		ok    bool
	}{
		{"good", []*x509.Certificate{good, middle}, true},
		{"without what lies between", []*x509.Certificate{good}, false},
		{"expired", []*x509.Certificate{expired, middle}, false},
		{"for another name", []*x509.Certificate{wrong, middle}, false},
		{"signed by nobody", []*x509.Certificate{nobody, middle}, false},
		{"a good one behind it", []*x509.Certificate{nobody, good, middle}, false},
	} {
		if err := roots("voice.example.org", pool)(raw(c.chain)); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// MS21: what is held against a certificate is said in words, each trouble by itself.
func TestCertificateTrouble(t *testing.T) {
	root, rootKey := signed(t, "root", true, time.Hour, nil, nil)
	middle, middleKey := signed(t, "middle", true, time.Hour, root, rootKey)
	good, _ := signed(t, "voice.example.org", false, time.Hour, middle, middleKey)
	expired, _ := signed(t, "voice.example.org", false, -time.Hour, middle, middleKey)
	wrong, _ := signed(t, "other.example.org", false, time.Hour, middle, middleKey)
	nobody, _ := signed(t, "voice.example.org", false, time.Hour, nil, nil)
	all, _ := signed(t, "other.example.org", false, -time.Hour, nil, nil)
	pool := x509.NewCertPool()
	pool.AddCert(root)
	now := time.Now()
	const unsigned = "nobody whom this computer trusts has signed it"
	for _, c := range []struct {
		what  string
		chain []*x509.Certificate
		at    time.Time
		want  string
	}{
		{"good", []*x509.Certificate{good, middle}, now, ""},
		{"expired", []*x509.Certificate{expired, middle}, now, "it expired on " + expired.NotAfter.UTC().Format(time.DateOnly)},
		{"not begun", []*x509.Certificate{good, middle}, now.Add(-3 * time.Hour), "it is not valid before " + good.NotBefore.UTC().Format(time.DateOnly)},
		{"for another name", []*x509.Certificate{wrong, middle}, now, "it is for another name"},
		{"signed by nobody", []*x509.Certificate{nobody, middle}, now, unsigned},
		{"without what lies between", []*x509.Certificate{good}, now, unsigned},
		{"everything", []*x509.Certificate{all}, now, "it expired on " + all.NotAfter.UTC().Format(time.DateOnly) + ", and it is for another name, and " + unsigned},
		{"none", nil, now, "there is none"},
	} {
		if got := trouble("voice.example.org", raw(c.chain), c.at, pool); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	if got := CertificateTrouble("voice.example.org", [][]byte{{1}}, now); got != "it cannot be read" {
		t.Errorf("junk: %q", got)
	}
}
