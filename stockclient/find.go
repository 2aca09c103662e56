package stockclient

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// System says where to look: nothing here asks the process itself.
type System struct {
	OS   string              // as runtime.GOOS has it
	Home string              // the user's home directory, absolute
	Env  func(string) string // as os.Getenv
	Root string              // before absolute paths that are not the user's; tests set it
}

// Client is one stock client of the user.
type Client struct {
	Settings
	// Path is its settings file; empty: none was found.
	Path string
	// Backup is the file that Certificate comes from if the settings hold none.
	Backup string
	// Program starts it, with a mumble:// URL as further argument; nil: not found.
	Program []string
	// Flatpak says that it lives in a Flatpak.
	Flatpak bool
	// Err says that the settings are there and cannot be read, or may be where
	// nothing looks for them (ErrUnread). The rest of Settings is then empty, but for
	// a certificate from a backup, and means nothing.
	Err error

	written time.Time // when Path was last written
}

// ErrUnread means a client on Windows or macOS without a settings file: 1.4 and
// older keep theirs in the registry or a property list, newer ones make the file
// when they run for the first time.
var ErrUnread = errors.New("stockclient: it is 1.4 or older and keeps them elsewhere, or was never started")

// flatpakID is the client's name among Flatpaks.
const flatpakID = "info.mumble.Mumble"

// place is where one installation keeps things.
type place struct {
	dirs    []string // in the order in which the client looks for its settings
	program []string
	flatpak bool
}

// Find returns the user's clients, the one whose settings were written last first,
// those without settings after them. A backup of a certificate that no client was
// found for counts as a client of its own. Nothing found: an empty list.
func Find(sys System) []Client {
	if sys.Env == nil {
		sys.Env = func(string) string { return "" }
	}
	var found []Client
	for _, p := range places(sys) {
		c := p.read()
		if c.Path == "" {
			c.Err = sys.unread()
		}
		if c.Path != "" || c.Program != nil {
			found = append(found, c)
		}
	}
	path, backup := sys.backup()
	if backup != nil && len(found) == 0 {
		found = append(found, Client{Err: sys.unread()})
	}
	for i := range found {
		c := &found[i]
		if readable := c.Err == nil || errors.Is(c.Err, ErrUnread); backup != nil && readable && c.Certificate == nil {
			c.Certificate, c.Backup = backup, path
		}
	}
	slices.SortStableFunc(found, func(a, b Client) int { return cmp.Compare(b.written.UnixNano(), a.written.UnixNano()) })
	return found
}

// unread is what it means that there is no settings file.
func (sys System) unread() error {
	if sys.OS == "windows" || sys.OS == "darwin" {
		return ErrUnread
	}
	return nil
}

// places are those of the operating system. The client asks Qt's QStandardPaths
// for AppLocalDataLocation, AppConfigLocation and ConfigLocation, with the
// organization Mumble and the application Mumble, and QSettings for its own
// (Settings::findSettingsLocation; 1.3: Global::Global).
func places(sys System) []place {
	in := func(base string) []string {
		return []string{filepath.Join(base, "Mumble", "Mumble"), base, filepath.Join(base, "Mumble")}
	}
	switch sys.OS {
	case "windows":
		var dirs []string
		for _, base := range []string{sys.Env("LOCALAPPDATA"), sys.Env("APPDATA")} {
			if base != "" {
				dirs = append(dirs, in(base)...)
			}
		}
		program := sys.windowsProgram()
		if program != nil { // a portable one has them beside it
			dirs = append([]string{filepath.Dir(program[0])}, dirs...)
		}
		return []place{{dirs: dirs, program: program}}
	case "darwin":
		library := filepath.Join(sys.Home, "Library")
		dirs := append(in(filepath.Join(library, "Application Support")), in(filepath.Join(library, "Preferences"))...)
		return []place{{dirs: dirs, program: sys.macProgram()}}
	}
	config := sys.dir("XDG_CONFIG_HOME", ".config")
	data := sys.dir("XDG_DATA_HOME", ".local/share")
	box := filepath.Join(sys.Home, ".var", "app", flatpakID)
	snap := filepath.Join(sys.Home, "snap", "mumble", "current") // SNAP_USER_DATA
	return []place{
		{dirs: append(in(data)[:1], in(config)...), program: sys.program()},
		{dirs: append(in(filepath.Join(box, "data"))[:1], in(filepath.Join(box, "config"))...), program: sys.flatpakProgram(), flatpak: true},
		{dirs: append(in(filepath.Join(snap, ".local", "share"))[:1], in(filepath.Join(snap, ".config"))...), program: sys.find(sys.abs("/snap/bin/mumble"))},
	}
}

// dir is an XDG directory; the specification wants a relative one ignored.
func (sys System) dir(variable, standard string) string {
	if d := sys.Env(variable); filepath.IsAbs(d) {
		return d
	}
	return filepath.Join(sys.Home, filepath.FromSlash(standard))
}

// read looks for settings: those of 1.5 first, which takes over the older ones and
// leaves them lying.
func (p place) read() Client {
	c := Client{Program: p.program, Flatpak: p.flatpak}
	for _, kind := range []struct {
		names []string
		parse func([]byte) (Settings, error)
	}{
		{[]string{"mumble_settings.json"}, ParseJSON},
		{[]string{"Mumble.conf", "mumble.conf", "Mumble.ini", "mumble.ini"}, ParseINI},
	} {
		for _, dir := range p.dirs {
			for _, name := range kind.names {
				path := filepath.Join(dir, name)
				b, written, err := readFile(path, maxSettings)
				if errors.Is(err, fs.ErrNotExist) {
					continue
				}
				c.Path, c.written = path, written
				if err == nil {
					c.Settings, err = kind.parse(b)
				}
				if err != nil {
					c.Err = fmt.Errorf("%s: %w", path, err)
				}
				return c
			}
		}
	}
	return c
}

// readFile reads a file of at most limit bytes, and says when it was written. What
// is no plain file is never opened: a pipe would hold us up.
func readFile(path string, limit int64) ([]byte, time.Time, error) {
	info, err := os.Stat(path)
	if err != nil {
		if notThere(err) {
			err = fs.ErrNotExist
		}
		return nil, time.Time{}, err
	}
	if !info.Mode().IsRegular() {
		return nil, info.ModTime(), errors.New("not a plain file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, info.ModTime(), err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("longer than %d bytes", limit)
	}
	return b, info.ModTime(), err
}

// notThere reports whether there is no such file, also because what should be a
// directory on the way is none.
func notThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// backupName is written by src/mumble/main.cpp.
const (
	backupName = "MumbleAutomaticCertificateBackup.p12"
	maxBackup  = 1 << 20 // bytes
)

// backup reads the certificate that the client made by itself.
func (sys System) backup() (path string, p12 []byte) {
	path = filepath.Join(sys.documents(), backupName)
	p12, _, err := readFile(path, maxBackup)
	if err != nil || len(p12) == 0 {
		return "", nil
	}
	return path, p12
}

// documents is the user's folder of that name. Linux translates it, and says how
// in user-dirs.dirs.
func (sys System) documents() string {
	standard := filepath.Join(sys.Home, "Documents")
	if sys.OS == "windows" || sys.OS == "darwin" {
		return standard
	}
	b, _, err := readFile(filepath.Join(sys.dir("XDG_CONFIG_HOME", ".config"), "user-dirs.dirs"), maxSettings)
	if err != nil {
		return standard
	}
	for line := range strings.Lines(string(b)) {
		value, ok := strings.CutPrefix(strings.TrimSpace(line), "XDG_DOCUMENTS_DIR=")
		if !ok {
			continue
		}
		value = strings.Trim(value, `"`)
		if rest, below := strings.CutPrefix(value, "$HOME/"); below {
			value = filepath.Join(sys.Home, rest)
		}
		if filepath.IsAbs(value) {
			standard = value
		}
	}
	return standard
}
