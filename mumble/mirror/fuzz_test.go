package mirror_test

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mirror"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// FuzzApply feeds what a server could send and holds the mirror to what its
// callers rely on.
func FuzzApply(f *testing.F) {
	stream := func(messages ...proto.Message) []byte {
		var b []byte
		for _, m := range messages {
			var err error
			if b, err = control.AppendMessage(b, m); err != nil {
				f.Fatal(err)
			}
		}
		return b
	}
	f.Add(stream(channel(0, 0, "Root"), channel(1, 0, "a", 2), channel(2, 1, "b"), user(1, 1, "x"), user(2, 2, "y"),
		&mumblepb.ServerSync{Session: proto.Uint32(1)}))
	f.Add(stream(channel(1, 2, "a", 1, 2), channel(2, 1, "b", 1), &mumblepb.ChannelRemove{ChannelId: proto.Uint32(1)}, channel(1, 1, "")))
	f.Add(stream(user(1, 0, "a"), &mumblepb.UserRemove{Session: proto.Uint32(1)}, user(1, 0, "b")))
	f.Add([]byte{0, 9, 0, 0, 0, 2, 8, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m mirror.Mirror
		r := control.NewReader(bytes.NewReader(b), 0)
		for {
			frame, err := r.Next()
			if err != nil {
				break
			}
			msg, err := control.Decode(frame)
			if err != nil {
				continue
			}
			if _, err := m.Apply(msg); err != nil {
				break
			}
		}
		hearers := m.Hearers()
		if slices.Contains(hearers, m.Self()) {
			t.Error("we hear ourselves")
		}
		for _, c := range m.Channels() {
			if slices.Contains(c.Links, c.ID) || !slices.IsSorted(c.Links) {
				t.Errorf("channel %d has links %v", c.ID, c.Links)
			}
			closure := m.Closure(c.ID)
			if !slices.Contains(closure, c.ID) || !slices.Contains(m.Tree(c.ID), c.ID) {
				t.Errorf("channel %d is not in its own closure or tree", c.ID)
			}
			for _, other := range c.Links {
				far, known := m.Channel(other)
				if known && !slices.Contains(far.Links, c.ID) {
					t.Errorf("link %d-%d has one end", c.ID, other)
				}
				if !slices.Equal(m.Closure(other), closure) && known {
					t.Errorf("closures of %d and %d differ", c.ID, other)
				}
			}
		}
		for _, u := range m.Users() {
			if u.Session == 0 || len(u.Name) > 512 {
				t.Errorf("user %+v", u)
			}
		}
	})
}
