package simnet_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/internal/simnet"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
	opuspkg "github.com/sotto-voip/sotto/opus"
)

// leaves notes what leaves readable: as it is, and outside voice as text too.
func (p *soul) leaves(what string, b []byte) {
	for name, mark := range p.s.marks {
		forms := p.s.forms[name]
		if forms == nil {
			forms = asText(mark)
			p.s.forms[name] = forms
		}
		if what == "voice" {
			forms = forms[:1]
		}
		if slices.ContainsFunc(forms, func(f []byte) bool { return bytes.Contains(b, f) }) {
			p.leaks = append(p.leaks, fmt.Sprintf("%s in %s at %v in state %v", name, what, p.s.clock.Elapsed(), p.State()))
		}
	}
}

// asText is a mark as it is, and as it stands in base64 at each offset.
func asText(mark []byte) [][]byte {
	forms := [][]byte{mark}
	for offset := range 3 {
		padded := append(make([]byte, offset), mark...)
		from, to := (8*offset+5)/6, 8*len(padded)/6 // the characters that the mark alone decides
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			forms = append(forms, []byte(enc.EncodeToString(padded))[from:to])
		}
	}
	return forms
}

// speech is the packet that somebody speaks, all the time the same.
func (p *soul) speech() []byte { return opusPacket(p.number) }

func opusPacket(fill byte) []byte {
	b := bytes.Repeat([]byte{fill}, 41)
	b[0] = 0xF8
	return b
}

// talk speaks for a while, with a position, whatever becomes of it.
func (p *soul) talk(d time.Duration) {
	for at := time.Duration(0); at < d; at += 20 * time.Millisecond {
		p.s.clock.After(at, func() {
			if p.peer.Session() == 0 {
				return
			}
			p.frame += 2
			p.peer.SayPacket(&voice.Packet{Codec: voice.Opus, FrameNumber: p.frame, Data: p.speech(), HasPosition: true, Position: place})
		})
	}
}

// write sends a text to the own channel as guard does, and returns the refusal.
func (p *soul) write(text string) error {
	me, _ := p.Mirror().Own()
	return p.writeTo(&mumblepb.TextMessage{ChannelId: []uint32{me.Channel}, Message: proto.String(text)})
}

func (p *soul) writeTo(m *mumblepb.TextMessage) error {
	p.s.marks[m.GetMessage()] = []byte(m.GetMessage())
	var err error
	switch p.LeaveForText(m) {
	case e2ee.LeaveClear:
		p.leaves("a text", []byte(m.GetMessage()))
		p.peer.Send(m)
		return nil
	case e2ee.LeaveCiphertext:
		err = p.SendText(p.s.clock.Now(), m)
	case e2ee.LeaveNothing:
		err = e2ee.ErrHeld
	}
	p.act()
	return err
}

// act lets go what the endpoint wants after a call of its own.
func (p *soul) act() { p.peer.Send(&mumblepb.Ping{}) }

// forget forgets what somebody was told.
func (s *stage) forget() {
	for _, p := range s.souls {
		p.notices, p.questions, p.gates, p.rosters, p.texts, p.plain, p.failed, p.heard = nil, nil, nil, nil, nil, nil, nil, nil
	}
}

func (p *soul) told(code, words string) bool {
	return slices.ContainsFunc(p.notices, func(n e2ee.Notice) bool { return n.Code == code && strings.Contains(n.Text, words) })
}

func (p *soul) asked(q e2ee.Question, words string) bool {
	return slices.ContainsFunc(p.questions, func(a e2ee.Asked) bool { return a.Question == q && strings.Contains(a.Text, words) })
}

// hears counts what somebody heard of another.
func (p *soul) hears(from uint32) (encrypted, clear int) {
	for _, h := range p.heard {
		switch {
		case h.from != from:
		case h.encrypted:
			encrypted++
		default:
			clear++
		}
	}
	return encrypted, clear
}

// FromServer is simnet.Node; a text that is not Sotto's is for the person.
func (p *soul) FromServer(now time.Time, m proto.Message) error {
	fate, _, err := p.Endpoint.FromServer(now, m)
	if text, ok := m.(*mumblepb.TextMessage); ok && fate == endpoint.Pass {
		p.plain = append(p.plain, text)
	}
	return err
}

func (p *soul) Next() (simnet.Out, bool) {
	o, ok := p.Endpoint.Next()
	if !ok {
		return simnet.Out{}, false
	}
	switch o := o.(type) {
	case endpoint.Send:
		p.messages++
		b, err := proto.Marshal(o.Message)
		if err != nil {
			p.s.t.Error(err)
		}
		p.leaves("a message", b)
		return simnet.Out{Message: o.Message}, true
	case endpoint.Voice:
		p.leaves("an announcement", o.Packet.Data)
		return simnet.Out{Voice: &o.Packet}, true
	case endpoint.TextIn:
		p.texts = append(p.texts, o)
	case endpoint.TextFailed:
		p.failed = append(p.failed, o.Reason)
	case endpoint.Notice:
		p.notices = append(p.notices, o.Notice)
	case endpoint.Question:
		p.questions = append(p.questions, o.Asked)
	case endpoint.Gate:
		p.gates = append(p.gates, o.GateChanged)
	case endpoint.Roster:
		p.rosters = append(p.rosters, o)
	case endpoint.ClearText:
		b, _ := proto.Marshal(o.Message)
		p.leaves("a text in clear", b)
		return simnet.Out{Message: o.Message}, true
	case endpoint.Played:
		p.hear(&o.Packet, true)
	}
	return simnet.Out{Note: fmt.Sprintf("%T %+v", o, o)}, true
}

// Protect is what the commands make of a packet to be sent.
func (p *soul) Protect(dst []byte, now time.Time, in, out *voice.Packet) error {
	switch p.LeaveFor(in.Target) {
	case e2ee.LeaveNothing:
		return e2ee.ErrHeld
	case e2ee.LeaveClear:
		*out = *in
		out.Data = append(dst, in.Data...)
		p.clears++
	case e2ee.LeaveCiphertext:
		if err := p.Endpoint.Protect(dst, now, in, out); err != nil {
			return err
		}
	}
	p.leaves("voice", out.Data)
	if out.HasPosition {
		p.leaves("voice", positionBytes)
	}
	return nil
}

// Unprotect is what they make of one that comes.
func (p *soul) Unprotect(dst []byte, now time.Time, in, out *voice.Packet) error {
	err := p.Endpoint.Unprotect(dst, now, in, out)
	switch {
	case err == nil:
		p.hear(out, true)
	case errors.Is(err, endpoint.ErrNotSotto) && p.MayPlayClear(in.Session) && opuspkg.Check(in.Data, 0) == nil:
		p.hear(in, false)
	}
	return err
}

func (p *soul) hear(v *voice.Packet, encrypted bool) {
	p.heard = append(p.heard, hearing{v.Session, v.FrameNumber, bytes.Clone(v.Data), encrypted, v.HasPosition, p.s.clock.Now()})
}
