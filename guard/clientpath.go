package guard

import "time"

// Times of the client's UDP. A stock client pings by UDP with each TCP ping, every
// 5 s, and looks at the echoes only after 20 s: until then it speaks into the void
// where UDP does not reach us.
const (
	clientUDPLost = 12 * time.Second // no datagram for so long, which is two pings: by TCP
	clientUDPBack = 2                // datagrams that bring it back
	hintAfter     = 2 * time.Second  // after the first TCP ping without one by UDP
)

// clientPath is whether UDP works on the client's leg, as far as can be seen from
// what comes. It has no clock and no socket.
type clientPath struct {
	up    bool
	ever  bool      // UDP has worked on this connection
	last  time.Time // when a datagram last came
	seen  int       // since the loss
	asked time.Time // when the first TCP ping came; zero: none yet, or the hint is given
}

// came notes a datagram that decrypted.
func (p *clientPath) came(now time.Time) {
	p.last, p.asked = now, time.Time{}
	if p.up {
		return
	}
	p.seen++
	if !p.ever || p.seen >= clientUDPBack {
		p.up, p.ever, p.seen = true, true, 0
	}
}

// pinged notes a ping by TCP, with which one by UDP was due.
func (p *clientPath) pinged(now time.Time) {
	if p.asked.IsZero() && p.last.IsZero() {
		p.asked = now
	}
}

// check gives UDP up when it is silent.
func (p *clientPath) check(now time.Time) {
	if p.up && now.Sub(p.last) >= clientUDPLost {
		p.up, p.seen = false, 0
	}
}

// missing reports, once, that UDP never came though it should have.
func (p *clientPath) missing(now time.Time) bool {
	if p.asked.IsZero() || now.Sub(p.asked) < hintAfter {
		return false
	}
	p.asked, p.last = time.Time{}, now // once
	return true
}

// deadline is when check or missing may change their answer; zero: never.
func (p *clientPath) deadline() time.Time {
	switch {
	case p.up:
		return p.last.Add(clientUDPLost)
	case !p.asked.IsZero():
		return p.asked.Add(hintAfter)
	}
	return time.Time{}
}
