// Package demo shows Sotto's promise on one machine. A real, unmodified Mumble
// server stands on loopback; Alice, Bob and Carol talk through a guard each, and
// nobody has typed a secret. Eve is in the same channel without Sotto. Then Dave
// comes, Carol leaves, and somebody stands between Carol and the server:
//
//	alice, bob:  Mumble <-> sotto guard <----------------> server
//	carol, dave: Mumble <-> sotto guard <--> the middle <-> server
//	eve:         Mumble <---------------------------------> server
//
// The middle (package evilserver) has the server's own key, as its owner has, and
// passes on what it should; but it also hands out what people must not understand:
// to Dave what was said before he came, to Carol what is said after she left.
//
// The guards are processes of the program itself; the clients behind them are
// ordinary Mumble clients of package client. Every step is checked: what does not
// hold is ErrBroken. Everything is in directories that are removed afterwards.
//
// It needs murmurd, espeak-ng, sox, opusenc and opusdec; scripts/demo installs
// them.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/sotto-voip/sotto/internal/evilserver"
)

// ErrBroken means that the demo ran and a promise was not kept.
var ErrBroken = errors.New("demo: the promise was not kept")

// limit is how long the demo takes at the most.
const limit = 90 * time.Second

// stage holds what the demo has started.
type stage struct {
	ctx   context.Context
	dir   string
	sotto string
	out   io.Writer

	server *murmur
	evil   *evilserver.Server // the middle, with the server's own certificate
	other  *evilserver.Server // another, with a certificate of its own
	procs  []*process
	people []*person
	dirs   []string

	alice, bob, carol, dave, eve *person
	said                         [][]byte // by alice since the beginning
}

// Run runs the demo with the sotto program at path sotto and prints to out.
func Run(ctx context.Context, sotto string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	// The event sockets lie in it, whose names must be short.
	dir, err := os.MkdirTemp("", "sotto-demo")
	if err != nil {
		return err
	}
	s := &stage{ctx: ctx, dir: dir, sotto: sotto, out: out, dirs: []string{dir}}
	defer s.clear()
	began := time.Now()
	if err := s.prepare(); err != nil {
		return err
	}
	for _, act := range []func() error{s.meet, s.talk, s.newcomer, s.leaver, s.middle} {
		if err := act(); err != nil {
			return err
		}
	}
	s.printf("\nAll of it held, in %d seconds.\n", int(time.Since(began).Seconds()))
	return nil
}

// prepare starts the server and the middle.
func (s *stage) prepare() error {
	var err error
	if s.server, err = s.startServer(); err != nil {
		return err
	}
	if s.evil, err = evilserver.Start(evilserver.Options{Upstream: s.server.addr, Certificate: s.server.cert}); err != nil {
		return err
	}
	return s.makeChannel(elsewhere)
}

// clear stops everything, the last first.
func (s *stage) clear() {
	for i := len(s.people) - 1; i >= 0; i-- {
		_ = s.people[i].leave() // it may have left
	}
	for _, e := range []*evilserver.Server{s.other, s.evil} {
		if e != nil {
			e.Close()
		}
	}
	for i := len(s.procs) - 1; i >= 0; i-- {
		_ = s.procs[i].stop()
	}
	for _, dir := range s.dirs {
		_ = os.RemoveAll(dir)
	}
}

func (s *stage) printf(format string, args ...any) { fmt.Fprintf(s.out, format, args...) }

// promise prints one line of the demo with its outcome.
func (s *stage) promise(kept bool, format string, args ...any) error {
	mark := ""
	if !kept {
		mark = "   <-- NO"
	}
	line := fmt.Sprintf(format, args...)
	s.printf("  %s%s\n", line, mark)
	if !kept {
		return fmt.Errorf("%w: %s", ErrBroken, line)
	}
	return nil
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "NO"
}

// hex shows the first bytes of a packet.
func hex(b []byte) string {
	const most = 9
	if len(b) <= most {
		return fmt.Sprintf("% x", b)
	}
	return fmt.Sprintf("% x ..", b[:most])
}

// trim shortens what a tool printed to something worth showing.
func trim(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}
