package demo

import (
	"os"
	"os/exec"
	"syscall"
)

// confine makes a program run inside a directory tree, "" for none, and as another
// user if root starts it: uid, -1 for the same. An ordinary user enters a tree in
// a user namespace, with the same id there.
func confine(cmd *exec.Cmd, tree string, uid, gid int) {
	attr := &syscall.SysProcAttr{Chroot: tree}
	switch {
	case uid >= 0:
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	case tree != "":
		attr.Cloneflags = syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
	}
	cmd.SysProcAttr = attr
}

// mayEnter tries confine with a program that does nothing.
func mayEnter(tree string) bool {
	if os.Getuid() == 0 {
		return true
	}
	cmd := exec.Command("/bin/true")
	confine(cmd, tree, -1, -1)
	return cmd.Run() == nil
}
