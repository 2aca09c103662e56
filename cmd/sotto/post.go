package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/guard"
	"github.com/sotto-voip/sotto/headless"
	"github.com/sotto-voip/sotto/keystore"
)

// post is one guard: for one server, on one port.
type post struct {
	target  string // as typed
	host    string
	port    uint16
	address string // HOST:PORT
	alone   bool   // it is the only one of its command, whose lines need not name it
}

func newPost(target string) (*post, error) {
	host, port, err := splitServer(target)
	if err != nil {
		return nil, err
	}
	return &post{target: target, host: host, port: port, address: net.JoinHostPort(host, strconv.Itoa(int(port)))}, nil
}

// says puts the name of the server before a line where there are several.
func (p *post) says(line string) string {
	if p.alone || line == "" {
		return line
	}
	return p.target + ": " + line
}

// reporter is where the events of this guard go.
func (p *post) reporter(a *app, o *order) *reporter {
	out := newReporter(o.flags.json, o.out, o.err)
	out.adorn = func(e events.Event, line string) (events.Event, string) {
		if !p.alone || e.Event == "listening" {
			e.Target = p.target
		}
		// A program that reads events shows its own. Who did not have Mumble opened may
		// not use it just now.
		if text := notification(e); text != "" && !o.flags.json && (o.flags.open.open || e.Event == "elsewhere") {
			go a.notify(text)
		}
		return e, p.says(line)
	}
	return out
}

// stand runs one guard until ctx ends.
func (a *app) stand(ctx context.Context, o *order, p *post) error {
	server, err := o.store.Server(p.host, p.port)
	if err != nil {
		return err
	}
	port, kept, err := server.Port()
	if err != nil {
		return err
	}
	kept = kept && o.flags.listen == ""
	listen, err := a.listenOn(o.flags.listen, port)
	if err != nil {
		return usageError{err}
	}
	at, _, _ := net.SplitHostPort(listen[0]) // what the client is told
	if err := a.ledAway(ctx, at); err != nil {
		return err
	}
	enrolled, err := enrol(server, o.found)
	if err != nil {
		return err
	}
	out := p.reporter(a, o)
	cfg := p.config(a, o, server, out)
	cfg.Listen = listen
	g, err := guard.New(cfg)
	if kept && errors.Is(err, syscall.EADDRINUSE) {
		return hinted{err, "another guard for this server may be running; stop it, or choose a port with --listen PORT"}
	}
	if err != nil {
		return err
	}
	defer g.Close()
	if err := g.Check(ctx); err != nil {
		return a.changed(about(p.address, err), o.flags, p.target)
	}
	if o.flags.listen == "" && !kept {
		if err := server.SetPort(g.Port()); err != nil {
			return err
		}
	}
	sayEnrolled(out, enrolled) // not on the socket, which begins with where things stand
	out.feed, err = events.Serve(filepath.Join(o.store.Path(), fmt.Sprintf("guard-%d.sock", g.Port())))
	if err != nil {
		// Only watching programs need it.
		cfg.Log.Warn("no event socket", "error", err)
	} else {
		defer out.feed.Close()
	}
	o.phrase.Do(func() { a.sayPhrase(o.err, o.secret) })
	if !o.flags.json {
		p.intro(o, g, at)
	}
	if o.flags.open.open {
		visit := a.openClient(ctx, o, p, g, at, out)
		defer visit()
	}
	return g.Run(ctx)
}

// config is what guard is told about one server.
func (p *post) config(a *app, o *order, server *keystore.Server, out *reporter) guard.Config {
	level := slog.LevelWarn
	if o.flags.verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(o.err, &slog.HandlerOptions{Level: level}))
	if !p.alone {
		log = log.With("server", p.target)
	}
	return guard.Config{
		Address: p.address, SRV: !portTyped(p.target), Net: o.net,
		Policy: o.policy, Secret: o.secret, GroupSecret: o.groups, Named: o.flags.with,
		Store: o.store, Server: server, HideCertificate: o.hide, Log: log,
		Events: func(e events.Event) {
			if e.Event != "rejected" { // else the server's own words
				e.Reason = headless.Sentence(e.Reason)
			}
			out.event(e, a.describe(e, o.flags, p.target))
		},
		Name: o.flags.open.name, Password: o.flags.open.password,
		Accept: o.accept, AcceptClient: o.client,
	}
}

// ledAway is the error of a guard that can only be reached at a name for which DNS
// leads the stock client elsewhere.
func (a *app) ledAway(ctx context.Context, at string) error {
	if ip := net.ParseIP(at); ip == nil || ip.To4() == nil {
		return nil // it asks nothing about IPv6 addresses
	}
	if found := a.loopbackRecord(ctx, at); found.target != "" {
		return hinted{fmt.Errorf("DNS leads Mumble to %s when it is told to connect to this computer, past Sotto", found.target),
			"enable IPv6 on the loopback interface, or use another DNS server; and ask who runs this one"}
	}
	return nil
}

// intro says where the stock client has to connect.
func (p *post) intro(o *order, g *guard.Guard, at string) {
	fmt.Fprintf(o.err, "Guarding %s. Connect your Mumble client to  mumble://%s/?version=1.2.0  (address %s, port %d).\n",
		p.target, net.JoinHostPort(at, strconv.Itoa(int(g.Port()))), at, g.Port())
	fmt.Fprintln(o.err, p.says(fmt.Sprintf("It will ask about a certificate. Compare SHA-1 %s and accept it once.", sha1Of(g.Certificate()))))
	if o.policy == e2ee.PolicyOff {
		fmt.Fprintln(o.err, p.says("Policy is off: nothing is encrypted."))
	}
}

// A server that was away is tried again after againFirst, then after twice that, and so
// on up to againMost: seldom enough for Murmur's autoban.
const (
	againFirst = 30 * time.Second
	againMost  = 5 * time.Minute
)

// standAll runs all guards of an order. One that fails is said and does not stop the
// others; while there are others, a server that is only away is tried again. When none
// is left, that is an error.
func (a *app) standAll(ctx context.Context, o *order) error {
	failures := make([]error, len(o.posts))
	others := newCompany(len(o.posts))
	var wg sync.WaitGroup
	for i, p := range o.posts {
		wg.Go(func() {
			wait := a.again
			for {
				err := a.stand(ctx, o, p)
				said := failures[i] != nil
				failures[i] = err
				again := others.leave() && away(err)
				if err != nil && ctx.Err() == nil && !(said && again) {
					a.sayFailed(o, p, err, again)
				}
				if !again {
					return
				}
				select {
				case <-time.After(wait):
				case <-others.gone:
					return
				case <-ctx.Done():
					return
				}
				if !others.join() {
					return
				}
				wait = min(2*wait, againMost)
			}
		})
	}
	wg.Wait()
	for _, err := range failures {
		if err == nil {
			return nil
		}
	}
	return coded{errors.New("no server is guarded"), exitCode(failures[0])}
}

// sayFailed says that there is no guard for one of several servers.
func (a *app) sayFailed(o *order, p *post, err error, again bool) {
	var l labelled
	if !errors.As(err, &l) {
		err = about(p.target, err)
	}
	var whole bytes.Buffer // error and hint stay together
	report(&whole, err)
	if again {
		fmt.Fprintln(&whole, p.says("it will be tried again until it answers"))
	}
	o.err.Write(whole.Bytes())
	p.reporter(a, o).event(events.Event{Event: "server_failed", Reason: sentence(err)}, "")
}

// away reports whether an error is one of a server that could not be reached, which
// may pass by itself.
func away(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	var proxy *client.ProxyError
	return errors.As(err, &op) && op.Op != "listen" || errors.As(err, &dns) || errors.As(err, &proxy) ||
		errors.Is(err, client.ErrHungUp) || isTimeout(err)
}

// company counts guards that stand, or try to.
type company struct {
	mu   sync.Mutex
	n    int
	gone chan struct{} // closed when none is left, which is the end
}

func newCompany(n int) *company { return &company{n: n, gone: make(chan struct{})} }

// leave reports whether others are left.
func (c *company) leave() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	if c.n == 0 {
		close(c.gone)
	}
	return c.n > 0
}

// join is false after the end.
func (c *company) join() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == 0 {
		return false
	}
	c.n++
	return true
}

// oneWriter lets several guards write to one stream, a line at a time.
type oneWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (o *oneWriter) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(b)
}
