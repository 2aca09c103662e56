package guard

import "github.com/sotto-voip/sotto/client"

// stateLine is the state in one line for the client's log.
func (s *session) stateLine() string { return client.StateLine(s.end) }

// command answers what the person typed to Sotto in the chat bar.
func (s *session) command(words string) {
	switch words {
	case "", "status":
		s.down.say(s.stateLine())
	default:
		s.down.say("I know /sotto status.")
	}
}
