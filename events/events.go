// Package events is what Sotto's commands report to programs: one JSON object
// per line, as docs/events.md lists them, on standard output (--json) and, for
// a running guard, on a Unix socket that only its owner can open.
//
// An event never holds a key, a secret, what somebody said, or a full network
// address but that which the user typed. Texts of chat are in it only where the command exists to show them.
package events

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Event is one thing that happened. Fields that do not belong to it are left out.
type Event struct {
	Time        time.Time `json:"time"`
	Event       string    `json:"event"`
	Port        uint16    `json:"port,omitempty"`
	Policy      string    `json:"policy,omitempty"`
	Server      string    `json:"server,omitempty"`
	Session     uint32    `json:"session,omitempty"`
	Name        string    `json:"name,omitempty"`
	State       string    `json:"state,omitempty"`
	Was         string    `json:"was,omitempty"`
	Leave       string    `json:"leave,omitempty"`
	Holds       *bool     `json:"holds,omitempty"`
	Encrypted   *bool     `json:"encrypted,omitempty"`
	Code        string    `json:"code,omitempty"`
	Reason      string    `json:"reason,omitempty"`
	Text        string    `json:"text,omitempty"`
	Fingerprint string    `json:"fingerprint,omitempty"`
	File        string    `json:"file,omitempty"`
	Packets     uint64    `json:"packets,omitempty"`
	Lost        uint64    `json:"lost,omitempty"`
	RetryMS     int64     `json:"retry_ms,omitempty"`
	Epoch       uint64    `json:"epoch,omitempty"`
	Suite       string    `json:"suite,omitempty"`
	PostQuantum *bool     `json:"post_quantum,omitempty"`
	Members     []string  `json:"members,omitempty"`
	Target      string    `json:"target,omitempty"` // the server as the user typed it
}

// Line is the event as one line of JSON, with its end. Whoever looks at it in a
// terminal sees it: control characters are escaped, those of C1 too, which
// encoding/json leaves as they are.
func (e Event) Line() ([]byte, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	var line strings.Builder
	for _, r := range string(b) {
		if r >= 0x7F && r <= 0x9F {
			fmt.Fprintf(&line, "\\u%04x", r)
		} else {
			line.WriteRune(r)
		}
	}
	line.WriteByte('\n')
	return []byte(line.String()), nil
}
