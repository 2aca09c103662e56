package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/sotto-voip/sotto/events"
)

// TestNotification: the desktop is bothered with what it has to be, and no more.
func TestNotification(t *testing.T) {
	for _, tt := range []struct {
		e    events.Event
		want string // a part of it
	}{
		{events.Event{Event: "notice", Code: "absent", Text: "your Mumble did not come"}, "your Mumble did not come"},
		{events.Event{Event: "elsewhere", Text: "somebody has connected"}, "somebody has connected"},
		{events.Event{Event: "client_undecided", Text: "mumble://[::1]:5/"}, "that was No"},
		{events.Event{Event: "notice", Code: "flood", Text: "x"}, ""},
		{events.Event{Event: "text", Text: "absent"}, ""},
		{events.Event{Event: "kicked", Reason: "x"}, ""},
	} {
		if got := notification(tt.e); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s %s: %q", tt.e.Event, tt.e.Code, got)
		}
	}
	const nasty = `-x" & display dialog "`
	for system, first := range map[string]string{"linux": "notify-send", "freebsd": "notify-send", "darwin": "osascript"} {
		argv := notifyWith(system, nasty)
		if argv[0] != first || argv[len(argv)-1] != nasty || slices.ContainsFunc(argv[:len(argv)-1], func(s string) bool { return strings.Contains(s, nasty) }) {
			t.Errorf("%s: %q", system, argv)
		}
	}
}
