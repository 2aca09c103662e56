package client

import (
	"crypto/tls"
	"net"
	"slices"
	"time"
)

// Probe asks whether the server can still be reached, for the owner has reason to
// doubt it: the computer was asleep. Tick asks by itself when the
// network has changed or pings stay away. Voice does not go by UDP
// until that has shown that it works. Without an answer in three seconds Tick
// returns ErrUnreachable.
func (l *Link) Probe(now time.Time) {
	l.doubted = false
	l.lastFrame = now // what it says about the time before the question counts no more
	l.ask(now)
}

func (l *Link) ask(now time.Time) {
	l.probing = now.Add(probeWait)
	if l.path.suspect(now) {
		l.turn(false)
	}
	l.probe = l.Ping(now)
	l.PingUDP(now)
}

// maxSources bounds the own addresses that are remembered: one with several ways out
// may use them in turn.
const maxSources = 8

// moved reports whether packets to the server leave from another address than ever
// before on this connection, as after a change of the network: then what was connected
// from the old one is probably lost.
func (l *Link) moved() bool {
	if !l.remote.IsValid() {
		return false // the way is the proxy's
	}
	from, ok := l.by.source(l.remote)
	if !ok || slices.Contains(l.sources, from) || len(l.sources) >= maxSources {
		return false
	}
	l.sources = append(l.sources, from)
	return len(l.sources) > 1
}

// Probing reports whether a probe is not answered yet.
func (l *Link) Probing() bool { return !l.probing.IsZero() }

// answered takes the answer to a ping. One to a ping of before the probe can have
// lain in a buffer.
func (l *Link) answered(id uint64) {
	if !l.probing.IsZero() && id >= l.probe {
		l.probing = time.Time{}
	}
}

// confirmed reports whether the server's system has confirmed all that was sent to
// it, where our own system tells. Then the way is there and the server slow, or
// stopped: it gets the time of serverSilence. Else this computer may have moved to
// another network, in which no answer ever comes.
func (l *Link) confirmed() bool {
	c := l.conn.net
	if over, ok := c.(*tls.Conn); ok {
		c = over.NetConn()
	}
	if over, ok := c.(proxied); ok {
		c = over.Conn
	}
	n, known := unconfirmed(c)
	return known && n == 0
}

// unconfirmed is how many bytes on c the other end's system has not acknowledged.
func unconfirmed(c net.Conn) (n int, known bool) {
	if told, ok := c.(interface{ Unconfirmed() (int, bool) }); ok {
		return told.Unconfirmed()
	}
	return sendQueue(c)
}
