package keystore

import (
	"crypto"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// MumbleCertificate returns the certificate to show to servers: the imported
// one and true, else guard's own and false.
func (s *Store) MumbleCertificate() (c tls.Certificate, imported bool, err error) {
	path := s.path("mumble.pem")
	b, err := readFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c, err = s.OwnCertificate()
		return c, false, err
	case err != nil:
		return tls.Certificate{}, false, err
	}
	c, err = parsePEM(path, b)
	return c, err == nil, err
}

// Imported describes an imported certificate.
type Imported struct {
	Name     string // its common name
	Hash     string // SHA-1 in hex, by which Mumble servers and friends know it
	NotAfter time.Time
	Expired  bool // servers may refuse it; worth a warning
	Chain    int  // how many certificates of authorities came with it
}

const (
	maxPKCS12 = 1 << 20
	maxChain  = 16
)

// ImportMumble remembers the certificate of a .p12 file, as the stock client
// exports it, in place of an earlier imported one. An empty password is tried
// in any case, because the client uses none unless told to; ErrPassword means
// that the file wants another one. Everything else that is wrong with the file
// is ErrPKCS12, and nothing is changed.
func (s *Store) ImportMumble(p12 []byte, password string) (*Imported, error) {
	if len(p12) > maxPKCS12 {
		return nil, badPKCS12("longer than 1 MiB")
	}
	if err := checkIterations(p12); err != nil {
		return nil, err
	}
	key, chain, err := decodePKCS12(p12, password)
	if errors.Is(err, ErrPassword) && password != "" {
		if k, c, again := decodePKCS12(p12, ""); again == nil {
			key, chain, err = k, c, nil
		}
	}
	if err != nil {
		return nil, err
	}
	ders := make([][]byte, len(chain))
	for i, c := range chain {
		ders[i] = c.Raw
	}
	b, err := encodePEM(ders, key)
	if err != nil {
		return nil, badPKCS12(err.Error())
	}
	if len(b) > maxFile {
		return nil, badPKCS12("too many certificates")
	}
	path := s.path("mumble.pem")
	if _, err := parsePEM(path, b); err != nil {
		return nil, badPKCS12("certificate and key cannot be used for TLS")
	}
	unlock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := writeFile(path, b); err != nil {
		return nil, err
	}
	leaf := chain[0]
	hash := sha1.Sum(leaf.Raw)
	return &Imported{
		Name: leaf.Subject.CommonName, Hash: hex.EncodeToString(hash[:]),
		NotAfter: leaf.NotAfter, Expired: time.Now().After(leaf.NotAfter), Chain: len(chain) - 1,
	}, nil
}

func badPKCS12(why string) error {
	return &Error{Err: fmt.Errorf("%w: %s", ErrPKCS12, why), hint: "export the certificate again in Mumble: Configure, Certificate Wizard, Export"}
}

// decodePKCS12 returns the key of a .p12 and its chain, the leaf first: the
// certificate whose key it is, wherever it stands in the file.
func decodePKCS12(p12 []byte, password string) (crypto.Signer, []*x509.Certificate, error) {
	key, first, rest, err := pkcs12.DecodeChain(p12, password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword), errors.Is(err, pkcs12.ErrDecryption):
		return nil, nil, &Error{Err: ErrPassword, hint: "give the password with which the certificate was exported"}
	case err != nil:
		return nil, nil, badPKCS12(err.Error())
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, nil, badPKCS12("its key cannot sign")
	}
	if len(rest) >= maxChain {
		return nil, nil, badPKCS12("too many certificates")
	}
	pub, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return nil, nil, badPKCS12("its key is of an unknown kind")
	}
	all := append([]*x509.Certificate{first}, rest...)
	for i, c := range all {
		if pub.Equal(c.PublicKey) {
			chain := append([]*x509.Certificate{c}, all[:i]...)
			return signer, append(chain, all[i+1:]...), nil
		}
	}
	return nil, nil, badPKCS12("no certificate belongs to its key")
}
