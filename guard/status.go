package guard

import (
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/keystore"
)

// stateLine is the state in one line for the client's log.
func (s *session) stateLine() string { return client.StateLine(s.end) }

// command answers what the person typed to Sotto in the chat bar.
func (s *session) command(words string) {
	now := time.Now()
	switch words {
	case "", "status":
		s.down.say(s.stateLine() + " Certificate of the server: " + keystore.Fingerprint(s.up.Server()) + ".")
		return
	case "wait":
		s.end.UserWait(now)
	case "protect":
		s.end.UserProtect(now)
	case "clear":
		s.end.UserClear(now)
	case "lock", "unlock":
		s.end.Lock(now, words == "lock")
	default:
		s.down.say("I know /sotto status, wait, protect, clear, lock and unlock.")
		return
	}
	s.drain()
}
