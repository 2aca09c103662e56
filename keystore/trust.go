package keystore

import (
	"errors"
	"io/fs"

	"github.com/sotto-voip/sotto/trust"
)

// Trust returns what is remembered of others, an empty Book if nothing is yet.
// A file that cannot be understood is ErrCorrupt, never an empty Book: damage
// would be a way past the alarm.
func (s *Store) Trust() (*trust.Book, error) {
	path := s.path("trust.json")
	data, err := readLong(path, trust.MaxBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return new(trust.Book), nil
	}
	if err != nil {
		return nil, err
	}
	b, err := trust.Parse(data)
	if err != nil {
		return nil, corrupt(path, err.Error())
	}
	return b, nil
}

// SaveTrust writes the changes of b, which came from Trust, on top of what other
// processes have written meanwhile; b is then what the file is. Without changes
// it does nothing. After an error the changes are still in b, and nothing was
// written.
func (s *Store) SaveTrust(b *trust.Book) error {
	if !b.Changed() {
		return nil
	}
	p := b.Take()
	newer, err := s.MergeTrust(p)
	if err != nil {
		b.Return(p)
		return err
	}
	b.Rebase(newer)
	return nil
}

// MergeTrust writes p on top of what the file holds, and returns what it holds
// then. After an error nothing was written. It may be called from any goroutine.
func (s *Store) MergeTrust(p trust.Patch) (*trust.Book, error) {
	unlock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	b, err := s.Trust()
	if err != nil {
		return nil, err
	}
	p.Apply(b)
	if err := writeFile(s.path("trust.json"), b.Marshal()); err != nil {
		return nil, err
	}
	b.Saved()
	return b, nil
}
