package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/guard"
	"github.com/sotto-voip/sotto/stockclient"
)

// openFlags say whether guard starts the stock client.
type openFlags struct {
	open    bool
	name    string
	channel string
	// Of a link that was given in place of the server.
	password string
	title    string
}

// follow takes what a mumble:// link names, but for what flags have named, and
// returns the server as one would type it. Who gives a link wants to go there.
func (f *openFlags) follow(link string) (target string, err error) {
	l, err := stockclient.ParseLink(link)
	if err != nil {
		return "", fmt.Errorf("%q is no mumble://[NAME[:PASS]@]HOST[:PORT][/CHANNEL]", redact(link))
	}
	f.open, f.title = true, l.Title
	if f.name == "" || f.name == l.Name { // a password belongs to its name
		f.name, f.password = l.Name, l.Password
	}
	f.channel = cmp.Or(f.channel, l.Channel)
	target = l.Host
	switch {
	case l.Port != 0:
		target = net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port)))
	case strings.Contains(l.Host, ":"):
		target = "[" + l.Host + "]"
	}
	return target, nil
}

func (f *openFlags) register(c *cobra.Command) {
	c.Flags().BoolVar(&f.open, "open", false, "open your Mumble client and have it connect to guard")
	c.Flags().StringVar(&f.name, "name", "", "with --open: connect as `NAME` (default: the name that Mumble used last)")
	c.Flags().StringVar(&f.channel, "channel", "", "with --open: go to the channel at this `PATH`, as Lobby/Red team")
}

func (f *openFlags) check(servers int) error {
	switch {
	case f.open && servers > 1:
		return errors.New("--open opens one server, and there are several")
	case !f.open && f.name != "":
		return errors.New("--name belongs to --open")
	case !f.open && f.channel != "":
		return errors.New("--channel belongs to --open")
	}
	return nil
}

// words are the flags as a shell takes them.
func (f *openFlags) words() []string {
	if !f.open {
		return nil
	}
	words := []string{"--open"}
	if f.name != "" {
		words = append(words, "--name", shellQuote(f.name))
	}
	if f.channel != "" {
		words = append(words, "--channel", shellQuote(f.channel))
	}
	return words
}

// openClient starts the stock client and has it come to g. The function that it
// returns waits until everything that belongs to that has ended, but for the client
// itself, which stays.
func (a *app) openClient(ctx context.Context, o *order, p *post, g *guard.Guard, at string, out *reporter) (wait func()) {
	f := o.flags.open
	link := stockclient.Link{
		Name: f.name, Host: at, Port: g.Port(), Channel: f.channel, Title: cmp.Or(f.title, p.target) + " (Sotto)",
	}
	tell := func(code, text string) {
		e := events.Event{Event: "notice", Code: code, Text: text}
		e.Time = time.Now().UTC()
		out.event(e, a.describe(e, o.flags, p.target))
	}
	for _, c := range o.found {
		if c.Program == nil {
			continue
		}
		if link.Name == "" {
			link.Name = c.Username
		}
		cmd := exec.Command(c.Program[0], slices.Concat(c.Program[1:], []string{link.String()})...)
		detach(cmd) // what ends guard leaves it alone
		if err := cmd.Start(); err != nil {
			tell("open", fmt.Sprintf("your Mumble could not be opened: %v", err))
			return func() {}
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }() // ends with the client, or with us
		ctx, cancel := context.WithCancel(ctx)
		v := &visit{
			came: g.Came, ended: ended, tell: tell, at: fmt.Sprintf("address %s, port %d", at, g.Port()),
			silent: func() bool { return a.loopbackRecord(ctx, "localhost").silent },
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			v.watch(ctx)
		}()
		return func() {
			cancel()
			<-done
		}
	}
	tell("open", "no Mumble was found here that could be opened; start yours and connect it to the address above")
	return func() {}
}

// visit is a stock client that was started and has to come.
type visit struct {
	came   func() (connections, logins uint64)
	ended  <-chan error // the program's end; a running client that took the link over ends it at once
	silent func() bool  // whether DNS does not answer; waits for it
	tell   func(code, text string)
	at     string // where the client has to go, for people
}

// Times of a visit. A client waits for DNS, which guard cannot help: 5 s for each of
// its questions, twice, before and after it connects.
const (
	visitWait   = 5 * time.Second
	visitSilent = 25 * time.Second // with dead DNS
	visitDialog = 5 * time.Second  // from the question about the certificate to the login
	visitLook   = 100 * time.Millisecond
)

// watch says what a person should know about how the client comes, or does not.
func (v *visit) watch(ctx context.Context) {
	silent := make(chan bool, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { silent <- v.silent() })
	look := time.NewTicker(visitLook)
	defer look.Stop()
	begin, wait, dead := time.Now(), visitWait, false
	var first time.Time // when a connection was first seen
	for {
		connections, logins := v.came()
		now := time.Now()
		if connections > 0 && first.IsZero() {
			first = now
		}
		switch {
		case logins > 0:
			return
		case !first.IsZero() && now.Sub(first) >= visitDialog:
			v.tell("certificate", "your Mumble asks about guard's certificate. Compare it and press Yes, not Enter, which means No. "+
				"If you answered already, connect again: Server, Connect, "+v.at)
			return
		case first.IsZero() && now.Sub(begin) >= wait:
			if dead && wait == visitWait {
				wait = visitSilent
				v.tell("dns", "your Mumble waits for DNS, which does not answer; that takes up to 25 s")
				continue
			}
			v.tell("absent", "your Mumble did not come to Sotto. If it is connected to the server already, it went around Sotto and is not protected: "+
				"disconnect it, then connect it to "+v.at)
			return
		}
		select {
		case <-ctx.Done():
			return
		case dead = <-silent:
		case err := <-v.ended:
			v.ended = nil
			if err != nil && first.IsZero() {
				v.tell("open", fmt.Sprintf("your Mumble could not be opened: %v", err))
				return
			}
		case <-look.C:
		}
	}
}
