package client

import (
	"crypto/tls"
	"net"
	"time"
)

// Probe asks whether the server can still be reached, for the owner has reason to
// doubt it: the computer was asleep. Voice does not go by UDP
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
