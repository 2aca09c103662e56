package interop_test

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// hopPackets are sent one at a time, hopPace apart, so that each finds
// everybody asleep, as speech does.
const (
	hopPackets = 1000
	hopPace    = 4 * time.Millisecond
)

// BenchmarkHop measures what guard adds to the way of a voice packet, from the
// client's send call until the packet stands on guard's upstream socket, beside
// a bare hop over loopback in the same run. Goals: the median at most 8 bare
// hops, the 99th percentile at most 1 ms.
func BenchmarkHop(b *testing.B) {
	server := peers.Start(b, peers.Murmur15, peers.ServerOptions{Unlimited: true})
	tap := peers.StartTap(b, server)
	g, _, secret := guardUnderLoad(b, server, tap.Addr())
	raw := peers.DialRaw(b, g.addr(), "alice", peers.RawOptions{UDP: true})
	g.gate(0, "ciphertext")
	_ = secret
	waitUDP(b, raw, tap)
	for b.Loop() {
		bare := bareHops(b)
		tap.Forget()
		var sent []time.Time
		for i := range hopPackets {
			sent = append(sent, time.Now())
			raw.SendVoice(voice.Packet{FrameNumber: uint64(2 * i), Data: speechPacket(i)})
			time.Sleep(hopPace)
		}
		var through []time.Duration
		for _, f := range tap.Frames() {
			if p, ok := f.Voice(); ok && f.Dir == voice.ToServer && f.UDP && int(p.FrameNumber/2) < len(sent) {
				through = append(through, f.Time.Sub(sent[p.FrameNumber/2]))
			}
		}
		if len(through) < hopPackets*99/100 {
			b.Fatalf("%d of %d packets came through by UDP", len(through), hopPackets)
		}
		b.ReportMetric(micros(at(bare, 50)), "bare-p50-us")
		b.ReportMetric(micros(at(bare, 99)), "bare-p99-us")
		b.ReportMetric(micros(at(through, 50)), "guard-p50-us")
		b.ReportMetric(micros(at(through, 99)), "guard-p99-us")
		b.ReportMetric(float64(at(through, 50))/float64(at(bare, 50)), "p50-ratio")
	}
}

// BenchmarkMemory measures guard's resident memory with 50 people in the
// channel, four of them talking. Goal: at most 40 MB.
func BenchmarkMemory(b *testing.B) {
	server := peers.Start(b, peers.Murmur15, peers.ServerOptions{Unlimited: true, Ini: []string{"users=100"}})
	g, _, _ := guardUnderLoad(b, server, server.Addr())
	peers.DialRaw(b, g.addr(), "alice", peers.RawOptions{UDP: true})
	g.gate(0, "ciphertext")
	var crowd []*peers.Raw
	for range 48 {
		crowd = append(crowd, peers.DialRaw(b, server.Addr(), "plain"+string(rune('A'+len(crowd)%26))+string(rune('a'+len(crowd)/26)), peers.RawOptions{UDP: true}))
	}
	for b.Loop() {
		most := 0
		for i := range 250 {
			for _, talker := range crowd[:4] {
				talker.SendVoice(voice.Packet{FrameNumber: uint64(2 * i), Data: speechPacket(i)})
			}
			time.Sleep(20 * time.Millisecond)
			most = max(most, g.rss())
		}
		b.ReportMetric(float64(most)/1e6, "guard-MB")
	}
}

// guardUnderLoad starts a guard for a server, reached at addr, and a holder of
// the same secret on the server itself.
func guardUnderLoad(b *testing.B, server *peers.Server, addr string) (*guarded, *client.Client, string) {
	b.Helper()
	secret := newSecret(b)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	bob, err := client.Dial(ctx, client.Config{
		Address: server.Addr(), Username: "bob", Policy: e2ee.PolicyRequire, Secret: secret,
		CheckServer: func([]byte) error { return nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range bob.Events() {
		}
	}()
	b.Cleanup(func() { bob.Close(); <-done })
	return startGuard(b, "alice", addr, secret), bob, secret
}

// waitUDP sends until a packet has gone upstream by UDP.
func waitUDP(b *testing.B, raw *peers.Raw, tap *peers.Tap) {
	b.Helper()
	deadline := time.Now().Add(patience)
	for n := uint64(0); time.Now().Before(deadline); n += 2 {
		raw.SendVoice(voice.Packet{FrameNumber: n, Data: speechPacket(0)})
		time.Sleep(20 * time.Millisecond)
		if slices.ContainsFunc(tap.Frames(), func(f peers.TapFrame) bool {
			p, ok := f.Voice()
			return ok && f.UDP && f.Dir == voice.ToServer && p.Target == 0
		}) {
			return
		}
	}
	b.Fatal("no voice goes upstream by UDP")
}

// bareHops sends datagrams of the same size between two sockets.
func bareHops(b *testing.B) []time.Duration {
	b.Helper()
	in, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer in.Close()
	out, err := net.DialUDP("udp4", nil, in.LocalAddr().(*net.UDPAddr))
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	arrived := make(chan time.Time, hopPackets)
	go func() {
		buf := make([]byte, 2048)
		for range hopPackets {
			if _, err := in.Read(buf); err != nil {
				return
			}
			arrived <- time.Now()
		}
	}()
	var hops []time.Duration
	datagram := make([]byte, 150)
	for range hopPackets {
		sent := time.Now()
		if _, err := out.Write(datagram); err != nil {
			b.Fatal(err)
		}
		select {
		case t := <-arrived:
			hops = append(hops, t.Sub(sent))
		case <-time.After(time.Second):
		}
		time.Sleep(hopPace)
	}
	return hops
}

// speechPacket is a valid CELT packet of 20 ms whose body is not zero.
func speechPacket(seed int) []byte {
	p := make([]byte, 81)
	p[0] = 0xF8
	for i := range p[1:] {
		p[1+i] = byte(seed*31 + i*7 + 1)
	}
	return p
}

func at(d []time.Duration, percent int) time.Duration {
	slices.Sort(d)
	return d[min(len(d)-1, len(d)*percent/100)]
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
