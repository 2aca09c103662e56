package interop_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/internal/evilserver"
	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/voice"
	"github.com/sotto-voip/sotto/trust"
)

// The scenarios of a malicious server where a real one adds something: a proxy with
// the server's key stands before an unmodified murmurd. The same scenarios, and the
// others, run in virtual time in internal/simnet.

// evil is a murmurd, the proxy before it, and a watch for what must not leave.
type evil struct {
	*evilserver.Server
	t      *testing.T
	murmur *peers.Server

	mu    sync.Mutex
	marks map[string][][]byte // each as it is, and as text
	leaks []string
	seen  int
}

func startEvil(t *testing.T) *evil {
	t.Helper()
	x := &evil{t: t, murmur: peers.Start(t, peers.Murmur15, peers.ServerOptions{SuperUserPassword: "hall"}), marks: map[string][][]byte{}}
	x.Server = evilBefore(t, x.murmur)
	x.OnVoice(func(c *evilserver.Client, dir voice.Direction, p voice.Packet) ([]voice.Packet, time.Duration) {
		if dir == voice.ToServer {
			x.look(c, "voice", p.Data)
		}
		return []voice.Packet{p}, 0
	})
	x.OnClient(func(c *evilserver.Client, m proto.Message) evilserver.Verdict {
		if b, err := proto.Marshal(m); err == nil {
			x.look(c, string(m.ProtoReflect().Descriptor().Name()), b)
		}
		return evilserver.Pass()
	})
	return x
}

func evilBefore(t *testing.T, murmur *peers.Server) *evilserver.Server {
	t.Helper()
	s, err := evilserver.Start(evilserver.Options{Upstream: murmur.Addr(), Certificate: murmur.Certificate.TLS, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// run runs one scenario on this server.
func (x *evil) run(name string, f func(t *testing.T)) {
	before := x.t
	defer func() { x.t = before }()
	before.Run(name, func(t *testing.T) {
		x.t = t
		f(t)
	})
}

// look searches what leaves somebody for what must not.
func (x *evil) look(c *evilserver.Client, where string, b []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.seen++
	for what, forms := range x.marks {
		if slices.ContainsFunc(forms, func(f []byte) bool { return bytes.Contains(b, f) }) {
			x.leaks = append(x.leaks, fmt.Sprintf("%s of %s in %s", what, c.Name(), where))
		}
	}
}

func (x *evil) mark(what string, b []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.marks[what] = peers.Forms(b)
}

// sealed demands that something was looked at and nothing found.
func (x *evil) sealed() {
	x.t.Helper()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.seen == 0 {
		x.t.Error("nothing passed, so nothing is proved")
	}
	if len(x.leaks) > 0 {
		x.t.Errorf("%d things left readable, the first: %s", len(x.leaks), x.leaks[0])
	}
}

// caller is one client with automatic groups and what it was told.
type caller struct {
	*client.Client
	x      *evil
	name   string
	cfg    client.Config
	packet []byte // that it speaks

	mu     sync.Mutex
	events []client.Event
	frame  uint64
	ended  chan struct{}
}

// call logs in as somebody new.
func (x *evil) call(name string, policy e2ee.Policy) *caller {
	x.t.Helper()
	return x.callAt(name, policy, x.Addr(), x.murmur.CertDER())
}

func (x *evil) callAt(name string, policy e2ee.Policy, addr string, certificate []byte) *caller {
	x.t.Helper()
	want := sha256.Sum256(certificate)
	cert := peers.NewCertificate(x.t, name).TLS
	c := &caller{x: x, name: name, packet: bytes.Repeat([]byte(name), 20)[:41], cfg: client.Config{
		Address: addr, Username: name, Policy: policy, Certificate: &cert,
		Device: identity.New().NewDevice(0), Book: &trust.Book{},
		CheckServer: func(der []byte) error {
			if sha256.Sum256(der) != want {
				return errors.New("another certificate than the server's")
			}
			return nil
		},
	}}
	c.packet[0] = 0xF8
	x.mark("speech of "+name, c.packet[4:28])
	c.dial()
	return c
}

// dial connects, as a start of the program does.
func (c *caller) dial() {
	c.x.t.Helper()
	var err error
	if c.Client, err = client.Dial(c.x.t.Context(), c.cfg); err != nil {
		c.x.t.Fatal(err)
	}
	c.ended = make(chan struct{})
	go func(events <-chan client.Event, ended chan struct{}) {
		defer close(ended)
		for ev := range events {
			c.mu.Lock()
			c.events = append(c.events, ev)
			c.mu.Unlock()
		}
	}(c.Client.Events(), c.ended)
	own, ended := c.Client, c.ended
	c.x.t.Cleanup(func() { own.Close(); <-ended })
}

// all is what it was told from a mark on.
func (c *caller) all(mark int) []client.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]client.Event(nil), c.events[mark:]...)
}

func (c *caller) now() int { return len(c.all(0)) }

// until waits for an event.
func (c *caller) until(mark int, limit time.Duration, what string, match func(client.Event) bool) {
	c.x.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); ; <-tick.C {
		for _, ev := range c.all(mark) {
			if match(ev) {
				return
			}
		}
		if time.Now().After(end) {
			st, _ := c.State()
			var told []string
			for _, ev := range c.all(mark) {
				switch ev.(type) {
				case client.Voice, client.MirrorEvent:
				default:
					told = append(told, fmt.Sprintf("%T %+v", ev, ev))
				}
			}
			c.x.t.Fatalf("%s: %s does not come within %v; %v, %s\n%s", c.name, what, limit, st.Gate, st.Line, strings.Join(told, "\n"))
		}
	}
}

// told waits for a Notice with words in it.
func (c *caller) told(mark int, limit time.Duration, code, words string) {
	c.x.t.Helper()
	c.until(mark, limit, "the notice "+code, func(ev client.Event) bool {
		n, ok := ev.(client.Notice)
		return ok && n.Code == code && strings.Contains(n.Text, words)
	})
}

// asked waits for a Question.
func (c *caller) asked(mark int, limit time.Duration, q e2ee.Question, words string) {
	c.x.t.Helper()
	c.until(mark, limit, "the question "+q.String(), func(ev client.Event) bool {
		a, ok := ev.(client.Question)
		return ok && a.Question == q && strings.Contains(a.Text, words)
	})
}

// heard counts voice of a session from a mark on.
func (c *caller) heard(mark int, from uint32) (encrypted, clear int) {
	for _, ev := range c.all(mark) {
		if v, ok := ev.(client.Voice); ok && v.From == from && len(v.Opus) > 0 {
			if v.Encrypted {
				encrypted++
			} else {
				clear++
			}
		}
	}
	return encrypted, clear
}

// talk speaks n packets, one each 20 ms, whatever becomes of them.
func (c *caller) talk(n int) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range n {
		c.frame += 2
		_ = c.SendVoice(client.Frame{FrameNumber: c.frame, Opus: c.packet, HasPosition: true, Position: position})
		<-tick.C
	}
}

// talks is talk beside what the test does. It must be awaited: c speaks once at a time.
func (c *caller) talks(n int) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.talk(n)
	}()
	return done
}

// session is the one that the server gave.
func (c *caller) session() uint32 {
	st, err := c.State()
	if err != nil {
		c.x.t.Fatal(err)
	}
	return st.Self.Session
}

// meet waits until people are in one group and can speak.
func (x *evil) meet(list ...*caller) {
	x.t.Helper()
	waitWithin(x.t, 40*time.Second, "a group of all", func() bool {
		for _, c := range list {
			if st, err := c.State(); err != nil || st.Gate != e2ee.StatePriv || len(st.Members) != len(list) {
				return false
			}
		}
		return true
	})
	ctx, cancel := context.WithTimeout(x.t.Context(), patience)
	defer cancel()
	for _, c := range list {
		if err := c.WaitReady(ctx); err != nil {
			x.t.Fatal(err)
		}
	}
}
