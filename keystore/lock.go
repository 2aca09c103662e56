package keystore

import (
	"fmt"
	"os"
	"time"
)

// Writes take milliseconds; who waits longer waits for a process that hangs.
const (
	lockWait  = 10 * time.Second
	lockRetry = 5 * time.Millisecond
)

// lock takes the lock of the state directory. It excludes other processes and
// other goroutines alike, for each call opens the file anew. The file stays: a
// lock on a file that was removed would lock nobody out.
func (s *Store) lock() (unlock func(), err error) {
	path := s.path("lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|noFollow, fileMode)
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	f.Chmod(fileMode) // whatever the umask took away; if it fails, the next Open says so
	for deadline := time.Now().Add(lockWait); ; time.Sleep(lockRetry) {
		switch ok, err := tryLock(f); {
		case err != nil:
			f.Close()
			return nil, fmt.Errorf("keystore: lock %s: %w", path, err)
		case ok:
			return func() { f.Close() }, nil
		case time.Now().After(deadline):
			f.Close()
			return nil, &Error{Path: path, Err: ErrLocked, hint: "end the other sotto that hangs"}
		}
	}
}
