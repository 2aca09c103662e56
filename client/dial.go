package client

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// LinkConfig says whom to connect to and as whom.
type LinkConfig struct {
	// Address is HOST:PORT.
	Address string
	// Certificate is shown to the server; nil: none.
	Certificate *tls.Certificate
	// CheckServer is called with the DER leaf certificate of the server before
	// anything is sent. A Mumble server's certificate is rarely signed by a known
	// CA, so the caller pins it (keystore). CheckChain is called with the whole
	// chain in DER, the leaf first, as [SystemRoots] needs it. One of the two must
	// be set; both must agree.
	CheckServer func(der []byte) error
	CheckChain  func(chain [][]byte) error
	// NoUDP keeps voice in the TCP tunnel.
	NoUDP bool
	// SRV lets the SRV records _mumble._tcp of the host say where the server is, for
	// who typed no port. The certificate is checked as that of the typed address.
	SRV bool
	// Net is the network, with a proxy perhaps.
	Net Net
	// Dial makes the TCP connection in place of Net. Over anything but TCP, such as
	// a pipe, voice stays in the tunnel.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// SystemRoots returns a CheckChain that accepts a certificate which the operating
// system trusts for host, now.
func SystemRoots(host string) func(chain [][]byte) error { return roots(host, nil) }

// roots is SystemRoots with other roots; nil: the system's.
func roots(host string, pool *x509.CertPool) func(chain [][]byte) error {
	return func(chain [][]byte) error {
		if len(chain) == 0 {
			return errors.New("client: the server shows no certificate")
		}
		leaf, err := x509.ParseCertificate(chain[0])
		if err != nil {
			return fmt.Errorf("client: server certificate: %w", err)
		}
		_, err = leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: pool, Intermediates: between(chain)})
		return err
	}
}

// between are the certificates behind the first of a chain; what is none is passed
// over, for nothing can be signed with it.
func between(chain [][]byte) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, der := range chain[1:] {
		if cert, err := x509.ParseCertificate(der); err == nil {
			pool.AddCert(cert)
		}
	}
	return pool
}

// raw is a chain in DER.
func raw(certs []*x509.Certificate) (chain [][]byte) {
	for _, c := range certs {
		chain = append(chain, c.Raw)
	}
	return chain
}

// DialLink connects TCP and TLS and checks the server's certificate. Nothing
// of the Mumble protocol has been sent when it returns. A server that closes the
// connection meanwhile is ErrHungUp.
func DialLink(ctx context.Context, now time.Time, cfg LinkConfig) (*Link, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	if cfg.CheckServer == nil && cfg.CheckChain == nil {
		return nil, errors.New("client: neither CheckServer nor CheckChain is set")
	}
	l := &Link{datagrams: make(chan *Datagram, maxDatagrams), lastFrame: now, nextPing: now.Add(tcpPingEvery), nextLook: now.Add(tcpPingEvery)}
	dial := cfg.Dial
	if dial == nil {
		dial = func(ctx context.Context, _, address string) (net.Conn, error) {
			return cfg.Net.dial(ctx, address, cfg.SRV)
		}
	}
	tcp, err := dial(ctx, "tcp", cfg.Address)
	if err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(cfg.Address)
	conf := &tls.Config{
		ServerName: host,
		MinVersion: tls.VersionTLS12, // Murmur 1.3 on OpenSSL 1.1 and up speaks it
		// Chain and name are not what a Mumble server is known by; the
		// connection stands or falls with what the caller checks.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return errors.New("client: the server shows no certificate")
			}
			l.serverDER = cs.PeerCertificates[0].Raw
			l.server = sha256.Sum256(l.serverDER)
			if cfg.CheckChain != nil {
				if err := cfg.CheckChain(raw(cs.PeerCertificates)); err != nil {
					return err
				}
			}
			if cfg.CheckServer != nil {
				return cfg.CheckServer(l.serverDER)
			}
			return nil
		},
	}
	if cfg.Certificate != nil {
		// Whatever authorities the server lists: Mumble's are self-signed.
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return cfg.Certificate, nil
		}
	}
	tc := tls.Client(tcp, conf)
	if err := tc.HandshakeContext(ctx); err != nil {
		tcp.Close()
		return nil, hungUp(err)
	}
	if a, ok := tcp.RemoteAddr().(*net.TCPAddr); ok && cfg.Net.Proxy == nil {
		l.remote, l.by = a.AddrPort(), &cfg.Net
		l.moved() // notes where the way leads from
	}
	if !cfg.NoUDP && l.remote.IsValid() {
		if err := l.openUDP(&cfg.Net); err != nil {
			tc.Close()
			return nil, err
		}
	}
	l.conn = NewConn(tc)
	return l, nil
}

// openUDP talks to the very address that TCP chose.
func (l *Link) openUDP(n *Net) error {
	c, err := n.dialUDP(l.remote)
	if err != nil {
		return fmt.Errorf("client: UDP socket: %w", err)
	}
	l.udp = c
	l.udpWG.Add(1)
	go l.readUDP()
	return nil
}
