package endpoint_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
	"github.com/sotto-voip/sotto/opus"
)

// What is said comes out again byte for byte, in both regimes and for each length
// of packet, and the server sees envelopes.
func TestVoiceRoundTrip(t *testing.T) {
	for name, echo := range map[string]regime{"echo": echoes, "silent": silent} {
		t.Run(name, func(t *testing.T) {
			r, alice, bob := pair(t, echo)
			eve := r.join("eve", 0, nil)
			other := r.join("mallory", 0, with(t, e2ee.NewSecret()))
			r.settle()
			marker := bytes.Repeat([]byte{0xA7}, 16)
			r.forbidden = append(r.forbidden, marker)
			for _, ms := range []int{10, 20, 40, 60} {
				for range 60 { // past several key headers
					data := packet(ms, 0xA7)
					last := func(p *voice.Packet) { p.Terminator = ms == 60 }
					if _, err := alice.say(0, data, last); err != nil {
						t.Fatal(err)
					}
					sent := bob.got[len(bob.got)-1]
					if d, _, _, _ := envelope.ParseVoice(sent.Data); d != time.Duration(ms)*time.Millisecond {
						t.Errorf("a packet of %d ms travels as %v", ms, d)
					}
					got, err := bob.hear()
					if err != nil || !bytes.Equal(got.Data, data) {
						t.Fatalf("%d ms: %v % x", ms, err, got.Data)
					}
					if got.Session != alice.session || got.FrameNumber != sent.FrameNumber || got.Terminator != (ms == 60) || got.HasPosition {
						t.Errorf("%d ms: %+v", ms, got)
					}
					if err := opus.Check(eve.got[len(eve.got)-1].Data, time.Duration(ms)*time.Millisecond); err != nil {
						t.Errorf("eve gets something she cannot play: %v", err)
					}
					if got, err := other.hear(); err == nil {
						t.Errorf("another secret opens % x", got.Data)
					}
					r.run(time.Duration(ms) * time.Millisecond)
				}
			}
			for _, p := range []*person{alice, bob} {
				st := voiceStats(p.Stats())
				st.Unopened = 0 // mallory's announcements, where there are any
				if st != (endpoint.Stats{}) {
					t.Errorf("%s counts %+v", p.name, st)
				}
			}
			if other.Stats().Unopened == 0 {
				t.Error("mallory counts nothing")
			}
		})
	}
}

// Position arrives only between people in the same game, and never leaves outside
// the ciphertext (the relay looks).
func TestPosition(t *testing.T) {
	position := [3]float32{1.5, -2, 3e5}
	for _, c := range []struct {
		name       string
		alice, bob []byte
		want       bool
	}{
		{"the same game", []byte("game 1"), []byte("game 1"), true},
		{"different games", []byte("game 1"), []byte("game 2"), false},
		{"the speaker plays nothing", nil, []byte("game 1"), false},
		{"the hearer plays nothing", []byte("game 1"), nil, false},
		{"nobody plays", nil, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, alice, bob := pair(t, echoes)
			r.forbidden = append(r.forbidden, []byte("game 1"))
			alice.PluginContext(r.now, c.alice)
			bob.PluginContext(r.now, c.bob)
			_, err := alice.say(0, packet(20, 1), func(p *voice.Packet) { p.HasPosition, p.Position = true, position })
			if err != nil {
				t.Fatal(err)
			}
			got, err := bob.hear()
			if err != nil {
				t.Fatal(err)
			}
			if got.HasPosition != c.want || c.want && got.Position != position {
				t.Errorf("position %v %v", got.HasPosition, got.Position)
			}
		})
	}
}

// An empty last packet of the legacy form keeps its meaning; an empty packet in
// the middle is nothing to play.
func TestEmptyPackets(t *testing.T) {
	_, alice, bob := pair(t, echoes)
	alice.say(0, nil, func(p *voice.Packet) { p.Terminator = true })
	got, err := bob.hear()
	if err != nil || len(got.Data) != 0 || !got.Terminator {
		t.Errorf("end of speech: %+v, %v", got, err)
	}
	alice.say(0, nil)
	if _, err := bob.hear(); !errors.Is(err, endpoint.ErrNothing) {
		t.Errorf("a keep-alive: %v", err)
	}
}

// What the server legitimately adds to a packet comes along.
func TestServerFieldsPass(t *testing.T) {
	r, alice, bob := pair(t, echoes)
	alice.say(0, packet(20, 1))
	in := bob.got[0]
	in.Context, in.HasVolume, in.Volume = voice.ContextListener, true, 0.5
	var out voice.Packet
	if err := bob.Unprotect(nil, r.now, &in, &out); err != nil {
		t.Fatal(err)
	}
	if out.Context != voice.ContextListener || !out.HasVolume || out.Volume != 0.5 || out.Codec != voice.Opus {
		t.Errorf("%+v", out)
	}
}

// Frame numbers beyond 2^31 would be changed by servers on the way to old clients.
func TestFrameNumberWraps(t *testing.T) {
	_, alice, bob := pair(t, echoes)
	alice.number = 1<<31 - 2
	for range 3 {
		alice.mustHear(0, bob)
	}
	alice.say(0, packet(20, 1))
	if n := bob.got[0].FrameNumber; n != 4 {
		t.Errorf("frame number %d", n)
	}
}

// A quiet connection keeps itself alive without a word of speech.
func TestAnnouncements(t *testing.T) {
	r, alice, bob := pair(t, silent)
	r.voices = 0
	r.run(5 * time.Minute)
	if r.voices == 0 || r.voices > 60 {
		t.Errorf("%d packets in 5 quiet minutes", r.voices)
	}
	for _, in := range bob.got {
		var out voice.Packet
		if err := bob.Unprotect(nil, r.now, &in, &out); err == nil {
			t.Errorf("an announcement is played: %+v", out)
		}
	}
	bob.got = nil
	alice.mustHear(0, bob)
}

func TestPolicyOff(t *testing.T) {
	e, err := endpoint.New(e2ee.Config{Policy: e2ee.PolicyOff})
	if err != nil {
		t.Fatal(err)
	}
	r := newRelay(t, echoes)
	p := r.join("open", 0, e)
	r.join("other", 0, nil)
	r.run(10 * time.Second)
	r.wantLeave(p, e2ee.LeaveClear)
	if len(p.sent) != 0 || r.voices != 0 {
		t.Errorf("with policy off we send %v", p.sent)
	}
	var out voice.Packet
	in := voice.Packet{Codec: voice.Opus, Data: packet(20, 1)}
	if err := p.Protect(nil, r.now, &in, &out); !errors.Is(err, endpoint.ErrHeld) {
		t.Errorf("protect without a secret: %v", err)
	}
	if err := p.SendText(r.now, &mumblepb.TextMessage{ChannelId: []uint32{0}, Message: proto.String("x")}); err == nil {
		t.Error("a text is encrypted without a secret")
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := endpoint.New(e2ee.Config{Policy: e2ee.PolicyPrefer}); !errors.Is(err, e2ee.ErrNoSecret) {
		t.Errorf("no secret: %v", err)
	}
}
