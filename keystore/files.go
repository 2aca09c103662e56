package keystore

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	dirMode  = 0o700
	fileMode = 0o600

	// maxFile bounds what is read: the largest file but trust.json is a chain of
	// certificates.
	maxFile = 256 << 10

	// tmpPrefix begins the name of every temporary file.
	tmpPrefix = ".tmp-"
)

// makeDir creates dir if it is not there and checks that it is ours alone. stat
// is os.Stat for the directory that the user named, which may be a link, and
// os.Lstat for those that only we make.
func makeDir(dir string, stat func(string) (fs.FileInfo, error)) error {
	_, err := stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(dir), dirMode); err != nil {
			return fmt.Errorf("keystore: %w", err)
		}
		// Mkdir fails if somebody else was faster; then theirs is checked.
		switch err := os.Mkdir(dir, dirMode); {
		case err == nil:
			// A strict umask would have locked ourselves out.
			if err := os.Chmod(dir, dirMode); err != nil {
				return fmt.Errorf("keystore: %w", err)
			}
			syncDir(filepath.Dir(dir))
		case !errors.Is(err, fs.ErrExist):
			return fmt.Errorf("keystore: %w", err)
		}
	} else if err != nil {
		return fmt.Errorf("keystore: %w", err)
	}
	info, err := stat(dir)
	if err != nil {
		return fmt.Errorf("keystore: %w", err)
	}
	if !info.IsDir() {
		return &Error{Path: dir, Err: ErrNotRegular, hint: "move it away, or name another directory with --state DIR"}
	}
	return private(dir, info, "700")
}

// tighten closes a directory of ours to others if it is empty: nothing of ours
// was there to be read. It reports whether it did. A directory that others could
// write in is looked at again when they no longer can; what they were faster to
// put there makes it open again, so that it is refused.
func tighten(dir string) bool {
	info, err := os.Stat(dir)
	if err != nil || !empty(dir) || os.Chmod(dir, dirMode) != nil {
		return false
	}
	if closed, err := os.Stat(dir); err == nil && private(dir, closed, "700") == nil && empty(dir) {
		return true
	}
	os.Chmod(dir, info.Mode().Perm())
	return false
}

// empty reports whether a directory can be read and has nothing in it.
func empty(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = f.Readdirnames(1)
	return errors.Is(err, io.EOF)
}

// readFile returns the contents of a file that is ours alone. One that is not
// there is fs.ErrNotExist. Symbolic links are refused: they would let the
// checks look at one place and a later write change another.
func readFile(path string) ([]byte, error) { return readLong(path, maxFile) }

// readLong is readFile for a file of at most limit bytes.
func readLong(path string, limit int64) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, &Error{Path: path, Err: ErrNotRegular, hint: "put the file itself there, not a link to it"}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	defer f.Close()
	opened, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	if !opened.Mode().IsRegular() {
		return nil, &Error{Path: path, Err: ErrNotRegular}
	}
	if err := private(path, opened, "600"); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	if int64(len(b)) > limit {
		return nil, corrupt(path, fmt.Sprintf("longer than %d bytes", limit))
	}
	return b, nil
}

// writeFile replaces or creates a file in one step: after a crash there is the
// old one or the new one, whole. The caller holds the lock.
func writeFile(path string, b []byte) (err error) {
	var random [8]byte
	rand.Read(random[:])
	tmp := filepath.Join(filepath.Dir(path), tmpPrefix+hex.EncodeToString(random[:]))
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return fmt.Errorf("keystore: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(tmp)
			if !errors.As(err, new(*Error)) {
				err = fmt.Errorf("keystore: %w", err)
			}
		}
	}()
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(fileMode) // whatever the umask took away
	}
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	// Rename would replace a symbolic link; who put it there wants to know.
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return &Error{Path: path, Err: ErrNotRegular, hint: "put the file itself there, not a link to it"}
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// removeTemporary removes what an interrupted write left in dir. The caller
// holds the lock, so nobody is writing.
func removeTemporary(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("keystore: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tmpPrefix) && e.Type().IsRegular() {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("keystore: %w", err)
			}
		}
	}
	return nil
}
