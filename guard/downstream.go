package guard

import (
	"errors"
	"net/netip"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/crypt"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

const (
	clientSilence = 60 * time.Second // nothing on TCP: the client is gone (it pings every 5 s)
	resyncAfter   = 5 * time.Second
)

// downstream is the leg to the stock client, where guard plays the server.
type downstream struct {
	conn    *client.Conn
	version control.Version
	format  voice.Format

	crypt    crypt.CryptState
	sock     client.PacketConn // the socket that the client's datagrams reach
	addr     netip.AddrPort    // where they come from; invalid: no UDP yet
	tunnel   bool              // the client's last voice came through the tunnel
	lastTCP  time.Time
	lastGood time.Time // when a datagram last decrypted
	lastAsk  time.Time
	udp      clientPath

	malformed uint64
	scratch   []byte
	sealed    []byte
	plain     []byte
}

func newDownstream(a *arrival, now time.Time) *downstream {
	return &downstream{
		conn: a.conn, version: control.VersionOf(a.version), lastTCP: now, lastGood: now,
		scratch: make([]byte, 0, 2048), sealed: make([]byte, 0, 2048), plain: make([]byte, 0, 2048),
	}
}

// setServerVersion fixes the form of voice on this leg: both the client and
// the version that it is shown must be 1.5 or later for protobuf.
func (d *downstream) setServerVersion(v control.Version) {
	d.format = voice.FormatFor(uint64(d.version), uint64(v))
}

// setup gives the client a key of its own for this leg.
func (d *downstream) setup(now time.Time) {
	d.crypt.GenerateKey()
	d.lastGood = now
	d.conn.SendMessage(&mumblepb.CryptSetup{
		Key: d.crypt.Key(),
		// Names are the client's: it encrypts with client_nonce, we with server_nonce.
		ClientNonce: d.crypt.DecryptIV(), ServerNonce: d.crypt.EncryptIV(),
	})
}

// cryptSetup answers a resync of the client.
func (d *downstream) cryptSetup(m *mumblepb.CryptSetup) {
	if !d.crypt.Valid() {
		return
	}
	if nonce := m.GetClientNonce(); len(nonce) > 0 {
		if err := d.crypt.SetDecryptIV(nonce); err != nil {
			d.malformed++
		}
		return
	}
	d.conn.SendMessage(&mumblepb.CryptSetup{ServerNonce: d.crypt.EncryptIV()})
}

// open decrypts a datagram of the client, nil if it is none.
func (d *downstream) open(now time.Time, in *client.Datagram) []byte {
	if !d.crypt.Valid() {
		return nil
	}
	plain, err := d.crypt.Open(d.plain[:0], in.B)
	if err != nil {
		if in.From == d.addr && errors.Is(err, crypt.ErrTag) {
			d.askResync(now)
		}
		return nil
	}
	d.lastGood = now
	d.udp.came(now)
	d.sock, d.addr = in.Sock, in.From
	return plain
}

func (d *downstream) askResync(now time.Time) {
	if now.Sub(d.lastGood) < resyncAfter || now.Sub(d.lastAsk) < resyncAfter {
		return
	}
	d.lastAsk = now
	d.conn.SendMessage(&mumblepb.CryptSetup{})
}

// sendVoice goes the way of the client's own last voice, as Murmur does; not by UDP
// if no datagram comes from there any more.
func (d *downstream) sendVoice(p *voice.Packet) {
	b, err := voice.Append(d.scratch[:0], d.format, voice.ToClient, p)
	if err != nil {
		d.malformed++
		return
	}
	if d.tunnel || !d.udp.up {
		d.conn.SendVoice(b)
		return
	}
	d.sendUDP(b)
}

func (d *downstream) sendUDP(plain []byte) {
	if !d.addr.IsValid() || !d.crypt.Valid() {
		return
	}
	d.sock.WriteToUDPAddrPort(d.crypt.Seal(d.sealed[:0], plain), d.addr)
}

// pong answers the client's TCP ping with the figures of this leg.
func (d *downstream) pong(timestamp uint64) {
	s := d.crypt.Stats()
	d.conn.SendMessage(&mumblepb.Ping{
		Timestamp: proto.Uint64(timestamp),
		Good:      proto.Uint32(s.Good), Late: proto.Uint32(s.Late),
		Lost: proto.Uint32(s.Lost), Resync: proto.Uint32(s.Resync),
	})
}

// pongUDP answers the client's UDP ping, in the legacy form with its own bytes.
func (d *downstream) pongUDP(p ping) {
	if d.format == voice.Legacy {
		d.sendUDP(p.bytes)
		return
	}
	d.sendUDP(voice.AppendPing(d.scratch[:0], d.format, &voice.Ping{Timestamp: p.timestamp}))
}

// say shows one line in the client's log, as from the server but with our name.
func (d *downstream) say(text string) {
	d.conn.SendMessage(&mumblepb.TextMessage{Message: proto.String("Sotto: " + escape(text))})
}

// deny shows one line of refusal. The client adds the full stop.
func (d *downstream) deny(reason string) {
	t := mumblepb.PermissionDenied_Text
	d.conn.SendMessage(&mumblepb.PermissionDenied{Type: &t, Reason: proto.String("Sotto: " + reason)})
}
