package guard

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// A suppressed stock client sends no whisper either, and no loopback. So it is told to
// stop neither while nobody is there, nor while it has a whisper that may leave, though
// its speech may not.
func TestBrakeSparesWhispers(t *testing.T) {
	bareCert()
	synctest.Test(t, func(t *testing.T) {
		h := newHour(t, modeRequire)
		defer func() {
			h.clientEnd.Close()
			<-h.loop
			h.drop()
		}()
		const far, eve = 7, 99
		h.pass(5 * time.Second)
		if h.mute {
			t.Fatal("in a group she may not speak")
		}
		h.everybody(
			&mumblepb.ChannelState{ChannelId: proto.Uint32(far), Parent: proto.Uint32(0), Name: proto.String("far")},
			&mumblepb.UserState{Session: proto.Uint32(bareBob), Actor: proto.Uint32(bareBob), ChannelId: proto.Uint32(far)},
		)
		h.say(h.clientEnd, &mumblepb.UserState{Session: proto.Uint32(bareAlice), ChannelId: proto.Uint32(1 - h.room)})
		h.pass(5 * time.Second)
		if h.mute || h.s.end.State().String() != "Alone" {
			t.Fatalf("in %v she may speak: %v", h.s.end.State(), !h.mute)
		}
		whisper := &mumblepb.VoiceTarget{Id: proto.Uint32(1), Targets: []*mumblepb.VoiceTarget_Target{{Session: []uint32{bareBob}}}}
		h.say(h.clientEnd, whisper)
		h.whispersTo(1, true)

		// Somebody without Sotto comes: her speech is held, her whispers are not.
		h.everybody(&mumblepb.UserState{Session: proto.Uint32(eve), Name: proto.String("eve"), ChannelId: proto.Uint32(h.room)})
		h.pass(5 * time.Second)
		if h.mute {
			t.Errorf("in %v, with a whisper that may leave, she may not speak", h.s.end.State())
		}
		h.whispersTo(1, true)
		h.target = 0
		before, lines := h.arrived, h.lines
		h.talk(5 * time.Second)
		if n := h.arrived - before; n != 0 {
			t.Errorf("%d packets of what she says arrive", n)
		}
		if n := h.lines - lines; n != 1 {
			t.Errorf("she is told %d times that nobody hears her", n)
		}

		// Without the whisper she is held, and lifted again when there is one.
		h.say(h.clientEnd, &mumblepb.VoiceTarget{Id: proto.Uint32(1)})
		h.pass(time.Second)
		if !h.mute {
			t.Errorf("in %v she may speak", h.s.end.State())
		}
		h.whispersTo(1, false)
		h.say(h.clientEnd, whisper)
		h.pass(5 * time.Second)
		if h.mute {
			t.Error("she may not whisper again")
		}
		h.whispersTo(1, true)
	})
}

// whispersTo speaks to a target for a while and wants that bob hears it, or nothing.
func (h *hour) whispersTo(target uint8, heard bool) {
	h.t.Helper()
	h.target = target
	h.talk(5 * time.Second)
	before := h.whispers
	h.talk(time.Second)
	h.target = 0
	if n := h.whispers - before; heard != (n > 40) || !heard && n > 0 {
		h.t.Errorf("bob hears %d packets of a second", n)
	}
}
