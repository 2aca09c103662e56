package interop_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/internal/evilserver"
	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// TestMaliciousKeys: MS3 and MS10 before a real server: what is remembered, and
// what is replayed.
func TestMaliciousKeys(t *testing.T) {
	t.Parallel()
	x := startEvil(t)
	old := x.Record(func(e evilserver.Event) bool {
		k, ok := evilserver.Kind(e.Message)
		return ok && e.Dir == voice.ToClient && k != envelope.KindHello
	})
	alice, bob := x.call("alice", e2ee.PolicyPrefer), x.call("bob", e2ee.PolicyPrefer)
	x.meet(alice, bob)
	time.Sleep(2 * time.Second) // in Priv for a second: remembered
	b := bob.session()

	x.run("MS10", func(t *testing.T) {
		old.Stop()
		carol := x.call("carol", e2ee.PolicyPrefer)
		x.meet(alice, bob, carol)
		marks := map[*caller]int{alice: alice.now(), bob: bob.now()}
		x.Replay(old.Events()...)
		carol.talk(100)
		for c, mark := range marks {
			if n, _ := c.heard(mark, carol.session()); n < 90 {
				t.Errorf("%s heard %d of 100 packets", c.name, n)
			}
			for _, ev := range c.all(mark) {
				switch ev := ev.(type) {
				case client.Notice:
					t.Errorf("%s is told %+v", c.name, ev)
				case client.GateChanged:
					t.Errorf("%s: %+v", c.name, ev)
				}
			}
		}
		x.meet(alice, bob, carol)
		carol.Close()
	})
	x.run("MS3", func(t *testing.T) {
		alice.Close()
		// All that would show that bob has Sotto.
		x.OnServer(func(_ *evilserver.Client, m proto.Message) evilserver.Verdict {
			if p, ok := m.(*mumblepb.PluginDataTransmission); ok && p.GetSenderSession() == b {
				return evilserver.Drop()
			}
			return evilserver.Pass()
		})
		x.OnVoice(func(_ *evilserver.Client, dir voice.Direction, p voice.Packet) ([]voice.Packet, time.Duration) {
			if _, _, _, ok := envelope.ParseVoice(p.Data); ok && dir == voice.ToClient && p.Session == b {
				return nil, 0
			}
			return []voice.Packet{p}, 0
		})
		mark := alice.now()
		alice.dial()
		alices := alice.talks(700)
		alice.asked(mark, patience, e2ee.QuestionClear, "bob")
		x.mark("a text", []byte("for bob, who had protection"))
		if err := alice.SendText("for bob, who had protection"); err == nil {
			t.Error("a text leaves")
		}
		<-alices
		if st, _ := alice.State(); st.Leave != e2ee.LeaveNothing {
			t.Errorf("leaves %v", st.Leave)
		}
	})
	x.sealed()
}

// TestMaliciousHandshake: MS4, nobody ever met, and every handshake is dropped.
func TestMaliciousHandshake(t *testing.T) {
	t.Parallel()
	x := startEvil(t)
	withheld := x.Withhold(evilserver.Everybody, envelope.KindHello, envelope.KindMLSMessage, envelope.KindWelcome, envelope.KindRef,
		envelope.KindWant, envelope.KindBeacon, envelope.KindKeyPackageRequest, envelope.KindKeyPackageReply)
	alice, bob := x.call("alice", e2ee.PolicyPrefer), x.call("bob", e2ee.PolicyRequire)
	bobs, alices := bob.talks(700), alice.talks(700)
	alice.told(0, patience, e2ee.NoticeHeld, "Keys are being prepared; your microphone is held")
	bob.told(0, patience, e2ee.NoticeHeld, "Keys are being prepared; your microphone is held")
	alice.asked(0, patience, e2ee.QuestionClear, "")
	bob.asked(0, patience, e2ee.QuestionWait, "")
	<-alices
	<-bobs
	if withheld.Told() == 0 {
		t.Error("nothing was withheld")
	}
	x.sealed()
	withheld.Stop()
	for _, c := range []*caller{alice, bob} {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	x.meet(alice, bob)
}

// TestMaliciousFork: MS7 and MS24, two histories, and echoes that lie.
func TestMaliciousFork(t *testing.T) {
	t.Parallel()
	x := startEvil(t)
	var all []*caller
	for _, name := range []string{"alice", "bob", "carol", "dave"} {
		all = append(all, x.call(name, e2ee.PolicyRequire))
	}
	x.meet(all...)
	x.sealed()

	x.run("MS24", func(t *testing.T) {
		for _, lie := range []struct {
			name string
			tell func() *evilserver.Lie
		}{
			{"doubled", func() *evilserver.Lie { return x.Twice(evilserver.Everybody) }},
			{"never", func() *evilserver.Lie { return x.NoEcho(evilserver.Everybody) }},
			{"reordered", func() *evilserver.Lie {
				var n atomic.Int64
				return x.OnServer(func(to *evilserver.Client, m proto.Message) evilserver.Verdict {
					p, ok := m.(*mumblepb.PluginDataTransmission)
					if ok && p.GetSenderSession() == to.Session() && n.Add(1)%2 == 0 {
						return evilserver.Pass().After(700 * time.Millisecond)
					}
					return evilserver.Pass()
				})
			}},
		} {
			l := lie.tell()
			eve := x.call("eve"+lie.name, e2ee.PolicyRequire)
			<-all[0].talks(250)
			eve.Close()
			l.Stop()
			x.meet(all...)
			if l.Told() == 0 {
				t.Errorf("%s: it was never told", lie.name)
			}
		}
	})
	x.run("MS7", func(t *testing.T) {
		var marks []int
		for _, c := range all {
			marks = append(marks, c.now())
		}
		left, right := evilserver.Named("alice", "bob"), evilserver.Named("carol", "dave")
		var lies []*evilserver.Lie
		for i, c := range all {
			to := right
			if i >= 2 {
				to = left
			}
			lies = append(lies, x.Hide(to, c.session()))
		}
		lies = append(lies, x.Fork(left, right))
		waitWithin(t, 40*time.Second, "each half to go on without the other", func() bool {
			for _, c := range all {
				if st, err := c.State(); err != nil || len(st.Members) != 2 {
					return false
				}
			}
			return true
		})
		for _, l := range lies {
			l.Stop()
		}
		for _, c := range all {
			for _, d := range all {
				if c != d {
					// The truth again.
					x.Inject(x.Client(c.name, 0), &mumblepb.UserState{Session: proto.Uint32(d.session()), Name: proto.String(d.name), ChannelId: proto.Uint32(0)})
				}
			}
		}
		// Who sees a Beacon of the other half is told. A half that all the others have
		// moved to before theirs came has lost nothing, and is not.
		saw := func(i int) bool {
			for _, ev := range all[i].all(marks[i]) {
				if n, ok := ev.(client.Notice); ok && n.Code == audience.NoticeFork && strings.Contains(n.Text, "Group views differ") {
					return true
				}
			}
			return false
		}
		waitWithin(t, 25*time.Second, "the alarm", func() bool { return saw(0) && saw(1) || saw(2) && saw(3) })
		x.meet(all...)
	})
	x.sealed()
}

// TestMaliciousCertificate: MS5 and MS20, somebody between who has another key than
// the server, on the way of one of two people.
func TestMaliciousCertificate(t *testing.T) {
	t.Parallel()
	x := startEvil(t)
	theirs := peers.NewCertificate(t, "false server")

	x.run("MS5", func(t *testing.T) {
		x.SetCertificate(theirs.TLS)
		// alice sees this server for the first time and takes its certificate.
		alice := x.callAt("alice", e2ee.PolicyRequire, x.Addr(), theirs.DER)
		x.SetCertificate(x.murmur.Certificate.TLS)
		bob := x.callAt("bob", e2ee.PolicyRequire, x.murmur.Addr(), x.murmur.CertDER())
		for _, c := range []*caller{alice, bob} {
			c.told(0, 30*time.Second, e2ee.NoticeGate, "sees another certificate of this server: somebody may stand between")
		}
		for _, c := range []*caller{alice, bob} {
			c.Close()
		}
	})
	x.run("MS20", func(t *testing.T) {
		x.SetCertificate(x.murmur.Certificate.TLS)
		g := startGuard(t, "guard", x.Addr(), automatic)
		r := peers.DialRaw(t, g.addr(), "erin", peers.RawOptions{})
		g.joined(0)
		mark := g.mark()
		x.SetCertificate(theirs.TLS)
		x.Client("erin", patience).Close()
		g.waitFrom(mark, "disconnected", nil)
		r.Close()
		rejected(t, g.addr(), "erin", peers.RawOptions{}, mumblepb.Reject_None, "another certificate")
		rejected(t, g.addr(), "erin", peers.RawOptions{}, mumblepb.Reject_None, "another certificate")
	})
	x.sealed()
}
