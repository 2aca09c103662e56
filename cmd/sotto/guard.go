package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/guard"
	"github.com/sotto-voip/sotto/headless"
	"github.com/sotto-voip/sotto/keystore"
)

const defaultPolicy = "prefer"

type guardFlags struct {
	listen  string
	policy  string
	secret  secretFlags
	with    []string
	proxy   proxyFlag
	json    bool
	verbose bool
}

func (a *app) guardCommand() *cobra.Command {
	var f guardFlags
	c := &cobra.Command{
		Use:   "guard HOST[:PORT]",
		Short: "Stand between the Mumble client and a server, and encrypt",
		Long: "Listens on this machine for your Mumble client, connects to the server for it, and encrypts\n" +
			"voice, text, whispers and position. Guards that meet in a channel agree on keys by themselves.\n" +
			"With a secret that you and your friends agreed on elsewhere (--secret-file, SOTTO_SECRET, or\n" +
			"--ask-secret, without echo) that secret protects alone, or with --secret-mode groups is mixed\n" +
			"into the agreed keys.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.guard(cmd, f, args[0]) },
	}
	c.Flags().StringVar(&f.listen, "listen", "", "`PORT` or ADDR:PORT to listen on; loopback only (default: a port kept for this server)")
	c.Flags().StringVar(&f.policy, "policy", defaultPolicy, "prefer, require or off; off encrypts nothing")
	f.secret.register(c)
	c.Flags().StringSliceVar(&f.with, "with", nil, "`NAME` of somebody who must hold the secret before anything leaves (repeatable)")
	f.proxy.register(c)
	c.Flags().String("accept-certificate", "", "accept the server's new certificate with this SHA-256 `FINGERPRINT`")
	c.Flags().String("accept-client", "", "let the Mumble client with this certificate, SHA-256 `FINGERPRINT`, use this guard from now on")
	c.Flags().BoolVar(&f.json, "json", false, "print events as JSON lines on standard output")
	c.Flags().BoolVar(&f.verbose, "verbose", false, "log more to standard error")
	return c
}

func (a *app) guard(cmd *cobra.Command, f guardFlags, target string) error {
	host, port, err := splitServer(target)
	if err != nil {
		return usageError{err}
	}
	accept, err := fingerprintFlag(cmd, "accept-certificate")
	if err != nil {
		return usageError{err}
	}
	acceptOwn, err := fingerprintFlag(cmd, "accept-client")
	if err != nil {
		return usageError{err}
	}
	policy, err := e2ee.ParsePolicy(f.policy)
	if err != nil {
		return usageError{err}
	}
	network, err := f.proxy.network()
	if err != nil {
		return err
	}
	store, server, err := a.open(host, port)
	if err != nil {
		return err
	}
	listen, kept, err := listenOn(f.listen, server)
	if err != nil {
		return usageError{err}
	}
	if policy == e2ee.PolicyOff {
		if err := f.secret.without("--policy off"); err != nil {
			return err
		}
	}
	secret, groups, err := f.secret.read(cmd.Context(), policy)
	if err != nil {
		return err
	}
	if _, err := store.Identity(); err != nil {
		return err
	}
	out := newReporter(f.json, cmd.OutOrStdout(), cmd.ErrOrStderr())
	level := slog.LevelWarn
	if f.verbose {
		level = slog.LevelDebug
	}
	cfg := guard.Config{
		Address: net.JoinHostPort(host, strconv.Itoa(int(port))), SRV: !portTyped(target), Net: network, Listen: listen,
		Policy: policy, Secret: secret, GroupSecret: groups, Named: f.with, Store: store, Server: server,
		Log: slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level})),
		Events: func(e events.Event) {
			if e.Event != "rejected" { // else the server's own words
				e.Reason = headless.Sentence(e.Reason)
			}
			out.event(e, a.describe(e, f, target))
		},
		Accept: accept, AcceptClient: acceptOwn,
	}
	g, err := guard.New(cfg)
	if kept && errors.Is(err, syscall.EADDRINUSE) {
		return hinted{err, "another guard for this server may be running; stop it, or choose a port with --listen PORT"}
	}
	if err != nil {
		return err
	}
	defer g.Close()
	if err := g.Check(cmd.Context()); err != nil {
		return a.changed(about(cfg.Address, err), f, target)
	}
	if f.listen == "" && !kept {
		if err := server.SetPort(g.Port()); err != nil {
			return err
		}
	}
	out.feed, err = events.Serve(filepath.Join(store.Path(), fmt.Sprintf("guard-%d.sock", g.Port())))
	if err != nil {
		// Only watching programs need it.
		cfg.Log.Warn("no event socket", "error", err)
	} else {
		defer out.feed.Close()
	}
	if !f.json {
		a.intro(cmd, target, g, policy)
	}
	return g.Run(cmd.Context())
}

// fingerprintFlag reads a flag that holds a fingerprint; nil: it was not given.
// Given and empty, as from a variable that is not set, is an error like any
// other text that is no fingerprint.
func fingerprintFlag(cmd *cobra.Command, name string) (*[32]byte, error) {
	flag := cmd.Flags().Lookup(name)
	if !flag.Changed {
		return nil, nil
	}
	sum, err := keystore.ParseFingerprint(flag.Value.String())
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", name, err)
	}
	return &sum, nil
}

func (a *app) intro(cmd *cobra.Command, target string, g *guard.Guard, policy e2ee.Policy) {
	w := cmd.ErrOrStderr()
	fmt.Fprintf(w, "Guarding %s. Connect your Mumble client to  mumble://[::1]:%d/?version=1.2.0  (address ::1, port %d).\n", target, g.Port(), g.Port())
	fmt.Fprintf(w, "It will ask about a certificate. Compare SHA-1 %s and accept it once.\n", sha1Of(g.Certificate()))
	if policy == e2ee.PolicyOff {
		fmt.Fprintln(w, "Policy is off: nothing is encrypted.")
	}
}

// describe words an event of the guard for target for a person's terminal.
func (a *app) describe(e events.Event, f guardFlags, target string) string {
	at := e.Time.Local().Format(time.TimeOnly)
	switch e.Event {
	case "connected":
		return fmt.Sprintf("%s  your Mumble has come; connected to the server (%s)", at, e.Server)
	case "gate":
		return fmt.Sprintf("%s  %s: leaves as %s. %s", at, e.State, e.Leave, e.Reason)
	case "holder":
		if *e.Holds {
			return fmt.Sprintf("%s  %s holds the secret", at, headless.Name(e.Name))
		}
		return fmt.Sprintf("%s  %s is gone", at, headless.Name(e.Name))
	case "other_secret":
		return fmt.Sprintf("%s  %s uses another secret", at, headless.Name(e.Name))
	case "notice", "question", "elsewhere":
		return fmt.Sprintf("%s  %s", at, e.Text)
	case "roster":
		if len(e.Members) > 1 {
			return fmt.Sprintf("%s  in the encrypted group: %s", at, headless.Names(e.Members))
		}
	case "client_refused", "upstream_failed", "disconnected", "rejected", "text_failed":
		return fmt.Sprintf("%s  %s: %s", at, strings.ReplaceAll(e.Event, "_", " "), e.Reason)
	case "client_uncertified":
		return fmt.Sprintf("%s  your Mumble shows no certificate, so any user of this computer could use this guard", at)
	case "client_undecided":
		return fmt.Sprintf("%s  a Mumble asked about the certificate of this guard and has not come back. If you pressed Enter, that was No: connect again to mumble://[::1]:%d/?version=1.2.0, compare, and press Yes", at, e.Port)
	case "client_unknown":
		return fmt.Sprintf("%s  another Mumble came, with certificate %s; if it is yours, start again with: %s", at, e.Fingerprint,
			a.guardLine(f, "accept-client", e.Fingerprint, target))
	case "server_pinned":
		if e.Reason != "" {
			return fmt.Sprintf("%s  the server's certificate is remembered from now on: %s. Compare it with the server's owner: %s", at, e.Fingerprint, e.Reason)
		}
		return fmt.Sprintf("%s  the server's certificate is remembered from now on: %s", at, e.Fingerprint)
	case "client_pinned":
		return fmt.Sprintf("%s  this guard now belongs to the Mumble with certificate %s", at, e.Fingerprint)
	}
	return ""
}

// open opens the state directory and the record of one server.
func (a *app) open(host string, port uint16) (*keystore.Store, *keystore.Server, error) {
	store, err := a.store()
	if err != nil {
		return nil, nil, err
	}
	server, err := store.Server(host, port)
	return store, server, err
}

func (a *app) store() (*keystore.Store, error) {
	dir, err := keystore.Dir(a.state)
	if err != nil {
		return nil, err
	}
	store, err := keystore.Open(dir)
	if err == nil && store.Tightened() {
		fmt.Fprintf(os.Stderr, "sotto: %s was empty and open to other users; it is yours alone now (mode 0700)\n", oneLine(dir))
	}
	return store, err
}

// splitServer reads HOST[:PORT]; a bare IPv6 address needs no brackets.
func splitServer(s string) (host string, port uint16, err error) {
	host, p, err := net.SplitHostPort(s)
	if err != nil {
		host, p = s, "64738"
		if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
			host = s[1 : len(s)-1]
		}
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil || n == 0 || host == "" || !validHost(host) {
		if strings.ContainsAny(s, "@/") {
			s = redact(s) // somebody took it for a URL
		}
		return "", 0, fmt.Errorf("%q is no HOST[:PORT]", s)
	}
	return host, uint16(n), nil
}

func validHost(host string) bool {
	if net.ParseIP(host) != nil {
		return true
	}
	for _, c := range host {
		if c <= ' ' || c == '/' || c == ':' || c == '@' || c == '[' || c == ']' || c == 0x7F {
			return false
		}
	}
	return len(host) <= 253
}

// listenOn turns --listen, or the port kept for this server, into addresses.
// Both loopback families are served: clients are told [::1], because for
// 127.0.0.1 a stock client follows SRV records and can be led past guard.
func listenOn(flag string, server *keystore.Server) (addrs []string, kept bool, err error) {
	port := uint64(0)
	switch {
	case flag == "":
		p, ok, err := server.Port()
		if err != nil {
			return nil, false, err
		}
		port, kept = uint64(p), ok
	default:
		if port, err = strconv.ParseUint(flag, 10, 16); err == nil {
			break
		}
		host, p, err := net.SplitHostPort(flag)
		if err == nil {
			_, err = strconv.ParseUint(p, 10, 16)
		}
		if err != nil {
			return nil, false, fmt.Errorf("--listen %q is neither a port nor ADDR:PORT", flag)
		}
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			return nil, false, fmt.Errorf("--listen %s: only loopback addresses are allowed", flag)
		}
		return []string{flag}, false, nil
	}
	p := strconv.FormatUint(port, 10)
	addrs = []string{net.JoinHostPort("127.0.0.1", p)}
	if hasIPv6Loopback() {
		addrs = append([]string{net.JoinHostPort("::1", p)}, addrs...)
	}
	return addrs, kept, nil
}

func hasIPv6Loopback() bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}
