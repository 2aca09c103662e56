package keystore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// maxAudit bounds how many files Audit looks at.
const maxAudit = 1 << 16

// Audit looks at everything in the state directory dir and returns what is not ours
// alone, each an *Error with a hint. It changes nothing; a directory that is not
// there is in order.
func Audit(dir string) []error {
	var wrong []error
	seen := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // nothing there, or a temporary file that is gone
		}
		if seen++; err != nil || seen > maxAudit {
			return err
		}
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case path == dir && info.Mode()&fs.ModeSymlink != 0:
			// The user may have put the directory elsewhere; WalkDir does not follow.
			return nil
		case info.Mode()&fs.ModeSymlink != 0:
			err = &Error{Path: path, Err: ErrNotRegular, hint: "put the file itself there, not a link to it"}
		case info.IsDir():
			err = private(path, info, "700")
		default:
			err = private(path, info, "600")
		}
		if err != nil {
			wrong = append(wrong, err)
		}
		return nil
	})
	if err != nil {
		wrong = append(wrong, &Error{Path: dir, Err: err, hint: "run sotto as the user who owns it"})
	}
	return wrong
}
