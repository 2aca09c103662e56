package main

import (
	"os/exec"
	"syscall"
)

// detach gives a program a process group of its own: Ctrl-C on our console is not
// meant for it.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
