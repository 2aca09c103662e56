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

// TestStandingOff: with policy off everything leaves in clear, and that is what it says.
func TestStandingOff(t *testing.T) {
	s := standing{Port: 7}
	s.take(events.Event{Event: "listening", Policy: "off"})
	s.take(events.Event{Event: "joined"})
	if line := s.line(); !strings.Contains(line, "NOT PRIVATE") || s.State != "Off" || s.Leaves != "clear" || s.Encrypted {
		t.Errorf("%s: %+v", line, s)
	}
}

// TestWith: nobody is waited for by name without a secret that protects alone.
func TestWith(t *testing.T) {
	for _, c := range []struct {
		with   []string
		secret string
		groups bool
		bad    bool
	}{{nil, "", false, false}, {[]string{"bob"}, "x", false, false}, {[]string{"bob"}, "", false, true}, {[]string{"bob"}, "x", true, true}} {
		if err := new(secretFlags).named(c.with, c.secret, c.groups); (err != nil) != c.bad {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
