package keystore

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// private accepts everything: Windows keeps a user's directories from other
// users by inherited access lists, of which the mode bits say nothing.
func private(string, fs.FileInfo, string) error { return nil }

// syncDir does nothing: Windows cannot flush directories.
func syncDir(string) error { return nil }

// tryLock takes the lock of f without waiting. It goes when f is closed, also
// by the end of the process.
func tryLock(f *os.File) (ok bool, err error) {
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

const noFollow = 0
