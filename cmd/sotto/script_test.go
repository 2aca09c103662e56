package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/sotto-voip/sotto/keystore"
)

// secrets are what the scripts use as passwords and secrets. None of them may
// ever be printed.
var secrets = []string{"hunter2", "correct horse battery"}

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sotto": func() {
		thisMachine = scriptMachine(os.Getenv)
		os.Exit(run())
	}})
}

// TestScript runs the promises of the command line that need no Mumble server.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "config"))
			e.Setenv("SOTTO_TEST_DNS", "none")
			e.Setenv("GORACE", "atexit_sleep_ms=0") // else each command sleeps a second
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "ipv6" {
				return hasIPv6Loopback(), nil
			}
			return false, errors.New("unknown condition " + cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"fails": fails, "mode": mode, "p12": makeP12, "busy": busy, "server": startServer, "recert": recert,
			"keepport": keepPort, "listening": listening, "differ": differ, "long": long,
			"settings": writeSettings, "guards": guards, "appears": appears, "says": says, "untouched": untouched, "fails2": failsAll,
		},
	})
}

// fails runs a command that must end with an exit code and nothing but one
// error line and at most one hint on standard error:
//
//	fails CODE sotto ARG...
func fails(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: fails CODE COMMAND [ARG...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
	stdout, stderr := ts.ReadFile("stdout"), ts.ReadFile("stderr")
	if stdout != "" {
		ts.Fatalf("something is printed on standard output")
	}
	lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
	for len(lines) > 0 && strings.Contains(lines[0], "(not shown)") {
		lines = lines[1:] // the prompt
	}
	if len(lines) == 0 || len(lines) > 2 || !strings.HasPrefix(lines[0], "sotto: error: ") ||
		len(lines) == 2 && !strings.HasPrefix(lines[1], "sotto: hint: ") {
		ts.Fatalf("standard error is not one error and at most one hint")
	}
	for _, s := range secrets {
		if strings.Contains(stderr, s) {
			ts.Fatalf("%q is printed", s)
		}
	}
}

// mode checks permissions: mode 0600 FILE...
func mode(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	for _, name := range args[1:] {
		info, err := os.Lstat(ts.MkAbs(name))
		ts.Check(err)
		if (info.Mode().Perm() == fs.FileMode(want)) == neg {
			ts.Fatalf("%s has mode %04o", name, info.Mode().Perm())
		}
	}
}

// differ wants two files to have other contents.
func differ(ts *testscript.TestScript, _ bool, args []string) {
	if ts.ReadFile(args[0]) == ts.ReadFile(args[1]) {
		ts.Fatalf("%s and %s are the same", args[0], args[1])
	}
}

// long writes a file of N bytes on one line, for the owner alone: long N FILE
func long(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Repeat("x", n)), 0o600))
}

// makeP12 makes a certificate of NAME as Mumble exports it:
//
//	p12 FILE NAME legacy|modern [PASSWORD|- [expired]]
//
// ESC in the name stands for that character.
func makeP12(ts *testscript.TestScript, _ bool, args []string) {
	enc, password, until := pkcs12.LegacyRC2, "", time.Now().AddDate(1, 0, 0)
	if args[2] == "modern" {
		enc = pkcs12.Modern2023
	}
	if len(args) > 3 && args[3] != "-" {
		password = args[3]
	}
	if len(args) > 4 {
		until = time.Date(2020, 1, 31, 12, 0, 0, 0, time.UTC)
	}
	name := strings.ReplaceAll(args[1], "ESC", "\x1b")
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: until.AddDate(-20, 0, 0), NotAfter: until,
	}
	key := rsaKey()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	ts.Check(err)
	cert, err := x509.ParseCertificate(der)
	ts.Check(err)
	b, err := enc.Encode(key, cert, nil, password)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
	ts.Setenv("SHA1", sha1Of(der))
}

// rsaKey is one key for all scripts, as the stock client makes them.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// busy takes a port of 127.0.0.1 until the script ends: busy VAR
func busy(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}

// keepPort makes PORT the one that is kept for the server HOST:PORT:
//
//	keepport STATE HOST:PORT PORT
func keepPort(ts *testscript.TestScript, _ bool, args []string) {
	store, err := keystore.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	host, port, err := splitServer(args[1])
	ts.Check(err)
	server, err := store.Server(host, port)
	ts.Check(err)
	own, err := strconv.ParseUint(args[2], 10, 16)
	ts.Check(err)
	ts.Check(server.SetPort(uint16(own)))
}

// certificates of the servers of all scripts, and how many connections each got, by
// address.
var certificates, connections sync.Map

// startServer starts something that completes TLS and then is silent, which is
// all that a guard wants of a server before its client comes: server VAR
func startServer(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	ts.Check(err)
	cert := new(atomic.Pointer[tls.Certificate])
	if len(args) == 1 {
		cert.Store(newCertificate(ts))
	}
	certificates.Store(l.Addr().String(), cert)
	count := new(atomic.Int64)
	connections.Store(l.Addr().String(), count)
	conf := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert.Load(), nil }}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			if cert.Load() == nil {
				c.Close()
				continue
			}
			wg.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(time.Minute))
				bufio.NewReader(tls.Server(c, conf)).WriteTo(discard{})
			})
		}
	})
	ts.Defer(func() {
		l.Close()
		wg.Wait()
	})
	ts.Setenv(args[0], l.Addr().String())
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// recert gives a server another certificate, and raises one that is down:
// recert HOST:PORT
func recert(ts *testscript.TestScript, _ bool, args []string) {
	cert, ok := certificates.Load(args[0])
	if !ok {
		ts.Fatalf("no server at %s", args[0])
	}
	cert.(*atomic.Pointer[tls.Certificate]).Store(newCertificate(ts))
}

func newCertificate(ts *testscript.TestScript) *tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	ts.Check(err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// listening waits until a guard of the state directory serves events, checks
// its socket, and puts its port into VAR: listening STATE VAR
func listening(ts *testscript.TestScript, _ bool, args []string) {
	const patience = 20 * time.Second
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		socks, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "guard-*.sock"))
		ts.Check(err)
		if len(socks) == 0 {
			continue
		}
		c, err := net.Dial("unix", socks[0])
		if err != nil {
			continue
		}
		c.SetDeadline(end)
		line, err := bufio.NewReader(c).ReadString('\n')
		c.Close()
		if err != nil || !strings.Contains(line, `"event":"listening"`) {
			ts.Fatalf("the socket says %q, %v", line, err)
		}
		info, err := os.Lstat(socks[0])
		ts.Check(err)
		if info.Mode() != fs.ModeSocket|0o600 {
			ts.Fatalf("the socket has mode %v", info.Mode())
		}
		port := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(socks[0]), "guard-"), ".sock")
		if !strings.Contains(line, `"port":`+port+`,`) {
			ts.Fatalf("the socket of port %s says %s", port, line)
		}
		ts.Setenv(args[1], port)
		return
	}
	ts.Fatalf("no guard listens after %v", patience)
}
