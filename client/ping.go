package client

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/crypt"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
	"github.com/sotto-voip/sotto/opus"
)

type sentPing struct {
	id  uint64
	at  time.Time
	udp bool
}

// Ping sends a TCP ping now and returns its number, which comes back in
// Incoming.Pong.
func (l *Link) Ping(now time.Time) uint64 {
	s := l.crypt.Stats()
	l.pingSeq++
	l.note(sentPing{l.pingSeq, now, false})
	l.nextPing = now.Add(tcpPingEvery)
	if l.unheard.IsZero() {
		l.unheard, l.doubtAt = now, now.Add(pingsLost*tcpPingEvery)
	}
	l.conn.SendMessage(&mumblepb.Ping{
		Timestamp: proto.Uint64(l.pingSeq),
		Good:      proto.Uint32(s.Good), Late: proto.Uint32(s.Late),
		Lost: proto.Uint32(s.Lost), Resync: proto.Uint32(s.Resync),
		UdpPackets: proto.Uint32(l.udpRTT.n), TcpPackets: proto.Uint32(l.tcpRTT.n),
		UdpPingAvg: proto.Float32(l.udpRTT.avg()), UdpPingVar: proto.Float32(l.udpRTT.variance()),
		TcpPingAvg: proto.Float32(l.tcpRTT.avg()), TcpPingVar: proto.Float32(l.tcpRTT.variance()),
	})
	return l.pingSeq
}

// PingUDP sends a UDP ping now and returns its number; false while there is
// no UDP at all.
func (l *Link) PingUDP(now time.Time) (uint64, bool) {
	if l.udp == nil || !l.crypt.Valid() || l.barred {
		return 0, false
	}
	l.pingSeq++
	b := voice.AppendPing(l.scratch[:0], l.format, &voice.Ping{Timestamp: l.pingSeq})
	l.scratch = b
	l.note(sentPing{l.pingSeq, now, true})
	l.path.pinged(now)
	l.sendPlain(b, true)
	return l.pingSeq, true
}

func (l *Link) note(p sentPing) {
	copy(l.pings[1:], l.pings[:])
	l.pings[0] = p
}

func (l *Link) sent(id uint64, udp bool) (sentPing, bool) {
	for _, p := range l.pings {
		if p.id == id && p.id != 0 && p.udp == udp {
			return p, true
		}
	}
	return sentPing{}, false
}

func (l *Link) pong(now time.Time, m *mumblepb.Ping) Incoming {
	p, ok := l.sent(m.GetTimestamp(), false)
	if !ok {
		return Incoming{}
	}
	l.tcpRTT.add(now.Sub(p.at))
	l.answered(p.id)
	l.reported = crypt.Stats{Good: m.GetGood(), Late: m.GetLate(), Lost: m.GetLost(), Resync: m.GetResync()}
	return Incoming{Pong: p.id}
}

func (l *Link) pongUDP(now time.Time, id uint64) Incoming {
	p, ok := l.sent(id, true)
	if !ok {
		return Incoming{}
	}
	l.udpRTT.add(now.Sub(p.at))
	l.answered(p.id)
	if !l.barred && l.path.echoed(now) {
		l.turn(true)
	}
	return Incoming{Pong: p.id}
}

// turn makes the server send its voice the same way as we do: Murmur follows
// the way of the last voice packet, not of pings. The packet goes to a whisper
// target that is not registered, so nobody hears it, and is silence besides.
func (l *Link) turn(udp bool) {
	silence, err := opus.AppendCover(nil, 20*time.Millisecond, nil)
	if err != nil {
		return
	}
	p := voice.Packet{Codec: voice.Opus, Target: turnTarget, Data: silence, Terminator: true}
	if b, err := voice.Append(nil, l.format, voice.ToServer, &p); err == nil {
		l.sendPlain(b, udp)
	}
}

const turnTarget = 30 // stock clients register 1..5 only
