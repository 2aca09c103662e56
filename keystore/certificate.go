package keystore

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// certYears is the life of the certificates we make: Mumble clients and servers
// pin them, so a renewal would be an alarm.
const certYears = 20

// makeCertificate returns a fresh self-signed ECDSA P-256 certificate and its
// key as PEM.
func makeCertificate(t *x509.Certificate) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("keystore: make a key: %w", err)
	}
	var serial [16]byte
	rand.Read(serial[:])
	serial[0] &= 0x7f
	t.SerialNumber = new(big.Int).SetBytes(serial[:])
	now := time.Now()
	t.NotBefore = now.Add(-24 * time.Hour) // for a peer whose clock is behind
	t.NotAfter = now.AddDate(certYears, 0, 0)
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("keystore: make a certificate: %w", err)
	}
	return encodePEM([][]byte{der}, key)
}

// guardTemplate is what the listener on loopback shows: with these names the
// stock client complains about one thing only, that it is self-signed.
func guardTemplate() *x509.Certificate {
	return &x509.Certificate{
		Subject:     pkix.Name{CommonName: "Sotto guard"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv6loopback, net.IPv4(127, 0, 0, 1)},
	}
}

// ownTemplate is what guard shows to servers for somebody without an imported
// certificate. Murmur looks at its hash only; the name is that of the
// certificates which stock clients make by themselves.
func ownTemplate() *x509.Certificate {
	return &x509.Certificate{
		Subject:     pkix.Name{CommonName: "Mumble User"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

// encodePEM writes a chain, the leaf first, and the key of the leaf.
func encodePEM(chain [][]byte, key any) ([]byte, error) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	var b bytes.Buffer
	for _, der := range chain {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der}) // a Buffer takes everything
	}
	pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	return b.Bytes(), nil
}

// parsePEM reads what encodePEM wrote. It checks that the key is the leaf's.
func parsePEM(path string, b []byte) (tls.Certificate, error) {
	c, err := tls.X509KeyPair(b, b)
	if err != nil {
		return tls.Certificate{}, corrupt(path, err.Error())
	}
	return c, nil
}

// OwnCertificate returns guard's own Mumble certificate, for servers that never
// saw another one of this person. The first call ever makes it.
func (s *Store) OwnCertificate() (tls.Certificate, error) {
	path := s.path("own.pem")
	b, err := s.readOrMake(path, func() ([]byte, error) { return makeCertificate(ownTemplate()) })
	if err != nil {
		return tls.Certificate{}, err
	}
	return parsePEM(path, b)
}

// TLSCertificate returns what guard's listener for this server shows to the
// stock client: valid for ::1, 127.0.0.1 and localhost, kept for good. The
// first call makes it.
func (s *Server) TLSCertificate() (tls.Certificate, error) {
	path := s.path("guard.pem")
	b, err := s.store.readOrMake(path, func() ([]byte, error) { return makeCertificate(guardTemplate()) })
	if err != nil {
		return tls.Certificate{}, err
	}
	return parsePEM(path, b)
}
