package mls

import "bytes"

// SignOutside signs message, as it is, for another protocol that shares the
// signature key of a leaf (RFC 9420 §5.1.1 has no such use; a member that proves
// something beside MLS does it with the key that its group knows). The other
// protocol must begin each message so that no two purposes can be confused; one
// that could be taken for a SignContent of MLS, which begins with the length of a
// label and "MLS 1.0 " (§5.1.2), is refused with ErrUsage.
func (k *SignaturePrivateKey) SignOutside(message []byte) ([]byte, error) {
	if looksLikeSignContent(message) {
		return nil, broken(ErrUsage, "5.1.2", "a message that begins as MLS's own do")
	}
	return k.scheme.sign(k.key, message)
}

// VerifyOutside checks what SignOutside of the owner of public made. The error
// matches ErrSignature, or ErrUnsupported for a suite that is not supported.
func VerifyOutside(cs CipherSuite, public, message, signature []byte) error {
	s, err := cs.suite()
	if err != nil {
		return err
	}
	if looksLikeSignContent(message) || !s.sig.verify(public, message, signature) {
		return broken(ErrSignature, "5.1.2", "outside of MLS")
	}
	return nil
}

func looksLikeSignContent(message []byte) bool {
	for _, skip := range []int{1, 2, 4} { // the forms of the label's length (§2.1.2)
		if len(message) > skip && bytes.HasPrefix(message[skip:], []byte(labelPrefix)) {
			return true
		}
	}
	return false
}
