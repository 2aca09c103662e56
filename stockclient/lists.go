package stockclient

import (
	"bytes"
	"path/filepath"
)

// maxLists bounds what is read of a client's database, in bytes.
const maxLists = 16 << 20

// Remembers returns the database of a stock client in which the name or address of a
// server stands, as a favourite or as one that was visited, "" if there is none. It
// looks for the letters in the SQLite file as it is, so a name that is part of another
// or was deleted may be found, and one that has not been written to it yet is not.
func Remembers(sys System, host string) string {
	if sys.Home == "" || len(host) < 4 {
		return ""
	}
	if sys.Env == nil {
		sys.Env = func(string) string { return "" }
	}
	name := bytes.ToLower([]byte(host))
	for _, path := range databases(sys) {
		if b, _, err := readFile(path, maxLists); err == nil && bytes.Contains(bytes.ToLower(b), name) {
			return path
		}
	}
	return ""
}

// databases are the files that the client may use (src/mumble/Database.cpp).
func databases(sys System) []string {
	dirs := []string{sys.Home}
	for _, p := range places(sys) {
		dirs = append(dirs, p.dirs...)
	}
	if sys.OS != "windows" && sys.OS != "darwin" { // 1.3, which has its settings elsewhere
		dirs = append(dirs, filepath.Join(sys.dir("XDG_DATA_HOME", ".local/share"), "data", "Mumble", "Mumble"))
	}
	var paths []string
	for _, dir := range dirs {
		for _, name := range []string{"mumble.sqlite", ".mumble.sqlite"} {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	return paths
}
