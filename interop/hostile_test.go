package interop_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// maxRSS is what guard may hold after everything here, in bytes.
const maxRSS = 60 << 20

// garbage is anything, the same in each run.
func garbage(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// header is that of a frame of any claimed length.
func header(typ control.Type, n uint32) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(typ))
	return binary.BigEndian.AppendUint32(b, n)
}

// dialTLS connects to a guard as a client would, without a word of Mumble.
func dialTLS(t *testing.T, g *guarded) *tls.Conn {
	t.Helper()
	d := &tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: &tls.Config{InsecureSkipVerify: true}}
	var c net.Conn
	// Guard takes few strangers at a time and turns others away.
	waitFor(t, "connection to guard", func() bool {
		var err error
		c, err = d.Dial("tcp", g.addr())
		return err == nil
	})
	t.Cleanup(func() { c.(*tls.Conn).NetConn().Close() })
	return c.(*tls.Conn)
}

// closed waits until the other end hangs up, reading what it still says.
func closed(t *testing.T, c net.Conn, what string) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	_, err := io.Copy(io.Discard, c)
	if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Errorf("%s: guard does not hang up", what)
	}
}

// TestBadInputFromClient does to guard's listener what a broken client or
// another program of the machine could.
func TestBadInputFromClient(t *testing.T) {
	t.Parallel()
	server := peers.Start(t, peers.Murmur15, peers.ServerOptions{Unlimited: true})
	secret := newSecret(t)
	g := startGuard(t, "guard", server.Addr(), secret)
	startClient(t, "record", "bob", server.Addr(), secret, nil, t.TempDir()) // opens the gate

	t.Run("no TLS", func(t *testing.T) {
		for i, b := range [][]byte{[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), garbage(1, 4096), {0x16, 3, 1, 0xFF, 0xFF}} {
			c, err := net.Dial("tcp", g.addr())
			if err != nil {
				t.Fatal(err)
			}
			c.Write(b)
			c.(*net.TCPConn).CloseWrite()
			closed(t, c, fmt.Sprintf("start %d", i))
			c.Close()
		}
	})
	t.Run("too long before login", func(t *testing.T) {
		c := dialTLS(t, g)
		body := make([]byte, 2<<20)
		c.SetWriteDeadline(time.Now().Add(patience))
		c.Write(append(header(control.TypeVersion, uint32(len(body))), body...)) // fails once guard hangs up
		closed(t, c, "2 MiB")
		c = dialTLS(t, g)
		c.Write(header(control.TypeAuthenticate, 0xFFFFFFFF))
		closed(t, c, "4 GiB announced")
	})
	t.Run("nearly too long, and no end", func(t *testing.T) {
		for range 6 {
			c := dialTLS(t, g)
			c.SetWriteDeadline(time.Now().Add(patience))
			if _, err := c.Write(append(header(control.TypeVersion, 1<<20), make([]byte, 1<<20-1)...)); err != nil {
				t.Errorf("guard hangs up below its limit: %v", err)
			}
			c.NetConn().Close()
		}
	})
	t.Run("cut off", func(t *testing.T) {
		for _, b := range [][]byte{{0}, {0, 2, 0, 0}, header(control.TypeAuthenticate, 100), append(header(control.TypeVersion, 100), 1, 2, 3)} {
			c := dialTLS(t, g)
			c.Write(b)
			c.CloseWrite()
			closed(t, c, fmt.Sprintf("%x", b))
		}
	})
	t.Run("bad login", func(t *testing.T) {
		c := dialTLS(t, g)
		postFrame(c, control.TypeVersion, garbage(2, 50))
		closed(t, c, "bad Version")
		c = dialTLS(t, g)
		postFrame(c, control.TypeAuthenticate, garbage(3, 50))
		closed(t, c, "bad Authenticate")
	})
	login := func(name string) *peers.Raw {
		t.Helper()
		mark := g.mark()
		r := peers.DialRaw(t, g.addr(), name, peers.RawOptions{UDP: true})
		g.joined(mark)
		return r
	}
	t.Run("garbage of every type", func(t *testing.T) {
		r := login("garbage")
		for typ := control.Type(0); typ <= 40; typ++ {
			for i, n := range []int{0, 1, 7, 100, 5000} {
				r.SendFrame(typ, garbage(uint64(typ)*10+uint64(i), n))
				r.SendFrame(typ, bytes.Repeat([]byte{0x0A}, n))
				r.SendFrame(typ, bytes.Repeat([]byte{0x80}, n))
			}
		}
		// Guard is still there for this client, and hands on what is sound.
		before := len(r.All())
		r.Send(&mumblepb.UserStats{Session: &r.Session})
		waitFor(t, "answer after the garbage", func() bool {
			for _, got := range r.All()[before:] {
				if _, ok := got.Message.(*mumblepb.UserStats); ok {
					return true
				}
			}
			return r.Err() != nil
		})
		if err := r.Err(); err != nil {
			t.Errorf("the session ended: %v", err)
		}
		r.Close()
	})
	t.Run("garbage voice", func(t *testing.T) {
		mark := g.mark()
		r := login("voice")
		g.gate(mark, "ciphertext")
		for i := range 500 {
			r.SendVoiceBytes(garbage(uint64(i), i%600))    // sealed: guard must parse it
			r.SendDatagram(garbage(uint64(i), i*4%1500+1)) // not even that
		}
		r.SetUDP(false)
		for i := range 200 {
			r.SendVoiceBytes(garbage(uint64(i), i))
		}
		for codec := range byte(8) {
			r.SendVoiceBytes(append([]byte{codec << 5, 0, 20}, garbage(uint64(codec), 20)...)) // the legacy form
		}
		r.SendVoice(voice.Packet{Target: 31, Data: garbage(9, 100)})
		before := len(r.All())
		r.Send(&mumblepb.UserStats{Session: &r.Session})
		waitFor(t, "answer after the voice", func() bool { return len(r.All()) > before })
		if err := r.Err(); err != nil {
			t.Errorf("the session ended: %v", err)
		}
		r.Close()
	})
	t.Run("datagrams of a stranger", func(t *testing.T) {
		c, err := net.Dial("udp", g.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for i := range 2000 {
			c.Write(garbage(uint64(i), i%2000))
		}
		for i := range 200 {
			c.Write(append(make([]byte, 4), garbage(uint64(i), 8)...)) // the ping of a server list
		}
	})
	t.Run("too long after login", func(t *testing.T) {
		mark := g.mark()
		c := dialTLS(t, g)
		version := &mumblepb.Version{}
		peers.Version15.Set(version)
		post(c, version, &mumblepb.Authenticate{Username: proto.String("long"), Opus: proto.Bool(true)})
		g.joined(mark)
		c.SetWriteDeadline(time.Now().Add(patience))
		c.Write(append(header(control.TypeTextMessage, 9<<20), make([]byte, 9<<20)...)) // fails once guard hangs up
		closed(t, c, "9 MiB")
		g.waitFrom(mark, "disconnected", nil)
	})

	// All is over; guard works and is small.
	login("after").Close()
	if rss := g.rss(); rss > maxRSS {
		t.Errorf("guard holds %d MiB, want at most %d", rss>>20, maxRSS>>20)
	} else {
		t.Logf("guard holds %d MiB", rss>>20)
	}
}

// hostileTypes are all types of message and some that do not exist, but for
// Reject, which ends it all.
func hostileTypes(yield func(control.Type) bool) {
	for typ := control.Type(0); typ <= 40; typ++ {
		if typ != control.TypeReject && !yield(typ) {
			return
		}
	}
}

// TestBadInputFromServer lets guard's client log in at servers that do what no
// server does. Guard and its client must come out of each within the time limit.
func TestBadInputFromServer(t *testing.T) {
	t.Parallel()
	cert := peers.NewCertificate(t, "hostile")
	s := startScripted(t, cert)
	g := startGuard(t, "guard", s.addr(), newSecret(t))
	for _, c := range []struct {
		name string
		act  func(*tls.Conn)
	}{
		{"hangs up", func(c *tls.Conn) {}},
		{"speaks garbage", func(c *tls.Conn) { c.Write(garbage(1, 10000)) }},
		{"2 MiB before login", func(c *tls.Conn) {
			c.Write(append(header(control.TypeChannelState, 2<<20), make([]byte, 2<<20)...))
			swallow(c)
		}},
		{"4 GiB announced", func(c *tls.Conn) { c.Write(header(control.TypePing, 0xFFFFFFFF)); swallow(c) }},
		{"garbage messages before login", func(c *tls.Conn) {
			for typ := range hostileTypes {
				for i, n := range []int{0, 1, 7, 100, 5000} {
					postFrame(c, typ, garbage(uint64(typ)*10+uint64(i), n))
				}
			}
		}},
		{"garbage messages after login", func(c *tls.Conn) {
			welcomed(c)
			for typ := range hostileTypes {
				for i, n := range []int{0, 1, 7, 100, 5000, 100000} {
					postFrame(c, typ, garbage(uint64(typ)*10+uint64(i), n))
					postFrame(c, typ, bytes.Repeat([]byte{0x0A}, n))
				}
			}
		}},
		{"9 MiB after login", func(c *tls.Conn) {
			welcomed(c)
			c.Write(append(header(control.TypeTextMessage, 9<<20), make([]byte, 9<<20)...))
			swallow(c)
		}},
		{"channels without end", func(c *tls.Conn) {
			welcomed(c)
			for id := range uint32(300000) {
				b, _ := control.AppendMessage(nil, &mumblepb.ChannelState{ChannelId: proto.Uint32(id + 1), Parent: proto.Uint32(0), Name: proto.String(fmt.Sprint("channel ", id))})
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		}},
		{"five thousand users", func(c *tls.Conn) {
			welcomed(c)
			for id := range uint32(5000) {
				b, _ := control.AppendMessage(nil, &mumblepb.UserState{Session: proto.Uint32(id + 2), Name: proto.String(fmt.Sprint("user ", id)), ChannelId: proto.Uint32(0)})
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		}},
		{"a name of 7 MiB", func(c *tls.Conn) {
			welcomed(c)
			post(c, &mumblepb.UserState{Session: proto.Uint32(2), Name: proto.String(string(bytes.Repeat([]byte("x"), 7<<20))), ChannelId: proto.Uint32(0)})
		}},
		{"what looks like ours", func(c *tls.Conn) {
			welcomed(c)
			post(c, &mumblepb.UserState{Session: proto.Uint32(2), Name: proto.String("mallory"), ChannelId: proto.Uint32(0)})
			for i := range 300 {
				post(c, &mumblepb.PluginDataTransmission{SenderSession: proto.Uint32(2), Data: garbage(uint64(i), i*3), DataID: proto.String("sotto/1")})
				post(c, &mumblepb.TextMessage{Actor: proto.Uint32(2), Session: []uint32{1}, Message: proto.String("sotto:1,0B,0,1," + string(garbage(uint64(i), i)))})
				postFrame(c, control.TypeUDPTunnel, garbage(uint64(i), i))
			}
		}},
	} {
		s.set(cert, c.act)
		begin := time.Now()
		r, err := peers.TryRaw(g.addr(), "alice", peers.RawOptions{})
		if err == nil {
			// It came in before the server began its mischief: let it end.
			waitFor(t, "end of the session with a server that "+c.name, func() bool { return r.Err() != nil })
			err = r.Err()
			r.Close()
		}
		t.Logf("%-30s %4.1f s: %v; guard holds %d MiB", c.name, time.Since(begin).Seconds(), err, g.rss()>>20)
		if time.Since(begin) > patience/2 {
			t.Errorf("a server that %s: the client is held for %v", c.name, time.Since(begin))
		}
	}
	if rss := g.rss(); rss > maxRSS {
		t.Errorf("guard holds %d MiB, want at most %d", rss>>20, maxRSS>>20)
	}
}
