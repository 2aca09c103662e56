package endpoint_test

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// TestListenerHears: an ear from another channel hears who speaks there, from epoch to
// epoch, until it is taken away; who sits there sees it among the members.
func TestListenerHears(t *testing.T) {
	r, all := group(t, 2)
	alice, bob := all[0], all[1]
	r.channel(1, 0, "Elsewhere")
	carol, dave := r.join("carol", 1, grouped(t)), r.join("dave", 1, grouped(t))
	r.settle()
	r.settle()
	dave.mustHear(0, carol)
	members := func(n int, listens bool) {
		t.Helper()
		for range 12 {
			if len(alice.Groups().Members()) == n {
				break
			}
			r.settle()
		}
		r.settle()
		for _, p := range []*person{alice, bob} {
			m := p.Groups().Members()
			if len(m) != n || slices.Contains(m, carol.session) != listens {
				t.Fatalf("%s counts %v as members, want %d", p.name, m, n)
			}
		}
	}
	r.listen(carol, 0)
	members(3, true)
	alice.mustHear(0, bob, carol)
	bob.mustHear(0, alice, carol)
	dave.mustHear(0, carol) // and her own channel as before

	eve := r.join("eve", 0, grouped(t))
	members(4, true)
	alice.mustHear(0, bob, carol, eve)
	eve.mustHear(0, alice, carol)
	r.leave(eve)
	members(3, true)
	alice.mustHear(0, bob, carol)

	// The server goes on giving her what is said.
	r.broadcast(&mumblepb.UserState{Session: proto.Uint32(carol.session), ListeningChannelRemove: []uint32{0}})
	members(2, false)
	r.run(5 * time.Second)
	if _, err := alice.say(0, packet(20, 7)); err != nil {
		t.Fatal(err)
	}
	carol.got = bob.got
	if len(carol.got) == 0 {
		t.Fatal("bob was given nothing")
	}
	if out, err := carol.hear(); err == nil {
		t.Errorf("carol still hears: % x", out.Data)
	}
	dave.mustHear(0, carol)
}
