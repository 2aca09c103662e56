package stockclient

import (
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// abs is a path outside the user's home.
func (sys System) abs(path ...string) string {
	return filepath.Join(append([]string{sys.Root}, path...)...)
}

// program finds the client in the search path, and where distributions put it.
func (sys System) program() []string {
	return sys.search("mumble", sys.abs("/usr/bin"), sys.abs("/usr/local/bin"), sys.abs("/usr/games"))
}

// search finds a program in PATH, then in dirs.
func (sys System) search(name string, dirs ...string) []string {
	for _, dir := range append(filepath.SplitList(sys.Env("PATH")), dirs...) {
		if !filepath.IsAbs(dir) {
			continue // never what lies in the current directory
		}
		if found := sys.find(filepath.Join(dir, name)); found != nil {
			return found
		}
	}
	return nil
}

// find is a program, if it is there and can be run.
func (sys System) find(path string) []string {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return nil
	}
	return []string{path}
}

// flatpakProgram finds the client among the Flatpaks of the user and the machine.
func (sys System) flatpakProgram() []string {
	for _, dir := range []string{filepath.Join(sys.Home, ".local/share"), sys.abs("/var/lib")} {
		if info, err := os.Stat(filepath.Join(dir, "flatpak/app", flatpakID)); err != nil || !info.IsDir() {
			continue
		}
		if flatpak := sys.search("flatpak", sys.abs("/usr/bin")); flatpak != nil {
			return append(flatpak, "run", flatpakID)
		}
	}
	return nil
}

// macProgram finds the application; open hands it the URL as Finder would.
func (sys System) macProgram() []string {
	for _, dir := range []string{sys.abs("/Applications"), filepath.Join(sys.Home, "Applications")} {
		app := filepath.Join(dir, "Mumble.app")
		if info, err := os.Stat(app); err == nil && info.IsDir() {
			return []string{"/usr/bin/open", "-a", app}
		}
	}
	return nil
}

// windowsProgram finds the client where its installers put it: 1.4 and later in a
// folder of its own.
func (sys System) windowsProgram() []string {
	for _, variable := range []string{"ProgramFiles", "ProgramW6432", "ProgramFiles(x86)"} {
		base := sys.Env(variable)
		if base == "" {
			continue
		}
		for _, path := range []string{filepath.Join(base, "Mumble", "client", "mumble.exe"), filepath.Join(base, "Mumble", "mumble.exe")} {
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				return []string{path}
			}
		}
	}
	return nil
}

// Link is a mumble:// URL (src/mumble/MainWindow.cpp, openUrl). Its version says
// only that it is not for 1.1.
type Link struct {
	Name     string // of the user; empty: the client asks, or takes its last one
	Password string // of the server; with Name only
	Host     string
	Port     uint16 // 0: not named
	Channel  string // path below the root, names between slashes
	Title    string // under which the server could be kept as a favourite
}

// ErrLink means that a text is no mumble:// URL with a host.
var ErrLink = errors.New("stockclient: no mumble:// link")

// ParseLink reads a link as the client takes it (src/mumble/MainWindow.cpp, openUrl), but
// for its version, which says nothing where guard stands between. Errors are ErrLink.
func ParseLink(s string) (Link, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "mumble" || u.Hostname() == "" || u.Opaque != "" {
		return Link{}, ErrLink // the error of url would quote a password
	}
	l := Link{Host: u.Hostname(), Channel: strings.Trim(u.Path, "/"), Title: u.Query().Get("title")}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return Link{}, ErrLink
		}
		l.Port = uint16(n)
	}
	if u.User != nil {
		l.Name = u.User.Username()
		l.Password, _ = u.User.Password()
	}
	return l, nil
}

// String writes the URL; every part is escaped. It leaves the password out: what a
// program is started with other users can see.
func (l Link) String() string {
	u := url.URL{Scheme: "mumble", Host: net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port))), Path: "/" + strings.Trim(l.Channel, "/")}
	if l.Name != "" {
		u.User = url.User(l.Name)
	}
	u.RawQuery = "version=1.2.0"
	if l.Title != "" {
		u.RawQuery += "&title=" + strings.ReplaceAll(url.QueryEscape(l.Title), "+", "%20")
	}
	return u.String()
}
