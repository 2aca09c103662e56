package guard

import (
	"slices"
	"strings"
	"time"

	"github.com/sotto-voip/sotto/mumble/mirror"
)

// ears are those who listen to the own channel without being in it, as far as the
// person was told. A client before 1.4 does not show them, and the server's warning
// that there may be some is for such clients only: guard announces 1.5 for them.
type ears struct {
	told  []uint32 // sorted
	stale bool     // there may be others by now
}

// maxEars is how many are named at a time.
const maxEars = 5

// changed looks at what a control message of the server has changed.
func (s *session) changed(now time.Time, changes []mirror.Event) {
	if s.down.version >= version14 {
		return
	}
	for _, c := range changes {
		if s.movesEars(c) {
			s.ears.stale = true
		}
	}
	s.sayEars(now)
}

// movesEars reports whether a change may have made somebody a listener of the own channel.
func (s *session) movesEars(c mirror.Event) bool {
	self := s.end.Mirror().Self()
	switch c := c.(type) {
	case mirror.Synced, mirror.ChannelChanged, mirror.ChannelRemoved:
		return true
	case mirror.UserAdded:
		return len(c.User.Listens) > 0
	case mirror.UserRemoved:
		return len(c.User.Listens) > 0
	case mirror.UserChanged:
		return !slices.Equal(c.Old.Listens, c.New.Listens) ||
			c.Old.Channel != c.New.Channel && (c.New.Session == self || len(c.New.Listens) > 0)
	}
	return false
}

// sayEars names who has begun to listen, when there is room for it.
func (s *session) sayEars(now time.Time) {
	if !s.ears.stale || !s.synced {
		return
	}
	me, ok := s.end.Mirror().Own()
	if !ok {
		return
	}
	listeners := s.end.Mirror().Listeners(me.Channel)
	var fresh []string
	for _, session := range listeners {
		if _, told := slices.BinarySearch(s.ears.told, session); !told {
			fresh = append(fresh, s.end.Mirror().Label(session))
		}
	}
	if len(fresh) > 0 {
		if !s.markLines.take(now) {
			return // stale still
		}
		rest := ""
		if len(fresh) > maxEars {
			fresh, rest = fresh[:maxEars], " and others"
		}
		s.down.say("this channel is listened to from elsewhere by " + strings.Join(fresh, ", ") + rest + ".")
	}
	s.ears = ears{told: listeners}
}
