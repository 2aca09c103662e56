package simnet_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/internal/simnet"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// alarm is a Node that is woken at some times and keeps a diary.
type alarm struct {
	due   []time.Duration
	diary []string
	outs  []simnet.Out
	stuck bool // its deadline never moves
	err   error
}

func (a *alarm) note(now time.Time, what string) {
	a.diary = append(a.diary, fmt.Sprint(now.Sub(simnet.Start), " ", what))
}

func (a *alarm) FromServer(now time.Time, m proto.Message) error {
	if _, ok := m.(*mumblepb.ServerSync); ok {
		a.note(now, "sync")
		return a.err
	}
	return nil
}

func (a *alarm) Next() (simnet.Out, bool) {
	if len(a.outs) == 0 {
		return simnet.Out{}, false
	}
	o := a.outs[0]
	a.outs = a.outs[1:]
	return o, true
}

func (a *alarm) Deadline() time.Time {
	if len(a.due) == 0 {
		return time.Time{}
	}
	return simnet.Start.Add(slices.Min(a.due))
}

func (a *alarm) Tick(now time.Time) {
	a.note(now, "tick")
	if !a.stuck {
		a.due = slices.DeleteFunc(a.due, func(d time.Duration) bool { return !simnet.Start.Add(d).After(now) })
	}
}

func (a *alarm) Disconnected(now time.Time) { a.note(now, "disconnected") }

func (a *alarm) Protect(dst []byte, _ time.Time, in, out *voice.Packet) error {
	*out = *in
	out.Data = append(dst, in.Data...)
	return nil
}

func (a *alarm) Unprotect(dst []byte, now time.Time, in, out *voice.Packet) error {
	return a.Protect(dst, now, in, out)
}

func server(net simnet.Network) (*simnet.Clock, *simnet.Server) {
	c := simnet.NewClock()
	return c, simnet.NewServer(c, simnet.Config{Seed: 4, Profile: simnet.Murmur15(), Network: net})
}

// A Node is woken at its deadlines and at no other time, also when an earlier one
// appears or one goes away.
func TestAlarm(t *testing.T) {
	c, srv := server(simnet.Network{Delay: 100 * time.Millisecond})
	a := &alarm{due: []time.Duration{5 * time.Second, 7 * time.Second}}
	p := srv.NewPeer("alice", a)
	p.Connect()
	run(t, c, time.Second)
	a.due = append(a.due, 3*time.Second)
	p.Send(&mumblepb.Ping{})
	run(t, c, 5*time.Second)
	a.due = []time.Duration{20 * time.Second}
	p.Disconnect()
	run(t, c, time.Minute)
	want := []string{"500ms sync", "3s tick", "5s tick", "6s disconnected", "20s tick"}
	if !slices.Equal(a.diary, want) {
		t.Errorf("%v\nwant %v", a.diary, want)
	}
}

func TestStuckNodeEndsTheRun(t *testing.T) {
	c, srv := server(simnet.Network{})
	p := srv.NewPeer("alice", &alarm{due: []time.Duration{time.Second}, stuck: true})
	p.Connect()
	if err := c.RunFor(time.Minute); !errors.Is(err, simnet.ErrSpin) {
		t.Errorf("%v", err)
	}
}

// A Node that gives up is disconnected and tries again.
func TestNodeGivesUp(t *testing.T) {
	c, srv := server(simnet.Network{})
	a := &alarm{err: errors.New("not with me")}
	p := srv.NewPeer("alice", a)
	p.Retry = 10 * time.Second
	p.Connect()
	run(t, c, 5*time.Second)
	a.err = nil
	run(t, c, 10*time.Second)
	if want := []string{"0s sync", "0s disconnected", "10s sync"}; !slices.Equal(a.diary, want) {
		t.Errorf("%v", a.diary)
	}
	if !p.Connected() || p.Session() != 2 || !slices.Equal(srv.Sessions(), []uint32{2}) {
		t.Errorf("session %d of %v", p.Session(), srv.Sessions())
	}
}

// A crash between two messages of one burst: the first is out, the rest is not.
func TestCrashMidway(t *testing.T) {
	c, srv := server(simnet.Network{})
	a := &alarm{}
	p, q := srv.NewPeer("alice", a), srv.NewPeer("bob", nil)
	p.Connect()
	q.Connect()
	run(t, c, time.Second)
	got := 0
	q.OnMessage = func(m proto.Message) {
		if _, ok := m.(*mumblepb.PluginDataTransmission); ok {
			got++
		}
	}
	p.OnSend = func(n uint64, _ proto.Message) {
		if n == 4 {
			p.Crash()
		}
	}
	for range 6 {
		a.outs = append(a.outs, simnet.Out{Message: &mumblepb.PluginDataTransmission{
			ReceiverSessions: []uint32{q.Session()}, Data: []byte("x"), DataID: proto.String("x"),
		}})
	}
	p.Send(&mumblepb.Ping{}) // the first
	run(t, c, time.Second)
	if got != 2 || p.Node() != nil || p.Connected() || len(a.outs) != 3 {
		t.Errorf("%d arrived, %d left, node %v", got, len(a.outs), p.Node())
	}
	p.OnSend = nil
	p.SetNode(&alarm{})
	p.Connect()
	run(t, c, time.Second)
	if !slices.Equal(srv.Sessions(), []uint32{2, 3}) {
		t.Errorf("sessions %v", srv.Sessions())
	}
}

// TCP keeps the order and loses nothing, UDP loses and overtakes, a tunnel is TCP.
func TestNetwork(t *testing.T) {
	net := simnet.Network{
		Delay: 80 * time.Millisecond, Jitter: 40 * time.Millisecond, Loss: 0.05,
		VoiceDelay: 40 * time.Millisecond, VoiceJitter: 30 * time.Millisecond, VoiceLoss: 0.1,
	}
	for _, tunnel := range []bool{false, true} {
		net.Tunnel = tunnel
		c, srv := server(net)
		p, q := srv.NewPeer("alice", nil), srv.NewPeer("bob", nil)
		p.Connect()
		q.Connect()
		run(t, c, 10*time.Second)
		var order []int // of pairs of a voice packet after a message
		var voices, messages []int
		var slowest, fastest time.Duration = 0, time.Hour
		sent := map[int]time.Duration{}
		q.OnVoice = func(in, _ *voice.Packet, _ error) {
			voices = append(voices, int(in.FrameNumber/2))
			order = append(order, int(in.FrameNumber/2))
		}
		q.OnMessage = func(m proto.Message) {
			if m, ok := m.(*mumblepb.PluginDataTransmission); ok {
				n := int(m.Data[0])<<8 | int(m.Data[1])
				messages = append(messages, n)
				order = append(order, n+10000)
				d := c.Elapsed() - sent[n]
				slowest, fastest = max(slowest, d), min(fastest, d)
			}
		}
		for n := range 1000 {
			c.After(time.Duration(n)*500*time.Millisecond, func() {
				sent[n] = c.Elapsed()
				p.Send(&mumblepb.PluginDataTransmission{ReceiverSessions: srv.Sessions(), Data: []byte{byte(n >> 8), byte(n)}, DataID: proto.String("x")})
				p.Say(0, []byte("speech"))
			})
		}
		run(t, c, 10*time.Minute)
		if len(messages) != 1000 || !slices.IsSorted(messages) {
			t.Errorf("tunnel %v: %d messages, sorted %v", tunnel, len(messages), slices.IsSorted(messages))
		}
		if fastest < 80*time.Millisecond || fastest > 110*time.Millisecond || slowest < 300*time.Millisecond || slowest > time.Second {
			t.Errorf("tunnel %v: messages take %v to %v", tunnel, fastest, slowest)
		}
		overtaken := 0
		for n := range 1000 {
			if v, m := slices.Index(order, n), slices.Index(order, n+10000); v >= 0 && v < m {
				overtaken++
			}
		}
		if tunnel && (len(voices) != 1000 || overtaken != 0) {
			t.Errorf("tunnel: %d packets, %d overtake", len(voices), overtaken)
		}
		if !tunnel && (len(voices) < 760 || len(voices) > 860 || overtaken < 600) {
			t.Errorf("%d packets of 1000, %d overtake", len(voices), overtaken)
		}
	}
}

// BenchmarkRelay is one plugin message to eight receivers, without a log.
func BenchmarkRelay(b *testing.B) {
	r := newRoom(b, fast(), 8)
	for i := range r.peers {
		r.peers[i].OnMessage = nil
	}
	to := r.all()
	b.ReportAllocs()
	for b.Loop() {
		r.plugin(0, []byte("0123456789"), to...)
		r.wait(time.Millisecond)
	}
}
