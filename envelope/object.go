package envelope

import (
	"crypto/sha256"
	"errors"
	"fmt"
)

// Kind says what an object is (Sotto protocol §1.1).
type Kind uint8

// The objects of version 1. All other kinds are unknown; a receiver ignores them.
const (
	KindHello             Kind = 0x01
	KindMLSMessage        Kind = 0x02 // PrivateMessage: Commit or application data
	KindWelcome           Kind = 0x03
	KindRef               Kind = 0x04
	KindWant              Kind = 0x05
	KindBeacon            Kind = 0x06
	KindKeyPackageRequest Kind = 0x07
	KindKeyPackageReply   Kind = 0x08
	KindReport            Kind = 0x09
	KindSecretReady       Kind = 0x0A
	KindSecretText        Kind = 0x0B
	KindProbe             Kind = 0x0C // body: nonce[8], to oneself only
	KindPresence          Kind = 0x0D
)

// ProbeLen is the length of a Probe's body: an opaque nonce.
const ProbeLen = 8

var kindNames = [...]string{
	KindHello: "Hello", KindMLSMessage: "MLSMessage", KindWelcome: "Welcome", KindRef: "Ref",
	KindWant: "Want", KindBeacon: "Beacon", KindKeyPackageRequest: "KeyPackageRequest",
	KindKeyPackageReply: "KeyPackageReply", KindReport: "Report", KindSecretReady: "SecretReady",
	KindSecretText: "SecretText", KindProbe: "Probe", KindPresence: "Presence",
}

// Known reports whether version 1 gives k a meaning.
func (k Kind) Known() bool { return k >= KindHello && k <= KindPresence }

// String returns the name of the protocol page, or the number of an unknown kind.
func (k Kind) String() string {
	if k.Known() {
		return kindNames[k]
	}
	return fmt.Sprintf("kind 0x%02X", uint8(k))
}

// Ref names an object by all of its bytes.
type Ref [sha256.Size]byte

// ID is the first eight bytes of a Ref. It ties the parts of an object together
// and guards against mistakes, not against malice: 64 bits can be collided.
type ID [8]byte

// ID returns the short name that parts carry.
func (r Ref) ID() ID { return ID(r[:8]) }

// Object is one message of the handshake or of text, whole.
type Object struct {
	Kind Kind
	Body []byte
}

const refLabel = "sotto/1 object"

// Ref returns SHA-256("sotto/1 object" || kind || body).
func (o Object) Ref() Ref {
	h := sha256.New()
	h.Write([]byte(refLabel))
	h.Write([]byte{byte(o.Kind)})
	h.Write(o.Body)
	return Ref(h.Sum(nil))
}

// Errors of this package, besides the typed [LengthError].
var (
	ErrVersion   = errors.New("envelope: unknown version")
	ErrIndex     = errors.New("envelope: part index or count out of range")
	ErrEmpty     = errors.New("envelope: nothing inside")
	ErrTooLong   = errors.New("envelope: too long")
	ErrPartLen   = errors.New("envelope: part of the wrong length")
	ErrTruncated = errors.New("envelope: ends too early")
	ErrNotSingle = errors.New("envelope: one part of several")
	ErrID        = errors.New("envelope: bytes do not match the id")
	ErrText      = errors.New("envelope: text is no part of an object")
	ErrVoiceKind = errors.New("envelope: no such voice kind")
)

// LengthError says by how much something is too long. It is ErrTooLong to
// [errors.Is].
type LengthError struct {
	What     string // what was measured
	Len, Max int    // in bytes
}

// Error implements error.
func (e *LengthError) Error() string {
	return fmt.Sprintf("envelope: %s of %d bytes, at most %d fit", e.What, e.Len, e.Max)
}

// Is reports whether target is ErrTooLong.
func (e *LengthError) Is(target error) bool { return target == ErrTooLong }
