package e2ee_test

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
)

// dawn is when all time of the tests of Groups begins.
var dawn = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// The regimes of servers (Sotto protocol §1.4).
var groupRegimes = map[string]e2ee.Regime{
	"E": {Known: true, Echo: true},
	"T": {Known: true, Echo: true, TextEcho: true},
	"N": {Known: true},
}

var hallServer = [32]byte{1, 2, 3}

var noGroup envelope.GroupID

const hallAddress = "voice.example:64738"

// hall is a server as Groups see it, in virtual time: it tells each who is where
// and relays objects in one order and voice in none. One seed decides all it does.
type hall struct {
	t       testing.TB
	now     time.Time
	rng     *rand.Rand
	events  hallEvents
	seq     int
	regime  e2ee.Regime
	guests  []*guest
	last    uint32
	links   [][2]uint32
	names   map[uint32]string
	version uint64

	delay func() time.Duration // of the stream, either way
	voice func() time.Duration // of a voice packet; negative: lost
	// meddle says when an object arrives at one receiver, perhaps never.
	meddle func(from, to *guest, o envelope.Object) []time.Duration
	drop   bool // objects and echoes are lost
	// step is called after each input that a guest has handled.
	step func(g *guest)
}

type hallEvent struct {
	at  time.Time
	seq int
	do  func()
}

type hallEvents []hallEvent

func (e hallEvents) Len() int { return len(e) }
func (e hallEvents) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].seq < e[j].seq
}
func (e hallEvents) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *hallEvents) Push(x any)   { *e = append(*e, x.(hallEvent)) }
func (e *hallEvents) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

func newHall(t testing.TB, regime string) *hall {
	t.Helper()
	h := &hall{t: t, now: dawn, rng: rand.New(rand.NewPCG(seed(t), 2)), regime: groupRegimes[regime], names: map[uint32]string{}, version: 5}
	h.delay = func() time.Duration { return 20*time.Millisecond + time.Duration(h.rng.IntN(20))*time.Millisecond }
	h.voice = h.delay
	return h
}

func (h *hall) at(d time.Duration, do func()) {
	h.seq++
	heap.Push(&h.events, hallEvent{h.now.Add(d), h.seq, do})
}

// run lets virtual time pass.
func (h *hall) run(d time.Duration) {
	end := h.now.Add(d)
	for len(h.events) > 0 && !h.events[0].at.After(end) {
		e := heap.Pop(&h.events).(hallEvent)
		h.now = e.at
		e.do()
	}
	h.now = end
}

// until runs until ok, and fails the test after limit.
func (h *hall) until(limit time.Duration, what string, ok func() bool) time.Duration {
	h.t.Helper()
	began := h.now
	for end := h.now.Add(limit); !ok(); {
		if len(h.events) == 0 || h.events[0].at.After(end) {
			h.t.Fatalf("not within %v: %s\n%s", limit, what, h.state())
		}
		e := heap.Pop(&h.events).(hallEvent)
		h.now = e.at
		e.do()
	}
	return h.now.Sub(began)
}

// leave ends g's connection; its own engine learns of it unless it crashed.
func (h *hall) leave(g *guest, crash bool) {
	h.guests = slices.DeleteFunc(h.guests, func(q *guest) bool { return q == g })
	g.up = false
	if g.Groups != nil && !crash {
		g.handle(e2ee.Disconnected{})
	}
	h.tell(nil)
}

// move takes g to a channel by its own act, shift by the server's.
func (h *hall) move(g *guest, channel uint32) {
	if g.Groups != nil {
		g.handle(e2ee.LocalMove{Channel: channel})
	}
	g.channel = channel
	h.tell(g)
}

func (h *hall) shift(g *guest, channel uint32) {
	g.channel = channel
	h.tell(nil)
}

// tell shows everybody who is where, after the delay of their streams.
func (h *hall) tell(own *guest) {
	for _, g := range h.guests {
		if g.Groups != nil {
			h.deliver(g, h.delay(), func() { g.handle(h.world(g, g == own)) })
		}
	}
}

func (h *hall) closure(c uint32) []uint32 {
	in := []uint32{c}
	for i := 0; i < len(in); i++ {
		for _, l := range h.links {
			for _, d := range [][2]uint32{l, {l[1], l[0]}} {
				if d[0] == in[i] && !slices.Contains(in, d[1]) {
					in = append(in, d[1])
				}
			}
		}
	}
	slices.Sort(in)
	return in
}

func (h *hall) world(g *guest, own bool) e2ee.World {
	w := e2ee.World{Channel: g.channel, Own: own, ChannelName: h.names[g.channel], Version: h.version}
	place := audience.Place{Channel: g.channel, Closure: h.closure(g.channel)}
	for _, q := range h.guests {
		if q == g {
			continue
		}
		hears := slices.Contains(place.Closure, q.channel)
		if hears {
			place.Hearers = append(place.Hearers, audience.Hearer{Session: q.session})
		}
		w.Peers = append(w.Peers, e2ee.Peer{
			Session: q.session, Channel: q.channel, Name: q.name, Label: q.name, Hears: hears, CertHash: q.cert,
		})
	}
	slices.SortFunc(place.Hearers, func(a, b audience.Hearer) int { return int(a.Session) - int(b.Session) })
	w.Places = []audience.Place{place}
	return w
}

// deliver does something at g's end, not before what was sent earlier: a
// connection to a Mumble server is a stream.
func (h *hall) deliver(g *guest, d time.Duration, do func()) {
	at := h.now.Add(d)
	if at.Before(g.fifo) {
		at = g.fifo
	}
	g.fifo = at
	session := g.session
	h.at(at.Sub(h.now), func() {
		if g.up && g.session == session {
			do()
		}
	})
}

// relay is the server: one order for all, the sender's echo among it.
func (h *hall) relay(g *guest, out e2ee.Carry) {
	session := g.session
	echo := func(d time.Duration) {
		h.deliver(g, d, func() { g.handle(e2ee.Delivered{Token: out.Token}) })
	}
	h.at(h.delay(), func() {
		if !g.up || g.session != session {
			return // it was still on its way when g was gone
		}
		for _, s := range out.To {
			q := h.by(s)
			if q == nil || q.Groups == nil {
				continue
			}
			arrivals := []time.Duration{h.delay()}
			if h.drop {
				arrivals = nil
			} else if h.meddle != nil {
				arrivals = h.meddle(g, q, out.Object)
			}
			for _, d := range arrivals {
				h.deliver(q, d, func() {
					q.handle(e2ee.Received{From: session, Object: out.Object, Bulk: out.Bulk})
				})
			}
		}
		switch {
		case h.drop: // the carrier gives up
			h.deliver(g, 4*time.Second, func() { g.handle(e2ee.Failed{Token: out.Token}) })
		case h.regime.Echo:
			echo(h.delay())
		}
	})
	if !h.regime.Echo {
		echo(0)
	}
}
