package guard_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// From the first moment on the client speaks, writes and whispers, and tells its
// game: the server gets none of it.
func TestNothingInClearWhileHeld(t *testing.T) {
	for name, own := range map[string]control.Version{"1.3": v13, "1.5": v15} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, options{policy: e2ee.PolicyPrefer})
			client := s.connect(nil)
			words := []byte("words of the person")
			opus := append([]byte{0xF8}, words...)
			blurt := func() {
				for target := range uint8(32) {
					for _, f := range []voice.Format{voice.Legacy, voice.Protobuf} {
						b, err := voice.Append(nil, f, voice.ToServer, &voice.Packet{Codec: voice.Opus, Target: target, Data: opus, HasPosition: true, Position: [3]float32{1, 2, 3}})
						if err != nil {
							t.Fatal(err)
						}
						client.conn.Send(control.TypeUDPTunnel, b)
					}
				}
				client.send(
					&mumblepb.TextMessage{ChannelId: []uint32{0}, Message: proto.String(string(words))},
					&mumblepb.TextMessage{TreeId: []uint32{0}, Message: proto.String(string(words))},
					&mumblepb.TextMessage{Session: []uint32{bobby}, Message: proto.String(string(words))},
					&mumblepb.UserState{Session: proto.Uint32(alice), PluginContext: words, PluginIdentity: proto.String(string(words))},
					&mumblepb.PluginDataTransmission{ReceiverSessions: []uint32{bobby}, Data: words, DataID: proto.String("game")},
				)
				client.conn.Send(77, words)
			}
			blurt()
			client.send(version(own))
			blurt()
			client.send(&mumblepb.Authenticate{Username: proto.String("alice"), Opus: proto.Bool(true)})
			blurt()
			server := s.upstream()
			server.send(version(v15))
			blurt()
			_, before := until[*mumblepb.Authenticate](server)
			all := before
			server.send(&mumblepb.ChannelState{ChannelId: proto.Uint32(0), Name: proto.String("Root")}, user(bobby, 0, "bob"), user(alice, 0, "alice"))
			blurt()
			server.send(&mumblepb.ServerSync{Session: proto.Uint32(alice)})
			blurt()
			until[*mumblepb.ServerSync](client)
			blurt()
			all = append(all, fenced(client, server, func() {})...)
			// Held for good: nobody here has the secret.
			s.wantState("Held")
			all = append(all, fenced(client, server, blurt)...)
			for _, f := range all {
				if bytes.Contains(f.Body, words) || f.Type == control.TypeTextMessage && !textProbe(f.Body, alice) {
					t.Errorf("the server gets %v % x", f.Type, f.Body)
				}
				if f.Type != control.TypeUDPTunnel {
					continue
				}
				// On a server that echoes nothing guard announces itself in voice.
				var p voice.Packet
				if err := voice.Parse(f.Body, voice.Protobuf, voice.ToServer, &p); err != nil {
					t.Errorf("the server gets % x: %v", f.Body, err)
				} else if _, vk, _, ok := envelope.ParseVoice(p.Data); !ok || vk != envelope.VoiceTypedKey || p.HasPosition {
					t.Errorf("the server gets %+v", p)
				}
			}
		})
	}
}

// textProbe reports whether a TextMessage is a Probe to oneself alone, which the
// carrier sends where no plugin message comes back.
func textProbe(body []byte, self uint32) bool {
	var m mumblepb.TextMessage
	if err := proto.Unmarshal(body, &m); err != nil || len(m.ChannelId)+len(m.TreeId) > 0 || !slices.Equal(m.Session, []uint32{self}) {
		return false
	}
	p, err := envelope.ParseText(m.GetMessage())
	return err == nil && p.Kind == envelope.KindProbe && len(p.Part) == envelope.ProbeLen
}

// Events hold no secret, no text, no address.
func TestEventsHoldNothing(t *testing.T) {
	s := newStage(t, options{policy: e2ee.PolicyRequire})
	call := s.logIn(v15, v15, nil)
	call.goesUp(&mumblepb.TextMessage{ChannelId: []uint32{0}, Message: proto.String("words of alice")})
	call.client.conn.Close(0)
	s.wantEvent("disconnected", func(e events.Event) bool {
		for _, field := range []string{e.Text, e.Reason, e.Name, e.Server, e.State} {
			if strings.Contains(field, "words of alice") || strings.Contains(field, s.secret) || strings.Contains(field, "127.0.0.1") {
				t.Errorf("event %+v", e)
			}
		}
		return e.Event == "disconnected"
	})
}
