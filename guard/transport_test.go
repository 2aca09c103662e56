package guard_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/crypt"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// Pings by guard's own clock: an answer comes with the server's, or by TCP after
// three seconds and by UDP after one.
func TestPingTimes(t *testing.T) {
	onPaper(t, options{policy: e2ee.PolicyOff}, func(t *testing.T, s *stage) {
		call := s.logIn(v15, v15, nil)
		down := call.key()
		call.client.sofar()
		for _, c := range []struct {
			n        uint64
			set      func(p *paper)
			tcp, udp time.Duration
		}{
			{1, func(p *paper) { p.delay = 600 * time.Millisecond }, 600 * time.Millisecond, 600 * time.Millisecond},
			{2, func(p *paper) { p.delay = 2 * time.Second }, 2 * time.Second, time.Second},
			{3, func(p *paper) { p.frozen, p.confirms = true, true }, 3 * time.Second, time.Second},
		} {
			s.paper.with(func() { c.set(s.paper) })
			begin := time.Now()
			call.pingBoth(down, c.n)
			for _, step := range []struct {
				at       time.Duration
				tcp, udp int // answers since the step before
			}{{c.udp - 1, 0, 0}, {c.udp, boolInt(c.tcp == c.udp), 1}, {c.tcp - 1, 0, 0}, {c.tcp, boolInt(c.tcp != c.udp), 0}} {
				time.Sleep(time.Until(begin.Add(step.at)))
				tcp, udp := call.client.sofar(), call.gotUDP(down)
				if len(tcp) != step.tcp || len(udp) != step.udp {
					t.Errorf("ping %d after %v: %d answers by TCP, %d by UDP; want %d and %d", c.n, step.at, len(tcp), len(udp), step.tcp, step.udp)
				}
				for _, f := range tcp {
					if m, err := control.Decode(f); err != nil || m.(*mumblepb.Ping).GetTimestamp() != c.n {
						t.Errorf("ping %d: %v, %v", c.n, m, err)
					}
				}
				for _, b := range udp {
					var p voice.Ping
					if voice.ParsePing(b, voice.Protobuf, &p) != nil || p.Timestamp != c.n {
						t.Errorf("ping %d: % x", c.n, b)
					}
				}
			}
			time.Sleep(5 * time.Second) // what the server owes is paid
			call.client.sofar()
			call.gotUDP(down)
		}
	})
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// stock is a client that pings as a stock client does: every five seconds, by both
// ways. Four unanswered pings by TCP would end its session; after 20 s without an
// echo by UDP it would pop a message up.
type stock struct {
	call       *call
	down       *crypt.CryptState
	n          uint64
	unanswered int // by TCP, in a row
	silent     int // by UDP
	worst      [2]int
	lines      []string
	voices     int // by UDP
	tunnelled  int
	ended      bool
	noUDP      bool // only TCP gets through between it and guard
	mangle     bool // what it sends by UDP comes broken
}

// for lets the client be for a while.
func (c *stock) run(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end) && !c.ended; {
		c.n++
		c.unanswered++
		c.silent++
		c.call.client.send(&mumblepb.Ping{Timestamp: proto.Uint64(c.n)})
		if !c.noUDP {
			c.udp(voice.AppendPing(nil, voice.Protobuf, &voice.Ping{Timestamp: c.n}))
		}
		for range 5 {
			time.Sleep(time.Second)
			c.take()
		}
		c.worst = [2]int{max(c.worst[0], c.unanswered), max(c.worst[1], c.silent)}
	}
}

func (c *stock) udp(plain []byte) {
	sealed := c.down.Seal(nil, plain)
	if c.mangle {
		sealed[2] ^= 0xFF
	}
	c.call.paper.down.in <- packet{sealed, clientAt}
	synctest.Wait()
}

func (c *stock) take() {
	for _, f := range c.call.client.sofar() {
		switch f.Type {
		case control.TypePing:
			c.unanswered = 0
		case control.TypeUDPTunnel:
			c.tunnelled++
		case control.TypeCryptSetup:
			m, _ := control.Decode(f)
			setup := m.(*mumblepb.CryptSetup)
			if len(setup.GetServerNonce()) == 0 { // guard cannot read us
				c.call.client.send(&mumblepb.CryptSetup{ClientNonce: c.down.EncryptIV()})
			} else if err := c.down.SetDecryptIV(setup.GetServerNonce()); err != nil {
				c.call.t.Error(err)
			}
		}
		c.lines = append(c.lines, linesOf([]control.Frame{f})...)
	}
	c.ended = c.call.client.conn.Err() != nil
	for _, b := range c.call.gotUDP(c.down) {
		if voice.IsPing(b, voice.Protobuf) {
			c.silent = 0
		} else {
			c.voices++
		}
	}
}

// speak sends one packet by UDP and reports which way it reaches the server.
func (c *stock) speak() (udp, tunnel bool) {
	p := c.call.paper
	before := 0
	p.with(func() { before = len(p.voices) })
	b, err := voice.Append(nil, voice.Protobuf, voice.ToServer, &voice.Packet{Codec: voice.Opus, FrameNumber: c.n, Data: speech(1)})
	if err != nil {
		c.call.t.Fatal(err)
	}
	c.call.server.sofar()
	c.udp(b)
	for _, f := range c.call.server.sofar() {
		tunnel = tunnel || f.Type == control.TypeUDPTunnel
	}
	p.with(func() { udp = len(p.voices) > before })
	return udp, tunnel
}

func onStock(t *testing.T, f func(t *testing.T, s *stage, c *stock)) {
	t.Helper()
	onPaper(t, options{policy: e2ee.PolicyOff}, func(t *testing.T, s *stage) {
		call := s.logIn(v15, v15, nil)
		c := &stock{call: call, down: call.key()}
		f(t, s, c)
	})
}

// The server is stopped for 20 s, and its system goes on confirming: the client
// notices nothing, and all goes on. For good: after 30 s guard says so once and
// closes, and the client comes back by itself.
func TestServerStopped(t *testing.T) {
	onStock(t, func(t *testing.T, s *stage, c *stock) {
		c.run(10 * time.Second)
		s.paper.with(func() { s.paper.frozen, s.paper.confirms = true, true })
		c.run(20 * time.Second)
		s.paper.with(func() { s.paper.frozen = false })
		c.run(10 * time.Second)
		if c.ended || c.worst[0] > 1 || c.worst[1] > 1 {
			t.Fatalf("ended %v, unanswered pings in a row %v", c.ended, c.worst)
		}
		c.lines = nil
		s.paper.with(func() { s.paper.frozen = true })
		c.endsWithin(t, 25*time.Second, 35*time.Second, "stopped answering")
	})
}

// endsWithin lets a minute pass, in which guard must end the session with one line.
func (c *stock) endsWithin(t *testing.T, least, most time.Duration, words string) {
	t.Helper()
	begin := time.Now()
	c.run(time.Minute)
	if d := time.Since(begin); !c.ended || d < least || d > most {
		t.Errorf("ended %v after %v", c.ended, d)
	}
	if len(c.lines) != 1 || !strings.Contains(c.lines[0], words) {
		t.Errorf("the client is told %q", c.lines)
	}
}

// Nothing comes back and nothing is confirmed, as after a change of the network: two
// lost pings, a probe of three seconds, and both legs close.
func TestRoaming(t *testing.T) {
	onStock(t, func(t *testing.T, s *stage, c *stock) {
		c.run(10 * time.Second)
		c.lines = nil
		before := 0
		s.paper.with(func() { s.paper.frozen = true; before = len(s.paper.pings) })
		// Up to 5 s to the next ping, and the stock client is looked at each 5 s.
		c.endsWithin(t, 13*time.Second, 20*time.Second, "changed its network")
		s.wantKind("disconnected")
		pings := s.paper.pings[before:]
		last := pings[len(pings)-1]
		if d := time.Since(last); d < 3*time.Second {
			t.Errorf("the last ping went %v before the end", d)
		}
	})
}

// The way to the server leads from another address: it is asked at once, at the next
// ping, whether the old connection still works. If not, both legs close three seconds
// later, and the client comes back; if it does, that address is never asked about again.
func TestNewNetwork(t *testing.T) {
	t.Run("the old way is lost", func(t *testing.T) {
		onStock(t, func(t *testing.T, s *stage, c *stock) {
			c.run(10 * time.Second)
			s.paper.with(func() { s.paper.moved, s.paper.frozen, s.paper.confirms = true, true, true })
			begin := time.Now()
			for n := uint64(0); !c.ended && time.Since(begin) < time.Minute; n++ {
				if n%50 == 0 {
					c.call.pingBoth(c.down, 1000+n)
				}
				time.Sleep(100 * time.Millisecond)
				c.take()
			}
			if d := time.Since(begin); d > 8*time.Second+100*time.Millisecond {
				t.Errorf("closed after %v", d)
			}
			if len(c.lines) == 0 || !strings.Contains(c.lines[len(c.lines)-1], "changed its network") {
				t.Errorf("the client is told %q", c.lines)
			}
		})
	})
	t.Run("it works", func(t *testing.T) {
		onStock(t, func(t *testing.T, s *stage, c *stock) {
			c.run(10 * time.Second)
			for range 4 {
				s.paper.with(func() { s.paper.moved = !s.paper.moved })
				c.run(10 * time.Second)
				if udp, _ := c.speak(); !udp || c.ended {
					t.Errorf("by UDP %v, ended %v", udp, c.ended)
				}
			}
		})
	})
}

// Datagrams to the server are lost for a while: the tunnel after 5 to 7 s, a probe at
// least every 10 s, and UDP again after two echoes. The client's leg knows nothing.
func TestUDPLostUpstream(t *testing.T) {
	onStock(t, func(t *testing.T, s *stage, c *stock) {
		p := s.paper
		c.run(10 * time.Second)
		if udp, tunnel := c.speak(); !udp || tunnel {
			t.Fatalf("to begin with by UDP %v, by tunnel %v", udp, tunnel)
		}
		p.with(func() { p.deafUDP = true })
		lost := time.Now()
		for udp, tunnel := c.speak(); !tunnel; udp, tunnel = c.speak() {
			if udp {
				t.Fatal("a deaf server hears")
			}
			if time.Since(lost) > 8*time.Second {
				t.Fatal("UDP is not given up")
			}
			time.Sleep(100 * time.Millisecond)
		}
		if d := time.Since(lost); d < 3*time.Second || d > 7*time.Second+100*time.Millisecond {
			t.Errorf("given up after %v", d)
		}
		c.run(30 * time.Second)
		p.with(func() { p.deafUDP = false; p.udpPings = nil })
		back := time.Now()
		for udp, _ := c.speak(); !udp; udp, _ = c.speak() {
			if time.Since(back) > 11*time.Second {
				t.Fatal("UDP does not come back")
			}
			time.Sleep(10 * time.Millisecond)
		}
		p.with(func() {
			if len(p.udpPings) < 2 {
				t.Errorf("back after %d echoes", len(p.udpPings))
			}
		})
		c.run(10 * time.Second)
		if c.ended || c.worst[0] > 1 || c.worst[1] > 1 {
			t.Errorf("ended %v, unanswered pings in a row %v", c.ended, c.worst)
		}
		t.Logf("by UDP again %v after it works", time.Since(back)-10*time.Second)
	})
}

// No datagram comes from the client any more: what it hears goes through its tunnel
// after 12 s, and by UDP again after two datagrams.
func TestUDPLostDownstream(t *testing.T) {
	onStock(t, func(t *testing.T, s *stage, c *stock) {
		hears := func() (udp, tunnel bool) {
			t.Helper()
			c.voices, c.tunnelled = 0, 0
			b, err := voice.Append(nil, voice.Protobuf, voice.ToClient, &voice.Packet{Codec: voice.Opus, Session: bobby, FrameNumber: 3, Data: speech(1)})
			if err != nil {
				t.Fatal(err)
			}
			c.call.server.conn.Send(control.TypeUDPTunnel, b)
			c.take()
			return c.voices == 1, c.tunnelled == 1
		}
		if udp, tunnel := hears(); udp || !tunnel {
			t.Errorf("before any datagram: UDP %v, tunnel %v", udp, tunnel)
		}
		c.run(10 * time.Second)
		if udp, tunnel := hears(); !udp || tunnel {
			t.Errorf("to begin with: UDP %v, tunnel %v", udp, tunnel)
		}
		c.noUDP = true
		c.run(10 * time.Second)
		c.run(5 * time.Second)
		if udp, tunnel := hears(); udp || !tunnel {
			t.Errorf("without datagrams: UDP %v, tunnel %v", udp, tunnel)
		}
		c.noUDP = false
		c.run(5 * time.Second)
		if udp, tunnel := hears(); udp || !tunnel {
			t.Errorf("after one datagram: UDP %v, tunnel %v", udp, tunnel)
		}
		c.run(5 * time.Second)
		if udp, tunnel := hears(); !udp || tunnel {
			t.Errorf("after two: UDP %v, tunnel %v", udp, tunnel)
		}
		for _, l := range c.lines {
			if strings.Contains(l, "UDP") {
				t.Errorf("the client is told %q", l)
			}
		}
	})
}

// A client in TCP mode speaks through its tunnel; guard is free to use UDP upstream,
// and answers in the client's way.
func TestTunnelBelowUDPAbove(t *testing.T) {
	onStock(t, func(t *testing.T, s *stage, c *stock) {
		c.noUDP = true
		c.run(10 * time.Second)
		b, err := voice.Append(nil, voice.Protobuf, voice.ToServer, &voice.Packet{Codec: voice.Opus, FrameNumber: 4, Data: speech(1)})
		if err != nil {
			t.Fatal(err)
		}
		before := len(s.paper.voices)
		c.call.server.sofar()
		c.call.client.conn.Send(control.TypeUDPTunnel, b)
		synctest.Wait()
		s.paper.with(func() {
			if len(s.paper.voices) != before+1 {
				t.Errorf("%d packets by UDP", len(s.paper.voices)-before)
			}
			down, err := voice.Append(nil, voice.Protobuf, voice.ToClient, &voice.Packet{Codec: voice.Opus, Session: bobby, FrameNumber: 3, Data: speech(1)})
			if err != nil {
				t.Fatal(err)
			}
			s.paper.send(s.paper.up, down)
		})
		c.tunnelled, c.voices = 0, 0
		c.take()
		if c.tunnelled != 1 || c.voices != 0 {
			t.Errorf("the client gets %d packets by its tunnel, %d by UDP", c.tunnelled, c.voices)
		}
	})
}

// Where only TCP reaches guard, as through ssh -L, the person is told two seconds
// after the client's first ping, once, and voice to it goes through the tunnel.
func TestOnlyTCPHint(t *testing.T) {
	hinted := func(lines []string) int {
		return len(slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return !strings.Contains(l, "only TCP") }))
	}
	onStock(t, func(t *testing.T, s *stage, c *stock) {
		c.noUDP = true
		time.Sleep(10 * time.Second)
		if n := hinted(linesOf(c.call.client.sofar())); n != 0 {
			t.Error("told before the first ping, with which UDP is due")
		}
		begin := time.Now()
		c.call.client.send(&mumblepb.Ping{Timestamp: proto.Uint64(1)})
		time.Sleep(2*time.Second - 1)
		if n := hinted(linesOf(c.call.client.sofar())); n != 0 {
			t.Errorf("told %v after the ping", time.Since(begin))
		}
		time.Sleep(time.Nanosecond)
		if n := hinted(linesOf(c.call.client.sofar())); n != 1 {
			t.Errorf("told %d times after %v", n, time.Since(begin))
		}
		c.run(time.Minute)
		if n := hinted(c.lines); n != 0 {
			t.Errorf("told %d times more", n)
		}
	})
	for name, f := range map[string]func(c *stock){
		"UDP works": func(c *stock) {},
		"a client that speaks in TCP mode": func(c *stock) {
			c.noUDP = true
			b, err := voice.Append(nil, voice.Protobuf, voice.ToServer, &voice.Packet{Codec: voice.Opus, Data: speech(1)})
			if err != nil {
				t.Fatal(err)
			}
			c.call.client.conn.Send(control.TypeUDPTunnel, b)
			synctest.Wait()
		},
	} {
		onStock(t, func(t *testing.T, s *stage, c *stock) {
			f(c)
			c.run(30 * time.Second)
			if n := hinted(c.lines); n != 0 {
				t.Errorf("%s: told %d times", name, n)
			}
		})
	}
}

// Datagrams of one leg come broken for ten seconds: that leg asks for the nonce, and
// the other one's count of resyncs stays 0.
func TestResyncIsPerLeg(t *testing.T) {
	up := func(s *stage, yes bool) { s.paper.with(func() { s.paper.corruptUp = yes }) }
	resyncs := func(frames []control.Frame) (asked int) {
		for _, f := range frames {
			if m, err := control.Decode(f); err == nil {
				if m, ok := m.(*mumblepb.CryptSetup); ok && len(m.GetKey()) == 0 {
					asked++
				}
			}
		}
		return asked
	}
	// figures are those that guard reports: to the client of its leg, to the server
	// of the other.
	figures := func(c *stock) (down, up *mumblepb.Ping) {
		c.call.client.send(&mumblepb.Ping{Timestamp: proto.Uint64(1 << 40)})
		for _, f := range c.call.client.sofar() {
			if m, err := control.Decode(f); err == nil {
				if m, ok := m.(*mumblepb.Ping); ok {
					down = m
				}
			}
		}
		return down, c.call.paper.last
	}
	t.Run("the server's", func(t *testing.T) {
		onStock(t, func(t *testing.T, s *stage, c *stock) {
			c.run(10 * time.Second)
			c.call.server.sofar()
			up(s, true)
			c.run(10 * time.Second)
			asked := resyncs(c.call.server.sofar())
			s.paper.with(func() {
				c.call.server.send(&mumblepb.CryptSetup{ServerNonce: s.paper.upstream.EncryptIV()})
			})
			up(s, false)
			c.run(10 * time.Second)
			down, upper := figures(c)
			if asked < 1 || upper.GetResync() != 1 || down.GetResync() != 0 || down.GetLost() != 0 {
				t.Errorf("asked %d times; the server's leg %v, the client's %v", asked, upper, down)
			}
			if udp, _ := c.speak(); !udp {
				t.Error("no UDP afterwards")
			}
		})
	})
	t.Run("the client's", func(t *testing.T) {
		onStock(t, func(t *testing.T, s *stage, c *stock) {
			c.run(10 * time.Second)
			c.call.server.sofar()
			c.mangle = true
			c.run(10 * time.Second)
			c.mangle = false
			c.run(10 * time.Second)
			down, upper := figures(c)
			if asked := resyncs(c.call.server.sofar()); asked != 0 || upper.GetResync() != 0 {
				t.Errorf("the server is asked %d times, its leg is %v", asked, upper)
			}
			if n := down.GetResync(); n < 1 || n > 2 {
				t.Errorf("the client's leg %v", down)
			}
		})
	})
}

// The computer was asleep: at once the server is asked whether it is still there, and
// nothing is spoken until it has answered. Voice takes the tunnel until UDP has shown
// that it works.
func TestSuspend(t *testing.T) {
	asleep := func(p *paper, d time.Duration) { p.with(func() { p.sleep += d; p.pings, p.udpPings = nil, nil }) }
	begin := func(t *testing.T, c *call) *stock {
		t.Helper()
		k := &stock{call: c, down: c.key()}
		k.run(10 * time.Second)
		if udp, _ := k.speak(); !udp {
			t.Fatal("no UDP to begin with")
		}
		return k
	}
	t.Run("the server is there", func(t *testing.T) {
		onCall(t, v15, v15, func(t *testing.T, c *call) {
			k := begin(t, c)
			p := c.paper
			p.with(func() { p.delay = 500 * time.Millisecond })
			time.Sleep(5 * time.Second)
			asleep(p, 10*time.Minute)
			k.udp(voice.AppendPing(nil, voice.Protobuf, &voice.Ping{Timestamp: 1})) // anything wakes the loop
			p.with(func() {
				if len(p.pings) < 1 || len(p.udpPings) < 2 { // one of these is the client's own
					t.Errorf("%d pings by TCP and %d by UDP at once", len(p.pings), len(p.udpPings))
				}
			})
			woke := time.Now()
			if udp, tunnel := k.speak(); udp || tunnel {
				t.Errorf("spoken before the answer: UDP %v, tunnel %v", udp, tunnel)
			}
			time.Sleep(499 * time.Millisecond)
			if udp, tunnel := k.speak(); udp || tunnel {
				t.Errorf("spoken %v after waking: UDP %v, tunnel %v", time.Since(woke), udp, tunnel)
			}
			time.Sleep(2 * time.Millisecond)
			k.take()
			if udp, tunnel := k.speak(); udp == tunnel {
				t.Errorf("after the answer: UDP %v, tunnel %v", udp, tunnel)
			}
			time.Sleep(3 * time.Second)
			if udp, _ := k.speak(); !udp {
				t.Error("no UDP three seconds later")
			}
			k.run(30 * time.Second)
			if k.ended {
				t.Error("the session has ended")
			}
		})
	})
	t.Run("the server is gone", func(t *testing.T) {
		onCall(t, v15, v15, func(t *testing.T, c *call) {
			k := begin(t, c)
			c.client.sofar()
			c.paper.with(func() { c.paper.frozen, c.paper.confirms = true, true })
			asleep(c.paper, time.Minute)
			k.udp(voice.AppendPing(nil, voice.Protobuf, &voice.Ping{Timestamp: 1}))
			time.Sleep(3*time.Second - 1)
			if c.client.sofar(); c.client.conn.Err() != nil {
				t.Error("given up before three seconds")
			}
			time.Sleep(time.Second)
			said := linesOf(c.client.sofar())
			if c.client.conn.Err() == nil || len(said) != 1 || !strings.Contains(said[0], "the way to the server is gone") {
				t.Errorf("the client's leg: %v, it is told %q", c.client.conn.Err(), said)
			}
			c.server.sofar()
			if c.server.conn.Err() == nil {
				t.Error("the server's leg is open")
			}
		})
	})
	t.Run("a nap", func(t *testing.T) {
		onCall(t, v15, v15, func(t *testing.T, c *call) {
			k := begin(t, c)
			asleep(c.paper, 9*time.Second)
			if udp, _ := k.speak(); !udp {
				t.Error("no voice")
			}
		})
	})
}
