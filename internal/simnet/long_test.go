package simnet_test

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/internal/simnet"
)

// longHours is how long TestLong lasts, in virtual time.
func longHours() int {
	if n, err := strconv.Atoi(os.Getenv("SOTTO_HOURS")); err == nil {
		return n
	}
	return 2
}

// TestLong has eight people who speak and write for hours. Each minute one of them
// loses the connection, goes, comes, or starts the program again. They are together
// at least nineteen minutes of twenty, nothing readable leaves, and the memory of all
// of them does not grow.
func TestLong(t *testing.T) {
	if testing.Short() {
		t.Skip("hours of virtual time")
	}
	s := newStage(t, 77, simnet.Murmur15())
	in := s.join(e2ee.PolicyRequire, "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi")
	var out []*soul
	var memory []uint64
	minutes, apart, heard := 60*longHours(), 0, 0
	for minute := range minutes {
		i := minute * 5 % len(in)
		p := in[i]
		switch {
		case minute%4 == 3:
			p.peer.Cut()
			s.run(time.Second)
			if p.peer.Session() == 0 {
				p.peer.Connect()
			}
		case minute%4 == 2:
			p.again()
		case len(out) > 0:
			out[0].peer.Connect()
			in, out = append(in, out[0]), nil
		default:
			p.peer.Disconnect()
			in, out = slices.Delete(slices.Clone(in), i, i+1), append(out, p)
		}
		s.run(45 * time.Second)
		if !isTogether(in) {
			apart++
		}
		s.answered(in...)
		speaker := in[minute%len(in)]
		speaker.talk(time.Second)
		if err := speaker.write("the same words each time"); err != nil {
			t.Errorf("minute %d: %v", minute, err)
		}
		s.run(15 * time.Second)
		for _, p := range in {
			if n, _ := p.hears(speaker.peer.Session()); p != speaker && n > 0 {
				heard++
			}
		}
		s.sealed()
		s.forget()
		s.log.Reset()
		if minute%15 == 14 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			memory = append(memory, m.HeapAlloc>>10)
		}
		if t.Failed() {
			t.Fatalf("minute %d", minute)
		}
	}
	t.Logf("%d minutes, apart at the end of %d of them; a speaker was heard %d times; KiB each quarter of an hour: %v", minutes, apart, heard, memory)
	if apart*20 > minutes {
		t.Errorf("apart after %d of %d minutes", apart, minutes)
	}
	if want := minutes * 6; heard < want {
		t.Errorf("heard %d times instead of %d", heard, want)
	}
	if memory = memory[4:]; len(memory) < 4 {
		t.Fatalf("%d hours show nothing of its growth", longHours())
	}
	// In the first hour the server's own record of what passed fills.
	if first, last := memory[0], memory[len(memory)-1]; last > first+first/10 {
		t.Errorf("memory grew from %d to %d KiB", first, last)
	}
}
