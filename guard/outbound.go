package guard

import (
	"errors"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// voiceStats counts voice packets of the client that were not sent.
type voiceStats struct {
	Sent, Held, Refused, Malformed uint64
}

// outbound takes one voice packet of the client, already out of OCB2 or the
// tunnel:
//
//  1. parse the client's form of it
//  2. the gate decides: speech and each whisper are audiences of their own
//  3. loopback is answered here
//  4. encrypt, wrapped in silence           (endpoint.Protect)
//  5. write the server's form of it, UDP or tunnel
func (s *session) outbound(now time.Time, plain []byte) {
	p := &s.outPacket
	if err := voice.Parse(plain, s.down.format, voice.ToServer, p); err != nil {
		s.voiceStats.Malformed++
		return
	}
	leave := s.end.LeaveFor(p.Target)
	if p.Target == endpoint.LoopbackTarget && leave != e2ee.LeaveClear {
		s.loopback(p)
		return
	}
	switch leave {
	case e2ee.LeaveNothing:
		s.voiceStats.Held++
		if p.Target != 0 && s.end.Groups() != nil {
			s.protect(now, p) // which says why the whisper is not sent
		}
	case e2ee.LeaveClear:
		s.clear(now, p)
	case e2ee.LeaveCiphertext:
		s.protect(now, p)
	}
}

// clear sends a packet as the client made it. Old codecs are not understood here,
// and what is not understood leaves with policy off only.
func (s *session) clear(now time.Time, p *voice.Packet) {
	if p.Codec != voice.Opus && s.g.cfg.Policy != e2ee.PolicyOff {
		s.refuseCodec(now)
		return
	}
	if p.Codec == voice.Opus && empty(p) && s.up.Format() == voice.Protobuf {
		if !p.Terminator {
			return
		}
		p.Data = silentFrame
	}
	p.FrameNumber = voice.WrapFrameNumber(p.FrameNumber)
	s.sendUp(p)
}

func (s *session) refuseCodec(now time.Time) {
	s.sayRarely(now, "codec", true, "your client uses an old codec, which Sotto does not encrypt; your voice is not sent")
	s.voiceStats.Refused++
}

func (s *session) protect(now time.Time, p *voice.Packet) {
	var out voice.Packet
	err := s.end.Protect(s.sealBuf[:0], now, p, &out)
	var target *endpoint.TargetError
	switch {
	case err == nil:
		s.sendUp(&out)
		return
	case errors.Is(err, endpoint.ErrKept):
		s.drain() // it follows as endpoint.Voice
		return
	case errors.As(err, &target):
		s.sayRarely(now, "target", true, target.Reason)
	case errors.Is(err, endpoint.ErrCodec):
		s.refuseCodec(now)
		return
	case errors.Is(err, endpoint.ErrNotCovered):
		s.sayRarely(now, "cover", true, "your client sends audio packets that Sotto cannot encrypt; set 10, 20, 40 or 60 ms per packet")
	case errors.Is(err, e2ee.ErrFrameTooLong):
		s.sayRarely(now, "long", true, "your audio packets are too large to be encrypted; lower the quality in your client")
	}
	s.voiceStats.Refused++
}

func (s *session) sendUp(p *voice.Packet) {
	if err := s.up.SendVoice(p); err != nil {
		s.voiceStats.Malformed++
		return
	}
	s.voiceStats.Sent++
}

// loopback returns the client its own voice, as the server would have done.
// Nothing of it leaves the machine.
func (s *session) loopback(p *voice.Packet) {
	p.Session, p.Context, p.Target = s.end.Mirror().Self(), 0, 0
	if s.synced && !empty(p) {
		s.down.sendVoice(p)
	}
}
