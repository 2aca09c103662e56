package evilserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	maxClients = 256
	ioLimit    = 10 * time.Second // for a handshake, a dial, one write
)

// Options say before whom the proxy stands.
type Options struct {
	Upstream    string          // host:port of murmurd, TCP and UDP
	Certificate tls.Certificate // what clients are shown
	// Logf is told why connections end and what could not be passed on. It must
	// not be called after Close, and is not. It may be nil.
	Logf func(format string, args ...any)
}

// Server is a running proxy.
type Server struct {
	opts Options
	tcp  net.Listener
	udp  *net.UDPConn
	work sync.WaitGroup

	script sync.Mutex // one lie at a time

	mu      sync.Mutex
	closed  bool
	cert    tls.Certificate
	dropUDP bool
	opening map[net.Conn]bool // connections that are not clients yet
	nextID  int
	clients []*Client
	lies    []*Lie
	certs   map[string]*shown // by the client's own hash, "" without one
	hashes  map[string]string // what murmurd says -> the client's own
	ghosts  uint32
	odd     int           // what could not be passed on
	changed chan struct{} // closed and replaced when clients come, log in or go
}

// Start starts a proxy on a free port of loopback.
func Start(o Options) (*Server, error) {
	s := &Server{
		opts: o, cert: o.Certificate, certs: map[string]*shown{}, hashes: map[string]string{},
		opening: map[net.Conn]bool{}, ghosts: firstGhost, changed: make(chan struct{}),
	}
	var err error
	for range 10 { // a port that is free for TCP need not be for UDP
		if s.tcp, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
			continue
		}
		port := s.tcp.Addr().(*net.TCPAddr).Port
		if s.udp, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err == nil {
			s.work.Go(s.accept)
			s.work.Go(s.readUDP)
			return s, nil
		}
		s.tcp.Close()
	}
	return nil, fmt.Errorf("evilserver: no port: %w", err)
}

// Addr is where clients connect, host:port for TCP and UDP.
func (s *Server) Addr() string { return s.tcp.Addr().String() }

// SetCertificate is what clients that connect from now on are shown.
func (s *Server) SetCertificate(c tls.Certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cert = c
}

// DropUDP loses all datagrams, both ways, until it is told false.
func (s *Server) DropUDP(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropUDP = yes
}

// Odd counts what could not be passed on: datagrams that nobody's key opens,
// voice that does not parse, messages that cannot be encoded.
func (s *Server) Odd() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.odd
}

// Close cuts all connections and returns when nothing runs any more. It must not
// be called by a lie; it may be called twice.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	clients := append([]*Client(nil), s.clients...)
	for conn := range s.opening {
		conn.Close()
	}
	s.mu.Unlock()
	s.tcp.Close()
	s.udp.Close()
	for _, c := range clients {
		c.Close()
	}
	s.work.Wait()
}

func (s *Server) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opts.Logf != nil && !s.closed {
		s.opts.Logf("evilserver: "+format, args...)
	}
}

// strange counts what could not be passed on.
func (s *Server) strange() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.odd++
}

func (s *Server) accept() {
	for {
		conn, err := s.tcp.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		s.mu.Lock()
		full := s.closed || len(s.opening)+len(s.clients) >= maxClients
		if !full {
			s.opening[conn] = true
		}
		cert := s.cert
		s.mu.Unlock()
		if full {
			conn.Close()
			continue
		}
		s.work.Go(func() {
			defer conn.Close()
			cfg := &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
			c, err := s.open(tls.Server(conn, cfg))
			s.mu.Lock()
			delete(s.opening, conn)
			s.mu.Unlock()
			if err == nil {
				err = c.serve()
			}
			if err != nil {
				s.say("%v", err)
			}
		})
	}
}

// open makes both legs of a client. It is not in the list before.
func (s *Server) open(down *tls.Conn) (*Client, error) {
	if err := down.SetDeadline(time.Now().Add(ioLimit)); err != nil {
		return nil, err
	}
	if err := down.Handshake(); err != nil {
		return nil, fmt.Errorf("a client does not finish the handshake: %w", err)
	}
	cfg := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} // who stands there was said by the test
	own := ""
	if chain := down.ConnectionState().PeerCertificates; len(chain) > 0 {
		own = mumbleHash(chain[0].Raw)
		cert, err := s.certificateFor(own)
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	up, err := tls.DialWithDialer(&net.Dialer{Timeout: ioLimit}, "tcp4", s.opts.Upstream, cfg)
	if err != nil {
		return nil, err
	}
	c, err := newClient(s, down, up)
	if err != nil {
		up.Close()
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return nil, errors.New("closed")
	}
	s.nextID++
	c.ID = s.nextID
	s.clients = append(s.clients, c)
	s.signal()
	return c, nil
}

// signal wakes those who wait for clients. s.mu is held.
func (s *Server) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Clients returns those connected, the eldest first.
func (s *Server) Clients() []*Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Client(nil), s.clients...)
}

// Client returns the youngest client of that name that has logged in, waiting
// for it; nil if none does within the limit. Lies must not wait: they call it
// with 0.
func (s *Server) Client(name string, limit time.Duration) *Client {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		s.mu.Lock()
		clients, changed := append([]*Client(nil), s.clients...), s.changed
		s.mu.Unlock()
		var found *Client
		for _, c := range clients {
			if c.Name() == name && c.Session() != 0 {
				found = c
			}
		}
		if found != nil || limit == 0 {
			return found
		}
		select {
		case <-changed:
		case <-deadline.C:
			return nil
		}
	}
}
