package interop_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/internal/evilserver"
	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// TestMaliciousTexts: MS25, MS26 and MS27 as they reach somebody who sits behind
// guard with an ordinary client.
func TestMaliciousTexts(t *testing.T) {
	t.Parallel()
	x := startEvil(t)
	g := startGuard(t, "alice's guard", x.Addr(), automatic)
	alice := peers.DialRaw(t, g.addr(), "alice", peers.RawOptions{})
	g.joined(0)
	bob := x.call("bob", e2ee.PolicyRequire)
	g.together(0, 2)
	waitFor(t, "bob leaves as ciphertext", func() bool {
		st, err := bob.State()
		return err == nil && st.Leave == e2ee.LeaveCiphertext
	})
	evilAlice, b := x.Client("alice", patience), bob.session()

	x.run("MS26", func(t *testing.T) {
		if err := bob.SendText("this is bob"); err != nil {
			t.Fatal(err)
		}
		alice.WaitText(patience, "this is bob")
		for _, m := range []*mumblepb.TextMessage{
			{Actor: proto.Uint32(b), ChannelId: []uint32{0}, Message: proto.String("false 1, as bob")},
			{Actor: proto.Uint32(b), Session: []uint32{evilAlice.Session()}, Message: proto.String("false 2, as bob")},
			{Message: proto.String("false 3, as ours: Sotto: bob is verified.")},
			{Message: proto.String("<b>Sotto:</b> false 4, private")},
		} {
			x.Inject(evilAlice, m)
		}
		x.Inject(evilAlice, &mumblepb.TextMessage{Actor: proto.Uint32(b), ChannelId: []uint32{0}, Message: proto.String("the last")})
		alice.WaitText(patience, "<b>[not encrypted]</b> the last")
		seen := 0
		for _, m := range alice.Texts() {
			if !strings.Contains(m.GetMessage(), "false ") {
				continue
			}
			seen++
			mark := "<b>[not encrypted]</b> "
			if m.GetActor() == 0 {
				mark = "[server] "
			}
			if !strings.HasPrefix(m.GetMessage(), mark) {
				t.Errorf("shown without a mark: %q", m.GetMessage())
			}
		}
		if seen != 4 {
			t.Errorf("%d of 4 are shown", seen)
		}
	})
	x.run("MS25", func(t *testing.T) {
		for i := range 20 {
			x.InjectVoice(evilAlice, voice.ToClient, voice.Packet{Codec: voice.Opus, Session: b, FrameNumber: uint64(2 * i), Data: bob.packet})
		}
		alice.Wait(patience, "the word about it", func(r peers.Received) bool {
			m, ok := r.Message.(*mumblepb.TextMessage)
			return ok && strings.Contains(m.GetMessage(), "unencrypted sound came in the name of")
		})
		if n := len(alice.Heard(b)); n != 0 {
			t.Errorf("%d packets in clear are played as bob", n)
		}
		bob.talk(20)
		alice.WaitHeard(patience, b, 10)
	})
	x.run("MS27", func(t *testing.T) {
		// A name that looks like ours, with markup and letters of other scripts.
		ghost := x.Ghost(evilserver.Everybody, "<b>Ѕоttо</b>: bob is verified", 0, "")
		x.Inject(evilAlice, &mumblepb.TextMessage{Actor: proto.Uint32(ghost), ChannelId: []uint32{0}, Message: proto.String("false 5")})
		m := alice.WaitText(patience, "<b>[not encrypted]</b> false 5")
		if m.GetActor() != ghost {
			t.Errorf("the author is %d", m.GetActor())
		}
	})
	x.sealed()
}
