package peers

import (
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is one started program. It is stopped by its own process id only.
type process struct {
	name string
	cmd  *exec.Cmd
	out  *tail
	done chan struct{} // closed when the program has ended and was waited for
}

// spawns carries commands to the one thread that starts programs. The kernel's
// "signal me when my parent dies" (see confine) means the parent *thread*, so
// that thread must never end.
var spawns = sync.OnceValue(func() chan<- func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for start := range c {
			start()
		}
	}()
	return c
})

// startProcess starts cmd, keeps the last of its output and ends it when the
// test ends.
func startProcess(t testing.TB, name string, cmd *exec.Cmd) (*process, error) {
	t.Helper()
	return startPiped(t, name, cmd, nil)
}

// startPiped is startProcess with the standard output going to stdout.
func startPiped(t testing.TB, name string, cmd *exec.Cmd, stdout io.Writer) (*process, error) {
	t.Helper()
	p := &process{name: name, cmd: cmd, out: &tail{limit: 1 << 20}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.out, p.out
	if stdout != nil {
		cmd.Stdout = stdout
	}
	// A grandchild that keeps the output open must not keep Wait from returning.
	cmd.WaitDelay = 2 * time.Second
	dieWithParent(cmd)
	started := make(chan error)
	spawns() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("peers: start %s: %w", name, err)
	}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // how a peer ended is in its output
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			out := p.out.String()
			t.Logf("last output of %s (pid %d):\n%s", p.name, p.cmd.Process.Pid, out[max(0, len(out)-8<<10):])
		}
	})
	return p, nil
}

// alive reports whether the program still runs.
func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// stop asks the program to end, waits, and kills it if it does not listen.
func (p *process) stop() {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if !p.alive() {
			return
		}
		_ = p.cmd.Process.Signal(sig) // it may have ended in this moment
		select {
		case <-p.done:
			return
		case <-time.After(5 * time.Second):
		}
	}
}

// tail is an io.Writer that remembers the last limit bytes. It is safe for
// concurrent use.
type tail struct {
	mu    sync.Mutex
	limit int
	buf   []byte
}

func (w *tail) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = append(w.buf, b...)
	if over := len(w.buf) - w.limit; over > 0 {
		w.buf = append(w.buf[:0], w.buf[over:]...)
	}
	return len(b), nil
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.buf)
}
