package main

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/stockclient"
)

// machine is what commands ask of the computer before they do anything on it.
type machine struct {
	resolver client.Resolver
	ipv6     func() bool // whether ::1 can be listened on
	system   func() stockclient.System
	now      func() time.Time
	again    time.Duration // after which a server that was away is tried again, at first
	notify   func(text string)
}

// thisMachine is the real one; tests have others.
var thisMachine = machine{resolver: net.DefaultResolver, ipv6: hasIPv6Loopback, system: thisSystem, now: time.Now, again: againFirst, notify: showNotification}

func thisSystem() stockclient.System {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "" // then nothing is found
	}
	return stockclient.System{OS: runtime.GOOS, Home: home, Env: os.Getenv}
}

// stock are the stock clients of this user.
func (m *machine) stock() []stockclient.Client {
	sys := m.system()
	if sys.Home == "" {
		return nil
	}
	return stockclient.Find(sys)
}

func hasIPv6Loopback() bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// recordWait bounds how long we wait for DNS. The stock client waits 10 s for each
// of its questions.
const recordWait = 3 * time.Second

// answer is what DNS says about a name of this computer.
type answer struct {
	target string        // of a record; empty: there is none
	silent bool          // nothing came within recordWait
	failed error         // an answer that is neither yes nor no
	took   time.Duration // until then
}

// loopbackRecord asks for the SRV record _mumble._tcp of a loopback name. The stock client
// asks for it before each connection, follows it, and from 1.4 on asks nobody if
// the certificate there is a good one (src/ServerResolver.cpp, src/mumble/
// ServerHandler.cpp): such a record leads it past guard. For ::1 it asks nothing.
func (m *machine) loopbackRecord(ctx context.Context, name string) answer {
	ctx, cancel := context.WithTimeout(ctx, recordWait)
	defer cancel()
	begin := time.Now()
	// The final dot keeps the domains of the search list away.
	_, records, err := m.resolver.LookupSRV(ctx, "mumble", "tcp", name+".")
	a := answer{took: time.Since(begin)}
	var dns *net.DNSError
	switch {
	case len(records) > 0:
		a.target = records[0].Target
	case err == nil:
	case isTimeout(err), ctx.Err() != nil:
		a.silent = true
	case errors.As(err, &dns) && dns.IsNotFound:
	default:
		a.failed = err
	}
	return a
}
