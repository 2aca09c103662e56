package client

import (
	"fmt"
	"strings"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
)

// Plain reports whether the client encrypts nothing.
func (c *Client) Plain() bool { return c.cfg.Policy == e2ee.PolicyOff }

// Line is StateLine now.
func (c *Client) Line() (line string, err error) {
	err = c.call(func() error {
		line = StateLine(c.end)
		return nil
	})
	return line, err
}

// StateLine is the state of an endpoint in one line for a person. Its words are
// the three of the product: private, encrypted but not checked, not private. With
// a typed secret nobody is verified, so it is never "private". Guard shows it in
// the stock client, the headless commands on the terminal.
func StateLine(end *endpoint.Endpoint) string {
	holders, others := end.Audience()
	silence := ""
	if len(others) > 0 {
		silence = " Hears silence: " + list(others) + "."
	}
	if end.Groups() != nil {
		return groupsLine(end, holders, silence)
	}
	switch end.State() {
	case e2ee.StateOff:
		return "Not private: policy is off, nothing is encrypted."
	case e2ee.StateTyped:
		if len(holders) == 0 {
			return "Encrypted, but nobody here can hear you." + silence
		}
		return fmt.Sprintf("Encrypted, not checked: %s.%s Secret %s.", list(holders), silence, end.KeyID())
	case e2ee.StateAlone:
		return "Nobody else is here. Your microphone is held until somebody comes who holds the secret."
	case e2ee.StateFind:
		return "Finding out who holds the secret. Your microphone is held."
	case e2ee.StateHeld, e2ee.StateAsked:
		return fmt.Sprintf("Nobody here has shown the secret. Your microphone is held.%s Secret %s.", silence, end.KeyID())
	case e2ee.StateClear, e2ee.StatePriv:
		// Not reached with a typed secret alone.
	}
	return "Your microphone is held."
}

// groupsLine is StateLine with automatic groups.
func groupsLine(end *endpoint.Endpoint, holders []string, silence string) string {
	switch end.State() {
	case e2ee.StateOff:
		return "Not private: policy is off, nothing is encrypted."
	case e2ee.StateClear:
		return "Not private: the server and everybody here can listen." + strings.Replace(silence, "Hears silence", "Without keys", 1)
	case e2ee.StatePriv, e2ee.StateTyped:
		line := "Encrypted, but nobody here can hear you." + silence
		if len(holders) > 0 {
			line = fmt.Sprintf("Encrypted, not checked: %s.%s", list(holders), silence)
		}
		if _, epoch := end.Groups().Epoch(); epoch > 0 && !end.Groups().PostQuantum() {
			line += " Not post-quantum."
		}
		h := end.Groups().Health()
		if h.Fork {
			line += " Group views differ."
		}
		if len(h.OtherServer) > 0 {
			line += " Somebody sees another certificate of this server."
		}
		if id := end.KeyID(); id != "" {
			line += " Secret " + id + "."
		}
		return line
	case e2ee.StateAlone:
		return "Nobody else is here. Your microphone is held until somebody comes."
	case e2ee.StateFind:
		return "Finding out who has Sotto. Your microphone is held."
	case e2ee.StateHeld:
		return "Keys are being prepared. Your microphone is held."
	case e2ee.StateAsked:
		// The question itself: its own line may have been lost among others.
		return "A question is open. Your microphone is held. " + end.Groups().QuestionText()
	}
	return "Your microphone is held."
}

// list names people, each a label, not too many of them.
func list(names []string) string {
	const most = 5
	if len(names) > most {
		names = append(names[:most:most], fmt.Sprintf("%d more", len(names)-most))
	}
	return strings.Join(names, ", ")
}
