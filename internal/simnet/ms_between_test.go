package simnet_test

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/internal/simnet"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// middle is a server that stands between two people with keys of its own: alice
// meets a false bob and bob a false alice. Each false one is an endpoint of its own
// on a connection of its own, which is hidden, and speaks under the session of the
// true one.
type middle struct {
	s                    *stage
	alice, bob           *soul
	falseBob, falseAlice *double
	on                   bool
}

// double is an endpoint that believes to have the session of somebody else.
type double struct {
	*soul
	of *soul
}

func between(s *stage, alice, bob *soul) *middle {
	m := &middle{s: s, alice: alice, bob: bob, on: true}
	m.falseBob, m.falseAlice = m.double("falsebob", bob), m.double("falsealice", alice)
	return m
}

func (m *middle) double(name string, of *soul) *double {
	d := &double{m.s.soul(name, e2ee.PolicyRequire), of}
	d.peer.SetNode(d)
	return d
}

// FromServer lets the double take the place of whom it stands for.
func (d *double) FromServer(now time.Time, msg proto.Message) error {
	return d.soul.FromServer(now, d.exchange(msg))
}

func (d *double) Next() (simnet.Out, bool) {
	o, ok := d.soul.Next()
	if o.Message != nil {
		o.Message = d.exchange(o.Message)
	}
	return o, ok
}

// exchange gives the own true session and the stolen one to each other.
func (d *double) exchange(msg proto.Message) proto.Message {
	own, stolen := d.peer.Session(), d.of.peer.Session()
	swap := func(s *uint32) {
		switch {
		case s == nil:
		case *s == own:
			*s = stolen
		case *s == stolen:
			*s = own
		}
	}
	msg = proto.Clone(msg)
	switch msg := msg.(type) {
	case *mumblepb.UserState:
		swap(msg.Session)
	case *mumblepb.UserRemove:
		swap(msg.Session)
	case *mumblepb.ServerSync:
		swap(msg.Session)
	case *mumblepb.PluginDataTransmission:
		swap(msg.SenderSession)
		for i := range msg.ReceiverSessions {
			swap(&msg.ReceiverSessions[i])
		}
	case *mumblepb.TextMessage:
		swap(msg.Actor)
		for i := range msg.Session {
			swap(&msg.Session[i])
		}
	}
	return msg
}

// start connects all four.
func (m *middle) start() {
	m.s.srv.Hook(m.hook)
	for _, p := range []*soul{m.alice, m.bob, m.falseBob.soul, m.falseAlice.soul} {
		p.peer.Connect()
	}
}

// pairs are who hears whom: the false bob speaks to alice, the false alice to bob.
func (m *middle) hook(d *simnet.Delivery) {
	if !m.on {
		return
	}
	a, b, fb, fa := m.alice.peer.Session(), m.bob.peer.Session(), m.falseBob.peer.Session(), m.falseAlice.peer.Session()
	if d.From == 0 {
		m.hide(d, a, b, fb, fa)
		return
	}
	switch {
	case d.From == fb && d.To == a:
		d.As(b)
	case d.From == fa && d.To == b:
		d.As(a)
	case d.From == a && d.To == b:
		m.divert(d, fb)
	case d.From == b && d.To == a:
		m.divert(d, fa)
	case d.From != d.To && d.Message != nil || d.Voice != nil && !(d.From == a && d.To == fb || d.From == b && d.To == fa):
		d.Drop = true
	}
}

// divert gives plugin data to the double instead.
func (m *middle) divert(d *simnet.Delivery, to uint32) {
	d.Drop = true
	if data, ok := d.Message.(*mumblepb.PluginDataTransmission); ok {
		m.s.srv.Inject(data, to)
	}
}

// hide keeps the doubles out of sight of the true ones, and each from the other.
func (m *middle) hide(d *simnet.Delivery, a, b, fb, fa uint32) {
	u, ok := d.Message.(*mumblepb.UserState)
	if !ok {
		return
	}
	about := u.GetSession()
	switch d.To {
	case a, b:
		d.Drop = slices.Contains([]uint32{fa, fb}, about)
	case fb:
		d.Drop = about == fa || about == b
	case fa:
		d.Drop = about == fb || about == a
	}
}

// stop lets the truth through and takes the doubles away.
func (m *middle) stop() {
	m.on = false
	m.falseAlice.peer.Disconnect()
	m.falseBob.peer.Disconnect()
}

// sealed holds the true ones to it: what leaves the doubles is not ours.
func (m *middle) sealed(t *testing.T) {
	if n := len(m.alice.leaks) + len(m.bob.leaks); n != 0 {
		t.Errorf("%d things left readable", n)
	}
}
