package client

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Datagram is one received UDP datagram on its way to the owner, who gives it
// back with Free.
type Datagram struct {
	B    []byte
	From netip.AddrPort // only for unconnected sockets
	Sock PacketConn     // likewise
	full [maxDatagram]byte
}

// PacketConn is a UDP socket that is not connected, as *net.UDPConn is.
type PacketConn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	Close() error
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
