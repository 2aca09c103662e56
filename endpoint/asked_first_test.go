package endpoint_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// TestAskedFirst: who speaks in clear beside somebody without Sotto still whispers and
// writes encrypted to people elsewhere who have it, though they never met; and in
// clear to those who have not only after they were asked, with a line (§11.3).
func TestAskedFirst(t *testing.T) {
	r := newRelay(t, echoes)
	r.channel(5, 0, "Other")
	eve := r.join("eve", 0, nil)
	bob, dave := r.join("bob", 5, grouped(t)), r.join("dave", 5, grouped(t))
	alice := r.join("alice", 0, preferring(t))
	r.run(5 * time.Second)
	r.wantLeave(alice, e2ee.LeaveClear)
	for _, c := range []struct {
		to    *person
		clear bool
	}{{bob, false}, {eve, true}, {dave, false}} { // and those asked in vain hold up nobody else
		alice.out, c.to.out = nil, nil
		m := &mumblepb.TextMessage{Session: []uint32{c.to.session}, Message: proto.String("for " + c.to.name)}
		if got := alice.LeaveForText(m); got != e2ee.LeaveCiphertext {
			t.Errorf("a text to %s, not asked yet: %v", c.to.name, got)
		}
		if err := alice.SendText(r.now, m); err != nil {
			t.Fatal(err)
		}
		alice.SetTarget(r.now, &mumblepb.VoiceTarget{Id: proto.Uint32(1), Targets: []*mumblepb.VoiceTarget_Target{{Session: []uint32{c.to.session}}}})
		if got := alice.LeaveFor(1); got != e2ee.LeaveNothing {
			t.Errorf("a whisper to %s, not asked yet: %v", c.to.name, got)
		}
		r.carry()
		wait := 5 * time.Second
		if c.clear {
			wait = 20 * time.Second // she is asked again and again, with longer pauses
		}
		r.run(wait)
		inClear, told, read := false, false, false
		for _, o := range alice.out {
			switch o := o.(type) {
			case endpoint.ClearText:
				inClear = true
			case endpoint.Notice:
				told = told || o.Code == endpoint.NoticeWhisper && strings.Contains(o.Text, "“eve” has no Sotto")
			}
		}
		for _, o := range c.to.out {
			if x, ok := o.(endpoint.TextIn); ok && x.Text.HTML == m.GetMessage() {
				read = true
			}
		}
		if inClear != c.clear || told != c.clear || read == c.clear {
			t.Errorf("to %s: the text in clear %v, told of the whisper %v, read encrypted %v", c.to.name, inClear, told, read)
		}
		want := e2ee.LeaveCiphertext
		if c.clear {
			want = e2ee.LeaveClear
		}
		if got := alice.LeaveFor(1); got != want {
			t.Errorf("a whisper to %s: %v", c.to.name, got)
		}
	}
}
