package mls

// Credential names the person or thing behind a signature key (RFC 9420 §5.3).
// This package does not look into it; [Config.Authenticate] does.
type Credential struct {
	Type         CredentialType
	Identity     []byte   // if Type is CredentialBasic
	Certificates [][]byte // if Type is CredentialX509: DER, the end-entity's first
}

// BasicCredential is a bare identity in the application's encoding.
func BasicCredential(identity []byte) Credential {
	return Credential{Type: CredentialBasic, Identity: identity}
}

// X509Credential is a chain of DER certificates, the end-entity's first.
func X509Credential(certificates ...[]byte) Credential {
	return Credential{Type: CredentialX509, Certificates: certificates}
}

func (c *Credential) append(b []byte) []byte {
	b = appendUint16(b, c.Type)
	if c.Type == CredentialX509 {
		return appendVector(b, func(b []byte) []byte {
			for _, cert := range c.Certificates {
				b = appendOpaque(b, cert)
			}
			return b
		})
	}
	return appendOpaque(b, c.Identity)
}

// decodeCredential refuses unknown types: without the type the length of what
// follows is not known, and §13.5 keeps reserved values out of this field.
func decodeCredential(r *reader) Credential {
	c := Credential{Type: CredentialType(r.uint16())}
	switch c.Type {
	case CredentialBasic:
		c.Identity = r.opaque()
	case CredentialX509:
		in := r.vector()
		for in.more() {
			in.room(len(c.Certificates), maxFew)
			c.Certificates = append(c.Certificates, in.opaque())
		}
		r.join(in)
	default:
		if r.err == nil {
			r.failWith(broken(ErrUnsupported, "5.3", "credential type %#04x", uint16(c.Type)))
		}
	}
	return c
}

// check verifies what of §5.3 does not need the application: that the key in an
// X.509 end-entity certificate is the signature key.
func (c *Credential) check(s *suite, signatureKey []byte) error {
	if c.Type != CredentialX509 {
		return nil
	}
	if len(c.Certificates) == 0 {
		return broken(ErrLeafNode, "5.3", "X.509 credential without a certificate")
	}
	return checkCertificateKey(s, c.Certificates[0], signatureKey)
}
