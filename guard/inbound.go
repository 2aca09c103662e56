package guard

import (
	"errors"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/voice"
	"github.com/sotto-voip/sotto/opus"
)

// silentFrame is what libopus writes for 20 ms of digital silence. It stands
// for an empty last packet on a leg whose form cannot carry an empty one.
var silentFrame = []byte{0xF8, 0xFF, 0xFE}

// version14 is the first version that knows voice context 3 (listener).
var version14 = control.MakeVersion(1, 4, 0)

// inbound takes one voice packet of the server, the mirror of outbound:
//
//  1. it was parsed from the server's form by the upstream leg
//  2. decrypt, and let only sound Opus pass   (endpoint.Unprotect)
//  3. clear voice is dropped, or with groups played with a word (clearVoice)
//  4. write the client's form of it, UDP or tunnel
func (s *session) inbound(now time.Time, in *voice.Packet) {
	if !s.synced {
		return // the client does not know who is who yet
	}
	p := in
	_, known := s.end.Mirror().User(in.Session)
	if s.g.cfg.Policy != e2ee.PolicyOff {
		err := s.end.Unprotect(s.openBuf[:0], now, in, &s.inPacket)
		s.drain()
		switch {
		case err == nil:
			p = &s.inPacket
		case known && errors.Is(err, endpoint.ErrNotSotto):
			if !s.clearVoice(now, in) {
				return
			}
		default:
			return // counted by the endpoint
		}
	} else if !known || !sound(in) {
		return
	}
	s.deliver(p)
}

// clearVoice says that somebody speaks unencrypted, and reports whether it may be
// played: with automatic groups and the policy prefer, if the server does not say
// that it comes from a member of the group.
func (s *session) clearVoice(now time.Time, in *voice.Packet) bool {
	label := s.end.Mirror().Label(in.Session)
	switch {
	case s.end.MayPlayClear(in.Session):
		if s.end.Leave() != e2ee.LeaveClear && !s.marked(now, in.Session) {
			return false
		}
		return in.Codec == voice.Opus && sound(in)
	case s.end.Groups() != nil:
		s.sayRarely(now, "clear", false, "unencrypted sound came in the name of "+label+"; you do not hear it.")
	default:
		s.sayRarely(now, "clear", false, label+" speaks unencrypted; you do not hear it while a secret is set.")
	}
	return false
}

// deliver writes one packet for the client, in its form.
func (s *session) deliver(p *voice.Packet) {
	if p.Codec != voice.Opus && s.down.format != voice.Legacy {
		return // the protobuf form knows Opus only
	}
	if p.Context == voice.ContextListener && s.down.version < version14 {
		p.Context = 0
	}
	if empty(p) && s.down.format == voice.Protobuf {
		if !p.Terminator {
			return
		}
		p.Data = silentFrame
	}
	p.FrameNumber = voice.WrapFrameNumber(p.FrameNumber)
	s.down.sendVoice(p)
}

// sound reports whether a clear packet is fit for the client's decoder. Of old
// codecs nothing is known here.
func sound(p *voice.Packet) bool {
	return p.Codec != voice.Opus || empty(p) || opus.Check(p.Data, 0) == nil
}

func empty(p *voice.Packet) bool { return len(p.Data) == 0 }
