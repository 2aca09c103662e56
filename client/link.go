package client

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/crypt"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
	"github.com/sotto-voip/sotto/opus"
)

// Times of the server leg.
const (
	tcpPingEvery  = 5 * time.Second  // as the stock client
	serverSilence = 30 * time.Second // nothing on TCP for so long: the server is gone
	resyncAfter   = 5 * time.Second  // nothing decrypts for so long: ask for the nonce
	helloTimeout  = 10 * time.Second // TCP connect and TLS handshake
	udpBuffer     = 1 << 20          // socket buffer that we ask for; bytes
	maxDatagrams  = 256              // datagrams read but not yet handled
)

// Errors of the server leg.
var (
	ErrTimeout = errors.New("client: the server has fallen silent")
	ErrNoVoice = errors.New("client: no voice path yet")
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

// Link is the server leg of one connection. All methods must be called from
// one goroutine, the owner, which takes from Frames and Datagrams and hands
// each to Receive. Close may be called once, by the owner.
//
// It answers by itself what concerns only this leg: Ping, CryptSetup, the
// choice between UDP and tunnel. Everything else is returned to the owner.
type Link struct {
	conn      *Conn
	udp       *net.UDPConn
	udpWG     sync.WaitGroup
	datagrams chan *Datagram
	overrun   atomic.Uint64 // datagrams lost because the owner was busy

	server    [32]byte // SHA-256 of the server's DER certificate
	serverDER []byte

	serverVersion control.Version
	ourVersion    control.Version
	format        voice.Format

	crypt     crypt.CryptState
	path      path
	lastGood  time.Time // when a datagram last decrypted
	lastAsk   time.Time // when we last asked for a resync
	lastFrame time.Time
	nextPing  time.Time
	pings     [8]sentPing
	pingSeq   uint64
	remote    crypt.Stats
	tcpRTT    rtt
	udpRTT    rtt
	udpCount  uint32
	tcpCount  uint32
	malformed uint64

	scratch []byte       // plaintext to send
	sealed  []byte       // the same, encrypted
	plain   []byte       // plaintext received
	packet  voice.Packet // aliases plain
}

type sentPing struct {
	id  uint64
	at  time.Time
	udp bool
}

// Datagram is one received UDP datagram on its way to the owner, who gives it
// back with Free.
type Datagram struct {
	B    []byte
	From netip.AddrPort // only for unconnected sockets
	Sock *net.UDPConn   // likewise
	full [maxDatagram]byte
}

const maxDatagram = 2048

var datagramPool = sync.Pool{New: func() any { return new(Datagram) }}

// NewDatagram takes an empty one from the pool; Buffer is where to read into.
func NewDatagram() *Datagram { return datagramPool.Get().(*Datagram) }

// Buffer is the room for one datagram.
func (d *Datagram) Buffer() []byte { return d.full[:] }

// Free gives d back.
func (d *Datagram) Free() {
	d.B, d.From, d.Sock = nil, netip.AddrPort{}, nil
	datagramPool.Put(d)
}

// DialLink connects TCP and TLS and checks the server's certificate. Nothing
// of the Mumble protocol has been sent when it returns.
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
		return nil, err
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

func (l *Link) readUDP() {
	defer l.udpWG.Done()
	defer close(l.datagrams)
	for {
		d := NewDatagram()
		n, err := l.udp.Read(d.full[:])
		if err != nil {
			d.Free()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// ECONNREFUSED and the like: the server is restarting. TCP will
			// tell; until then do not spin.
			time.Sleep(10 * time.Millisecond)
			continue
		}
		d.B = d.full[:n]
		select {
		case l.datagrams <- d:
		default:
			l.overrun.Add(1)
			d.Free()
		}
	}
}

// Close ends the leg after grace for what is queued, and waits until its
// goroutines have ended.
func (l *Link) Close(grace time.Duration) {
	l.conn.Close(grace)
	if l.udp != nil {
		l.udp.Close()
		for d := range l.datagrams {
			d.Free()
		}
		l.udpWG.Wait()
	}
}

// Frames delivers control frames; closed when the connection has ended (Err).
func (l *Link) Frames() <-chan control.Frame { return l.conn.Frames() }

// Datagrams delivers UDP datagrams.
func (l *Link) Datagrams() <-chan *Datagram { return l.datagrams }

// Err is why the connection ended.
func (l *Link) Err() error { return l.conn.Err() }

// Server is SHA-256 of the server's certificate, ServerDER the certificate.
func (l *Link) Server() [32]byte  { return l.server }
func (l *Link) ServerDER() []byte { return l.serverDER }

// ServerVersion is what the server announced, zero before.
func (l *Link) ServerVersion() control.Version { return l.serverVersion }

// Format is the voice form of this leg. It is protobuf if both ends announced
// 1.5 or later.
func (l *Link) Format() voice.Format { return l.format }

// OverUDP reports whether voice goes over UDP now.
func (l *Link) OverUDP() bool { return l.path.up }

// Authenticated raises the bounds once the server has let us in.
func (l *Link) Authenticated() { l.conn.Authenticated() }

// Send queues a control frame; see Conn.Send.
func (l *Link) Send(t control.Type, body []byte) bool { return l.conn.Send(t, body) }

// SendMessage queues a control message. A Version also fixes the voice form.
func (l *Link) SendMessage(m proto.Message) bool {
	if v, ok := m.(*mumblepb.Version); ok {
		l.ourVersion = control.VersionOf(v)
		l.setFormat()
	}
	return l.conn.SendMessage(m)
}

func (l *Link) setFormat() {
	l.format = voice.FormatFor(uint64(l.ourVersion), uint64(l.serverVersion))
	// A 1.5 server takes an encrypted datagram that begins with byte 1 for a
	// ping in the protobuf form and then misreads the legacy packet.
	l.crypt.SkipLegacyPing(l.format == voice.Legacy)
}

// Incoming is what Receive leaves to the owner: one of its fields is set, or none.
type Incoming struct {
	Frame *control.Frame // to be treated by the owner
	Voice *voice.Packet  // valid until the next call on the Link
	UDP   bool           // the voice came by UDP
	Keyed bool           // CryptSetup with a new key was taken in
	Pong  uint64         // the answer to Ping or PingUDP with this number
}

// ReceiveFrame takes one control frame.
func (l *Link) ReceiveFrame(now time.Time, f control.Frame) (Incoming, error) {
	l.lastFrame = now
	switch f.Type {
	case control.TypePing:
		m, err := control.Decode(f)
		if err != nil {
			l.malformed++
			return Incoming{}, nil
		}
		return l.pong(now, m.(*mumblepb.Ping)), nil
	case control.TypeCryptSetup:
		m, err := control.Decode(f)
		if err != nil {
			l.malformed++
			return Incoming{}, nil
		}
		return Incoming{Keyed: l.cryptSetup(now, m.(*mumblepb.CryptSetup))}, nil
	case control.TypeUDPTunnel:
		l.tcpCount++
		return l.voice(f.Body, false), nil
	case control.TypeVersion:
		m, err := control.Decode(f)
		if err != nil {
			l.malformed++
			return Incoming{}, nil
		}
		l.serverVersion = control.VersionOf(m.(*mumblepb.Version))
		l.setFormat()
	}
	return Incoming{Frame: &f}, nil
}

// ReceiveDatagram takes one UDP datagram; it may be freed afterwards.
func (l *Link) ReceiveDatagram(now time.Time, b []byte) Incoming {
	if !l.crypt.Valid() {
		return Incoming{}
	}
	plain, err := l.crypt.Open(l.plain[:0], b)
	if err != nil {
		if errors.Is(err, crypt.ErrTag) {
			l.askResync(now)
		}
		return Incoming{}
	}
	l.plain = plain
	l.lastGood = now
	l.udpCount++
	if voice.IsPing(plain, l.format) {
		var p voice.Ping
		if voice.ParsePing(plain, l.format, &p) != nil {
			l.malformed++
			return Incoming{}
		}
		return l.pongUDP(now, p.Timestamp)
	}
	return l.voice(plain, true)
}

func (l *Link) voice(b []byte, udp bool) Incoming {
	if err := voice.Parse(b, l.format, voice.ToClient, &l.packet); err != nil {
		l.malformed++
		return Incoming{}
	}
	return Incoming{Voice: &l.packet, UDP: udp}
}

// SendVoice sends one packet over UDP or, while that does not work, the tunnel.
func (l *Link) SendVoice(p *voice.Packet) error {
	b, err := voice.Append(l.scratch[:0], l.format, voice.ToServer, p)
	if err != nil {
		return err
	}
	l.scratch = b
	return l.sendPlain(b, l.path.up)
}

func (l *Link) sendPlain(b []byte, udp bool) error {
	if !udp {
		l.conn.SendVoice(b)
		return nil
	}
	l.sealed = l.crypt.Seal(l.sealed[:0], b)
	l.udp.Write(l.sealed) // a full buffer loses the packet, as UDP may
	return nil
}

// Ping sends a TCP ping now and returns its number, which comes back in
// Incoming.Pong.
func (l *Link) Ping(now time.Time) uint64 {
	s := l.crypt.Stats()
	l.pingSeq++
	l.note(sentPing{l.pingSeq, now, false})
	l.nextPing = now.Add(tcpPingEvery)
	l.conn.SendMessage(&mumblepb.Ping{
		Timestamp: proto.Uint64(l.pingSeq),
		Good:      proto.Uint32(s.Good), Late: proto.Uint32(s.Late),
		Lost: proto.Uint32(s.Lost), Resync: proto.Uint32(s.Resync),
		UdpPackets: proto.Uint32(l.udpRTT.n), TcpPackets: proto.Uint32(l.tcpRTT.n),
		UdpPingAvg: proto.Float32(l.udpRTT.avg()), UdpPingVar: proto.Float32(l.udpRTT.variance()),
		TcpPingAvg: proto.Float32(l.tcpRTT.avg()), TcpPingVar: proto.Float32(l.tcpRTT.variance()),
	})
	return l.pingSeq
}

// PingUDP sends a UDP ping now and returns its number; false while there is
// no UDP at all.
func (l *Link) PingUDP(now time.Time) (uint64, bool) {
	if l.udp == nil || !l.crypt.Valid() {
		return 0, false
	}
	l.pingSeq++
	b := voice.AppendPing(l.scratch[:0], l.format, &voice.Ping{Timestamp: l.pingSeq})
	l.scratch = b
	l.note(sentPing{l.pingSeq, now, true})
	l.path.pinged(now)
	l.sendPlain(b, true)
	return l.pingSeq, true
}

func (l *Link) note(p sentPing) {
	copy(l.pings[1:], l.pings[:])
	l.pings[0] = p
}

func (l *Link) sent(id uint64, udp bool) (sentPing, bool) {
	for _, p := range l.pings {
		if p.id == id && p.id != 0 && p.udp == udp {
			return p, true
		}
	}
	return sentPing{}, false
}

func (l *Link) pong(now time.Time, m *mumblepb.Ping) Incoming {
	p, ok := l.sent(m.GetTimestamp(), false)
	if !ok {
		return Incoming{}
	}
	l.tcpRTT.add(now.Sub(p.at))
	l.remote = crypt.Stats{Good: m.GetGood(), Late: m.GetLate(), Lost: m.GetLost(), Resync: m.GetResync()}
	return Incoming{Pong: p.id}
}

func (l *Link) pongUDP(now time.Time, id uint64) Incoming {
	p, ok := l.sent(id, true)
	if !ok {
		return Incoming{}
	}
	l.udpRTT.add(now.Sub(p.at))
	if l.path.echoed(now) {
		l.turn(true)
	}
	return Incoming{Pong: p.id}
}

// turn makes the server send its voice the same way as we do: Murmur follows
// the way of the last voice packet, not of pings. The packet goes to a whisper
// target that is not registered, so nobody hears it, and is silence besides.
func (l *Link) turn(udp bool) {
	silence, err := opus.AppendCover(nil, 20*time.Millisecond, nil)
	if err != nil {
		return
	}
	p := voice.Packet{Codec: voice.Opus, Target: turnTarget, Data: silence, Terminator: true}
	if b, err := voice.Append(nil, l.format, voice.ToServer, &p); err == nil {
		l.sendPlain(b, udp)
	}
}

const turnTarget = 30 // stock clients register 1..5 only

func (l *Link) cryptSetup(now time.Time, m *mumblepb.CryptSetup) (keyed bool) {
	switch {
	case len(m.GetKey()) > 0:
		if err := l.crypt.SetKey(m.GetKey(), m.GetClientNonce(), m.GetServerNonce()); err != nil {
			l.malformed++
			return false
		}
		l.lastGood = now
		if l.udp != nil {
			l.path.next = now
			l.Tick(now)
		}
		return true
	case len(m.GetServerNonce()) > 0:
		if err := l.crypt.SetDecryptIV(m.GetServerNonce()); err != nil {
			l.malformed++
		}
	default: // the server cannot read us: it wants our nonce
		if l.crypt.Valid() {
			l.conn.SendMessage(&mumblepb.CryptSetup{ClientNonce: l.crypt.EncryptIV()})
		}
	}
	return false
}

func (l *Link) askResync(now time.Time) {
	if now.Sub(l.lastGood) < resyncAfter || now.Sub(l.lastAsk) < resyncAfter {
		return
	}
	l.lastAsk = now
	l.conn.SendMessage(&mumblepb.CryptSetup{})
}

// Tick does what is due. It returns ErrTimeout when the server is gone.
func (l *Link) Tick(now time.Time) error {
	if now.Sub(l.lastFrame) >= serverSilence {
		return ErrTimeout
	}
	if !now.Before(l.nextPing) {
		l.Ping(now)
	}
	if l.udp != nil && l.crypt.Valid() {
		if l.path.check(now) {
			l.turn(false)
		}
		if l.path.due(now) {
			l.PingUDP(now)
		}
	}
	return nil
}

// Deadline is when Tick must be called next.
func (l *Link) Deadline() time.Time {
	d := l.lastFrame.Add(serverSilence)
	if l.nextPing.Before(d) {
		d = l.nextPing
	}
	if l.udp != nil && l.crypt.Valid() {
		if u := l.path.deadline(); u.Before(d) {
			d = u
		}
	}
	return d
}

// Stats are the figures of this leg: what we received, what the server says it
// received, mean round trips in milliseconds, and what was dropped unread.
type Stats struct {
	Received, Remote crypt.Stats
	TCPPing, UDPPing float32
	Malformed        uint64
	Overrun          uint64
}

// Stats returns the figures now.
func (l *Link) Stats() Stats {
	return Stats{l.crypt.Stats(), l.remote, l.tcpRTT.avg(), l.udpRTT.avg(), l.malformed, l.overrun.Load()}
}
