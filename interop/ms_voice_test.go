package interop_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/internal/evilserver"
	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/mirror"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
	"github.com/sotto-voip/sotto/opus"
)

// TestMaliciousVoice: MS1, MS11, MS12, MS22, MS25, MS26 and MS33 before a real
// server, with automatic groups.
func TestMaliciousVoice(t *testing.T) {
	t.Parallel()
	x := startEvil(t)
	alice, bob, carol := x.call("alice", e2ee.PolicyRequire), x.call("bob", e2ee.PolicyRequire), x.call("carol", e2ee.PolicyRequire)
	x.meet(alice, bob, carol)
	a, b := alice.session(), bob.session()
	evilCarol, evilAlice := x.Client("carol", patience), x.Client("alice", patience)
	forCarol := func(e evilserver.Event) bool {
		return e.Client == evilCarol && e.Dir == voice.ToClient && e.Voice != nil && e.Voice.Session == a
	}

	x.run("MS11", func(t *testing.T) {
		r := x.Record(forCarol)
		mark := carol.now()
		alice.talk(50)
		recorded, _ := r.Wait(40, patience)
		r.Stop()
		first, _ := carol.heard(mark, a)
		time.Sleep(5 * time.Second) // what is played again then is no straggler
		mark = carol.now()
		x.Replay(recorded...)
		time.Sleep(500 * time.Millisecond)
		if again, clear := carol.heard(mark, a); again+clear != 0 || first < 40 {
			t.Errorf("heard %d, and %d a second time", first, again+clear)
		}
	})
	x.run("MS12", func(t *testing.T) {
		mark := carol.now()
		swap := x.Swap(evilserver.Named("carol"), a, b)
		alice.talk(60)
		carol.told(mark, 3*time.Second, endpoint.NoticeMixed, "does not fit the keys of that person")
		swap.Stop()
		for _, who := range []uint32{a, b} {
			if n, clear := carol.heard(mark, who); n+clear > 0 {
				t.Errorf("%d packets are heard under a wrong name", n+clear)
			}
		}
	})
	x.run("MS25 MS26", func(t *testing.T) {
		mark := carol.now()
		for i := range 50 {
			x.InjectVoice(evilCarol, voice.ToClient, voice.Packet{Codec: voice.Opus, Session: b, FrameNumber: uint64(2 * i), Data: bob.packet})
		}
		x.Inject(evilCarol, &mumblepb.TextMessage{Actor: proto.Uint32(b), ChannelId: []uint32{0}, Message: proto.String("I am bob")})
		carol.until(mark, patience, "the text in clear", func(ev client.Event) bool {
			m, ok := ev.(client.TextMessage)
			return ok && m.HTML == "I am bob" && !m.Encrypted
		})
		if n, clear := carol.heard(mark, b); n+clear != 0 {
			t.Errorf("%d packets in clear are heard as bob", n+clear)
		}
	})
	x.run("MS33", func(t *testing.T) {
		mark := carol.now()
		strip := x.OnVoice(func(c *evilserver.Client, dir voice.Direction, p voice.Packet) ([]voice.Packet, time.Duration) {
			if d, _, ok := opus.ParseCover(p.Data); ok && dir == voice.ToClient {
				p.Data, _ = opus.AppendCover(nil, d, nil)
			}
			return []voice.Packet{p}, 0
		})
		began := time.Now()
		done := alice.talks(100)
		carol.told(mark, 3*time.Second, endpoint.NoticeAltered, "protection is impossible here")
		t.Logf("said after %v", time.Since(began))
		strip.Stop()
		<-done
	})
	x.run("MS22", func(t *testing.T) {
		if st, _ := alice.State(); !st.OverUDP {
			t.Fatal("alice does not use UDP, so there is nothing to attack")
		}
		mark, from := carol.now(), alice.now()
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					evilAlice.OldKeys()
				}
			}
		}()
		alice.talk(150)
		close(stop)
		<-stopped
		alice.told(from, 3*time.Second, client.NoticeBarred, "TCP connection from now on")
		if st, _ := alice.State(); st.OverUDP {
			t.Error("alice still uses UDP")
		}
		if n, _ := carol.heard(mark, a); n < 100 {
			t.Errorf("carol heard %d of 150 packets", n)
		}
	})
	x.run("MS1", func(t *testing.T) {
		far := x.murmur.MakeChannel("far")
		dave := peers.DialRaw(t, x.murmur.Addr(), "dave", peers.RawOptions{})
		dave.Join(far)
		alice.until(0, patience, "dave in the other channel", func(ev client.Event) bool {
			m, ok := ev.(client.MirrorEvent)
			u, is := m.Event.(mirror.UserChanged)
			return ok && is && u.New.Name == "dave" && u.New.Channel == far
		})
		mark := alice.now()
		done := alice.talks(400)
		time.Sleep(500 * time.Millisecond)
		x.Move(evilserver.Named("alice"), a, far)
		alice.told(mark, 3*time.Second, e2ee.NoticeMoved, "your microphone is held")
		x.mark("a text", []byte("written while held"))
		if err := alice.SendText("written while held, and it stays here"); err == nil {
			t.Error("a text leaves where the server moved us")
		}
		alice.until(mark, patience, "the closed gate", func(ev client.Event) bool {
			g, ok := ev.(client.GateChanged)
			return ok && g.Leave == e2ee.LeaveNothing
		})
		<-done
		if st, _ := alice.State(); st.Leave != e2ee.LeaveNothing {
			t.Errorf("leaves %v", st.Leave)
		}
	})
	x.sealed()
}
