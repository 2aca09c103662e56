package carrier_test

import (
	"cmp"
	"container/heap"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/sotto-voip/sotto/carrier"
	"github.com/sotto-voip/sotto/envelope"
)

// start is the beginning of virtual time.
var start = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// leaky is Murmur's bucket with its rounding: whole tokens leak when a message
// comes, and then the clock restarts (src/murmur/ServerUser.cpp).
type leaky struct {
	burst  int
	refill time.Duration
	level  int
	since  time.Time
}

func (b *leaky) drops(now time.Time) bool {
	if n := int(now.Sub(b.since) / b.refill); n > 0 {
		b.level = max(0, b.level-n)
		b.since = now
	}
	if b.level >= b.burst {
		return true
	}
	b.level++
	return false
}

// model is what a kind of server does.
type model struct {
	echo         bool // plugin messages are passed on, to their sender as well
	textEcho     bool // so is text: uMurmur
	fences       bool // pings are answered in their turn
	plugin, text leaky
	maxText      int                              // characters of one plain message; 0 for 5 000
	delay        func() time.Duration             // one way
	lose         func(from uint32, n int) bool    // the n-th plugin message of from, besides the bucket
	loseEcho     func(session uint32, n int) bool // the n-th echo to session
	loseText     func(from uint32, n int) bool    // the n-th text of from
	double       func() bool                      // a message to somebody comes twice
}

// The figures measured on Murmur 1.5 and 1.3. For text the 0.9 a second that was
// measured are one a second and what the rounding of the bucket loses.
func measured(echo bool) model {
	return model{
		echo:   echo,
		plugin: leaky{burst: 15, refill: 260 * time.Millisecond, since: start},
		text:   leaky{burst: 5, refill: time.Second, since: start},
		delay:  func() time.Duration { return 40 * time.Millisecond },
	}
}

// umurmur passes no plugin messages, has no limit of rate for text, and ends the
// connection of whoever sends a control message above 8 186 bytes.
func umurmur() model {
	m := measured(false)
	m.textEcho, m.text = true, leaky{burst: 1 << 30, refill: time.Second, since: start}
	return m
}

// member is one user: the carrier and what came out of it.
type member struct {
	session      uint32
	c            *carrier.Carrier
	plugin, text leaky
	lastUp       time.Time // TCP: what is sent later arrives later
	lastDown     time.Time
	sent, echoes int
	sentText     int
	probes       int // plugin messages while nothing was known

	got       []carrier.Received
	order     []string // Received and Delivered in their order, as refs
	delivered map[uint64]time.Time
	ordered   map[uint64]bool
	failed    map[uint64]error
	regimes   []carrier.Regime
	outs      []carrier.Output
	outAt     []time.Time
}

type event struct {
	at  time.Time
	seq int
	do  func()
}

// partKey names a part of an object; index -1 stands for the first time that all
// parts were passed.
type partKey struct {
	kind  envelope.Kind
	id    envelope.ID
	index int
	count int
}

// pass remembers a part that the server passed on.
func (w *world) pass(kind envelope.Kind, id envelope.ID, index, count int) {
	w.passed[partKey{kind, id, index, count}] = true
	for i := range count {
		if !w.passed[partKey{kind, id, i, count}] {
			return
		}
	}
	w.passed[partKey{kind: kind, id: id, index: -1}] = true
}

// checker is what *testing.T and *rapid.T have in common.
type checker interface {
	Helper()
	Fatalf(format string, args ...any)
}

// events is a heap of what is to come, the earliest first.
type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return cmp.Or(e[i].at.Compare(e[j].at), cmp.Compare(e[i].seq, e[j].seq)) < 0
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

// world is a server, its users and virtual time.
type world struct {
	t          checker
	now        time.Time
	model      model
	members    map[uint32]*member
	events     events
	seq        int
	drops      int              // of ours, by the server's buckets
	localDrops int              // of what the local clients sent themselves
	passed     map[partKey]bool // what the server relayed
	bytes      int              // through the server's hands
	objects    map[uint64]envelope.Object
	byRef      map[string]int // ref to the number of receivers
}

func newWorld(t checker, m model, sessions ...uint32) *world {
	t.Helper()
	w := &world{t: t, now: start, model: m, members: map[uint32]*member{}, passed: map[partKey]bool{}, objects: map[uint64]envelope.Object{}, byRef: map[string]int{}}
	for _, s := range sessions {
		w.members[s] = &member{
			session: s, c: carrier.New(), plugin: m.plugin, text: m.text,
			delivered: map[uint64]time.Time{}, failed: map[uint64]error{}, ordered: map[uint64]bool{},
		}
		w.handle(s, carrier.Connected{Session: s})
	}
	return w
}

func (w *world) at(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.events, event{start.Add(d), w.seq, do})
}

// handle gives an input to a member and carries out what follows.
func (w *world) handle(session uint32, in carrier.Input) {
	m := w.members[session]
	m.c.Handle(w.now, in)
	for out, ok := m.c.Next(); ok; out, ok = m.c.Next() {
		m.outs = append(m.outs, out)
		m.outAt = append(m.outAt, w.now)
		switch out := out.(type) {
		case carrier.Fence:
			if w.model.fences {
				w.up(m, func() { w.down(m, carrier.Fenced{}) })
			}
		case carrier.PluginOut:
			if m.c.Regime() == carrier.RegimeUnknown {
				m.probes++
			}
			w.up(m, func() { w.relayPlugin(m, out) })
		case carrier.TextOut:
			if p, _ := envelope.ParseText(out.Message); m.c.Regime() != carrier.RegimeText && p.Kind != envelope.KindProbe && slices.Contains(out.To, m.session) {
				w.t.Fatalf("%d sends text to itself in regime %v", m.session, m.c.Regime())
			}
			w.up(m, func() { w.relayText(m, out) })
		case carrier.Received:
			m.got = append(m.got, out)
			if out.Ordered {
				ref := out.Object.Ref()
				m.order = append(m.order, string(ref[:]))
			}
		case carrier.Delivered:
			if _, twice := m.delivered[out.Token]; twice || m.failed[out.Token] != nil {
				w.t.Fatalf("token %d ended twice", out.Token)
			}
			m.delivered[out.Token] = w.now
			if out.Ordered {
				m.ordered[out.Token] = true
				o := w.objects[out.Token]
				ref := o.Ref()
				m.order = append(m.order, string(ref[:]))
				if !w.passed[partKey{kind: o.Kind, id: ref.ID(), index: -1}] {
					w.t.Fatalf("token %d delivered, but the server never passed it", out.Token)
				}
			}
		case carrier.Failed:
			if _, twice := m.delivered[out.Token]; twice || m.failed[out.Token] != nil {
				w.t.Fatalf("token %d ended twice", out.Token)
			}
			m.failed[out.Token] = out.Reason
		case carrier.RegimeChanged:
			m.regimes = append(m.regimes, out.Regime)
		default:
			w.t.Fatalf("unknown output %T", out)
		}
	}
	if d := m.c.Deadline(); !d.IsZero() && !d.After(w.now) {
		w.t.Fatalf("after Handle(%T) at %v the deadline %v is not in the future", in, w.now.Sub(start), d.Sub(start))
	}
}

// up schedules a message's arrival at the server, in the order it was sent.
func (w *world) up(m *member, do func()) {
	at := w.now.Add(w.model.delay())
	if at.Before(m.lastUp) {
		at = m.lastUp
	}
	m.lastUp = at
	w.at(at.Sub(start), do)
}

func (w *world) down(m *member, in carrier.Input) {
	at := w.now.Add(w.model.delay())
	if at.Before(m.lastDown) {
		at = m.lastDown
	}
	m.lastDown = at
	w.at(at.Sub(start), func() { w.handle(m.session, in) })
	if w.model.double != nil && w.model.double() {
		w.at(at.Sub(start), func() { w.handle(m.session, in) })
	}
}

func (w *world) relayPlugin(m *member, out carrier.PluginOut) {
	if !slices.Contains(out.To, m.session) {
		w.t.Fatalf("%d does not list itself: %v", m.session, out.To)
	}
	if m.plugin.drops(w.now) {
		w.drops++
		return
	}
	m.sent++
	if !w.model.echo || w.model.lose != nil && w.model.lose(m.session, m.sent) {
		return
	}
	f, err := envelope.ParseFragment(out.Data)
	if err != nil {
		w.t.Fatalf("bad fragment: %v", err)
	}
	w.pass(f.Kind, f.ID, int(f.Index), int(f.Count))
	w.bytes += len(out.Data)
	for _, to := range out.To {
		if to == m.session {
			m.echoes++
			if w.model.loseEcho != nil && w.model.loseEcho(m.session, m.echoes) {
				continue
			}
		}
		if r := w.members[to]; r != nil {
			w.down(r, carrier.PluginData{From: m.session, ID: envelope.DataID, Data: slices.Clone(out.Data)})
		}
	}
}

func (w *world) relayText(m *member, out carrier.TextOut) {
	if m.text.drops(w.now) {
		w.drops++
		return
	}
	p, err := envelope.ParseText(out.Message)
	if err != nil {
		w.t.Fatalf("bad text: %v", err)
	}
	limit := cmp.Or(w.model.maxText, 5000)
	if strings.HasPrefix(out.Message, "<img") {
		limit = 131072
	}
	if w.model.textEcho { // tag and length of the whole, of each session and of the rest
		limit = 8186 - 6 - 6*len(out.To) - 4 - 4
	}
	if len(out.Message) > limit {
		w.t.Fatalf("text of %d characters to %d sessions", len(out.Message), len(out.To))
	}
	m.sentText++
	if w.model.loseText != nil && w.model.loseText(m.session, m.sentText) {
		return
	}
	w.pass(p.Kind, p.ID, p.Index, p.Count)
	w.bytes += len(out.Message)
	for _, to := range out.To {
		if to == m.session {
			if m.echoes++; w.model.loseEcho != nil && w.model.loseEcho(m.session, m.echoes) {
				continue
			}
		}
		if r := w.members[to]; r != nil && (to != m.session || w.model.textEcho) {
			w.down(r, carrier.Text{From: m.session, Message: out.Message})
		}
	}
}

// localText is the local Mumble client sending n messages that count as text.
func (w *world) localText(session uint32, n int) {
	w.handle(session, carrier.Spent{Texts: n})
	m := w.members[session]
	for range n {
		w.up(m, func() {
			if m.text.drops(w.now) {
				w.localDrops++
			}
		})
	}
}

func (w *world) localPlugin(session uint32, n int) {
	w.handle(session, carrier.SpentPlugin{N: n})
	m := w.members[session]
	for range n {
		w.up(m, func() { m.plugin.drops(w.now) })
	}
}

func (w *world) send(session uint32, token uint64, o envelope.Object, p carrier.Priority, to ...uint32) {
	w.objects[token] = o
	ref := o.Ref()
	w.byRef[string(ref[:])] = len(to) - 1
	w.handle(session, carrier.Send{Token: token, Object: o, To: to, Priority: p})
}

// run lets time pass until d after start, jumping from event to event.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	end := start.Add(d)
	for range 1_000_000 {
		next, who := end, uint32(0)
		for s, m := range w.members {
			if at := m.c.Deadline(); !at.IsZero() && (at.Before(next) || at.Equal(next) && who > s) {
				next, who = at, s
			}
		}
		happens := len(w.events) > 0 && !w.events[0].at.After(next)
		if happens {
			next = w.events[0].at
		}
		if next.After(w.now) {
			w.now = next
		}
		switch {
		case happens:
			heap.Pop(&w.events).(event).do()
		case who != 0:
			w.handle(who, carrier.Tick{})
		default:
			w.now = end
			return
		}
	}
	w.t.Fatalf("the carrier never comes to rest")
}

// object returns a fresh object with a body of n bytes.
func object(kind envelope.Kind, seed uint64, n int) envelope.Object {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{0: byte(seed), 1: byte(seed >> 8), 2: byte(seed >> 16), 3: byte(kind)}).Read(b)
	return envelope.Object{Kind: kind, Body: b}
}
