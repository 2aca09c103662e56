package keystore

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sotto-voip/sotto/identity"
)

// Identity returns the person's identity. The first call ever makes it.
func (s *Store) Identity() (*identity.PrivateKey, error) {
	path := s.path("identity.key")
	b, err := s.readOrMake(path, func() ([]byte, error) {
		k := identity.New()
		return fmt.Appendf(nil, "# This file is you in Sotto. Who has it can speak as you; keep a copy where nobody else reads.\n# Your contact: %s\n%s\n",
			k.Public().Contact(), k.Export()), nil
	})
	if err != nil {
		return nil, err
	}
	k, err := parseIdentity(string(b))
	if err != nil {
		return nil, corrupt(path, err.Error())
	}
	return k, nil
}

func parseIdentity(s string) (*identity.PrivateKey, error) {
	line, err := keyLine(s)
	if err != nil {
		return nil, err
	}
	k, err := identity.ParsePrivateKey(line)
	if err != nil {
		return nil, errMistyped
	}
	return k, nil
}

// errMistyped does not repeat what was read: it may be a key with one letter wrong.
var errMistyped = errors.New("the key is cut or mistyped")

// keyLine returns the one line that is neither empty nor a comment.
func keyLine(s string) (key string, err error) {
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if key != "" {
			return "", errors.New("more than one key")
		}
		key = line
	}
	if key == "" {
		return "", errors.New("no key in it")
	}
	return key, nil
}

// Device returns the key of this state directory, certified by the person's
// identity (Sotto protocol §2.2). The first call ever makes it, without an end:
// a copy of the directory is the same device. Another identity.key makes it a
// device of that identity.
func (s *Store) Device() (*identity.Device, error) {
	owner, err := s.Identity()
	if err != nil {
		return nil, err
	}
	path := s.path("device.key")
	b, err := s.readOrMake(path, func() ([]byte, error) {
		return fmt.Appendf(nil, "# This file is this device in Sotto. It is worth nothing without identity.key, and copied nowhere.\n%s\n",
			owner.NewDevice(0).Export()), nil
	})
	if err != nil {
		return nil, err
	}
	line, err := keyLine(string(b))
	if err != nil {
		return nil, corrupt(path, err.Error())
	}
	d, err := identity.ParseDevice(line, owner)
	if err != nil {
		return nil, corrupt(path, errMistyped.Error())
	}
	return d, nil
}
