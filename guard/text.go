package guard

import (
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// textUp: a text of the person is encrypted or refused with the reason. The
// stock client shows its own line at once, so nothing is echoed.
func textUp(s *session, now time.Time, m proto.Message) action {
	t := m.(*mumblepb.TextMessage)
	if words := strings.Fields(t.GetMessage()); len(words) > 0 && strings.EqualFold(words[0], "/sotto") {
		s.command(strings.ToLower(strings.Join(words[1:], " ")))
		return drop
	}
	if s.end.LeaveForText(t) == e2ee.LeaveClear {
		s.end.Passed(now, t)
		return pass
	}
	if err := s.end.SendText(now, t); err != nil {
		s.g.emit(events.Event{Event: "text_failed", Reason: err.Error()})
		s.down.deny(err.Error())
	}
	return drop
}

// textDown: a text that came in clear is marked, and a line without an author,
// which the client shows like one of ours, says whose it is. An author whom nobody
// knows is none to the client (src/mumble/Messages.cpp, msgTextMessage). Where texts
// are in clear anyway, those that look like a line of ours are marked all the same:
// their author may be called "Server".
func textDown(s *session, _ time.Time, m proto.Message) action {
	t := m.(*mumblepb.TextMessage)
	_, known := s.end.Mirror().User(t.GetActor())
	switch {
	case !known:
		t.Message = proto.String("[server] " + filterLine(t.GetMessage()))
	case s.g.cfg.Policy != e2ee.PolicyOff && s.end.State() != e2ee.StateClear, textClaimsSotto(t.GetMessage()):
		t.Message = proto.String("<b>[not encrypted]</b> " + t.GetMessage())
	default:
		return pass
	}
	return rewrite
}

// textIn shows a text that arrived encrypted. The server's filters saw only
// ciphertext, so ours take their place.
func (s *session) textIn(o endpoint.TextIn) {
	html := filterHTML(o.Text.HTML)
	t := &mumblepb.TextMessage{Actor: proto.Uint32(o.From), Message: proto.String(html)}
	switch o.Text.Scope {
	case e2ee.ScopeChannel:
		t.ChannelId = []uint32{o.Text.Channel}
	case e2ee.ScopeTree:
		t.TreeId = []uint32{o.Text.Channel}
	default:
		t.Session = []uint32{s.end.Mirror().Self()}
	}
	s.down.conn.SendMessage(t)
	s.g.emit(events.Event{Event: "text", Session: o.From, Name: s.end.Mirror().Name(o.From)})
}
