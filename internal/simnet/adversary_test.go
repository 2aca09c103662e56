package simnet_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/internal/simnet"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// fast is Murmur 1.5 without its bucket for plugin data.
func fast() simnet.Profile {
	p := simnet.Murmur15()
	p.Plugin = simnet.Rate{}
	return p
}

// send lets user 0 send n numbered plugin messages to everybody, 1 ms apart, and
// waits for all that may be held.
func (r *room) send(n int) {
	r.t.Helper()
	for i := range n {
		r.clock.After(time.Duration(i)*time.Millisecond, func() { r.plugin(0, fmt.Appendf(nil, "%04d", i), r.all()...) })
	}
	r.wait(20 * time.Second)
}

// data returns the plugin data that user i got, in order, and forgets it.
func (r *room) data(i int) []string {
	r.t.Helper()
	var out []string
	for _, m := range only[*mumblepb.PluginDataTransmission](r, i) {
		out = append(out, string(m.Data))
	}
	return out
}

func numbers(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%04d", i)
	}
	return out
}

// Each chance does what it says to about as many messages as it says, and
// nothing else.
func TestChaosPerMessage(t *testing.T) {
	const n = 1000
	all := numbers(n)
	for _, c := range []struct {
		name  string
		chaos simnet.Chaos
		check func(got []string) (hit int, sound bool)
	}{
		{"none", simnet.Chaos{}, func(got []string) (int, bool) { return n / 5, slices.Equal(got, all) }},
		{"drop", simnet.Chaos{Drop: 0.2}, func(got []string) (int, bool) {
			return n - len(got), slices.IsSorted(got) && len(slices.Compact(slices.Clone(got))) == len(got)
		}},
		{"duplicate", simnet.Chaos{Duplicate: 0.2}, func(got []string) (int, bool) {
			hit := len(got) - n
			slices.Sort(got)
			return hit, slices.Equal(slices.Compact(got), all)
		}},
		{"stall", simnet.Chaos{Stall: 0.2, MaxDelay: 100 * time.Millisecond}, func(got []string) (int, bool) { return n / 5, slices.Equal(got, all) }},
		{"reorder", simnet.Chaos{Reorder: 0.2, MaxDelay: time.Second}, func(got []string) (int, bool) {
			late, newest := 0, ""
			for _, s := range got {
				if s < newest {
					late++
				}
				newest = max(newest, s)
			}
			slices.Sort(got)
			return late, slices.Equal(got, all)
		}},
		{"truncate", simnet.Chaos{Truncate: 0.2}, func(got []string) (int, bool) {
			hit := 0
			for i, s := range got {
				if s != all[i] {
					hit++
				}
				if len(s) > 4 || s != all[i][:len(s)] {
					return 0, false
				}
			}
			return hit, len(got) == n
		}},
		{"flip", simnet.Chaos{Flip: 0.2}, func(got []string) (int, bool) {
			hit := 0
			for i, s := range got {
				if s != all[i] {
					hit++
				}
				if len(s) != 4 {
					return 0, false
				}
			}
			return hit, len(got) == n
		}},
		{"replay", simnet.Chaos{Replay: 0.2}, func(got []string) (int, bool) {
			hit := len(got) - n
			slices.Sort(got)
			return hit, slices.Equal(slices.Compact(got), all)
		}},
	} {
		r := newRoom(t, fast(), 4)
		r.srv.Chaos(c.chaos)
		r.send(n)
		for i := range 4 {
			hit, sound := c.check(r.data(i))
			if !sound || hit < n/5-60 || hit > n/5+60 {
				t.Errorf("%s at user %d: %d of %d hit, the rest as it should be: %v", c.name, i, hit, n, sound)
			}
		}
		r.srv.Fair()
		r.send(10)
		if got := r.data(1); !slices.Equal(got, numbers(10)) {
			t.Errorf("%s: %v after Fair", c.name, got)
		}
	}
}

func TestChaosSwap(t *testing.T) {
	r := newRoom(t, fast(), 4)
	r.srv.Chaos(simnet.Chaos{Swap: 0.4})
	r.send(500)
	wrong := map[uint32]int{}
	for _, m := range only[*mumblepb.PluginDataTransmission](r, 1) {
		if m.GetSenderSession() != r.session(0) {
			wrong[m.GetSenderSession()]++
		}
	}
	if len(wrong) != 3 || wrong[2]+wrong[3]+wrong[4] < 100 {
		t.Errorf("wrong senders %v", wrong)
	}
}

// A partial delivery leaves some out and never all.
func TestChaosPartial(t *testing.T) {
	r := newRoom(t, fast(), 5)
	r.srv.Chaos(simnet.Chaos{Partial: 1})
	r.send(300)
	count := map[string]int{}
	for i := range 5 {
		for _, s := range r.data(i) {
			count[s]++
		}
	}
	for _, s := range numbers(300) {
		if n := count[s]; n < 1 || n > 4 {
			t.Fatalf("%s reached %d of 5", s, n)
		}
	}
}

// With Voice the chances count for voice as well, without it they do not.
func TestChaosVoice(t *testing.T) {
	for _, c := range []struct {
		voice    bool
		min, max int
	}{{false, 500, 500}, {true, 200, 300}} {
		r := newRoom(t, fast(), 2)
		r.srv.Chaos(simnet.Chaos{Drop: 0.5, Voice: c.voice})
		r.peers[0].Talk(10*time.Second, []byte("x"))
		r.wait(11 * time.Second)
		if n := len(r.heard[1]); n < c.min || n > c.max {
			t.Errorf("voice %v: %d of 500", c.voice, n)
		}
	}
}

func TestHooks(t *testing.T) {
	r := newRoom(t, fast(), 4)
	// A script: to user 1 nothing of the kind Presence, to user 2 late, to user 3 cut.
	presence, err := envelope.AppendSingle(nil, envelope.Object{Kind: envelope.KindPresence, Body: []byte("here")})
	if err != nil {
		t.Fatal(err)
	}
	hello, err := envelope.AppendSingle(nil, envelope.Object{Kind: envelope.KindHello, Body: []byte("me")})
	if err != nil {
		t.Fatal(err)
	}
	r.srv.Hook(simnet.Only(simnet.Withhold(r.session(0), envelope.KindPresence), r.session(1)))
	r.srv.Hook(simnet.Only(simnet.Hold(r.session(0), 10*time.Second), r.session(2)))
	r.srv.Hook(simnet.Only(func(d *simnet.Delivery) { d.Truncate(5) }, r.session(3)))
	send := func(from int, b []byte) {
		r.peers[from].Send(&mumblepb.PluginDataTransmission{ReceiverSessions: r.all(), Data: b, DataID: proto.String(envelope.DataID)})
	}
	send(0, presence)
	send(0, hello)
	send(1, presence)
	r.wait(time.Second)
	got := [][]string{r.data(0), r.data(1), r.data(2), r.data(3)}
	p, h := string(presence), string(hello)
	for i, want := range [][]string{{p, h, p}, {h, p}, {p}, {p[:5], h[:5], p[:5]}} {
		if !slices.Equal(got[i], want) {
			t.Errorf("user %d got %q, want %q", i, got[i], want)
		}
	}
	r.wait(10 * time.Second)
	if late := r.data(2); !slices.Equal(late, []string{p, h}) {
		t.Errorf("held and then %q", late)
	}
	if k, ok := r.srv.Recorded()[1].Kind(); !ok || k != envelope.KindHello {
		t.Errorf("recorded %v", k)
	}
	r.srv.Fair()
	send(0, presence)
	if got := r.data(1); !slices.Equal(got, []string{p}) {
		t.Errorf("after Fair %q", got)
	}
}

func TestWithholdVoice(t *testing.T) {
	r := newRoom(t, fast(), 3)
	r.srv.Hook(simnet.WithholdVoice(r.session(0), envelope.VoicePresence))
	say := func(i int, vk byte) {
		data, err := envelope.AppendVoice(nil, 20*time.Millisecond, []byte{vk, 1, 2, 3})
		if err != nil {
			t.Fatal(err)
		}
		r.peers[i].Say(0, data)
		r.wait(time.Millisecond)
	}
	say(0, envelope.VoicePresence)
	say(0, envelope.VoiceTyped)
	say(1, envelope.VoicePresence)
	if len(r.heard[1]) != 1 || len(r.heard[2]) != 2 || len(r.heard[0]) != 1 {
		t.Errorf("heard %d %d %d", len(r.heard[0]), len(r.heard[1]), len(r.heard[2]))
	}
}

// Each world sees only its own members; who is in none sees all.
func TestFork(t *testing.T) {
	r := newRoom(t, fast(), 7)
	r.srv.Fork(simnet.Fork{Worlds: [][]uint32{{1, 2}, {3, 4}, {5, 6}}, Voice: true})
	for i := range 7 {
		r.plugin(i, fmt.Append(nil, i), r.all()...)
		r.text(i, fmt.Sprint("t", i), r.all()...)
	}
	r.wait(time.Second)
	for i, want := range []string{"[0 1 6]", "[0 1 6]", "[2 3 6]", "[2 3 6]", "[4 5 6]", "[4 5 6]", "[0 1 2 3 4 5 6]"} {
		if got := fmt.Sprint(r.data(i)); got != want {
			t.Errorf("user %d sees %s, want %s", i, got, want)
		}
	}
	r.wantContexts("voice in a world", 0, 0, map[int]uint8{1: 0, 6: 0})
	r.srv.Join()
	r.wantContexts("voice after that", 0, 0, map[int]uint8{1: 0, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0})
}

// Two worlds see the same messages, each in an order of its own that all its
// members share.
func TestForkOrder(t *testing.T) {
	r := newRoom(t, fast(), 6)
	r.srv.Fork(simnet.Fork{Worlds: [][]uint32{{1, 2}, {3, 4}, {5, 6}}, Order: time.Second})
	r.send(200)
	var orders [][]string
	for i := range 6 {
		orders = append(orders, r.data(i))
		sorted := slices.Sorted(slices.Values(orders[i]))
		if !slices.Equal(sorted, numbers(200)) {
			t.Errorf("user %d got %d messages", i, len(sorted))
		}
	}
	for _, pair := range [][2]int{{0, 1}, {2, 3}, {4, 5}} {
		if !slices.Equal(orders[pair[0]], orders[pair[1]]) {
			t.Errorf("%v: members of one world see two orders", pair)
		}
	}
	for _, pair := range [][2]int{{0, 2}, {2, 4}, {0, 4}} {
		if slices.Equal(orders[pair[0]], orders[pair[1]]) {
			t.Errorf("%v: members of two worlds see one order", pair)
		}
	}
}

func TestReplay(t *testing.T) {
	r := newRoom(t, fast(), 3)
	r.plugin(0, []byte("once"), r.session(1), r.session(0))
	r.peers[0].Say(0, []byte("speech"))
	r.wait(time.Second)
	recorded := r.srv.Recorded()
	wantLen(t, "recorded", recorded, 1)
	wantLen(t, "recorded voice", r.srv.RecordedVoice(), 1)
	r.forget()
	r.peers[0].Disconnect()
	r.wait(5 * time.Second)
	r.srv.Replay(recorded[0])
	r.srv.Replay(recorded[0], r.session(2))
	r.srv.Replay(r.srv.RecordedVoice()[0], r.session(2))
	for _, i := range []int{1, 2} {
		got := only[*mumblepb.PluginDataTransmission](r, i)
		if len(got) != 1 || got[0].GetSenderSession() != 1 || string(got[0].Data) != "once" {
			t.Errorf("user %d: %v", i, got)
		}
	}
	if len(r.heard[1]) != 0 || len(r.heard[2]) != 1 || r.heard[2][0].Session != 1 {
		t.Errorf("heard %v %v", r.heard[1], r.heard[2])
	}
}

// The record keeps the newest 4096.
func TestRecordIsBounded(t *testing.T) {
	r := newRoom(t, fast(), 1)
	r.send(5000)
	rec := r.srv.Recorded()
	wantLen(t, "recorded", rec, 4096)
	first := rec[0].Message.(*mumblepb.PluginDataTransmission)
	last := rec[4095].Message.(*mumblepb.PluginDataTransmission)
	if string(first.Data) != "0904" || string(last.Data) != "4999" {
		t.Errorf("from %s to %s", first.Data, last.Data)
	}
}

func TestSwapForgeInject(t *testing.T) {
	r := newRoom(t, fast(), 3)
	r.srv.Swap(r.session(0), r.session(1))
	r.plugin(0, []byte("x"), r.session(2))
	r.text(1, "y", r.session(2))
	r.peers[0].Say(0, []byte("speech"))
	r.wait(time.Second)
	if m := r.got[2][0].(*mumblepb.PluginDataTransmission); m.GetSenderSession() != 2 || string(m.Data) != "x" {
		t.Errorf("data %v", m)
	}
	if m := r.got[2][1].(*mumblepb.TextMessage); m.GetActor() != 1 || m.GetMessage() != "y" {
		t.Errorf("text %v", m)
	}
	if len(r.heard[2]) != 1 || r.heard[2][0].Session != 2 {
		t.Errorf("voice %+v", r.heard[2])
	}
	r.srv.Fair()
	r.forget()
	r.srv.Forge(0, []byte("junk"), r.session(1))
	r.srv.Inject(&mumblepb.TextMessage{Actor: proto.Uint32(1), Message: proto.String("I never said that")})
	r.srv.InjectVoice(voice.Packet{Codec: voice.Opus, Session: 1, Data: []byte("nor that")})
	r.wait(time.Second)
	if m := only[*mumblepb.PluginDataTransmission](r, 1); len(m) != 1 || m[0].GetSenderSession() != 0 || m[0].GetDataID() != envelope.DataID {
		t.Errorf("forged %v", m)
	}
	wantLen(t, "injected texts", only[*mumblepb.TextMessage](r, 2), 1)
	if len(r.heard[0]) != 0 || len(r.heard[1]) != 1 || !bytes.Equal(r.heard[2][0].Data, []byte("nor that")) {
		t.Errorf("injected voice %v", r.heard)
	}
}
