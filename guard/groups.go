package guard

import (
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// fromGroups does what the endpoint asks for with automatic groups.
func (s *session) fromGroups(o endpoint.Output) {
	switch o := o.(type) {
	case endpoint.Question:
		s.g.emit(events.Event{Event: "question", Code: o.Question.String(), Text: o.Text})
		s.say(o.Text)
	case endpoint.Roster:
		s.rosterChanged(o)
	case endpoint.Memory:
		s.g.memory.Tick(time.Now())
	case endpoint.Played:
		s.deliver(&o.Packet)
	case endpoint.PluginIn:
		if !claimsSotto(o.DataID) {
			s.down.conn.SendMessage(&mumblepb.PluginDataTransmission{
				SenderSession: proto.Uint32(o.From), Data: o.Data, DataID: proto.String(o.DataID),
			})
		}
	case endpoint.ClearPlugin:
		s.up.SendMessage(o.Message)
	case endpoint.ClearText:
		s.end.Passed(time.Now(), o.Message)
		s.up.SendMessage(o.Message)
		s.say("Your message was sent in clear: who it is for has no Sotto.")
	}
}

// remembered takes what was written of people.
func (s *session) remembered(m client.Merged) {
	if err := s.g.memory.Ended(m); err != nil {
		s.notRemembered(err)
	}
}

func (s *session) notRemembered(err error) {
	s.g.log.Warn("memory of people", "error", err)
	s.sayRarely(time.Now(), "memory", false, "What Sotto remembers of people could not be saved.")
}

// rosterChanged tells programs who is in a group, and the person when somebody
// came to or left that of its channel.
func (s *session) rosterChanged(o endpoint.Roster) {
	names := make([]string, 0, len(o.Members))
	for _, member := range o.Members {
		names = append(names, s.end.Mirror().Name(member))
	}
	suite, quantum := o.Suite.String(), &o.PostQuantum
	if len(o.Members) == 0 {
		suite, quantum = "", nil
	}
	e := events.Event{Event: "roster", Epoch: o.Epoch, Suite: suite, PostQuantum: quantum, Members: names}
	if o.Direct {
		e = events.Event{Event: "direct", Epoch: o.Epoch, Suite: suite, PostQuantum: quantum, Members: names}
	}
	if o.Home || o.Direct { // a channel that we listen to has a group as well, and it does not hear us
		s.g.emit(e)
	}
	if !o.Home || s.end.State() != e2ee.StatePriv {
		return
	}
	came, left := s.difference(o.Members)
	if len(came) > 0 {
		s.say(strings.Join(came, ", ") + " can hear you encrypted now.")
	}
	if len(left) > 0 {
		s.say(strings.Join(left, ", ") + " hears you no longer.")
	}
}

// difference compares the members with those last told, and remembers them.
func (s *session) difference(members []uint32) (came, left []string) {
	now := map[uint32]string{}
	for _, session := range members {
		now[session] = s.end.Mirror().Label(session)
		if _, known := s.members[session]; !known && s.members != nil && session != s.end.Mirror().Self() {
			came = append(came, now[session])
		}
	}
	for session, label := range s.members {
		if _, still := now[session]; !still && len(members) > 0 {
			left = append(left, label)
		}
	}
	s.members = now
	return came, left
}
