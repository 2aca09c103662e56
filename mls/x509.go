package mls

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
)

// checkCertificateKey enforces RFC 9420 §5.3: "The public key encoded in the
// subjectPublicKeyInfo of the end-entity certificate MUST be identical to the
// signature_key in the LeafNode containing this credential." Chains, names and
// dates are the application's to judge, in Config.Authenticate.
func checkCertificateKey(s *suite, der, signatureKey []byte) error {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return brokenBy(ErrLeafNode, "5.3", err, "end-entity certificate")
	}
	var key []byte
	switch k := cert.PublicKey.(type) {
	case ed25519.PublicKey:
		key = k
	case *ecdsa.PublicKey:
		if key, err = k.Bytes(); err != nil {
			return brokenBy(ErrLeafNode, "5.3", err, "key of the end-entity certificate")
		}
	default:
		return broken(ErrLeafNode, "5.3", "end-entity certificate with a key that %s does not use", s.name)
	}
	if !bytes.Equal(key, signatureKey) {
		return broken(ErrLeafNode, "5.3", "signature_key is not the key of the end-entity certificate")
	}
	return nil
}
