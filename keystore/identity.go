package keystore

import (
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

// parseIdentity reads the one line that is neither empty nor a comment.
func parseIdentity(s string) (*identity.PrivateKey, error) {
	var k *identity.PrivateKey
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if k != nil {
			return nil, fmt.Errorf("more than one key")
		}
		var err error
		if k, err = identity.ParsePrivateKey(line); err != nil {
			return nil, fmt.Errorf("the key is cut or mistyped")
		}
	}
	if k == nil {
		return nil, fmt.Errorf("no key in it")
	}
	return k, nil
}
