package interop_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/interop/peers"
)

// Figures of TestHop.
const (
	hopCount = 100_000 // SOTTO_HOP_PACKETS replaces it
	hopRate  = 2000    // packets per second, forty times that of speech
	hopLoss  = 0.001   // at most so much of all may be lost; altered: none
)

// TestHop sends a hundred thousand encrypted packets of all sizes through a
// real server and compares what comes out. Frame numbers, key header, SFrame
// counter and six steps of the ratchet all get their turn.
func TestHop(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	packets := hopCount
	if s := os.Getenv("SOTTO_HOP_PACKETS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			t.Fatalf("SOTTO_HOP_PACKETS=%q is no number of packets", s)
		}
		packets = n
	}
	server := peers.Start(t, peers.Murmur15, peers.ServerOptions{Unlimited: true, Bandwidth: 100_000_000})
	secret := newSecret(t)
	from, to := dialNative(t, server, "alice", secret), dialNative(t, server, "bob", secret)

	// The receiver. What it must hear follows from the frame number alone.
	type tally struct{ heard, altered, disordered, clear int }
	counted := make(chan tally, 1)
	last := uint64(packets-1) * 2
	go func() {
		var n tally
		defer func() { counted <- n }()
		next := uint64(0)
		for ev := range to.Events() {
			v, ok := ev.(client.Voice)
			if !ok || len(v.Opus) == 0 {
				continue
			}
			n.heard++
			if !v.Encrypted {
				n.clear++
			}
			if string(v.Opus) != string(hopPacket(v.FrameNumber)) {
				n.altered++
			}
			if v.FrameNumber < next {
				n.disordered++
			}
			next = v.FrameNumber + 2
			if v.FrameNumber == last {
				return
			}
		}
	}()
	go func() {
		for range from.Events() {
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := errors.Join(from.WaitReady(ctx), to.WaitReady(ctx)); err != nil {
		t.Fatal(err)
	}

	begin := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n := 0; n < packets; <-tick.C {
		// In step with the clock, ticks missed or not, and never in large bursts.
		due := min(int(time.Since(begin).Seconds()*hopRate)+1, packets, n+5*hopRate/200)
		for ; n < due; n++ {
			number := uint64(n) * 2
			if err := from.SendVoice(client.Frame{FrameNumber: number, Opus: hopPacket(number), Terminator: n == packets-1}); err != nil {
				t.Fatalf("packet %d: %v", n, err)
			}
		}
	}
	took := time.Since(begin)
	state, err := from.State()
	if err != nil || !state.OverUDP {
		t.Errorf("the sender ended in the tunnel: %+v, %v", state, err)
	}
	var got tally
	select {
	case got = <-counted:
	case <-time.After(3 * time.Second): // the last packet was lost
		to.Close()
		got = <-counted
	}
	lost := packets - got.heard
	t.Logf("%d packets in %.1f s (%.0f/s): %d altered, %d out of order, %d lost",
		packets, took.Seconds(), float64(packets)/took.Seconds(), got.altered, got.disordered, lost)
	if got.altered != 0 || got.clear != 0 {
		t.Errorf("%d packets were altered, %d were not encrypted", got.altered, got.clear)
	}
	// What the server's own socket lost on a busy machine, it says; that is the
	// kernel's, as long as it is little.
	ours := lost - int(state.Stats.Remote.Lost)
	if float64(ours) > hopLoss*float64(packets) || float64(lost) > 10*hopLoss*float64(packets) {
		at, _ := to.State()
		t.Errorf("%d of %d packets were lost; sender %+v, receiver %+v %+v", lost, packets, state.Stats, at.Stats, at.Voice)
	}
}

// dialNative logs in a client with encryption of its own.
func dialNative(t *testing.T, server *peers.Server, name, secret string) *client.Client {
	t.Helper()
	want := sha256.Sum256(server.CertDER())
	c, err := client.Dial(t.Context(), client.Config{
		Address: server.Addr(), Username: name, Secret: secret, Policy: e2ee.PolicyRequire,
		CheckServer: func(der []byte) error {
			if sha256.Sum256(der) != want {
				return fmt.Errorf("another certificate than the server's")
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// hopPacket is the packet of a frame number: one mono CELT frame of 20 ms (TOC
// F8, code 0) with 20 to 250 bytes of anything.
func hopPacket(number uint64) []byte {
	r := rand.New(rand.NewPCG(number, 0x50))
	b := make([]byte, 20+r.IntN(231))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	b[0] = 0xF8
	return b
}
