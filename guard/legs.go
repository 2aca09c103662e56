package guard

import (
	"slices"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// fromServer treats one control frame of the server.
func (s *session) fromServer(now time.Time, f control.Frame) error {
	in, err := s.up.ReceiveFrame(now, f)
	if err != nil {
		return err
	}
	switch {
	case in.Keyed:
		s.down.setup(now)
	case in.Barred:
		s.say(client.BarredLine)
	case in.Voice != nil:
		s.inbound(now, in.Voice)
	case in.Pong != 0:
		s.pings.echoed(in.Pong)
		s.answerPings(now)
		if in.Pong == s.fence {
			s.fence = 0
			s.end.Fenced(now)
			s.drain()
		}
	case in.Frame != nil:
		return s.controlDown(now, *in.Frame)
	}
	return nil
}

func (s *session) fromServerUDP(now time.Time, d *client.Datagram) {
	in := s.up.ReceiveDatagram(now, d.B)
	switch {
	case in.Voice != nil:
		s.inbound(now, in.Voice)
	case in.Pong != 0:
		s.pings.echoed(in.Pong)
		s.answerPings(now)
	}
}

// fromClient treats one control frame of the client.
func (s *session) fromClient(now time.Time, f control.Frame) {
	s.down.lastTCP = now
	switch f.Type {
	case control.TypeUDPTunnel:
		s.down.tunnel = true
		s.down.udp.asked = time.Time{} // it knows
		s.outbound(now, f.Body)
	case control.TypePing, control.TypeCryptSetup:
		m, err := control.Decode(f)
		if err != nil {
			s.tableStats.Malformed++
			return
		}
		switch m := m.(type) {
		case *mumblepb.Ping:
			if s.synced && s.down.crypt.Valid() && !s.down.tunnel && s.from.auth.GetClientType() == 0 {
				s.down.udp.pinged(now)
			}
			s.pings.wait(ping{timestamp: m.GetTimestamp(), id: s.up.Ping(now), until: now.Add(tcpPingWait)})
			s.answerPings(now)
		case *mumblepb.CryptSetup:
			s.down.cryptSetup(m)
		}
	default:
		s.controlUp(now, f)
	}
}

func (s *session) fromClientUDP(now time.Time, d *client.Datagram) {
	plain := s.down.open(now, d)
	if plain == nil {
		s.g.listPing(now, d)
		return
	}
	if !voice.IsPing(plain, s.down.format) {
		s.down.tunnel = false
		s.outbound(now, plain)
		return
	}
	one := ping{udp: true, until: now.Add(udpPingWait)}
	if s.down.format == voice.Legacy {
		one.bytes = slices.Clone(plain)
	} else {
		var p voice.Ping
		if voice.ParsePing(plain, s.down.format, &p) != nil {
			s.down.malformed++
			return
		}
		one.timestamp = p.Timestamp
	}
	var ok bool
	if one.id, ok = s.up.PingUDP(now); !ok {
		s.down.pongUDP(one)
		return
	}
	s.pings.wait(one)
	s.answerPings(now)
}
