package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/headless"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/stockclient"
)

func (a *app) doctorCommand() *cobra.Command {
	var asJSON bool
	var proxy proxyFlag
	c := &cobra.Command{
		Use: "doctor [HOST[:PORT]...]", Short: "Look for what keeps your Mumble, guard and a server from each other", Args: cobra.ArbitraryArgs,
		Long: "Looks at this computer, its DNS, your Mumble client and the state directory, and for each server\n" +
			"named whether its guard runs and how the server answers. It changes nothing. Where something is\n" +
			"wrong it says what to do, and the exit code is 1. If your Mumble goes through a proxy, nothing is\n" +
			"sent to a server unless --proxy says how.",
		RunE: func(cmd *cobra.Command, args []string) error {
			servers := make([]*post, len(args))
			for i, target := range args {
				var err error
				if servers[i], err = newPost(target); err != nil {
					return usageError{err}
				}
			}
			return a.doctor(cmd, servers, proxy, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print each finding as one JSON object per line")
	proxy.register(c)
	return c
}

// What a finding weighs.
const (
	levelOK      = "ok"
	levelNote    = "note"    // worth knowing
	levelTrouble = "trouble" // the exit code is 1
)

// finding is one thing that doctor looked at.
type finding struct {
	Check  string `json:"check"`
	Server string `json:"server,omitempty"` // as typed
	Level  string `json:"level"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

// line words it for a person.
func (f finding) line() string {
	what := f.Check
	if f.Server != "" {
		what = f.Server + " " + what
	}
	line := fmt.Sprintf("%-8s %s: %s", f.Level, what, f.Text)
	if f.Remedy != "" {
		line += ". Remedy: " + f.Remedy
	}
	return line
}

func (a *app) doctor(cmd *cobra.Command, servers []*post, proxy proxyFlag, asJSON bool) error {
	given := proxy.given()
	network, err := proxy.network()
	if err != nil {
		return err
	}
	dir, err := keystore.Dir(a.state)
	if err != nil {
		return err
	}
	d := &doctor{a: a, ctx: cmd.Context(), out: cmd.OutOrStdout(), json: asJSON, dir: dir, net: network, found: a.stock()}
	if d.running, err = running(dir); err != nil {
		return err
	}
	d.computer()
	d.mumble()
	d.proxy(given)
	store := d.directory()
	for _, p := range servers {
		d.server(p, store)
	}
	if len(servers) == 0 {
		d.guards()
	}
	switch {
	case d.ctx.Err() != nil:
		return errors.New("interrupted")
	case d.troubles == 1:
		return errors.New("1 thing is wrong")
	case d.troubles > 1:
		return fmt.Errorf("%d things are wrong", d.troubles)
	}
	return nil
}

// doctor is one examination.
type doctor struct {
	a        *app
	ctx      context.Context
	out      io.Writer
	json     bool
	dir      string // the state directory
	net      client.Net
	found    []stockclient.Client
	running  []standing
	blocked  bool // nothing may be sent to a server
	troubles int
}

// report prints one finding. Texts of others in it cannot act on a terminal.
func (d *doctor) report(f finding) {
	if f.Level == levelTrouble {
		d.troubles++
	}
	f.Text, f.Remedy = oneLine(f.Text), oneLine(f.Remedy)
	if !d.json {
		fmt.Fprintln(d.out, headless.Printable(f.line()))
		return
	}
	if b, err := json.Marshal(f); err == nil {
		fmt.Fprintf(d.out, "%s\n", b)
	}
}

// slowDNS is from when on the wait is noticed: the client asks several times.
const slowDNS = time.Second

// computer looks at what lies between the stock client and guard.
func (d *doctor) computer() {
	f := finding{Check: "ipv6", Level: levelOK, Text: "your Mumble can reach guard at ::1"}
	if !d.a.ipv6() {
		f.Level, f.Text = levelNote, "::1 cannot be used, so your Mumble has to go to 127.0.0.1 and asks DNS about it first"
		f.Remedy = "enable IPv6 on the loopback interface"
	}
	d.report(f)
	var slowest answer
	led := false
	for _, name := range []string{"127.0.0.1", "localhost"} {
		r := d.a.loopbackRecord(d.ctx, name)
		if r.target != "" {
			led = true
			d.report(finding{"srv", "", levelTrouble, fmt.Sprintf("DNS leads Mumble from %s to %s, past Sotto", name, r.target),
				"connect Mumble to ::1 and nothing else, use another DNS server, and ask who runs this one"})
		}
		if r.took >= slowest.took {
			slowest = r
		}
		if r.silent {
			break
		}
	}
	if !led && !slowest.silent {
		d.report(finding{Check: "srv", Level: levelOK, Text: "DNS leads Mumble nowhere else"})
	}
	f = finding{Check: "dns", Level: levelOK, Text: "answers in " + milliseconds(slowest.took)}
	switch {
	case slowest.silent:
		f.Level, f.Text = levelTrouble, fmt.Sprintf("does not answer within %v; Mumble waits 10 to 20 s before it connects, also to guard", recordWait)
		f.Remedy = "see to it that the DNS server of this computer can be reached"
	case slowest.failed != nil:
		f.Level, f.Text = levelNote, "gives no answer: "+sentence(slowest.failed)
		f.Remedy = "see whether this computer has a DNS server"
	case slowest.took >= slowDNS:
		f.Level, f.Text = levelNote, "is slow, "+milliseconds(slowest.took)+"; Mumble asks it up to four times before it connects"
		f.Remedy = "use another DNS server"
	}
	d.report(f)
}

func milliseconds(t time.Duration) string { return fmt.Sprintf("%d ms", t.Milliseconds()) }

// mumble looks at the stock client.
func (d *doctor) mumble() {
	if len(d.found) == 0 {
		d.report(finding{"mumble", "", levelNote, "no Mumble client is found here", "install one, or connect the one you have to guard's address by hand"})
		return
	}
	for _, c := range d.found {
		f := finding{Check: "mumble", Level: levelOK, Text: named(c)}
		if c.Path != "" {
			f.Text += ", settings " + c.Path
		}
		if c.Program == nil {
			f.Level, f.Remedy = levelNote, "sotto guard --open cannot open it; start it yourself"
			f.Text += ", its program is not found"
		}
		d.report(f)
	}
	if hides(d.found) {
		d.report(finding{Check: "hidden", Level: levelNote, Text: "your Mumble shows servers no certificate, and so does guard",
			Remedy: "if that is not what you want: Configure, Settings, Network, Suppress certificate and password storage"})
	}
}

// proxy decides whether anything may be sent to servers.
func (d *doctor) proxy(given bool) {
	err := proxyTrouble(d.found)
	f := finding{Check: "proxy", Level: levelOK, Text: "your Mumble uses none"}
	switch {
	case err != nil && !given:
		d.blocked = true
		f.Level, f.Text, f.Remedy = levelTrouble, sentence(err), hintFor(err)
	case d.net.Proxy != nil:
		f.Text = "servers are reached through " + d.net.Proxy.String()
	case given:
		f.Text = "servers are reached without one, as you said"
	case len(d.found) == 0:
		return
	}
	d.report(f)
}

// directory looks at the state directory and opens it, if it is there and in order.
func (d *doctor) directory() *keystore.Store {
	newest, err := newestFile(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		d.report(finding{Check: "state", Level: levelOK, Text: "there is no state directory yet"})
		d.clock(time.Time{})
		return nil
	}
	wrong := keystore.Audit(d.dir)
	for _, err := range wrong {
		d.report(finding{"state", "", levelTrouble, sentence(err), hintFor(err)})
	}
	d.clock(newest)
	if len(wrong) > 0 {
		return nil
	}
	store, err := keystore.Open(d.dir)
	if err != nil {
		d.report(finding{"state", "", levelTrouble, sentence(err), hintFor(err)})
		return nil
	}
	d.report(finding{Check: "state", Level: levelOK, Text: store.Path() + " is yours alone"})
	d.certificate(store)
	return store
}

// certificate says by which certificate servers know the user.
func (d *doctor) certificate(store *keystore.Store) {
	has, err := store.HasMumble()
	cert, certErr := certificateOf(d.found)
	f := finding{Check: "certificate", Level: levelOK, Text: "that of your Mumble is imported"}
	var own tls.Certificate
	if has && err == nil {
		own, _, err = store.MumbleCertificate()
	}
	switch {
	case err != nil:
		f.Level, f.Text, f.Remedy = levelTrouble, sentence(err), hintFor(err)
	case has && cert != nil && !bytes.Equal(own.Certificate[0], cert.der):
		f.Level = levelNote
		f.Text = fmt.Sprintf("servers know you by SHA-1 %s, and your Mumble has another by now, %q, SHA-1 %s", sha1Of(own.Certificate[0]), cert.Name, sha1Of(cert.der))
		f.Remedy = "to be known by that one, which takes the place of the other: " + d.a.sotto() + " identity import-mumble --found"
	case has:
		if cert == nil {
			f.Text = "one is imported"
		}
		if leaf, err := x509.ParseCertificate(own.Certificate[0]); err == nil && d.a.now().After(leaf.NotAfter) {
			f.Level, f.Text = levelNote, f.Text+", and expired on "+leaf.NotAfter.Format(time.DateOnly)+"; servers may refuse it"
			f.Remedy = "make a new one in Mumble (Configure, Certificate Wizard), and import that; a name that is registered with the old one has to be registered anew"
		}
	case certErr != nil:
		f.Level, f.Text, f.Remedy = levelNote, "that of your Mumble cannot be used: "+sentence(certErr), hintFor(certErr)
	case cert != nil:
		f.Level, f.Text = levelNote, fmt.Sprintf("that of your Mumble, %q, is not imported; a name registered with it does not work through guard", cert.Name)
		f.Remedy = d.a.sotto() + " identity import-mumble --found"
	default:
		f.Level, f.Text = levelNote, "none is imported; servers know you by one of Sotto's own"
		f.Remedy = "if you are registered somewhere: " + d.a.sotto() + " identity import-mumble FILE.p12"
	}
	d.report(f)
}

// clockSlack is how far a clock may be off before anybody suffers.
const clockSlack = time.Hour

// clock tells what it can about the clock: time has passed since the newest file of
// the state directory was written.
func (d *doctor) clock(newest time.Time) {
	now := d.a.now()
	f := finding{Check: "clock", Level: levelOK, Text: "nothing speaks against " + now.Format(time.DateTime)}
	if now.Add(clockSlack).Before(newest) {
		f.Level = levelTrouble
		f.Text = fmt.Sprintf("it is %s here, and a file of the state directory is of %s", now.Format(time.DateTime), newest.Format(time.DateTime))
		f.Remedy = "set the clock of this computer; with a wrong one others take your keys for old or not valid yet"
	}
	d.report(f)
}

// newestFile is when the newest file in a directory and its servers was written.
func newestFile(dir string) (newest time.Time, err error) {
	if _, err := os.Stat(dir); err != nil {
		return newest, err
	}
	for _, pattern := range []string{"*", "servers/*/*"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return newest, err
		}
		for _, name := range names {
			if info, err := os.Lstat(name); err == nil && info.Mode().IsRegular() && info.ModTime().After(newest) {
				newest = info.ModTime()
			}
		}
	}
	return newest, nil
}

// guards lists the guards that run.
func (d *doctor) guards() {
	for _, s := range d.running {
		text := s.line()
		if s.Target != "" {
			text = s.Target + ", " + text
		}
		d.report(finding{Check: "guard", Level: levelOK, Text: text})
	}
	if len(d.running) == 0 {
		d.report(finding{"guard", "", levelNote, "no guard is running", d.a.sotto() + " guard HOST[:PORT]"})
	}
}
