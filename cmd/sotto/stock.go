package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/headless"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/stockclient"
)

// proxyTrouble is the error of whoever would connect to a server around the proxy
// that the user has set in the stock client, nil if there is none. The client
// itself skips its proxy on the way to guard, because that is loopback: the server
// would see the user's own address. What cannot be read might name one.
func proxyTrouble(found []stockclient.Client) error {
	for _, c := range found {
		switch {
		case c.Err != nil:
			return hinted{fmt.Errorf("the settings of your Mumble cannot be read, so nobody knows whether it uses a proxy: %w", c.Err),
				"say how to reach the server: --proxy URL, or --proxy none"}
		case c.Proxy.Set():
			return hinted{errors.New("your Mumble goes through a proxy, and Sotto was not told to"),
				"name it with " + proxyFlagFor(c.Proxy) + ", or go without one on purpose with --proxy none"}
		}
	}
	return nil
}

// proxyFlagFor is the flag for a proxy of the stock client.
func proxyFlagFor(p stockclient.Proxy) string {
	if u := p.URL(); u != "" {
		return "--proxy " + shellQuote(u)
	}
	return "--proxy URL"
}

// hides reports whether the stock client is set to show servers no certificate.
func hides(found []stockclient.Client) bool { return len(found) > 0 && found[0].Hidden }

// certificate is what the stock client shows to servers.
type certificate struct {
	*keystore.Imported
	der    []byte
	client stockclient.Client
}

// certificateOf reads the certificate of the client that was used last; nil if it
// has none, or hides it. An error says that there is one that cannot be used.
func certificateOf(found []stockclient.Client) (*certificate, error) {
	for _, c := range found {
		if c.Hidden {
			return nil, nil
		}
		if c.Certificate == nil {
			continue
		}
		whose, der, err := keystore.ReadMumble(c.Certificate, "")
		if err != nil {
			return nil, err
		}
		return &certificate{whose, der, c}, nil
	}
	return nil, nil
}

// named is the stock client in a few words.
func named(c stockclient.Client) string {
	words := "found"
	if c.Version != "" {
		words += " " + c.Version
	}
	if c.Flatpak {
		words += " (Flatpak)"
	}
	return words
}

// adopt offers to use the certificate of the stock client, so that servers know
// guard's user by it. On a terminal it asks, once for each certificate; elsewhere
// it says what could be done, and does nothing.
func (a *app) adopt(ctx context.Context, store *keystore.Store, cert *certificate, ask bool, w io.Writer) error {
	has, err := store.HasMumble()
	if err != nil || cert == nil {
		return err
	}
	declined, err := store.Declined(cert.Hash)
	if declined || err != nil {
		return err
	}
	if has {
		return a.sayRenewed(store, cert, w)
	}
	if !ask {
		fmt.Fprintf(w, "sotto: hint: your Mumble has a certificate, %s; to be known by it through guard: %s identity import-mumble --found\n",
			headless.Printable(fmt.Sprintf("%q", cert.Name)), a.sotto())
		return nil
	}
	yes, err := askYes(ctx, fmt.Sprintf("Your Mumble: %s, certificate %q - use it here? [Y/n] ", named(cert.client), cert.Name))
	if errors.Is(err, io.EOF) {
		return nil // no answer: another time
	}
	if err != nil {
		return err
	}
	if !yes {
		fmt.Fprintln(w, "Then a name that is registered with it will not work through guard. You can change that:", a.sotto(), "identity import-mumble --found")
		return store.Decline(cert.Hash)
	}
	imported, err := store.ImportMumble(cert.client.Certificate, "")
	if err == nil && imported.Expired {
		fmt.Fprintf(w, "sotto: hint: it expired on %s; servers may refuse it\n", imported.NotAfter.Format(time.DateOnly))
	}
	return err
}

// sayRenewed says that the stock client has another certificate than the one that
// servers see. Which one they should see only the person knows, and the other is lost
// when it is replaced, so nobody is asked in passing.
func (a *app) sayRenewed(store *keystore.Store, cert *certificate, w io.Writer) error {
	own, _, err := store.MumbleCertificate()
	if err != nil || bytes.Equal(own.Certificate[0], cert.der) {
		return err
	}
	fmt.Fprintf(w, "sotto: hint: servers know you by another certificate than your Mumble has by now, %s; to be known by that one instead: %s identity import-mumble --found\n",
		headless.Printable(fmt.Sprintf("%q", cert.Name)), a.sotto())
	return nil
}

// enrol makes a guard belong to the stock client of this user before anybody can
// come: loopback is open to other users of the computer, and the first one would
// own it (SECURITY R9). It returns the fingerprint, "" if there is nothing to do.
// Two clients with two certificates settle by who comes first, and so does one
// whose settings were not found: its certificate may be another by now.
func enrol(server *keystore.Server, found []stockclient.Client) (string, error) {
	var der []byte
	for _, c := range found {
		if c.Path == "" || c.Err != nil || c.Hidden || c.Certificate == nil {
			continue
		}
		_, d, err := keystore.ReadMumble(c.Certificate, "")
		if err != nil || der != nil && string(d) != string(der) {
			return "", nil
		}
		der = d
	}
	if der == nil {
		return "", nil
	}
	if _, pinned, err := server.ClientPin(); pinned || err != nil {
		return "", err
	}
	return keystore.Fingerprint(sha256.Sum256(der)), server.PinClient(der)
}

// sayEnrolled reports what enrol did.
func sayEnrolled(out *reporter, fingerprint string) {
	if fingerprint != "" {
		out.event(events.Event{Event: "client_pinned", Fingerprint: fingerprint}, "")
	}
}

// onTerminal reports whether a person can be asked.
func onTerminal() bool {
	return term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd()))
}

// askYes asks a question on the terminal until the answer is yes or no; Enter means
// yes. The end of the input is io.EOF.
func askYes(ctx context.Context, question string) (bool, error) {
	in := bufio.NewReader(io.LimitReader(os.Stdin, 4096))
	type answer struct {
		line string
		err  error
	}
	answers := make(chan answer, 1)
	for {
		fmt.Fprint(os.Stderr, headless.Printable(question))
		go func() {
			line, err := in.ReadString('\n')
			answers <- answer{strings.ToLower(strings.TrimSpace(line)), err}
		}()
		select {
		case a := <-answers:
			if a.err != nil {
				fmt.Fprintln(os.Stderr)
				return false, a.err
			}
			switch a.line {
			case "", "y", "yes":
				return true, nil
			case "n", "no":
				return false, nil
			}
		case <-ctx.Done(): // the read ends with the program
			fmt.Fprintln(os.Stderr)
			return false, errors.New("interrupted")
		}
	}
}
