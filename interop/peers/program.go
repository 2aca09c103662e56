package peers

import (
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// Program is the program under test, started with the same care as the peers:
// it ends with the test, and on Linux with the test binary. Its methods are safe
// for concurrent use.
type Program struct{ p *process }

// StartProgram starts cmd with its standard output going to stdout; what it
// writes to standard error is kept.
func StartProgram(t testing.TB, name string, cmd *exec.Cmd, stdout io.Writer) *Program {
	t.Helper()
	p, err := startPiped(t, name, cmd, stdout)
	if err != nil {
		t.Fatal(err)
	}
	return &Program{p}
}

// Pid is the process id.
func (p *Program) Pid() int { return p.p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p *Program) Done() <-chan struct{} { return p.p.done }

// ExitCode is the exit code after Done, -1 after a signal.
func (p *Program) ExitCode() int { return p.p.cmd.ProcessState.ExitCode() }

// Stderr is what the program wrote to standard error, at most the last mebibyte.
func (p *Program) Stderr() string { return p.p.out.String() }

// Signal sends a signal; one that comes too late is lost.
func (p *Program) Signal(s os.Signal) { _ = p.p.cmd.Process.Signal(s) }

// Terminate asks the program to end and returns at once.
func (p *Program) Terminate() { p.Signal(syscall.SIGTERM) }

// Stop asks the program to end, waits, and kills it if it does not listen.
func (p *Program) Stop() { p.p.stop() }
