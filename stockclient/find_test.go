package stockclient

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// home is a home directory with files, by their path in it; those that end in
// mumble, flatpak or .exe are programs, and Mumble.app is a directory.
func home(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, contents := range files {
		path := filepath.Join(dir, name)
		mode := os.FileMode(0o600)
		if base := filepath.Base(name); base == "mumble" || base == "flatpak" || strings.HasSuffix(base, ".exe") {
			mode = 0o700
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(contents), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	someJSON = `{"settings_version":1,"last_connection":{"username":"json"}}`
	someINI  = "[ui]\nusername=ini\n[overlay]\nversion=1.3.4\n"
)

// TestFind: where the settings may be on each system, and which count.
func TestFind(t *testing.T) {
	for _, tt := range []struct {
		name, os string
		env      map[string]string // values are below the home
		files    map[string]string
		want     []string // username@settings of each client
	}{
		{name: "nothing", os: "linux"},
		{name: "1.3", os: "linux", files: map[string]string{".config/Mumble/Mumble.conf": someINI}, want: []string{"ini@.config/Mumble/Mumble.conf"}},
		{name: "1.3 portable", os: "linux", files: map[string]string{".local/share/Mumble/Mumble/mumble.ini": someINI}, want: []string{"ini@.local/share/Mumble/Mumble/mumble.ini"}},
		{name: "1.5", os: "linux", files: map[string]string{".config/Mumble/Mumble/mumble_settings.json": someJSON}, want: []string{"json@.config/Mumble/Mumble/mumble_settings.json"}},
		{name: "1.5 took over from 1.3", os: "linux", files: map[string]string{
			".config/Mumble/Mumble.conf": someINI, ".config/Mumble/Mumble/mumble_settings.json": someJSON,
		}, want: []string{"json@.config/Mumble/Mumble/mumble_settings.json"}},
		{name: "XDG", os: "linux", env: map[string]string{"XDG_CONFIG_HOME": "elsewhere"}, files: map[string]string{
			"elsewhere/Mumble/Mumble.conf": someINI, ".config/Mumble/Mumble/mumble_settings.json": someJSON,
		}, want: []string{"ini@elsewhere/Mumble/Mumble.conf"}},
		{name: "Flatpak", os: "linux", files: map[string]string{
			".var/app/info.mumble.Mumble/config/Mumble/Mumble/mumble_settings.json": someJSON,
		}, want: []string{"json@.var/app/info.mumble.Mumble/config/Mumble/Mumble/mumble_settings.json"}},
		{name: "Windows", os: "windows", env: map[string]string{"LOCALAPPDATA": "AppData/Local", "APPDATA": "AppData/Roaming"}, files: map[string]string{
			"AppData/Local/Mumble/Mumble/mumble_settings.json": someJSON, "AppData/Roaming/Mumble/mumble.ini": someINI,
		}, want: []string{"json@AppData/Local/Mumble/Mumble/mumble_settings.json"}},
		{name: "Windows portable", os: "windows", env: map[string]string{"APPDATA": "AppData/Roaming"}, files: map[string]string{
			"AppData/Roaming/Mumble/mumble.ini": someINI,
		}, want: []string{"ini@AppData/Roaming/Mumble/mumble.ini"}},
		{name: "Snap", os: "linux", files: map[string]string{"snap/mumble/current/.config/Mumble/Mumble/mumble_settings.json": someJSON},
			want: []string{"json@snap/mumble/current/.config/Mumble/Mumble/mumble_settings.json"}},
		{name: "Windows, beside the program", os: "windows", env: map[string]string{"ProgramFiles": "pf", "LOCALAPPDATA": "local"}, files: map[string]string{
			"pf/Mumble/client/mumble.exe": "", "pf/Mumble/client/mumble_settings.json": someJSON, "local/Mumble/Mumble/mumble_settings.json": "{}",
		}, want: []string{"json@pf/Mumble/client/mumble_settings.json"}},
		{name: "macOS", os: "darwin", files: map[string]string{
			"Library/Preferences/Mumble/Mumble/mumble_settings.json": someJSON,
		}, want: []string{"json@Library/Preferences/Mumble/Mumble/mumble_settings.json"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := home(t, tt.files)
			found := Find(System{OS: tt.os, Home: dir, Root: filepath.Join(dir, "root"), Env: below(dir, tt.env)})
			var got []string
			for _, c := range found {
				rel, err := filepath.Rel(dir, c.Path)
				if c.Err != nil || err != nil {
					t.Errorf("%s: %v, %v", c.Path, c.Err, err)
				}
				got = append(got, c.Username+"@"+filepath.ToSlash(rel))
			}
			if strings.Join(got, " ") != strings.Join(tt.want, " ") {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func below(dir string, env map[string]string) func(string) string {
	return func(name string) string {
		if env[name] == "" {
			return ""
		}
		return filepath.Join(dir, env[name])
	}
}

// TestFindTwo: the client that was used last comes first.
func TestFindTwo(t *testing.T) {
	const boxed = ".var/app/info.mumble.Mumble/config/Mumble/Mumble/mumble_settings.json"
	dir := home(t, map[string]string{".config/Mumble/Mumble.conf": someINI, boxed: someJSON})
	for name, age := range map[string]time.Duration{".config/Mumble/Mumble.conf": time.Hour, boxed: 2 * time.Hour} {
		at := time.Now().Add(-age)
		if err := os.Chtimes(filepath.Join(dir, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	found := Find(System{OS: "linux", Home: dir, Root: dir})
	if len(found) != 2 || found[0].Flatpak || !found[1].Flatpak {
		t.Fatalf("%+v", found)
	}
	now := time.Now()
	if err := os.Chtimes(filepath.Join(dir, boxed), now, now); err != nil {
		t.Fatal(err)
	}
	if found = Find(System{OS: "linux", Home: dir, Root: dir}); !found[0].Flatpak {
		t.Error("the Flatpak was used last and comes second")
	}
}

// TestBackup: the certificate that the client made by itself counts when its
// settings hold none, also in documents with a name of their own.
func TestBackup(t *testing.T) {
	p12 := string(golden(t, "alice.p12"))
	for _, tt := range []struct {
		name   string
		files  map[string]string
		backup string // of the first client; empty: not from a backup
		owner  string
		n      int
	}{
		{"alone", map[string]string{"Documents/" + backupName: p12}, "Documents/" + backupName, "alice", 1},
		{"with settings", map[string]string{"Documents/" + backupName: p12, ".config/Mumble/Mumble.conf": someINI}, "Documents/" + backupName, "alice", 1},
		{"settings have one", map[string]string{"Documents/" + backupName: "another", ".config/Mumble/Mumble.conf": string(golden(t, "mumble-1.3.4.conf"))}, "", "alice", 1},
		{"translated", map[string]string{"Dokumente/" + backupName: p12, ".config/user-dirs.dirs": "# x\nXDG_DOCUMENTS_DIR=\"$HOME/Dokumente\"\n"}, "Dokumente/" + backupName, "alice", 1},
		{"empty", map[string]string{"Documents/" + backupName: ""}, "", "", 0},
		{"too large", map[string]string{"Documents/" + backupName: strings.Repeat("x", maxBackup+1)}, "", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := home(t, tt.files)
			found := Find(System{OS: "linux", Home: dir, Root: dir})
			if len(found) != tt.n {
				t.Fatalf("%d clients, want %d", len(found), tt.n)
			}
			if tt.n == 0 {
				return
			}
			want := ""
			if tt.backup != "" {
				want = filepath.Join(dir, tt.backup)
			}
			if c := found[0]; c.Backup != want || owner(t, c.Certificate) != tt.owner {
				t.Errorf("from %q, want %q", c.Backup, want)
			}
		})
	}
}

// TestUnreadable: settings that are there and cannot be read are said, for nobody
// knows what they hold; a pipe in their place holds nobody up.
func TestUnreadable(t *testing.T) {
	const name = ".config/Mumble/Mumble/mumble_settings.json"
	find := func(dir string) Client {
		t.Helper()
		found := Find(System{OS: "linux", Home: dir, Root: dir})
		if len(found) != 1 {
			t.Fatalf("%d clients", len(found))
		}
		return found[0]
	}
	c := find(home(t, map[string]string{name: "{", "Documents/" + backupName: "x", ".config/Mumble/Mumble.conf": someINI}))
	if c.Err == nil || !strings.Contains(c.Err.Error(), name) || c.Certificate != nil {
		t.Errorf("broken: %+v", c)
	}
	dir := home(t, map[string]string{name: strings.Repeat(" ", maxSettings+1)})
	if c := find(dir); c.Err == nil {
		t.Error("a file of more than 4 MiB counts")
	}
	if runtime.GOOS == "windows" {
		return // no pipes in the file system
	}
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	if err := makePipe(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	if c := find(dir); c.Err == nil {
		t.Error("a pipe counts as settings")
	}
	dir = home(t, map[string]string{".config/Mumble": "a file"})
	if found := Find(System{OS: "linux", Home: dir, Root: dir}); len(found) != 0 {
		t.Errorf("%+v", found)
	}
}

// TestUnread: on Windows and macOS a client without a settings file may have a proxy
// in the registry or a property list; its backup is found all the same.
func TestUnread(t *testing.T) {
	files := map[string]string{
		"Applications/Mumble.app/x": "", "pf/Mumble/client/mumble.exe": "", "usr/bin/mumble": "", "Documents/" + backupName: string(golden(t, "alice.p12")),
	}
	for system, unread := range map[string]bool{"windows": true, "darwin": true, "linux": false} {
		dir := home(t, files)
		found := Find(System{OS: system, Home: dir, Root: dir, Env: below(dir, map[string]string{"ProgramFiles": "pf"})})
		if len(found) != 1 {
			t.Fatalf("%s: %+v", system, found)
		}
		if c := found[0]; errors.Is(c.Err, ErrUnread) != unread || owner(t, c.Certificate) != "alice" {
			t.Errorf("%s: %v, certificate from %q", system, c.Err, c.Backup)
		}
		dir = home(t, map[string]string{"Documents/" + backupName: "x"})
		if found := Find(System{OS: system, Home: dir, Root: dir}); len(found) != 1 || errors.Is(found[0].Err, ErrUnread) != unread {
			t.Errorf("%s, a backup alone: %+v", system, found)
		}
	}
}

// TestProgram: what starts the client, with the URL behind it.
func TestProgram(t *testing.T) {
	for _, tt := range []struct {
		name, os string
		env      map[string]string
		files    map[string]string
		want     string
	}{
		{"PATH", "linux", map[string]string{"PATH": "bin"}, map[string]string{"bin/mumble": ""}, "HOME/bin/mumble"},
		{"usual", "linux", nil, map[string]string{"usr/bin/mumble": ""}, "HOME/usr/bin/mumble"},
		{"Flatpak", "linux", nil, map[string]string{"var/lib/flatpak/app/info.mumble.Mumble/x": "", "usr/bin/flatpak": ""}, "HOME/usr/bin/flatpak run info.mumble.Mumble"},
		{"Flatpak of the user", "linux", nil, map[string]string{".local/share/flatpak/app/info.mumble.Mumble/x": "", "usr/bin/flatpak": ""}, "HOME/usr/bin/flatpak run info.mumble.Mumble"},
		{"Snap", "linux", nil, map[string]string{"snap/bin/mumble": ""}, "HOME/snap/bin/mumble"},
		{"macOS", "darwin", nil, map[string]string{"Applications/Mumble.app/x": ""}, "/usr/bin/open -a HOME/Applications/Mumble.app"},
		{"Windows 1.5", "windows", map[string]string{"ProgramFiles": "pf"}, map[string]string{"pf/Mumble/client/mumble.exe": ""}, "HOME/pf/Mumble/client/mumble.exe"},
		{"Windows 1.3", "windows", map[string]string{"ProgramFiles(x86)": "pf"}, map[string]string{"pf/Mumble/mumble.exe": ""}, "HOME/pf/Mumble/mumble.exe"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := home(t, tt.files)
			found := Find(System{OS: tt.os, Home: dir, Root: dir, Env: below(dir, tt.env)})
			if len(found) != 1 {
				t.Fatalf("%+v", found)
			}
			if got := strings.ReplaceAll(strings.Join(found[0].Program, " "), dir, "HOME"); filepath.ToSlash(got) != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
	dir := home(t, map[string]string{"mumble": "", "etc/mumble": ""})
	if err := os.Chmod(filepath.Join(dir, "etc/mumble"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	env := func(string) string { return "." + string(filepath.ListSeparator) + filepath.Join(dir, "etc") }
	if found := Find(System{OS: "linux", Home: filepath.Join(dir, "home"), Root: dir, Env: env}); len(found) != 0 {
		t.Errorf("a program in the current directory, or one that cannot be run: %+v", found)
	}
}

func TestLink(t *testing.T) {
	for _, tt := range []struct {
		link Link
		want string
	}{
		{Link{Host: "::1", Port: 64738}, "mumble://[::1]:64738/?version=1.2.0"},
		{Link{Name: "alice", Host: "127.0.0.1", Port: 1, Channel: "Lobby/Red team", Title: "voice.example (Sotto)"},
			"mumble://alice@127.0.0.1:1/Lobby/Red%20team?version=1.2.0&title=voice.example%20%28Sotto%29"},
		{Link{Name: "a@b:c/d&e?f#g", Host: "::1", Port: 1, Channel: "/a?b&c#d/", Title: "x&version=9+#"},
			"mumble://a%40b%3Ac%2Fd&e%3Ff%23g@[::1]:1/a%3Fb&c%23d?version=1.2.0&title=x%26version%3D9%2B%23"},
	} {
		if got := tt.link.String(); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
}

// TestRemembers: the database of a client where it may be, and the name in it in any case.
func TestRemembers(t *testing.T) {
	const db = "SQLite format 3\x00...Ours\x01Voice.Example.org\xfc\xe2alice"
	for _, tt := range []struct {
		name, file, host string
		found            bool
	}{
		{"1.3 and 1.5", ".local/share/Mumble/Mumble/mumble.sqlite", "voice.example.org", true},
		{"an older one", ".local/share/data/Mumble/Mumble/.mumble.sqlite", "voice.example.org", true},
		{"Flatpak", ".var/app/info.mumble.Mumble/data/Mumble/Mumble/mumble.sqlite", "VOICE.example.org", true},
		{"another server", ".local/share/Mumble/Mumble/mumble.sqlite", "other.example.org", false},
		{"a name too short to tell", ".local/share/Mumble/Mumble/mumble.sqlite", "org", false},
		{"no database", "elsewhere/mumble.sqlite", "voice.example.org", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := home(t, map[string]string{tt.file: db})
			got := Remembers(System{OS: "linux", Home: dir}, tt.host)
			if (got != "") != tt.found || tt.found && got != filepath.Join(dir, tt.file) {
				t.Errorf("found %q", got)
			}
		})
	}
	if got := Remembers(System{OS: "linux"}, "voice.example.org"); got != "" {
		t.Errorf("without a home %q", got)
	}
}
