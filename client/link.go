package client

import (
	"errors"
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
)

// Times of the server leg.
const (
	tcpPingEvery  = 5 * time.Second  // as the stock client
	serverSilence = 30 * time.Second // nothing on TCP for so long: the server is gone
	resyncAfter   = 5 * time.Second  // nothing decrypts for so long: ask for the nonce
	pingsLost     = 2                // TCP pings that nothing follows: is the way still there?
	probeWait     = 3 * time.Second  // for the answer to that question
	doubtAgain    = time.Second      // the server's system says that it is: ask it again
	helloTimeout  = 10 * time.Second // TCP connect and TLS handshake
	udpBuffer     = 1 << 20          // socket buffer that we ask for; bytes
	maxDatagrams  = 256              // datagrams read but not yet handled
)

// Errors of the server leg.
var (
	ErrTimeout     = errors.New("client: the server has fallen silent")
	ErrUnreachable = errors.New("client: the way to the server is gone")
	ErrNoVoice     = errors.New("client: no voice path yet")
)

// Link is the server leg of one connection. All methods must be called from
// one goroutine, the owner, which takes from Frames and Datagrams and hands
// each to Receive. Close may be called once, by the owner.
//
// It answers by itself what concerns only this leg: Ping, CryptSetup, the
// choice between UDP and tunnel. Everything else is returned to the owner.
type Link struct {
	conn      *Conn
	remote    netip.AddrPort // of the server; invalid through a proxy or a pipe
	by        *Net
	nextLook  time.Time    // when to look again from where the way leads
	sources   []netip.Addr // own addresses from which the way led, and was not lost
	udp       net.Conn
	udpWG     sync.WaitGroup
	datagrams chan *Datagram
	overrun   atomic.Uint64 // datagrams lost because the owner was busy

	server    [32]byte // SHA-256 of the server's DER certificate
	serverDER []byte

	serverVersion control.Version
	ourVersion    control.Version
	format        voice.Format

	crypt     crypt.CryptState
	keys      map[string]bool // that were used on this leg
	barred    bool            // no UDP any more: see cryptSetup
	path      path
	lastGood  time.Time // when a datagram last decrypted
	lastAsk   time.Time // when we last asked for a resync
	lastFrame time.Time
	unheard   time.Time // when the oldest TCP ping was sent that no frame has followed; zero: none
	doubtAt   time.Time // when that becomes doubtful
	probing   time.Time // until when a probe must be answered; zero: none is out
	probe     uint64    // the first ping of that probe
	doubted   bool      // it is out because pings stay away, not because somebody asked for it
	nextPing  time.Time
	pings     [8]sentPing
	pingSeq   uint64
	reported  crypt.Stats // what the server says that it received
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

// Remote is the address that TCP chose, and where UDP goes; invalid through a proxy.
func (l *Link) Remote() netip.AddrPort { return l.remote }

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
	// Barred says, once, that UDP is given up for good: the server named a key a
	// second time, or more keys than any server does.
	Barred bool
	Pong   uint64 // the answer to Ping or PingUDP with this number
}

// ReceiveFrame takes one control frame.
func (l *Link) ReceiveFrame(now time.Time, f control.Frame) (Incoming, error) {
	l.lastFrame, l.unheard = now, time.Time{}
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
		was := l.barred
		keyed := l.cryptSetup(now, m.(*mumblepb.CryptSetup))
		return Incoming{Keyed: keyed, Barred: l.barred && !was}, nil
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

// maxKeys is how many UDP keys a server may give on one connection. Murmur gives
// one at login.
const maxKeys = 64

// cryptSetup takes in keys and nonces. A key is used once: with a nonce that the
// server sets back, OCB2 would encrypt twice under the same key and nonce, and what
// it protects could be read and forged by others on the way. Such a server gets
// voice through the TCP tunnel, which has keys of its own.
func (l *Link) cryptSetup(now time.Time, m *mumblepb.CryptSetup) (keyed bool) {
	switch {
	case l.barred:
	case len(m.GetKey()) > 0:
		if l.keys[string(m.GetKey())] || len(l.keys) >= maxKeys {
			l.barred = true
			if l.path.up {
				l.path.up = false
				l.turn(false)
			}
			return false
		}
		if err := l.crypt.SetKey(m.GetKey(), m.GetClientNonce(), m.GetServerNonce()); err != nil {
			l.malformed++
			return false
		}
		if l.keys == nil {
			l.keys = map[string]bool{}
		}
		l.keys[string(m.GetKey())] = true
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

// Tick does what is due. It returns ErrTimeout when the server is gone, and
// ErrUnreachable when the way to it is.
func (l *Link) Tick(now time.Time) error {
	switch {
	case now.Sub(l.lastFrame) >= serverSilence:
		return ErrTimeout
	case l.probing.IsZero():
		if !l.unheard.IsZero() && !now.Before(l.doubtAt) {
			l.doubtAt = now.Add(doubtAgain)
			if !l.confirmed() {
				l.doubted = true
				l.ask(now)
			}
		}
	case now.Before(l.probing):
	case l.doubted && l.confirmed(): // something was on its way a moment ago
		l.probing = time.Time{}
	default:
		return ErrUnreachable
	}
	if !now.Before(l.nextPing) {
		l.Ping(now)
	}
	if !now.Before(l.nextLook) {
		l.nextLook = now.Add(tcpPingEvery)
		if l.moved() {
			l.doubted = false
			l.ask(now)
		}
	}
	if l.udp != nil && l.crypt.Valid() && !l.barred {
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
	d = earlier(d, l.nextLook)
	switch {
	case !l.probing.IsZero():
		d = earlier(d, l.probing)
	case !l.unheard.IsZero():
		d = earlier(d, l.doubtAt)
	}
	if l.udp != nil && l.crypt.Valid() && !l.barred {
		if u := l.path.deadline(); u.Before(d) {
			d = u
		}
	}
	return d
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
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
	return Stats{l.crypt.Stats(), l.reported, l.tcpRTT.avg(), l.udpRTT.avg(), l.malformed, l.overrun.Load()}
}
