package guard_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/guard"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/crypt"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// speech is an Opus packet of 20 ms that can be told from others.
func speech(n byte) []byte { return append([]byte{0xF8}, bytes.Repeat([]byte{n}, 30)...) }

// TestVersions is the table of version skew: what guard announces, and the form of
// voice on each leg, both ways, with policy off.
func TestVersions(t *testing.T) {
	v124, v16 := control.MakeVersion(1, 2, 4), control.MakeVersion(1, 6, 870)
	for _, c := range []struct {
		name        string
		own, server control.Version
		announced   control.Version // 0: nothing
		down, up    voice.Format
	}{
		{"1.2.4 on 1.3", v124, v13, v124, voice.Legacy, voice.Legacy},
		{"1.2.4 on 1.5", v124, v15, control.MakeVersion(1, 5, 0), voice.Legacy, voice.Protobuf},
		{"1.3 on 1.3", v13, v13, v13, voice.Legacy, voice.Legacy},
		{"1.3 on 1.5", v13, v15, control.MakeVersion(1, 5, 0), voice.Legacy, voice.Protobuf},
		{"1.5 on 1.3", v15, v13, v15, voice.Legacy, voice.Legacy},
		{"1.5 on 1.5", v15, v15, v15, voice.Protobuf, voice.Protobuf},
		{"1.6 on 1.3: no more than guard implements", v16, v13, v15, voice.Legacy, voice.Legacy},
		{"1.6 on 1.5", v16, v15, v16, voice.Protobuf, voice.Protobuf},
		{"a client that says nothing on 1.5", 0, v15, control.MakeVersion(1, 5, 0), voice.Legacy, voice.Protobuf},
		{"a client that says nothing on 1.3", 0, v13, 0, voice.Legacy, voice.Legacy},
	} {
		t.Run(c.name, func(t *testing.T) {
			call := newStage(t, options{policy: e2ee.PolicyOff}).logIn(c.own, c.server, nil)
			if got := control.VersionOf(call.announced); got != c.announced {
				t.Errorf("announced %v, want %v", got, c.announced)
			}
			if c.announced != 0 && call.announced.GetVersionV1() != c.announced.V1() {
				t.Errorf("in the old form %#x", call.announced.GetVersionV1())
			}
			if got := control.VersionOf(call.shown); got != c.server {
				t.Errorf("the client is shown %v", got)
			}
			if call.down != c.down || call.up != c.up {
				t.Fatalf("the test itself expects %v and %v", call.down, call.up)
			}
			if e := call.wantKind("connected"); e.Server != c.server.String() {
				t.Errorf("event %+v", e)
			}
			call.settled()

			p := voice.Packet{Codec: voice.Opus, Target: 3, FrameNumber: 1<<31 + 4, Data: speech(1), Terminator: true, HasPosition: true, Position: [3]float32{1, 2, 3}}
			got := call.tunnel(&p)
			if len(got) != 1 {
				t.Fatalf("%d frames reach the server", len(got))
			}
			var q voice.Packet
			if err := voice.Parse(got[0].Body, c.up, voice.ToServer, &q); err != nil || got[0].Type != control.TypeUDPTunnel {
				t.Fatalf("%v % x: %v", got[0].Type, got[0].Body, err)
			}
			if q.Target != 3 || q.FrameNumber != 4 || !bytes.Equal(q.Data, p.Data) || !q.Terminator || q.Position != p.Position {
				t.Errorf("up: %+v", q)
			}
			for context := range uint8(4) {
				p := voice.Packet{Codec: voice.Opus, Session: bobby, Context: context, FrameNumber: 6, Data: speech(2), HasVolume: c.up == voice.Protobuf, Volume: 0.5}
				got := call.tunnelDown(&p)
				if len(got) != 1 {
					t.Fatalf("context %d: %d frames reach the client", context, len(got))
				}
				if err := voice.Parse(got[0].Body, c.down, voice.ToClient, &q); err != nil {
					t.Fatalf("context %d: %v", context, err)
				}
				want := context
				if context == voice.ContextListener && c.own < control.MakeVersion(1, 4, 0) {
					want = voice.ContextNormal // which is all that such a client knows
				}
				if q.Context != want || q.Session != bobby || q.FrameNumber != 6 || !bytes.Equal(q.Data, p.Data) {
					t.Errorf("down, context %d: %+v", context, q)
				}
			}
			// What is no sound packet stops here even with policy off.
			for _, data := range [][]byte{{0xFB}, {0xFB, 0}, {0xF9, 1, 2, 3}} {
				if got := call.tunnelDown(&voice.Packet{Codec: voice.Opus, Session: bobby, Data: data}); len(got) != 0 {
					t.Errorf("% x reaches the client", data)
				}
			}
		})
	}
}

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
				if bytes.Contains(f.Body, words) || f.Type == control.TypeTextMessage {
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
			// The server moves her: held, whatever it says about speaking.
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

// Pings are answered by guard's own clock when the server is slow, with the
// client's number, and by the figures of the client's leg.
func TestPings(t *testing.T) {
	call := newStage(t, options{policy: e2ee.PolicyOff}).logIn(v15, v15, nil)
	call.settled()
	start := time.Now()
	call.client.send(&mumblepb.Ping{Timestamp: proto.Uint64(1 << 63)})
	pong, _ := until[*mumblepb.Ping](call.client) // the scripted server answers none
	if pong.GetTimestamp() != 1<<63 || pong.Good == nil || pong.Resync == nil {
		t.Errorf("pong %v", pong)
	}
	if d := time.Since(start); d < 2*time.Second || d > 5*time.Second {
		t.Errorf("answered after %v", d)
	}
}

// The two legs have keys of their own: a CryptSetup of one is never seen at the other.
func TestCrypt(t *testing.T) {
	call := newStage(t, options{policy: e2ee.PolicyOff}).logIn(v15, v15, nil)
	call.settled()
	var up crypt.CryptState
	up.GenerateKey()
	call.server.send(&mumblepb.CryptSetup{Key: up.Key(), ClientNonce: up.DecryptIV(), ServerNonce: up.EncryptIV()})
	setup, _ := until[*mumblepb.CryptSetup](call.client)
	if len(setup.GetKey()) != 16 || bytes.Equal(setup.GetKey(), up.Key()) || bytes.Equal(setup.GetClientNonce(), up.DecryptIV()) {
		t.Errorf("the client gets %v", setup)
	}
	var down crypt.CryptState
	if err := down.SetKey(setup.GetKey(), setup.GetClientNonce(), setup.GetServerNonce()); err != nil {
		t.Fatal(err)
	}
	// Its question for a nonce is answered here.
	call.client.send(&mumblepb.CryptSetup{})
	answer, _ := until[*mumblepb.CryptSetup](call.client)
	if !bytes.Equal(answer.GetServerNonce(), setup.GetServerNonce()) || answer.Key != nil {
		t.Errorf("the answer is %v", answer)
	}
	if got := call.goesUp(); len(got) != 0 {
		t.Errorf("the server gets %v", got)
	}

	// Voice by UDP: from the client to guard, and from there by the server's key.
	sock, err := net.Dial("udp", net.JoinHostPort("127.0.0.1", portOf(call.stage)))
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	b, err := voice.Append(nil, voice.Protobuf, voice.ToServer, &voice.Packet{Codec: voice.Opus, FrameNumber: 2, Data: speech(5)})
	if err != nil {
		t.Fatal(err)
	}
	// The scripted server answers no UDP ping, so guard uses the tunnel upstream.
	for {
		if _, err := sock.Write(down.Seal(nil, b)); err != nil {
			t.Fatal(err)
		}
		f := call.server.next()
		if f.Type != control.TypeUDPTunnel {
			continue
		}
		var p voice.Packet
		if err := voice.Parse(f.Body, voice.Protobuf, voice.ToServer, &p); err != nil || !bytes.Equal(p.Data, speech(5)) {
			t.Errorf("%+v, %v", p, err)
		}
		break
	}
	// From now on guard knows where the client's UDP is, and answers there.
	back, err := voice.Append(nil, voice.Protobuf, voice.ToClient, &voice.Packet{Codec: voice.Opus, Session: bobby, Data: speech(6)})
	if err != nil {
		t.Fatal(err)
	}
	call.server.conn.Send(control.TypeUDPTunnel, back)
	in := make([]byte, 2048)
	sock.SetReadDeadline(time.Now().Add(patience))
	n, err := sock.Read(in)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := down.Open(nil, in[:n])
	if err != nil {
		t.Fatal(err)
	}
	var p voice.Packet
	if err != nil || voice.Parse(plain, voice.Protobuf, voice.ToClient, &p) != nil || !bytes.Equal(p.Data, speech(6)) {
		t.Errorf("%+v, %v", p, err)
	}
	// A UDP ping is answered by guard's own clock when the server answers none.
	if _, err := sock.Write(down.Seal(nil, voice.AppendPing(nil, voice.Protobuf, &voice.Ping{Timestamp: 4711}))); err != nil {
		t.Fatal(err)
	}
	sock.SetReadDeadline(time.Now().Add(patience))
	if n, err = sock.Read(in); err != nil {
		t.Fatal(err)
	}
	var pong voice.Ping
	if plain, err = down.Open(nil, in[:n]); err != nil || voice.ParsePing(plain, voice.Protobuf, &pong) != nil || pong.Timestamp != 4711 {
		t.Errorf("pong %+v, %v", pong, err)
	}
}

func portOf(s *stage) string { return strconv.Itoa(int(s.guard.Port())) }

// The server list's question goes to the real server under another number.
func TestListPing(t *testing.T) {
	s := newStage(t, options{policy: e2ee.PolicyRequire})
	asked := make(chan uint64, 8)
	served := make(chan struct{})
	go func() {
		defer close(served)
		b := make([]byte, 2048)
		for {
			n, from, err := s.udp.ReadFromUDP(b)
			if err != nil {
				return
			}
			if ident, err := voice.ParseListPing(b[:n]); err == nil {
				asked <- ident
				s.udp.WriteToUDP(voice.AppendListPong(nil, voice.ListPong{Version: 0x010304, Ident: ident, Users: 3, MaxUsers: 9, MaxBandwidth: 72000}), from)
				continue
			}
			var p voice.Ping
			if voice.ParsePing(b[:n], voice.Protobuf, &p) == nil && p.RequestExtended {
				asked <- p.Timestamp
				s.udp.WriteToUDP(voice.AppendPing(nil, voice.Protobuf, &voice.Ping{
					Timestamp: p.Timestamp, Extended: true, ServerVersion: uint64(v15), UserCount: 3, MaxUserCount: 9,
				}), from)
			}
		}
	}()
	defer func() { s.udp.Close(); <-served }()
	sock, err := net.Dial("udp", net.JoinHostPort("127.0.0.1", portOf(s)))
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	ask := func(question []byte) []byte {
		t.Helper()
		in := make([]byte, 2048)
		for end := time.Now().Add(patience); time.Now().Before(end); {
			if _, err := sock.Write(question); err != nil {
				t.Fatal(err)
			}
			sock.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // guard answers ten a second
			if n, err := sock.Read(in); err == nil {
				return in[:n]
			}
		}
		t.Fatal("no answer")
		return nil
	}
	const mine = 0x1122334455667788
	pong, err := voice.ParseListPong(ask(voice.AppendListPing(nil, mine)))
	if err != nil || pong.Ident != mine || pong.Users != 3 || pong.MaxUsers != 9 || pong.Version != 0x010304 {
		t.Errorf("the answer is %+v, %v", pong, err)
	}
	if id := <-asked; id == mine {
		t.Error("the server learns the client's number")
	}
	for drained := false; !drained; {
		sock.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		_, err := sock.Read(make([]byte, 2048))
		drained = err != nil
	}
	var p voice.Ping
	if err := voice.ParsePing(ask(voice.AppendPing(nil, voice.Protobuf, &voice.Ping{Timestamp: mine, RequestExtended: true})), voice.Protobuf, &p); err != nil || p.Timestamp != mine || p.UserCount != 3 {
		t.Errorf("the answer is %+v, %v", p, err)
	}
}

// The certificate that the client shows first is the one that may come.
func TestClientPin(t *testing.T) {
	first, second := selfSigned(t, "alice"), selfSigned(t, "mallory")
	s := newStage(t, options{policy: e2ee.PolicyOff})
	call := s.logIn(v15, v15, &first)
	if len(call.server.cert) == 0 {
		t.Error("guard shows the server no certificate, though its client has one")
	}
	if e := s.wantKind("client_pinned"); e.Fingerprint != keystore.Fingerprint(sha256.Sum256(first.Certificate[0])) {
		t.Errorf("event %+v", e)
	}
	refusedWith := func(l *leg, words string) {
		t.Helper()
		l.send(version(v15), &mumblepb.Authenticate{Username: proto.String("mallory")})
		r, _ := until[*mumblepb.Reject](l)
		if r.GetType() != mumblepb.Reject_None || !strings.Contains(r.GetReason(), words) || strings.HasSuffix(r.GetReason(), ".") {
			t.Errorf("refused with %v", r)
		}
		l.ended()
		s.wantKind("client_refused")
	}
	// While the session lasts another is sent away, and the session does not suffer.
	refusedWith(s.connect(&second), "another Mumble")
	refusedWith(s.connect(nil), "another Mumble")
	if got := call.goesUp(&mumblepb.UserStats{Session: proto.Uint32(bobby)}); len(got) != 1 {
		t.Errorf("the session suffered: %v", got)
	}
	// The same client comes again, before we noticed that it was gone: it replaces
	// itself.
	again := s.connect(&first)
	again.send(version(v15), &mumblepb.Authenticate{Username: proto.String("alice")})
	call.client.ended()
	call.server.ended()
	server := s.upstream()
	server.send(version(v15))
	if a, _ := until[*mumblepb.Authenticate](server); a.GetUsername() != "alice" {
		t.Errorf("login %v", a)
	}
	// With nobody there the others are refused as well.
	again.conn.Close(0)
	server.ended()
	s.wantKind("disconnected")
	refusedWith(s.connect(&second), "belongs to another Mumble")
	refusedWith(s.connect(nil), "shows none")
}

// A client that hides its certificate stays hidden.
func TestHiddenCertificate(t *testing.T) {
	call := newStage(t, options{policy: e2ee.PolicyOff}).logIn(v15, v15, nil)
	if len(call.server.cert) != 0 {
		t.Error("guard shows the server a certificate, though its client has none")
	}
}

// When one leg ends the other does, without a Reject, and guard takes the next client.
func TestEnds(t *testing.T) {
	s := newStage(t, options{policy: e2ee.PolicyRequire})
	call := s.logIn(v15, v15, nil)
	call.server.conn.Close(0)
	for _, f := range call.client.ended() {
		if f.Type == control.TypeReject {
			t.Error("the client gets a Reject, and would not come back by itself")
		}
	}
	s.wantKind("disconnected")

	call = s.logIn(v15, v15, nil)
	call.client.conn.Close(0)
	call.server.ended()
	s.wantKind("disconnected")

	call = s.logIn(v15, v15, nil)
	call.client.conn.Send(control.TypeTextMessage, make([]byte, control.MaxLen+1))
	call.server.ended()
	s.wantKind("disconnected")
	s.logIn(v15, v15, nil)
}

// What guard cannot do it says in a Reject of type None: the client prints that
// and comes again.
func TestUpstreamFails(t *testing.T) {
	t.Run("the server is away", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		dead := l.Addr().(*net.TCPAddr)
		l.Close()
		store, err := keystore.Open(filepath.Join(t.TempDir(), "state"))
		if err != nil {
			t.Fatal(err)
		}
		record, err := store.Server("127.0.0.1", uint16(dead.Port))
		if err != nil {
			t.Fatal(err)
		}
		s := &stage{t: t, told: make(chan struct{}, 1)}
		if s.guard, err = guard.New(guard.Config{
			Address: dead.String(), Listen: []string{"127.0.0.1:0"}, Policy: e2ee.PolicyOff, Store: store, Server: record, Events: s.event,
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.guard.Check(t.Context()); err == nil {
			t.Error("the check succeeds")
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.guard.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
		client := s.connect(nil)
		client.send(version(v15), &mumblepb.Authenticate{Username: proto.String("alice")})
		if r, _ := until[*mumblepb.Reject](client); r.GetType() != mumblepb.Reject_None || !strings.Contains(r.GetReason(), "cannot reach the server") {
			t.Errorf("%v", r)
		}
		s.wantKind("upstream_failed")
	})
	t.Run("the server shows another certificate", func(t *testing.T) {
		s := newStage(t, options{policy: e2ee.PolicyRequire})
		call := s.logIn(v15, v15, nil)
		call.client.conn.Close(0)
		s.wantKind("disconnected")
		other := selfSigned(t, "somebody in between")
		s.mu.Lock()
		s.cert = other
		s.mu.Unlock()
		client := s.connect(nil)
		client.send(version(v15), &mumblepb.Authenticate{Username: proto.String("alice"), Password: proto.String("pw")})
		if r, _ := until[*mumblepb.Reject](client); r.GetType() != mumblepb.Reject_None || !strings.Contains(r.GetReason(), "another certificate than before") {
			t.Errorf("%v", r)
		}
		s.wantKind("upstream_failed")
		var changed *keystore.PinError
		if err := s.guard.Check(t.Context()); !errors.As(err, &changed) {
			t.Errorf("the check: %v", err)
		}
	})
	t.Run("the server falls silent before its Version", func(t *testing.T) {
		s := newStage(t, options{policy: e2ee.PolicyRequire})
		client := s.connect(nil)
		client.send(version(v13), &mumblepb.Authenticate{Username: proto.String("alice")})
		server := s.upstream()
		if v, _ := until[*mumblepb.Version](server); control.VersionOf(v) != v13 {
			t.Errorf("announced %v", v)
		}
		server.conn.Close(0)
		client.ended()
	})
}

// A client that does not finish its login, or says something else first.
func TestArrivals(t *testing.T) {
	s := newStage(t, options{policy: e2ee.PolicyRequire})
	l := s.connect(nil)
	l.send(&mumblepb.UserState{Session: proto.Uint32(1)}, &mumblepb.Ping{})
	l.conn.Send(control.TypeVersion, []byte{0xFF})
	l.ended() // a malformed Version is no client
	l = s.connect(nil)
	l.conn.Send(control.TypeTextMessage, make([]byte, 2<<20))
	l.ended() // more than 1 MiB before the login
	nc, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", portOf(s)))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	nc.SetReadDeadline(time.Now().Add(patience))
	for b := make([]byte, 100); ; {
		if _, err := nc.Read(b); err != nil {
			break
		}
	}
	s.logIn(v15, v15, nil)
}

// Many who connect and say nothing push each other out, and keep nobody away.
func TestSilentCallers(t *testing.T) {
	s := newStage(t, options{policy: e2ee.PolicyRequire})
	var silent []net.Conn
	for range 40 {
		nc, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", portOf(s)))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		silent = append(silent, nc)
	}
	for i, nc := range silent[:20] {
		nc.SetReadDeadline(time.Now().Add(patience))
		if _, err := nc.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Fatalf("caller %d is still there: %v", i, err)
		}
	}
	s.logIn(v15, v15, nil)
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func TestNewRefuses(t *testing.T) {
	store, err := keystore.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	record, err := store.Server("example.org", 64738)
	if err != nil {
		t.Fatal(err)
	}
	base := guard.Config{Address: "example.org:64738", Listen: []string{"127.0.0.1:0"}, Policy: e2ee.PolicyOff, Store: store, Server: record}
	for _, c := range []struct {
		name   string
		change func(*guard.Config)
		want   string
	}{
		{"no secret", func(c *guard.Config) { c.Policy = e2ee.PolicyPrefer }, "no secret"},
		{"not loopback", func(c *guard.Config) { c.Listen = []string{"0.0.0.0:0"} }, "loopback"},
		{"a name", func(c *guard.Config) { c.Listen = []string{"localhost:0"} }, "loopback"},
		{"nowhere", func(c *guard.Config) { c.Listen = nil }, "nowhere"},
		{"no port", func(c *guard.Config) { c.Listen = []string{"127.0.0.1"} }, "port"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := base
			c.change(&cfg)
			g, err := guard.New(cfg)
			if err == nil {
				g.Close()
				t.Fatal("it starts")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v", err)
			}
		})
	}
	g, err := guard.New(base)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	// A port that somebody else has is said as such.
	taken := base
	taken.Listen = []string{net.JoinHostPort("127.0.0.1", strconv.Itoa(int(g.Port())))}
	if second, err := guard.New(taken); err == nil {
		second.Close()
		t.Error("two guards on one port")
	}
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
