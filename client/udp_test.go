package client

import (
	"testing"
	"time"
)

// TestPath walks the table of the UDP path in virtual time. Each line is a moment
// in milliseconds, what happens then, and what must hold after it.
func TestPath(t *testing.T) {
	type line struct {
		at   int
		what string // ping, echo or check
		turn bool   // what echoed or check return
		up   bool
	}
	for _, c := range []struct {
		name  string
		lines []line
	}{
		{"the very first echo turns UDP on", []line{
			{0, "ping", false, false}, {40, "echo", true, true}, {60, "echo", false, true},
		}},
		{"no echo at all stays in the tunnel", []line{
			{0, "ping", false, false}, {250, "ping", false, false}, {4999, "check", false, false}, {5000, "check", false, false}, {9000, "check", false, false},
		}},
		{"an unanswered ping of 5 s gives UDP up", []line{
			{0, "ping", false, false}, {40, "echo", true, true},
			{2000, "ping", false, true}, {4000, "ping", false, true}, {6999, "check", false, true}, {7000, "check", true, false},
		}},
		{"an echo in between saves it", []line{
			{0, "ping", false, false}, {40, "echo", true, true},
			{2000, "ping", false, true}, {4000, "ping", false, true}, {4040, "echo", false, true}, {7000, "check", false, true}, {60000, "check", false, true},
		}},
		{"after a loss two echoes are needed", []line{
			{0, "ping", false, false}, {40, "echo", true, true}, {2000, "ping", false, true}, {7000, "check", true, false},
			{9000, "ping", false, false}, {9040, "echo", false, false}, {9040, "ping", false, false}, {9080, "echo", true, true},
		}},
		{"one echo and then silence is no return", []line{
			{0, "ping", false, false}, {40, "echo", true, true}, {2000, "ping", false, true}, {7000, "check", true, false},
			{9000, "ping", false, false}, {9040, "echo", false, false}, {9040, "ping", false, false}, {14040, "check", false, false},
			{15000, "ping", false, false}, {15040, "echo", false, false},
		}},
		{"an echo that comes late gives nothing back", []line{
			{0, "ping", false, false}, {40, "echo", true, true}, {2000, "ping", false, true}, {7000, "check", true, false},
			{7100, "echo", false, false}, {7100, "check", false, false},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p path
			start := time.Unix(1_800_000_000, 0)
			for i, l := range c.lines {
				now := start.Add(time.Duration(l.at) * time.Millisecond)
				turn := false
				switch l.what {
				case "ping":
					p.pinged(now)
				case "echo":
					turn = p.echoed(now)
				case "check":
					turn = p.check(now)
				}
				if turn != l.turn || p.up != l.up {
					t.Errorf("line %d (%s at %d ms): turn %v, up %v; want %v, %v", i, l.what, l.at, turn, p.up, l.turn, l.up)
				}
			}
		})
	}
}

// TestPathPace counts pings of an hour: quick at first, then every 2 s while UDP
// carries voice and every 10 s while it does not.
func TestPathPace(t *testing.T) {
	for _, c := range []struct {
		name        string
		answers     bool
		first, hour int // pings of the first second and of the hour
	}{
		{"a server that answers", true, 4, 1800},
		{"a server that does not", false, 4, 360},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p path
			start := time.Unix(1_800_000_000, 0)
			first, all := 0, 0
			for now := start; now.Before(start.Add(time.Hour)); {
				if p.check(now) && c.answers {
					t.Fatal("UDP was given up")
				}
				if p.due(now) {
					all++
					if now.Sub(start) < time.Second {
						first++
					}
					p.pinged(now)
					if c.answers {
						p.echoed(now)
					}
				}
				next := p.deadline()
				if !next.After(now) {
					t.Fatalf("deadline %v is not after %v", next, now)
				}
				now = next
			}
			if first != c.first || all < c.hour || all > c.hour+8 {
				t.Errorf("%d pings in the first second, %d in the hour; want %d and about %d", first, all, c.first, c.hour)
			}
		})
	}
}
