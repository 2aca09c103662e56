package evilserver_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/internal/evilserver"
	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// sotto is a client with encryption of its own behind the proxy, and everything
// it was told.
func sotto(t *testing.T, s *stage, name string) (*client.Client, chan client.Event) {
	t.Helper()
	want := sha256.Sum256(s.murmur.CertDER())
	c, err := client.Dial(t.Context(), client.Config{
		Address: s.evil.Addr(), Username: name, Secret: "nobody else knows these words", Policy: e2ee.PolicyRequire,
		CheckServer: func(der []byte) error {
			if sha256.Sum256(der) != want {
				return errors.New("another certificate than the server's")
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	events := make(chan client.Event, 4096)
	go func() {
		defer close(events)
		for e := range c.Events() {
			events <- e
		}
	}()
	return c, events
}

// until returns all voice up to the encrypted packet with this payload.
func until(t *testing.T, events <-chan client.Event, payload []byte) (heard []client.Voice) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				t.Fatal("the client has ended")
			}
			if v, ok := e.(client.Voice); ok && len(v.Opus) > 0 {
				heard = append(heard, v)
				if v.Encrypted && bytes.Equal(v.Opus, payload) {
					return heard
				}
			}
		case <-limit.C:
			t.Fatalf("% x is not heard; heard %+v", payload, heard)
		}
	}
}

// TestProduct puts Sotto's own client behind the proxy: an honest one changes
// nothing, one that lies about voice (MS11, MS12, MS25) does not get through.
func TestProduct(t *testing.T) {
	s := &stage{t: t, murmur: peers.Start(t, peers.Murmur15, peers.ServerOptions{Unlimited: true})}
	s.evil = newEvil(t, s.murmur)
	alice, aliceEvents := sotto(t, s, "alice")
	go func() {
		for range aliceEvents {
		}
	}()
	bob, events := sotto(t, s, "bob")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := errors.Join(alice.WaitReady(ctx), bob.WaitReady(ctx)); err != nil {
		t.Fatal(err)
	}
	evilAlice, evilBob := s.evil.Client("alice", patience), s.evil.Client("bob", patience)
	number := uint64(0)
	say := func(n int) []byte {
		t.Helper()
		number += 2
		payload := append([]byte{0xF8}, opus(n)[1:]...)
		if err := alice.SendVoice(client.Frame{FrameNumber: number, Opus: payload}); err != nil {
			t.Fatal(err)
		}
		return payload
	}
	forBob := func(e evilserver.Event) bool { return e.Client == evilBob && e.Dir == voice.ToClient && e.Voice != nil }

	r := s.evil.Record(forBob)
	heard := until(t, events, say(1))
	if len(heard) != 1 || heard[0].From != evilAlice.Session() || !heard[0].Encrypted {
		t.Errorf("an honest proxy: bob hears %+v", heard)
	}
	recorded, ok := r.Wait(1, patience)
	r.Stop()
	if !ok || bytes.Contains(recorded[0].Voice.Data, opus(1)[1:]) {
		t.Errorf("the proxy has %d packets, the first in clear", len(recorded))
	}

	s.evil.Replay(recorded...) // MS11
	if heard := until(t, events, say(2)); len(heard) != 1 {
		t.Errorf("a replay is heard: %+v", heard)
	}

	ghost := s.evil.Ghost(evilserver.Everybody, "carol", 0, "") // MS12
	swap := s.evil.Swap(evilserver.Named("bob"), evilAlice.Session(), ghost)
	relabelled := s.evil.Record(forBob)
	lost := say(3)
	if events, ok := relabelled.Wait(1, patience); !ok || events[0].Voice.Session != ghost {
		t.Fatalf("not relabelled: %+v", events)
	}
	relabelled.Stop()
	swap.Stop()
	for _, v := range until(t, events, say(4)) {
		if v.From == ghost || bytes.Equal(v.Opus, lost) {
			t.Errorf("bob hears alice as somebody else: %+v", v)
		}
	}

	s.evil.InjectVoice(evilBob, voice.ToClient, voice.Packet{Codec: voice.Opus, Session: evilAlice.Session(), FrameNumber: 1000, Data: opus(5)}) // MS25
	for _, v := range until(t, events, say(6)) {
		if !v.Encrypted {
			t.Errorf("clear voice is heard: %+v", v)
		}
	}

	// MS1, the half that exists with a typed secret: moved by the server, nothing
	// leaves that murmurd could read.
	up := s.evil.Record(func(e evilserver.Event) bool {
		return e.Client == evilAlice && e.Dir == voice.ToServer && e.Voice != nil
	})
	session := evilAlice.Session()
	s.evil.Inject(evilAlice, &mumblepb.ChannelState{ChannelId: proto.Uint32(77), Parent: proto.Uint32(0), Name: proto.String("elsewhere")})
	s.evil.Move(evilserver.Named("alice"), session, 77)
	waitState(t, alice, func(st client.State) bool { return st.Self.Channel == 77 })
	number += 2
	_ = alice.SendVoice(client.Frame{FrameNumber: number, Opus: append([]byte{0xF8}, opus(7)[1:]...)}) // held or not: nothing readable
	s.evil.Move(evilserver.Named("alice"), session, 0)
	waitState(t, alice, func(st client.State) bool { return st.Self.Channel == 0 })
	if err := alice.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	until(t, events, say(8))
	for _, e := range up.Events() {
		if bytes.Contains(e.Voice.Data, opus(7)[1:]) {
			t.Errorf("left in clear: % x", e.Voice.Data)
		}
	}
	if len(up.Events()) == 0 {
		t.Error("nothing passed at all, so it proves nothing")
	}
}

// waitState asks again and again: no event announces a lie's arrival.
func waitState(t *testing.T, c *client.Client, ok func(client.State) bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		st, err := c.State()
		if err != nil {
			t.Fatal(err)
		}
		if ok(st) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the state stays %+v", st)
		}
	}
}
