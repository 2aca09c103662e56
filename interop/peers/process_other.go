//go:build !linux

package peers

import (
	"errors"
	"os"
	"os/exec"
)

// dieWithParent has no equivalent here; the test's cleanup is all there is.
func dieWithParent(*exec.Cmd) {}

// confine does nothing: the peers this package knows are Debian's.
func confine(_ *exec.Cmd, _ string, _, _ uint32) {}

// enter does nothing, see confine.
func enter(*exec.Cmd, string) {}

// mayEnter is never true here.
func mayEnter(string) bool { return false }

// halt is known for Linux only.
func halt(*os.Process, bool) error { return errors.ErrUnsupported }
