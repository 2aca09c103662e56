package guard_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// With a holder in the channel, speech leaves as envelopes and comes back as it was.
func TestTyped(t *testing.T) {
	for _, c := range []struct {
		name        string
		own, server control.Version
	}{{"1.3 on 1.5", v13, v15}, {"1.5 on 1.5", v15, v15}} {
		t.Run(c.name, func(t *testing.T) {
			call := newStage(t, options{policy: e2ee.PolicyRequire}).logIn(c.own, c.server, nil)
			call.withBob()
			call.goesUp()

			// The brake is off.
			call.wantSuppress(false)

			// Up: an envelope, which bob opens to the very same.
			p := voice.Packet{Codec: voice.Opus, FrameNumber: 8, Data: speech(1)}
			got := withoutOwn(call.tunnel(&p))
			if len(got) != 1 || bytes.Contains(got[0].Body, p.Data[1:]) {
				t.Fatalf("the server gets %v", got)
			}
			var sent, heard voice.Packet
			if err := voice.Parse(got[0].Body, call.up, voice.ToServer, &sent); err != nil {
				t.Fatal(err)
			}
			if _, _, _, ok := envelope.ParseVoice(sent.Data); !ok || sent.FrameNumber != 8 || sent.HasPosition {
				t.Errorf("the server gets %+v", sent)
			}
			sent.Session = alice
			if err := call.bob.Unprotect(nil, time.Now(), &sent, &heard); err != nil || !bytes.Equal(heard.Data, p.Data) {
				t.Errorf("bob hears % x, %v", heard.Data, err)
			}

			// The end of speech of an old client, which the protobuf form cannot say.
			if call.down == voice.Legacy {
				got := withoutOwn(call.tunnel(&voice.Packet{Codec: voice.Opus, FrameNumber: 10, Terminator: true}))
				if len(got) != 1 {
					t.Fatalf("the end of speech: %d frames", len(got))
				}
				if err := voice.Parse(got[0].Body, call.up, voice.ToServer, &sent); err != nil || !sent.Terminator || len(sent.Data) == 0 {
					t.Errorf("the end of speech: %+v, %v", sent, err)
				}
				sent.Session = alice
				if err := call.bob.Unprotect(nil, time.Now(), &sent, &heard); err != nil || len(heard.Data) != 0 || !heard.Terminator {
					t.Errorf("the end of speech: %+v, %v", heard, err)
				}
			}

			// Loopback comes back at once and never reaches the server.
			b, err := voice.Append(nil, call.down, voice.ToServer, &voice.Packet{Codec: voice.Opus, Target: 31, FrameNumber: 3, Data: speech(7)})
			if err != nil {
				t.Fatal(err)
			}
			if got := withoutOwn(fenced(call.client, call.server, func() { call.client.conn.Send(control.TypeUDPTunnel, b) })); len(got) != 0 {
				t.Errorf("loopback reaches the server: %v", got)
			}
			if in := call.heardByClient(); in == nil || in.Session != alice || !bytes.Equal(in.Data, speech(7)) {
				t.Errorf("loopback comes back as %+v", in)
			}

			// Down: bob's envelope as it was, and his empty last packet in a form that
			// this client knows.
			fromBob := func(in voice.Packet) *voice.Packet {
				var out voice.Packet
				if err := call.bob.Protect(nil, time.Now(), &in, &out); err != nil {
					t.Fatal(err)
				}
				out.Session = bobby
				return &out
			}
			for _, c := range []struct {
				name string
				in   voice.Packet
			}{
				{"speech", voice.Packet{Codec: voice.Opus, FrameNumber: 20, Data: speech(2)}},
				{"the last packet", voice.Packet{Codec: voice.Opus, FrameNumber: 22, Data: speech(3), Terminator: true}},
				{"an empty last packet", voice.Packet{Codec: voice.Opus, FrameNumber: 24, Terminator: true}},
			} {
				got := call.packets(withoutLines(call.tunnelDown(fromBob(c.in))))
				if len(got) != 1 || got[0].Session != bobby || got[0].FrameNumber != c.in.FrameNumber || got[0].Terminator != c.in.Terminator {
					t.Errorf("%s: %+v", c.name, got)
					continue
				}
				if want := c.in.Data; !bytes.Equal(got[0].Data, want) {
					if len(want) > 0 || call.down == voice.Legacy || !bytes.Equal(got[0].Data, []byte{0xF8, 0xFF, 0xFE}) {
						t.Errorf("%s: % x", c.name, got[0].Data)
					}
				}
			}
			if got := call.packets(call.tunnelDown(fromBob(voice.Packet{Codec: voice.Opus, FrameNumber: 30}))); len(got) != 0 {
				t.Errorf("a keep-alive is played: %+v", got)
			}

			// Clear voice is not played, and that is said once.
			var said []string
			for range 5 {
				frames := call.tunnelDown(&voice.Packet{Codec: voice.Opus, Session: bobby, Data: speech(4)})
				said = append(said, lines(frames)...)
				if got := call.packets(frames); len(got) != 0 {
					t.Errorf("clear voice is played: %+v", got)
				}
			}
			if len(said) != 1 || !strings.Contains(said[0], "bob speaks unencrypted") {
				t.Errorf("guard says %q", said)
			}

			// Texts: bob reads what alice writes, and the other way round, filtered.
			frames := call.goesUp(&mumblepb.TextMessage{ChannelId: []uint32{0}, Message: proto.String("words of alice")})
			for _, f := range frames {
				if bytes.Contains(f.Body, []byte("words of alice")) || f.Type == control.TypeTextMessage && !bytes.Contains(f.Body, []byte("sotto:1")) {
					t.Errorf("the server gets %v %q", f.Type, f.Body)
				}
			}
			if len(frames) == 0 {
				t.Error("nothing of the text leaves")
			}
			if err := call.bob.SendText(time.Now(), &mumblepb.TextMessage{
				ChannelId: []uint32{0}, Message: proto.String(`<b>hi</b><img src="http://example.org/x.png"><script>x</script>`),
			}); err != nil {
				t.Fatal(err)
			}
			call.tell(&mumblepb.Ping{})
			text, _ := until[*mumblepb.TextMessage](call.client)
			if text.GetActor() != bobby || text.GetMessage() != "<b>hi</b>[a picture is not shown]" || len(text.GetChannelId()) != 1 {
				t.Errorf("alice reads %v", text)
			}

			// Whoever of the two wants her silent, she is.
			suppress := func(on bool) proto.Message {
				return &mumblepb.UserState{Session: proto.Uint32(alice), Suppress: proto.Bool(on)}
			}
			for _, on := range []bool{true, false} {
				call.server.send(suppress(on))
				call.wantSuppress(on)
			}
			// The server moves her to where somebody is: held, whatever it says about
			// speaking.
			call.server.send(&mumblepb.UserState{Session: proto.Uint32(99), Name: proto.String("carol"), ChannelId: proto.Uint32(1)})
			call.server.send(&mumblepb.UserState{Session: proto.Uint32(alice), ChannelId: proto.Uint32(1)})
			call.wantSuppress(true)
			call.server.send(suppress(false))
			call.wantSuppress(true)
			if got := withoutOwn(call.tunnel(&voice.Packet{Codec: voice.Opus, Data: speech(9)})); len(got) != 0 {
				t.Errorf("after a move by the server %v leaves", got)
			}
			// Her own way back: the gate opens again.
			call.client.send(&mumblepb.UserState{Session: proto.Uint32(alice), ChannelId: proto.Uint32(0)})
			until[*mumblepb.UserState](call.server)
			call.server.send(&mumblepb.UserState{Session: proto.Uint32(alice), Actor: proto.Uint32(alice), ChannelId: proto.Uint32(0)})
			call.wantSuppress(false)
		})
	}
}

// wantSuppress waits for the next word on whether the client may speak.
func (c *call) wantSuppress(want bool) {
	c.t.Helper()
	for {
		u, _ := until[*mumblepb.UserState](c.client)
		if u.GetSession() != alice || u.Suppress == nil {
			continue
		}
		if u.GetSuppress() != want {
			c.t.Errorf("the client is told suppress=%v, want %v", u.GetSuppress(), want)
		}
		return
	}
}

// packets returns the voice among frames for the client.
func (c *call) packets(frames []control.Frame) []voice.Packet {
	var list []voice.Packet
	for _, f := range frames {
		if f.Type == control.TypeUDPTunnel {
			var p voice.Packet
			if err := voice.Parse(f.Body, c.down, voice.ToClient, &p); err != nil {
				c.t.Error(err)
			}
			list = append(list, p)
		}
	}
	return list
}

// heardByClient returns the one packet that guard sent the client by itself.
func (c *call) heardByClient() *voice.Packet {
	c.t.Helper()
	if got := c.packets(c.goesDown()); len(got) == 1 {
		return &got[0]
	}
	return nil
}
