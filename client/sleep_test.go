package client

import (
	"io"
	"net"
	"runtime"
	"testing"
	"time"
)

// The clocks part while the computer sleeps, and a timer is late after a stop.
func TestSleepWatch(t *testing.T) {
	start := time.Now()
	for _, c := range []struct {
		name       string
		mono, wall time.Duration
		late       time.Duration
		want       bool
	}{
		{"awake", 5 * time.Second, 5 * time.Second, 0, false},
		{"awake for a day", 24 * time.Hour, 24 * time.Hour, 0, false},
		{"busy", 9 * time.Second, 9 * time.Second, 9 * time.Second, false},
		{"asleep for ten minutes", time.Second, 10 * time.Minute, 0, true},
		{"asleep for eleven seconds", time.Second, 12 * time.Second, 0, true},
		{"asleep for nine seconds", time.Second, 10 * time.Second, 0, false},
		{"the clock is set back", time.Second, -time.Hour, 0, false},
		{"stopped", time.Minute, time.Minute, 55 * time.Second, true},
	} {
		wall := start
		w := SleepWatch{Wall: func() time.Time { return wall.Round(0) }}
		if w.Woke(start, time.Time{}) {
			t.Errorf("%s: asleep before the beginning", c.name)
		}
		wall = wall.Add(c.wall)
		now := start.Add(c.mono)
		if got := w.Woke(now, now.Add(-c.late)); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
		if w.Woke(now, now) {
			t.Errorf("%s: twice", c.name)
		}
	}
}

// What the other end's system has not taken is told by ours, on Linux.
func TestUnconfirmed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ours, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	theirs, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	if _, known := sendQueue(ours); !known {
		if runtime.GOOS == "linux" {
			t.Fatal("Linux does not tell what is left to send")
		}
		t.Skip("this system does not tell what is left to send")
	}
	settles := func(want bool) {
		t.Helper()
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if n, _ := sendQueue(ours); (n == 0) == want {
				return
			}
		}
		t.Errorf("all confirmed is not %v", want)
	}
	settles(true)
	// Their program does not read, but their system takes a ping.
	ours.Write([]byte("ping"))
	settles(true)
	// Nor does it take everything.
	ours.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	ours.Write(make([]byte, 32<<20))
	settles(false)
	go io.Copy(io.Discard, theirs)
	settles(true)
}
