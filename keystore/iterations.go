package keystore

import "encoding/asn1"

// maxIterations of stretching a password are believed. OpenSSL uses 2048, the
// slowest known tools one million; a file that says two thousand million would
// keep us busy for an hour.
const maxIterations = 4_000_000

// checkIterations looks through the DER of a .p12 (RFC 7292) for iteration
// counts. In all of its structures (MacData, pkcs-12PbeParams, PBKDF2-params)
// that is an INTEGER right behind an OCTET STRING, the salt. What is encrypted
// is not seen.
func checkIterations(der []byte) error {
	// A list instead of recursion: the file says how deep it goes. Each level
	// costs at most the file's length.
	const maxDepth = 24
	type piece struct {
		der    []byte
		depth  int
		string bool // the contents of a string, which may be ciphertext
	}
	for todo := []piece{{der: der}}; len(todo) > 0; {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if p.depth > maxDepth {
			return badPKCS12("nested too deeply")
		}
		values, ok := split(p.der)
		if !ok && p.string {
			continue // ciphertext, or an error that decoding will find
		}
		// Of a structure decoding reads what is before the junk, and skips that.
		salt := false
		for _, v := range values {
			universal := v.Class == asn1.ClassUniversal
			if salt && universal && v.Tag == asn1.TagInteger {
				var n int64
				if _, err := asn1.Unmarshal(v.FullBytes, &n); err != nil || n < 0 || n > maxIterations {
					return badPKCS12("its password is stretched too often")
				}
			}
			salt = universal && v.Tag == asn1.TagOctetString
			if v.IsCompound || salt {
				todo = append(todo, piece{v.Bytes, p.depth + 1, salt})
			}
		}
	}
	return nil
}

// split returns the values that b begins with, false if it is not DER to its last
// byte: ciphertext now and then begins like DER.
func split(b []byte) (values []asn1.RawValue, ok bool) {
	for len(b) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(b, &v)
		if err != nil {
			return values, false
		}
		values, b = append(values, v), rest
	}
	return values, true
}
