package identity

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// ErrContact means that a text is not a contact string. The errors of
// ParseContact are ErrContact and say why; they do not repeat the text.
var ErrContact = errors.New("identity: not a contact string")

const contactHRP = "sotto"

// Records behind the key of a contact. Both are hints for display: pasting a
// contact verifies its key and nothing else.
const (
	recordName   = 1 // display name, at most 32 bytes of UTF-8
	recordServer = 2 // SHA-256 of a server certificate
)

// Contact returns the key as a contact string, sotto1..., of 65 characters: what
// a person pastes, prints or shows as a QR code (Sotto protocol §9.3).
func (p PublicKey) Contact() string {
	return encodeBech32m(contactHRP, append([]byte{keyVersion}, p[:]...))
}

// ParseContact reads a contact string: all of it, in lower case, with nothing
// around it. Its records are checked and ignored. The key passed Check.
func ParseContact(s string) (PublicKey, error) {
	data, err := decodeBech32m(contactHRP, s)
	if err != nil {
		return PublicKey{}, fmt.Errorf("%w: %w", ErrContact, err)
	}
	const head = 1 + len(PublicKey{})
	switch {
	case len(data) < head:
		return PublicKey{}, fmt.Errorf("%w: %w", ErrContact, errLength)
	case data[0] != keyVersion:
		return PublicKey{}, fmt.Errorf("%w: version %d is unknown", ErrContact, data[0])
	}
	p := PublicKey(data[1:head])
	if err := p.Check(); err != nil {
		return PublicKey{}, fmt.Errorf("%w: %w", ErrContact, err)
	}
	if err := checkRecords(data[head:]); err != nil {
		return PublicKey{}, fmt.Errorf("%w: %w", ErrContact, err)
	}
	return p, nil
}

func checkRecords(b []byte) error {
	for len(b) > 0 {
		if len(b) < 2 || len(b)-2 < int(b[1]) {
			return errors.New("a record ends too early")
		}
		kind, data := b[0], b[2:2+int(b[1])]
		b = b[2+int(b[1]):]
		switch kind {
		case recordName:
			if len(data) > 32 || !utf8.Valid(data) {
				return errors.New("impossible name")
			}
		case recordServer:
			if len(data) != 32 {
				return errors.New("impossible server certificate")
			}
		}
	}
	return nil
}
