package keystore

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Server is what is known of one upstream server. It is named by what the user
// typed and not by what that resolved to, so that no DNS answer can exchange
// it. Every method reads or writes the files; it is safe for concurrent use.
type Server struct {
	store   *Store
	dir     string
	address string
}

// maxHost is the longest host name in bytes (RFC 1035 §2.3.4).
const maxHost = 255

// Server returns the record of a server as typed. Letters of host are lowered
// and brackets around an IPv6 address removed; nothing else is done to it. The
// errors are ErrAddress and those of Open.
func (s *Store) Server(host string, port uint16) (*Server, error) {
	host = typed(host)
	if host == "" || len(host) > maxHost || port == 0 {
		return nil, &Error{Err: fmt.Errorf("%w: host of %d bytes, port %d", ErrAddress, len(host), port)}
	}
	v := &Server{store: s, dir: s.path("servers", fileName(host, port)), address: net.JoinHostPort(host, strconv.Itoa(int(port)))}
	unlock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	for _, dir := range []string{s.path("servers"), v.dir} {
		if err := makeDir(dir, os.Lstat); err != nil {
			return nil, err
		}
	}
	if err := removeTemporary(v.dir); err != nil {
		return nil, err
	}
	if _, err := v.load(); err != nil { // damage is said here, not in the middle of a call
		return nil, err
	}
	return v, nil
}

// typed is the name of a server as records have it.
func typed(host string) string {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			host = inner
		}
	}
	return strings.ToLower(host)
}

// Knows reports whether there is a record of a server as typed. Other than Server
// it makes none.
func (s *Store) Knows(host string, port uint16) bool {
	_, err := os.Lstat(s.path("servers", fileName(typed(host), port), "server.json"))
	return err == nil
}

// fileName turns an address into a name that every file system takes and that
// belongs to no other address: HOST_PORT, other characters as = and two hex
// digits, a long one by its hash.
func fileName(host string, port uint16) string {
	var b strings.Builder
	for i := range len(host) {
		c := host[i]
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '.' && i > 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02x", c)
		}
	}
	name := b.String()
	if len(name) > 128 {
		sum := sha256.Sum256([]byte(host))
		name = "==" + hex.EncodeToString(sum[:])
	}
	return name + "_" + strconv.Itoa(int(port))
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

// Address returns host:port as the user typed it, in lower case.
func (s *Server) Address() string { return s.address }

// Port returns the port of guard's listener for this server, false if it has
// none yet.
func (s *Server) Port() (uint16, bool, error) {
	r, err := s.load()
	if err != nil {
		return 0, false, err
	}
	return r.Port, r.Port != 0, nil
}

// SetPort remembers the port of guard's listener, 0 for none. A port that
// another server has is ErrPortTaken: the stock client pins a certificate per
// port, and would warn about one of the two.
func (s *Server) SetPort(port uint16) error {
	return s.change(func(r *record) error {
		if port != 0 && port != r.Port {
			if err := s.portFree(port); err != nil {
				return err
			}
		}
		r.Port = port
		return nil
	})
}

// maxServers bounds the search for a port; beyond it ports may double.
const maxServers = 4096

func (s *Server) portFree(port uint16) error {
	dir, err := os.Open(s.store.path("servers"))
	if err != nil {
		return fmt.Errorf("keystore: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxServers)
	if err != nil {
		return fmt.Errorf("keystore: %w", err)
	}
	for _, name := range names {
		if name == filepath.Base(s.dir) {
			continue
		}
		path := s.store.path("servers", name, "server.json")
		b, err := readFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		// Another server's damage is not this one's; it shows when that one is used.
		if r, parseErr := parseRecord(b); err == nil && parseErr == nil && r.Port == port {
			return &Error{Err: fmt.Errorf("%w: %d, %s", ErrPortTaken, port, r.Address), hint: "choose another one with --listen PORT"}
		}
	}
	return nil
}
