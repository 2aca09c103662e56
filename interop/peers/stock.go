package peers

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// StockOptions are the settings of a stock client.
type StockOptions struct {
	// Kind is the version; the zero value is 1.3.4.
	Kind StockKind
	// Addr is where the client connects, as typed in its address field
	// ("127.0.0.1:1234" or "[::1]:1234").
	Addr string
	// Name is the user name.
	Name string
	// Server is where the user must arrive, directly or through others,
	// before StartStock returns. When nil, StartStock returns as soon as the
	// certificate is accepted.
	Server *Server
	// URL replaces the link made from Addr and Name.
	URL string
	// Certificate is the client's own; made when nil.
	Certificate *Certificate
	// Continuous sends voice all the time. Otherwise the client sends when it
	// hears something (voice activation).
	Continuous bool
	// Whisper is the channel, by its number, that the client whispers to while
	// HoldWhisper keeps its shortcut pressed; 0: it has no shortcut.
	Whisper uint32
	// TCPOnly is the client's setting "force TCP mode".
	TCPOnly bool
	// Resolver is the name server the client asks; nil: the machine's.
	Resolver *Resolver
	// KeepDialog leaves the question about the server's certificate open.
	KeepDialog bool
}

// StockClient is a running, unmodified Mumble desktop client. Its methods are for
// the test's own goroutine.
type StockClient struct {
	Certificate *Certificate
	P12         string // path of the certificate as the client keeps it: PKCS#12, no password

	t        testing.TB
	kind     StockKind
	root     string // chroot, or ""
	home     string // as this process sees it
	seen     string // as the client sees it
	resolver *Resolver
	screen   *screen
	card     *soundcard
	proc     *process
}

// stockStart bounds the wait for a window of the client.
const stockStart = 40 * time.Second

// Titles of the question about an unverifiable server certificate and of the main
// window, as regular expressions. 1.5 calls both the same; the main window is the
// one that was made first.
const (
	dialogTitle = "^Mumble$"
	mainTitle   = "^Mumble( -- .*)?$"
)

// StartStock starts the client with a screen, a sound card and a home of its
// own, lets it connect, and accepts the server's certificate in the dialog as a
// person would. The client shows nowhere but in its log view that it is connected,
// so the server is asked, if opts names one.
func StartStock(t testing.TB, opts StockOptions) *StockClient {
	t.Helper()
	c := &StockClient{t: t, kind: opts.Kind, root: opts.Kind.root(t), resolver: opts.Resolver, Certificate: opts.Certificate}
	c.makeHome()
	if c.Certificate == nil {
		c.Certificate = NewCertificate(t, opts.Name)
	}
	c.writeHome(opts)
	c.screen = newScreen(t)
	c.card = newSoundcard(t, c.home, stockEnv(c.home))
	link := opts.URL
	if link == "" {
		link = fmt.Sprintf("mumble://%s@%s/?version=1.2.0", url.PathEscape(opts.Name), opts.Addr)
	}
	c.start(link)
	t.Cleanup(func() {
		if t.Failed() {
			c.keepShot()
		}
	})
	if opts.KeepDialog {
		return c
	}
	if err := c.Accept(); err != nil {
		t.Fatal(err)
	}
	if opts.Server != nil {
		if err := opts.Server.WaitUser(opts.Name, stockStart); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// start starts the program, and again if it comes up without sound output. Of
// ten starts of 1.3.4 one or two do: input and output are opened when PulseAudio
// has named its devices, and now and then only the input is
// (src/mumble/PulseAudio.cpp, eventCallback). Such a client plays nothing, ever,
// and its silence would prove nothing.
func (c *StockClient) start(link string) {
	c.t.Helper()
	for range 4 {
		var err error
		if c.proc, err = startProcess(c.t, "mumble", c.command(link)); err != nil {
			c.t.Fatal(err)
		}
		says := func(what string) func() bool {
			return func() bool { return strings.Contains(c.proc.out.String(), what) || !c.Alive() }
		}
		if until(stockStart, says("PulseAudio: Starting input")) && until(3*time.Second, says("PulseAudio: Starting output")) && c.Alive() {
			return
		}
		c.t.Log("the client came up without sound output")
		c.proc.stop()
	}
	c.t.Fatal("peers: the client does not open its sound output")
}

// command is the client on its own screen, with its own sound card.
func (c *StockClient) command(link string) *exec.Cmd {
	cmd := c.kind.command(c.t, c.root, link)
	if c.resolver != nil {
		cmd = c.resolver.behind(c.t, c.home, c.root, cmd.Args)
	}
	cmd.Env = append(stockEnv(c.seen), "DISPLAY="+c.screen.display, "PULSE_SERVER=unix:"+filepath.Join(c.seen, pulseSocket))
	return cmd
}

// makeHome makes the client's home. A client that lives in a tree has it there.
func (c *StockClient) makeHome() {
	c.t.Helper()
	parent := os.TempDir()
	if c.root != "" {
		parent = filepath.Join(c.root, "tmp")
	}
	// A unix socket's path may have 107 bytes: t.TempDir is too long.
	home, err := os.MkdirTemp(parent, "sotto-c")
	if err != nil {
		c.t.Fatalf("peers: %v", err)
	}
	c.t.Cleanup(func() { os.RemoveAll(home) })
	c.home, c.seen = home, home
	if c.root != "" {
		c.seen = filepath.Join("/tmp", filepath.Base(home))
	}
}

// stockEnv is the environment of everything that belongs to a client with that
// home: nothing of the person's own session.
func stockEnv(home string) []string {
	in := func(name string) string { return filepath.Join(home, name) }
	return []string{
		"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "LC_ALL=C.UTF-8",
		"HOME=" + home, "XDG_CONFIG_HOME=" + in("config"), "XDG_DATA_HOME=" + in("data"),
		"XDG_CACHE_HOME=" + in("cache"), "XDG_RUNTIME_DIR=" + in("run"), "QT_QPA_PLATFORM=xcb",
		"DBUS_SESSION_BUS_ADDRESS=unix:path=" + in("no-bus"),
	}
}

func (c *StockClient) writeHome(opts StockOptions) {
	c.t.Helper()
	name, text := opts.Kind.settings(opts)
	name = filepath.Join("config", name)
	for _, dir := range []string{filepath.Dir(name), "data", "cache", "run", "Documents"} {
		if err := os.MkdirAll(filepath.Join(c.home, dir), 0o700); err != nil {
			c.t.Fatalf("peers: %v", err)
		}
	}
	if err := os.WriteFile(filepath.Join(c.home, name), text, 0o600); err != nil {
		c.t.Fatalf("peers: %v", err)
	}
	// The client reads this backup back on its first run instead of opening its
	// certificate wizard (src/mumble/main.cpp).
	c.P12 = filepath.Join(c.home, "Documents/MumbleAutomaticCertificateBackup.p12")
	pem := filepath.Join(c.home, "client.pem")
	if err := os.WriteFile(pem, append(append([]byte{}, c.Certificate.KeyPEM...), c.Certificate.CertPEM...), 0o600); err != nil {
		c.t.Fatalf("peers: %v", err)
	}
	run(c.t, "openssl", "pkcs12", "-export", "-in", pem, "-out", c.P12, "-passout", "pass:")
}

// Accept answers Yes to the question about the server's certificate. It fails if
// the client does not ask within the time limit.
func (c *StockClient) Accept() error {
	c.t.Helper()
	return c.answer("alt+y")
}

// Refuse answers No.
func (c *StockClient) Refuse() error {
	c.t.Helper()
	return c.answer("alt+n")
}

// Dialog reports whether a question with the title "Mumble" is on the screen.
func (c *StockClient) Dialog() bool { return len(c.dialogs()) > 0 }

// dialogs lists the windows with the title "Mumble", without the main window.
func (c *StockClient) dialogs() []string {
	main, _ := c.mainWindow()
	return slices.DeleteFunc(c.screen.windows(dialogTitle), func(w string) bool { return w == main })
}

// mainWindow is the oldest window: X numbers a client's windows as they are made.
func (c *StockClient) mainWindow() (string, error) {
	all := c.screen.windows(mainTitle)
	if len(all) == 0 {
		return "", errors.New("peers: the client shows no main window")
	}
	return slices.MinFunc(all, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) }), nil
}

// Answer presses a key in the question about the server's certificate.
func (c *StockClient) Answer(key string) error {
	c.t.Helper()
	return c.answer(key)
}

// AwaitDialog waits for a question.
func (c *StockClient) AwaitDialog() error {
	if !until(stockStart, func() bool { return c.Dialog() || !c.Alive() }) || !c.Alive() {
		return fmt.Errorf("peers: the client asks nothing about the server's certificate; running %v, windows %q", c.Alive(), c.Titles())
	}
	return nil
}

func (c *StockClient) answer(key string) error {
	if err := c.AwaitDialog(); err != nil {
		return err
	}
	// The dialog may not take keys in its very first moment: press again while
	// it is there.
	if !until(10*time.Second, func() bool {
		for _, w := range c.dialogs() {
			_ = c.screen.keys(w, key) // it may be gone already
		}
		return !c.Dialog()
	}) {
		return errors.New("peers: the question about the certificate stays open")
	}
	return nil
}

// Again ends the client and starts it once more, with all that it remembers.
func (c *StockClient) Again(link string) {
	c.t.Helper()
	c.proc.stop()
	c.start(link)
}

// Titles lists the titles of all windows, for diagnosis.
func (c *StockClient) Titles() []string {
	var all []string
	for _, w := range c.screen.windows(".") {
		all = append(all, c.screen.title(w))
	}
	return all
}

// Alive reports whether the client's process still runs.
func (c *StockClient) Alive() bool { return c.proc.alive() }

// Stop ends the client, not its screen and sound card. At the end of the test
// that happens by itself.
func (c *StockClient) Stop() { c.proc.stop() }

// Xdotool runs xdotool on the client's screen, for what has no method here.
func (c *StockClient) Xdotool(args ...string) (string, error) { return c.screen.do(args...) }

// Screenshot writes what the person would see to a PNG file.
func (c *StockClient) Screenshot(name string) {
	c.t.Helper()
	if err := c.screen.shot(name); err != nil {
		c.t.Error(err)
	}
}

// keepShot leaves a screenshot of a failed test in the temporary directory.
func (c *StockClient) keepShot() {
	name := filepath.Join(os.TempDir(), "sotto-"+strings.ReplaceAll(c.t.Name(), "/", "-")+".png")
	if err := c.screen.shot(name); err != nil {
		c.t.Log(err)
		return
	}
	c.t.Logf("the client's screen at the end: %s; windows %q", name, c.Titles())
}
