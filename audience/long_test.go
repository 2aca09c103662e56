package audience_test

import (
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
)

// longHours is how long TestLong lasts, in virtual time.
func longHours() int {
	if n, err := strconv.Atoi(os.Getenv("SOTTO_HOURS")); err == nil {
		return n
	}
	return 2
}

// TestLong has eight people for hours, of whom one comes or goes each minute or
// gets a new connection, on a server that loses every twentieth object. They are
// together at least nineteen minutes of twenty, and memory does not grow.
func TestLong(t *testing.T) {
	if testing.Short() {
		t.Skip("hours of virtual time")
	}
	h := newHall(t, 120, audience.RegimeEcho, audience.SuiteClassic)
	h.meddle = func(_, _ uint32, _ envelope.Object) []time.Duration {
		if h.rng.IntN(20) == 0 {
			return nil
		}
		return []time.Duration{h.delay()}
	}
	var in, out []*person
	for range 8 {
		in = append(in, h.arrive(3))
	}
	h.until(time.Minute, "together", func() bool { return together(in...) })
	var memory []uint64
	minutes, apart := 60*longHours(), 0
	for minute := range minutes {
		i := h.rng.IntN(len(in))
		p := in[i]
		switch {
		case minute%3 == 2:
			h.leave(p, h.rng.IntN(2) == 0)
			h.connect(p)
		case len(out) > 0:
			h.connect(out[0])
			in, out = append(in, out[0]), nil
		default:
			h.leave(p, h.rng.IntN(2) == 0)
			in, out = append(in[:i:i], in[i+1:]...), append(out, p)
		}
		h.run(time.Minute)
		if !together(in...) {
			apart++
			h.until(3*time.Minute, "together again", func() bool { return together(in...) })
		}
		for _, p := range in {
			p.history, p.notices, p.lost, p.apps = p.history[len(p.history):], p.notices[len(p.notices):], p.lost[len(p.lost):], nil
			for what, n := range p.m.Sizes() {
				if n > sizeLimits[what] {
					t.Fatalf("%s keeps %d %s", p.name, n, what)
				}
			}
		}
		if minute%60 == 59 {
			var s runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&s)
			memory = append(memory, s.HeapAlloc>>10)
		}
	}
	t.Logf("%d minutes, apart at the end of %d of them; KiB by the hour: %v; sent %v", minutes, apart, memory, h.sent)
	if apart*20 > minutes {
		t.Errorf("apart after %d of %d minutes", apart, minutes)
	}
	if first, last := memory[0], memory[len(memory)-1]; last > first+first/2+1024 {
		t.Errorf("memory grew from %d to %d KiB", first, last)
	}
}
