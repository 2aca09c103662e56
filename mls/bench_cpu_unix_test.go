//go:build unix

package mls

import (
	"syscall"
	"time"
)

// cpuTime is what this process has used. Unlike the clock it does not count what
// others do on the machine meanwhile; it does count the garbage collector.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
