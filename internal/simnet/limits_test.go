package simnet_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/internal/simnet"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// room is some plain clients on a server without a network in between.
type room struct {
	t     testing.TB
	clock *simnet.Clock
	srv   *simnet.Server
	peers []*simnet.Peer
	got   [][]proto.Message
	heard [][]voice.Packet
}

func newRoom(t testing.TB, p simnet.Profile, n int) *room {
	t.Helper()
	r := &room{t: t, clock: simnet.NewClock(), got: make([][]proto.Message, n), heard: make([][]voice.Packet, n)}
	r.srv = simnet.NewServer(r.clock, simnet.Config{Seed: 1, Profile: p})
	for i := range n {
		peer := r.srv.NewPeer(fmt.Sprint("user", i), nil)
		peer.OnMessage = func(m proto.Message) { r.got[i] = append(r.got[i], m) }
		peer.OnVoice = func(in, _ *voice.Packet, _ error) { r.heard[i] = append(r.heard[i], *in) }
		peer.Connect()
		r.peers = append(r.peers, peer)
	}
	r.wait(10 * time.Second) // the Version is out of the bucket again
	r.forget()
	return r
}

func (r *room) wait(d time.Duration) { r.t.Helper(); run(r.t, r.clock, d) }

func (r *room) forget() {
	clear(r.got)
	clear(r.heard)
}

func (r *room) session(i int) uint32 { return r.peers[i].Session() }

func (r *room) all() []uint32 { return r.srv.Sessions() }

func (r *room) plugin(from int, data []byte, to ...uint32) {
	r.peers[from].Send(&mumblepb.PluginDataTransmission{
		SenderSession: proto.Uint32(99), ReceiverSessions: to, Data: data, DataID: proto.String("test"),
	})
}

// text is a private text.
func (r *room) text(from int, words string, to ...uint32) {
	r.peers[from].Send(&mumblepb.TextMessage{Session: to, Message: proto.String(words)})
}

// only returns what user i got of one type, and forgets everything.
func only[T proto.Message](r *room, i int) []T {
	r.t.Helper()
	r.wait(time.Millisecond)
	var out []T
	for _, m := range r.got[i] {
		if m, ok := m.(T); ok {
			out = append(out, m)
		}
	}
	r.got[i] = nil
	return out
}

func wantLen[T any](t testing.TB, what string, list []T, n int) {
	t.Helper()
	if len(list) != n {
		t.Fatalf("%s: %d, want %d", what, len(list), n)
	}
}

// 60 plugin messages at once: exactly the first 15 pass. 97 over 10 s: 15 and
// about 3.3 per second. At 260 ms none is lost.
func TestPluginBucket(t *testing.T) {
	r := newRoom(t, simnet.Murmur15(), 2)
	for i := range 60 {
		r.plugin(0, []byte{byte(i)}, r.session(1))
	}
	got := only[*mumblepb.PluginDataTransmission](r, 1)
	wantLen(t, "of 60 at once", got, 15)
	for i, m := range got {
		if m.Data[0] != byte(i) || m.GetSenderSession() != r.session(0) || m.ReceiverSessions != nil {
			t.Errorf("message %d is %v", i, m)
		}
	}
	if d := r.srv.Dropped(); d.PluginRate != 45 || d.Limited() != 45 {
		t.Errorf("counted %+v", d)
	}

	r.wait(20 * time.Second)
	for range 97 {
		r.plugin(0, []byte("x"), r.session(1))
		r.wait(10 * time.Second / 97)
	}
	if n := len(only[*mumblepb.PluginDataTransmission](r, 1)); n < 46 || n > 48 {
		t.Errorf("%d of 97 in 10 s, measured are 47", n)
	}

	before := r.srv.Dropped()
	r.wait(20 * time.Second)
	for range 15 {
		r.plugin(0, []byte("x"), r.session(1))
	}
	for range 200 {
		r.wait(260 * time.Millisecond)
		r.plugin(0, []byte("x"), r.session(1))
	}
	wantLen(t, "of 215 paced", only[*mumblepb.PluginDataTransmission](r, 1), 215)
	if r.srv.Dropped() != before {
		t.Errorf("dropped at 260 ms: %+v", r.srv.Dropped())
	}
}

// Texts, own states and new channels share a bucket of 5 that leaks one per
// second; plugin data does not count there.
func TestControlBucket(t *testing.T) {
	r := newRoom(t, simnet.Murmur13(), 2)
	for range 12 {
		r.text(0, "x", r.session(1))
	}
	wantLen(t, "texts of 12", only[*mumblepb.TextMessage](r, 1), 5)
	r.wait(10 * time.Second)
	for i := range 10 {
		r.peers[0].Send(&mumblepb.UserState{SelfMute: proto.Bool(i%2 == 0)})
	}
	r.text(0, "x", r.session(1))
	wantLen(t, "mutes of 10", only[*mumblepb.UserState](r, 1), 5)
	r.wait(10 * time.Second)
	for range 12 {
		r.peers[0].Send(&mumblepb.ChannelState{Parent: proto.Uint32(0), Name: proto.String("T"), Temporary: proto.Bool(true)})
	}
	r.wait(time.Millisecond)
	if n := r.srv.Dropped().ControlRate; n != 7+6+7 {
		t.Errorf("%d counted", n)
	}
	r.wait(10 * time.Second)
	r.forget()
	for range 20 {
		r.plugin(0, []byte("x"), r.session(1))
	}
	r.text(0, "x", r.session(1))
	wantLen(t, "texts after plugin data", only[*mumblepb.TextMessage](r, 1), 1)
	if n := r.srv.Dropped().Unrelayed; n != 20 {
		t.Errorf("%d plugin messages vanished on Murmur 1.3", n)
	}
	// uMurmur counts no texts.
	u := newRoom(t, simnet.UMurmur(), 2)
	for range 50 {
		u.text(0, "x", u.session(1))
	}
	wantLen(t, "texts of uMurmur", only[*mumblepb.TextMessage](u, 1), 50)
}

// The Version at login is in the bucket already.
func TestVersionCounts(t *testing.T) {
	r := newRoom(t, simnet.Murmur15(), 1)
	p := r.srv.NewPeer("late", nil)
	p.Connect()
	r.wait(time.Millisecond)
	for range 5 {
		p.Send(&mumblepb.TextMessage{Session: []uint32{r.session(0)}, Message: proto.String("x")})
	}
	wantLen(t, "texts at once after login", only[*mumblepb.TextMessage](r, 0), 4)
}

func TestPluginLimits(t *testing.T) {
	for _, c := range []struct {
		name string
		m    *mumblepb.PluginDataTransmission
		want int
	}{
		{"1000 bytes", &mumblepb.PluginDataTransmission{Data: make([]byte, 1000), DataID: proto.String("x")}, 1},
		{"1001 bytes", &mumblepb.PluginDataTransmission{Data: make([]byte, 1001), DataID: proto.String("x")}, 0},
		{"dataID of 100", &mumblepb.PluginDataTransmission{Data: []byte{1}, DataID: proto.String(strings.Repeat("x", 100))}, 1},
		{"dataID of 101", &mumblepb.PluginDataTransmission{Data: []byte{1}, DataID: proto.String(strings.Repeat("x", 101))}, 0},
		{"both empty", &mumblepb.PluginDataTransmission{Data: []byte{}, DataID: proto.String("")}, 1},
		{"no dataID", &mumblepb.PluginDataTransmission{Data: []byte{1}}, 0},
	} {
		r := newRoom(t, simnet.Murmur15(), 2)
		c.m.ReceiverSessions = []uint32{r.session(1), 77, r.session(1), r.session(0)}
		r.peers[0].Send(c.m)
		wantLen(t, c.name+", receiver listed twice", only[*mumblepb.PluginDataTransmission](r, 1), c.want)
		wantLen(t, c.name+", echo", only[*mumblepb.PluginDataTransmission](r, 0), c.want)
		if n := int(r.srv.Dropped().PluginSize); n != 1-c.want {
			t.Errorf("%s: %d counted", c.name, n)
		}
	}
}

// Everybody sees 12,000 messages of six senders in one order, each once.
func TestOneOrder(t *testing.T) {
	p := simnet.Murmur15()
	p.Plugin = simnet.Rate{}
	r := newRoom(t, p, 0)
	orders := make([][]byte, 8)
	count := make([]int, 8)
	for i := range 8 {
		net := simnet.Lossy(0.05)
		net.Delay += time.Duration(i) * 7 * time.Millisecond
		peer := r.srv.NewPeer(fmt.Sprint("user", i), nil)
		peer.Network = &net
		peer.OnMessage = func(m proto.Message) {
			if m, ok := m.(*mumblepb.PluginDataTransmission); ok {
				h := sha256.New()
				fmt.Fprintf(h, "%x %d %x", orders[i], m.GetSenderSession(), m.Data)
				orders[i], count[i] = h.Sum(nil), count[i]+1
			}
		}
		peer.Connect()
		r.peers = append(r.peers, peer)
	}
	r.wait(10 * time.Second)
	for n := range 2000 {
		for i := range 6 {
			r.clock.After(time.Duration(n)*time.Millisecond, func() { r.plugin(i, fmt.Append(nil, n), r.all()...) })
		}
	}
	r.wait(time.Minute)
	for i := range orders {
		if count[i] != 12000 || string(orders[i]) != string(orders[0]) {
			t.Errorf("receiver %d: %d messages, order %x, want 12000 in %x", i, count[i], orders[i], orders[0])
		}
	}
}

func TestTextLimits(t *testing.T) {
	image := func(n int) string { return `<img src="` + strings.Repeat("A", n-13) + `"/>` }
	for _, c := range []struct {
		name   string
		p      simnet.Profile
		words  string
		passes bool
		denied bool
	}{
		{"5000", simnet.Murmur15(), strings.Repeat("x", 5000), true, false},
		{"5001", simnet.Murmur15(), strings.Repeat("x", 5001), false, true},
		{"5000 units outside the plane", simnet.Murmur13(), strings.Repeat("😀", 2500), true, false},
		{"5002 units outside the plane", simnet.Murmur13(), strings.Repeat("😀", 2501), false, true},
		{"image of 131072", simnet.Murmur15(), image(131072), true, false},
		{"image of 131073", simnet.Murmur15(), image(131073), false, true},
		{"long attribute that is no src", simnet.Murmur15(), `<span title="` + strings.Repeat("x", 20000) + `"/>`, false, true},
		{"not well-formed", simnet.Murmur15(), image(9000) + "<b>", false, true},
		{"5001 on uMurmur, which does not check", simnet.UMurmur(), strings.Repeat("x", 5001), true, false},
	} {
		r := newRoom(t, c.p, 2)
		r.text(0, c.words, r.session(1))
		if got := only[*mumblepb.TextMessage](r, 1); (len(got) == 1) != c.passes || c.passes && got[0].GetMessage() != c.words {
			t.Errorf("%s: %d arrived", c.name, len(got))
		}
		denials := only[*mumblepb.PermissionDenied](r, 0)
		if (len(denials) == 1 && denials[0].GetType() == mumblepb.PermissionDenied_TextTooLong) != c.denied {
			t.Errorf("%s: denials %v", c.name, denials)
		}
		if n := r.srv.Dropped().TextLength; (n == 1) != c.denied {
			t.Errorf("%s: %d counted", c.name, n)
		}
	}
}

func TestHTMLFilter(t *testing.T) {
	p := simnet.Murmur13()
	p.AllowHTML = false
	for in, want := range map[string]string{
		"  a   b \n\n c\t":            "a b c",
		"<b>bold</b>":                 "bold",
		"<p>one</p><p>two</p>":        "one two",
		`pre<img src="x"/>post`:       "prepost",
		"&#65;<i/>":                   "A",
		"<b>&lt;i&gt;</b>":            "&lt;i&gt;",
		"<b>unclosed":                 "<b>unclosed",
		"sotto:1,0A,0,1,QUJDRA==":     "sotto:1,0A,0,1,QUJDRA==",
		`<img src="sotto:1,0A,0,1"/>`: "",
	} {
		r := newRoom(t, p, 2)
		r.text(0, in, r.session(1))
		got := only[*mumblepb.TextMessage](r, 1)
		if want == "" {
			wantLen(t, in, got, 0)
			if r.srv.Dropped().TextEmpty != 1 {
				t.Errorf("%q vanished uncounted", in)
			}
			continue
		}
		if len(got) != 1 || got[0].GetMessage() != want {
			t.Errorf("%q became %v, want %q", in, got, want)
		}
	}
}

// One control message above 8186 bytes costs a uMurmur client its connection.
func TestUMurmurCutsLongMessages(t *testing.T) {
	for _, n := range []int{8186, 8187} {
		r := newRoom(t, simnet.UMurmur(), 2)
		m := &mumblepb.TextMessage{Session: []uint32{r.session(1)}, Message: proto.String("")}
		m.Message = proto.String(strings.Repeat("x", n-proto.Size(m)-1)) // the length takes two bytes then
		if proto.Size(m) != n {
			t.Fatalf("built %d bytes", proto.Size(m))
		}
		r.peers[0].Send(m)
		wantLen(t, fmt.Sprint(n, " bytes"), only[*mumblepb.TextMessage](r, 1), 8187-n)
		if r.peers[0].Connected() != (n == 8186) || r.srv.Dropped().ControlSize != uint64(n-8186) {
			t.Errorf("%d bytes: connected %v, %+v", n, r.peers[0].Connected(), r.srv.Dropped())
		}
	}
}

// 50 packets per second for 14 s: 1.3.4 black-holes above 72 kbit/s, 1.5.735
// takes all, uMurmur takes 48 kbit/s.
func TestBandwidth(t *testing.T) {
	for _, c := range []struct {
		p        simnet.Profile
		bytes    int
		min, max int
	}{
		{simnet.Murmur13(), 140, 700, 700},
		{simnet.Murmur13(), 300, 380, 395}, // measured 387, the first drop at 361
		{simnet.Murmur15(), 800, 700, 700},
		{simnet.UMurmur(), 80, 700, 700},
		{simnet.UMurmur(), 300, 230, 290},
	} {
		r := newRoom(t, c.p, 2)
		r.peers[0].Talk(14*time.Second, make([]byte, c.bytes))
		r.wait(15 * time.Second)
		n := len(r.heard[1])
		if n < c.min || n > c.max || int(r.srv.Dropped().Bandwidth) != 700-n {
			t.Errorf("%s, %d bytes: %d of 700 pass, want %d to %d; %+v", c.p.Name, c.bytes, n, c.min, c.max, r.srv.Dropped())
		}
	}
}

func TestVoiceSize(t *testing.T) {
	for _, c := range []struct {
		p      simnet.Profile
		bytes  int
		passes bool
	}{
		{simnet.Murmur15(), 1012, true}, {simnet.Murmur15(), 1013, false}, {simnet.Murmur15(), 0, false},
		{simnet.Murmur13(), 1016, true}, {simnet.Murmur13(), 1017, false}, {simnet.Murmur13(), 0, true},
	} {
		r := newRoom(t, c.p, 2)
		r.peers[0].Say(0, make([]byte, c.bytes))
		r.wait(time.Millisecond)
		if (len(r.heard[1]) == 1) != c.passes || (r.srv.Dropped().VoiceSize == 0) != c.passes {
			t.Errorf("%s, %d bytes: %d pass, %+v", c.p.Name, c.bytes, len(r.heard[1]), r.srv.Dropped())
		}
	}
}
