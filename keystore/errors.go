package keystore

import "errors"

// What can be wrong with a state directory. They arrive inside an *Error,
// which names the file and has a hint.
var (
	// ErrPermissions means that the group or others may read or write.
	ErrPermissions = errors.New("keystore: open to other users")
	// ErrOwner means that a file or directory belongs to another user.
	ErrOwner = errors.New("keystore: belongs to another user")
	// ErrNotRegular means a symbolic link, a device, or a directory where a file
	// should be, and the other way round.
	ErrNotRegular = errors.New("keystore: neither a plain file nor a plain directory of ours")
	// ErrCorrupt means contents that no version of Sotto we know wrote.
	ErrCorrupt = errors.New("keystore: damaged or written by a newer Sotto")
	// ErrLocked means that another process holds the lock for longer than any
	// write takes.
	ErrLocked = errors.New("keystore: in use by another process")
	// ErrAddress means that a server's name is empty or too long, or its port 0.
	ErrAddress = errors.New("keystore: not a server's address")
	// ErrPortTaken means that the listener of another server has the port.
	ErrPortTaken = errors.New("keystore: port belongs to another server")
	// ErrPassword means that a .p12 file wants another password, or one at all.
	ErrPassword = errors.New("keystore: wrong password")
	// ErrPKCS12 means that a file is not a usable .p12.
	ErrPKCS12 = errors.New("keystore: no certificate with its key")
	// ErrFingerprint means that a certificate is not the one the user accepted,
	// or that a text is no fingerprint.
	ErrFingerprint = errors.New("keystore: not the accepted fingerprint")
)

// Error is a failure with a place and, where there is one, a way out. Unwrap
// gives one of the Err values above or the operating system's error.
type Error struct {
	Path string
	Err  error
	hint string
}

// Error names what is wrong and where.
func (e *Error) Error() string {
	if e.Path == "" {
		return e.Err.Error()
	}
	return e.Err.Error() + ": " + e.Path
}

// Unwrap returns what is wrong, without the place.
func (e *Error) Unwrap() error { return e.Err }

// Hint says in one sentence what the user can do, or nothing.
func (e *Error) Hint() string { return e.hint }

func corrupt(path, why string) error {
	return &Error{Path: path + " (" + why + ")", Err: ErrCorrupt,
		hint: "restore the file from a backup; nothing was overwritten"}
}
