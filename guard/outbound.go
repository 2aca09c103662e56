package guard

import (
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
	"github.com/sotto-voip/sotto/opus"
)

// voiceStats counts voice packets of the client that were not sent.
type voiceStats struct {
	Sent, Held, Refused, Malformed uint64
}

// outbound takes one voice packet of the client, already out of OCB2 or the
// tunnel:
//
//  1. parse the client's form of it
//  2. loopback is answered here, an old codec refused (policy off: neither)
//  3. the gate decides: speech and each whisper are audiences of their own
//  4. encrypt, wrapped in silence           (endpoint.Protect)
//  5. what does not fit is cut into its frames, and each of them takes step 4
//  6. write the server's form of it, UDP or tunnel
func (s *session) outbound(now time.Time, plain []byte) {
	p := &s.outPacket
	if err := voice.Parse(plain, s.down.format, voice.ToServer, p); err != nil {
		s.voiceStats.Malformed++
		return
	}
	if s.g.cfg.Policy != e2ee.PolicyOff && s.mayNotLeave(now, p) {
		return
	}
	switch s.end.LeaveFor(p.Target) {
	case e2ee.LeaveNothing:
		s.voiceStats.Held++
		switch {
		case p.Target != 0 && s.end.Groups() != nil:
			s.protect(now, p) // which says why the whisper is not sent
		case s.unmarked():
			s.sayRarely(now, "held", true, "your voice is held: nobody hears what you say, but whispers leave")
		}
	case e2ee.LeaveClear:
		s.clear(p)
	case e2ee.LeaveCiphertext:
		s.protect(now, p)
	}
}

// clear sends a packet as the client made it, but for the position unless policy is
// off: the server would give it to all who show it no place of their own, as it does
// not know ours either.
func (s *session) clear(p *voice.Packet) {
	p.HasPosition = p.HasPosition && s.g.cfg.Policy == e2ee.PolicyOff
	if p.Codec == voice.Opus && empty(p) && s.up.Format() == voice.Protobuf {
		if !p.Terminator {
			return
		}
		p.Data = silentFrame
	}
	p.FrameNumber = voice.WrapFrameNumber(p.FrameNumber)
	s.sendUp(p)
}

// mayNotLeave treats what never goes to the server, whoever is there, and reports
// whether p is such a packet.
func (s *session) mayNotLeave(now time.Time, p *voice.Packet) bool {
	switch {
	case p.Target == endpoint.LoopbackTarget:
		s.loopback(p)
	case p.Codec != voice.Opus:
		s.voiceStats.Refused++
		s.sayRarely(now, "codec", true, "your client uses an old codec, which Sotto does not encrypt; your voice is not sent")
	case s.up.Probing():
		s.voiceStats.Held++ // who is there, and whether we still are, is to be seen
	default:
		return false
	}
	return true
}

func (s *session) protect(now time.Time, p *voice.Packet) {
	err := s.sealUp(now, p)
	if errors.Is(err, e2ee.ErrFrameTooLong) || errors.Is(err, endpoint.ErrNotCovered) {
		err = s.protectParts(now, p, err)
	}
	if err == nil {
		return
	}
	s.voiceStats.Refused++
	var target *endpoint.TargetError
	switch {
	case errors.As(err, &target):
		s.sayRarely(now, "target", true, target.Reason)
	case errors.Is(err, endpoint.ErrNotCovered):
		s.sayRarely(now, "cover", true, "your client sends audio packets that Sotto cannot encrypt; set 10, 20, 40 or 60 ms per packet")
	case errors.Is(err, e2ee.ErrFrameTooLong):
		s.tooLong(p)
	}
}

func (s *session) sealUp(now time.Time, p *voice.Packet) error {
	var out voice.Packet
	err := s.end.Protect(s.sealBuf[:0], now, p, &out)
	switch {
	case err == nil:
		s.sendUp(&out)
	case errors.Is(err, endpoint.ErrKept):
		s.drain() // it follows as endpoint.Voice
		return nil
	}
	return err
}

// protectParts sends the frames of p as packets of their own, each with the number
// that its place in time gives it. It returns why not.
func (s *session) protectParts(now time.Time, p *voice.Packet, why error) error {
	parts, each, err := opus.Split(p.Data)
	if err != nil || len(parts) < 2 {
		return why
	}
	one := *p
	for i, data := range parts {
		one.Data = data
		one.FrameNumber = p.FrameNumber + uint64(i)*uint64(each/frameUnit)
		one.Terminator = p.Terminator && i == len(parts)-1
		if err := s.sealUp(now, &one); err != nil {
			return err
		}
	}
	return nil
}

// frameUnit is what Mumble counts in frame numbers.
const frameUnit = 10 * time.Millisecond

// tooLong says once that a frame is too large, and lowers the bandwidth that the
// client is told, so that the next ones fit.
func (s *session) tooLong(p *voice.Packet) {
	length := max(frameUnit, opus.TOC(p.Data[0]).FrameDuration())
	most := uint32(time.Duration(8*envelope.MaxVoice) * time.Second / length)
	most -= min(most, bandwidthNeeded)
	if s.lowered != 0 && most >= s.lowered {
		return
	}
	if s.lowered == 0 {
		s.down.deny("your audio packets are too large to be encrypted; Sotto has lowered their quality")
	}
	s.lowered = max(most, bandwidthFloor)
	s.down.conn.SendMessage(&mumblepb.ServerConfig{MaxBandwidth: proto.Uint32(s.lowered)})
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
