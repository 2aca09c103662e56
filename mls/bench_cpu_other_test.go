//go:build !unix

package mls

import "time"

var began = time.Now()

func cpuTime() time.Duration { return time.Since(began) }
