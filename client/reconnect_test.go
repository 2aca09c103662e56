package client_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// A lost connection comes back after growing pauses; what is tried meanwhile is
// refused, and the new session begins with Connected.
func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		cfg := h.config("alice")
		cfg.Reconnect = true
		const away = 10 // attempts that fail
		h.refuse = func(n int) error {
			if n > 1 && n <= 1+away {
				return errNoServer
			}
			return nil
		}
		r := dial(t, cfg)
		defer r.close()
		must[client.Connected](r)
		h.cut()
		want := time.Second
		for n := range away + 1 {
			gone := must[client.Disconnected](r)
			if gone.Retry < want || gone.Retry > want+want/4 {
				t.Errorf("pause %d is %v, want about %v", n, gone.Retry, want)
			}
			if err := r.SendVoice(client.Frame{Opus: []byte{0xF8, 1}}); !errors.Is(err, client.ErrHeld) {
				t.Errorf("voice over a lost connection: %v", err)
			}
			if err := r.SendText("x"); !errors.Is(err, client.ErrHeld) {
				t.Errorf("text over a lost connection: %v", err)
			}
			if s, err := r.State(); err != nil || s.Leave != e2ee.LeaveNothing {
				t.Errorf("over a lost connection %v leaves, %v", s.Leave, err)
			}
			time.Sleep(gone.Retry + time.Millisecond)
			want = min(2*want, time.Minute)
		}
		if c := must[client.Connected](r); c.Session != 2 {
			t.Errorf("session %d", c.Session)
		}
		if err := r.SendVoice(client.Frame{Opus: []byte{0xF8, 1}}); err != nil {
			t.Errorf("voice after the return: %v", err)
		}
	})
}

type changedPin struct{ error }

func (changedPin) PinChanged() bool { return true }

// What is an answer and no accident is not tried again.
func TestNoReconnect(t *testing.T) {
	reject := func(kind mumblepb.Reject_RejectType) func(int) *mumblepb.Reject {
		return func(n int) *mumblepb.Reject {
			if n == 1 {
				return nil
			}
			return &mumblepb.Reject{Type: &kind}
		}
	}
	logins := func(n int) func(*testing.T, *hall) {
		return func(t *testing.T, h *hall) {
			if len(h.logins) != n {
				t.Errorf("%d logins, want %d", len(h.logins), n)
			}
		}
	}
	for _, c := range []struct {
		name      string
		reconnect bool
		prepare   func(*hall, *client.Config)
		act       func(*hall)
		want      func(error) bool
		check     func(*testing.T, *hall)
	}{
		{"not wanted", false, nil, (*hall).cut, func(err error) bool { return err != nil }, logins(1)},
		{"kicked", true, nil, func(h *hall) { h.remove(false, "spam") }, func(err error) bool {
			var k *client.KickedError
			return errors.As(err, &k) && !k.Ban && err.Error() == "kicked by the server: spam"
		}, logins(1)},
		{"banned", true, nil, func(h *hall) { h.remove(true, "") }, func(err error) bool {
			var k *client.KickedError
			return errors.As(err, &k) && k.Ban && err.Error() == "banned by the server"
		}, logins(1)},
		{"a wrong password now", true, func(h *hall, _ *client.Config) { h.reject = reject(mumblepb.Reject_WrongUserPW) }, (*hall).cut,
			func(err error) bool { return errors.As(err, new(*client.RejectError)) }, logins(2)},
		{"another certificate now", true, func(h *hall, cfg *client.Config) {
			n := 0
			cfg.CheckServer = func([]byte) error {
				if n++; n > 1 {
					return changedPin{errors.New("changed")}
				}
				return nil
			}
		}, (*hall).cut, func(err error) bool { return errors.As(err, new(changedPin)) }, logins(1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHall(t)
				cfg := h.config("alice")
				cfg.Reconnect = c.reconnect
				if c.prepare != nil {
					c.prepare(h, &cfg)
				}
				r := dial(t, cfg)
				defer r.close()
				must[client.Connected](r)
				c.act(h)
				time.Sleep(10 * time.Minute)
				var last client.Disconnected
				for {
					ev, ok := next[client.Disconnected](r)
					if !ok {
						break
					}
					last = ev
				}
				if last.Err == nil || last.Retry != 0 || !c.want(last.Err) {
					t.Errorf("the end is %+v", last)
				}
				<-r.done // the events are closed
				h.with(func() { c.check(t, h) })
			})
		})
	}
}

func (h *hall) remove(ban bool, reason string) {
	h.with(func() {
		g := h.guests[0]
		m := &mumblepb.UserRemove{Session: proto.Uint32(g.session), Ban: proto.Bool(ban), Reason: proto.String(reason)}
		h.tell(m)
		go g.conn.Close(time.Second)
	})
}

// A full server may have room later.
func TestReconnectWhenFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		cfg := h.config("alice")
		cfg.Reconnect = true
		h.reject = func(n int) *mumblepb.Reject {
			if n == 2 || n == 3 {
				return &mumblepb.Reject{Type: mumblepb.Reject_ServerFull.Enum()}
			}
			return nil
		}
		r := dial(t, cfg)
		defer r.close()
		must[client.Connected](r)
		h.cut()
		time.Sleep(time.Minute)
		if c := must[client.Connected](r); c.Session != 2 {
			t.Errorf("session %d", c.Session)
		}
	})
}

// told is a connection whose system says how much the other end has not confirmed.
type told struct {
	net.Conn
	unconfirmed []int // one answer after the other; the last stays
}

func (c *told) Unconfirmed() (n int, known bool) {
	n = c.unconfirmed[0]
	if len(c.unconfirmed) > 1 {
		c.unconfirmed = c.unconfirmed[1:]
	}
	return n, true
}

// A server that answers pings is never given up. One that falls silent is given up
// after 30 s if its system confirms what it gets; else, for we may have moved to
// another network, three seconds after two pings are lost.
func TestSilentServer(t *testing.T) {
	for _, c := range []struct {
		name        string
		wrap        func(net.Conn) net.Conn
		least, most time.Duration // one ping more than that
		err         error
	}{
		{"confirmed", func(c net.Conn) net.Conn { return &told{c, []int{0}} }, 25 * time.Second, 30 * time.Second, client.ErrTimeout},
		{"something on its way", func(c net.Conn) net.Conn { return &told{c, []int{70, 0}} }, 25 * time.Second, 30 * time.Second, client.ErrTimeout},
		{"not confirmed", func(c net.Conn) net.Conn { return &told{c, []int{70}} }, 13 * time.Second, 18 * time.Second, client.ErrUnreachable},
		{"nobody knows", func(c net.Conn) net.Conn { return c }, 13 * time.Second, 18 * time.Second, client.ErrUnreachable},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHall(t)
				cfg := h.config("alice")
				cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					conn, err := h.dial(ctx, network, address)
					return c.wrap(conn), err
				}
				r := dial(t, cfg)
				defer r.close()
				must[client.Connected](r)
				time.Sleep(time.Hour)
				if _, ok := next[client.Disconnected](r); ok {
					t.Fatal("a server that answers pings was given up")
				}
				start := time.Now()
				h.with(func() { h.frozen = true })
				<-r.done
				if d := time.Since(start); d < c.least || d > c.most {
					t.Errorf("given up after %v", d)
				}
				if e, ok := next[client.Disconnected](r); !ok || !errors.Is(e.Err, c.err) {
					t.Errorf("%+v, want %v", e, c.err)
				}
			})
		})
	}
}

// Close in the middle of a pause, or of a login, does not wait for its end.
func TestCloseWhileAway(t *testing.T) {
	for _, c := range []struct {
		name  string
		after func(*hall) func(int) error
		mute  bool
	}{
		{"in a pause", func(*hall) func(int) error {
			return func(n int) error {
				if n > 1 {
					return errNoServer
				}
				return nil
			}
		}, false},
		{"in a login", func(*hall) func(int) error { return nil }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHall(t)
				h.refuse = c.after(h)
				cfg := h.config("alice")
				cfg.Reconnect = true
				r := dial(t, cfg)
				must[client.Connected](r)
				h.with(func() { h.mute = c.mute })
				h.cut()
				time.Sleep(5 * time.Second)
				start := time.Now()
				r.close()
				if d := time.Since(start); d > time.Second {
					t.Errorf("Close took %v", d)
				}
			})
		})
	}
}
