package keystore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// PinError says that a certificate is not the remembered one: for a server,
// somebody may be in between; the exit code for it is 4, identity changed.
type PinError struct {
	Address  string // the server's, as typed
	Client   bool   // it is the stock client's certificate on our own listener
	Old, New [32]byte
}

// Error gives both fingerprints, so that they can be compared with a person who knows.
func (e *PinError) Error() string {
	who := "the server " + e.Address
	if e.Client {
		who = "the Mumble client for " + e.Address
	}
	return fmt.Sprintf("keystore: identity changed: the certificate of %s is not the one remembered; remembered: %s, now: %s",
		who, Fingerprint(e.Old), Fingerprint(e.New))
}

// PinChanged reports that it is the server that has changed. Trying again does
// not help then, until a person has decided.
func (e *PinError) PinChanged() bool { return !e.Client }

// Hint says what to do about it.
func (e *PinError) Hint() string {
	if e.Client {
		return "another Mumble, or another user of this computer, connects to this guard; allow it only if it is yours"
	}
	return "ask the server's owner whether the certificate was renewed, over another way than this server; then start guard with --accept-certificate " + hex.EncodeToString(e.New[:])
}

// Fingerprint writes a SHA-256 for people: 64 hex digits in 16 groups of four.
func Fingerprint(sum [32]byte) string {
	digits := strings.ToUpper(hex.EncodeToString(sum[:]))
	groups := make([]string, 0, 16)
	for i := 0; i < len(digits); i += 4 {
		groups = append(groups, digits[i:i+4])
	}
	return strings.Join(groups, " ")
}

// ParseFingerprint reads a SHA-256 as people paste it: hex digits of either
// case, with spaces, colons or dashes between them or not. Else ErrFingerprint.
func ParseFingerprint(s string) (sum [32]byte, err error) {
	if len(s) <= 256 {
		s = strings.NewReplacer(" ", "", ":", "", "-", "", "\t", "", "\n", "", "\r", "").Replace(s)
		if b, err := hex.DecodeString(s); err == nil && len(b) == len(sum) {
			return [32]byte(b), nil
		}
	}
	return sum, &Error{Err: ErrFingerprint, hint: "a fingerprint has 64 hex digits"}
}

// CheckPin compares the server's certificate, DER, with the remembered one. The
// first one ever is remembered, on disk before CheckPin returns; another one is
// a *PinError and nothing is changed.
func (s *Server) CheckPin(der []byte) error { return s.checkPin(der, false) }

// PinClient does for the stock client's certificate on guard's listener what
// CheckPin does for the server's: loopback is open to other users of the
// computer.
func (s *Server) PinClient(der []byte) error { return s.checkPin(der, true) }

// pin returns the place of one of the two pins.
func (r *record) pin(client bool) **[32]byte {
	if client {
		return &r.ClientPin
	}
	return &r.Pin
}

func (s *Server) checkPin(der []byte, client bool) error {
	sum := sha256.Sum256(der)
	r, err := s.load()
	if err != nil {
		return err
	}
	if *r.pin(client) == nil {
		err := s.change(func(current *record) error {
			if pin := current.pin(client); *pin == nil {
				*pin = &sum
			}
			r = current
			return nil
		})
		if err != nil {
			return err
		}
	}
	if old := **r.pin(client); old != sum {
		return &PinError{Address: s.address, Client: client, Old: old, New: sum}
	}
	return nil
}

// Pin returns the SHA-256 of the remembered server certificate, false if there
// is none yet.
func (s *Server) Pin() ([32]byte, bool, error) { return s.readPin(false) }

// ClientPin returns the SHA-256 of the remembered client certificate, false if
// there is none yet.
func (s *Server) ClientPin() ([32]byte, bool, error) { return s.readPin(true) }

func (s *Server) readPin(client bool) (sum [32]byte, ok bool, err error) {
	r, err := s.load()
	if err != nil {
		return sum, false, err
	}
	if pin := *r.pin(client); pin != nil {
		return *pin, true, nil
	}
	return sum, false, nil
}

// ReplacePin remembers der instead of the earlier server certificate, because
// the user accepted the fingerprint accepted by an explicit command. If der has
// another one it is ErrFingerprint and nothing is changed.
func (s *Server) ReplacePin(der []byte, accepted [32]byte) error {
	return s.replacePin(der, accepted, false)
}

// ReplaceClientPin does the same for the stock client's certificate.
func (s *Server) ReplaceClientPin(der []byte, accepted [32]byte) error {
	return s.replacePin(der, accepted, true)
}

func (s *Server) replacePin(der []byte, accepted [32]byte, client bool) error {
	sum := sha256.Sum256(der)
	if sum != accepted {
		return &Error{Err: fmt.Errorf("%w: accepted %s, found %s", ErrFingerprint, Fingerprint(accepted), Fingerprint(sum)),
			hint: "compare again with the server's owner; nothing was changed"}
	}
	return s.change(func(r *record) error {
		*r.pin(client) = &sum
		return nil
	})
}
