package interop_test

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf16"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
	"github.com/sotto-voip/sotto/opus"
)

// marks are byte sequences that must not leave, by what they are.
type marks map[string][]byte

// add makes a mark of 24 letters and digits that chance does not repeat.
func (m marks) add(what string) string {
	b := make([]byte, 12)
	rand.Read(b)
	s := hex.EncodeToString(b)
	for n := 2; m[what] != nil; n++ {
		what = fmt.Sprintf("%s, number %d", what, n)
	}
	m[what] = []byte(s)
	return s
}

// position is three floats whose bytes are unmistakable.
var position = func() (p [3]float32) {
	for i, s := range []string{"Pos1", "Pos2", "Pos3"} {
		p[i] = math.Float32frombits(binary.LittleEndian.Uint32([]byte(s)))
	}
	return p
}()

// speaker makes a raw client speak all the time, also when it was told not to:
// what the gate lets through is the gate's doing.
type speaker struct {
	who    atomic.Pointer[peers.Raw]
	target atomic.Uint32
	sent   atomic.Int64
	busy   sync.Mutex // while a packet is being sent
}

// talk starts a speaker, by UDP: sending then fails for no reason. It ends with
// the test.
func talk(t *testing.T, clip *peers.Speech) *speaker {
	s := &speaker{}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(clip.Frame)
		defer tick.Stop()
		step := uint64(clip.Frame / (10 * time.Millisecond))
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			s.busy.Lock()
			if r := s.who.Load(); r != nil {
				r.SendVoice(voice.Packet{
					Target: uint8(s.target.Load()), FrameNumber: uint64(n) * step,
					Data: clip.Packets[n%len(clip.Packets)], Terminator: n%64 == 63,
					HasPosition: true, Position: position,
				})
				s.sent.Add(1)
			}
			s.busy.Unlock()
		}
	}()
	t.Cleanup(func() { close(stop); <-stopped })
	return s
}

// rest waits until nothing is being said any more by who was taken out of who.
func (s *speaker) rest() {
	s.busy.Lock()
	defer s.busy.Unlock()
}

// more waits until n more packets have been spoken.
func (s *speaker) more(t *testing.T, n int64) {
	t.Helper()
	until := s.sent.Load() + n
	waitFor(t, "more speech", func() bool { return s.sent.Load() >= until })
}

// tapped is the scene of TestTap.
type tapped struct {
	t          *testing.T
	server     *peers.Server
	tap        *peers.Tap
	marks      marks
	clip       *peers.Speech
	mouth      *speaker
	hers, his  *guarded
	aliceCert  *peers.Certificate
	bobCert    *peers.Certificate
	alice, bob *peers.Raw // behind guards, by way of the tap
	dave       *peers.Raw // without Sotto, straight to the server
	side, far  uint32     // channels
	noPlugins  bool       // the server passes no data of plugins, and guard says nothing about it
}

// TestTap leads a guard through everything that can happen to a call, while its
// client speaks without a pause, tells its position and writes, and reads with
// the server's own key what the server could have read.
func TestTap(t *testing.T) {
	clip := peers.Speak(t, clipWords, 20)
	for _, kind := range peers.ServerKinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			x := newTapped(t, kind, clip)
			secret := newSecret(t)
			x.hers = startGuard(t, "alice's guard", x.tap.Addr(), secret)
			x.his = startGuard(t, "bob's guard", x.tap.Addr(), secret)
			x.play([]phase{
				{"nobody holds the secret", x.nobodyHolds},
				{"another secret", x.anotherSecret},
				{"a holder comes", x.holderComes},
				{"texts", x.texts},
				{"plugins", x.plugins},
				{"mute", x.mute},
				{"whispers", x.whispers},
				{"moves", x.moves},
				{"links", x.links},
				{"UDP lost", x.udpLost},
				{"cut", x.cut},
				{"server restart", x.restart},
			})
		})
	}
}

// phase is a part of what a tapped call goes through.
type phase struct {
	name string
	run  func()
}

// play goes through the phases and then looks for what the server could have read.
func (x *tapped) play(phases []phase) {
	for _, p := range phases {
		begin := time.Now()
		p.run()
		x.t.Logf("%-24s %5.1f s, %d frames", p.name, time.Since(begin).Seconds(), len(x.tap.Frames()))
	}
	x.mouth.who.Store(nil)
	x.search()
}

// newTapped starts a server with two more channels and a tap before it.
func newTapped(t *testing.T, kind peers.ServerKind, clip *peers.Speech) *tapped {
	t.Helper()
	x := &tapped{t: t, marks: marks{}, clip: clip}
	x.server = peers.Start(t, kind, peers.ServerOptions{Unlimited: true, SuperUserPassword: "hall"})
	x.side, x.far = x.server.MakeChannel("side"), x.server.MakeChannel("far")
	x.tap = peers.StartTap(t, x.server)
	x.mouth = talk(t, clip)
	x.aliceCert, x.bobCert = peers.NewCertificate(t, "alice"), peers.NewCertificate(t, "bob")
	return x
}

// comeAlice and comeBob log in, again and again.
func (x *tapped) comeAlice() {
	x.t.Helper()
	mark := x.hers.mark()
	x.alice = peers.DialRaw(x.t, x.hers.addr(), "alice", peers.RawOptions{UDP: true, Certificate: x.aliceCert})
	x.mouth.who.Store(x.alice) // from the first moment
	x.hers.joined(mark)
}

func (x *tapped) comeBob() {
	x.t.Helper()
	x.bob = peers.DialRaw(x.t, x.his.addr(), "bob", peers.RawOptions{UDP: true, Certificate: x.bobCert})
}

// open waits until bob hears alice, n packets from now on.
func (x *tapped) open(n int) {
	x.t.Helper()
	x.bob.Forget()
	x.bob.WaitHeard(patience, x.alice.Session, n)
}

// held lets alice speak for half a second, and wants that no packet with speech
// passes the tap in that time. An announcement may: it holds no speech.
func (x *tapped) held(what string) {
	x.t.Helper()
	if state := x.hers.leaves(); state != "nothing" {
		x.t.Errorf("%s: the gate lets %s leave", what, state)
	}
	before := len(x.tap.Frames())
	x.mouth.more(x.t, 25)
	n := 0
	for _, f := range x.tap.Frames()[before:] {
		if v, ok := f.Voice(); ok && f.Dir == voice.ToServer && len(v.Data) > 5 {
			n++
		}
	}
	if n > 2 {
		x.t.Errorf("%s: %d packets left while the gate was closed", what, n)
	}
}

// refused lets alice write, and wants a line with the reason instead.
func (x *tapped) refused(what string, m *mumblepb.TextMessage) {
	x.t.Helper()
	m.Message = proto.String("hello " + x.marks.add("text, "+what))
	x.alice.Forget()
	x.alice.Send(m)
	x.alice.Wait(patience, "refusal of a text, "+what, func(g peers.Received) bool {
		d, ok := g.Message.(*mumblepb.PermissionDenied)
		return ok && d.GetReason() != ""
	})
}

// write lets a write and b read exactly that.
func (x *tapped) write(what string, a, b *peers.Raw, m *mumblepb.TextMessage) {
	x.t.Helper()
	text := "hello " + x.marks.add("text, "+what)
	m.Message = &text
	a.Send(m)
	if got := b.WaitText(patience, text); got.GetActor() != a.Session {
		x.t.Errorf("%s: the text is from %d, want %d", what, got.GetActor(), a.Session)
	}
}

func (x *tapped) nobodyHolds() {
	x.comeAlice()
	x.held("alone")
	x.dave = peers.DialRaw(x.t, x.server.Addr(), "dave", peers.RawOptions{UDP: true})
	x.hers.waitFrom(0, "gate", func(e event) bool { return e.State == "Held" })
	x.held("with dave")
	x.refused("to the channel, nobody holds", &mumblepb.TextMessage{ChannelId: []uint32{0}})
	x.refused("to dave", &mumblepb.TextMessage{Session: []uint32{x.dave.Session}})
	x.refused("to the tree, nobody holds", &mumblepb.TextMessage{TreeId: []uint32{0}})
}

func (x *tapped) anotherSecret() {
	strange := startGuard(x.t, "mallory's guard", x.server.Addr(), newSecret(x.t))
	mallory := peers.DialRaw(x.t, strange.addr(), "mallory", peers.RawOptions{UDP: true})
	x.hers.wait("other_secret", func(e event) bool { return e.Name == "mallory" })
	x.held("with mallory")
	x.refused("to the channel, another secret", &mumblepb.TextMessage{ChannelId: []uint32{0}})
	x.refused("to mallory", &mumblepb.TextMessage{Session: []uint32{mallory.Session}})
	if n := len(mallory.Heard(x.alice.Session)); n != 0 {
		x.t.Errorf("mallory heard %d packets of alice", n)
	}
}

func (x *tapped) holderComes() {
	x.comeBob()
	x.hers.wait("holder", holds("bob"))
	x.open(50)
	x.checkBystander()
}

// checkBystander wants dave to have got nothing of alice but silence.
func (x *tapped) checkBystander() {
	x.t.Helper()
	for _, p := range x.dave.Heard(x.alice.Session) {
		if _, _, _, ok := envelope.ParseVoice(p.Data); !ok || p.HasPosition {
			x.t.Errorf("dave got %x of alice, position %v", p.Data, p.HasPosition)
		}
	}
	x.dave.Forget()
}

func (x *tapped) texts() {
	x.dave.Forget()
	x.write("to the channel", x.alice, x.bob, &mumblepb.TextMessage{ChannelId: []uint32{0}})
	x.write("to bob", x.alice, x.bob, &mumblepb.TextMessage{Session: []uint32{x.bob.Session}})
	x.write("from bob to the channel", x.bob, x.alice, &mumblepb.TextMessage{ChannelId: []uint32{0}})
	x.write("from bob to alice", x.bob, x.alice, &mumblepb.TextMessage{Session: []uint32{x.alice.Session}})
	x.refused("to dave, beside a holder", &mumblepb.TextMessage{Session: []uint32{x.dave.Session}})
	x.refused("to bob and dave", &mumblepb.TextMessage{Session: []uint32{x.bob.Session, x.dave.Session}})
	x.refused("to the tree with dave in it", &mumblepb.TextMessage{TreeId: []uint32{0}})
	if texts := x.dave.Texts(); len(texts) != 0 {
		x.t.Errorf("dave got %v", texts)
	}
}

// plugins: position, context, identity, channel passwords and the data of
// other programs' plugins.
func (x *tapped) plugins() {
	context := []byte("context " + x.marks.add("plugin context"))
	x.alice.Send(&mumblepb.UserState{
		PluginContext:  context,
		PluginIdentity: proto.String("identity " + x.marks.add("plugin identity")),
	})
	x.bob.Send(&mumblepb.UserState{PluginContext: context})
	x.bob.Wait(patience, "position of alice", func(g peers.Received) bool {
		return g.Voice != nil && g.Voice.HasPosition && g.Voice.Position == position
	})
	x.bob.Send(&mumblepb.UserState{PluginContext: []byte("other " + x.marks.add("plugin context of bob"))})
	waitFor(x.t, "voice without position in another place", func() bool {
		x.bob.Forget()
		p := x.bob.WaitHeard(patience, x.alice.Session, 3)
		return !p[0].HasPosition && !p[1].HasPosition && !p[2].HasPosition
	})
	x.alice.Forget()
	x.alice.Send(&mumblepb.PluginDataTransmission{
		SenderSession: &x.alice.Session, ReceiverSessions: []uint32{x.bob.Session, x.dave.Session},
		Data: []byte(x.marks.add("plugin data")), DataID: proto.String("game " + x.marks.add("plugin data id")),
	})
	if !x.noPlugins {
		x.alice.Wait(patience, "word about plugin data", func(g peers.Received) bool {
			m, ok := g.Message.(*mumblepb.TextMessage)
			return ok && m.Actor == nil
		})
	}
	// The server must learn a password, in the login message that is told to
	// nobody; dave must not.
	token := "token-" + hex.EncodeToString([]byte(x.t.Name()))[:16]
	x.alice.Send(&mumblepb.UserState{
		Session: &x.alice.Session, ChannelId: &x.side, TemporaryAccessTokens: []string{token},
	})
	x.waitIn(x.alice, x.alice.Session, x.side)
	for _, hit := range x.tap.Contains([]byte(token)) {
		if hit.Frame.Frame.Type != control.TypeAuthenticate {
			x.t.Errorf("a channel password left in a %v", hit.Frame.Frame.Type)
		}
	}
	for _, g := range x.dave.All() {
		if bytes.Contains(g.Frame.Body, []byte(token)) {
			x.t.Errorf("dave got a channel password in a %v", g.Frame.Type)
		}
	}
	x.alice.Join(0)
	x.open(10)
}

// waitIn waits until r sees a user in a channel.
func (x *tapped) waitIn(r *peers.Raw, session, channel uint32) {
	x.t.Helper()
	waitFor(x.t, fmt.Sprintf("session %d in channel %d", session, channel), func() bool {
		u := r.Users()[session]
		return u != nil && u.GetChannelId() == channel
	})
}

func (x *tapped) mute() {
	state := func(r *peers.Raw, m *mumblepb.UserState, is func(*mumblepb.UserState) bool) {
		x.t.Helper()
		m.Session = &x.alice.Session
		r.Send(m)
		waitFor(x.t, "state of alice", func() bool { u := x.alice.Users()[x.alice.Session]; return u != nil && is(u) })
	}
	for range 3 {
		for _, yes := range []bool{true, false} {
			state(x.alice, &mumblepb.UserState{SelfMute: &yes}, func(u *mumblepb.UserState) bool { return u.GetSelfMute() == yes })
			x.mouth.more(x.t, 5)
		}
	}
	for _, yes := range []bool{true, false} {
		state(x.server.Admin(), &mumblepb.UserState{Mute: &yes}, func(u *mumblepb.UserState) bool { return u.GetMute() == yes })
		x.mouth.more(x.t, 25)
	}
	x.open(10)
}

func (x *tapped) whispers() {
	alone := x.bob.Session
	for id, w := range map[uint32]struct {
		what    string
		target  *mumblepb.VoiceTarget_Target
		allowed bool
	}{
		1: {"to bob", &mumblepb.VoiceTarget_Target{Session: []uint32{alone}}, true},
		2: {"to dave", &mumblepb.VoiceTarget_Target{Session: []uint32{x.dave.Session}}, false},
		3: {"to bob and dave", &mumblepb.VoiceTarget_Target{Session: []uint32{alone, x.dave.Session}}, false},
		4: {"to the channel with dave", &mumblepb.VoiceTarget_Target{ChannelId: proto.Uint32(0)}, false},
		5: {"to a group", &mumblepb.VoiceTarget_Target{ChannelId: proto.Uint32(0), Group: proto.String("all")}, false},
		6: {"to all channels", &mumblepb.VoiceTarget_Target{ChannelId: proto.Uint32(0), Links: proto.Bool(true), Children: proto.Bool(true)}, false},
	} {
		before := len(x.tap.Frames())
		x.bob.Forget()
		x.dave.Forget()
		x.alice.Send(&mumblepb.VoiceTarget{Id: &id, Targets: []*mumblepb.VoiceTarget_Target{w.target}})
		x.mouth.target.Store(id)
		if w.allowed {
			x.bob.Wait(patience, "whisper", func(g peers.Received) bool {
				return g.Voice != nil && g.Voice.Session == x.alice.Session && g.Voice.Context == 2
			})
		}
		x.mouth.more(x.t, 30)
		x.mouth.target.Store(0)
		x.mouth.more(x.t, 5)
		n := 0
		for _, f := range x.tap.Frames()[before:] {
			if v, ok := f.Voice(); ok && f.Dir == voice.ToServer && v.Target == uint8(id) {
				n++
			}
		}
		if (n > 0) != w.allowed {
			x.t.Errorf("whisper %s: %d packets left, allowed: %v", w.what, n, w.allowed)
		}
		if !w.allowed {
			x.alice.Wait(patience, "reason why the whisper "+w.what+" is not sent", func(g peers.Received) bool {
				_, ok := g.Message.(*mumblepb.PermissionDenied)
				return ok
			})
		}
		for _, p := range x.dave.Heard(x.alice.Session) {
			if p.Context != 0 {
				x.t.Errorf("whisper %s: dave got a packet of context %d", w.what, p.Context)
			}
		}
	}
}

func (x *tapped) moves() {
	admin := x.server.Admin()
	mark := x.hers.mark()
	x.alice.Join(x.side) // where nobody is
	x.hers.waitFrom(mark, "gate", func(e event) bool { return e.State == "Alone" })
	x.held("moved away")
	x.bob.Join(x.side)
	x.hers.gate(mark, "ciphertext")
	x.open(25)

	mark = x.hers.mark()
	admin.Move(x.alice.Session, 0) // to dave and mallory
	x.hers.waitFrom(mark, "gate", func(e event) bool { return e.State == "Held" })
	x.held("moved by an admin")
	x.refused("after a move by an admin", &mumblepb.TextMessage{ChannelId: []uint32{0}})
	mark = x.hers.mark()
	admin.Move(x.bob.Session, 0)
	x.hers.gate(mark, "ciphertext")
	x.open(25)
	for range 3 { // to and fro while speaking
		x.alice.Join(x.side)
		x.alice.Join(0)
	}
	x.open(25)
	x.checkBystander()
}

func (x *tapped) links() {
	admin := x.server.Admin()
	admin.Move(x.dave.Session, x.far)
	admin.Link(0, x.far)
	x.dave.Forget()
	x.open(25)
	x.dave.WaitHeard(patience, x.alice.Session, 10) // he gets the cover by the link
	x.checkBystander()
	admin.Unlink(0, x.far)
	x.open(10)
	admin.Move(x.dave.Session, 0)
	x.open(10)
}

// udpLost loses the datagrams between guards and server: voice goes on in the
// tunnel, and comes back to UDP.
func (x *tapped) udpLost() {
	mark := len(x.tap.Frames())
	x.tap.DropUDP(true)
	begin := time.Now()
	x.waitVoice(mark, false)
	down := time.Since(begin)
	x.open(25)
	mark = len(x.tap.Frames())
	x.tap.DropUDP(false)
	begin = time.Now()
	x.waitVoice(mark, true)
	x.t.Logf("tunnel after %.1f s, UDP again after %.1f s", down.Seconds(), time.Since(begin).Seconds())
	x.open(25)
}

// waitVoice waits until voice of alice passes the tap by UDP or by the tunnel.
func (x *tapped) waitVoice(from int, udp bool) {
	x.t.Helper()
	waitFor(x.t, fmt.Sprintf("voice by UDP: %v", udp), func() bool {
		for _, f := range x.tap.Frames()[from:] {
			v, ok := f.Voice()
			if ok && f.Dir == voice.ToServer && f.UDP == udp && len(v.Data) > 5 {
				return true
			}
		}
		return false
	})
}

// cut breaks the connections in the middle of speech. Guard then closes the
// client's, which comes back, as the stock client does.
func (x *tapped) cut() {
	for range 2 {
		mark, his := x.hers.mark(), x.his.mark()
		x.tap.Cut()
		x.again(mark, his)
	}
}

func (x *tapped) again(hers, his int) {
	x.t.Helper()
	x.hers.waitFrom(hers, "disconnected", nil)
	x.his.waitFrom(his, "disconnected", nil)
	x.comeAlice()
	x.held("before bob is back")
	x.comeBob()
	x.hers.gate(hers, "ciphertext")
	x.open(25)
	x.write("after a new connection", x.alice, x.bob, &mumblepb.TextMessage{ChannelId: []uint32{0}})
}

func (x *tapped) restart() {
	mark, his := x.hers.mark(), x.his.mark()
	x.server.Restart()
	x.again(mark, his)
	x.dave = peers.DialRaw(x.t, x.server.Addr(), "dave", peers.RawOptions{UDP: true})
	x.dave.WaitHeard(patience, x.alice.Session, 10)
	x.checkBystander()
}

// search looks for everything that must not have left.
func (x *tapped) search() {
	if n := x.tap.Blind(); n != 0 {
		x.t.Errorf("the tap could not open %d datagrams", n)
	}
	frames := x.tap.Frames()
	silence, err := opus.AppendCover(nil, 20*time.Millisecond, nil)
	if err != nil {
		x.t.Fatal(err)
	}
	sealed, turns := 0, 0
	for _, f := range frames {
		if f.Frame.Type != control.TypeUDPTunnel || f.Dir != voice.ToServer {
			continue
		}
		v, ok := f.Voice()
		if !ok {
			continue // a ping
		}
		_, _, _, is := envelope.ParseVoice(v.Data)
		switch {
		case is:
			sealed++
		case bytes.Equal(v.Data, silence):
			turns++
		default:
			x.t.Errorf("a packet left that is no envelope: %x", v.Data)
		}
		if v.HasPosition || v.Codec != voice.Opus {
			x.t.Errorf("a packet left with position %v, codec %v", v.HasPosition, v.Codec)
		}
	}
	searched := 0
	for i, p := range x.clip.Packets {
		if len(p) < 8 {
			continue
		}
		searched++
		if hits := x.tap.Contains(p); len(hits) > 0 {
			x.t.Errorf("packet %d of the clip was found in clear %d times, first in a %v", i, len(hits), hits[0].Frame.Frame.Type)
		}
	}
	var where []byte
	for _, c := range position {
		where = binary.LittleEndian.AppendUint32(where, math.Float32bits(c))
	}
	x.marks["position"], x.marks["half a position"] = where, where[2:10]
	for what, mark := range x.marks {
		forms := [][]byte{mark}
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			var wide []byte
			for _, u := range utf16.Encode([]rune(string(mark))) {
				wide = order.AppendUint16(wide, u)
			}
			forms = append(forms, wide)
		}
		for _, form := range forms {
			if hits := x.tap.Contains(form); len(hits) > 0 {
				x.t.Errorf("found in clear: %s, %d times, first in a %v as %s", what, len(hits), hits[0].Frame.Frame.Type, hits[0].Form)
			}
		}
	}
	size := 0
	for _, f := range frames {
		size += len(f.Frame.Body)
	}
	x.t.Logf("%d frames, %d bytes searched for %d packets and %d marks; %d envelopes and %d turning packets left; %d packets were spoken",
		len(frames), size, searched, len(x.marks), sealed, turns, x.mouth.sent.Load())
	if sealed < 500 || searched < 50 {
		x.t.Errorf("only %d envelopes left, only %d packets were searched: the run proves little", sealed, searched)
	}
}

// TestTapOff is TestTap's proof that its instruments find what is there: with
// policy off guard passes everything on, and the tap sees it.
func TestTapOff(t *testing.T) {
	t.Parallel()
	clip := peers.Speak(t, clipWords, 20)
	server := peers.Start(t, peers.Murmur15, peers.ServerOptions{})
	tap := peers.StartTap(t, server)
	g := startGuard(t, "guard", tap.Addr(), "")
	alice := peers.DialRaw(t, g.addr(), "alice", peers.RawOptions{UDP: true})
	bob := peers.DialRaw(t, server.Addr(), "bob", peers.RawOptions{UDP: true})
	m := marks{}
	text := "hello " + m.add("text")
	mouth := talk(t, clip)
	mouth.who.Store(alice)
	bob.WaitHeard(patience, alice.Session, 50)
	alice.Text(0, text)
	bob.WaitText(patience, text)
	m["packet"] = bob.Heard(alice.Session)[10].Data
	for what, mark := range m {
		if len(tap.Contains(mark)) == 0 {
			t.Errorf("the tap does not find the %s", what)
		}
	}
	if v := tap.Voices(voice.ToServer); !v[len(v)-1].HasPosition || v[len(v)-1].Position != position {
		t.Error("the tap does not find the position")
	}
}
