package guard

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// hour is a guard that runs for long in virtual time, between a stock client that
// speaks, writes and goes about, and a server with bob, who has Sotto or has not, and
// people who come and go.
type hour struct {
	*bare
	begin  time.Time
	loop   chan error // how the session ended
	room   uint32     // where alice and bob are
	mute   bool       // the client believes that it may not speak
	muted  time.Time  // since when
	answer bool       // guard asked, and the person has not answered yet

	said, arrived, opened int   // packets of speech: by the client while it may, at the server, at bob
	whispers              int   // opened at bob
	target                uint8 // to which the client speaks
	held, longest         time.Duration
	why                   map[string]int // reasons of gates that closed
	lines, logs, texts    int
	frame                 uint64
	guests                uint32
}

// minutes is how long TestHour lasts, in virtual time.
func minutes() int {
	if n, err := strconv.Atoi(os.Getenv("SOTTO_HOURS")); err == nil {
		return 60 * n
	}
	if testing.Short() {
		return 8
	}
	return 60
}

// TestHour: an hour of mixed use in virtual time. Nothing grows, each packet that was
// spoken while the client was allowed to arrives, the client is held for a reason that
// the script gave and for no more than some seconds, and lines are few. With SOTTO_HOURS
// as many hours, with -short some minutes.
func TestHour(t *testing.T) {
	for _, m := range []mode{modePrefer, modeRequire} { // bob has Sotto in the second
		t.Run(m.String(), func(t *testing.T) {
			bareCert()
			synctest.Test(t, func(t *testing.T) { newHour(t, m).live(minutes()) })
		})
	}
}

func newHour(t *testing.T, m mode) *hour {
	h := &hour{begin: time.Now(), why: map[string]int{}}
	h.bare = newBare(t, m, bare15)
	g := h.s.g
	g.cfg.Events = func(e events.Event) {
		if e.Event == "gate" && e.Leave == "nothing" {
			h.why[e.Reason]++
		}
	}
	g.log = slog.New(slog.NewTextHandler(writer(func(b []byte) { h.logs++ }), nil))
	h.start()
	return h
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }

// start lets the session run, and the server greet.
func (h *hour) start() {
	h.loop = make(chan error, 1)
	s := h.s
	go func() {
		err := s.login(context.Background())
		if err == nil {
			_, err = s.loop(context.Background())
		}
		s.finish(err)
		h.loop <- err
	}()
	h.room, h.mute, h.answer = 0, false, false
	if h.mode == modeRequire {
		h.comeBob()
	}
	h.say(h.serverEnd, greeting(bare15)...)
	h.pass(time.Second)
}

// again ends the connection as a server would that restarts, and begins the next. The
// endpoint stays, as it does in a guard that goes on.
func (h *hour) again() {
	h.serverEnd.Close()
	<-h.loop
	old := h.s.g
	h.drop()
	next := newBare(h.t, h.mode, bare15)
	next.s.g, next.s.end, next.bob = old, h.s.end, h.bob
	h.bare = next
	h.start()
}

// drop takes the rest of what came on connections that have ended.
func (h *hour) drop() {
	h.up.drain()
	h.clientEnd.Close()
	h.down.drain()
}

func (h *hour) comeBob() {
	if h.bob != nil {
		h.bob.Disconnected(time.Now())
	} else {
		var err error
		if h.bob, err = endpoint.NewGroups(e2ee.GroupsConfig{
			Policy: e2ee.PolicyRequire, Server: h.s.up.Server(), Address: "server.example", Device: identity.New().NewDevice(0),
		}); err != nil {
			h.t.Fatal(err)
		}
	}
	for _, m := range greeting(bare15)[3:7] {
		h.tell(m)
	}
	h.tell(&mumblepb.ServerSync{Session: proto.Uint32(bareBob)})
}

// say writes messages on one end. Guard takes them at once.
func (h *hour) say(end io.Writer, messages ...proto.Message) {
	for _, m := range messages {
		f := h.frame1(m)
		if _, err := end.Write(f); err != nil {
			h.t.Fatalf("%T: %v", m, err)
		}
	}
}

func (h *hour) frame1(m proto.Message) []byte {
	b, err := control.AppendMessage(nil, m)
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

// everybody tells alice and bob something that the server says.
func (h *hour) everybody(messages ...proto.Message) {
	h.say(h.serverEnd, messages...)
	if h.bob != nil {
		for _, m := range messages {
			h.tell(m)
		}
	}
}

// tell hands bob a message, and carries what he answers.
func (h *hour) tell(m proto.Message) {
	if _, _, err := h.bob.FromServer(time.Now(), m); err != nil {
		h.t.Fatal(err)
	}
	h.fromBob()
}

func (h *hour) fromBob() {
	for o, ok := h.bob.Next(); ok; o, ok = h.bob.Next() {
		switch o := o.(type) {
		case endpoint.Send:
			h.relay(bareBob, o.Message)
		case endpoint.TextIn:
			h.texts++
		}
	}
}

// relay is the server's way with what one of the two sends.
func (h *hour) relay(from uint32, m proto.Message) {
	to := func(session uint32, m proto.Message) {
		switch {
		case session == bareAlice:
			h.say(h.serverEnd, m)
		case session == bareBob && h.bob != nil:
			h.tell(m)
		}
	}
	switch m := m.(type) {
	case *mumblepb.Ping:
		if from == bareAlice {
			h.say(h.serverEnd, m)
		}
	case *mumblepb.PluginDataTransmission:
		m.SenderSession = &from
		for _, session := range m.GetReceiverSessions() {
			to(session, m)
		}
	case *mumblepb.TextMessage:
		m.Actor = &from
		if from == bareAlice && h.bob == nil && m.GetMessage() != "" {
			h.texts++
		}
		for _, session := range m.GetSession() {
			if session != from { // as Murmur does
				to(session, m)
			}
		}
	case *mumblepb.UserState:
		m.Session, m.Actor = &from, &from
		if m.ChannelId != nil && from == bareAlice {
			h.room = m.GetChannelId()
		}
		h.everybody(m)
	case *mumblepb.QueryUsers, *mumblepb.PermissionQuery, *mumblepb.UserStats:
		to(from, m)
	}
}

// pump carries what has come to either end.
func (h *hour) pump() {
	for {
		synctest.Wait()
		select {
		case f := <-h.up.frames:
			h.atServer(f)
			continue
		case f := <-h.down.frames:
			h.atClient(f)
			continue
		default:
		}
		return
	}
}

func (h *hour) atServer(f control.Frame) {
	if f.Type == control.TypeUDPTunnel {
		var p voice.Packet
		if err := voice.Parse(f.Body, voice.Protobuf, voice.ToServer, &p); err != nil {
			h.t.Errorf("voice at the server: %v", err)
			return
		}
		if h.mode.protected() {
			h.look(f)
		}
		opened := &h.opened
		if p.Target != 0 {
			opened = &h.whispers
			p.Context = voice.ContextWhisper
		} else {
			h.arrived++
		}
		if h.bob != nil {
			p.Session, p.Target = bareAlice, 0
			var out voice.Packet
			if h.bob.Unprotect(nil, time.Now(), &p, &out) == nil && len(out.Data) > 0 {
				*opened++
			}
			h.fromBob()
		}
		return
	}
	h.look(f)
	if m, err := control.Decode(f); err == nil {
		h.relay(bareAlice, m)
	}
}

func (h *hour) atClient(f control.Frame) {
	m, err := control.Decode(f)
	if err != nil {
		return
	}
	switch m := m.(type) {
	case *mumblepb.UserState:
		if m.Suppress != nil && m.GetSession() == bareAlice {
			h.braked(m.GetSuppress())
		}
	case *mumblepb.TextMessage:
		if m.Actor == nil {
			h.lines++
			h.answer = h.answer || strings.Contains(m.GetMessage(), "/sotto clear")
		}
	case *mumblepb.PermissionDenied:
		h.lines++
	}
}

// braked notes that the client may not speak, or may again.
func (h *hour) braked(yes bool) {
	if yes == h.mute {
		return
	}
	h.mute = yes
	if yes {
		h.muted = time.Now()
		return
	}
	d := time.Since(h.muted)
	h.held += d
	h.longest = max(h.longest, d)
}

// pass lets time go on.
func (h *hour) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		h.step(false)
	}
}

// talk speaks for a while, 50 packets a second.
func (h *hour) talk(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		h.step(true)
	}
}

// step is 20 ms: what has come is carried, bob's clock goes, the client pings and
// answers, and speaks if it may.
func (h *hour) step(speak bool) {
	time.Sleep(20 * time.Millisecond)
	h.pump()
	if h.bob != nil && time.Since(h.begin)%(100*time.Millisecond) == 0 {
		h.bob.Tick(time.Now())
		h.fromBob()
	}
	if time.Since(h.begin)%(5*time.Second) == 0 {
		h.say(h.clientEnd, &mumblepb.Ping{Timestamp: proto.Uint64(1)})
	}
	if h.answer && h.mute && time.Since(h.muted) > time.Second {
		h.answer = false
		words := "/sotto clear"
		if h.mode.protected() {
			words = "/sotto wait"
		}
		h.say(h.clientEnd, &mumblepb.TextMessage{ChannelId: []uint32{h.room}, Message: &words})
	}
	if !speak || h.mute {
		return
	}
	h.frame += 2
	p := voice.Packet{Codec: voice.Opus, Target: h.target, FrameNumber: h.frame, Data: append([]byte{0xF8}, bareWords...)}
	b, err := voice.Append(nil, voice.Protobuf, voice.ToServer, &p)
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.clientEnd.Write(control.AppendFrame(nil, control.TypeUDPTunnel, b)); err != nil {
		h.t.Fatal(err)
	}
	h.said++
}

// minute is what happens in one of them.
func (h *hour) minute(n int) {
	move := func(session, channel uint32) *mumblepb.UserState {
		return &mumblepb.UserState{Session: &session, Actor: &session, ChannelId: &channel}
	}
	words := fmt.Sprintf("words in minute %d", n)
	h.talk(8 * time.Second)
	h.say(h.clientEnd, &mumblepb.TextMessage{ChannelId: []uint32{h.room}, Message: &words}, &mumblepb.PermissionQuery{ChannelId: &h.room})
	h.pass(time.Second)
	h.guests++
	guest := 100 + h.guests
	name := fmt.Sprintf("guest %d", h.guests)
	switch n % 8 {
	case 0: // alice goes to the other room, and bob follows
		h.say(h.clientEnd, move(bareAlice, 1-h.room))
		h.pass(2 * time.Second)
		h.everybody(move(bareBob, h.room))
	case 1: // somebody without Sotto comes into the other room, looks around, goes
		h.everybody(&mumblepb.UserState{Session: &guest, Name: &name, ChannelId: proto.Uint32(1 - h.room)})
		h.talk(2 * time.Second)
		h.everybody(&mumblepb.UserRemove{Session: &guest})
	case 2: // the rooms are linked and unlinked
		h.everybody(&mumblepb.ChannelState{ChannelId: proto.Uint32(1), LinksRemove: []uint32{0}})
		h.talk(3 * time.Second)
		h.everybody(&mumblepb.ChannelState{ChannelId: proto.Uint32(1), LinksAdd: []uint32{0}})
	case 3: // mutes, comments, records
		for _, m := range []*mumblepb.UserState{
			{SelfMute: proto.Bool(true)}, {SelfMute: proto.Bool(false)}, {Comment: &words}, {Recording: proto.Bool(true)}, {Recording: proto.Bool(false)},
		} {
			h.say(h.clientEnd, m)
			h.pass(time.Second)
		}
	case 4: // a whisper
		h.say(h.clientEnd, &mumblepb.VoiceTarget{Id: proto.Uint32(1 + uint32(n)%5), Targets: []*mumblepb.VoiceTarget_Target{{Session: []uint32{bareBob}}}})
		h.pass(4 * time.Second)
	case 5: // a channel is made, named and removed
		id := 10 + h.guests
		h.everybody(&mumblepb.ChannelState{ChannelId: &id, Parent: proto.Uint32(0), Name: &name}, &mumblepb.ChannelState{ChannelId: &id, Description: &words})
		h.pass(time.Second)
		h.everybody(&mumblepb.ChannelRemove{ChannelId: &id})
	case 6: // the server ends the connection
		h.again()
	case 7: // statistics, plugins, a private text
		h.say(h.clientEnd, &mumblepb.UserStats{Session: proto.Uint32(bareBob)}, &mumblepb.UserState{PluginContext: []byte(words)},
			&mumblepb.TextMessage{Session: []uint32{bareBob}, Message: &words})
	}
	h.pass(time.Second)
	h.talk(5 * time.Second)
	h.pass(time.Until(h.begin.Add(time.Duration(n+1) * time.Minute)))
}

// reasons are those that the script gives to hold the client: the first few seconds
// together, moves, links, the end of a connection, and that nobody answered within 10 s
// after one.
var reasons = []string{
	"everybody here has Sotto", "you are moving", "the server changed who hears this channel", "the connection is lost", "the keys are still not ready",
}

// live lets some minutes pass and looks at what is left of them.
func (h *hour) live(minutes int) {
	const warm = 4 // what is there from the beginning is there
	var before uint64
	for n := range minutes {
		if n == warm {
			before = liveHeap()
		}
		h.minute(n)
	}
	grown := int64(liveHeap()) - int64(before)
	h.braked(false)
	h.clientEnd.Close()
	<-h.loop
	h.drop()
	var why []string
	for reason, times := range h.why {
		if !slices.Contains(reasons, reason) {
			h.t.Errorf("held without a reason that the script gave: %s", reason)
		}
		why = append(why, fmt.Sprintf("%dx %s", times, reason))
	}
	slices.Sort(why)
	h.t.Logf("%d minutes: %d packets said, %d arrived, %d opened, %d texts arrived; held %.1f s in all, %.1f s at most; %d lines, %d in the log; %d bytes more",
		minutes, h.said, h.arrived, h.opened, h.texts, h.held.Seconds(), h.longest.Seconds(), h.lines, h.logs, grown)
	h.t.Logf("held for: %s", strings.Join(why, "; "))
	if h.arrived < h.said {
		h.t.Errorf("of %d packets that the client was allowed to say %d arrived", h.said, h.arrived)
	}
	if h.said < 400*minutes {
		h.t.Errorf("only %d packets were said", h.said)
	}
	if h.bob != nil && h.opened < h.said*99/100 {
		h.t.Errorf("of %d packets bob could open %d", h.said, h.opened)
	}
	if h.texts < minutes*3/4 {
		h.t.Errorf("%d texts arrived", h.texts)
	}
	if grown > 1<<20 {
		h.t.Errorf("%d bytes are kept of %d minutes", grown, minutes-warm)
	}
	if h.longest > 11*time.Second || h.held > time.Duration(minutes)*6*time.Second {
		h.t.Errorf("held for %v in all, %v at most", h.held, h.longest)
	}
	if h.lines > 4*minutes+20 || h.logs > minutes+20 {
		h.t.Errorf("%d lines in the client, %d in the log", h.lines, h.logs)
	}
}
