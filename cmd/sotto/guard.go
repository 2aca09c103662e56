package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/headless"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/stockclient"
)

const defaultPolicy = "prefer"

type guardFlags struct {
	listen  string
	policy  string
	secret  secretFlags
	with    []string
	proxy   proxyFlag
	open    openFlags
	apart   bool // no notice is taken of the stock client
	json    bool
	verbose bool
}

func (a *app) guardCommand() *cobra.Command {
	var f guardFlags
	c := &cobra.Command{
		Use:   "guard HOST[:PORT]... | mumble://LINK",
		Short: "Stand between the Mumble client and a server, and encrypt",
		Long: "Listens on this machine for your Mumble client, connects to the server for it, and encrypts\n" +
			"voice, text, whispers and position. Guards that meet in a channel agree on keys by themselves.\n" +
			"With a secret that you and your friends agreed on elsewhere (--secret-file, SOTTO_SECRET, or\n" +
			"--ask-secret, without echo) that secret protects alone, or with --secret-mode groups is mixed\n" +
			"into the agreed keys.\n" +
			"A mumble:// link opens your Mumble where it leads, through guard, as --open does.\n" +
			"Several servers get a listener each, with a port of its own that is kept; one that fails does not\n" +
			"stop the others.\n" +
			"On a terminal guard asks once whether to use the certificate of your Mumble, so that servers know\n" +
			"you by it. If your Mumble goes through a proxy, guard connects only when --proxy says how.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.guard(cmd, f, args) },
	}
	c.Flags().StringVar(&f.listen, "listen", "", "`PORT` or ADDR:PORT to listen on, for one server; loopback only (default: a port kept for each server)")
	c.Flags().StringVar(&f.policy, "policy", defaultPolicy, "prefer, require or off; off encrypts nothing")
	f.secret.register(c)
	c.Flags().StringSliceVar(&f.with, "with", nil, "`NAME` of somebody who must hold the secret before anything leaves (repeatable)")
	f.proxy.register(c)
	f.open.register(c)
	c.Flags().BoolVar(&f.apart, "no-mumble", false, "take no notice of the Mumble client on this computer: its certificate, its proxy (for bots, or a second person)")
	c.Flags().String("accept-certificate", "", "accept the server's new certificate with this SHA-256 `FINGERPRINT`")
	c.Flags().String("accept-client", "", "let the Mumble client with this certificate, SHA-256 `FINGERPRINT`, use this guard from now on")
	c.Flags().BoolVar(&f.json, "json", false, "print events as JSON lines on standard output")
	c.Flags().BoolVar(&f.verbose, "verbose", false, "log more to standard error")
	return c
}

// guard stands between the stock client and each of the targets until the command
// is ended.
func (a *app) guard(cmd *cobra.Command, f guardFlags, targets []string) error {
	o, err := a.order(cmd, f, targets)
	if err != nil {
		return err
	}
	var found []stockclient.Client
	if !f.apart {
		found = a.stock()
	}
	if !f.proxy.given() {
		if err := proxyTrouble(found); err != nil {
			return err
		}
	}
	if o.net, err = f.proxy.network(); err != nil {
		return err
	}
	if o.store, err = a.store(); err != nil {
		return err
	}
	if o.secret, o.groups, err = f.secret.read(cmd.Context(), o.policy); err != nil {
		return err
	}
	if err := f.secret.named(f.with, o.secret, o.groups); err != nil {
		return err
	}
	if _, err := o.store.Identity(); err != nil {
		return err
	}
	o.found, o.hide = found, hides(found)
	cert, err := certificateOf(found)
	if err != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "sotto: hint: the certificate of your Mumble cannot be used:", oneLine(sentence(err)))
	}
	if err := a.adopt(cmd.Context(), o.store, cert, onTerminal() && !f.json, cmd.ErrOrStderr()); err != nil {
		return err
	}
	if len(o.posts) == 1 {
		return a.stand(cmd.Context(), o, o.posts[0])
	}
	return a.standAll(cmd.Context(), o)
}

// order is what all guards of one command share, and the list of them.
type order struct {
	flags    guardFlags
	policy   e2ee.Policy
	secret   string
	groups   bool
	accept   *[32]byte // certificate of the server
	client   *[32]byte // certificate of the stock client
	net      client.Net
	store    *keystore.Store
	found    []stockclient.Client
	hide     bool
	posts    []*post
	out, err io.Writer // of the command
	phrase   sync.Once // sayPhrase
}

// order reads the command line. Whatever is wrong with it is a usage error, and
// nothing was touched.
func (a *app) order(cmd *cobra.Command, f guardFlags, targets []string) (*order, error) {
	o := &order{flags: f, out: &oneWriter{w: cmd.OutOrStdout()}, err: &oneWriter{w: cmd.ErrOrStderr()}}
	for _, target := range targets {
		if strings.HasPrefix(target, "mumble://") {
			if f.apart {
				return nil, usageError{errors.New("a mumble:// link opens your Mumble, which --no-mumble takes no notice of; name the server as HOST[:PORT]")}
			}
			var err error
			if target, err = o.flags.open.follow(target); err != nil {
				return nil, usageError{err}
			}
		}
		p, err := newPost(target)
		if err != nil {
			return nil, usageError{err}
		}
		p.alone = len(targets) == 1
		for _, other := range o.posts {
			if strings.EqualFold(other.address, p.address) {
				return nil, usageError{fmt.Errorf("%s is named twice", p.target)}
			}
		}
		o.posts = append(o.posts, p)
	}
	var err error
	if o.accept, err = fingerprintFlag(cmd, "accept-certificate"); err != nil {
		return nil, usageError{err}
	}
	if o.client, err = fingerprintFlag(cmd, "accept-client"); err != nil {
		return nil, usageError{err}
	}
	if o.policy, err = e2ee.ParsePolicy(f.policy); err != nil {
		return nil, usageError{err}
	}
	if f.listen != "" {
		if len(targets) > 1 {
			return nil, usageError{errors.New("--listen names one port, and there are several servers")}
		}
		if _, err := a.listenOn(f.listen, 0); err != nil {
			return nil, usageError{err}
		}
	}
	if err := o.flags.open.check(len(targets)); err != nil {
		return nil, usageError{err}
	}
	if f.apart && f.open.open {
		return nil, usageError{errors.New("--open and --no-mumble exclude each other")}
	}
	if o.policy == e2ee.PolicyOff {
		if err := f.secret.without("--policy off"); err != nil {
			return nil, err
		}
	}
	return o, nil
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
	case "upstream_failed":
		if e.Code == "identity_changed" {
			return fmt.Sprintf("%s  %s. Ask the server's owner over another way than this server whether it was renewed; then start again with: %s", at, e.Reason,
				a.guardLine(f, "accept-certificate", e.Fingerprint, target))
		}
		return fmt.Sprintf("%s  upstream failed: %s", at, e.Reason)
	case "client_refused", "disconnected", "rejected", "text_failed":
		return fmt.Sprintf("%s  %s: %s", at, strings.ReplaceAll(e.Event, "_", " "), e.Reason)
	case "client_uncertified":
		return fmt.Sprintf("%s  your Mumble shows no certificate, so any user of this computer could use this guard", at)
	case "client_undecided":
		return fmt.Sprintf("%s  a Mumble asked about the certificate of this guard and has not come back. If you pressed Enter, that was No: connect again to %s, compare, and press Yes", at, e.Text)
	case "client_unknown":
		return fmt.Sprintf("%s  another Mumble came, with certificate %s; if it is yours, start again with: %s", at, e.Fingerprint,
			a.guardLine(f, "accept-client", e.Fingerprint, target))
	case "server_pinned":
		return at + "  " + pinned(e)
	case "client_pinned":
		return fmt.Sprintf("%s  this guard now belongs to the Mumble with certificate %s", at, e.Fingerprint)
	}
	return ""
}

// pinned words the first contact with a server.
func pinned(e events.Event) string {
	words := "the server's certificate is remembered from now on: " + e.Fingerprint
	if e.Reason != "" {
		words += ". Compare it with the server's owner: " + e.Reason
	}
	return words
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
		if c == ' ' || c == '/' || c == ':' || c == '@' || c == '[' || c == ']' || !unicode.IsPrint(c) {
			return false
		}
	}
	return len(host) <= 253
}

// listenOn turns --listen, or else the port kept for a server, 0 for none, into
// addresses. Both loopback families are served: clients are told [::1], because for
// 127.0.0.1 a stock client follows SRV records and can be led past guard.
func (a *app) listenOn(flag string, kept uint16) ([]string, error) {
	port := strconv.Itoa(int(kept))
	if flag != "" {
		if n, err := strconv.ParseUint(flag, 10, 16); err == nil {
			port = strconv.FormatUint(n, 10)
		} else {
			return loopbackOnly(flag)
		}
	}
	addrs := []string{net.JoinHostPort("127.0.0.1", port)}
	if a.ipv6() {
		addrs = append([]string{net.JoinHostPort("::1", port)}, addrs...)
	}
	return addrs, nil
}

// loopbackOnly reads ADDR:PORT of --listen.
func loopbackOnly(flag string) ([]string, error) {
	host, port, err := net.SplitHostPort(flag)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return nil, fmt.Errorf("--listen %q is neither a port nor ADDR:PORT", flag)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("--listen %s: only loopback addresses are allowed, for between your Mumble and guard nothing is end-to-end encrypted", flag)
	}
	return []string{flag}, nil
}
