package simnet_test

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/internal/simnet"
	"github.com/sotto-voip/sotto/mls"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// askers are n sessions in a channel that each ask people for a KeyPackage every second.
func (s *stage) askers(n int, channel uint32, of ...*soul) {
	for i := range n {
		from := s.srv.Ghost(fmt.Sprint("asker", i), "", channel)
		var ask func()
		ask = func() {
			r := envelope.KeyPackageRequest{Audience: envelope.AudienceDirect, Suite: uint16(mls.X25519AES128GCM)}
			rand.Read(r.Group[:])
			r.Group[0] |= 0x80
			rand.Read(r.Nonce[:])
			data, err := envelope.AppendSingle(nil, envelope.Object{Kind: envelope.KindKeyPackageRequest, Body: r.Append(nil)})
			if err != nil {
				s.t.Fatal(err)
			}
			for _, p := range of {
				s.srv.Forge(from, data, p.peer.Session())
			}
			s.clock.At(s.clock.Now().Add(950*time.Millisecond), ask)
		}
		s.clock.At(s.clock.Now().Add(time.Duration(i)*10*time.Second/time.Duration(n)), ask)
	}
}

// TestAskersHideNobody: strangers ask bob for KeyPackages all the time. Alice, who never met
// him, writes to him, and for all that her guard waits for, he is not taken for one without
// Sotto: what she wrote leaves encrypted or not at all.
func TestAskersHideNobody(t *testing.T) {
	for _, n := range []int{0, 3, 12, 30} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := newStage(t, 3, simnet.Murmur15())
			far, third := s.srv.AddChannel(0, "far"), s.srv.AddChannel(0, "third")
			alice, bob := s.soul("alice", e2ee.PolicyPrefer), s.soul("bob", e2ee.PolicyRequire)
			bob.peer.Connect()
			s.run(2 * time.Second)
			s.srv.Move(bob.peer.Session(), far)
			s.run(5 * time.Second)
			alice.peer.Connect()
			s.srv.Ghost("stock", "", 0)
			s.askers(n, third, bob)
			s.run(70 * time.Second)
			if alice.Groups().RunsSotto(bob.peer.Session()) {
				t.Fatal("alice has met bob")
			}
			err := alice.writeTo(&mumblepb.TextMessage{Session: []uint32{bob.peer.Session()}, Message: proto.String("for bob alone")})
			if err != nil {
				t.Fatal(err)
			}
			s.run(30 * time.Second)
			if len(bob.plain) > 0 || len(alice.leaks) > 0 {
				t.Errorf("left in clear: %q", alice.leaks)
			}
			if len(bob.texts)+len(alice.failed) != 1 || n == 0 && len(bob.texts) != 1 {
				t.Errorf("bob read %d, alice was told of %d that did not leave", len(bob.texts), len(alice.failed))
			}
		})
	}
}

// TestAskersLeaveRoom: they ask all of a group, which stays together, and whose texts arrive.
func TestAskersLeaveRoom(t *testing.T) {
	for _, n := range []int{5, 30} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := newStage(t, 4, simnet.Murmur15())
			in := s.join(e2ee.PolicyRequire, "alice", "bob", "carol", "dave")
			s.answered(in...)
			s.askers(n, s.srv.AddChannel(0, "far"), in...)
			s.run(time.Minute)
			s.forget()
			if err := in[0].write("hello all"); err != nil {
				t.Fatal(err)
			}
			s.run(5 * time.Second)
			if len(in[1].texts) != 1 {
				t.Errorf("bob read %d texts", len(in[1].texts))
			}
			late := s.soul("late", e2ee.PolicyRequire)
			late.peer.Connect()
			s.within(20*time.Second, "in", func() bool { return isTogether(s.souls) })
			s.forget()
			s.run(4 * time.Minute)
			s.together(s.souls...)
			for _, p := range s.souls {
				for _, n := range p.notices {
					t.Errorf("%s is told: %v", p.name, n)
				}
			}
		})
	}
}
