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

// ReadMumble says whose certificate a .p12 file holds, der, and keeps nothing.
// Password and errors are those of ImportMumble.
func ReadMumble(p12 []byte, password string) (whose *Imported, der []byte, err error) {
	whose, chain, _, err := readMumble(p12, password)
	if err != nil {
		return nil, nil, err
	}
	return whose, chain[0].Raw, nil
}

// ImportMumble remembers the certificate of a .p12 file, as the stock client
// exports it, in place of an earlier imported one. An empty password is tried
// in any case, because the client uses none unless told to; ErrPassword means
// that the file wants another one. Everything else that is wrong with the file
// is ErrPKCS12, and nothing is changed.
func (s *Store) ImportMumble(p12 []byte, password string) (*Imported, error) {
	imported, _, b, err := readMumble(p12, password)
	if err != nil {
		return nil, err
	}
	unlock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := writeFile(s.path("mumble.pem"), b); err != nil {
		return nil, err
	}
	return imported, nil
}

// readMumble reads a .p12 file; pem is what mumble.pem would hold.
func readMumble(p12 []byte, password string) (imported *Imported, chain []*x509.Certificate, pem []byte, err error) {
	if len(p12) > maxPKCS12 {
		return nil, nil, nil, badPKCS12("longer than 1 MiB")
	}
	if err := checkIterations(p12); err != nil {
		return nil, nil, nil, err
	}
	key, chain, err := decodePKCS12(p12, password)
	if errors.Is(err, ErrPassword) && password != "" {
		if k, c, again := decodePKCS12(p12, ""); again == nil {
			key, chain, err = k, c, nil
		}
	}
	if err != nil {
		return nil, nil, nil, err
	}
	ders := make([][]byte, len(chain))
	for i, c := range chain {
		ders[i] = c.Raw
	}
	pem, err = encodePEM(ders, key)
	if err != nil {
		return nil, nil, nil, badPKCS12(err.Error())
	}
	if len(pem) > maxFile {
		return nil, nil, nil, badPKCS12("too many certificates")
	}
	if _, err := parsePEM("", pem); err != nil {
		return nil, nil, nil, badPKCS12("certificate and key cannot be used for TLS")
	}
	leaf := chain[0]
	hash := sha1.Sum(leaf.Raw)
	return &Imported{
		Name: leaf.Subject.CommonName, Hash: hex.EncodeToString(hash[:]),
		NotAfter: leaf.NotAfter, Expired: time.Now().After(leaf.NotAfter), Chain: len(chain) - 1,
	}, chain, pem, nil
}

// HasMumble reports whether a certificate was imported.
func (s *Store) HasMumble() (bool, error) {
	_, err := readFile(s.path("mumble.pem"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Decline remembers that the user does not want the certificate with this hash
// (Imported.Hash) to be imported, so that nobody asks again. It takes the place of
// an earlier one.
func (s *Store) Decline(hash string) error {
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return writeFile(s.path("declined"), []byte(hash+"\n"))
}

// Declined reports whether Decline was last called with this hash.
func (s *Store) Declined(hash string) (bool, error) {
	b, err := readFile(s.path("declined"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && string(b) == hash+"\n", err
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
