package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/events"
)

// person is a Mumble client without Sotto. Behind a guard it is what people have.
type person struct {
	name  string
	guard *process // nil: no Sotto
	conn  *client.Client
	frame uint64 // of the next packet that is said

	quiet chan struct{} // closed when conn's events have ended
	mu    sync.Mutex
	heard map[string][][]byte // Opus packets, or what stands in their place, by speaker
	more  chan struct{}
}

// guarded starts a guard for an address and a Mumble behind it.
func (s *stage) guarded(name, address string) (*person, error) {
	g, err := s.start(exec.Command(s.sotto, "--state", s.state(name), "guard", "--no-mumble", "--listen", "0", "--json", address))
	if err != nil {
		return nil, err
	}
	e, err := g.await(s.ctx, 0, "listening", func(e events.Event) bool { return e.Event == "listening" })
	if err != nil {
		return nil, err
	}
	p := &person{name: name, guard: g}
	// What answers on this port of loopback is the guard that was just started.
	return p, s.connect(p, "127.0.0.1:"+strconv.Itoa(int(e.Port)), func([]byte) error { return nil })
}

// state is the state directory of somebody's guard.
func (s *stage) state(name string) string { return filepath.Join(s.dir, name) }

// connect lets a person's Mumble log in.
func (s *stage) connect(p *person, address string, check func([]byte) error) error {
	cert, err := ownCertificate(p.name)
	if err != nil {
		return err
	}
	p.heard, p.more, p.quiet = map[string][][]byte{}, make(chan struct{}), make(chan struct{})
	if p.conn, err = client.Dial(s.ctx, client.Config{
		Address: address, Username: p.name, Certificate: &cert, CheckServer: check, Policy: e2ee.PolicyOff,
	}); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	s.people = append(s.people, p)
	go func() {
		defer close(p.quiet)
		for ev := range p.conn.Events() {
			if v, ok := ev.(client.Voice); ok && len(v.Opus) > 0 {
				p.hear(v.Name, v.Opus)
			}
		}
	}()
	return nil
}

func (p *person) hear(name string, packet []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard[name] = append(p.heard[name], slices.Clone(packet))
	close(p.more)
	p.more = make(chan struct{})
}

// from is what the person has heard of a speaker.
func (p *person) from(speaker string) ([][]byte, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.heard[speaker]), p.more
}

// everything is what the person has heard of anybody.
func (p *person) everything() (all [][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, packets := range p.heard {
		all = append(all, packets...)
	}
	return all
}

// forget begins to count anew.
func (p *person) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.heard)
}

// leave ends the person's Mumble and guard.
func (p *person) leave() error {
	err := p.conn.Close()
	<-p.quiet
	if p.guard != nil {
		err = errors.Join(err, p.guard.stop())
	}
	return err
}

// say sends packets of 20 ms in their own time, when the person's microphone is
// not held.
func (p *person) say(ctx context.Context, packets [][]byte) error {
	ready, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := p.conn.WaitReady(ready); err != nil {
		return fmt.Errorf("%w: %s's microphone stays held: %w", ErrBroken, p.name, err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i, packet := range packets {
		if err := p.conn.SendVoice(client.Frame{FrameNumber: p.frame, Opus: packet, Terminator: i == len(packets)-1}); err != nil {
			return fmt.Errorf("%w: %s cannot speak: %w", ErrBroken, p.name, err)
		}
		p.frame += 2
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.frame += 50 // a pause
	return nil
}

// gets waits until the person has heard all that was said, bit for bit, and
// nothing else of the speaker.
func (p *person) gets(ctx context.Context, speaker string, said [][]byte) (got [][]byte, exact bool) {
	limit := time.NewTimer(3 * time.Second) // the last packets are on their way through four processes
	defer limit.Stop()
	for {
		got, more := p.from(speaker)
		if len(got) >= len(said) {
			return got, slices.EqualFunc(got, said, bytes.Equal)
		}
		select {
		case <-more:
		case <-limit.C:
			return got, false
		case <-ctx.Done():
			return got, false
		}
	}
}

// together waits until a guard is in the group of exactly these people and lets
// nothing but ciphertext leave.
func (s *stage) together(p *person, mark int, names ...string) error {
	want := slices.Sorted(slices.Values(names))
	what := "in the encrypted group: " + strings.Join(want, ", ")
	_, err := p.guard.await(s.ctx, mark, what, func(e events.Event) bool {
		return e.Event == "roster" && slices.Equal(slices.Sorted(slices.Values(e.Members)), want)
	})
	if err != nil {
		return err
	}
	return s.until(p.name+": leaves as ciphertext", func() bool { return p.guard.leave() == "ciphertext" })
}

// until waits for something that no event tells.
func (s *stage) until(what string, ok func() bool) error {
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: %s: not within %v", ErrBroken, what, patience)
		}
		if err := s.pause(20 * time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) pause(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-t.C:
		return nil
	}
}
