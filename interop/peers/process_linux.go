package peers

import (
	"os"
	"os/exec"
	"syscall"
)

// dieWithParent makes the kernel end the program when the test binary dies, be
// it by a panic or by go test's time limit, when no cleanup runs.
func dieWithParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}

// confine runs cmd as the given user and, if root is not empty, inside that
// directory tree. It needs to be root itself. A server that starts unprivileged
// has no privileges to drop, and keeps the parent-death signal, which the kernel
// clears on a change of user.
func confine(cmd *exec.Cmd, root string, uid, gid uint32) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot:     root,
		Credential: &syscall.Credential{Uid: uid, Gid: gid},
	}
}

// enter runs cmd as the same user inside a directory tree. The kernel lets an
// ordinary user do that in a user namespace of his own, if the machine allows
// those; his id there is the same, so the program does not take itself for root.
func enter(cmd *exec.Cmd, root string) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot:      root,
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}},
	}
}

// mayEnter tries enter with a program that does nothing.
func mayEnter(root string) bool {
	cmd := exec.Command("/bin/true")
	enter(cmd, root)
	return cmd.Run() == nil
}

// halt stops a program where it is, or lets it go on.
func halt(p *os.Process, yes bool) error {
	if yes {
		return p.Signal(syscall.SIGSTOP)
	}
	return p.Signal(syscall.SIGCONT)
}
