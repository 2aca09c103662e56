package demo

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
)

// murmur is a real Mumble server: its program, and the directory it may write
// to, as this process and as the program see it.
type murmur struct {
	program   string
	tree      string // of another Debian, which the program runs inside; "" is this one
	dir, seen string
	uid, gid  int // of the account that the program becomes when root starts it; -1: nobody else
	addr      string
	cert      tls.Certificate
	password  string // of SuperUser
}

// serverUser is the account that Debian's packages make for the server.
const serverUser = "mumble-server"

// findServer finds Murmur 1.5 in the Debian 13 tree that scripts/peers builds, and
// else the server of this machine.
func findServer() (murmur, error) {
	m := murmur{uid: -1, gid: -1}
	cache := os.Getenv("SOTTO_CACHE")
	if user, err := os.UserCacheDir(); err == nil && cache == "" {
		cache = filepath.Join(user, "sotto")
	}
	const inside = "/usr/bin/mumble-server"
	tree := filepath.Join(cache, "trixie")
	if _, err := os.Stat(filepath.Join(tree, inside)); err == nil && cache != "" && mayEnter(tree) {
		m.tree, m.program = tree, inside
		return m, m.account(filepath.Join(tree, "etc/passwd"))
	}
	var err error
	for _, name := range []string{"mumble-server", "murmurd"} {
		if m.program, err = exec.LookPath(name); err == nil {
			return m, m.account("/etc/passwd")
		}
	}
	return m, err
}

// account finds whom the program becomes when root starts it.
func (m *murmur) account(passwd string) error {
	if os.Getuid() != 0 {
		return nil
	}
	b, err := os.ReadFile(passwd)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(line, ":")
		if len(f) < 4 || f[0] != serverUser {
			continue
		}
		if m.uid, err = strconv.Atoi(f[2]); err == nil {
			m.gid, err = strconv.Atoi(f[3])
		}
		return err
	}
	return user.UnknownUserError(serverUser)
}

func (m *murmur) command(args ...string) *exec.Cmd {
	cmd := exec.Command(m.program, append([]string{"-ini", filepath.Join(m.seen, "murmur.ini")}, args...)...)
	cmd.Env = []string{"LC_ALL=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + m.seen}
	confine(cmd, m.tree, m.uid, m.gid)
	return cmd
}

// startServer starts the server on a free port of loopback, with a certificate
// whose key the demo knows.
func (s *stage) startServer() (*murmur, error) {
	m, err := findServer()
	if err != nil {
		return nil, err
	}
	if m.dir, err = os.MkdirTemp(filepath.Join(m.tree, os.TempDir()), "sotto-demo-server"); err != nil {
		return nil, err
	}
	s.dirs = append(s.dirs, m.dir)
	m.seen = filepath.Join("/", strings.TrimPrefix(m.dir, m.tree))
	certPEM, keyPEM, err := newCertificate("Murmur")
	if err != nil {
		return nil, err
	}
	if m.cert, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		return nil, err
	}
	for name, b := range map[string][]byte{"cert.pem": certPEM, "key.pem": keyPEM} {
		if err := os.WriteFile(filepath.Join(m.dir, name), b, 0o600); err != nil {
			return nil, err
		}
	}
	m.password = rand.Text()
	const attempts = 3 // a free port can be taken before the server opens it
	for range attempts {
		if err = s.try(&m); err == nil {
			return &m, nil
		}
	}
	return nil, err
}

func (s *stage) try(m *murmur) error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	m.addr = l.Addr().String()
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	ini := fmt.Sprintf("database=%[1]s/db.sqlite\nlogfile=%[1]s/log.txt\nsslCert=%[1]s/cert.pem\nsslKey=%[1]s/key.pem\n"+
		"ice=\nhost=127.0.0.1\nport=%[2]d\nusers=20\nbonjour=false\nautobanAttempts=0\n", m.seen, port)
	if err := os.WriteFile(filepath.Join(m.dir, "murmur.ini"), []byte(ini), 0o644); err != nil {
		return err
	}
	if err := m.own(); err != nil {
		return err
	}
	// The server stores the password and ends, with success or not. Arguments could
	// be read by everybody on the machine.
	cmd := m.command("-readsupw")
	cmd.Stdin = strings.NewReader(m.password + "\n")
	supw, err := s.start(cmd)
	if err != nil {
		return err
	}
	select {
	case <-supw.done:
	case <-time.After(patience):
		return errors.New("the server does not take a password")
	}
	p, err := s.start(m.command("-fg"))
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		c, err := net.DialTimeout("tcp4", m.addr, time.Second)
		if err == nil {
			c.Close()
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("the server ended: %s", trim(p.stderr.Bytes()))
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return errors.New("the server does not listen")
}

// own hands the directory to the account of the server.
func (m *murmur) own() error {
	if m.uid < 0 {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(m.dir, "*"))
	if err != nil {
		return err
	}
	for _, f := range append(files, m.dir) {
		if err := os.Chown(f, m.uid, m.gid); err != nil {
			return err
		}
	}
	return nil
}

// isServer accepts this server's certificate and no other.
func (m *murmur) isServer(der []byte) error {
	if !bytes.Equal(der, m.cert.Certificate[0]) {
		return errors.New("another certificate than the server's")
	}
	return nil
}

// makeChannel makes a channel, as the owner of a server does: SuperUser comes by
// way of the proxy, which says the words that the client package has not.
func (s *stage) makeChannel(name string) error {
	owner, err := client.Dial(s.ctx, client.Config{
		Address: s.evil.Addr(), Username: "SuperUser", Password: s.server.password, CheckServer: s.server.isServer,
		Policy: e2ee.PolicyOff,
	})
	if err != nil {
		return fmt.Errorf("SuperUser: %w", err)
	}
	defer owner.Close()
	through := s.evil.Client("SuperUser", patience)
	if through == nil {
		return errors.New("SuperUser does not come")
	}
	s.evil.InjectServer(through, newChannel(name))
	return s.until("the channel "+name, func() bool { return owner.Join(name) == nil })
}

// newCertificate makes a self-signed certificate.
func newCertificate(name string) (certPEM, keyPEM []byte, err error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

// ownCertificate is newCertificate, ready for use.
func ownCertificate(name string) (tls.Certificate, error) {
	certPEM, keyPEM, err := newCertificate(name)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(certPEM, keyPEM)
}
