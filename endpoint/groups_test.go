package endpoint_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// grouped returns an endpoint that agrees on keys by itself and never goes clear.
func grouped(t testing.TB) *endpoint.Endpoint {
	t.Helper()
	return underPolicy(t, e2ee.PolicyRequire)
}

// preferring returns one that goes clear where nobody else has Sotto.
func preferring(t testing.TB) *endpoint.Endpoint {
	t.Helper()
	return underPolicy(t, e2ee.PolicyPrefer)
}

func underPolicy(t testing.TB, p e2ee.Policy) *endpoint.Endpoint {
	t.Helper()
	e, err := endpoint.NewGroups(e2ee.GroupsConfig{
		Policy: p, Server: testServer, Address: "example.org:64738", Device: identity.New().NewDevice(0),
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// group returns n people in one group.
func group(t testing.TB, n int) (r *relay, all []*person) {
	t.Helper()
	r = newRelay(t, echoes)
	for i := range n {
		all = append(all, r.join(fmt.Sprintf("p%d", i), 0, grouped(t)))
	}
	for range 12 {
		r.settle()
		if len(all[0].Groups().Members()) == n && len(all[n-1].Groups().Members()) == n {
			break
		}
	}
	for _, p := range all {
		r.wantLeave(p, e2ee.LeaveCiphertext)
		if got := len(p.Groups().Members()); got != n {
			t.Fatalf("%s is in a group of %d", p.name, got)
		}
	}
	return r, all
}

// TestWhisperAskedAgain: an answer that got lost, or came late, does not make a
// whisper impossible for as long as nobody comes or goes.
func TestWhisperAskedAgain(t *testing.T) {
	r, all := group(t, 3)
	alice, bob := all[0], all[1]
	lost := 0
	r.lose = func(_, _ *person, m proto.Message) bool {
		p, ok := m.(*mumblepb.PluginDataTransmission)
		if !ok {
			return false
		}
		f, err := envelope.ParseFragment(p.GetData())
		if err != nil || f.Kind != envelope.KindKeyPackageReply {
			return false
		}
		lost++
		return true
	}
	alice.SetTarget(r.now, &mumblepb.VoiceTarget{
		Id: proto.Uint32(1), Targets: []*mumblepb.VoiceTarget_Target{{Session: []uint32{bob.session}}},
	})
	r.carry()
	r.run(4 * time.Second)
	if lost == 0 || alice.LeaveFor(1) != e2ee.LeaveNothing {
		t.Fatalf("%d answers lost, %v leaves", lost, alice.LeaveFor(1))
	}
	r.lose = nil
	r.run(10 * time.Second)
	bob.got = nil
	alice.mustHear(1, bob)
}

// newGroupHop is newHop with two people of a group of n.
func newGroupHop(b *testing.B, n int) *hop {
	r, all := group(b, n)
	h := &hop{t: b, r: r, alice: all[0], bob: all[n-1], legs: newLegs(b), opus: append([]byte{0xF8}, make([]byte, frameLen-1)...)}
	for i := range h.opus[1:] {
		h.opus[i+1] = byte(i*7 + 1)
	}
	for _, buf := range []*[]byte{&h.datagram, &h.plain, &h.sealed, &h.scratch, &h.upstream, &h.fromAlice, &h.toBob} {
		*buf = make([]byte, 0, 2048)
	}
	return h
}

// BenchmarkGroupFrame is BenchmarkGuardFrame with agreed keys: the same goal, for
// two people and unchanged for fifty.
func BenchmarkGroupFrame(b *testing.B) {
	for _, n := range []int{2, 50} {
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) {
			h := newGroupHop(b, n)
			bench(b, h, h.crypto)
		})
	}
}

// BenchmarkGroupUnprotect is the other direction, without the legs.
func BenchmarkGroupUnprotect(b *testing.B) {
	for _, n := range []int{2, 50} {
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) {
			benchUnprotect(b, newGroupHop(b, n), true)
		})
	}
}
