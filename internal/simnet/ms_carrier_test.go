package simnet_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/internal/simnet"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// junk is plugin data under Sotto's name, of every kind and of none.
func junk(r *rand.Rand) []byte {
	b := make([]byte, 1+r.IntN(900))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	switch r.IntN(3) {
	case 0:
		body := b[:min(len(b), 600)]
		if data, err := envelope.AppendSingle(nil, envelope.Object{Kind: allKinds[r.IntN(len(allKinds))], Body: body}); err == nil {
			return data
		}
	case 1:
		b[0] = 0x01
	}
	return b
}

// TestMSCarrier: the server loses, alters, delays and floods messages.
func TestMSCarrier(t *testing.T) {
	play(t, []scenario{
		{"MS16", "corrupts and cuts one message in twenty: retried, counted, and they meet", func(t *testing.T, s *stage) {
			r := rand.New(rand.NewPCG(uint64(s.clock.Elapsed()), 16))
			hits := 0
			s.srv.Hook(func(d *simnet.Delivery) {
				if _, ok := d.Message.(*mumblepb.PluginDataTransmission); ok && r.IntN(20) == 0 {
					hits++
					if r.IntN(2) == 0 {
						d.Truncate(r.IntN(len(d.Payload()) + 1))
					} else {
						d.Flip(r.IntN(1 << 13))
					}
				}
			})
			all := s.join(e2ee.PolicyRequire, "alice", "bob", "carol", "dave")
			for range 3 {
				for _, p := range all {
					p.talk(20 * time.Second)
				}
				all[3].again()
				s.run(20 * time.Second)
				s.together(all...)
			}
			counted := uint64(0)
			for _, p := range all {
				c := p.Stats().Carrier
				counted += c.Malformed + c.Unfinished + c.StrayEcho + c.Resent + p.Groups().Agreement().Malformed + p.Groups().Agreement().Unverified
				if n := len(p.heard); n < 2000 { // of three others for most of a minute
					t.Errorf("%s heard %d packets", p.name, n)
				}
			}
			if hits < 5 || counted == 0 {
				t.Errorf("%d messages were spoilt, %d things counted", hits, counted)
			}
			t.Logf("%d spoilt, %d counted", hits, counted)
		}},
		{"MS17", "floods with 10,000 messages a second: voice goes on, memory does not grow", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob")
			s.forget()
			r := rand.New(rand.NewPCG(17, 17))
			from := []uint32{0, all[0].peer.Session(), 77, s.srv.Ghost("mallory", "", 0)}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			all[0].talk(2 * time.Second)
			for i := range 2000 {
				s.clock.After(time.Duration(i)*time.Millisecond, func() {
					for range 10 {
						s.srv.Forge(from[r.IntN(len(from))], junk(r), all[1].peer.Session())
					}
				})
			}
			s.run(3 * time.Second)
			if !all[1].told(endpoint.NoticeFlood, "A flood of messages in Sotto") || all[0].told(endpoint.NoticeFlood, "") {
				t.Errorf("bob was told %v, alice %v", all[1].notices, all[0].notices)
			}
			last := time.Time{}
			for _, h := range all[1].heard {
				if h.encrypted && !last.IsZero() && h.at.Sub(last) > 200*time.Millisecond {
					t.Errorf("voice is interrupted for %v", h.at.Sub(last))
				}
				last = h.at
			}
			if n, _ := all[1].hears(all[0].peer.Session()); n < 85 {
				t.Errorf("%d of 100 packets are heard", n)
			}
			s.forget()
			s.log.Reset()
			s.run(time.Minute)
			s.log.Reset()
			runtime.GC()
			runtime.ReadMemStats(&after)
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
				t.Errorf("a minute after the flood there are %d KiB more in use", grown>>10)
			}
			s.together(all...)
		}},
		{"MS24", "gives echoes back in another order, twice, late or never: no two epochs, and they meet again", func(t *testing.T, s *stage) {
			r := rand.New(rand.NewPCG(24, 24))
			for _, c := range []struct {
				name string
				lie  simnet.Hook
			}{
				{"reordered", func(d *simnet.Delivery) { d.Delay, d.Overtaken = time.Duration(r.IntN(2000))*time.Millisecond, true }},
				{"doubled", func(d *simnet.Delivery) { d.Again = []time.Duration{0, 500 * time.Millisecond} }},
				{"late", func(d *simnet.Delivery) { d.Delay, d.Overtaken = 8*time.Second, true }},
				{"never", func(d *simnet.Delivery) { d.Drop = true }},
			} {
				name, lie := c.name, c.lie
				all := s.join(e2ee.PolicyRequire, "alice "+name, "bob "+name, "carol "+name)
				s.srv.Hook(func(d *simnet.Delivery) {
					if _, ok := d.Message.(*mumblepb.PluginDataTransmission); ok && d.From == d.To {
						lie(d)
					}
				})
				for _, p := range all {
					p.talk(60 * time.Second)
				}
				two := s.epochs(all)
				for range 3 {
					all[2].again()
					s.watch(20*time.Second, two.look)
					for _, p := range all {
						if n := len(p.Groups().Members()); p.State() == e2ee.StatePriv && n > 0 && !contains(p.Groups().Members(), p.peer.Session()) {
							t.Errorf("%s: %s is protected in a group that it is not in", name, p.name)
						}
					}
				}
				s.srv.Fair()
				s.answered(all...) // who found no echo at all was asked about it
				s.watch(25*time.Second, two.look)
				if two.longest > 12*time.Second { // a Beacon
					t.Errorf("%s: two epochs at the same time for %v, and nobody knew", name, two.longest)
				}
				t.Logf("%s: two epochs at the same time for %v", name, two.longest)
				for _, p := range all[:2] { // there is no grace before a fork is said, but an end; carol began anew
					open := 0
					for _, n := range p.notices {
						switch n.Code {
						case audience.NoticeFork:
							open++
						case audience.NoticeHealed:
							open--
						}
					}
					if open != 0 || p.Groups().Health().Fork {
						t.Errorf("%s: %s was told of a fork and not of its end: %v", name, p.name, p.notices)
					}
				}
				for _, p := range all {
					p.peer.Disconnect()
				}
				s.run(3 * time.Second)
			}
		}},
		{"MS29", "allows nothing, or everything: refused with a reason, and nothing breaks", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob")
			huge := uint32(1<<32 - 1)
			for _, c := range []struct{ bandwidth, text, image uint32 }{{0, 0, 0}, {1, 1, 1}, {1, 0, huge}, {huge, huge, huge}, {8000, 50, 0}} {
				s.forget()
				m := &mumblepb.ServerConfig{
					MaxBandwidth: proto.Uint32(c.bandwidth), MessageLength: proto.Uint32(c.text), ImageMessageLength: proto.Uint32(c.image), AllowHtml: proto.Bool(c.image > 0),
				}
				s.srv.Inject(m)
				s.srv.Inject(&mumblepb.SuggestConfig{VersionV1: proto.Uint32(huge), Positional: proto.Bool(true), PushToTalk: proto.Bool(true)})
				all[0].talk(2 * time.Second)
				s.run(time.Second)
				all[0].write(fmt.Sprintf("short %+v", c))
				err := all[0].write(strings.Repeat("long ", 40_000))
				s.run(5 * time.Second)
				if n := all[0].MaxText(); n < 0 || n > 1<<17 {
					t.Errorf("%+v: texts of %d bytes", c, n)
				}
				if err == nil && len(all[0].failed) == 0 {
					t.Errorf("%+v: a text of 200 kB is sent", c)
				}
				if n, _ := all[1].hears(all[0].peer.Session()); n < 80 {
					t.Errorf("%+v: heard %d of 100 packets", c, n)
				}
			}
			again := s.srv.Profile()
			s.srv.Inject(&mumblepb.ServerConfig{MaxBandwidth: proto.Uint32(again.Bandwidth), MessageLength: proto.Uint32(again.MessageLength), ImageMessageLength: proto.Uint32(again.ImageMessageLength), AllowHtml: proto.Bool(again.AllowHTML)})
			s.together(all...)
		}},
		{"MS30", "kicks bob whenever the keys change: no storm of Commits, and in the end he is back", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob", "carol")
			bob := all[1]
			bob.peer.Retry = time.Second
			kicks := 0
			s.srv.Hook(func(d *simnet.Delivery) {
				k, _ := simnet.Recorded{Message: d.Message}.Kind()
				if k == envelope.KindMLSMessage && kicks < 15 && bob.peer.Connected() && d.To == bob.peer.Session() {
					kicks++
					s.srv.Kick(bob.peer.Session(), "again")
				}
			})
			all[2].again()
			s.together(all[0], all[2])
			_, before := all[0].Groups().Epoch()
			s.forget()
			began := kicks
			all[0].talk(90 * time.Second)
			s.run(90 * time.Second)
			_, after := all[0].Groups().Epoch()
			// Each kick costs a Remove, an Add, and an Update at most.
			if n := kicks - began; n < 3 || after-before > uint64(3*n+3) {
				t.Errorf("%d kicks, %d epochs", n, after-before)
			}
			t.Logf("%d kicks, %d epochs", kicks, after-before)
			if n, _ := all[2].hears(all[0].peer.Session()); n < 4200 {
				t.Errorf("carol heard %d of 4500 packets", n)
			}
			s.within(2*time.Minute, "together", func() bool { return isTogether(all) })
		}},
	})
}

func contains(list []uint32, n uint32) bool {
	for _, s := range list {
		if s == n {
			return true
		}
	}
	return false
}

// TestMCarrier: a member, or who wants to be one, wears the others out.
func TestMCarrier(t *testing.T) {
	play(t, []scenario{
		{"M14", "a member floods with application messages: bounded, and voice goes on", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob")
			alice, bob := all[0], all[1]
			s.forget()
			alice.talk(5 * time.Second)
			const n = 3000
			for i := range n {
				s.clock.After(time.Duration(i)*time.Millisecond, func() {
					o, _, err := alice.Groups().SealText(s.clock.Now(), envelope.GroupID{}, e2ee.Text{Scope: e2ee.ScopeChannel, HTML: fmt.Sprint("flood ", i)})
					if err != nil {
						return
					}
					if data, err := envelope.AppendSingle(nil, o); err == nil {
						s.srv.Forge(alice.peer.Session(), data, bob.peer.Session())
					}
				})
			}
			s.run(8 * time.Second)
			if heard, _ := bob.hears(alice.peer.Session()); heard < 220 {
				t.Errorf("%d of 250 packets are heard", heard)
			}
			if shown := len(bob.texts); shown < 50 || shown > 100 || !bob.told(endpoint.NoticeFlood, "Too many messages of “alice” arrive") {
				t.Errorf("%d of %d texts are shown, told %v", shown, n, bob.notices)
			}
			s.run(20 * time.Second)
			s.together(all...)
		}},
		{"M17", "comes and goes ten times a second: at most one Commit a second, and no gap for the others", func(t *testing.T, s *stage) {
			all := s.join(e2ee.PolicyRequire, "alice", "bob")
			eve := s.soul("eve", e2ee.PolicyRequire)
			eve.peer.Network = &simnet.Network{Delay: 5 * time.Millisecond, VoiceDelay: 5 * time.Millisecond}
			s.forget()
			_, before := all[0].Groups().Epoch()
			const long = 20
			all[0].talk(long * time.Second)
			for i := range long * 10 {
				s.clock.After(time.Duration(i)*100*time.Millisecond, eve.peer.Connect)
				s.clock.After(time.Duration(i)*100*time.Millisecond+90*time.Millisecond, eve.peer.Disconnect)
			}
			s.run(long * time.Second)
			_, after := all[0].Groups().Epoch()
			if after-before > long+1 {
				t.Errorf("%d epochs in %d s", after-before, long)
			}
			s.run(5 * time.Second)
			if n, _ := all[1].hears(all[0].peer.Session()); n < 50*long*93/100 {
				t.Errorf("bob heard %d of %d packets", n, 50*long)
			}
			s.together(all...)
		}},
	})
}
