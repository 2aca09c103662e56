package client

import "time"

// The times of the UDP path. Murmur forgets nothing by itself; a NAT or a
// firewall does, and the stock client only notices after 20 s.
const (
	udpPingEvery  = 2 * time.Second  // while UDP carries voice
	udpProbeEvery = 10 * time.Second // while the tunnel does
	udpLostAfter  = 5 * time.Second  // an oldest unanswered ping this old means: UDP is dead
	udpBackAfter  = 2                // echoes that bring it back
	udpHastyPings = 4                // the first pings follow quickly, so that
	udpHastyEvery = 250 * time.Millisecond
)

// path measures whether UDP works, from nothing but its own pings. It has no
// clock and no socket.
//
//	        2 echoes                  ping unanswered for 5 s
//	tunnel ----------> UDP    UDP ---------------------------> tunnel
//	(the very first time one echo is enough)
type path struct {
	up      bool
	ever    bool // UDP has worked on this connection
	echoes  int  // in a row, while down
	sent    int
	next    time.Time // when to ping again
	waiting time.Time // when the oldest unanswered ping was sent; zero: none
}

// due reports whether a ping should go out now.
func (p *path) due(now time.Time) bool { return !now.Before(p.next) }

// pinged notes that a ping went out.
func (p *path) pinged(now time.Time) {
	p.sent++
	if p.waiting.IsZero() {
		p.waiting = now
	}
	switch {
	case p.sent < udpHastyPings:
		p.next = now.Add(udpHastyEvery)
	case p.up || p.echoes > 0:
		p.next = now.Add(udpPingEvery)
	default:
		p.next = now.Add(udpProbeEvery)
	}
}

// echoed notes that a ping came back and reports whether that turned UDP on.
func (p *path) echoed(now time.Time) bool {
	p.waiting = time.Time{}
	if p.up {
		return false
	}
	p.echoes++
	if p.ever && p.echoes < udpBackAfter {
		p.next = now // ask again at once
		return false
	}
	p.up, p.ever, p.echoes = true, true, 0
	return true
}

// check reports whether UDP has just been given up.
func (p *path) check(now time.Time) bool {
	if p.waiting.IsZero() || now.Sub(p.waiting) < udpLostAfter {
		return false
	}
	p.waiting, p.echoes = time.Time{}, 0
	if !p.up {
		return false
	}
	p.up = false
	return true
}

// suspect gives UDP up until it has shown that it still works, and reports whether
// it was in use.
func (p *path) suspect(now time.Time) bool {
	was := p.up
	p.up, p.echoes, p.waiting, p.next = false, 0, time.Time{}, now
	return was
}

// deadline is when due or check may change their answer.
func (p *path) deadline() time.Time {
	if p.waiting.IsZero() {
		return p.next
	}
	if lost := p.waiting.Add(udpLostAfter); lost.Before(p.next) {
		return lost
	}
	return p.next
}
