package peers

import (
	"errors"
	"net"

	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// tapWay is the way of one client's datagrams through a Tap: a socket of its own
// towards the server, as the server tells clients apart by address.
type tapWay struct {
	client *net.UDPAddr
	up     *net.UDPConn
	conn   *tapConn // whose keys open it; nil until a datagram has opened
}

// maxWays bounds the clients' addresses a Tap keeps sockets for.
const maxWays = 256

func (p *Tap) readUDP() {
	buf := make([]byte, 4096)
	for {
		n, from, err := p.udp.ReadFromUDP(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an unreachable client shows up here
		}
		datagram := append([]byte(nil), buf[:n]...)
		p.mu.Lock()
		if w := p.way(from); w != nil {
			p.pass(w, voice.ToServer, datagram)
		}
		p.mu.Unlock()
	}
}

// way finds or makes the way of a client's address. p.mu is held.
func (p *Tap) way(from *net.UDPAddr) *tapWay {
	if w := p.ways[from.String()]; w != nil || p.closed || len(p.ways) >= maxWays {
		return w
	}
	to, err := net.ResolveUDPAddr("udp4", p.server.Addr())
	if err != nil {
		return nil
	}
	up, err := net.DialUDP("udp4", nil, to)
	if err != nil {
		return nil
	}
	w := &tapWay{client: from, up: up}
	p.ways[from.String()] = w
	p.work.Go(func() { p.readWay(w) })
	return w
}

// readWay carries the server's datagrams back.
func (p *Tap) readWay(w *tapWay) {
	buf := make([]byte, 4096)
	for {
		n, err := w.up.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // a stopped server refuses
		}
		datagram := append([]byte(nil), buf[:n]...)
		p.mu.Lock()
		p.pass(w, voice.ToClient, datagram)
		p.mu.Unlock()
	}
}

// pass writes a datagram down and sends it on. p.mu is held, so that what stands
// in the record has the order of the wire.
func (p *Tap) pass(w *tapWay, dir voice.Direction, datagram []byte) {
	p.open(w, dir, datagram)
	if p.dropUDP {
		return // on the wire it was, so it stands in the record
	}
	// A lost datagram is a lost datagram.
	if dir == voice.ToServer {
		_, _ = w.up.Write(datagram)
	} else {
		_, _ = p.udp.WriteToUDP(datagram, w.client)
	}
}

// open records the plaintext of a datagram. The first one from an address is
// tried with every connection's keys, as the server does it.
func (p *Tap) open(w *tapWay, dir voice.Direction, datagram []byte) {
	got := TapFrame{Conn: -1, Dir: dir, UDP: true, Datagram: datagram, Frame: control.Frame{Type: control.TypeUDPTunnel}}
	candidates := p.conns
	if w.conn != nil && !w.conn.gone {
		candidates = []*tapConn{w.conn}
	}
	for _, c := range candidates {
		// One that has ended, too: its last datagrams may come after its end.
		if !c.crypts[dir].Valid() {
			continue
		}
		if plain, err := c.crypts[dir].Open(nil, datagram); err == nil {
			w.conn = c
			got.Conn, got.Format, got.Frame.Body = c.id, c.format(), plain
			break
		}
	}
	if got.Conn < 0 && !bare(datagram) {
		p.blind++
	}
	p.record(got)
}

// bare reports whether a datagram is the unencrypted ping of a server list: 12
// bytes to the server, 24 back, or 0x01 and a protobuf. Nothing secret is in it.
func bare(b []byte) bool {
	return len(b) == 12 && b[0]|b[1]|b[2]|b[3] == 0 || len(b) == 24 && b[0] == 0 || len(b) > 1 && b[0] == 1 && b[1] == 8
}
