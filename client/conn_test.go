package client_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// connPair returns a Conn and the other end of its pipe.
func connPair() (*client.Conn, net.Conn) {
	ours, theirs := net.Pipe()
	return client.NewConn(ours), theirs
}

func TestConnCarriesFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := connPair()
		defer peer.Close()
		defer c.Close(0)
		if !c.Send(control.TypeTextMessage, []byte("first")) || !c.SendMessage(&mumblepb.Ping{Timestamp: proto.Uint64(7)}) || !c.SendVoice([]byte("voice")) {
			t.Fatal("not queued")
		}
		r := control.NewReader(peer, 0)
		for _, want := range []struct {
			kind control.Type
			body string
		}{{control.TypeTextMessage, "first"}, {control.TypePing, "\x08\x07"}, {control.TypeUDPTunnel, "voice"}} {
			f, err := r.Next()
			if err != nil || f.Type != want.kind || string(f.Body) != want.body {
				t.Fatalf("got %v %q, %v; want %v %q", f.Type, f.Body, err, want.kind, want.body)
			}
		}
		go peer.Write(control.AppendFrame(control.AppendFrame(nil, 200, []byte("x")), control.TypePing, nil))
		for _, want := range []control.Type{200, control.TypePing} {
			if f := <-c.Frames(); f.Type != want {
				t.Errorf("type %v, want %v", f.Type, want)
			}
		}
		if c.Err() != nil {
			t.Errorf("error of a living connection: %v", c.Err())
		}
	})
}

func TestConnEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(peer net.Conn)
		want func(error) bool
	}{
		{"the peer closes between frames", func(p net.Conn) { p.Close() }, func(err error) bool { return errors.Is(err, io.EOF) }},
		{"the peer closes inside a frame", func(p net.Conn) { p.Write([]byte{0, 3, 0, 0}); p.Close() },
			func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		{"a frame too long", func(p net.Conn) {
			p.Write(control.AppendFrame(nil, control.TypePing, nil)[:2])
			p.Write([]byte{0x7F, 0xFF, 0xFF, 0xFF})
		},
			func(err error) bool { return errors.As(err, new(*control.ErrTooLong)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, peer := connPair()
				defer peer.Close()
				c.do(peer)
				for range conn.Frames() {
				}
				if err := conn.Err(); !c.want(err) {
					t.Errorf("error %v", err)
				}
				if conn.Send(control.TypePing, nil) {
					t.Error("a dead connection takes frames")
				}
				conn.Close(0)
				conn.Close(time.Second) // once more does no harm
			})
		})
	}
}

// Before the peer has logged in, it may make us hold 1 MiB; afterwards 8.
func TestConnBounds(t *testing.T) {
	send := func(p net.Conn, n int) {
		p.Write(control.AppendFrame(nil, control.TypeTextMessage, make([]byte, n)))
	}
	for _, c := range []struct {
		name          string
		authenticated bool
		size          int
		passes        bool
	}{
		{"1 MiB before", false, client.MaxBufferedBefore, true},
		{"more before", false, client.MaxBufferedBefore + 1, false},
		{"more afterwards", true, client.MaxBufferedBefore + 1, true},
		{"the most afterwards", true, client.MaxBufferedAfter, true},
		{"more than the most", true, client.MaxBufferedAfter + 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, peer := connPair()
				defer conn.Close(0)
				defer peer.Close()
				go send(peer, 10)
				<-conn.Frames()
				if c.authenticated {
					conn.Authenticated()
				}
				go send(peer, c.size)
				f, ok := <-conn.Frames()
				if ok != c.passes || ok && len(f.Body) != c.size {
					t.Errorf("passes %v with %d bytes, want %v; %v", ok, len(f.Body), c.passes, conn.Err())
				}
				if tooLong := new(control.ErrTooLong); !c.passes && !errors.As(conn.Err(), &tooLong) {
					t.Errorf("error %v", conn.Err())
				}
			})
		})
	}
}

// A peer that takes nothing loses the connection when the bound is reached, and
// Send never waits for it.
func TestConnSlowPeer(t *testing.T) {
	for _, authenticated := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			conn, peer := connPair()
			defer peer.Close()
			limit := client.MaxBufferedBefore
			if authenticated {
				conn.Authenticated()
				limit = client.MaxBufferedAfter
			}
			chunk := make([]byte, 64<<10)
			sent := 0
			for conn.Send(control.TypeTextMessage, chunk) {
				if sent += len(chunk); sent > 2*limit {
					t.Fatalf("%d bytes are queued", sent)
				}
			}
			for range conn.Frames() {
			}
			if !errors.Is(conn.Err(), client.ErrSlowPeer) {
				t.Errorf("error %v", conn.Err())
			}
			if sent < limit/2 {
				t.Errorf("given up after %d bytes", sent)
			}
			conn.Close(time.Second)
		})
	}
}

// A peer that is slow and alive keeps the connection for a while; one that takes
// nothing at all does not, however little waits for it.
func TestConnWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, peer := connPair()
		defer peer.Close()
		conn.Send(control.TypePing, nil)
		start := time.Now()
		for range conn.Frames() {
		}
		if !errors.Is(conn.Err(), os.ErrDeadlineExceeded) || time.Since(start) > 20*time.Second {
			t.Errorf("after %v: %v", time.Since(start), conn.Err())
		}
		conn.Close(0)
	})
}

// Tunnelled voice is dropped while the peer is behind; control messages are not.
func TestConnDropsLateVoice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, peer := connPair()
		defer conn.Close(0)
		defer peer.Close()
		packet := make([]byte, 100)
		taken := 0
		for range 10_000 {
			if conn.SendVoice(packet) {
				taken++
			}
		}
		if taken == 0 || taken > 1000 {
			t.Errorf("%d packets wait for a peer that takes none", taken)
		}
		if !conn.Send(control.TypeTextMessage, []byte("important")) {
			t.Errorf("a control message is refused: %v", conn.Err())
		}
		r := control.NewReader(peer, 0)
		for {
			f, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if f.Type == control.TypeTextMessage {
				break
			}
			taken--
		}
		if taken != 0 {
			t.Errorf("%d packets that were taken did not arrive", taken)
		}
		if !conn.SendVoice(packet) {
			t.Error("voice is still dropped when the peer has caught up")
		}
	})
}

// Close with grace hands over what is queued; without, or when the peer does not
// take it, it ends in time all the same.
func TestConnClose(t *testing.T) {
	t.Run("what is queued is written", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn, peer := connPair()
			conn.Send(control.TypeReject, []byte("bye"))
			closed := make(chan struct{})
			go func() { conn.Close(time.Second); close(closed) }()
			f, err := control.NewReader(peer, 0).Next()
			if err != nil || string(f.Body) != "bye" {
				t.Errorf("%q, %v", f.Body, err)
			}
			<-closed
			if !errors.Is(conn.Err(), client.ErrClosed) {
				t.Errorf("error %v", conn.Err())
			}
			if conn.Send(control.TypePing, nil) {
				t.Error("a closed connection takes frames")
			}
		})
	})
	t.Run("grace ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn, peer := connPair()
			defer peer.Close()
			conn.Send(control.TypeReject, []byte("bye"))
			start := time.Now()
			conn.Close(time.Second)
			if d := time.Since(start); d != time.Second {
				t.Errorf("closed after %v", d)
			}
		})
	})
	t.Run("no grace", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn, peer := connPair()
			defer peer.Close()
			conn.Send(control.TypeReject, []byte("bye"))
			start := time.Now()
			conn.Close(0)
			if d := time.Since(start); d != 0 {
				t.Errorf("closed after %v", d)
			}
		})
	})
	t.Run("frames that nobody took", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn, peer := connPair()
			go func() {
				b := control.AppendFrame(nil, control.TypePing, nil)
				for {
					if _, err := peer.Write(b); err != nil {
						return
					}
				}
			}()
			synctest.Wait()
			conn.Close(time.Second)
			peer.Close()
		})
	})
}

// A TLS peer that takes nothing any more must not hold Close for its goodbye.
func TestConnCloseOverTLS(t *testing.T) {
	cert := selfSigned(t)
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		peer := tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12})
		shaken := make(chan error)
		go func() { shaken <- peer.Handshake() }()
		tc := tls.Client(ours, &tls.Config{InsecureSkipVerify: true})
		if err := errors.Join(tc.Handshake(), <-shaken); err != nil {
			t.Fatal(err)
		}
		conn := client.NewConn(tc)
		start := time.Now()
		conn.Close(0)
		if d := time.Since(start); d > time.Second {
			t.Errorf("Close took %v", d)
		}
		theirs.Close()
	})
}
