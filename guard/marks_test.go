package guard

import (
	"testing"
	"time"
)

// Who speaks unencrypted is named for itself, again after a while, and only so many
// at a time are played.
func TestMarks(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	m := marks{}
	want := func(what string, session uint32, due, room bool) {
		t.Helper()
		if d, r := m.due(now, session); d != due || r != room {
			t.Errorf("%s: due %v, room %v", what, d, r)
		}
	}
	want("bob", 1, true, true)
	m[1] = now
	want("bob again", 1, false, true)
	want("eve in bob's shade", 2, true, true)
	now = now.Add(markLife)
	want("bob after a minute", 1, true, true)
	for i := range uint32(maxMarks) {
		m[i+1] = now
	}
	want("one too many", 100, true, false)
	want("one of them", 5, false, true)
	now = now.Add(markLife)
	want("there is room again", 100, true, true)
	if len(m) != 0 {
		t.Errorf("%d are remembered", len(m))
	}
}
