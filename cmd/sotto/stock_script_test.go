package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sotto-voip/sotto/stockclient"
)

// scriptMachine is the machine of the scripts: what DNS says about names of this
// computer stands in SOTTO_TEST_DNS (none, silent, refused, or the target of a
// record), SOTTO_TEST_NO_IPV6 takes ::1 away, with SOTTO_TEST_AGAIN a server that is away is
// soon tried again, notifications go to the file SOTTO_TEST_NOTIFY, and the stock client's program is
// looked for in SOTTO_TEST_PATH alone.
func scriptMachine(env func(string) string) machine {
	m := thisMachine
	m.resolver = scriptedDNS(env("SOTTO_TEST_DNS"))
	if env("SOTTO_TEST_NO_IPV6") != "" {
		m.ipv6 = func() bool { return false }
	}
	if s := env("SOTTO_TEST_NOW"); s != "" {
		now, err := time.Parse(time.RFC3339, s)
		if err != nil {
			panic(err)
		}
		m.now = func() time.Time { return now }
	}
	if env("SOTTO_TEST_AGAIN") != "" {
		m.again = 50 * time.Millisecond
	}
	m.notify = func(text string) {
		if path := env("SOTTO_TEST_NOTIFY"); path != "" {
			os.WriteFile(path+".part", []byte(text+"\n"), 0o600)
			os.Rename(path+".part", path)
		}
	}
	m.system = func() stockclient.System {
		sys := thisSystem()
		sys.Root = "/no-root"
		sys.Env = func(name string) string {
			if name == "PATH" {
				return env("SOTTO_TEST_PATH")
			}
			return env(name)
		}
		return sys
	}
	return m
}

// scriptedDNS is a resolver that gives one answer to everything.
type scriptedDNS string

func (d scriptedDNS) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if service != "mumble" || proto != "tcp" || name != "127.0.0.1." && name != "localhost." {
		panic("DNS is asked for " + service + " " + proto + " " + name)
	}
	switch d {
	case "none":
		return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	case "silent":
		<-ctx.Done()
		return "", nil, &net.DNSError{Err: ctx.Err().Error(), Name: name, IsTimeout: true}
	case "refused":
		return "", nil, &net.DNSError{Err: "connection refused", Name: name}
	}
	return "", []*net.SRV{{Target: string(d), Port: 64738}}, nil
}

func (d scriptedDNS) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return nil, errors.New("not scripted")
}

// writeSettings writes the settings of a stock client:
//
//	settings FILE json|ini FILE.p12|- [socks|hidden]
func writeSettings(ts *testscript.TestScript, _ bool, args []string) {
	var p12 []byte
	if args[2] != "-" {
		p12 = []byte(ts.ReadFile(args[2]))
	}
	option := ""
	if len(args) > 3 {
		option = args[3]
	}
	var text strings.Builder
	if args[1] == "json" {
		fmt.Fprintf(&text, `{"settings_version":1,"certificate":%q,"last_connection":{"username":"alice liddell"}`, base64.StdEncoding.EncodeToString(p12))
		if option == "socks" {
			text.WriteString(`,"network":{"proxy_type":"Socks5","proxy_host":"127.0.0.1","proxy_port":9050}`)
		}
		text.WriteString("}")
	} else {
		text.WriteString("[net]\ncertificate=\"@ByteArray(")
		for _, c := range p12 {
			fmt.Fprintf(&text, `\x%x""`, c) // quotes end the escape
		}
		text.WriteString(")\"\n")
		switch option {
		case "socks":
			text.WriteString("proxytype=2\nproxyhost=127.0.0.1\nproxyport=9050\n")
		case "hidden":
			text.WriteString("suppress=true\n")
		}
		text.WriteString("[overlay]\nversion=1.3.4\n")
	}
	path := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o700))
	ts.Check(os.WriteFile(path, []byte(text.String()), 0o600))
}

// guards waits until N guards of a state directory serve events: guards STATE N
func guards(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	within(ts, "so many guards", func() bool {
		socks, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "guard-*.sock"))
		ts.Check(err)
		n := 0
		for _, sock := range socks {
			c, err := net.Dial("unix", sock)
			if err != nil {
				continue
			}
			c.SetDeadline(time.Now().Add(time.Second))
			if line, err := bufio.NewReader(c).ReadString('\n'); err == nil && strings.Contains(line, `"listening"`) {
				n++
			}
			c.Close()
		}
		return n == want
	})
}

// appears waits until a file is there: appears FILE
func appears(ts *testscript.TestScript, _ bool, args []string) {
	within(ts, args[0], func() bool {
		_, err := os.Stat(ts.MkAbs(args[0]))
		return err == nil
	})
}

// says waits until a file has a line that matches: says FILE REGEXP
func says(ts *testscript.TestScript, _ bool, args []string) {
	line := regexp.MustCompile("(?m)" + args[1])
	within(ts, args[0]+" says "+args[1], func() bool {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && line.Match(b)
	})
}

func within(ts *testscript.TestScript, what string, ok func() bool) {
	const patience = 20 * time.Second
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("not after %v: %s", patience, what)
		}
	}
}

// untouched wants a server to have got no connection: untouched HOST:PORT
func untouched(ts *testscript.TestScript, neg bool, args []string) {
	n, ok := connections.Load(args[0])
	if !ok {
		ts.Fatalf("no server at %s", args[0])
	}
	if touched := n.(*atomic.Int64).Load() > 0; touched != neg {
		ts.Fatalf("connections to %s: %d", args[0], n.(*atomic.Int64).Load())
	}
}

// failsAll is fails for several errors: fails2 CODE sotto ARG...
func failsAll(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || strconv.Itoa(exit.ExitCode()) != args[0] {
		ts.Fatalf("%v, want exit code %s", err, args[0])
	}
}

// resolverAt is Go's own resolver with a server of its own.
func resolverAt(address string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", address)
	}}
}
