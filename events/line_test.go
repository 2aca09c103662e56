package events_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/sotto-voip/sotto/events"
)

// Names and reasons are the server's, and somebody looks at the lines in a
// terminal: nothing in them acts on it, and nothing is lost.
func TestLine(t *testing.T) {
	hostile := "a\x1b[2J\u009b2J\u0085\n\r\x00\x7fb\u2028c"
	line, err := events.Event{Event: "rejected", Reason: hostile}.Line()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Count(line, []byte("\n")) != 1 || line[len(line)-1] != '\n' {
		t.Errorf("not one line: %q", line)
	}
	for _, r := range string(line[:len(line)-1]) {
		if r < 0x20 || r >= 0x7F && r <= 0x9F {
			t.Errorf("%U in %q", r, line)
		}
	}
	var back events.Event
	if err := json.Unmarshal(line, &back); err != nil || back.Reason != hostile {
		t.Errorf("%q came back as %q, %v", hostile, back.Reason, err)
	}
}
