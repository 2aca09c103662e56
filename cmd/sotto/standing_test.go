package main

import (
	"strings"
	"testing"

	"github.com/sotto-voip/sotto/events"
)

// TestStandingSuite: a group whose keys do not stand against a quantum computer is
// said to be one.
func TestStandingSuite(t *testing.T) {
	for _, quantum := range []bool{false, true} {
		s := standing{Connected: true}
		s.take(events.Event{Event: "gate", State: "Priv", Leave: "ciphertext"})
		s.take(events.Event{Event: "roster", Epoch: 3, Suite: "MLS", PostQuantum: &quantum, Members: []string{"alice", "bob"}})
		if line := s.line(); strings.Contains(line, "not post-quantum") == quantum || !strings.Contains(line, "alice, bob") {
			t.Errorf("post-quantum %v: %s", quantum, line)
		}
		s.take(events.Event{Event: "roster"})
		if line := s.line(); strings.Contains(line, "post-quantum") || s.Suite != "" {
			t.Errorf("without a group: %s", line)
		}
	}
}
