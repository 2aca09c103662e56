package client_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mirror"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// reader takes the events of a client for a test to look at.
type reader struct {
	*client.Client
	t      testing.TB
	events chan client.Event
	done   chan struct{}
}

func dial(t testing.TB, cfg client.Config) *reader {
	t.Helper()
	c, err := client.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, c)
}

func read(t testing.TB, c *client.Client) *reader {
	r := &reader{Client: c, t: t, events: make(chan client.Event, 10_000), done: make(chan struct{})}
	go func() {
		defer close(r.done)
		for ev := range c.Events() {
			r.events <- ev
		}
		close(r.events)
	}()
	return r
}

func (r *reader) close() {
	r.Close()
	<-r.done
}

// next returns the next event of type T and drops others; false: there came none
// before the bubble rests.
func next[T client.Event](r *reader) (T, bool) {
	synctest.Wait()
	for {
		select {
		case ev, ok := <-r.events:
			if !ok {
				return *new(T), false
			}
			if ev, is := ev.(T); is {
				return ev, true
			}
		default:
			return *new(T), false
		}
	}
}

func must[T client.Event](r *reader) T {
	r.t.Helper()
	ev, ok := next[T](r)
	if !ok {
		r.t.Fatalf("no %T came", ev)
	}
	return ev
}

func TestLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		cfg := h.config("alice")
		cfg.Password, cfg.Tokens, cfg.Bot, cfg.Channel = "pw", []string{"a", "b"}, true, "Lobby/Red team"
		r := dial(t, cfg)
		defer r.close()
		first := <-r.events
		if c, ok := first.(client.Connected); !ok || c.Session != 1 || c.Server != control.MakeVersion(1, 5, 735) {
			t.Errorf("the first event is %#v", first)
		}
		synctest.Wait()
		s, err := r.State()
		if err != nil {
			t.Fatal(err)
		}
		if s.Self.Name != "alice" || s.Self.Channel != 2 || s.Gate != e2ee.StateOff || s.Leave != e2ee.LeaveClear || s.MaxBandwidth != 72000 || s.OverUDP {
			t.Errorf("state %+v", s)
		}
		h.with(func() {
			a := h.logins[0]
			if a.GetUsername() != "alice" || a.GetPassword() != "pw" || !slices.Equal(a.GetTokens(), cfg.Tokens) || a.GetClientType() != 1 || !a.GetOpus() {
				t.Errorf("login %v", a)
			}
			var v *mumblepb.Version
			for _, f := range h.heard {
				if m, err := control.Decode(f); err == nil {
					if m, ok := m.(*mumblepb.Version); ok {
						v = m
					}
				}
			}
			if control.VersionOf(v) != client.Version || v.GetVersionV1() != 0x0105FF {
				t.Errorf("announced %v", v)
			}
		})
	})
}

func TestLoginFails(t *testing.T) {
	rejected := func(kind mumblepb.Reject_RejectType, reason string) func(int) *mumblepb.Reject {
		return func(int) *mumblepb.Reject { return &mumblepb.Reject{Type: &kind, Reason: proto.String(reason)} }
	}
	changed := errors.New("another certificate")
	for _, c := range []struct {
		name   string
		change func(*hall, *client.Config)
		want   func(error) bool
	}{
		{"no server", func(h *hall, _ *client.Config) { h.refuse = func(int) error { return errNoServer } },
			func(err error) bool { return errors.Is(err, errNoServer) }},
		{"an address without a port", func(_ *hall, cfg *client.Config) { cfg.Address, cfg.CheckServer = "hall.example", nil },
			func(err error) bool { return strings.Contains(err.Error(), "port") }},
		{"the certificate is not accepted", func(_ *hall, cfg *client.Config) { cfg.CheckServer = func([]byte) error { return changed } },
			func(err error) bool { return errors.Is(err, changed) }},
		{"a certificate that no system root signed", func(_ *hall, cfg *client.Config) { cfg.CheckServer = nil },
			func(err error) bool { return strings.Contains(err.Error(), "x509") }},
		{"a refused login", func(h *hall, _ *client.Config) { h.reject = rejected(mumblepb.Reject_WrongServerPW, "no") },
			func(err error) bool {
				var r *client.RejectError
				return errors.As(err, &r) && r.Type == mumblepb.Reject_WrongServerPW && err.Error() == "the server refused the login: no"
			}},
		{"a refusal without a reason", func(h *hall, _ *client.Config) { h.reject = rejected(mumblepb.Reject_ServerFull, "") },
			func(err error) bool { return strings.Contains(err.Error(), "ServerFull") }},
		{"no such channel", func(_ *hall, cfg *client.Config) { cfg.Channel = "Lobby/Blue team" },
			func(err error) bool { return errors.Is(err, client.ErrNoChannel) }},
		{"a short secret", func(_ *hall, cfg *client.Config) { cfg.Policy, cfg.Secret = e2ee.PolicyRequire, "sevench" },
			func(err error) bool { return errors.Is(err, e2ee.ErrPhrase) }},
		{"a short secret for groups", func(_ *hall, cfg *client.Config) {
			cfg.Policy, cfg.Secret, cfg.GroupSecret = e2ee.PolicyRequire, "sevench", true
		}, func(err error) bool { return errors.Is(err, e2ee.ErrPhrase) }},
		{"no secret for groups", func(_ *hall, cfg *client.Config) { cfg.Policy, cfg.GroupSecret = e2ee.PolicyPrefer, true },
			func(err error) bool { return errors.Is(err, client.ErrNoSecret) }},
		{"a mistyped secret", func(_ *hall, cfg *client.Config) {
			cfg.Policy, cfg.Secret = e2ee.PolicyRequire, "sotto-secret-abc"
		}, func(err error) bool { return errors.Is(err, e2ee.ErrMachineMade) }},
		{"a server that never finishes", func(h *hall, _ *client.Config) { h.mute = true },
			func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		{"a server that floods with short texts first", func(h *hall, _ *client.Config) { h.chatty = 1 },
			func(err error) bool { return strings.Contains(err.Error(), "more than it should") }},
		{"a server that floods with long texts first", func(h *hall, _ *client.Config) { h.chatty = 1<<20 - 100 },
			func(err error) bool { return strings.Contains(err.Error(), "more than it should") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHall(t)
				cfg := h.config("alice")
				c.change(h, &cfg)
				conn, err := client.Dial(t.Context(), cfg)
				if err == nil {
					conn.Close()
					t.Fatal("let in")
				}
				if !c.want(err) {
					t.Errorf("error %v", err)
				}
				time.Sleep(time.Minute) // the hall ends as well
			})
		})
	}
}

// In clear, what one sends the other gets, whole.
func TestClear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		alice, bob := dial(t, h.config("alice")), dial(t, h.config("bob"))
		defer alice.close()
		defer bob.close()
		if err := alice.SendVoice(client.Frame{FrameNumber: 6, Opus: []byte{0xF8, 1, 2}, Terminator: true}); err != nil {
			t.Fatal(err)
		}
		v := must[client.Voice](bob)
		if v.From != 1 || v.Name != "alice" || v.FrameNumber != 6 || !slices.Equal(v.Opus, []byte{0xF8, 1, 2}) || !v.Terminator || v.Whisper || v.Encrypted {
			t.Errorf("voice %+v", v)
		}
		if err := bob.SendText("<b>hi</b>"); err != nil {
			t.Fatal(err)
		}
		if m := must[client.TextMessage](alice); m.From != 2 || m.Name != "bob" || m.Scope != e2ee.ScopeChannel || m.HTML != "<b>hi</b>" || m.Encrypted {
			t.Errorf("text %+v", m)
		}
		if err := bob.SendPrivate(1, "psst"); err != nil {
			t.Fatal(err)
		}
		if m := must[client.TextMessage](alice); m.Scope != e2ee.ScopePrivate || m.HTML != "psst" {
			t.Errorf("text %+v", m)
		}
		if err := alice.Whisper(3, 2); err != nil {
			t.Fatal(err)
		}
		alice.SendVoice(client.Frame{Target: 3, Opus: []byte{0xF8, 3}})
		if v := must[client.Voice](bob); !v.Whisper {
			t.Errorf("whisper %+v", v)
		}
		if err := alice.Join("Nowhere"); !errors.Is(err, client.ErrNoChannel) {
			t.Errorf("join: %v", err)
		}
		if err := alice.Join("Lobby"); err != nil {
			t.Fatal(err)
		}
		for {
			ev := must[client.MirrorEvent](bob)
			if c, ok := ev.Event.(mirror.UserChanged); ok && c.New.Channel == 1 && c.New.Name == "alice" {
				break
			}
		}
		for _, id := range []uint8{0, 30, 31} {
			if alice.Whisper(id, 2) == nil {
				t.Errorf("whisper target %d is taken", id)
			}
		}
	})
}

// With a secret, two people find each other and talk; the hall sees envelopes.
func TestEncrypted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		secret := e2ee.NewSecret()
		join := func(name string) *reader {
			cfg := h.config(name)
			cfg.Policy, cfg.Secret = e2ee.PolicyRequire, secret
			return dial(t, cfg)
		}
		alice := join("alice")
		defer alice.close()
		if err := alice.SendVoice(client.Frame{Opus: []byte{0xF8, 1}}); !errors.Is(err, client.ErrHeld) {
			t.Errorf("alone: %v", err)
		}
		if err := alice.SendText("words of mine"); !errors.Is(err, client.ErrHeld) {
			t.Errorf("alone: %v", err)
		}
		bob := join("bob")
		defer bob.close()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := errors.Join(alice.WaitReady(ctx), bob.WaitReady(ctx)); err != nil {
			t.Fatal(err)
		}
		if g := must[client.GateChanged](alice); g.From == g.To {
			t.Errorf("gate %+v", g)
		}
		if ev := must[client.Holder](bob); ev.Name != "alice" || !ev.Holds {
			t.Errorf("holder %+v", ev)
		}
		opus := append([]byte{0xF8}, "a voice of mine"...)
		if err := alice.SendVoice(client.Frame{FrameNumber: 2, Opus: opus}); err != nil {
			t.Fatal(err)
		}
		if v := must[client.Voice](bob); !v.Encrypted || !slices.Equal(v.Opus, opus) || v.Name != "alice" {
			t.Errorf("voice %+v", v)
		}
		if err := bob.SendText("words of mine"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // virtual: the echo
		if m := must[client.TextMessage](alice); !m.Encrypted || m.HTML != "words of mine" {
			t.Errorf("text %+v", m)
		}
		// A private text needs no open gate here, but a holder there.
		if err := alice.Join("Lobby"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if s, _ := alice.State(); s.Leave != e2ee.LeaveNothing {
			t.Fatalf("alone in the lobby %v leaves", s.Leave)
		}
		if err := alice.SendPrivate(2, "words of mine"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if m := must[client.TextMessage](bob); !m.Encrypted || m.HTML != "words of mine" || m.Scope != e2ee.ScopePrivate {
			t.Errorf("private text %+v", m)
		}
		// Whispers go to who holds the secret, and to nobody else.
		if err := bob.Whisper(1, 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if s, _ := bob.State(); s.Leave != e2ee.LeaveNothing {
			if err := bob.SendVoice(client.Frame{Target: 1, Opus: opus}); err != nil {
				t.Errorf("whisper: %v", err)
			}
		}
		h.with(func() {
			for _, f := range h.heard {
				if strings.Contains(string(f.Body), "of mine") {
					t.Errorf("the hall saw %q", f.Body)
				}
			}
		})
	})
}

// Clear voice is not played while a secret is set.
func TestClearVoiceIsNotPlayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		cfg := h.config("alice")
		cfg.Policy, cfg.Secret = e2ee.PolicyPrefer, e2ee.NewSecret()
		alice, eve := dial(t, cfg), dial(t, h.config("eve"))
		defer alice.close()
		defer eve.close()
		eve.SendVoice(client.Frame{Opus: []byte{0xF8, 1}})
		eve.SendText("clear")
		if m := must[client.TextMessage](alice); m.Encrypted {
			t.Errorf("text %+v", m)
		}
		if v, ok := next[client.Voice](alice); ok {
			t.Errorf("voice %+v", v)
		}
		if s, _ := alice.State(); s.Voice.ClearVoice != 1 {
			t.Errorf("counted %+v", s.Voice)
		}
	})
}

// WaitReady ends with its context, or with the client.
func TestWaitReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		cfg := h.config("alice")
		cfg.Policy, cfg.Secret = e2ee.PolicyPrefer, e2ee.NewSecret()
		alice := dial(t, cfg)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := alice.WaitReady(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("alone: %v", err)
		}
		failed := make(chan error)
		go func() { failed <- alice.WaitReady(t.Context()) }()
		synctest.Wait()
		alice.close()
		if err := <-failed; !errors.Is(err, client.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
		if err := alice.SendText("x"); !errors.Is(err, client.ErrClosed) {
			t.Errorf("a text after Close: %v", err)
		}
		alice.Close() // once more does no harm
	})
}

// Somebody who does not read events loses voice first, the connection last.
func TestNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		alice, err := client.Dial(t.Context(), h.config("alice"))
		if err != nil {
			t.Fatal(err)
		}
		bob := dial(t, h.config("bob"))
		defer bob.close()
		for range 100 {
			for range 50 {
				if err := bob.SendVoice(client.Frame{Opus: []byte{0xF8, 1}}); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		s, err := alice.State()
		if err != nil || s.Dropped == 0 || s.Dropped > 5000 {
			t.Errorf("dropped %d, %v", s.Dropped, err)
		}
		for n := range 12_000 {
			if n%100 == 0 {
				synctest.Wait()
			}
			if bob.SendText("x") != nil {
				break
			}
		}
		synctest.Wait()
		var last client.Event
		voices := 0
		for ev := range alice.Events() {
			if _, ok := ev.(client.Voice); ok {
				voices++
			}
			last = ev
		}
		if gone, ok := last.(client.Disconnected); !ok || !strings.Contains(gone.Err.Error(), "nobody reads") || gone.Retry != 0 {
			t.Errorf("the last event is %+v", last)
		}
		if uint64(voices)+s.Dropped != 5000 {
			t.Errorf("%d packets came, %d were dropped, of 5000", voices, s.Dropped)
		}
		alice.Close()
	})
}
