package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/sotto-voip/sotto/events"
)

const (
	patience    = 20 * time.Second // for each thing that must come
	stopTimeout = 5 * time.Second
)

// process is a running program. What it prints on standard output are events,
// one per line, or nothing of interest.
type process struct {
	cmd    *exec.Cmd
	done   chan struct{}
	err    error // valid after done
	stderr bytes.Buffer

	mu     sync.Mutex
	events []events.Event
	more   chan struct{} // closed when events grew
}

// start starts a program and remembers to stop it.
func (s *stage) start(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{}), more: make(chan struct{})}
	cmd.Stderr = &p.stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.procs = append(s.procs, p)
	go func() {
		defer close(p.done)
		in := bufio.NewScanner(out)
		for in.Scan() {
			var e events.Event
			if json.Unmarshal(in.Bytes(), &e) == nil {
				p.take(e)
			}
		}
		p.err = cmd.Wait()
	}()
	return p, nil
}

func (p *process) take(e events.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, e)
	close(p.more)
	p.more = make(chan struct{})
}

// mark is how much the process has said so far.
func (p *process) mark() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.events)
}

// since is what the process has said from a mark on, and what tells of more.
func (p *process) since(mark int) ([]events.Event, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.events[mark:len(p.events):len(p.events)], p.more
}

// await waits until the process has said something from a mark on.
func (p *process) await(ctx context.Context, mark int, what string, match func(events.Event) bool) (found events.Event, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		said, more := p.since(mark)
		for _, e := range said {
			if match(e) {
				return e, nil
			}
		}
		mark += len(said)
		select {
		case <-more:
		case <-p.done:
			return found, fmt.Errorf("%s ended too early: %s", filepath.Base(p.cmd.Path), trim(p.stderr.Bytes()))
		case <-ctx.Done():
			return found, fmt.Errorf("%w: a guard does not say %q", ErrBroken, what)
		}
	}
}

// leave is what the guard lets leave now.
func (p *process) leave() string {
	said, _ := p.since(0)
	for i := len(said) - 1; i >= 0; i-- {
		if said[i].Event == "gate" {
			return said[i].Leave
		}
	}
	return ""
}

// stop asks the process to end and waits for it.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	limit := time.NewTimer(stopTimeout)
	defer limit.Stop()
	select {
	case <-p.done:
	case <-limit.C:
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("%s does not end", filepath.Base(p.cmd.Path))
	}
	var exit *exec.ExitError
	if errors.As(p.err, &exit) && !exit.Exited() {
		return nil // it was told to
	}
	if p.err != nil {
		return fmt.Errorf("%s: %s", filepath.Base(p.cmd.Path), trim(p.stderr.Bytes()))
	}
	return nil
}

// run runs a tool to its end.
func (s *stage) run(name string, args ...string) error {
	out, err := exec.CommandContext(s.ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, trim(out))
	}
	return nil
}
