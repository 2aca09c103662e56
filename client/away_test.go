package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
)

// Every method answers at once while a lost connection is being made anew,
// however long the server takes over it.
func TestAnswersWhileAway(t *testing.T) {
	for _, c := range []struct {
		name  string
		stall func(*hall, *client.Config)
	}{
		{"the server does not finish the login", func(h *hall, _ *client.Config) {
			h.with(func() { h.mute = true })
		}},
		{"the network does not answer", func(h *hall, _ *client.Config) {
			h.with(func() { h.refuse = nil; h.silent = true })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHall(t)
				cfg := h.config("alice")
				cfg.Reconnect = true
				r := dial(t, cfg)
				defer r.close()
				must[client.Connected](r)
				c.stall(h, &cfg)
				h.cut()
				gone := must[client.Disconnected](r)
				time.Sleep(gone.Retry + time.Second) // in the midst of the attempt
				start := time.Now()
				for name, err := range map[string]error{
					"voice":   r.SendVoice(client.Frame{Opus: []byte{0xF8, 1}}),
					"text":    r.SendText("x"),
					"private": r.SendPrivate(2, "x"),
					"whisper": r.Whisper(1, 2),
					"join":    r.Join("Lobby"),
				} {
					if !errors.Is(err, client.ErrNotConnected) || !errors.Is(err, client.ErrHeld) {
						t.Errorf("%s: %v", name, err)
					}
				}
				if s, err := r.State(); err != nil || s.Leave != e2ee.LeaveNothing {
					t.Errorf("%v leaves, %v", s.Leave, err)
				}
				ctx, stop := context.WithTimeout(t.Context(), time.Second)
				defer stop()
				if err := r.WaitReady(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("ready: %v", err)
				}
				if d := time.Since(start); d != time.Second {
					t.Errorf("the answers took %v besides the second of WaitReady", d-time.Second)
				}
				// And once the server is well again, so is the client.
				h.with(func() { h.mute, h.silent = false, false })
				time.Sleep(time.Minute)
				must[client.Connected](r)
				if err := r.SendVoice(client.Frame{Opus: []byte{0xF8, 1}}); err != nil {
					t.Errorf("voice after the return: %v", err)
				}
			})
		})
	}
}

// A server that closes before its Version is told apart from one that closes
// later, and from a network that fails.
func TestHungUp(t *testing.T) {
	read := func(err error) func(context.Context, string, string) (net.Conn, error) {
		return func(context.Context, string, string) (net.Conn, error) { return failing{err}, nil }
	}
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"closed", io.EOF, true},
		{"reset", &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, true},
		{"silent", os.ErrDeadlineExceeded, false},
	} {
		cfg := newHall(t).config("alice")
		cfg.Dial = read(c.err)
		_, err := client.Dial(t.Context(), cfg)
		if errors.Is(err, client.ErrHungUp) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// After TLS and before Version.
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		h.curt = true
		if _, err := client.Dial(t.Context(), h.config("alice")); !errors.Is(err, client.ErrHungUp) || strings.Contains(err.Error(), "\n") {
			t.Errorf("after TLS: %v", err)
		}
	})
	// After Version: the login, not the address.
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		h.rude = true
		if _, err := client.Dial(t.Context(), h.config("alice")); err == nil || errors.Is(err, client.ErrHungUp) {
			t.Errorf("after Version: %v", err)
		}
	})
}

// failing is a connection on which every reading fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error)       { return 0, f.err }
func (failing) Write(b []byte) (int, error)      { return len(b), nil }
func (failing) Close() error                     { return nil }
func (failing) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (failing) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (failing) SetDeadline(time.Time) error      { return nil }
func (failing) SetReadDeadline(time.Time) error  { return nil }
func (failing) SetWriteDeadline(time.Time) error { return nil }

// The computer was asleep: nothing is sent before the server has answered, and without
// an answer in three seconds the connection is made anew.
func TestAwakened(t *testing.T) {
	for _, gone := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := newHall(t)
			cfg := h.config("alice")
			cfg.Reconnect = true
			var slept atomic.Int64
			cfg.Wall = func() time.Time { return time.Now().Round(0).Add(time.Duration(slept.Load())) }
			r := dial(t, cfg)
			defer r.close()
			must[client.Connected](r)
			time.Sleep(7 * time.Second)
			h.with(func() { h.frozen = gone })
			slept.Store(int64(10 * time.Minute))
			held := 0
			for range 5 * 50 { // the next ping wakes the owner
				if err := r.SendVoice(client.Frame{Opus: []byte{0xF8, 1}}); errors.Is(err, client.ErrNotConnected) {
					held++
				} else if err != nil {
					t.Errorf("%v", err)
				}
				time.Sleep(20 * time.Millisecond)
			}
			if !gone {
				if held > 1 {
					t.Errorf("%d packets were held though the server answers at once", held)
				}
				if d, ok := next[client.Disconnected](r); ok {
					t.Errorf("%+v", d)
				}
				return
			}
			if held < 2*50 {
				t.Errorf("%d packets were held", held)
			}
			time.Sleep(3 * time.Second)
			if d := must[client.Disconnected](r); !errors.Is(d.Err, client.ErrUnreachable) {
				t.Errorf("%+v", d)
			}
			h.with(func() { h.frozen = false })
			time.Sleep(time.Minute)
			must[client.Connected](r)
			if err := r.SendVoice(client.Frame{Opus: []byte{0xF8, 1}}); err != nil {
				t.Errorf("voice after the return: %v", err)
			}
		})
	}
}
