package simnet

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// relay passes m of u on to the sessions in to, once each. All receivers that
// get it see it in the same place of one order, the order of these calls.
func (s *Server) relay(u *user, m proto.Message, to []uint32) {
	to = slices.Clone(to)
	slices.Sort(to)
	to = slices.DeleteFunc(slices.Compact(to), func(n uint32) bool { return s.user(n) == nil })
	s.counters.Relayed++
	s.serial++
	s.record(Recorded{From: u.session, Message: m, To: to})
	if name := s.nameOf(u.session); name != u.session {
		m = as(m, name)
	}
	cut := s.partial(len(to))
	now, later := to, [maxWorlds][]uint32{}
	if s.worlds != nil {
		now, later = s.worlds.split(u.session, to)
	}
	s.copyTo(u.session, s.serial, m, now, to, cut)
	for _, list := range later {
		if len(list) > 0 {
			serial := s.serial
			s.clock.After(s.worlds.hold(s.evil), func() { s.copyTo(u.session, serial, m, list, to, cut) })
		}
	}
	s.replaySome(to)
}

// copyTo delivers m to those of all that are in list and not cut off.
func (s *Server) copyTo(from uint32, serial uint64, m proto.Message, list, all []uint32, cut []bool) {
	for _, session := range list {
		if i, ok := slices.BinarySearch(all, session); cut != nil && ok && cut[i] {
			continue
		}
		if v := s.user(session); v != nil {
			s.deliver(&Delivery{To: session, From: from, Serial: serial, Message: m, user: v}, true)
		}
	}
}

// deliver asks the adversary about d and sends what is left of it.
func (s *Server) deliver(d *Delivery, relayed bool) {
	for _, h := range s.hooks {
		if h(d); d.Drop {
			break
		}
	}
	if relayed && !d.Drop {
		s.disturb(d)
	}
	if d.Drop {
		if s.log != nil {
			s.log.line("server", "withholds %d from %d", d.Serial, d.To)
		}
		return
	}
	s.post(d)
	for _, after := range d.Again {
		again := *d
		again.Again = nil
		s.clock.After(after, func() {
			if d.user.up {
				s.post(&again)
			}
		})
	}
}

// post puts d on the wire.
func (s *Server) post(d *Delivery) {
	c := d.user.conn
	if d.Voice != nil {
		s.counters.Heard++
		if !c.net.Tunnel {
			if s.chance(c.net.VoiceLoss) {
				return
			}
			at := s.clock.Now().Add(s.spread(c.net.VoiceDelay, c.net.VoiceJitter) + d.Delay)
			s.clock.At(at, func() { c.peer.hear(c, d.Voice) })
			return
		}
	} else {
		s.counters.Copies++
		switch m := d.Message.(type) {
		case *mumblepb.UserState:
			d.user.told[m.GetSession()] = true
		case *mumblepb.UserRemove:
			delete(d.user.told, m.GetSession())
		}
	}
	at := s.arrival(c)
	if d.Overtaken {
		at = at.Add(d.Delay)
	} else {
		at = at.Add(d.Delay)
		c.lastDown = at
	}
	s.clock.At(at, func() {
		if d.Voice != nil {
			c.peer.hear(c, d.Voice)
		} else {
			c.peer.take(c, d.Message)
		}
	})
}

// sendRaw sends a message to somebody who is no user.
func (s *Server) sendRaw(c *conn, m proto.Message) {
	c.lastDown = s.arrival(c)
	s.clock.At(c.lastDown, func() { c.peer.take(c, m) })
}

// arrival is when a byte sent to c now arrives: not before what was sent earlier.
func (s *Server) arrival(c *conn) time.Time {
	return later(s.clock.Now().Add(s.segment(&c.net)), c.lastDown)
}

// segment is how long a control message is under way.
func (s *Server) segment(n *Network) time.Duration {
	d := s.spread(n.Delay, n.Jitter)
	for range 8 { // TCP gives up some day; the model does not
		if !s.chance(n.Loss) {
			break
		}
		if n.Retransmit > 0 {
			d += n.Retransmit
		} else {
			d += 200 * time.Millisecond
		}
	}
	return d
}

func (s *Server) spread(d, jitter time.Duration) time.Duration {
	if jitter > 0 {
		d += time.Duration(s.net.Int64N(int64(2*jitter+1))) - jitter
	}
	return max(0, d)
}

func (s *Server) chance(p float64) bool { return p > 0 && s.net.Float64() < p }

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
