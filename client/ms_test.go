package client_test

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/mumble/control"
)

// tlsServer listens on loopback and gives the one connection it takes to a function.
func tlsServer(t *testing.T, conf *tls.Config, act func(*tls.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conf.Certificates = []tls.Certificate{selfSigned(t)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		c := tls.Server(nc, conf)
		if c.Handshake() == nil && act != nil {
			act(c)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// MS18: a message of nearly the most that may be, which comes byte by byte. Nothing
// of it is a frame, so the server counts as silent, and little is kept for it.
func TestTrickle(t *testing.T) {
	for _, c := range []struct {
		name  string
		size  uint32
		limit error
	}{
		{"1 MiB before login", client.MaxBufferedBefore, client.ErrTimeout},
		{"8 MiB before login", 8<<20 - 1, new(control.ErrTooLong)},
	} {
		t.Run(c.name, func(t *testing.T) {
			release := make(chan struct{})
			addr := tlsServer(t, &tls.Config{}, func(s *tls.Conn) {
				head := control.AppendFrame(nil, control.TypeVersion, make([]byte, 3))
				head[2], head[3], head[4], head[5] = byte(c.size>>24), byte(c.size>>16), byte(c.size>>8), byte(c.size)
				for _, b := range head {
					s.Write([]byte{b})
				}
				<-release
			})
			defer close(release)
			now := time.Unix(1_800_000_000, 0)
			l, err := client.DialLink(t.Context(), now, client.LinkConfig{
				Address: addr, NoUDP: true, Net: client.Net{DialTCP: confirmed}, CheckServer: func([]byte) error { return nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close(0)
			var tooLong *control.ErrTooLong
			if errors.As(c.limit, &tooLong) {
				if _, ok := <-l.Frames(); ok || !errors.As(l.Err(), &tooLong) {
					t.Errorf("taken; %v", l.Err())
				}
				return
			}
			for range 10 {
				now = now.Add(5 * time.Second)
				if err = l.Tick(now); err != nil {
					break
				}
			}
			if !errors.Is(err, c.limit) || now.Sub(time.Unix(1_800_000_000, 0)) > 30*time.Second {
				t.Errorf("%v after %v", err, now.Sub(time.Unix(1_800_000_000, 0)))
			}
		})
	}
}

// MS21: older TLS than 1.2 is no server, and where the system's roots decide, a
// certificate that nobody signed, or one for another name, is none either.
func TestWeakTLS(t *testing.T) {
	addr := tlsServer(t, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, nil)
	cfg := client.LinkConfig{Address: addr, NoUDP: true, CheckServer: func([]byte) error { return nil }}
	if l, err := client.DialLink(t.Context(), time.Now(), cfg); err == nil {
		l.Close(0)
		t.Error("TLS 1.1 is taken")
	} else if !strings.Contains(err.Error(), "version") {
		t.Errorf("refused for another reason: %v", err)
	}
	cfg.Address = tlsServer(t, &tls.Config{}, nil)
	cfg.CheckServer, cfg.CheckChain = nil, client.SystemRoots("voice.example.org")
	if l, err := client.DialLink(t.Context(), time.Now(), cfg); err == nil {
		l.Close(0)
		t.Error("a certificate that nobody signed is taken")
	}
	for _, chain := range [][][]byte{nil, {[]byte("no certificate")}} {
		if client.SystemRoots("voice.example.org")(chain) == nil {
			t.Errorf("%q is taken", chain)
		}
	}
}
