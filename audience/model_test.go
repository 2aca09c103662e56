package audience_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// model is three members of a settled group, and a server that delivers one object
// to one of them when it is told to. A path of choices is played from the start
// again each time: the machines cannot be copied, and forget what they were.
type model struct {
	h       *hall
	all     []*person
	queues  [3][]parcel
	chains  [3][32]byte // what each saw: a name of its history that no key is part of
	holders map[[32]byte][]uint32
	wrong   string
}

// parcel is an object on its way, or the echo of one's own.
type parcel struct {
	from  uint32
	out   audience.Send
	echo  bool
	chain [32]byte // of its sender
}

// choice is what can be done next.
type choice struct {
	what string
	who  int
}

const modelSeed = 140

func newModel(t *testing.T, suite mls.CipherSuite) *model {
	m := &model{holders: map[[32]byte][]uint32{}}
	m.h, m.all = meeting(t, modelSeed, audience.RegimeEcho, suite, 3)
	m.h.run(20 * time.Second)
	m.h.manual = m.sent
	m.h.epoch = m.began
	return m
}

func (m *model) index(p *person) int { return slices.Index(m.all, p) }

// sent takes what somebody sends: each receiver has a queue, in one order for all.
func (m *model) sent(p *person, out audience.Send) {
	i := m.index(p)
	x := parcel{from: p.session, out: out, chain: m.chains[i]}
	for j, q := range m.all {
		if slices.Contains(out.To, q.session) && q.up {
			m.queues[j] = append(m.queues[j], x)
		}
	}
	x.echo = true
	m.queues[i] = append(m.queues[i], x)
}

// began names the epoch by what led to it, and checks I1 and I2.
func (m *model) began(p *person, e audience.EpochBegan) {
	i := m.index(p)
	var sessions []uint32
	for _, l := range e.Leaves {
		sessions = append(sessions, l.Session)
	}
	slices.Sort(sessions)
	if e.Joined {
		m.chains[i] = [32]byte{}
	}
	m.chains[i] = sha256.Sum256(fmt.Appendf(nil, "%x %d %d %v %v", m.chains[i], e.Epoch, e.Committer, sessions, e.Locked))
	if !slices.Contains(sessions, p.session) {
		m.wrong = p.name + " holds keys and is no member"
	}
	if before := m.holders[e.Context]; before != nil && !slices.Equal(before, sessions) {
		m.wrong = "the same keys, other members"
	}
	m.holders[e.Context] = sessions
}

// choices are those that there are now.
func (m *model) choices() []choice {
	list := []choice{{"time", 0}}
	here := 0
	for _, p := range m.all {
		if p.up {
			here++
		}
	}
	for i, p := range m.all {
		if !p.up {
			continue
		}
		if len(m.queues[i]) > 0 {
			list = append(list, choice{"deliver", i}, choice{"drop", i})
		}
		if e, ok := p.home(); ok && !m.pending(p, e.Group) {
			list = append(list, choice{"commit", i})
		}
		if here == 3 {
			list = append(list, choice{"leave", i})
		}
	}
	return list
}

func (m *model) pending(p *person, id envelope.GroupID) bool { return p.m.Pending(id) }

func (m *model) do(c choice) {
	p := m.all[c.who]
	switch c.what {
	case "time":
		m.h.run(time.Second)
	case "deliver", "drop":
		x := m.queues[c.who][0]
		m.queues[c.who] = m.queues[c.who][1:]
		switch {
		case x.echo && c.what == "drop":
			p.handle(audience.Failed{Token: x.out.Token})
		case x.echo:
			p.handle(audience.Delivered{Token: x.out.Token})
		case c.what == "deliver":
			p.handle(audience.Received{From: x.from, Object: x.out.Object, Bulk: x.out.Bulk})
		}
	case "commit":
		e, _ := p.home()
		p.handle(audience.SetLocked{Locked: !e.Locked})
	case "leave":
		delete(m.h.people, p.session)
		p.up = false
		m.queues[c.who] = nil
		for _, q := range m.all {
			if q.up {
				q.handle(m.h.world(q))
			}
		}
	}
}

// name is a state as it can be seen, without keys and random times.
func (m *model) name() [32]byte {
	s := fmt.Appendf(nil, "%v;", m.h.now.Sub(start))
	for i, p := range m.all {
		e, in := p.home()
		s = fmt.Appendf(s, "%v %v %x %v %v:", p.up, in, m.chains[i], in && m.pending(p, e.Group), p.m.Sizes())
		for _, x := range m.queues[i] {
			s = fmt.Appendf(s, "%d %d %v %x,", x.from, x.out.Object.Kind, x.echo, x.chain)
		}
	}
	return sha256.Sum256(s)
}

// settle is what a fair server does from here on; then those who are here are
// together.
func (m *model) settle() {
	m.h.manual = nil
	for i := range m.all {
		for len(m.queues[i]) > 0 && m.all[i].up {
			m.do(choice{"deliver", i})
		}
	}
	m.h.tell()
	m.h.run(45 * time.Second)
	var here []*person
	for _, p := range m.all {
		if p.up {
			here = append(here, p)
		}
	}
	if !together(here...) && m.wrong == "" {
		m.wrong = "apart:\n" + m.h.state()
	}
}

// TestSmallModel walks, by breadth, all that three members can come to in a few
// steps, and lets each state settle: six steps with SOTTO_MODEL=6, else three.
func TestSmallModel(t *testing.T) {
	depth := 3
	if testing.Short() {
		depth = 2
	}
	if n, err := strconv.Atoi(os.Getenv("SOTTO_MODEL")); err == nil {
		depth = n
	}
	most := 200_000
	if n, err := strconv.Atoi(os.Getenv("SOTTO_MODEL_STATES")); err == nil {
		most = n
	}
	suite := mls.InsecureSuite(t)
	seen := map[[32]byte]bool{}
	level := [][]choice{nil}
	moves := 0
	for d := range depth {
		var next [][]choice
		for _, path := range level {
			m := newModel(t, suite)
			for _, c := range path {
				m.do(c)
			}
			for _, c := range m.choices() {
				moves++
				n := newModel(t, suite)
				for _, x := range path {
					n.do(x)
				}
				n.do(c)
				name := n.name()
				if seen[name] || len(seen) >= most {
					continue
				}
				seen[name] = true
				long := append(slices.Clone(path), c)
				next = append(next, long)
				if n.settle(); n.wrong != "" {
					t.Fatalf("after %v: %s", long, n.wrong)
				}
			}
		}
		t.Logf("%d steps: %d states, %d moves", d+1, len(seen), moves)
		level = next
	}
}
