package interop_test

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// skewFrames are the lengths of Opus packets a client may send, in milliseconds.
var skewFrames = []int{10, 20, 40, 60}

// TestSkew brings together through guards what people may have on their disks: the
// stock clients 1.3.4 and 1.5, an old one that announces 1.2.4 (version_v1 alone,
// legacy voice) and a new one that announces 1.6, on each server. Everybody speaks
// and everybody hears all of it; not one packet is lost or altered. What the two
// raw clients say comes in all lengths, with its terminator and its position, and
// also as a shout; on 1.5 they listen from another channel, too.
func TestSkew(t *testing.T) {
	if testing.Short() {
		t.Skip("starts desktop clients and speaks for twenty seconds")
	}
	clips := map[int]*peers.Speech{}
	for _, ms := range skewFrames {
		clips[ms] = peers.Speak(t, clipWords, ms)
	}
	for _, kind := range peers.ServerKinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			skew(t, kind, clips)
		})
	}
}

// skewed is one raw client of TestSkew.
type skewed struct {
	*peers.Raw
	t    *testing.T
	name string
	next uint64 // frame number
}

func skew(t *testing.T, kind peers.ServerKind, clips map[int]*peers.Speech) {
	// Murmur 1.3 loses what goes beyond its default of 72 kbit/s; 10 ms packets
	// of this clip do.
	server := peers.Start(t, kind, peers.ServerOptions{Bandwidth: 250000, SuperUserPassword: "hall"})
	annex := server.MakeChannel("annex")
	server.Admin().Close() // who has no Sotto would hold everybody
	secret := newSecret(t)
	guards := map[string]*guarded{}
	for _, name := range []string{"c13", "c15", "old", "new"} {
		guards[name] = startGuard(t, name+"'s guard", server.Addr(), secret)
	}
	stocks := map[string]*peers.StockClient{}
	for name, client := range map[string]peers.StockKind{"c13": peers.Mumble134, "c15": peers.Mumble15} {
		stocks[name] = peers.StartStock(t, peers.StockOptions{Kind: client, Addr: guards[name].addr6(), Name: name, Server: server})
	}
	dial := func(name string, version peers.RawOptions) *skewed {
		return &skewed{Raw: peers.DialRaw(t, guards[name].addr(), name, version), t: t, name: name}
	}
	former := dial("old", peers.RawOptions{UDP: true, Version: peers.Version124})
	latter := dial("new", peers.RawOptions{UDP: true, Version: peers.Version16})
	if want := map[peers.ServerKind]voice.Format{peers.Murmur134: voice.Legacy, peers.Murmur15: voice.Protobuf}[kind]; former.Format != voice.Legacy || latter.Format != want {
		t.Fatalf("the old client speaks %v and the new one %v, want %v and %v", former.Format, latter.Format, voice.Legacy, want)
	}
	for _, r := range []*skewed{former, latter} {
		r.Send(&mumblepb.UserState{PluginContext: []byte("one game")})
	}
	for _, g := range guards {
		for name := range guards {
			if g != guards[name] {
				g.wait("holder", holds(name))
			}
		}
		g.gate(0, "ciphertext")
	}

	// The raw clients speak: alone in 20 ms, so that the stock ones hear a voice,
	// and both at once in the other lengths.
	for _, pair := range [][2]*skewed{{former, latter}, {latter, former}} {
		from, to := pair[0], pair[1]
		recordings := map[string]*peers.Recording{}
		for name, c := range stocks {
			recordings[name] = c.Record()
		}
		from.says(clips[20], 0, to)
		for name, r := range recordings {
			end := r.Len() + time.Second // what is still in jitter buffers
			waitFor(t, "the end of the recordings", func() bool { return r.Len() >= end })
			heard(t, fmt.Sprintf("of %s %s", from.name, name), clips[20], r.Stop())
		}
	}
	for _, ms := range []int{10, 40, 60} {
		var both sync.WaitGroup
		both.Go(func() { former.says(clips[ms], 0, latter) })
		both.Go(func() { latter.says(clips[ms], 0, former) })
		both.Wait()
	}

	// The stock clients speak.
	for name, c := range stocks {
		skewStock(t, name, c, clips[20], former, latter)
	}

	// A shout.
	shout := &mumblepb.VoiceTarget{Id: proto.Uint32(3), Targets: []*mumblepb.VoiceTarget_Target{{ChannelId: proto.Uint32(0)}}}
	for _, pair := range [][2]*skewed{{former, latter}, {latter, former}} {
		pair[0].Send(shout)
		pair[0].reaches(3, pair[1])
		pair[0].says(clips[20], 3, pair[1])
	}
	if kind == peers.Murmur134 {
		return // knows no listeners
	}
	for _, pair := range [][2]*skewed{{former, latter}, {latter, former}} {
		from, to := pair[0], pair[1]
		to.Join(annex)
		to.Send(&mumblepb.UserState{Session: &to.Session, ListeningChannelAdd: []uint32{0}})
		from.reaches(listened, to)
		from.says(clips[20], listened, to)
		to.Send(&mumblepb.UserState{Session: &to.Session, ListeningChannelRemove: []uint32{0}})
		to.Join(0)
	}
}

// listened is the target of speech that is heard from another channel.
const listened = 32

// reaches repeats a packet until the other hears it: a VoiceTarget may be overtaken
// by the first datagrams, Murmur 1.5.735 loses the first packet to each target that
// it has made, and a move takes a moment.
func (r *skewed) reaches(target uint8, to *skewed) {
	r.t.Helper()
	to.Forget()
	waitFor(r.t, fmt.Sprintf("a packet of %s with target %d to %s", r.name, target, to.name), func() bool {
		r.SendVoice(voice.Packet{Target: target % listened, FrameNumber: r.next, Data: hopPacket(r.next)})
		r.next += 2
		return len(to.Heard(r.Session)) > 0
	})
	for n := -1; n != len(to.Heard(r.Session)); time.Sleep(200 * time.Millisecond) {
		n = len(to.Heard(r.Session)) // those on their way
	}
}

// says speaks a clip and wants the other to hear each packet as it was.
func (r *skewed) says(clip *peers.Speech, target uint8, to *skewed) {
	r.t.Helper()
	context := uint8(voice.ContextNormal)
	switch {
	case target == listened && to.Format == voice.Protobuf:
		context = voice.ContextListener // an old client knows none, and gets ordinary speech
	case target != 0 && target != listened:
		context = voice.ContextWhisper // guard names the hearers one by one (Sotto protocol §3)
	}
	to.Forget()
	step := uint64(clip.Frame / (10 * time.Millisecond))
	want := make([]voice.Packet, len(clip.Packets))
	next := time.NewTimer(0)
	defer next.Stop()
	begin := time.Now()
	for i, data := range clip.Packets {
		<-next.C
		p := voice.Packet{
			Codec: voice.Opus, Target: target % listened, FrameNumber: r.next, Data: data,
			Terminator: i == len(clip.Packets)-1, HasPosition: true, Position: position,
		}
		r.next += step
		r.SendVoice(p)
		p.Target, p.Context, p.Session = 0, context, r.Session
		want[i] = p
		next.Reset(time.Until(begin.Add(time.Duration(i+1) * clip.Frame)))
	}
	what := fmt.Sprintf("of %s's %d packets of %v to %d %s", r.name, len(want), clip.Frame, target, to.name)
	var got []voice.Packet
	for deadline := time.Now().Add(2 * time.Second); len(got) < len(want) && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		got = to.Heard(r.Session)
	}
	if !slices.EqualFunc(want, got, samePacket) {
		r.t.Errorf("%s hears %d, or others", what, len(got))
		for i := range min(len(want), len(got)) {
			if !samePacket(want[i], got[i]) {
				r.t.Errorf("packet %d was %+v, is %+v", i, want[i], got[i])
				return
			}
		}
	}
}

func samePacket(a, b voice.Packet) bool {
	same := bytes.Equal(a.Data, b.Data)
	a.Data, b.Data = nil, nil
	a.HasVolume, a.Volume, b.HasVolume, b.Volume = false, 0, false, 0 // of listeners
	return same && fmt.Sprint(a) == fmt.Sprint(b)
}

// skewStock lets a stock client speak. Its packets are its own affair, but both
// raw ones must hear the same, without a gap.
func skewStock(t *testing.T, name string, c *peers.StockClient, clip *peers.Speech, hearers ...*skewed) {
	t.Helper()
	session := hearers[0].WaitUser(patience, name)
	for _, r := range hearers {
		r.Forget()
	}
	defer func() {
		if !t.Failed() {
			return
		}
		for _, r := range hearers {
			p := r.Heard(session)
			t.Logf("of %s (session %d) %s has heard %d packets", name, session, r.name, len(p))
			for _, p := range p[max(0, len(p)-5):] {
				t.Logf("frame %d, %d bytes, terminator %v", p.FrameNumber, len(p.Data), p.Terminator)
			}
		}
	}()
	c.PlayMic(clip.WAV)
	over := func(r *skewed) func() bool {
		return func() bool {
			p := r.Heard(session)
			return len(p) > 0 && p[len(p)-1].Terminator
		}
	}
	for _, r := range hearers {
		waitFor(t, "the end of "+name+"'s sentence", over(r))
	}
	first := hearers[0].Heard(session)
	step := first[1].FrameNumber - first[0].FrameNumber
	var packets [][]byte
	lost := 0
	for i, p := range first {
		packets = append(packets, p.Data)
		if i > 0 && !first[i-1].Terminator && p.FrameNumber != first[i-1].FrameNumber+step {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d gaps in %d packets of %s", lost, len(first), name)
	}
	heard(t, fmt.Sprintf("of %s %s", name, hearers[0].name), clip, peers.DecodeOpus(t, packets, time.Duration(step)*10*time.Millisecond))
	if second := hearers[1].Heard(session); !slices.EqualFunc(first, second, samePacket) {
		t.Errorf("of %s the old client hears %d packets, the new one %d, or others", name, len(first), len(second))
	}
}
