package client

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// socks is a SOCKS 5 server, written from RFC 1928 and 1929, that says what it was
// asked for on asked: "NAME PASSWORD HOST". What it connects to is behind.
func socks(t *testing.T, asked chan<- string, reply byte, behind func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		defer c.Close()
		read := func(n int) []byte {
			b := make([]byte, n)
			if _, err := io.ReadFull(c, b); err != nil {
				t.Error(err)
			}
			return b
		}
		methods := read(int(read(2)[1]))
		login := ""
		if slices.Contains(methods, 2) {
			c.Write([]byte{5, 2})
			read(1)
			name := read(int(read(1)[0]))
			login = string(name) + " " + string(read(int(read(1)[0])))
			c.Write([]byte{1, 0})
		} else {
			c.Write([]byte{5, 0})
		}
		if head := read(4); head[1] != 1 || head[3] != 3 {
			t.Errorf("the proxy is asked % x: no name to connect to", head)
			return
		}
		host := string(read(int(read(1)[0])))
		asked <- login + " " + host + ":" + itoa(binary.BigEndian.Uint16(read(2)))
		c.Write([]byte{5, reply, 0, 1, 0, 0, 0, 0, 0, 0})
		if reply == 0 {
			behind(c)
		}
	}
}

func itoa(n uint16) string { return strings.TrimPrefix(place{"", n}.String(), ":") }

// tunnel is an HTTP proxy.
func tunnel(asked chan<- string, status string, behind func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		defer c.Close()
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			asked <- err.Error()
			return
		}
		login := ""
		if word, ok := strings.CutPrefix(r.Header.Get("Proxy-Authorization"), "Basic "); ok {
			r.Header.Set("Authorization", "Basic "+word)
			name, password, _ := r.BasicAuth()
			login = name + " " + password
		}
		asked <- login + " " + r.Method + " " + r.RequestURI
		c.Write([]byte("HTTP/1.1 " + status + "\r\nVia: test\r\n\r\n"))
		behind(c)
	}
}

// Through a proxy everything is TCP to the proxy: no name is looked up but its own,
// no SRV record asked for, no datagram sent, and the name that it gets is the typed one.
func TestProxy(t *testing.T) {
	hello := func(c net.Conn) { c.Write([]byte("hello")) }
	for _, c := range []struct {
		name, url string
		proxy     func(t *testing.T, asked chan<- string) func(net.Conn)
		asked     string
		fails     string
	}{
		{"SOCKS", "socks5://p:9050", func(t *testing.T, asked chan<- string) func(net.Conn) { return socks(t, asked, 0, hello) },
			" voice.onion:64738", ""},
		{"SOCKS with a login", "socks5://me:hunter2@p:9050", func(t *testing.T, asked chan<- string) func(net.Conn) { return socks(t, asked, 0, hello) },
			"me hunter2 voice.onion:64738", ""},
		{"SOCKS that refuses", "socks5://me:hunter2@p:9050", func(t *testing.T, asked chan<- string) func(net.Conn) { return socks(t, asked, 5, hello) },
			"me hunter2 voice.onion:64738", "refused"},
		{"HTTP", "http://p:9050", func(_ *testing.T, asked chan<- string) func(net.Conn) { return tunnel(asked, "200 Fine", hello) },
			" CONNECT voice.onion:64738", ""},
		{"HTTP with a login", "http://me:hunter2@p:9050", func(_ *testing.T, asked chan<- string) func(net.Conn) { return tunnel(asked, "200 Fine", hello) },
			"me hunter2 CONNECT voice.onion:64738", ""},
		{"HTTP that refuses", "http://me:hunter2@p:9050", func(_ *testing.T, asked chan<- string) func(net.Conn) { return tunnel(asked, "407 Who", hello) },
			"me hunter2 CONNECT voice.onion:64738", "407"},
		{"no proxy at all", "http://p:9050", func(_ *testing.T, asked chan<- string) func(net.Conn) {
			return func(c net.Conn) {
				asked <- "nothing"
				go io.Copy(io.Discard, c)
				c.Write([]byte("SSH-2.0-x\r\n\r\n"))
			}
		}, "nothing", "does not speak HTTP"},
		{"an endless answer", "http://p:9050", func(_ *testing.T, asked chan<- string) func(net.Conn) {
			return func(c net.Conn) {
				asked <- "nothing"
				go io.Copy(io.Discard, c)
				for {
					if _, err := c.Write([]byte("more ")); err != nil {
						return
					}
				}
			}
		}, "nothing", "does not end"},
		{"a silent one", "http://p:9050", func(_ *testing.T, asked chan<- string) func(net.Conn) {
			return func(c net.Conn) { asked <- "nothing"; io.Copy(io.Discard, c) }
		}, "nothing", "by way of the proxy http://p:9050"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAtlas()
				a.names["ip4 p"] = []string{"192.0.2.9"}
				a.srv = []*net.SRV{{Target: "elsewhere.", Port: 7}}
				asked := make(chan string, 1)
				a.hosts["192.0.2.9:9050"] = host{serve: c.proxy(t, asked)}
				n := a.net()
				var err error
				if n.Proxy, err = ParseProxy(c.url); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), helloTimeout)
				defer cancel()
				conn, err := n.dial(ctx, "voice.onion:64738", true)
				if c.fails != "" {
					if err == nil || !strings.Contains(err.Error(), c.fails) || strings.Contains(err.Error(), "hunter2") {
						t.Errorf("%v, want %s", err, c.fails)
					}
				} else {
					if err != nil {
						t.Fatal(err)
					}
					if _, tcp := conn.RemoteAddr().(*net.TCPAddr); tcp {
						t.Error("the proxy's address passes for the server's")
					}
					b := make([]byte, 5)
					if _, err := io.ReadFull(conn, b); err != nil || string(b) != "hello" {
						t.Errorf("from behind comes %q, %v", b, err)
					}
					conn.Close()
				}
				if got := <-asked; got != c.asked {
					t.Errorf("asked %q, want %q", got, c.asked)
				}
				if _, err := n.UDP((<-a.live).(*counted).to); err == nil {
					t.Error("there is UDP")
				}
				if got := a.said(); !slices.Equal(got, []string{"0s tcp 192.0.2.9:9050"}) {
					t.Errorf("there went %q", got)
				}
			})
		})
	}
}

func TestParseProxy(t *testing.T) {
	for in, want := range map[string]string{
		"socks5://127.0.0.1:9050":       "socks5://127.0.0.1:9050",
		"socks5://a:b@[::1]:9050":       "socks5://[::1]:9050",
		"http://a:hunter2@proxy:3128/":  "http://proxy:3128",
		"none":                          "",
		"":                              "error",
		"proxy:3128":                    "error",
		"https://proxy:3128":            "error",
		"socks4://proxy:1080":           "error",
		"socks5://a:hunter2@proxy":      "error",
		"socks5://a:hunter2@:9050":      "error",
		"socks5://a:hunter2@p:0":        "error",
		"socks5://a:hunter2@p:65536":    "error",
		"socks5://a:hunter2@p:1/path":   "error",
		"socks5://a:hunter2@p:1?x=y":    "error",
		"socks5://a:hunter2@a:b:1":      "error",
		"socks5://a:hunter2%zz@p:1":     "error",
		"http://a:hunter2@two words:80": "error",
	} {
		p, err := ParseProxy(in)
		got := ""
		switch {
		case err != nil:
			got = "error"
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q: %v", in, err)
			}
		case p != nil:
			got = p.String()
		}
		if got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}
