package simnet

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"unicode/utf16"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// text relays a text message, in the order of checks of the real servers:
// bucket, length and HTML, targets.
func (s *Server) text(u *user, m *mumblepb.TextMessage) {
	if !u.control.take(s.clock.Now(), s.profile.Control) {
		s.dropped.ControlRate++
		s.log.line("server", "drops a text of %d: rate", u.session)
		return
	}
	words := m.GetMessage()
	if s.profile.EnforceLength && !s.profile.fits(words) {
		s.dropped.TextLength++
		s.denied(u, mumblepb.PermissionDenied_TextTooLong, 0, "")
		return
	}
	if !s.profile.AllowHTML {
		words = stripHTML(words)
	}
	if words == "" {
		s.dropped.TextEmpty++
		return
	}
	if len(m.TreeId) > 0 && !s.profile.TreeText {
		s.dropped.TextTarget++
		s.denied(u, mumblepb.PermissionDenied_Text, 0, "Tree message not supported")
		return
	}
	in := map[uint32]bool{}
	for _, id := range m.ChannelId {
		if s.channels[id] == nil {
			s.dropped.TextTarget++
			return
		}
		in[id] = true
	}
	for _, id := range m.TreeId {
		for _, c := range s.tree(id) {
			in[c] = true
		}
	}
	var to []uint32
	for _, v := range s.users {
		if v != u && (in[v.channel] || containsAny(v.listens, in)) && (s.profile.DeafText || !v.selfDeaf) {
			to = append(to, v.session)
		}
	}
	for _, session := range m.Session {
		if v := s.user(session); v != nil && (v != u || s.profile.TextEcho) && (s.profile.DeafText || !v.selfDeaf) {
			to = append(to, session)
		}
	}
	s.relay(u, &mumblepb.TextMessage{
		Actor: proto.Uint32(u.session), Session: m.Session, ChannelId: m.ChannelId, TreeId: m.TreeId, Message: proto.String(words),
	}, to)
}

func containsAny(list []uint32, in map[uint32]bool) bool {
	for _, v := range list {
		if in[v] {
			return true
		}
	}
	return false
}

// tree returns channel id and all below it; nothing for an unknown one.
func (s *Server) tree(id uint32) []uint32 {
	if s.channels[id] == nil {
		return nil
	}
	var out []uint32
	for _, c := range s.breadthFirst() {
		at := c
		for range s.channels { // a bound: there are no circles in this tree
			if at == id {
				out = append(out, c)
				break
			}
			if at == 0 {
				break
			}
			at = s.channels[at].parent
		}
	}
	return out
}

// fits applies Murmur's lengths, in UTF-16 units: the text limit, or the image
// limit for well-formed XML whose img src do not count against the first.
func (p *Profile) fits(words string) bool {
	n := units(words)
	if p.ImageMessageLength > 0 && n > int(p.ImageMessageLength) {
		return false
	}
	if p.MessageLength == 0 || n <= int(p.MessageLength) {
		return true
	}
	if !strings.Contains(words, "<") {
		return false
	}
	d := xml.NewDecoder(strings.NewReader("<p>" + words + "</p>"))
	for {
		token, err := d.Token()
		if token == nil {
			return errors.Is(err, io.EOF) && n <= int(p.MessageLength)
		}
		if e, ok := token.(xml.StartElement); ok && strings.EqualFold(e.Name.Local, "img") {
			for _, a := range e.Attr {
				if strings.EqualFold(a.Name.Local, "src") {
					n -= units(a.Value)
				}
			}
		}
	}
}

func units(s string) int {
	n := 0
	for _, r := range s {
		n += max(1, utf16.RuneLen(r))
	}
	return n
}

// stripHTML is allowhtml=false: tags go, entities are decoded, white space runs
// become one space. What is not well-formed passes unchanged.
func stripHTML(words string) string {
	if !strings.Contains(words, "<") {
		return strings.Join(strings.Fields(words), " ")
	}
	d := xml.NewDecoder(strings.NewReader("<p>" + words + "</p>"))
	var b strings.Builder
	for {
		token, err := d.Token()
		if token == nil {
			if !errors.Is(err, io.EOF) {
				return words
			}
			out := strings.Join(strings.Fields(b.String()), " ")
			return strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(out)
		}
		switch t := token.(type) {
		case xml.CharData:
			b.Write(t)
		case xml.EndElement:
			if t.Name.Local == "p" || t.Name.Local == "br" {
				b.WriteByte(' ')
			}
		}
	}
}
