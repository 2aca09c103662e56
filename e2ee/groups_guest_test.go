package e2ee_test

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/mls"
	"github.com/sotto-voip/sotto/trust"
)

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
