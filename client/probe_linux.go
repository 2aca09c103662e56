package client

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// sendQueue is tcp(7), SIOCOUTQ: "the amount of unsent data in the socket send
// queue", which for TCP includes what was sent and is not acknowledged.
func sendQueue(c net.Conn) (n int, known bool) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return 0, false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return 0, false
	}
	failed := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return n, failed == nil && err == nil
}
