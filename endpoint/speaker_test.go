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
	"github.com/sotto-voip/sotto/mumble/voice"
	"github.com/sotto-voip/sotto/sframe"
	"github.com/sotto-voip/sotto/trust"
)

var dawn = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// epochBits are the low bits of the epoch that a frame is of.
func epochBits(t *testing.T, p *voice.Packet) uint64 {
	t.Helper()
	_, _, rest, ok := envelope.ParseVoice(p.Data)
	if !ok {
		t.Fatal("no voice of ours")
	}
	h, _, err := sframe.ParseHeader(rest)
	if err != nil {
		t.Fatal(err)
	}
	if h.KID <= 0xFF {
		return h.KID >> 4
	}
	return h.KID >> 8 & 0xF
}

// TestVoiceKeepsItsSpeaker: a frame that opens can begin an epoch, in which another
// one opens that came too early. Each is played as its own speaker's (I6, MS12): a server
// that holds back changes of keys could else put one's words into the other's mouth.
func TestVoiceKeepsItsSpeaker(t *testing.T) {
	hits := 0
	for seed := range uint64(4) {
		if nested(t, seed) {
			hits++
		}
	}
	if hits == 0 {
		t.Error("it never came about")
	}
}

// nested reports whether an epoch began while a frame of the one before opened.
func nested(t *testing.T, seed uint64) bool {
	reseed(t, seed)
	r, all := group(t, 3)
	alice, bob, victim := all[0], all[1], all[2]
	var held []proto.Message
	hold := true
	r.lose = func(_, to *person, m proto.Message) bool {
		if hold && to == victim {
			held = append(held, proto.Clone(m))
			return true
		}
		return false
	}
	frames := map[*person]map[uint64]voice.Packet{alice: {}, bob: {}}
	fill := map[*person]byte{alice: 0xAA, bob: 0xBB}
	speak := func() {
		for _, p := range []*person{alice, bob} {
			victim.got = nil
			if _, err := p.say(0, packet(20, fill[p])); err != nil || len(victim.got) == 0 {
				continue // held for a moment, while keys change
			}
			f := victim.got[len(victim.got)-1]
			frames[p][epochBits(t, &f)] = f
		}
	}
	speak()
	for i := range 5 {
		x := r.join(fmt.Sprint("x", i), 0, grouped(t))
		for range 10 {
			r.run(200 * time.Millisecond)
			speak()
		}
		r.leave(x)
		for range 10 {
			r.run(200 * time.Millisecond)
			speak()
		}
	}
	hold = false
	for _, m := range held {
		victim.receive(m)
	}
	// Commits above the bound of four a second wait; the next is due soon.
	_, epoch := victim.Groups().Epoch()
	a, ok := frames[alice][epoch%16]
	b, ok2 := frames[bob][(epoch+1)%16]
	if !ok || !ok2 {
		return false
	}
	var out voice.Packet
	if err := victim.Unprotect(nil, r.now, &b, &out); err == nil {
		return false // not of an epoch to come
	}
	r.now = r.now.Add(260 * time.Millisecond)
	if err := victim.Unprotect(nil, r.now, &a, &out); err != nil {
		t.Fatalf("alice's frame: %v", err)
	}
	_, now := victim.Groups().Epoch()
	if out.Session != alice.session || out.Data[1] != fill[alice] {
		t.Errorf("as the voice of session %d, alice's is %d: % x", out.Session, alice.session, out.Data[:4])
	}
	played := 0
	for o, ok := victim.Next(); ok; o, ok = victim.Next() {
		if p, ok := o.(endpoint.Played); ok {
			played++
			if p.Packet.Session != bob.session || p.Packet.Data[1] != fill[bob] {
				t.Errorf("played as session %d: % x", p.Packet.Session, p.Packet.Data[:4])
			}
		}
	}
	return now != epoch && played == 1
}

// TestVersionIsRemembered: the version comes to the memory from the server's own
// message, whoever owns the endpoint; and an older one later is an alarm.
func TestVersionIsRemembered(t *testing.T) {
	version := func(v1 uint32) *mumblepb.Version { return &mumblepb.Version{VersionV1: proto.Uint32(v1)} }
	for _, c := range []struct {
		now   uint32
		asked bool
	}{{0x010500, false}, {0x010600, false}, {0x010400, true}} {
		book := &trust.Book{}
		book.RememberServer(dawn, "example.org:64738", trust.Facts{Version: 0x0001_0005_0000_0000})
		e, err := endpoint.NewGroups(e2ee.GroupsConfig{
			Policy: e2ee.PolicyRequire, Server: testServer, Address: "example.org:64738", Device: identity.New().NewDevice(0), Book: book,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := e.FromServer(dawn, version(c.now)); err != nil {
			t.Fatal(err)
		}
		r := newRelay(t, echoes)
		alice := r.join("alice", 0, e)
		r.join("bob", 0, grouped(t))
		r.run(5 * time.Second)
		asked := false
		for _, o := range alice.out {
			if q, ok := o.(endpoint.Question); ok && q.Asked.Question == e2ee.QuestionWorse {
				asked = true
			}
		}
		if asked != c.asked {
			t.Errorf("version %#x: asked %v", c.now, asked)
		}
	}
}
