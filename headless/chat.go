package headless

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/html"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
)

// Times of Chat.
const (
	// settle is how long after a login a line waits for the gate to open: those
	// who are there need some seconds to show each other the secret.
	settle = 10 * time.Second
	// brief is how long a line waits at any time, such as while the gate finds out
	// who has just come, or a lost connection comes back.
	brief = 4 * time.Second
	// linger is how long nothing may have left, at the end of the lines, until no
	// refusal is expected any more. Guard answers a private text after 2 s.
	linger = 3 * time.Second
	// lingerMost bounds that: what the server's limits hold back this long is lost.
	lingerMost = 30 * time.Second
	// maxHeldLines bounds the lines that wait; further ones are not read.
	maxHeldLines = 64
)

// What Chat says of lines that came to their end but did not all leave.
var (
	// ErrHeldBack: nobody could read them encrypted when they were due.
	ErrHeldBack = errors.New("headless: not everything that was typed was sent, because nobody here could read it encrypted")
	// ErrUnsent: they were refused, by Sotto or by the server.
	ErrUnsent = errors.New("headless: not everything that was typed was sent")
)

// chat is the lines on their way. Its owner is Chat.
type chat struct {
	conn    *client.Client
	refused func(error)
	see     func(client.Event)
	held    []heldLine
	settled time.Time // until then a held line waits
	sent    bool
	failed  error // the worst that happened: nil, ErrUnsent, ErrHeldBack
}

// heldLine is a line that waits for the gate.
type heldLine struct {
	Line
	typed time.Time
}

// Chat sends each line to the own channel, but for those that begin with /sotto, which
// are answered here as in guard's chat bar, and hands each event to see, until
// the context ends, the lines end, or the connection does, which is an error.
// A line that cannot leave yet waits for some seconds. One that is refused ends
// nothing: refused gets the reason. When the lines end, Chat waits for what is
// under way, at most about 40 s; if any was refused it is ErrHeldBack or ErrUnsent.
func Chat(ctx context.Context, conn *client.Client, lines <-chan Line, see func(client.Event), refused func(error)) error {
	c := chat{conn: conn, refused: refused, see: see, settled: time.Now().Add(settle)}
	var ended time.Time // when the lines did
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		c.send(now)
		due := c.due()
		if !ended.IsZero() && len(c.held) == 0 {
			if due = c.quiet(ended); !now.Before(due) {
				return c.failed
			}
		}
		timer.Stop()
		if !due.IsZero() {
			timer.Reset(due.Sub(now))
		}
		in := lines
		if len(c.held) >= maxHeldLines {
			in = nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case l, ok := <-in:
			if !ok {
				lines, ended = nil, time.Now()
			} else if l.Err != nil || strings.TrimSpace(l.Text) != "" {
				c.held = append(c.held, heldLine{l, time.Now()})
			}
		case ev, ok := <-conn.Events():
			if !ok {
				return client.ErrClosed
			}
			see(ev)
			switch ev := ev.(type) {
			case client.Connected:
				c.settled = time.Now().Add(settle)
			case client.Denied:
				if c.sent {
					c.fail(ErrUnsent)
				}
			case client.Disconnected:
				if ev.Retry == 0 {
					return ev.Err
				}
			}
		}
	}
}

// send sends what can leave, in order. A line that has waited too long is refused.
func (c *chat) send(now time.Time) {
	for len(c.held) > 0 {
		l := c.held[0]
		err := l.Err
		words, ours := command(l.Text)
		ours = ours && err == nil && !c.conn.Plain() // behind guard, guard answers
		switch {
		case ours:
			err = c.act(words)
		case err == nil:
			err = c.conn.SendText(html.EscapeString(l.Text))
		}
		switch {
		case ours && err != nil:
			c.refused(err)
		case ours:
		case err == nil:
			c.sent = true
		case errors.Is(err, client.ErrHeld) && now.Before(c.due()):
			return
		case errors.Is(err, client.ErrHeld) && !errors.Is(err, client.ErrNotConnected):
			c.fail(ErrHeldBack)
			c.refused(err)
		default:
			c.fail(ErrUnsent)
			c.refused(err)
		}
		c.held = slices.Delete(c.held, 0, 1)
	}
}

// command is what a line says to Sotto, as in guard's chat bar: it never leaves.
func command(line string) (words string, ok bool) {
	first, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	return strings.ToLower(strings.TrimSpace(rest)), strings.EqualFold(first, "/sotto")
}

// act does what a line asks of Sotto.
func (c *chat) act(words string) error {
	switch words {
	case "", "status":
		line, err := c.conn.Line()
		if err == nil {
			c.see(client.Notice{Notice: e2ee.Notice{Code: "status", Text: line}})
		}
		return err
	case "wait":
		return c.conn.Wait()
	case "protect":
		return c.conn.Protect()
	case "clear":
		return c.conn.Clear()
	case "lock", "unlock":
		return c.conn.Lock(words == "lock")
	}
	return errors.New("there is /sotto status, wait, protect, clear, lock and unlock")
}

// due is until when the first line may wait; zero: none does.
func (c *chat) due() time.Time {
	if len(c.held) == 0 {
		return time.Time{}
	}
	if d := c.held[0].typed.Add(brief); d.After(c.settled) {
		return d
	}
	return c.settled
}

// quiet is when nothing can be under way any more after the lines ended.
func (c *chat) quiet(ended time.Time) time.Time {
	s, err := c.conn.State()
	if !c.sent || err != nil {
		return ended
	}
	if most := ended.Add(settle + lingerMost); s.Quiet.Add(linger).After(most) {
		return most
	}
	return s.Quiet.Add(linger)
}

// fail remembers the worst.
func (c *chat) fail(err error) {
	if c.failed == nil || err == ErrHeldBack {
		c.failed = err
	}
}
