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
	"github.com/sotto-voip/sotto/opus"
)

// frames is an Opus packet of n frames of equal length with a configuration's TOC.
func frames(toc byte, n, size int) []byte {
	b := []byte{toc | 3, 0x80 | byte(n)}
	if n == 1 {
		b = []byte{toc}
	}
	for i := 0; i < n-1; i++ {
		if size < 252 {
			b = append(b, byte(size))
		} else {
			b = append(b, byte(252+size%4), byte((size-252-size%4)/4))
		}
	}
	for i := range n {
		b = append(b, bytes.Repeat([]byte{byte(0x30 + i)}, size)...)
	}
	return b
}

// TOC bytes of one frame, without the count: RFC 6716 table 2.
const (
	celt10, celt20, celtStereo20 = 0xF0, 0xF8, 0xFC
	silk10, silk20, silk40       = 0x00, 0x08, 0x10
	silk60                       = 0x18
)

// onCall runs f with bob, who has the secret, and the gate open.
func onCall(t *testing.T, own, server control.Version, f func(t *testing.T, c *call)) {
	t.Helper()
	onPaper(t, options{policy: e2ee.PolicyRequire}, func(t *testing.T, s *stage) {
		// The answer to a ping tells guard that what it asked before has no answer; it
		// waits until the plugin messages are relayed.
		s.paper.with(func() { s.paper.frozen = true })
		c := s.logIn(own, server, nil)
		c.withBob()
		s.paper.with(func() { s.paper.frozen = false })
		c.goesUp()
		c.client.sofar()
		f(t, c)
	})
}

// upAndHeard sends a packet of the client and returns what the server gets and what
// bob hears of it.
func (c *call) upAndHeard(p *voice.Packet) (sent, heard []voice.Packet) {
	c.t.Helper()
	for _, f := range withoutOwn(c.tunnel(p)) {
		var out, in voice.Packet
		if err := voice.Parse(f.Body, c.up, voice.ToServer, &out); err != nil {
			c.t.Fatal(err)
		}
		out.Data = bytes.Clone(out.Data)
		sent = append(sent, out)
		out.Session = alice
		if err := c.bob.Unprotect(nil, time.Now(), &out, &in); err != nil {
			c.t.Fatal(err)
		}
		in.Data = bytes.Clone(in.Data)
		heard = append(heard, in)
	}
	return sent, heard
}

// spoken are the voice packets among frames to the server that are no envelope.
func (c *call) spoken(frames []control.Frame) (list []voice.Packet) {
	c.t.Helper()
	for _, f := range frames {
		if f.Type != control.TypeUDPTunnel {
			continue
		}
		var p voice.Packet
		if err := voice.Parse(f.Body, c.up, voice.ToServer, &p); err != nil {
			c.t.Error(err)
		}
		if _, _, _, ok := envelope.ParseVoice(p.Data); !ok {
			list = append(list, p)
		}
	}
	return list
}

// Packets of all lengths, each other than the one before, as a client makes them
// whose bandwidth changes in the call: the cover lasts as long as the packet, and
// frame number and sound arrive as they were.
func TestPacketLengths(t *testing.T) {
	for name, v := range map[string][2]control.Version{"1.3 on 1.3": {v13, v13}, "1.3 on 1.5": {v13, v15}, "1.5 on 1.5": {v15, v15}} {
		t.Run(name, func(t *testing.T) {
			onCall(t, v[0], v[1], func(t *testing.T, c *call) {
				number := uint64(100)
				for round := range 3 {
					for _, data := range [][]byte{
						frames(celt10, 1, 40), frames(celt20, 1, 100), frames(celt20, 2, 100), frames(celt10, 6, 60), frames(celt20, 3, 90),
						frames(silk20, 1, 30), frames(silk60, 1, 120), frames(celt20, 1, 500), frames(silk40, 1, 80), frames(celt10, 4, 30),
						frames(celtStereo20, 1, 480), frames(silk10, 2, 25),
					} {
						length, err := opus.Duration(data)
						if err != nil {
							t.Fatal(err)
						}
						last := round == 2
						sent, heard := c.upAndHeard(&voice.Packet{Codec: voice.Opus, FrameNumber: number, Data: data, Terminator: last})
						if len(sent) != 1 || sent[0].FrameNumber != number || sent[0].Terminator != last {
							t.Fatalf("%v: the server gets %+v", length, sent)
						}
						if d, _, _, ok := envelope.ParseVoice(sent[0].Data); !ok || d != length {
							t.Errorf("%v: the cover lasts %v", length, d)
						}
						if !bytes.Equal(heard[0].Data, data) || heard[0].FrameNumber != number {
							t.Errorf("%v: bob hears %+v", length, heard[0])
						}
						number += uint64(length / (10 * time.Millisecond))
					}
				}
			})
		})
	}
}

// A packet of several frames that has no room in an envelope leaves as one envelope
// for each frame, numbered as time goes; no length that is none of Mumble's either.
func TestPacketsAreSplit(t *testing.T) {
	onCall(t, v15, v15, func(t *testing.T, c *call) {
		for _, r := range []struct {
			name  string
			data  []byte
			parts int
			step  uint64
		}{
			{"3 x 20 ms, nearly as large as a datagram", frames(celt20, 3, 330), 3, 2},
			{"2 x 20 ms, stereo", frames(celtStereo20, 2, 495), 2, 2},
			{"6 x 10 ms", frames(celt10, 6, 164), 6, 1},
			{"4 x 5 ms", frames(0xE8, 4, 245), 2, 1},
			{"30 ms", frames(celt10, 3, 20), 3, 1},
			{"80 ms", frames(silk20, 4, 20), 4, 2},
			{"120 ms", frames(silk60, 2, 100), 2, 6},
		} {
			sent, heard := c.upAndHeard(&voice.Packet{Codec: voice.Opus, FrameNumber: 1000, Data: r.data, Terminator: true})
			if len(sent) != r.parts {
				t.Errorf("%s: %d packets", r.name, len(sent))
				continue
			}
			var want opus.Packet
			if err := opus.Parse(r.data, &want); err != nil {
				t.Fatal(err)
			}
			at := 0
			for i, p := range sent {
				if p.FrameNumber != 1000+uint64(i)*r.step || p.Terminator != (i == r.parts-1) || len(p.Data) > envelope.MaxVoice {
					t.Errorf("%s: packet %d has number %d, end %v, %d bytes", r.name, i, p.FrameNumber, p.Terminator, len(p.Data))
				}
				var part opus.Packet
				if err := opus.Parse(heard[i].Data, &part); err != nil {
					t.Fatal(err)
				}
				for _, f := range part.Frames {
					if !bytes.Equal(f, want.Frame(at)) {
						t.Errorf("%s: frame %d is another", r.name, at)
					}
					at++
				}
			}
			if at != want.Len() {
				t.Errorf("%s: %d frames of %d", r.name, at, want.Len())
			}
		}
		if said := linesOf(c.client.sofar()); len(said) != 0 {
			t.Errorf("the client is told %q", said)
		}
	})
}

// One frame that is too large is dropped. That is said once, and the client is told a
// bandwidth at which it does not happen; a later word of the server's does not undo it.
func TestFrameTooLarge(t *testing.T) {
	onCall(t, v15, v15, func(t *testing.T, c *call) {
		var told []uint32
		var said []string
		for n := range 50 {
			data := frames(silk60, 1, 990)
			if n == 0 {
				data = frames(celt20, 1, 990) // which three times the bandwidth could cause
			}
			got := withoutOwn(c.tunnel(&voice.Packet{Codec: voice.Opus, Data: data}))
			if len(got) != 0 {
				t.Fatalf("%d frames leave", len(got))
			}
			time.Sleep(time.Second)
			for _, f := range c.client.sofar() {
				if m, err := control.Decode(f); err == nil {
					if m, ok := m.(*mumblepb.ServerConfig); ok {
						told = append(told, m.GetMaxBandwidth())
						continue
					}
				}
				said = append(said, linesOf([]control.Frame{f})...)
			}
		}
		if len(said) != 1 || !strings.Contains(said[0], "too large to be encrypted") {
			t.Errorf("the client is told %q", said)
		}
		// At that bandwidth 60 ms, with the 28 bytes of IP and UDP that the client
		// reckons with, fit into an envelope.
		if len(told) != 2 || told[0] < 3*told[1] || int(told[1])*60/8000 > envelope.MaxVoice-56 || told[1] < 64000 {
			t.Fatalf("the client is told the bandwidths %v", told)
		}
		for server, want := range map[uint32]uint32{558000: told[1], 60000: 60000 - 8*50*56} {
			config := only[*mumblepb.ServerConfig](t, c.goesDown(&mumblepb.ServerConfig{MaxBandwidth: proto.Uint32(server)}))
			if config.GetMaxBandwidth() != want {
				t.Errorf("the server says %d, the client hears %d, want %d", server, config.GetMaxBandwidth(), want)
			}
		}
	})
}

// An old codec never leaves, whatever the gate says, and that is said in one sentence.
func TestOldCodecs(t *testing.T) {
	for name, o := range map[string]options{
		"held":  {policy: e2ee.PolicyRequire},
		"clear": {policy: e2ee.PolicyPrefer, groups: true},
	} {
		t.Run(name, func(t *testing.T) {
			onPaper(t, o, func(t *testing.T, s *stage) {
				c := s.logIn(v13, v13, nil)
				if name == "clear" {
					s.wantState("Clear")
					if got := c.spoken(c.tunnel(&voice.Packet{Codec: voice.Opus, Data: speech(1)})); len(got) != 1 {
						t.Fatalf("in clear %d frames leave", len(got))
					}
				}
				c.goesUp()
				c.client.sofar()
				for _, codec := range []voice.Codec{voice.CELTAlpha, voice.Speex, voice.CELTBeta} {
					for range 3 {
						if got := c.spoken(c.tunnel(&voice.Packet{Codec: codec, FrameNumber: 3, Data: []byte{0x05, 1, 2, 3, 4, 5}})); len(got) != 0 {
							t.Errorf("codec %d: %d frames leave", codec, len(got))
						}
					}
				}
				said := linesOf(c.client.sofar())
				if len(said) != 1 || !strings.Contains(said[0], "your client uses an old codec") {
					t.Errorf("the client is told %q", said)
				}
			})
		})
	}
}

// The loopback test is answered by guard in every state but with policy off: not held,
// and never in clear.
func TestLoopback(t *testing.T) {
	for name, o := range map[string]options{
		"held":  {policy: e2ee.PolicyRequire},
		"clear": {policy: e2ee.PolicyPrefer, groups: true},
		"off":   {policy: e2ee.PolicyOff},
	} {
		t.Run(name, func(t *testing.T) {
			onPaper(t, o, func(t *testing.T, s *stage) {
				c := s.logIn(v15, v15, nil)
				if name == "clear" {
					s.wantState("Clear")
				}
				c.goesUp()
				c.client.sofar()
				data := frames(celtStereo20, 1, 200)
				got := c.spoken(c.tunnel(&voice.Packet{Codec: voice.Opus, Target: voice.TargetLoopback, FrameNumber: 3, Data: data}))
				if name == "off" {
					if len(got) != 1 {
						t.Errorf("%d frames leave", len(got))
					}
					return
				}
				if len(got) != 0 {
					t.Errorf("%d frames leave", len(got))
				}
				back := c.packets(c.client.sofar())
				if len(back) != 1 || back[0].Session != alice || back[0].Context != voice.ContextNormal || back[0].FrameNumber != 3 || !bytes.Equal(back[0].Data, data) {
					t.Errorf("back comes %+v", back)
				}
			})
		})
	}
}

// The volume that the server puts on what a listener hears passes outside the
// ciphertext.
func TestListenerVolume(t *testing.T) {
	onCall(t, v15, v15, func(t *testing.T, c *call) {
		var out voice.Packet
		if err := c.bob.Protect(nil, time.Now(), &voice.Packet{Codec: voice.Opus, FrameNumber: 8, Data: speech(3)}, &out); err != nil {
			t.Fatal(err)
		}
		out.Session, out.Context, out.HasVolume, out.Volume = bobby, voice.ContextListener, true, 0.1
		got := c.packets(c.tunnelDown(&out))
		if len(got) != 1 || !got[0].HasVolume || got[0].Volume != 0.1 || !bytes.Equal(got[0].Data, speech(3)) {
			t.Errorf("the client gets %+v", got)
		}
	})
}

// No datagram to the server is larger than what every path on the Internet takes:
// with IPv6 and UDP headers below 1280 bytes (RFC 8200 section 5).
func TestDatagramsAreSmall(t *testing.T) {
	const headers = 40 + 8
	onCall(t, v15, v15, func(t *testing.T, c *call) {
		down := c.key()
		for range 4 { // UDP upstream works
			c.sendUDP(down, voice.AppendPing(nil, voice.Protobuf, &voice.Ping{Timestamp: 1}))
			time.Sleep(time.Second)
		}
		largest, n := 0, 0
		c.paper.with(func() { c.paper.sizes = nil })
		for size := 700; size <= 1000; size += 5 {
			b, err := voice.Append(nil, voice.Protobuf, voice.ToServer, &voice.Packet{
				Codec: voice.Opus, FrameNumber: 1<<31 - 1, Data: frames(celt20, 1, size), HasPosition: true, Position: [3]float32{1, 2, 3}, Terminator: true,
			})
			if err != nil {
				continue // no client sends that
			}
			c.sendUDP(down, b)
		}
		c.paper.with(func() {
			for _, s := range c.paper.sizes {
				largest = max(largest, s)
				n++
			}
		})
		t.Logf("%d datagrams, the largest of %d bytes", n, largest)
		if n < 40 || largest < 900 || largest+headers >= 1280 {
			t.Errorf("%d datagrams, the largest of %d bytes", n, largest)
		}
	})
}
