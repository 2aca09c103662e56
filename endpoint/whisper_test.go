package endpoint_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// whispers sends n packets of 20 ms as they are spoken, and returns what came of the
// first and the last.
func (p *person) whispers(n int) (first, last error) {
	for i := range n {
		_, err := p.say(1, packet(20, byte(i)))
		if i == 0 {
			first = err
		}
		last = err
		p.r.run(20 * time.Millisecond)
	}
	return first, last
}

// played are the frame numbers that a person can play, in order.
func (p *person) played() (numbers []uint64) {
	for _, in := range p.got {
		var out voice.Packet
		if p.Unprotect(nil, p.r.now, &in, &out) == nil {
			numbers = append(numbers, out.FrameNumber)
		}
	}
	p.got = nil
	return numbers
}

func (p *person) told(code, words string) (n int) {
	for _, o := range p.out {
		if x, ok := o.(endpoint.Notice); ok && x.Code == code && strings.Contains(x.Text, words) {
			n++
		}
	}
	return n
}

func whisperTo(people ...*person) *mumblepb.VoiceTarget {
	return &mumblepb.VoiceTarget{Id: proto.Uint32(1), Targets: []*mumblepb.VoiceTarget_Target{to(people...)}}
}

// The key is pressed, VoiceTarget and the first syllable come together: nothing of it
// is lost, and nothing of it reaches anybody else.
func TestWhisperFromTheFirstFrame(t *testing.T) {
	r, all := group(t, 3)
	alice, bob, carol := all[0], all[1], all[2]
	bob.got, carol.got, alice.number = nil, nil, 100
	alice.SetTarget(r.now, whisperTo(bob))
	first, last := alice.whispers(40)
	if !errors.Is(first, endpoint.ErrKept) || last != nil {
		t.Fatalf("first frame: %v, last: %v", first, last)
	}
	var want []uint64
	for i := range uint64(40) {
		want = append(want, 100+2*i)
	}
	if got := bob.played(); !slices.Equal(got, want) {
		t.Errorf("bob heard %v", got)
	}
	if got := carol.played(); len(got) > 0 {
		t.Errorf("carol heard %v", got)
	}
	if alice.told(endpoint.NoticeWhisper, "") > 0 {
		t.Error("alice was told something")
	}
}

// Keys that take longer: what was kept is dropped after 600 ms, and that is said,
// also to who has stopped speaking; at most once a press.
func TestWhisperKeptTooLong(t *testing.T) {
	for what, frames := range map[string]int{"a short whisper": 5, "a long one": 100} {
		t.Run(what, func(t *testing.T) {
			r, all := group(t, 2)
			alice, bob := all[0], all[1]
			r.lose = func(_, _ *person, m proto.Message) bool {
				_, ok := m.(*mumblepb.PluginDataTransmission)
				return ok
			}
			bob.got, alice.out = nil, nil
			alice.SetTarget(r.now, whisperTo(bob))
			first, last := alice.whispers(frames)
			if frames > 30 && !strings.Contains(fmt.Sprint(last), "keys are being prepared") || !errors.Is(first, endpoint.ErrKept) {
				t.Errorf("first frame: %v, last: %v", first, last)
			}
			r.lose = nil
			r.run(20 * time.Second) // the keys come after all, too late
			if got := bob.played(); len(got) > 0 {
				t.Errorf("bob heard %v", got)
			}
			if n := alice.told(endpoint.NoticeWhisper, "took too long"); n != 1 {
				t.Errorf("told %d times", n)
			}
		})
	}
}

// What is kept is for whom it was spoken to: who comes into a shout meanwhile does
// not get it.
func TestWhisperKeptIsNotForOthers(t *testing.T) {
	r, all := group(t, 3)
	alice, bob, carol := all[0], all[1], all[2]
	bob.got, carol.got = nil, nil
	alice.SetTarget(r.now, whisperTo(bob))
	if _, err := alice.say(1, packet(20, 1)); !errors.Is(err, endpoint.ErrKept) {
		t.Fatal(err)
	}
	alice.SetTarget(r.now, whisperTo(bob, carol))
	r.run(5 * time.Second)
	if got := append(bob.played(), carol.played()...); len(got) > 0 {
		t.Errorf("heard %v", got)
	}
	alice.mustHear(1, bob, carol)
}

// A shout to a group of the server's, whose members only it knows (§11.3).
func TestShoutToAGroup(t *testing.T) {
	shout := &mumblepb.VoiceTarget{Id: proto.Uint32(1), Targets: []*mumblepb.VoiceTarget_Target{
		{ChannelId: proto.Uint32(0), Children: proto.Bool(true), Group: proto.String("admin")},
	}}
	stage := func(t *testing.T, sotto bool) (*relay, *person) {
		r := newRelay(t, echoes)
		r.groupShouts = !sotto
		r.channel(5, 0, "Other")
		r.join("eve", 0, nil)
		var e *endpoint.Endpoint
		if sotto {
			e = grouped(t)
		}
		r.join("dave", 5, e)
		alice := r.join("alice", 0, preferring(t))
		r.run(5 * time.Second)
		r.wantLeave(alice, e2ee.LeaveClear)
		alice.SetTarget(r.now, shout)
		if got := alice.LeaveFor(1); got != e2ee.LeaveNothing {
			t.Errorf("nobody was asked yet: leaves %v", got)
		}
		r.carry()
		r.run(5 * time.Second)
		return r, alice
	}
	t.Run("nobody there has Sotto", func(t *testing.T) {
		r, alice := stage(t, false)
		if got := alice.LeaveFor(1); got != e2ee.LeaveClear {
			t.Errorf("leaves %v", got)
		}
		if got := alice.targets[1].GetTargets(); len(got) != 1 || got[0].GetGroup() != "admin" || !got[0].GetChildren() {
			t.Errorf("the server knows %v", got)
		}
		if n := alice.told(endpoint.NoticeWhisper, "leaves in clear"); n != 1 {
			t.Errorf("told %d times", n)
		}
		r.join("bob", 5, grouped(t))
		r.run(3 * time.Second)
		if got := alice.LeaveFor(1); got != e2ee.LeaveNothing {
			t.Errorf("somebody with Sotto came: leaves %v", got)
		}
		if got := alice.targets[1].GetTargets(); len(got) != 0 {
			t.Errorf("the server still knows %v", got)
		}
	})
	t.Run("somebody there has Sotto", func(t *testing.T) {
		_, alice := stage(t, true)
		if got := alice.LeaveFor(1); got != e2ee.LeaveNothing {
			t.Errorf("leaves %v", got)
		}
		if got := alice.targets[1].GetTargets(); len(got) != 0 {
			t.Errorf("the server knows %v", got)
		}
		if _, err := alice.say(1, packet(20, 1)); err == nil || !strings.Contains(err.Error(), "group") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("protected", func(t *testing.T) {
		r, all := group(t, 2)
		alice := all[0]
		alice.SetTarget(r.now, shout)
		r.carry()
		if got := alice.LeaveFor(1); got != e2ee.LeaveNothing || len(alice.targets[1].GetTargets()) != 0 {
			t.Errorf("leaves %v, the server knows %v", got, alice.targets[1])
		}
	})
}

// More than 32 people are refused with the reason, and none of them is left out.
func TestShoutToMany(t *testing.T) {
	for _, c := range []struct {
		n     int
		clear bool // alice speaks in clear where she is
		sotto bool // one of them has it
	}{{32, false, false}, {33, false, false}, {32, true, false}, {33, true, false}, {70, true, false}, {70, true, true}} {
		n := c.n
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			r := newRelay(t, echoes)
			r.channel(5, 0, "Hall")
			if c.clear {
				r.join("bob", 0, nil)
			} else {
				r.join("bob", 0, grouped(t))
			}
			for i := range n {
				var e *endpoint.Endpoint
				if c.sotto && i == n-1 {
					e = grouped(t)
				}
				r.join(fmt.Sprintf("p%d", i), 5, e)
			}
			alice := r.join("alice", 0, preferring(t))
			r.run(5 * time.Second)
			want := e2ee.LeaveCiphertext
			if c.clear {
				want = e2ee.LeaveClear
			}
			r.wantLeave(alice, want)
			alice.SetTarget(r.now, &mumblepb.VoiceTarget{Id: proto.Uint32(1), Targets: []*mumblepb.VoiceTarget_Target{{ChannelId: proto.Uint32(5)}}})
			if got := alice.LeaveFor(1); got != e2ee.LeaveNothing {
				t.Errorf("nobody was asked yet: leaves %v", got)
			}
			r.run(time.Minute)
			inClear := c.clear && !c.sotto
			if got := alice.LeaveFor(1); (got == e2ee.LeaveClear) != inClear {
				t.Errorf("leaves %v", got)
			}
			alice.out = nil
			_, err := alice.say(1, packet(20, 1))
			var refused *endpoint.TargetError
			if !inClear && (!errors.As(err, &refused) || strings.Contains(refused.Reason, "32") != (n > 32)) {
				t.Errorf("error %v", err)
			}
			m := &mumblepb.TextMessage{TreeId: []uint32{5}, Message: proto.String("all of you")}
			if err = alice.SendText(r.now, m); err == nil {
				r.run(time.Minute)
				err = errors.New(strings.Join(alice.failures(), ", "))
			}
			sent := slices.ContainsFunc(alice.out, func(o endpoint.Output) bool { _, ok := o.(endpoint.ClearText); return ok })
			if sent != inClear || !sent && strings.Contains(err.Error(), "32") != (n > 32) || sent != (err.Error() == "") {
				t.Errorf("in clear %v, text: %v", sent, err)
			}
		})
	}
}

// More people than the carrier can ask at once are one group all the same.
func TestShoutToAFullHall(t *testing.T) {
	r, all := group(t, 2)
	alice := all[0]
	r.channel(5, 0, "Hall")
	var hall []*person
	for i := range 32 {
		hall = append(hall, r.join(fmt.Sprintf("h%d", i), 5, grouped(t)))
	}
	r.run(2 * time.Minute) // they agree among themselves
	alice.SetTarget(r.now, &mumblepb.VoiceTarget{Id: proto.Uint32(1), Targets: []*mumblepb.VoiceTarget_Target{{ChannelId: proto.Uint32(5)}}})
	begin := r.now
	for alice.LeaveFor(1) != e2ee.LeaveCiphertext && r.now.Sub(begin) < time.Minute {
		r.run(time.Second)
	}
	t.Logf("ready after %v", r.now.Sub(begin))
	r.run(5 * time.Second)
	alice.mustHear(1, hall...)
}

// Murmur 1.5 loses the first packet to a target after anything has changed that could
// change who hears it: one without sound goes first, and nothing is played of it.
func TestWhisperIsWarmed(t *testing.T) {
	r, all := group(t, 3)
	alice, bob, carol := all[0], all[1], all[2]
	r.channel(5, 0, "Other")
	away := uint32(0)
	for version, extra := range map[control.Version]int{
		control.MakeVersion(1, 4, 287): 0, control.MakeVersion(1, 5, 735): 1, control.MakeVersion(1, 6, 0): 0,
	} {
		alice.SetVersion(version)
		for _, change := range []func(){
			func() { alice.SetTarget(r.now, whisperTo(bob)) },
			func() { away ^= 5; r.move(carol, away) },
		} {
			change()
			r.carry()
			r.run(3 * time.Second)
			bob.got = nil
			for range 3 {
				if _, err := alice.say(1, packet(20, 1)); err != nil && !errors.Is(err, endpoint.ErrKept) {
					t.Fatal(err)
				}
				r.carry()
			}
			sent := len(bob.got)
			if got := bob.played(); len(got) != 3 || sent != 3+extra {
				t.Errorf("%v: sent %d, played %v", version, sent, got)
			}
		}
	}
}

// hall joins n people without Sotto in a channel.
func (r *relay) fill(channel uint32, n int) {
	for i := range n {
		r.join(fmt.Sprintf("h%d", i), channel, nil)
	}
}

func shoutTo(channel uint32) *mumblepb.VoiceTarget {
	return &mumblepb.VoiceTarget{Id: proto.Uint32(1), Targets: []*mumblepb.VoiceTarget_Target{{ChannelId: proto.Uint32(channel)}}}
}

// Keys of those whom a target meant before are not used for those whom it means now,
// also where no group can be made of them: its people have changed, or its words.
func TestTargetOutgrowsItsKeys(t *testing.T) {
	for what, change := range map[string]func(r *relay, alice, mallory *person){
		"its people": func(r *relay, _, mallory *person) {
			r.move(mallory, 6)
			r.fill(5, 33)
		},
		"its words": func(r *relay, alice, _ *person) {
			r.fill(6, 33)
			r.run(time.Second)
			alice.SetTarget(r.now, shoutTo(6))
		},
		"a group": func(r *relay, alice, _ *person) {
			alice.SetTarget(r.now, &mumblepb.VoiceTarget{Id: proto.Uint32(1), Targets: []*mumblepb.VoiceTarget_Target{
				{ChannelId: proto.Uint32(6), Group: proto.String("admin")},
			}})
		},
	} {
		t.Run(what, func(t *testing.T) {
			r, all := group(t, 2)
			alice := all[0]
			r.channel(5, 0, "Hall")
			r.channel(6, 0, "Elsewhere")
			mallory := r.join("mallory", 5, grouped(t))
			r.run(5 * time.Second)
			alice.SetTarget(r.now, shoutTo(5))
			r.run(10 * time.Second)
			alice.mustHear(1, mallory)
			change(r, alice, mallory)
			r.carry()
			r.run(5 * time.Second)
			if got := alice.LeaveFor(1); got != e2ee.LeaveNothing {
				t.Errorf("leaves %v", got)
			}
			if _, err := alice.say(1, packet(20, 9)); err == nil || errors.Is(err, endpoint.ErrKept) {
				t.Errorf("it is sent: %v", err)
			}
		})
	}
}

// A text in clear goes to who reads there when it leaves. Who came while others were
// asked was not asked: it does not leave.
func TestClearTextFollowsReaders(t *testing.T) {
	for what, bob := range map[string]bool{"somebody with Sotto": true, "somebody without": false, "nobody": false} {
		t.Run(what, func(t *testing.T) {
			r := newRelay(t, echoes)
			r.channel(5, 0, "Other")
			r.join("eve", 0, nil)
			r.join("dave", 5, nil)
			alice := r.join("alice", 0, preferring(t))
			r.run(5 * time.Second)
			r.wantLeave(alice, e2ee.LeaveClear)
			alice.out = nil
			if err := alice.SendText(r.now, &mumblepb.TextMessage{ChannelId: []uint32{5}, Message: proto.String("for dave")}); err != nil {
				t.Fatal(err)
			}
			r.run(500 * time.Millisecond)
			if bob {
				r.join("bob", 5, grouped(t))
			} else if what != "nobody" {
				r.join("frank", 5, nil)
			}
			r.run(10 * time.Second)
			left := slices.ContainsFunc(alice.out, func(o endpoint.Output) bool { _, ok := o.(endpoint.ClearText); return ok })
			if left != (what == "nobody") || left == (len(alice.failures()) > 0) {
				t.Errorf("left in clear %v; told %q", left, alice.failures())
			}
		})
	}
}

// To have been asked in vain ends with the session: its number may be another's soon.
func TestAskedInVainEnds(t *testing.T) {
	r := newRelay(t, echoes)
	r.channel(5, 0, "Other")
	r.join("eve", 0, nil)
	dave := r.join("dave", 5, nil)
	alice := r.join("alice", 0, preferring(t))
	r.run(5 * time.Second)
	r.wantLeave(alice, e2ee.LeaveClear)
	alice.SetTarget(r.now, shoutTo(5))
	alice.SendPlugin(r.now, pluginData("one", dave))
	r.run(10 * time.Second)
	if got := alice.LeaveFor(1); got != e2ee.LeaveClear {
		t.Fatalf("to dave: %v", got)
	}
	alice.plugins()
	r.leave(dave)
	r.run(time.Second)
	r.last = dave.session - 1
	bob := r.join("bob", 5, grouped(t))
	r.run(50 * time.Millisecond)
	if bob.session != dave.session {
		t.Fatal("another number")
	}
	if got := alice.LeaveFor(1); got == e2ee.LeaveClear {
		t.Errorf("to bob, who was never asked: %v", got)
	}
	alice.SendPlugin(r.now, pluginData("two", bob))
	if _, inClear := alice.plugins(); inClear > 0 {
		t.Error("plugin data to bob in clear")
	}
}

// People who were asked in vain while nothing could leave in clear: it is said when it
// first does.
func TestClearWhisperIsSaid(t *testing.T) {
	r, all := group(t, 2)
	r.channel(5, 0, "Other")
	dave := r.join("dave", 5, nil)
	r.channel(6, 0, "Open")
	r.join("eve", 6, nil)
	alice := r.join("carol", 0, preferring(t))
	r.run(20 * time.Second)
	r.wantLeave(alice, e2ee.LeaveCiphertext)
	_ = all
	alice.SetTarget(r.now, whisperTo(dave))
	r.run(10 * time.Second)
	alice.out = nil
	alice.LocalMove(r.now, 6)
	r.move(alice, 6)
	r.run(10 * time.Second)
	r.wantLeave(alice, e2ee.LeaveClear)
	alice.LeaveFor(1)
	if got := alice.LeaveFor(1); got != e2ee.LeaveClear {
		t.Fatalf("leaves %v", got)
	}
	r.carry()
	if n := alice.told(endpoint.NoticeWhisper, "leaves in clear"); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// Who could not be asked, as too many others are being asked, was not asked in vain.
func TestNotAskedIsNotInVain(t *testing.T) {
	r := newRelay(t, echoes)
	r.channel(5, 0, "Other")
	r.join("eve", 0, nil)
	var others []*person
	for i := range 12 {
		others = append(others, r.join(fmt.Sprintf("h%d", i), 5, nil))
	}
	bob := r.join("bob", 5, grouped(t))
	alice := r.join("alice", 0, preferring(t))
	r.run(5 * time.Second)
	r.wantLeave(alice, e2ee.LeaveClear)
	for i, p := range append(others, bob) {
		m := whisperTo(p)
		m.Id = proto.Uint32(uint32(i + 1))
		alice.SetTarget(r.now, m)
	}
	id := uint8(len(others) + 1)
	for range 3000 {
		if got := alice.LeaveFor(id); got == e2ee.LeaveClear {
			t.Fatalf("to bob, who was not asked: %v", got)
		} else if got == e2ee.LeaveCiphertext {
			return
		}
		r.run(20 * time.Millisecond)
	}
	t.Error("bob was never asked")
}

// A text for more people than are asked at once, of whom one of the first has Sotto
// and nobody was asked before.
func TestTextToManyAsksAll(t *testing.T) {
	r := newRelay(t, echoes)
	r.channel(5, 0, "Hall")
	r.join("bob", 0, nil)
	r.join("sotto", 5, grouped(t))
	for i := range 39 {
		r.join(fmt.Sprintf("p%d", i), 5, nil)
	}
	alice := r.join("alice", 0, preferring(t))
	r.run(5 * time.Second)
	r.wantLeave(alice, e2ee.LeaveClear)
	if err := alice.SendText(r.now, &mumblepb.TextMessage{TreeId: []uint32{5}, Message: proto.String("all of you")}); err != nil {
		t.Fatal(err)
	}
	r.run(10 * time.Second) // 8.6 s if the questions leave at once, else 11.6 s
	for _, o := range alice.out {
		if c, ok := o.(endpoint.ClearText); ok {
			t.Errorf("in clear: %q", c.Message.GetMessage())
		}
	}
	if got := alice.failures(); len(got) != 1 {
		t.Errorf("said %q", got)
	}
}

// Others keep bob busy with as many direct groups as he holds. Those that are not in use
// give way; while all are, he says that he has Sotto and cannot, and so was not asked
// in vain: nothing for him leaves in clear.
func TestBusyIsNotInVain(t *testing.T) {
	for name, use := range map[string]bool{"idle": false, "in use": true} {
		t.Run(name, func(t *testing.T) {
			r := newRelay(t, echoes)
			r.channel(5, 0, "Other")
			r.channel(6, 0, "Mallory's")
			r.join("eve", 0, nil)
			bob := r.join("bob", 5, grouped(t))
			var busy []*person
			for i := range 32 {
				m := r.join(fmt.Sprintf("m%d", i), 6, grouped(t))
				busy = append(busy, m)
				m.SetTarget(r.now, whisperTo(bob))
				r.carry()
				r.run(2 * time.Second)
			}
			for _, m := range busy {
				if !m.Whispers() {
					t.Fatal("bob does not hold as many groups")
				}
			}
			alice := r.join("alice", 0, preferring(t))
			passes := func() {
				if use {
					for _, m := range busy {
						if err := m.SendText(r.now, &mumblepb.TextMessage{Session: []uint32{bob.session}, Message: proto.String("hey")}); err != nil {
							t.Fatal(err)
						}
					}
				}
				r.run(10 * time.Second)
			}
			for range 4 {
				passes()
			}
			r.wantLeave(alice, e2ee.LeaveClear)
			alice.out, bob.out = nil, nil
			if err := alice.SendText(r.now, &mumblepb.TextMessage{Session: []uint32{bob.session}, Message: proto.String("for bob alone")}); err != nil {
				t.Fatal(err)
			}
			alice.SetTarget(r.now, whisperTo(bob))
			r.carry()
			for range 3 {
				passes()
				if got := alice.LeaveFor(1); got == e2ee.LeaveClear {
					t.Errorf("a whisper to bob leaves in clear")
				}
			}
			for _, o := range alice.out {
				if o, ok := o.(endpoint.ClearText); ok {
					t.Errorf("in clear: %q", o.Message.GetMessage())
				}
			}
			read := 0
			for _, o := range bob.out {
				if o, ok := o.(endpoint.TextIn); ok && o.Text.HTML == "for bob alone" {
					read++
				}
			}
			if failed := len(alice.failures()); use && (read != 0 || failed != 1) || !use && (read != 1 || failed != 0) {
				t.Errorf("bob read it %d times, and alice was told %d times that he did not", read, failed)
			}
		})
	}
}
