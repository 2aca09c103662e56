package guard

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// The connect dialog of a stock client asks each server of its list, without
// encryption, who is there. Guard asks the real server and passes the answer
// on, so that its entry in the list shows people and the true latency.
const (
	listPingWait  = time.Second
	listPingEvery = 100 * time.Millisecond // at most 10 a second
	maxListPings  = 4                      // under way at the same time
)

// listPing answers d if it is such a question. It does not wait for the server. It
// asks where the last connection led; through a proxy, and before the first one,
// nobody is asked.
func (g *Guard) listPing(now time.Time, d *client.Datagram) {
	question, ok := readListPing(d.B)
	if !ok || !g.remote.IsValid() || now.Sub(g.lastListPing) < listPingEvery {
		return
	}
	select {
	case g.listPings <- struct{}{}:
	default:
		return
	}
	g.lastListPing = now
	sock, from, server := d.Sock, d.From, g.remote
	g.wg.Go(func() {
		defer func() { <-g.listPings }()
		if answer := askList(&g.cfg.Net, server, question); answer != nil {
			sock.WriteToUDPAddrPort(answer, from)
		}
	})
}

// listQuestion is a question in either form with the asker's own number.
type listQuestion struct {
	format voice.Format
	ident  uint64
}

func readListPing(b []byte) (listQuestion, bool) {
	if ident, err := voice.ParseListPing(b); err == nil {
		return listQuestion{voice.Legacy, ident}, true
	}
	var p voice.Ping
	if voice.IsPing(b, voice.Protobuf) && voice.ParsePing(b, voice.Protobuf, &p) == nil && p.RequestExtended {
		return listQuestion{voice.Protobuf, p.Timestamp}, true
	}
	return listQuestion{}, false
}

// askList puts the question to the server under a number of our own and
// returns the answer under the asker's, nil if there is none.
func askList(n *client.Net, server netip.AddrPort, q listQuestion) []byte {
	c, err := n.UDP(server)
	if err != nil {
		return nil
	}
	defer c.Close()
	ident := rand.Uint64() >> 1
	out := voice.AppendListPing(nil, ident)
	if q.format == voice.Protobuf {
		out = voice.AppendPing(nil, voice.Protobuf, &voice.Ping{Timestamp: ident, RequestExtended: true})
	}
	c.SetDeadline(time.Now().Add(listPingWait))
	if _, err := c.Write(out); err != nil {
		return nil
	}
	in := make([]byte, 256)
	size, err := c.Read(in)
	if err != nil {
		return nil
	}
	if q.format == voice.Legacy {
		p, err := voice.ParseListPong(in[:size])
		if err != nil || p.Ident != ident {
			return nil
		}
		p.Ident = q.ident
		return voice.AppendListPong(nil, p)
	}
	var p voice.Ping
	if voice.ParsePing(in[:size], voice.Protobuf, &p) != nil || !p.Extended || p.Timestamp != ident {
		return nil
	}
	p.Timestamp = q.ident
	return voice.AppendPing(nil, voice.Protobuf, &p)
}
