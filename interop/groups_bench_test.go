package interop_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/interop/peers"
)

// joinGoal is the 95th percentile from join to the first decrypted voice.
var joinGoals = []struct {
	members int
	goal    time.Duration
}{{10, 2 * time.Second}, {25, 3 * time.Second}, {50, 6 * time.Second}}

// leaveGoal is the 95th percentile until the others have an epoch without one who
// left; for 25 members and fewer.
const leaveGoal = time.Second

// newcomers is how many come and go in each cell.
func newcomers(members int) int {
	if n, err := strconv.Atoi(os.Getenv("SOTTO_NEWCOMERS")); err == nil && n > 0 {
		return n
	}
	if members > 25 {
		return 10
	}
	return 20
}

// BenchmarkGroups measures, on real servers with their default limits and in the
// hybrid suite, how long a newcomer to a channel of n waits for its first decrypted
// voice, from the moment the server let it in, and how long it takes until nobody
// seals for one who left any more, from the moment its connection ends. All
// members share this process and the machine.
func BenchmarkGroups(b *testing.B) {
	for _, kind := range []peers.ServerKind{peers.Murmur15, peers.Murmur134} {
		for _, cell := range joinGoals {
			goal := cell.goal
			if kind == peers.Murmur134 {
				goal *= 2
			}
			b.Run(fmt.Sprintf("%v/n=%d", kind, cell.members), func(b *testing.B) {
				for b.Loop() {
					benchGroup(b, kind, cell.members, goal)
				}
			})
		}
	}
}

// guardRSSGoal is the resident memory of a guard with 50 members.
const guardRSSGoal = 60e6

// BenchmarkGroupsMemory is what a guard keeps in a group of 50, four of whom speak.
func BenchmarkGroupsMemory(b *testing.B) {
	server := peers.Start(b, peers.Murmur15, peers.ServerOptions{})
	alice := startShielded(b, "alice", server.Addr())
	all := dialCrowd(b, server.Addr(), "p", 49, memberOptions{})
	all.together(5*time.Minute, "alice")
	alice.in(time.Minute, 50)
	for b.Loop() {
		most := 0
		for range 250 {
			for _, m := range all[:4] {
				m.speak(0)
			}
			time.Sleep(20 * time.Millisecond)
			most = max(most, alice.rss())
		}
		b.ReportMetric(float64(most)/1e6, "guard-MB")
		b.ReportMetric(float64(most)/guardRSSGoal, "guard-MB/goal")
	}
}

func benchGroup(b *testing.B, kind peers.ServerKind, n int, goal time.Duration) {
	server := peers.Start(b, kind, peers.ServerOptions{})
	began := time.Now()
	all := dialCrowd(b, server.Addr(), "p", n, memberOptions{})
	all.together(5 * time.Minute)
	founded := time.Since(began)
	const settle = 2 * time.Second
	time.Sleep(settle)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				all[0].speak(0)
			}
		}
	}()
	var first, joined, left []time.Duration
	for i := range newcomers(n) {
		m := dialMember(b, server.Addr(), fmt.Sprintf("new%d", i), memberOptions{})
		in := time.Now()
		if !m.until(5*time.Minute, func() bool { return len(m.heard[all[0].number]) > 0 }) {
			b.Fatalf("nothing heard:\n%s\n%s", m.tell(), all[0].tell())
		}
		first = append(first, time.Since(in))
		append(all, m).together(time.Minute)
		joined = append(joined, time.Since(in))
		time.Sleep(settle)
		out := time.Now()
		if i%2 == 0 {
			go m.leave()
		} else {
			go m.crash()
		}
		all.together(time.Minute)
		var last time.Time
		for _, o := range all {
			if _, at := o.current(); at.After(last) {
				last = at
			}
		}
		left = append(left, last.Sub(out))
		<-m.done
		time.Sleep(settle)
	}
	close(stop)
	<-stopped
	b.ReportMetric(founded.Seconds(), "founded-s")
	b.ReportMetric(at(first, 50).Seconds(), "voice-p50-s")
	b.ReportMetric(at(first, 95).Seconds(), "voice-p95-s")
	b.ReportMetric(at(first, 95).Seconds()/goal.Seconds(), "voice-p95/goal")
	b.ReportMetric(at(joined, 95).Seconds(), "all-p95-s")
	b.ReportMetric(at(left, 50).Seconds(), "out-p50-s")
	b.ReportMetric(at(left, 95).Seconds(), "out-p95-s")
	if n <= 25 {
		b.ReportMetric(at(left, 95).Seconds()/leaveGoal.Seconds(), "out-p95/goal")
	}
	slices.Sort(first)
	b.Logf("%v, %d members: voice after %v, out after %v", kind, n, first, left)
	all.lossless()
}
