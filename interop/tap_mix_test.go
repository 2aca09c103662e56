package interop_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// TestTapMix is the mixed use of TestParity between two guards that agreed on keys by
// themselves: alice speaks without a pause, with her position, and the server, read
// with its own key, gets nothing of it, nor of texts, pictures, whispers and places.
func TestTapMix(t *testing.T) {
	clip := peers.Speak(t, clipWords, 20)
	for _, kind := range peers.ServerKinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			x := newTapped(t, kind, clip)
			x.noPlugins = kind == peers.Murmur134
			x.server.Admin().Join(x.far)
			x.hers = startGuard(t, "alice's guard", x.tap.Addr(), automatic, "--policy", "require")
			x.his = startGuard(t, "bob's guard", x.tap.Addr(), automatic, "--policy", "require")
			x.play([]phase{
				{"come", x.together},
				{"words", x.wordsOfMix},
				{"plugins", x.plugins},
				{"mute", x.mute},
				{"whisper", x.whisperOfMix},
				{"moves and links", x.movesOfMix},
				{"come again", x.togetherAgain},
			})
		})
	}
}

// together lets both come, agree on keys, and then dave, who has no Sotto.
func (x *tapped) together() {
	x.comeAlice()
	x.comeBob()
	x.hers.gate(0, "ciphertext")
	x.open(50)
	x.dave = peers.DialRaw(x.t, x.server.Addr(), "dave", peers.RawOptions{UDP: true})
	x.dave.WaitHeard(patience, x.alice.Session, 10)
	x.open(150)
	x.checkBystander()
}

// togetherAgain lets alice go and come, and find bob again.
func (x *tapped) togetherAgain() {
	hers := x.hers.mark()
	x.mouth.who.Store(nil)
	x.mouth.rest()
	x.alice.Close()
	x.hers.waitFrom(hers, "disconnected", nil)
	x.comeAlice()
	x.alice.Join(x.side)
	x.hers.gate(hers, "ciphertext")
	x.open(25)
}

// wordsOfMix are texts of each kind, one with a picture.
func (x *tapped) wordsOfMix() {
	x.dave.Forget()
	x.write("to the channel", x.alice, x.bob, &mumblepb.TextMessage{ChannelId: []uint32{0}})
	x.write("to bob", x.alice, x.bob, &mumblepb.TextMessage{Session: []uint32{x.bob.Session}})
	x.write("from bob", x.bob, x.alice, &mumblepb.TextMessage{ChannelId: []uint32{0}})
	word := "see " + x.marks.add("text with a picture")
	pixels := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(x.marks.add("picture"), 800)))
	x.alice.Text(0, word+` <img src="data:image/png;base64,`+pixels+`"/>`)
	x.bob.Wait(patience, "text with a picture", func(g peers.Received) bool {
		m, ok := g.Message.(*mumblepb.TextMessage)
		return ok && strings.HasPrefix(m.GetMessage(), word)
	})
	if texts := x.dave.Texts(); len(texts) != 0 {
		x.t.Errorf("dave got %v", texts)
	}
}

func (x *tapped) whisperOfMix() {
	x.bob.Forget()
	x.dave.Forget()
	x.alice.Send(&mumblepb.VoiceTarget{Id: proto.Uint32(1), Targets: []*mumblepb.VoiceTarget_Target{{Session: []uint32{x.bob.Session}}}})
	x.mouth.target.Store(1)
	x.bob.Wait(patience, "whisper", func(g peers.Received) bool {
		return g.Voice != nil && g.Voice.Session == x.alice.Session && g.Voice.Context == 2
	})
	x.mouth.more(x.t, 50)
	x.mouth.target.Store(0)
	x.mouth.more(x.t, 5)
	for _, p := range x.dave.Heard(x.alice.Session) {
		if p.Context != 0 {
			x.t.Errorf("dave got a packet of context %d", p.Context)
		}
	}
	x.open(25)
}

func (x *tapped) movesOfMix() {
	admin := x.server.Admin()
	mark := x.hers.mark()
	x.alice.Join(x.side)
	x.bob.Join(x.side)
	x.hers.gate(mark, "ciphertext")
	admin.Link(x.side, x.far)
	x.mouth.more(x.t, 50)
	admin.Unlink(x.side, x.far)
	x.mouth.more(x.t, 50)
	x.alice.Send(&mumblepb.UserState{Session: &x.alice.Session, ListeningChannelAdd: []uint32{x.far}})
	x.mouth.more(x.t, 25)
	x.alice.Send(&mumblepb.UserState{Session: &x.alice.Session, ListeningChannelRemove: []uint32{x.far}})
	x.mouth.more(x.t, 25)
	x.open(25)
	x.checkBystander()
}
