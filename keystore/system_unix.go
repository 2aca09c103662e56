//go:build unix

package keystore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// private checks that a file or directory belongs to us and is closed to the
// group and others. want is the mode to name in the hint.
func private(path string, info fs.FileInfo, want string) error {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int64(st.Uid) != int64(os.Geteuid()) {
		return &Error{Path: path, Err: ErrOwner, hint: "run sotto as the user who owns it, or name another directory with --state DIR"}
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return &Error{
			Path: fmt.Sprintf("%s (mode %04o)", path, perm), Err: ErrPermissions,
			hint: fmt.Sprintf("if nobody else has read it: chmod %s %q; else make a new identity", want, path),
		}
	}
	return nil
}

// syncDir makes a rename in dir last over a power failure.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	// Some file systems cannot, and say so; there is no other way on them.
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}

// tryLock takes the lock of f without waiting. It goes when f is closed, also
// by the end of the process.
func tryLock(f *os.File) (ok bool, err error) {
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return true, nil
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			return false, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return false, err
		}
	}
}

const noFollow = unix.O_NOFOLLOW
