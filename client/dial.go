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
	// anything is sent. It must be set: a Mumble server's certificate is rarely
	// signed by a known CA, so the caller pins it (keystore) or uses SystemRoots.
	CheckServer func(der []byte) error
	// NoUDP keeps voice in the TCP tunnel.
	NoUDP bool
	// Dial makes the TCP connection; nil: directly. Over anything but TCP, such
	// as a proxy that hides the server's address, voice stays in the tunnel.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// SystemRoots returns a CheckServer that accepts a certificate which the
// operating system trusts for host.
func SystemRoots(host string) func(der []byte) error {
	return func(der []byte) error {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("client: server certificate: %w", err)
		}
		_, err = cert.Verify(x509.VerifyOptions{DNSName: host})
		return err
	}
}

// DialLink connects TCP and TLS and checks the server's certificate. Nothing
// of the Mumble protocol has been sent when it returns. A server that closes the
// connection meanwhile is ErrHungUp.
func DialLink(ctx context.Context, now time.Time, cfg LinkConfig) (*Link, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	if cfg.CheckServer == nil {
		return nil, errors.New("client: LinkConfig.CheckServer is not set")
	}
	l := &Link{datagrams: make(chan *Datagram, maxDatagrams), lastFrame: now, nextPing: now.Add(tcpPingEvery)}
	dial := cfg.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
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
		// connection stands or falls with CheckServer.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return errors.New("client: the server shows no certificate")
			}
			l.serverDER = cs.PeerCertificates[0].Raw
			l.server = sha256.Sum256(l.serverDER)
			return cfg.CheckServer(l.serverDER)
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
	if !cfg.NoUDP {
		if err := l.openUDP(tcp.RemoteAddr()); err != nil {
			tc.Close()
			return nil, err
		}
	}
	l.conn = NewConn(tc)
	return l, nil
}

// openUDP talks to the very address that TCP chose.
func (l *Link) openUDP(remote net.Addr) error {
	a, ok := remote.(*net.TCPAddr)
	if !ok {
		return nil // a proxy or a pipe: tunnel only
	}
	c, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: a.IP, Port: a.Port, Zone: a.Zone})
	if err != nil {
		return fmt.Errorf("client: UDP socket: %w", err)
	}
	c.SetReadBuffer(udpBuffer) // best effort: the system may allow less
	c.SetWriteBuffer(udpBuffer)
	l.udp = c
	l.udpWG.Add(1)
	go l.readUDP()
	return nil
}
