package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/headless"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/mumble/control"
)

// linger is how long play stays after its last packet, which may have to pass
// two guards and a busy server: with its sender gone it would be dropped.
const linger = time.Second

// typedOverhead is what encryption adds to each packet, in bytes, at most.
const typedOverhead = 56

// clientFlags are those of play, record and chat.
type clientFlags struct {
	plain     bool
	secret    secretFlags
	with      []string
	json      bool
	tcp       bool
	proxy     proxyFlag
	version   string
	reconnect bool
}

func (f *clientFlags) register(c *cobra.Command) {
	c.Flags().BoolVar(&f.plain, "plain", false, "be a Mumble client without Sotto: nothing is encrypted")
	f.secret.register(c)
	c.Flags().StringSliceVar(&f.with, "with", nil, "`NAME` of somebody who must hold the secret before anything leaves (repeatable)")
	c.Flags().BoolVar(&f.json, "json", false, "print events as JSON lines on standard output")
	c.Flags().BoolVar(&f.tcp, "tcp", false, "send and receive voice through the TCP tunnel only")
	f.proxy.register(c)
	c.Flags().StringVar(&f.version, "announce", "", "announce this `VERSION` of Mumble instead of "+client.Version.String())
}

// target is a parsed mumble:// URL.
type target struct {
	host     string
	port     uint16
	typed    bool // the port
	user     string
	password string
	channel  string
}

// parseTarget reads mumble://NAME[:PASS]@HOST[:PORT]/CHANNEL.
func parseTarget(s string) (target, error) {
	u, err := url.Parse(s)
	if err != nil {
		return target{}, fmt.Errorf("%q is no mumble:// URL", redact(s))
	}
	if u.Scheme != "mumble" || u.Hostname() == "" || !validHost(u.Hostname()) || u.User == nil || u.User.Username() == "" {
		return target{}, fmt.Errorf("%q is not of the form mumble://NAME[:PASS]@HOST[:PORT]/CHANNEL", redact(s))
	}
	t := target{host: u.Hostname(), port: 64738, user: u.User.Username(), channel: strings.Trim(u.Path, "/")}
	t.password, _ = u.User.Password()
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return target{}, fmt.Errorf("%q is no port", p)
		}
		t.port, t.typed = uint16(n), true
	}
	return t, nil
}

// parseVersion reads MAJOR.MINOR.PATCH.
func parseVersion(s string) (control.Version, error) {
	var v [3]uint16
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return 0, fmt.Errorf("%q is no version such as 1.3.4", s)
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("%q is no version such as 1.3.4", s)
		}
		v[i] = uint16(n)
	}
	return control.MakeVersion(v[0], v[1], v[2]), nil
}

// redact keeps a password in a mistyped URL out of messages: of NAME:PASS@HOST
// the part between the first colon and the last at sign, and without an at sign
// all behind the colon.
func redact(s string) string {
	const scheme = "mumble://"
	rest := s
	if len(s) >= len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
		rest = s[len(scheme):]
	}
	name, secret, ok := strings.Cut(rest, ":")
	if !ok {
		return s
	}
	at := strings.LastIndex(secret, "@")
	if at < 0 && strings.Contains(name, "@") {
		return s // NAME@HOST:PORT
	}
	shown := s[:len(s)-len(rest)] + name + ":..."
	if at >= 0 {
		shown += secret[at:]
	}
	return shown
}

// dial connects as the flags say.
func (a *app) dial(cmd *cobra.Command, f clientFlags, t target, out *reporter) (*client.Client, error) {
	if !f.proxy.given() {
		if err := proxyTrouble(a.stock()); err != nil {
			return nil, err
		}
	}
	network, err := f.proxy.network()
	if err != nil {
		return nil, err
	}
	store, server, err := a.open(t.host, t.port)
	if err != nil {
		return nil, err
	}
	sight := &sight{server: server, host: t.host, out: out}
	cfg := client.Config{
		Address: t.at(), SRV: !t.typed, Net: network,
		Username: t.user, Password: t.password, Channel: t.channel,
		CheckServer: sight.check, CheckChain: sight.look, NoUDP: f.tcp, Named: f.with, Reconnect: f.reconnect,
		Policy: e2ee.PolicyRequire,
	}
	if f.version != "" {
		if cfg.Announce, err = parseVersion(f.version); err != nil {
			return nil, usageError{err}
		}
	}
	if f.plain {
		if err := f.secret.without("--plain"); err != nil {
			return nil, err
		}
		cfg.Policy = e2ee.PolicyOff
	}
	if cfg.Secret, cfg.GroupSecret, err = f.secret.read(cmd.Context(), cfg.Policy); err != nil {
		return nil, err
	}
	if err := f.secret.named(f.with, cfg.Secret, cfg.GroupSecret); err != nil {
		return nil, err
	}
	if cfg.Policy != e2ee.PolicyOff {
		if cfg.Device, err = store.Device(); err != nil {
			return nil, err
		}
		if cfg.Book, err = store.Trust(); err != nil {
			return nil, err
		}
		cfg.MergeBook = store.MergeTrust
	}
	cert, _, err := store.MumbleCertificate()
	if err != nil {
		return nil, err
	}
	cfg.Certificate = &cert
	c, err := client.Dial(cmd.Context(), cfg)
	if err != nil {
		return nil, a.changed(about(cfg.Address, err), f.guard(), t.named())
	}
	a.sayPhrase(cmd.ErrOrStderr(), cfg.Secret)
	return c, nil
}

// sight holds the certificate that a server shows to a headless client against the
// remembered one, and says which is remembered at first contact.
type sight struct {
	server *keystore.Server
	host   string
	chain  [][]byte
	out    *reporter
}

// look comes before check.
func (v *sight) look(chain [][]byte) error { v.chain = chain; return nil }

func (v *sight) check(der []byte) error {
	_, known, err := v.server.Pin()
	if err != nil {
		return err
	}
	if err := v.server.CheckPin(der); err != nil {
		return err
	}
	if !known {
		e := events.Event{
			Event: "server_pinned", Fingerprint: keystore.Fingerprint(sha256.Sum256(der)),
			Reason: client.CertificateTrouble(v.host, v.chain, time.Now()),
		}
		v.out.event(e, "* "+pinned(e))
	}
	return nil
}

// guard are the flags of a guard that does what these ask for.
func (f *clientFlags) guard() guardFlags {
	g := guardFlags{policy: defaultPolicy, secret: f.secret, with: f.with, proxy: f.proxy}
	if f.plain {
		g.policy = e2ee.PolicyOff.String()
	}
	return g
}

// reporter reports the events of a headless client.
func (f *clientFlags) reporter(cmd *cobra.Command) *reporter {
	r := newReporter(f.json, cmd.OutOrStdout(), cmd.ErrOrStderr())
	r.state = cmd.ErrOrStderr()
	if f.plain {
		r.words = headless.DescribePlain
	}
	return r
}

// named is the server of a target as it was typed: without a port its SRV record
// counts.
func (t target) named() string {
	if t.typed {
		return t.at()
	}
	return t.host
}

// at is the address of a target, HOST:PORT.
func (t target) at() string { return net.JoinHostPort(t.host, strconv.Itoa(int(t.port))) }

func (a *app) playCommand() *cobra.Command {
	var f clientFlags
	loops, wait := 1, 30*time.Second
	c := &cobra.Command{
		Use: "play mumble://NAME[:PASS]@HOST[:PORT]/CHANNEL FILE.opus", Short: "Send an Ogg Opus file, packets as they are",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := parseTarget(args[0])
			if err != nil {
				return usageError{err}
			}
			if loops < 1 {
				return usageError{errors.New("--loop must be at least 1")}
			}
			file, err := os.Open(args[1])
			if err != nil {
				return err
			}
			clip, err := headless.ReadClip(file)
			file.Close()
			if err != nil {
				return hinted{about(args[1], err), "make one with: opusenc --framesize 20 in.wav out.opus"}
			}
			return a.play(cmd, f, t, clip, loops, wait)
		},
	}
	f.register(c)
	c.Flags().IntVar(&loops, "loop", 1, "play it `N` times")
	c.Flags().DurationVar(&wait, "wait", wait, "how long to wait until somebody can hear it")
	return c
}

func (a *app) play(cmd *cobra.Command, f clientFlags, t target, clip *headless.Clip, loops int, wait time.Duration) error {
	out := f.reporter(cmd)
	conn, err := a.dial(cmd, f, t, out)
	if err != nil {
		return err
	}
	quiet := make(chan struct{})
	go func() {
		defer close(quiet)
		for ev := range conn.Events() {
			out.client(ev)
		}
	}()
	if state, err := conn.State(); err == nil && state.MaxBandwidth > 0 {
		extra := 0
		if !f.plain {
			extra = typedOverhead
		}
		if need := clip.Bandwidth(extra); need > int(state.MaxBandwidth) {
			text := fmt.Sprintf("the file needs %d kbit/s, but the server allows %d; it will drop packets", need/1000, state.MaxBandwidth/1000)
			out.event(events.Event{Event: "notice", Code: "bandwidth", Text: text}, "sotto: hint: "+text)
		}
	}
	done, err := headless.Play(cmd.Context(), conn, clip, loops, wait)
	if err == nil {
		// What is in the tunnel or a socket buffer still has to leave.
		select {
		case <-time.After(linger):
		case <-cmd.Context().Done():
		}
	}
	conn.Close()
	<-quiet
	out.event(events.Event{Event: "played", Packets: done.Sent}, fmt.Sprintf("played %d packets", done.Sent))
	if errors.Is(err, headless.ErrNotReady) {
		return notPrivate(err)
	}
	return err
}

func (a *app) recordCommand() *cobra.Command {
	var f clientFlags
	var length time.Duration
	c := &cobra.Command{
		Use: "record mumble://NAME[:PASS]@HOST[:PORT]/CHANNEL DIR", Short: "Write what is heard, one Ogg Opus file per speaker",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := parseTarget(args[0])
			if err != nil {
				return usageError{err}
			}
			return a.record(cmd, f, t, args[1], length)
		},
	}
	f.register(c)
	c.Flags().DurationVar(&length, "for", 0, "stop after this time (default: until interrupted)")
	return c
}

func (a *app) record(cmd *cobra.Command, f clientFlags, t target, dir string, length time.Duration) error {
	ctx := cmd.Context()
	if length > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, length)
		defer stop()
	}
	rec, err := headless.NewRecorder(dir)
	if err != nil {
		return err
	}
	out := f.reporter(cmd)
	conn, err := a.dial(cmd, f, t, out)
	if err != nil {
		return err
	}
	err = headless.Record(ctx, conn, rec, out.client)
	conn.Close()
	err = errors.Join(err, rec.Close())
	for _, tr := range rec.Tracks() {
		out.event(events.Event{Event: "recorded", Session: tr.Session, Name: tr.Name, File: tr.File, Packets: tr.Packets, Lost: tr.Lost},
			fmt.Sprintf("%s: %d packets, %d lost", tr.File, tr.Packets, tr.Lost))
	}
	return err
}

func (a *app) chatCommand() *cobra.Command {
	var f clientFlags
	c := &cobra.Command{
		Use: "chat mumble://NAME[:PASS]@HOST[:PORT]/CHANNEL", Short: "Lines in, lines out", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := parseTarget(args[0])
			if err != nil {
				return usageError{err}
			}
			f.reconnect = true
			return a.chat(cmd, f, t)
		},
	}
	f.register(c)
	return c
}

func (a *app) chat(cmd *cobra.Command, f clientFlags, t target) error {
	out := f.reporter(cmd)
	out.human = cmd.OutOrStdout()
	conn, err := a.dial(cmd, f, t, out)
	if err != nil {
		return err
	}
	defer conn.Close()
	refused := func(err error) {
		text := headless.Sentence(err.Error())
		switch {
		case errors.Is(err, client.ErrNotConnected):
			text = "your message was not sent: the connection is lost"
		case errors.Is(err, client.ErrHeld):
			text = "your message was not sent: nobody here can read it encrypted yet"
		}
		out.event(events.Event{Event: "text_failed", Reason: text}, "* "+text)
	}
	err = headless.Chat(cmd.Context(), conn, headless.Lines(cmd.InOrStdin()), out.client, refused)
	if errors.Is(err, headless.ErrHeldBack) {
		return notPrivate(err)
	}
	return a.changed(err, f.guard(), t.named())
}
