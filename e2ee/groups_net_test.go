package e2ee_test

import (
	"container/heap"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/mls"
	"github.com/sotto-voip/sotto/trust"
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

// guest is one client. Without Groups it has no Sotto.
type guest struct {
	*e2ee.Groups
	h       *hall
	name    string
	cfg     e2ee.GroupsConfig
	session uint32
	channel uint32
	cert    string
	up      bool
	own     bool // the next change of our channel is our own act
	fifo    time.Time
	tick    int

	out     []e2ee.Output // what it said, without what was carried
	number  uint64
	waiting []airborne // frames that came too early
	heard   []heardFrame
	errs    map[string]int
	ready   map[uint64]envelope.GroupID
	failed  map[uint64][]uint32
	hold    bool // whoever is asked to try again waits for the test
}

// airborne is a voice packet on its way.
type airborne struct {
	from       uint32
	vk         byte
	rest       []byte
	number     uint64
	terminator bool
	until      time.Time
}

// heardFrame is a frame that opened.
type heardFrame struct {
	from uint32
	opus string
	e2ee.Opened
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
	h := &hall{t: t, now: dawn, rng: rand.New(rand.NewPCG(1, 2)), regime: groupRegimes[regime], names: map[uint32]string{}, version: 5}
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

// certOf is the hash of somebody's Mumble certificate.
func certOf(name string) string {
	sum := sha1.Sum([]byte(name))
	return hex.EncodeToString(sum[:])
}

// groups makes an engine with a new identity.
func (h *hall) groups(name string, policy e2ee.Policy) *guest {
	g := &guest{h: h, name: name, cert: certOf(name)}
	g.cfg = e2ee.GroupsConfig{
		Policy: policy, Server: hallServer, Address: hallAddress, Device: identity.New().NewDevice(0),
		Suites: []mls.CipherSuite{audience.SuiteClassic}, Book: &trust.Book{},
	}
	return g
}

// join connects somebody with Sotto who prefers protection, bare one without it.
func (h *hall) join(name string, channel uint32) *guest {
	return h.enter(h.groups(name, e2ee.PolicyPrefer), channel)
}

func (h *hall) bare(name string, channel uint32) *guest {
	g := &guest{h: h, name: name, cert: certOf(name)}
	h.connect(g, channel)
	return g
}

func (h *hall) enter(g *guest, channel uint32) *guest {
	h.t.Helper()
	e, err := e2ee.NewGroups(g.cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	g.Groups = e
	h.connect(g, channel)
	return g
}

// connect gives g a new session.
func (h *hall) connect(g *guest, channel uint32) {
	h.last++
	g.session, g.channel, g.up, g.fifo = h.last, channel, true, h.now
	g.ready, g.failed, g.errs, g.waiting = map[uint64]envelope.GroupID{}, map[uint64][]uint32{}, map[string]int{}, nil
	h.guests = append(h.guests, g)
	if g.Groups != nil {
		g.handle(e2ee.Connected{Session: g.session})
		g.handle(h.world(g, false))
		session, regime := g.session, h.regime
		h.at(50*time.Millisecond, func() {
			if g.up && g.session == session {
				g.handle(regime)
			}
		})
	}
	h.tell(nil)
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

func (g *guest) handle(in e2ee.Input) {
	g.Handle(g.h.now, in)
	g.drain()
	if g.h.step != nil {
		g.h.step(g)
	}
}

// drain does what the engine wants and sets its clock.
func (g *guest) drain() {
	h := g.h
	for out, ok := g.Next(); ok; out, ok = g.Next() {
		switch out := out.(type) {
		case e2ee.Carry:
			h.relay(g, out)
			continue
		case e2ee.CancelCarry, e2ee.Expect:
			continue
		case e2ee.SendVoice:
			h.send(g, out.FrameNumber, false, out.Body)
			continue
		case e2ee.KeysChanged:
			if !g.hold {
				g.again()
			}
		case e2ee.DirectReady:
			g.ready[out.Token] = out.Group
		case e2ee.DirectFailed:
			g.failed[out.Token] = out.Missing
		}
		g.out = append(g.out, out)
	}
	g.tick++
	if d := g.Deadline(); !d.IsZero() && g.up {
		tick := g.tick
		h.at(max(0, d.Sub(h.now)), func() {
			if g.up && g.tick == tick {
				g.handle(nil)
			}
		})
	}
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

func (h *hall) by(session uint32) *guest {
	for _, g := range h.guests {
		if g.session == session {
			return g
		}
	}
	return nil
}

func (h *hall) state() string {
	var b strings.Builder
	for _, g := range h.guests {
		if g.Groups == nil {
			fmt.Fprintf(&b, "%s in %d: no Sotto\n", g.name, g.channel)
			continue
		}
		id, epoch := g.Epoch()
		fmt.Fprintf(&b, "%s (%d) in %d: %v %v, group %x/%d of %v; %+v %+v\n", g.name, g.session, g.channel, g.State(), g.Question(), id[:3], epoch, g.Members(), g.Stats(), g.Agreement())
	}
	return b.String()
}
