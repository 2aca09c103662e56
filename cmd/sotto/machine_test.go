package main

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sotto-voip/sotto/stockclient"
)

// TestLoopbackRecord: yes, no, nothing, and what is neither.
func TestLoopbackRecord(t *testing.T) {
	for dns, want := range map[scriptedDNS]answer{
		"none":          {},
		"evil.example.": {target: "evil.example."},
		"silent":        {silent: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := &machine{resolver: dns}
			got := m.loopbackRecord(t.Context(), "127.0.0.1")
			if took := got.took; took > recordWait || got.silent != (took == recordWait) {
				t.Errorf("%s: %v", dns, took)
			}
			if got.took = 0; got != want {
				t.Errorf("%s: %+v, want %+v", dns, got, want)
			}
		})
	}
	m := &machine{resolver: scriptedDNS("refused")}
	if got := m.loopbackRecord(t.Context(), "localhost"); got.failed == nil || got.silent || got.target != "" {
		t.Errorf("refused: %+v", got)
	}
}

// TestRealResolver: Go's own resolver takes a loopback name as one with an SRV
// record, and asks for it as Mumble does.
func TestRealResolver(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	asked := make(chan string, 8)
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				close(asked)
				return
			}
			asked <- string(b[12:n])
			// The question comes back with: an answer, no such name.
			b[2], b[3] = 0x81, 0x83
			pc.WriteTo(b[:n], from)
		}
	}()
	m := &machine{resolver: resolverAt(pc.LocalAddr().String())}
	if got := m.loopbackRecord(t.Context(), "127.0.0.1"); got.target != "" || got.silent || got.failed != nil || got.took > time.Second {
		t.Errorf("%+v", got)
	}
	const question = "\x07_mumble\x04_tcp\x03127\x010\x010\x011\x00\x00\x21\x00\x01" // SRV, IN
	if q := <-asked; len(q) < len(question) || q[:len(question)] != question {
		t.Errorf("asked %q", q)
	}
}

func TestProxyTrouble(t *testing.T) {
	socks := stockclient.Client{Settings: stockclient.Settings{Proxy: stockclient.Proxy{Type: stockclient.ProxySOCKS5, Host: "h", Port: 1}}}
	odd := stockclient.Client{Settings: stockclient.Settings{Proxy: stockclient.Proxy{Type: stockclient.ProxyOther}}}
	for _, tt := range []struct {
		found []stockclient.Client
		hint  string // "": no trouble
	}{
		{nil, ""},
		{[]stockclient.Client{{}}, ""},
		{[]stockclient.Client{socks}, "name it with --proxy socks5://h:1, or go without one on purpose with --proxy none"},
		{[]stockclient.Client{{}, odd}, "name it with --proxy URL, or go without one on purpose with --proxy none"},
		{[]stockclient.Client{{Err: stockclient.ErrSettings}}, "say how to reach the server: --proxy URL, or --proxy none"},
	} {
		err := proxyTrouble(tt.found)
		if (err != nil) != (tt.hint != "") || err != nil && hintFor(err) != tt.hint {
			t.Errorf("%+v: %v, %v", tt.found, err, tt.hint)
		}
	}
}
