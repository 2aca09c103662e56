package interop_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// The full server of BenchmarkParity.
const (
	fullChannels = 200
	fullUsers    = 100
	logins       = 20
	loginGoal    = 30 * time.Millisecond // more than without guard
	memoryGoal   = 40 << 20              // bytes, resident
)

// branch is a guard on a server, seen by a tap between the two.
type branch struct {
	server *peers.Server
	tap    *peers.Tap
	guard  *guarded
	raw    *peers.Raw
	sent   []time.Time
	hops   []time.Duration

	cpu, serverCPU time.Duration // of the processes
}

func newBranch(b *testing.B) *branch {
	b.Helper()
	s := peers.Start(b, peers.Murmur15, peers.ServerOptions{
		Unlimited: true, SuperUserPassword: "hall", Ini: []string{"users=200", "channelcountlimit=1000"},
	})
	return &branch{server: s, tap: peers.StartTap(b, s)}
}

// fill makes the channels, some inside others, and lets everybody in.
func (r *branch) fill(b *testing.B) {
	b.Helper()
	admin := r.server.Admin()
	var channels []uint32
	for i := range fullChannels {
		parent := uint32(0)
		if i%5 != 0 {
			parent = channels[i-i%5]
		}
		channels = append(channels, admin.MakeChannel(fmt.Sprintf("channel %d", i), parent))
	}
	for i := range fullUsers {
		u := peers.DialRaw(b, r.server.Addr(), fmt.Sprintf("user%d", i), peers.RawOptions{})
		u.Join(channels[(i*7)%fullChannels])
		u.Forget()
	}
}

// come lets the guard's client in.
func (r *branch) come(b *testing.B, name string) {
	b.Helper()
	r.guard, _, _ = guardUnderLoad(b, r.server, r.tap.Addr())
	r.raw = peers.DialRaw(b, r.guard.addr(), name, peers.RawOptions{UDP: true})
	r.guard.gate(0, "ciphertext")
	waitUDP(b, r.raw, r.tap)
	r.tap.Forget()
}

// measure takes the hops out of what the tap saw.
func (r *branch) measure(b *testing.B) {
	b.Helper()
	for _, f := range r.tap.Frames() {
		if p, ok := f.Voice(); ok && f.Dir == voice.ToServer && f.UDP && p.FrameNumber/2 < uint64(len(r.sent)) {
			r.hops = append(r.hops, f.Time.Sub(r.sent[p.FrameNumber/2]))
		}
	}
	if len(r.hops) < len(r.sent)*99/100 {
		b.Fatalf("%d of %d packets came through by UDP", len(r.hops), len(r.sent))
	}
}

// BenchmarkParity measures what a stock client could notice of guard, in one run:
// the hop and the CPU time of a packet with a server of 200 channels and 100 people
// mirrored, beside those with an empty server, a bare hop over loopback (the floor),
// and the CPU time that the server itself spends on the packet (the peer); the login
// through guard beside that without; and guard's resident memory. Goals: a login at
// most 30 ms longer, 40 MB.
func BenchmarkParity(b *testing.B) {
	empty, full := newBranch(b), newBranch(b)
	full.fill(b)
	empty.come(b, "alice")
	full.come(b, "alice")
	for b.Loop() {
		bare := bareHops(b)
		both := []*branch{empty, full}
		for _, r := range both {
			r.cpu, r.serverCPU = cpuTime(b, r.guard.Pid()), cpuTime(b, r.server.Pid())
		}
		for i := range hopPackets {
			for _, r := range both {
				r.sent = append(r.sent, time.Now())
				r.raw.SendVoice(voice.Packet{FrameNumber: uint64(2 * i), Data: speechPacket(i)})
				time.Sleep(hopPace)
			}
		}
		for _, r := range both {
			r.cpu, r.serverCPU = cpuTime(b, r.guard.Pid())-r.cpu, cpuTime(b, r.server.Pid())-r.serverCPU
			r.measure(b)
		}
		b.ReportMetric(micros(at(bare, 50)), "floor-p50-us")
		b.ReportMetric(micros(at(bare, 99)), "floor-p99-us")
		for name, r := range map[string]*branch{"empty": empty, "full": full} {
			b.ReportMetric(micros(at(r.hops, 50)), name+"-p50-us")
			b.ReportMetric(micros(at(r.hops, 99)), name+"-p99-us")
			b.ReportMetric(micros(r.cpu/hopPackets), name+"-cpu-us")
			b.ReportMetric(micros(r.serverCPU/hopPackets), name+"-peer-cpu-us")
		}
		b.ReportMetric(float64(at(full.hops, 50))/float64(at(empty.hops, 50)), "p50-full/empty")
		b.ReportMetric(float64(full.cpu)/float64(empty.cpu), "cpu-full/empty")
		straight, guarded := loginTimes(b, full.server)
		b.ReportMetric(micros(straight)/1000, "login-ms")
		b.ReportMetric(micros(guarded)/1000, "guard-login-ms")
		b.ReportMetric(float64(guarded-straight)/float64(loginGoal), "login/goal")
		b.ReportMetric(float64(full.guard.rss())/1e6, "guard-MB")
		b.ReportMetric(float64(full.guard.rss())/memoryGoal, "guard-MB/goal")
	}
}

// loginTimes are the medians of logins to a server, directly and through a guard, one
// after the other.
func loginTimes(b *testing.B, server *peers.Server) (straight, guarded time.Duration) {
	b.Helper()
	g := startGuard(b, "login", server.Addr(), automatic)
	var times [2][]time.Duration
	addresses := []string{server.Addr(), g.addr()}
	for n := range 2 * logins {
		i := (n + n/2) % 2                 // 0 1 1 0: neither always comes after the other
		time.Sleep(100 * time.Millisecond) // the server tells a hundred people that the last one left
		begin, mark := time.Now(), g.mark()
		r, err := peers.TryRaw(addresses[i], "newcomer", peers.RawOptions{})
		if err != nil {
			b.Fatal(err)
		}
		times[i] = append(times[i], time.Since(begin))
		r.Close()
		if i == 1 {
			g.waitFrom(mark, "disconnected", nil)
		}
	}
	return at(times[0], 50), at(times[1], 50)
}

// cpuTime is what a process has used of the processors so far, all threads together,
// to the nanosecond (Linux: /proc/PID/task/TID/schedstat).
func cpuTime(b *testing.B, pid int) (sum time.Duration) {
	b.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if len(files) == 0 && runtime.GOOS != "linux" {
		b.Skipf("the CPU time of a process is read from Linux' /proc: %v", err)
	}
	if len(files) == 0 {
		b.Fatalf("process %d has ended: %v", pid, err)
	}
	for _, name := range files {
		line, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		ns, err := strconv.ParseInt(strings.Fields(string(line))[0], 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}
