package keystore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Dir returns the state directory: state if not empty (the option --state),
// else sotto in $XDG_CONFIG_HOME or in the user's configuration directory. The
// result is absolute. Nothing is created.
func Dir(state string) (string, error) {
	if state != "" {
		dir, err := filepath.Abs(state)
		if err != nil {
			return "", fmt.Errorf("keystore: state directory: %w", err)
		}
		return dir, nil
	}
	// os.UserConfigDir honours the variable on some systems only.
	if xdg := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(xdg) {
		return filepath.Join(xdg, "sotto"), nil
	}
	base, err := os.UserConfigDir()
	if err != nil {
		return "", &Error{Err: fmt.Errorf("keystore: no configuration directory: %w", err), hint: "name one with --state DIR"}
	}
	return filepath.Join(base, "sotto"), nil
}

// Store is an open state directory. It holds no file open and remembers
// nothing, so what another process writes is seen at once. It is safe for
// concurrent use, also by several processes.
type Store struct {
	dir       string
	tightened bool
}

// Open opens the state directory dir, creating it and its parents with mode
// 0700 whatever the umask. An empty one of ours that others may enter is closed to
// them (Tightened). It refuses any other that is not ours alone (ErrPermissions,
// ErrOwner) and removes temporary files that an interrupted
// write left behind.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("keystore: state directory: %w", err)
	}
	err = makeDir(dir, os.Stat)
	tightened := errors.Is(err, ErrPermissions) && tighten(dir)
	if err != nil && !tightened {
		return nil, err
	}
	s := &Store{dir, tightened}
	unlock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	return s, removeTemporary(dir)
}

// Tightened reports whether Open found the directory empty and open to other
// users, and set its mode to 0700. Whoever has it made wants to know.
func (s *Store) Tightened() bool { return s.tightened }

// Path returns the directory, absolute.
func (s *Store) Path() string { return s.dir }

func (s *Store) path(name ...string) string {
	return filepath.Join(append([]string{s.dir}, name...)...)
}

// readOrMake returns the contents of a file, and makes it first if it is not
// there. Whoever comes first makes it, everybody gets the same.
func (s *Store) readOrMake(path string, contents func() ([]byte, error)) ([]byte, error) {
	b, err := readFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	unlock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	b, err = readFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	if b, err = contents(); err != nil {
		return nil, err
	}
	return b, writeFile(path, b)
}
