package endpoint_test

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/mls"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
	"github.com/sotto-voip/sotto/opus"
)

// withGroups returns an endpoint of somebody new with automatic groups.
func withGroups(t testing.TB) *endpoint.Endpoint {
	t.Helper()
	e, err := endpoint.NewGroups(e2ee.GroupsConfig{
		Policy: e2ee.PolicyRequire, Server: testServer, Address: "voice.example.org", Device: identity.New().NewDevice(0),
		Suites: []mls.CipherSuite{mls.X25519AES128GCM},
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// groupPair are two people in a group.
func groupPair(t testing.TB) (r *relay, alice, bob *person) {
	t.Helper()
	r = newRelay(t, echoes)
	alice, bob = r.join("alice", 0, withGroups(t)), r.join("bob", 0, withGroups(t))
	r.settle()
	r.wantLeave(alice, e2ee.LeaveCiphertext)
	r.wantLeave(bob, e2ee.LeaveCiphertext)
	return r, alice, bob
}

// notices are the texts of the Notices of a code, which are forgotten.
func notices(p *person, code string) (texts []string) {
	p.r.carry()
	for _, n := range outputs[endpoint.Notice](p) {
		if n.Code == code {
			texts = append(texts, n.Text)
		}
	}
	return texts
}

// every lets p receive n packets in the name of a session, one each pace.
func (p *person) every(n int, pace time.Duration, session uint32, data func(i int) []byte) {
	p.r.t.Helper()
	for i := range n {
		p.r.run(pace)
		in := voice.Packet{Codec: voice.Opus, Session: session, FrameNumber: uint64(2 * i), Data: data(i)}
		var out voice.Packet
		p.Unprotect(p.opened[:0], p.r.now, &in, &out)
	}
}

// MS33: covers without their padding are what is left where the server encodes
// audio anew. Ten of them within three seconds, from people who hear us, are no
// accident; fewer, from others, or other packets in clear, say nothing of it.
func TestAlteredAudio(t *testing.T) {
	bare := func(d time.Duration) []byte {
		b, err := opus.AppendCover(nil, d, nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const pace = 20 * time.Millisecond
	for _, c := range []struct {
		what  string
		data  []byte
		n     int
		pace  time.Duration
		other bool // from somebody who hears silence
		said  bool
	}{
		{"20 ms", bare(20 * time.Millisecond), 10, pace, false, true},
		{"10 ms", bare(10 * time.Millisecond), 10, pace, false, true},
		{"60 ms", bare(60 * time.Millisecond), 10, pace, false, true},
		{"one frame in code 0", []byte{0xF8, 0xFF, 0xFE}, 10, pace, false, true},
		{"two frames in code 1", []byte{0xF9, 0xFF, 0xFE, 0xFF, 0xFE}, 10, pace, false, true},
		{"padding of zeros", append([]byte{0xFB, 0x41, 20, 0xFF, 0xFE}, make([]byte, 20)...), 10, pace, false, true},
		{"in just three seconds", bare(20 * time.Millisecond), 10, 330 * time.Millisecond, false, true},
		{"too few", bare(20 * time.Millisecond), 9, pace, false, false},
		{"too seldom", bare(20 * time.Millisecond), 40, 400 * time.Millisecond, false, false},
		{"of a stranger", bare(20 * time.Millisecond), 40, pace, true, false},
		{"speech in clear", packet(20, 7), 40, pace, false, false},
		{"silence of SILK", []byte{0x08, 0xFF, 0xFE}, 40, pace, false, false},
		{"no Opus", []byte{0xFB}, 40, pace, false, false},
		{"nothing", nil, 40, pace, false, false},
	} {
		for name, pair := range map[string]func(testing.TB) (*relay, *person, *person){
			"groups": groupPair, "typed": func(t testing.TB) (*relay, *person, *person) { return pair(t, echoes) },
		} {
			r, alice, bob := pair(t)
			stranger := r.join("stranger", 0, nil)
			from := bob.session
			if c.other {
				from = stranger.session
			}
			notices(alice, "")
			alice.every(c.n, c.pace, from, func(int) []byte { return c.data })
			said := notices(alice, endpoint.NoticeAltered)
			if (len(said) == 1) != c.said || len(said) > 1 {
				t.Errorf("%s, %s: said %q", name, c.what, said)
			}
			alice.every(100, pace, from, func(int) []byte { return c.data })
			if said := notices(alice, endpoint.NoticeAltered); c.said && len(said) != 0 {
				t.Errorf("%s, %s: said again: %q", name, c.what, said)
			}
		}
	}
}

// MS12: what arrives as the voice of somebody in the group and is not is said, once.
func TestMixedVoice(t *testing.T) {
	r, alice, bob := groupPair(t)
	carol := r.join("carol", 0, withGroups(t))
	r.settle()
	notices(alice, "")
	spoken := func(p *person) []byte {
		if _, err := p.say(0, packet(20, 9)); err != nil {
			t.Fatal(err)
		}
		data := bytes.Clone(alice.got[len(alice.got)-1].Data)
		alice.got = nil
		return data
	}
	alice.every(9, 20*time.Millisecond, carol.session, func(int) []byte { return spoken(bob) })
	if said := notices(alice, endpoint.NoticeMixed); len(said) != 0 {
		t.Errorf("nine packets: %q", said)
	}
	r.run(5 * time.Second)
	alice.every(40, 20*time.Millisecond, carol.session, func(int) []byte { return spoken(bob) })
	if said := notices(alice, endpoint.NoticeMixed); len(said) != 1 {
		t.Errorf("forty packets: %q", said)
	}
	alice.mustHear(0, bob, carol)
}

// The names of channels and their links are the server's; the group is not. Each
// change is said once, and no more often than every ten seconds.
func TestChannelChanges(t *testing.T) {
	r, alice, _ := groupPair(t)
	r.channel(5, 0, "Side")
	notices(alice, "")
	for i := range 20 {
		r.channel(0, 0, []string{"Root", "Toor"}[i%2])
		r.run(time.Second)
	}
	if said := notices(alice, endpoint.NoticeChannel); len(said) < 2 || len(said) > 4 {
		t.Errorf("renamed 20 times in 20 s: %q", said)
	}
	r.run(20 * time.Second)
	notices(alice, "")
	r.broadcast(&mumblepb.ChannelState{ChannelId: proto.Uint32(0), LinksAdd: []uint32{5}})
	r.run(time.Second)
	want := "The links of this channel were changed: what you say goes to 1 person, of whom 1 can read it."
	if said := notices(alice, endpoint.NoticeChannel); len(said) != 1 || said[0] != want {
		t.Errorf("linked: %q", said)
	}
	r.wantLeave(alice, e2ee.LeaveCiphertext)
}
