package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/proxy"
)

// Proxy leads a connection through somebody else: by SOCKS 5 (RFC 1928, with the
// login of RFC 1929), or by HTTP's CONNECT (RFC 9110 section 9.3.6). It gets the
// server's name as it was typed and looks it up itself; our own resolver is asked
// for the proxy's name only.
type Proxy struct {
	scheme string // socks5 or http
	at     place
	user   *url.Userinfo // nil: no login
}

// ParseProxy reads socks5://[USER:PASSWORD@]HOST:PORT or http://..., or none, which
// is nil. No error repeats what was given: it can hold a password.
func ParseProxy(s string) (*Proxy, error) {
	if s == "none" {
		return nil, nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "socks5" && u.Scheme != "http" || !isAddress(u.Hostname()) && !isName(u.Hostname()) ||
		u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("a proxy is socks5://[USER:PASSWORD@]HOST:PORT, http://[USER:PASSWORD@]HOST:PORT, or none")
	}
	at, err := parsePlace(net.JoinHostPort(u.Hostname(), u.Port()))
	if err != nil || at.port == 0 {
		return nil, errors.New("the proxy's port is missing, or is none")
	}
	return &Proxy{u.Scheme, at, u.User}, nil
}

func isName(host string) bool {
	return host != "" && len(host) <= 253 && !strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == ':' || r == 0x7F })
}

// String is the proxy without its login.
func (p *Proxy) String() string { return p.scheme + "://" + p.at.String() }

// ProxyError says that the server was not reached because of the proxy, or behind it.
type ProxyError struct {
	Proxy *Proxy
	Err   error
}

func (e *ProxyError) Error() string {
	return fmt.Sprintf("client: by way of the proxy %s: %v", e.Proxy, e.Err)
}
func (e *ProxyError) Unwrap() error { return e.Err }

// dial connects to address, HOST:PORT, through the proxy.
func (p *Proxy) dial(ctx context.Context, n *Net, address string) (net.Conn, error) {
	conn, err := n.dialPlace(ctx, p.at)
	if err == nil {
		err = p.ask(ctx, conn, address)
	}
	if err != nil {
		if conn != nil {
			conn.Close()
		}
		return nil, &ProxyError{p, err}
	}
	return proxied{conn, p}, nil
}

// ask has the proxy connect conn to address.
func (p *Proxy) ask(ctx context.Context, conn net.Conn, address string) error {
	if p.scheme == "http" {
		return p.connect(ctx, conn, address)
	}
	var auth *proxy.Auth
	if p.user != nil {
		password, _ := p.user.Password()
		auth = &proxy.Auth{User: p.user.Username(), Password: password}
	}
	d, err := proxy.SOCKS5("tcp", p.at.String(), auth, ready{conn})
	if err != nil {
		return err
	}
	_, err = d.(proxy.ContextDialer).DialContext(ctx, "tcp", address)
	return err
}

// ready is a dialer that has connected already.
type ready struct{ conn net.Conn }

func (r ready) Dial(string, string) (net.Conn, error) { return r.conn, nil }
func (r ready) DialContext(context.Context, string, string) (net.Conn, error) {
	return r.conn, nil
}

// maxAnswer is how long the head of a proxy's answer may be, in bytes.
const maxAnswer = 8 << 10

// connect asks by HTTP.
func (p *Proxy) connect(ctx context.Context, conn net.Conn, address string) error {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	head := "CONNECT " + address + " HTTP/1.1\r\nHost: " + address + "\r\n"
	if p.user != nil {
		password, _ := p.user.Password()
		login := base64.StdEncoding.EncodeToString([]byte(p.user.Username() + ":" + password))
		head += "Proxy-Authorization: Basic " + login + "\r\n"
	}
	if _, err := conn.Write([]byte(head + "\r\n")); err != nil {
		return err
	}
	answer, err := readHead(conn)
	if err != nil {
		return err
	}
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return errors.New("it does not speak HTTP")
	}
	r.Body.Close()
	if r.StatusCode/100 != 2 {
		return fmt.Errorf("it refuses, with %d %s", r.StatusCode, http.StatusText(r.StatusCode))
	}
	if !stop() {
		return ctx.Err()
	}
	return nil
}

// readHead reads to the empty line, byte by byte: what follows it is the server's.
func readHead(conn net.Conn) ([]byte, error) {
	var head []byte
	one := make([]byte, 1)
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		if len(head) >= maxAnswer {
			return nil, errors.New("its answer does not end")
		}
		if _, err := conn.Read(one); err != nil {
			return nil, err
		}
		head = append(head, one[0])
	}
	return head, nil
}

// proxied is a connection whose other end is not the server: its address must not
// be taken for the server's, or UDP would go there.
type proxied struct {
	net.Conn
	p *Proxy
}

func (c proxied) RemoteAddr() net.Addr { return proxyAddr{c.p} }

type proxyAddr struct{ p *Proxy }

func (a proxyAddr) Network() string { return "proxy" }
func (a proxyAddr) String() string  { return a.p.String() }
