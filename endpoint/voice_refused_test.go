package endpoint_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/carrier"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mumble/voice"
)

func TestProtectRefuses(t *testing.T) {
	_, alice, bob := pair(t, echoes)
	for _, c := range []struct {
		name string
		in   voice.Packet
		want error
	}{
		{"another codec", voice.Packet{Codec: voice.CELTBeta, Data: []byte{1}}, endpoint.ErrCodec},
		{"loopback", voice.Packet{Codec: voice.Opus, Target: endpoint.LoopbackTarget, Data: packet(20, 1)}, endpoint.ErrLoopback},
		{"no Opus", voice.Packet{Codec: voice.Opus, Data: []byte{0xFB}}, endpoint.ErrNotCovered},
		{"2.5 ms", voice.Packet{Codec: voice.Opus, Data: []byte{0xE0, 1, 2}}, endpoint.ErrNotCovered},
		{"120 ms", voice.Packet{Codec: voice.Opus, Data: []byte{0xFB, 6, 1, 1, 1, 1, 1, 1}}, endpoint.ErrNotCovered},
		{"30 ms", voice.Packet{Codec: voice.Opus, Data: []byte{0xF3, 3, 1, 1, 1}}, endpoint.ErrNotCovered},
		{"no room for the ciphertext", voice.Packet{Codec: voice.Opus, Data: append([]byte{0xF8}, make([]byte, 940)...)}, e2ee.ErrFrameTooLong},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out voice.Packet
			if err := alice.Protect(nil, alice.r.now, &c.in, &out); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	want := endpoint.Stats{BadOpus: 4, TooLong: 1}
	if got := voiceStats(alice.Stats()); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	alice.mustHear(0, bob)
}

// voiceStats is what is counted of voice alone.
func voiceStats(s endpoint.Stats) endpoint.Stats {
	s.Carrier, s.Regime, s.Agreement = carrier.Stats{}, carrier.RegimeUnknown, audience.Stats{}
	return s
}

func TestUnprotectRefuses(t *testing.T) {
	r, alice, bob := pair(t, echoes)
	var out voice.Packet
	for _, c := range []struct {
		name string
		in   voice.Packet
		want error
	}{
		{"ordinary Opus", voice.Packet{Codec: voice.Opus, Session: alice.session, Data: packet(20, 1)}, endpoint.ErrNotSotto},
		{"an empty packet", voice.Packet{Codec: voice.Opus, Session: alice.session}, endpoint.ErrNotSotto},
		{"another codec", voice.Packet{Codec: voice.Speex, Session: alice.session, Data: []byte{1}}, endpoint.ErrCodec},
		{"an envelope of an unknown session", voice.Packet{Codec: voice.Opus, Session: 999, Data: wrap(t, 20, make([]byte, 60))}, e2ee.ErrUnknownSession},
		{"an envelope of zeros", voice.Packet{Codec: voice.Opus, Session: alice.session, Data: wrap(t, 20, make([]byte, 60))}, e2ee.ErrNoKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := bob.Unprotect(nil, r.now, &c.in, &out); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	if got, want := voiceStats(bob.Stats()), (endpoint.Stats{ClearVoice: 2, Unopened: 2}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}

	// A packet plays once, in its own name, under its own number.
	alice.say(0, packet(20, 1))
	in := bob.got[0]
	as := in
	as.FrameNumber += 2
	if err := bob.Unprotect(nil, r.now, &as, &out); !errors.Is(err, e2ee.ErrAuth) {
		t.Errorf("another frame number: %v", err)
	}
	if err := bob.Unprotect(nil, r.now, &in, &out); err != nil {
		t.Errorf("the packet itself: %v", err)
	}
	if err := bob.Unprotect(nil, r.now, &in, &out); !errors.Is(err, e2ee.ErrReplay) {
		t.Errorf("once more: %v", err)
	}
}

// wrap puts bytes into a voice envelope of the typed kind.
func wrap(t testing.TB, ms int, rest []byte) []byte {
	t.Helper()
	b, err := envelope.AppendVoice(nil, time.Duration(ms)*time.Millisecond, append([]byte{envelope.VoiceTyped}, rest...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A member of the call can seal anything. What is no sound Opus packet of the
// length that the cover says stops at the firewall of the other side.
func TestFirewall(t *testing.T) {
	r := newRelay(t, echoes)
	secret := e2ee.NewSecret()
	bob := r.join("bob", 0, with(t, secret))
	// Mallory has an engine and no endpoint, so nothing checks what it seals.
	engine, err := e2ee.New(e2ee.Config{Secret: secretFor(t, secret), Server: testServer})
	if err != nil {
		t.Fatal(err)
	}
	mallory := r.join("mallory", 0, nil)
	engine.Handle(r.now, e2ee.Connected{Session: mallory.session})
	engine.Handle(r.now, e2ee.World{Peers: []e2ee.Peer{{Session: bob.session, Name: "bob", Hears: true}}})
	engine.Handle(r.now, e2ee.Regime{Known: true})
	// Silence of the right kind makes the two known to each other.
	for o, ok := engine.Next(); ok; o, ok = engine.Next() {
		if v, is := o.(e2ee.SendVoice); is {
			data, err := envelope.AppendVoice(nil, 20*time.Millisecond, v.Body)
			if err != nil {
				t.Fatal(err)
			}
			in := voice.Packet{Codec: voice.Opus, Session: mallory.session, FrameNumber: v.FrameNumber, Data: data}
			var out voice.Packet
			if err := bob.Unprotect(nil, r.now, &in, &out); !errors.Is(err, endpoint.ErrNothing) {
				t.Fatalf("the announcement: %v", err)
			}
		}
	}
	r.carry()
	r.run(time.Second)
	// Bob is a holder for mallory's engine as soon as one packet of his opens.
	if _, err := bob.say(0, packet(20, 1)); err != nil {
		t.Fatal(err)
	}
	_, vk, rest, _ := envelope.ParseVoice(mallory.got[len(mallory.got)-1].Data)
	var heard e2ee.Frame
	heard.FrameNumber = mallory.got[len(mallory.got)-1].FrameNumber
	if err := engine.OpenVoice(nil, r.now, bob.session, vk, rest, &heard); err != nil {
		t.Fatal(err)
	}
	for o, ok := engine.Next(); ok; o, ok = engine.Next() {
		_ = o
	}
	if engine.Leave() != e2ee.LeaveCiphertext {
		t.Fatal("mallory cannot seal")
	}
	number := uint64(100)
	seal := func(ms int, payload []byte) voice.Packet {
		t.Helper()
		number += 2
		d := time.Duration(ms) * time.Millisecond
		body, err := engine.SealVoice(nil, r.now, envelope.MaxVoiceBody(d, envelope.MaxVoice), &e2ee.Frame{FrameNumber: number, Opus: payload})
		if err != nil {
			t.Fatal(err)
		}
		data, err := envelope.AppendVoice(nil, d, body)
		if err != nil {
			t.Fatal(err)
		}
		return voice.Packet{Codec: voice.Opus, Session: mallory.session, FrameNumber: number, Data: data}
	}
	for _, c := range []struct {
		name    string
		cover   int
		payload []byte
		sound   bool
	}{
		{"20 ms in 20 ms", 20, packet(20, 1), true},
		{"10 ms in 20 ms", 20, packet(10, 1), false},
		{"60 ms in 20 ms", 20, packet(60, 1), false},
		{"20 ms in 60 ms", 60, packet(20, 1), false},
		{"frame count 0", 20, []byte{0xFB, 0}, false},
		{"two equal frames of odd length", 40, []byte{0xF9, 1, 2, 3}, false},
		{"a first frame longer than the packet", 40, []byte{0xFA, 200, 1}, false},
		{"padding longer than the packet", 20, []byte{0xFB, 0x41, 250}, false},
		{"40 ms in 40 ms", 40, packet(40, 1), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := seal(c.cover, c.payload)
			before := bob.Stats().Firewall
			out := voice.Packet{Data: []byte("untouched")}
			err := bob.Unprotect(nil, r.now, &in, &out)
			if c.sound != (err == nil) {
				t.Errorf("error %v", err)
			}
			if dropped := bob.Stats().Firewall - before; c.sound != (dropped == 0) {
				t.Errorf("the firewall counts %d", dropped)
			}
			if !c.sound && string(out.Data) != "untouched" {
				t.Error("something came through")
			}
		})
	}
}
