package peers

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// Certificate is a self-signed certificate with its private key, as Murmur and
// the stock client make them for themselves (RSA, 2048 bits).
type Certificate struct {
	TLS     tls.Certificate
	DER     []byte // the certificate alone
	CertPEM []byte
	KeyPEM  []byte // PKCS#8
}

// NewCertificate makes a certificate for the name, valid for loopback addresses
// as well.
func NewCertificate(t testing.TB, name string) *Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatalf("peers: make a key: %v", err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatalf("peers: make a serial number: %v", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatalf("peers: make a certificate: %v", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatalf("peers: encode a key: %v", err)
	}
	return &Certificate{
		TLS:     tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		DER:     der,
		CertPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		KeyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}
}

// Hash is how Mumble names a certificate: SHA-1 of the DER form in lower-case
// hex (UserState.hash).
func (c *Certificate) Hash() string {
	sum := sha1.Sum(c.DER)
	return hex.EncodeToString(sum[:])
}

// Fingerprint is the SHA-256 of the DER form, which is what Sotto pins.
func (c *Certificate) Fingerprint() [32]byte { return sha256.Sum256(c.DER) }

// insecureConfig accepts any certificate: peers are found by port, and who needs
// to know compares the certificate afterwards.
func insecureConfig(own *Certificate) *tls.Config {
	cfg := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
	if own != nil {
		cfg.Certificates = []tls.Certificate{own.TLS}
	}
	return cfg
}
