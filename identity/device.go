package identity

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"io"
)

// Device is a key of one installation, certified by its owner's identity. It
// signs for the fresh key of each connection. It does not print its secret,
// never changes and is safe for concurrent use; make one with NewDevice or
// ParseDevice, the zero value certifies nothing.
type Device struct {
	key       PrivateKey
	identity  PublicKey
	notAfter  uint64
	signature [64]byte
}

// deviceHRP makes a device key say what it is: sotto-device-1...
const deviceHRP = "sotto-device-"

// NewDevice makes a fresh device key and certifies it until notAfter, in Unix
// seconds, or without end for 0. For the zero PrivateKey the result is nil.
func (k PrivateKey) NewDevice(notAfter uint64) *Device { return k.certify(New(), notAfter) }

func (k PrivateKey) certify(key *PrivateKey, notAfter uint64) *Device {
	d := &Device{key: *key, identity: k.Public(), notAfter: notAfter}
	signature := k.Sign(LabelDevice, deviceContent(d.identity, key.Public(), notAfter))
	if signature == nil {
		return nil
	}
	d.signature = [64]byte(signature)
	return d
}

// ParseDevice reads what Export wrote, all of it, as a device of the identity
// k, which certifies it again: Ed25519 makes the same signature. An error is
// ErrPrivateKey.
func ParseDevice(text string, k *PrivateKey) (*Device, error) {
	data, err := decodeBech32m(deviceHRP, text)
	if err != nil || len(data) != 1+ed25519.SeedSize+8 || data[0] != keyVersion {
		return nil, ErrPrivateKey
	}
	d := k.certify(fromSeed(data[1:33]), binary.BigEndian.Uint64(data[33:]))
	if d == nil {
		return nil, ErrPrivateKey
	}
	return d, nil
}

// Export returns the device key and its end as text, to be stored where nobody
// else reads it; "" for the zero Device.
func (d Device) Export() string {
	if d.key.reveal == nil {
		return ""
	}
	data := append([]byte{keyVersion}, d.key.reveal().Seed()...)
	return encodeBech32m(deviceHRP, binary.BigEndian.AppendUint64(data, d.notAfter))
}

// Public returns the device's public key.
func (d Device) Public() PublicKey { return d.key.Public() }

// Identity returns the key that certified the device.
func (d Device) Identity() PublicKey { return d.identity }

// Statement signs for the leaf key sessionKey of the connection session at the
// server with this certificate. extra holds records (AppendRecord) and is not
// copied. The error is ErrPublicKey, or ErrStatement if extra is too long or
// unsound, or d is the zero Device.
func (d Device) Statement(sessionKey PublicKey, server SHA256, session uint32, extra []byte) (Statement, error) {
	if err := sessionKey.Check(); err != nil {
		return Statement{}, err
	}
	signature := d.key.Sign(LabelSession, sessionContent(sessionKey, server, session))
	if signature == nil || len(extra) > MaxExtra || !soundRecords(extra) {
		return Statement{}, ErrStatement
	}
	return Statement{
		Identity: d.identity, Device: d.key.Public(), DeviceNotAfter: d.notAfter,
		DeviceSignature: d.signature, SessionSignature: [64]byte(signature), Extra: extra,
	}, nil
}

const redactedDevice = "identity.Device(redacted)"

// String says what it is and nothing of the key.
func (d Device) String() string { return redactedDevice }

// GoString is String.
func (d Device) GoString() string { return redactedDevice }

// Format writes String for every verb.
func (d Device) Format(f fmt.State, _ rune) { io.WriteString(f, redactedDevice) }
