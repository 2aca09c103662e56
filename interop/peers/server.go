package peers

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ServerKind is which Mumble server to start.
type ServerKind uint8

// The servers of the two Debian releases people run.
const (
	Murmur134 ServerKind = iota // murmurd 1.3.4, Debian 12
	Murmur15                    // mumble-server 1.5.735, Debian 13
)

// ServerKinds lists all of them, for tests that go through each.
var ServerKinds = []ServerKind{Murmur134, Murmur15}

func (k ServerKind) String() string {
	switch k {
	case Murmur134:
		return "murmur-1.3.4"
	case Murmur15:
		return "murmur-1.5"
	}
	return "murmur-unknown-" + strconv.Itoa(int(k))
}

// ServerOptions are the settings of a server. The zero value is a server with
// Murmur's own defaults, except that nobody is banned for connecting often.
type ServerOptions struct {
	Certificate       *Certificate // made when nil
	Bandwidth         int          // bit/s per user; 0 leaves Murmur's default
	Password          string       // for ordinary users
	SuperUserPassword string       // "" leaves the random one Murmur makes
	Unlimited         bool         // no limits on message rate and size, wide bandwidth
	Ini               []string     // more lines for the ini file, "key=value"; the last of a key wins
}

// Server is a running Murmur.
//
// Murmur ends its UDP thread when the last user leaves and starts one with the
// next. Seen once in some hundred times under load (1.3.4): the new thread ended
// at once, and the server was deaf for datagrams until somebody else logged in. A
// test that empties a server and goes on with UDP keeps one raw client there.
//
// Its methods are safe for concurrent use except
// Stop and Restart, which belong to the test's own goroutine.
type Server struct {
	Kind        ServerKind
	Certificate *Certificate

	t    testing.TB
	opts ServerOptions
	site *site
	port int
	proc *process

	admin *Raw // see Admin
}

// serverStart bounds one start of a server until it answers; the first start
// of a database takes about a second here.
const serverStart = 20 * time.Second

// Start starts a server and returns when it answers on its port with its own
// certificate. The server ends with the test.
func Start(t testing.TB, kind ServerKind, opts ServerOptions) *Server {
	t.Helper()
	if opts.Certificate == nil {
		opts.Certificate = NewCertificate(t, "Murmur of a test")
	}
	s := &Server{Kind: kind, Certificate: opts.Certificate, t: t, opts: opts, site: newSite(t, kind)}
	// A port that was free a moment ago may be taken by a neighbour's test.
	var err error
	for range 5 {
		s.port = freePort(t)
		s.writeIni()
		if opts.SuperUserPassword != "" {
			s.setSuperUser()
		}
		if err = s.run(); err == nil {
			return s
		}
		t.Logf("port %d: %v", s.port, err)
	}
	t.Fatalf("peers: %v does not start: %v\n%s", kind, err, s.Log())
	return nil
}

// freePort finds a port that is free for both TCP and UDP.
func freePort(t testing.TB) int {
	t.Helper()
	for range 50 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			continue
		}
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenPacket("udp4", l.Addr().String())
		l.Close()
		if err != nil {
			continue
		}
		u.Close()
		return port
	}
	t.Fatal("peers: no port is free for both TCP and UDP")
	return 0
}

// writeIni writes the certificate and the settings.
func (s *Server) writeIni() {
	s.t.Helper()
	var b bytes.Buffer
	line := func(key string, value any) { fmt.Fprintf(&b, "%s=%v\n", key, value) }
	line("database", s.site.inside("db.sqlite"))
	line("ice", "") // no remote control port
	line("logfile", s.site.inside("log.txt"))
	line("welcometext", `"hello"`)
	line("host", "127.0.0.1")
	line("port", s.port)
	line("users", 100)
	line("bonjour", false)
	line("autobanAttempts", 0) // all clients share one address
	line("sslCert", s.site.inside("cert.pem"))
	line("sslKey", s.site.inside("key.pem"))
	line("serverpassword", s.opts.Password)
	if s.opts.Unlimited {
		line("bandwidth", 1000000)
		line("textmessagelength", 0)
		line("imagemessagelength", 0)
		for _, key := range []string{"messageburst", "messagelimit", "pluginmessageburst", "pluginmessagelimit"} {
			line(key, 1000000)
		}
	}
	if s.opts.Bandwidth != 0 {
		line("bandwidth", s.opts.Bandwidth)
	}
	for _, l := range s.opts.Ini {
		fmt.Fprintln(&b, l)
	}
	s.site.write(s.t, "murmur.ini", b.Bytes())
	s.site.write(s.t, "cert.pem", s.Certificate.CertPEM)
	s.site.write(s.t, "key.pem", s.Certificate.KeyPEM)
}

// setSuperUser runs the server once with -supw, which stores the password and
// ends.
func (s *Server) setSuperUser() {
	s.t.Helper()
	p, err := startProcess(s.t, s.Kind.String()+" -supw",
		s.site.command("-ini", s.site.inside("murmur.ini"), "-supw", s.opts.SuperUserPassword))
	if err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(serverStart):
		p.stop()
		s.t.Fatalf("peers: %v -supw does not end:\n%s", s.Kind, p.out)
	}
}

// run starts the program and waits until it answers.
func (s *Server) run() error {
	p, err := startProcess(s.t, s.Kind.String(), s.site.command("-fg", "-ini", s.site.inside("murmur.ini")))
	if err != nil {
		return err
	}
	s.proc = p
	var last error
	if !until(serverStart, func() bool {
		if !p.alive() {
			last = fmt.Errorf("peers: it ended: %s", p.out)
			return true
		}
		last = s.answers()
		if portTaken(p.out.String()) {
			last = errors.New("peers: its TCP or UDP port is taken") // it may answer at the other
			return true
		}
		return last == nil
	}) || last != nil {
		p.stop()
		return last
	}
	return nil
}

// portTaken reports that the program complains about its port. Murmur then
// stays up without serving anybody.
func portTaken(output string) bool {
	return strings.Contains(output, "TCP Listen on") || strings.Contains(output, "Failed to bind UDP")
}

// answers checks that the port is served by this server and not by a stranger.
func (s *Server) answers() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c, err := (&tls.Dialer{Config: insecureConfig(nil)}).DialContext(ctx, "tcp4", s.Addr())
	if err != nil {
		return err
	}
	defer c.Close()
	if der := c.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw; !bytes.Equal(der, s.Certificate.DER) {
		return fmt.Errorf("peers: another server answers on %s", s.Addr())
	}
	return nil
}

// Addr is the server's host:port, for TCP and UDP.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Port is the port of Addr.
func (s *Server) Port() int { return s.port }

// Pid is the process id of the server.
func (s *Server) Pid() int { return s.proc.cmd.Process.Pid }

// CertDER is the certificate the server shows.
func (s *Server) CertDER() []byte { return s.Certificate.DER }

// Log returns what the server has said since its last start, at most the last
// mebibyte.
func (s *Server) Log() string {
	if s.proc == nil {
		return ""
	}
	return s.proc.out.String() + string(s.site.read("log.txt"))
}

// WaitUser waits until the log says that a user of that name has logged in since
// the last start of the server.
func (s *Server) WaitUser(name string, limit time.Duration) error {
	in := regexp.MustCompile(`<\d+:` + regexp.QuoteMeta(name) + `\(-?\d+\)> Authenticated`)
	if !until(limit, func() bool { return in.MatchString(s.Log()) }) {
		return fmt.Errorf("peers: %s does not log in to %v within %v", name, s.Kind, limit)
	}
	return nil
}

// Database is the path of the server's SQLite file.
func (s *Server) Database() string { return filepath.Join(s.site.dir, "db.sqlite") }

// Stop ends the server; its database stays.
func (s *Server) Stop() { s.proc.stop() }

// Restart stops the server if it runs and starts it again on the same port with
// the same database and certificate.
func (s *Server) Restart() {
	s.t.Helper()
	s.proc.stop()
	if err := s.run(); err != nil {
		s.t.Fatalf("peers: %v does not start again: %v\n%s", s.Kind, err, s.Log())
	}
}

// Freeze stops the server in its tracks (SIGSTOP): connections stay, nothing
// answers. Thaw lets it go on.
func (s *Server) Freeze() { s.halt(true) }

// Thaw ends a Freeze.
func (s *Server) Thaw() { s.halt(false) }

func (s *Server) halt(yes bool) {
	s.t.Helper()
	if err := halt(s.proc.cmd.Process, yes); err != nil {
		s.t.Fatalf("peers: halt %v %v: %v", s.Kind, yes, err)
	}
}
