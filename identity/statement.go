package identity

import (
	"encoding/binary"
	"errors"
	"slices"
)

// ErrStatement means that bytes are not an identity statement of version 1.
// The errors of ParseStatement and Verify are ErrStatement or ErrPublicKey.
var ErrStatement = errors.New("identity: not a sound identity statement")

// Bounds of a statement in bytes (Sotto protocol §2.2).
const (
	MaxExtra     = 512
	MaxStatement = statementHead + 64 + 64 + 2 + MaxExtra

	statementVersion = 1
	modeSigned       = 0
	statementHead    = 2 + 1 + 32 + 32 + 8
)

// RecordCertificate is the type of the record in Extra that proves a Mumble
// certificate.
const RecordCertificate uint16 = 1

// Statement says whose a leaf is: the identity of a basic credential of MLS
// (Sotto protocol §2.2).
//
//	uint16 version = 1; uint8 mode = 0; opaque identity_key[32]; opaque device_key[32];
//	uint64 device_not_after; opaque device_signature[64]; opaque session_signature[64];
//	opaque extra<V>
//
// A parsed Statement is a claim until Verify has said that it is true. What a
// true one is worth, and whether the device has expired, is not its matter.
type Statement struct {
	Identity         PublicKey
	Device           PublicKey
	DeviceNotAfter   uint64   // Unix seconds, 0 for never
	DeviceSignature  [64]byte // by Identity, over version, Identity, Device, DeviceNotAfter
	SessionSignature [64]byte // by Device, over session key, server, session
	Extra            []byte   // records {uint16 type; opaque data<V>}, at most MaxExtra bytes
}

// SHA256 is a hash of that name; of a server's certificate in DER here.
type SHA256 [32]byte

// deviceContent is what the identity signs for a device.
func deviceContent(identity, device PublicKey, notAfter uint64) []byte {
	b := binary.BigEndian.AppendUint16(make([]byte, 0, 74), statementVersion)
	b = append(append(b, identity[:]...), device[:]...)
	return binary.BigEndian.AppendUint64(b, notAfter)
}

// sessionContent is what the device signs for a connection.
func sessionContent(sessionKey PublicKey, server SHA256, session uint32) []byte {
	b := append(make([]byte, 0, 68), sessionKey[:]...)
	return binary.BigEndian.AppendUint32(append(b, server[:]...), session)
}

// Append appends the bytes of s. It writes what it is given; what the protocol
// forbids is refused by ParseStatement.
func (s Statement) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(slices.Grow(dst, MaxStatement), statementVersion)
	dst = append(dst, modeSigned)
	dst = append(append(dst, s.Identity[:]...), s.Device[:]...)
	dst = binary.BigEndian.AppendUint64(dst, s.DeviceNotAfter)
	dst = append(append(dst, s.DeviceSignature[:]...), s.SessionSignature[:]...)
	return append(appendLength(dst, len(s.Extra)), s.Extra...)
}

// ParseStatement reads a statement, all of b. It checks the shape, the two keys
// (Check) and the records, not the signatures. A mode other than 0 is an error,
// for version 1 has no other. Extra aliases b.
func ParseStatement(b []byte) (Statement, error) {
	if len(b) < statementHead+128 || len(b) > MaxStatement ||
		binary.BigEndian.Uint16(b) != statementVersion || b[2] != modeSigned {
		return Statement{}, ErrStatement
	}
	s := Statement{
		Identity: PublicKey(b[3:35]), Device: PublicKey(b[35:67]),
		DeviceNotAfter:  binary.BigEndian.Uint64(b[67:75]),
		DeviceSignature: [64]byte(b[75:139]), SessionSignature: [64]byte(b[139:203]),
	}
	extra, rest, ok := cutVector(b[203:])
	if !ok || len(rest) > 0 || len(extra) > MaxExtra || !soundRecords(extra) {
		return Statement{}, ErrStatement
	}
	s.Extra = extra
	for _, p := range []PublicKey{s.Identity, s.Device} {
		if err := p.Check(); err != nil {
			return Statement{}, err
		}
	}
	return s, nil
}

// Verify returns nil if both signatures are true for the leaf key sessionKey on
// the connection session at the server with this certificate, and all three
// keys pass Check. The three values come from the leaf that the statement
// stands in, never from the statement.
func (s Statement) Verify(sessionKey PublicKey, server SHA256, session uint32) error {
	for _, p := range []PublicKey{s.Identity, s.Device, sessionKey} {
		if err := p.Check(); err != nil {
			return err
		}
	}
	if !s.Identity.Verify(LabelDevice, deviceContent(s.Identity, s.Device, s.DeviceNotAfter), s.DeviceSignature[:]) ||
		!s.Device.Verify(LabelSession, sessionContent(sessionKey, server, session), s.SessionSignature[:]) {
		return ErrStatement
	}
	return nil
}

// Record returns the data of the first record of a type in Extra; it aliases
// Extra. Records of unknown types mean nothing.
func (s Statement) Record(kind uint16) (data []byte, ok bool) {
	for b := s.Extra; len(b) >= 2; {
		k := binary.BigEndian.Uint16(b)
		data, rest, ok := cutVector(b[2:])
		if !ok {
			return nil, false
		}
		if k == kind {
			return data, true
		}
		b = rest
	}
	return nil, false
}

// AppendRecord appends a record to what becomes the Extra of a statement.
func AppendRecord(dst []byte, kind uint16, data []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, kind)
	return append(appendLength(dst, len(data)), data...)
}

func soundRecords(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 2 {
			return false
		}
		_, rest, ok := cutVector(b[2:])
		if !ok {
			return false
		}
		b = rest
	}
	return true
}

// cutVector cuts opaque<V> off b (RFC 9420 §2.1.2). A length that is not in its
// shortest form is not accepted; one of four bytes is beyond all bounds here.
func cutVector(b []byte) (v, rest []byte, ok bool) {
	if len(b) < 1 {
		return nil, nil, false
	}
	n, b0 := int(b[0]&0x3f), b[0]>>6
	b = b[1:]
	switch b0 {
	case 0:
	case 1:
		if len(b) < 1 {
			return nil, nil, false
		}
		n, b = n<<8|int(b[0]), b[1:]
		if n < 1<<6 {
			return nil, nil, false
		}
	default:
		return nil, nil, false
	}
	if len(b) < n {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}
