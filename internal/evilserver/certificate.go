package evilserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"math/big"
	"time"
)

const maxCerts = 1024

// shown is a certificate made for a client.
type shown struct{ cert tls.Certificate }

// certificateFor returns what murmurd is shown for a client with that hash.
func (s *Server) certificateFor(own string) (tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.certs[own]; have != nil {
		return have.cert, nil
	}
	if len(s.certs) >= maxCerts {
		return tls.Certificate{}, errors.New("too many client certificates")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "Mumble User"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	have := &shown{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
	s.certs[own] = have
	s.hashes[mumbleHash(der)] = own
	return have.cert, nil
}

// mumbleHash is how Mumble names a certificate: SHA-1 in hex.
func mumbleHash(der []byte) string {
	sum := sha1.Sum(der)
	return hex.EncodeToString(sum[:])
}
