package guard

import "time"

// A stock client ends the session after four unanswered TCP pings and gives up
// UDP when no UDP ping comes back. Each of its pings sends one of ours
// upstream, and is answered when that returns, so that it measures the whole
// way; or at these times, so that a slow server does not look like a dead guard.
const (
	tcpPingWait = 3 * time.Second
	udpPingWait = time.Second
	maxPings    = 8 // waiting at the same time; the client sends one each 5 s
)

// ping is one ping of the client that waits for its upstream counterpart.
type ping struct {
	udp       bool
	timestamp uint64 // the client's, opaque
	bytes     []byte // of a UDP ping in the legacy form: some clients write no varint
	id        uint64 // of our own ping upstream
	until     time.Time
	done      bool
}

type pings []ping

// wait adds a ping; the oldest gives way and is answered at once.
func (p *pings) wait(one ping) {
	if len(*p) >= maxPings {
		(*p)[0].done = true
	}
	*p = append(*p, one)
}

func (p pings) echoed(id uint64) {
	for i := range p {
		if p[i].id == id {
			p[i].done = true
		}
	}
}

func (p pings) deadline() time.Time {
	var d time.Time
	for _, one := range p {
		if d.IsZero() || one.until.Before(d) {
			d = one.until
		}
	}
	return d
}

// answerPings answers what is done or has waited long enough.
func (s *session) answerPings(now time.Time) {
	kept := s.pings[:0]
	for _, p := range s.pings {
		switch {
		case !p.done && now.Before(p.until):
			kept = append(kept, p)
		case p.udp:
			s.down.pongUDP(p)
		default:
			s.down.pong(p.timestamp)
		}
	}
	s.pings = kept
}
