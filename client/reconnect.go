package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// again closes the lost connection and, if wanted, logs in anew with growing
// pauses. It reports whether there is a connection again.
func (c *Client) again(ctx context.Context, cause error) bool {
	c.up = false
	link := c.link
	c.meanwhile(func() { link.Close(closeGrace) })
	c.disconnected()
	wait := backoffFirst
	for attempt := 1; ; attempt++ {
		final := !c.cfg.Reconnect || !worthRetrying(cause)
		if final {
			wait = 0
		}
		// Up to a quarter more, so that a restarted server is not stormed.
		pause := wait + time.Duration(rand.Int64N(int64(wait)/4+1))
		c.emit(Disconnected{Err: cause, Retry: pause})
		if !c.deliver(ctx, pause) || final {
			return false
		}
		loginCtx, stop := context.WithTimeout(ctx, loginTimeout)
		cause = c.login(loginCtx)
		stop()
		if cause == nil {
			c.drain(time.Now())
			return true
		}
		wait = min(2*wait, backoffMost)
	}
}

// disconnected closes the gate and leaves the endpoint ready for the next login.
func (c *Client) disconnected() {
	if c.end == nil {
		return
	}
	now := time.Now()
	c.end.Disconnected(now)
	c.drain(now)
}

// offline reports whether there is nothing to send over: the connection is lost,
// is not known to be there after a sleep, or the login over a new one is not complete.
func (c *Client) offline() bool { return !c.up || c.link.Err() != nil || c.link.Probing() }

// leave is what may leave now. Over a lost connection nothing does, whatever the
// gate of its endpoint said last.
func (c *Client) leave() e2ee.Leave {
	if c.offline() {
		return e2ee.LeaveNothing
	}
	return c.end.Leave()
}

// deliver hands out pending events for the length of a pause (all of them if
// the pause is 0) and reports false when the context ended.
func (c *Client) deliver(ctx context.Context, pause time.Duration) bool {
	var over <-chan time.Time
	if pause > 0 {
		t := time.NewTimer(pause)
		defer t.Stop()
		over = t.C
	}
	for {
		out, next := c.pending.next(c.events)
		if out == nil && pause == 0 {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-over:
			return true
		case out <- next:
			c.pending.sent()
		case f := <-c.do:
			f() // answers that there is no connection
		}
	}
}

// worthRetrying separates accidents from answers.
func worthRetrying(err error) bool {
	var reject *RejectError
	if errors.As(err, &reject) {
		return reject.Type == mumblepb.Reject_UsernameInUse || reject.Type == mumblepb.Reject_ServerFull ||
			reject.Type == mumblepb.Reject_NoNewConnections
	}
	var pin interface{ PinChanged() bool }
	if errors.As(err, &pin) {
		return false
	}
	var kicked *KickedError
	return !errors.As(err, &kicked) && !errors.Is(err, ErrNoChannel)
}
