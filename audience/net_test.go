package audience_test

import (
	"bytes"
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// start is when all simulated time begins.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// hall is a server and its people, at the level of objects: what package carrier
// makes of a Mumble server. One seed decides all that it does.
type hall struct {
	t      testing.TB
	now    time.Time
	rng    *rand.Rand
	events events
	seq    int
	regime audience.Regime
	suites []mls.CipherSuite
	people map[uint32]*person
	links  [][2]uint32
	nextID uint32

	delay func() time.Duration
	// meddle decides what becomes of one object on its way to one receiver: the
	// times after which it arrives. None: it is dropped.
	meddle func(from, to uint32, o envelope.Object) []time.Duration
	// forge replaces what somebody sends.
	forge func(p *person, o envelope.Object) envelope.Object
	// echo decides when the sender of an object sees it again; false: never, so
	// that the carrier gives up after three retries. nil: as everybody else.
	echo func(p *person, o envelope.Object) (time.Duration, bool)
	// before and after run when an object is on its way, and then has been handed
	// to the server; each can end the sender.
	before, after func(p *person, out audience.Send)
	// hide says that viewer is not shown subject.
	hide func(viewer, subject uint32) bool
	log  func(format string, args ...any)

	// texts says that each object is a text, of which a server allows one a second.
	texts  bool
	manual func(p *person, out audience.Send) // takes what is sent instead of the server
	sent   map[envelope.Kind]int
	left   map[envelope.Kind]int                  // of texts: what has not been taken back
	epoch  func(p *person, e audience.EpochBegan) // sees each epoch
}

// carrierPatience is after how long a carrier without an echo gives up.
const carrierPatience = 4 * time.Second

// person is one client with Sotto.
type person struct {
	h       *hall
	session uint32
	name    string
	identity,
	device [32]byte
	channel uint32
	listens []uint32
	m       *audience.Machine
	up      bool
	want    bool
	tick    int
	fifo    time.Time // nothing arrives before what was sent earlier

	outgoing time.Time       // the same towards the server
	queue    []audience.Send // texts that wait
	nextText time.Time

	groups  map[envelope.GroupID]audience.EpochBegan
	history []audience.EpochBegan
	notices []audience.Notice
	lost    []audience.Lost
	apps    []audience.Application
	ready   map[uint64]envelope.GroupID
	failed  map[uint64][]uint32
	health  map[envelope.GroupID]audience.Health
	secrets [][]byte
	admits  bool
	server  [32]byte // the certificate that it sees
}

type event struct {
	at  time.Time
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	old[len(old)-1] = event{}
	*e = old[:len(old)-1]
	return x
}

func newHall(t testing.TB, seed uint64, regime audience.Regime, suites ...mls.CipherSuite) *hall {
	if t, ok := t.(*testing.T); ok {
		cryptotest.SetGlobalRandom(t, seed)
	}
	h := &hall{
		t: t, now: start, rng: rand.New(rand.NewPCG(seed, 1)), regime: regime, suites: suites,
		people: map[uint32]*person{}, nextID: 1, sent: map[envelope.Kind]int{}, left: map[envelope.Kind]int{},
		log: func(string, ...any) {},
	}
	h.delay = func() time.Duration { return 20*time.Millisecond + time.Duration(h.rng.IntN(20))*time.Millisecond }
	return h
}

func (h *hall) at(d time.Duration, do func()) {
	h.seq++
	heap.Push(&h.events, event{h.now.Add(d), h.seq, do})
}

// run lets virtual time pass.
func (h *hall) run(d time.Duration) {
	end := h.now.Add(d)
	for len(h.events) > 0 && !h.events[0].at.After(end) {
		e := heap.Pop(&h.events).(event)
		h.now = e.at
		e.do()
	}
	h.now = end
}

// until runs until ok, and fails the test after limit.
func (h *hall) until(limit time.Duration, what string, ok func() bool) time.Duration {
	h.t.Helper()
	began := h.now
	for end := h.now.Add(limit); ; {
		if ok() {
			return h.now.Sub(began)
		}
		if len(h.events) == 0 || h.events[0].at.After(end) {
			h.t.Fatalf("not within %v: %s\n%s", limit, what, h.state())
		}
		e := heap.Pop(&h.events).(event)
		h.now = e.at
		e.do()
	}
}

// statements of these tests name their owner; the checksum stands for the
// signatures, so that nobody else's can be made by mistake.
func statement(identity, device [32]byte, key []byte, server [32]byte, session uint32) []byte {
	sum := sha256.Sum256(slices.Concat(identity[:], device[:], key, server[:], binary.BigEndian.AppendUint32(nil, session)))
	return slices.Concat(identity[:], device[:], sum[:])
}

func verifyStatement(b, key []byte, server [32]byte, session uint32) (audience.Who, error) {
	if len(b) != 96 {
		return audience.Who{}, errors.New("not 96 bytes")
	}
	w := audience.Who{Identity: [32]byte(b[:32]), Device: [32]byte(b[32:64])}
	if !bytes.Equal(b, statement(w.Identity, w.Device, key, server, session)) {
		return audience.Who{}, errors.New("not true")
	}
	return w, nil
}

var server = sha256.Sum256([]byte("server"))

// arrive connects somebody new to a channel.
func (h *hall) arrive(channel uint32) *person {
	p := h.newPerson(channel)
	h.connect(p)
	return p
}

// newPerson is somebody new who is not connected yet.
func (h *hall) newPerson(channel uint32) *person {
	p := &person{h: h, channel: channel, want: true}
	p.identity = sha256.Sum256(fmt.Appendf(nil, "identity %d", h.nextID))
	p.device = sha256.Sum256(fmt.Appendf(nil, "device %d", h.nextID))
	return p
}

// connect gives p a new session. What it knew is gone.
func (h *hall) connect(p *person) {
	if p.server == [32]byte{} {
		p.server = server
	}
	p.session, p.up = h.nextID, true
	p.queue, p.nextText = nil, time.Time{}
	p.name = fmt.Sprint("p", p.session)
	h.nextID++
	p.groups, p.health = map[envelope.GroupID]audience.EpochBegan{}, map[envelope.GroupID]audience.Health{}
	p.ready, p.failed = map[uint64]envelope.GroupID{}, map[uint64][]uint32{}
	cfg := audience.Config{
		Server: p.server, Suites: h.suites,
		Statement: func(key []byte, session uint32) ([]byte, error) {
			return statement(p.identity, p.device, key, p.server, session), nil
		},
		Verify: verifyStatement,
		Admit:  func(audience.Who) bool { return p.admits },
	}
	if p.secrets != nil {
		cfg.RequirePSK = true
		cfg.PSK = func(id []byte) [][]byte {
			var out [][]byte
			for _, s := range p.secrets {
				out = append(out, testPSK(string(s), id))
			}
			return out
		}
	}
	m, err := audience.New(cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	p.m = m
	h.people[p.session] = p
	p.handle(audience.Connected{Session: p.session})
	p.handle(h.world(p))
	regime := h.regime
	h.at(50*time.Millisecond, func() {
		if p.up && p.m == m {
			p.handle(regime)
			p.handle(audience.Join{Want: p.want})
		}
	})
	h.tell()
}

// restart gives p a machine that knows nothing, under the same session: the guard
// of a client that stays connected began anew.
func (h *hall) restart(p *person) {
	number := h.nextID
	h.nextID = p.session
	h.connect(p)
	h.nextID = number
}

// leave disconnects p; a crash is the same, but that p's own machine is not told.
func (h *hall) leave(p *person, crash bool) {
	delete(h.people, p.session)
	p.up = false
	if !crash {
		p.m.Handle(h.now, audience.Disconnected{})
		p.drain()
	}
	h.tell()
}

func (h *hall) move(p *person, channel uint32) {
	p.channel = channel
	h.tell()
}

// tell shows everybody who is where.
func (h *hall) tell() {
	for _, s := range h.sessions() {
		p := h.people[s]
		w := h.world(p)
		h.deliver(p, h.delay(), func() { p.handle(w) })
	}
}

func (h *hall) sessions() []uint32 {
	out := make([]uint32, 0, len(h.people))
	for s := range h.people {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

// closure follows links.
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

func (h *hall) place(p *person, channel uint32, role envelope.Role) audience.Place {
	pl := audience.Place{Channel: channel, Closure: h.closure(channel), Role: role}
	for _, s := range h.sessions() {
		q := h.people[s]
		if q == p || h.hide != nil && h.hide(p.session, s) {
			continue
		}
		if slices.Contains(pl.Closure, q.channel) {
			pl.Hearers = append(pl.Hearers, audience.Hearer{Session: s})
		} else if slices.ContainsFunc(q.listens, func(c uint32) bool { return slices.Contains(pl.Closure, c) }) {
			pl.Hearers = append(pl.Hearers, audience.Hearer{Session: s, Role: envelope.RoleListener})
		}
	}
	return pl
}

func (h *hall) world(p *person) audience.World {
	w := audience.World{Places: []audience.Place{h.place(p, p.channel, envelope.RoleSpeaker)}}
	for _, c := range p.listens {
		w.Places = append(w.Places, h.place(p, c, envelope.RoleListener))
	}
	for _, s := range h.sessions() {
		if s != p.session && (h.hide == nil || !h.hide(p.session, s)) {
			w.People = append(w.People, s)
		}
	}
	return w
}

// deliver does something at p's end after d, not before what was sent earlier: a
// connection to a Mumble server is a stream.
func (h *hall) deliver(p *person, d time.Duration, do func()) {
	at := h.now.Add(d)
	if at.Before(p.fifo) {
		at = p.fifo
	}
	p.fifo = at
	m := p.m
	h.at(at.Sub(h.now), func() {
		if p.up && p.m == m {
			do()
		}
	})
}

func (p *person) handle(in audience.Input) {
	p.m.Handle(p.h.now, in)
	p.drain()
}

// drain does what the machine wants and sets its clock.
func (p *person) drain() {
	h := p.h
	for out, ok := p.m.Next(); ok; out, ok = p.m.Next() {
		if !p.up && h.before != nil {
			continue // it crashed between two outputs
		}
		switch out := out.(type) {
		case audience.Send:
			h.sent[out.Object.Kind]++
			h.log("%v %s sends %v (%d B, bulk %v) to %v", h.now.Sub(start), p.name, out.Object.Kind, len(out.Object.Body), out.Bulk, out.To)
			if h.before != nil {
				h.before(p, out)
			}
			if h.forge != nil {
				out.Object = h.forge(p, out.Object)
			}
			h.relay(p, out)
			if h.after != nil {
				h.after(p, out)
			}
		case audience.Cancel:
			p.queue = slices.DeleteFunc(p.queue, func(s audience.Send) bool { return s.Token == out.Token })
		case audience.SendPresence:
			for _, s := range h.sessions() {
				q, c := h.people[s], h.closure(p.channel)
				hears := slices.Contains(c, q.channel) || slices.ContainsFunc(q.listens, func(l uint32) bool { return slices.Contains(c, l) })
				if q != p && hears && (h.hide == nil || !h.hide(q.session, p.session)) {
					h.at(h.delay(), func() {
						if q.up {
							q.handle(audience.HeardPresence{From: p.session})
						}
					})
				}
			}
		case audience.EpochBegan:
			h.log("%v %s EPOCH %x/%d leaves %d joined %v by %d", h.now.Sub(start), p.name, out.Group[:2], out.Epoch, len(out.Leaves), out.Joined, out.Committer)
			p.groups[out.Group] = out
			p.history = append(p.history, out)
			if h.epoch != nil {
				h.epoch(p, out)
			}
		case audience.Lost:
			h.log("%v %s LOST %x %d", h.now.Sub(start), p.name, out.Group[:2], out.Reason)
			delete(p.groups, out.Group)
			delete(p.health, out.Group)
			p.lost = append(p.lost, out)
		case audience.Notice:
			h.log("%v %s NOTICE %+v", h.now.Sub(start), p.name, out)
			p.notices = append(p.notices, out)
		case audience.Application:
			p.apps = append(p.apps, out)
		case audience.DirectReady:
			p.ready[out.Token] = out.Group
		case audience.DirectFailed:
			p.failed[out.Token] = out.Missing
		case audience.Health:
			p.health[out.Group] = out
		}
	}
	p.tick++
	if d := p.m.Deadline(); !d.IsZero() && p.up {
		tick := p.tick
		h.at(max(0, d.Sub(h.now)), func() {
			if p.up && p.tick == tick {
				p.handle(nil)
			}
		})
	}
}

// relay is the server: one order for all, the sender's echo among it.
func (h *hall) relay(p *person, out audience.Send) {
	if h.manual != nil {
		h.manual(p, out)
		return
	}
	if h.texts {
		p.queue = append(p.queue, out)
		slices.SortStableFunc(p.queue, func(a, b audience.Send) int { return int(a.Priority) - int(b.Priority) })
		p.nextOut()
		return
	}
	h.carry(p, out)
}

// The pace of package carrier for texts.
const (
	textBurst = 3 // one more went by: the client's Version
	textPace  = 1200 * time.Millisecond
)

// nextOut hands the first text that waits to the server as soon as it may, as package
// carrier does.
func (p *person) nextOut() {
	h, m := p.h, p.m
	if len(p.queue) == 0 {
		return
	}
	if earliest := h.now.Add(-(textBurst - 1) * textPace); p.nextText.Before(earliest) {
		p.nextText = earliest
	}
	if p.nextText.After(h.now) {
		h.at(p.nextText.Sub(h.now), func() {
			if p.up && p.m == m && !p.nextText.After(h.now) {
				p.nextOut()
			}
		})
		return
	}
	p.nextText = p.nextText.Add(textPace)
	out := p.queue[0]
	p.queue = slices.Delete(p.queue, 0, 1)
	h.left[out.Object.Kind]++
	h.carry(p, out)
	p.nextOut()
}

func (h *hall) carry(p *person, out audience.Send) {
	m := p.m
	arrival := h.now.Add(h.delay())
	if arrival.Before(p.outgoing) {
		arrival = p.outgoing // a connection is a stream
	}
	p.outgoing = arrival
	h.at(arrival.Sub(h.now), func() {
		if h.people[p.session] != p || p.m != m {
			return // it was still on its way when p was gone
		}
		for _, s := range out.To {
			q := h.people[s]
			if q == nil {
				continue
			}
			arrivals := []time.Duration{h.delay()}
			if h.meddle != nil {
				arrivals = h.meddle(p.session, s, out.Object)
			}
			for _, d := range arrivals {
				h.deliver(q, d, func() {
					q.handle(audience.Received{From: p.session, Object: out.Object, Bulk: out.Bulk})
				})
			}
		}
		if h.regime == audience.RegimeNoEcho {
			return
		}
		if h.echo == nil {
			h.deliver(p, h.delay(), func() { p.handle(audience.Delivered{Token: out.Token}) })
			return
		}
		d, ok := h.echo(p, out.Object)
		if !ok {
			h.at(carrierPatience, func() {
				if p.up && p.m == m {
					p.handle(audience.Failed{Token: out.Token})
				}
			})
			return
		}
		h.deliver(p, d, func() { p.handle(audience.Delivered{Token: out.Token}) })
	})
	if h.regime == audience.RegimeNoEcho {
		h.at(0, func() {
			if p.up && p.m == m {
				p.handle(audience.Delivered{Token: out.Token})
			}
		})
	}
}

// home is p's channel group.
func (p *person) home() (audience.EpochBegan, bool) {
	for _, e := range p.groups {
		if e.Place == 0 {
			return e, true
		}
	}
	return audience.EpochBegan{}, false
}

// together reports whether these people, and nobody else, share an epoch with the
// same keys.
func together(list ...*person) bool {
	if len(list) == 0 {
		return true
	}
	first, ok := list[0].home()
	return ok && len(first.Leaves) == len(list) && shared(list...)
}

// shared reports whether these people share an epoch with the same keys, whoever else
// has a leaf in it.
func shared(list ...*person) bool {
	first, _ := list[0].home()
	for _, p := range list {
		e, ok := p.home()
		if !ok || e.Group != first.Group || e.Epoch != first.Epoch || e.Context != first.Context || !slices.Equal(e.Leaves, first.Leaves) {
			return false
		}
		if !slices.ContainsFunc(e.Leaves, func(l audience.Leaf) bool { return l.Session == p.session && l.Index == e.Own }) {
			return false
		}
	}
	return true
}

func (h *hall) state() string {
	var b bytes.Buffer
	for _, s := range h.sessions() {
		p := h.people[s]
		e, ok := p.home()
		fmt.Fprintf(&b, "%s in %d: ", p.name, p.channel)
		if ok {
			fmt.Fprintf(&b, "group %x epoch %d, sessions", e.Group[:4], e.Epoch)
			for _, l := range e.Leaves {
				fmt.Fprint(&b, " ", l.Session)
			}
		} else {
			fmt.Fprint(&b, "no group")
		}
		fmt.Fprintf(&b, "; %+v\n", p.m.Stats())
	}
	return b.String()
}

// say sends text to a group as its owner would.
func (p *person) say(group envelope.GroupID, text string) error {
	o, to, err := p.m.Protect(p.h.now, group, envelope.AppText, [16]byte{1}, []byte(text))
	if err == nil && len(to) > 0 {
		p.h.relay(p, audience.Send{To: to, Object: o})
	}
	return err
}
