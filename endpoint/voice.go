package endpoint

import (
	"errors"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mumble/voice"
	"github.com/sotto-voip/sotto/opus"
)

// Reasons why a voice packet is not sent or not played.
var (
	ErrHeld       = e2ee.ErrHeld
	ErrLoopback   = errors.New("endpoint: loopback is answered here and never sent")
	ErrNotSotto   = errors.New("endpoint: ordinary Opus, not encrypted")
	ErrCodec      = errors.New("endpoint: only Opus can be encrypted")
	ErrNotCovered = errors.New("endpoint: no Opus packet of 10, 20, 40 or 60 ms")
	ErrNothing    = errors.New("endpoint: opened, nothing to play")
)

// LoopbackTarget is the voice target that returns to the speaker.
const LoopbackTarget = 31

// announceLength is the cover of announcements and of end-of-speech frames,
// which have no length of their own.
const announceLength = 20 * time.Millisecond

// Protect encrypts one packet of the own client into out, whose payload is
// appended to dst. What is refused comes back as an error: the caller drops
// the packet and tells the person. Position and every byte of the payload are
// inside the ciphertext; target, frame number and terminator stay outside.
func (e *Endpoint) Protect(dst []byte, now time.Time, in, out *voice.Packet) error {
	if e.LeaveFor(in.Target) != e2ee.LeaveCiphertext {
		if in.Target == 0 || in.Target == LoopbackTarget || e.groups == nil {
			return ErrHeld
		}
		err := e.mayWhisper(in.Target)
		if t := e.targets[uint32(in.Target)]; err != nil && t != nil && e.keep(now, t, in) {
			return ErrKept
		}
		return err
	}
	switch {
	case in.Codec != voice.Opus:
		return ErrCodec
	case in.Target == LoopbackTarget:
		return ErrLoopback
	case in.Target != 0:
		e.freshen(now) // who would hear it now
		if err := e.mayWhisper(in.Target); err != nil {
			return err
		}
		if t := e.targets[uint32(in.Target)]; t.cold {
			t.cold = false
			return e.warm(now, in)
		}
	}
	length := announceLength
	if len(in.Data) > 0 {
		var err error
		length, err = opus.Duration(in.Data)
		if err != nil || envelope.VoiceLen(length, 1) == 0 {
			e.stats.BadOpus++
			return ErrNotCovered
		}
	}
	number := voice.WrapFrameNumber(in.FrameNumber)
	e.frame = e2ee.Frame{
		FrameNumber: number, Terminator: in.Terminator, Opus: in.Data,
		HasPosition: in.HasPosition, Position: in.Position,
	}
	body, err := e.seal(now, in.Target, e.room(length))
	if errors.Is(err, e2ee.ErrFrameTooLong) {
		// A single long frame may go beyond the average that the server allows.
		body, err = e.seal(now, in.Target, envelope.MaxVoiceBody(length, envelope.MaxVoice))
	}
	if err != nil {
		if errors.Is(err, e2ee.ErrFrameTooLong) {
			e.stats.TooLong++
		}
		return err
	}
	e.body = body
	data, err := envelope.AppendVoice(dst, length, body)
	if err != nil {
		return err
	}
	*out = voice.Packet{
		Codec: voice.Opus, Target: in.Target, FrameNumber: number,
		Data: data[len(dst):], Terminator: in.Terminator,
	}
	return nil
}

// seal encrypts e.frame for whom the target names.
func (e *Endpoint) seal(now time.Time, target uint8, limit int) ([]byte, error) {
	switch {
	case e.typed != nil:
		return e.typed.SealVoice(e.body[:0], now, limit, &e.frame)
	case target != 0:
		return e.groups.SealDirect(e.body[:0], now, limit, &e.frame, e.targets[uint32(target)].group)
	}
	return e.groups.SealVoice(e.body[:0], now, limit, &e.frame)
}

// LeaveFor is the decision for a voice packet to a target: that of the gate, but
// with groups a whisper has an audience of its own. The first time that one leaves in
// clear, a Notice says so.
func (e *Endpoint) LeaveFor(target uint8) e2ee.Leave {
	if e.groups == nil || target == 0 || target == LoopbackTarget {
		return e.engine.Leave()
	}
	t, ok := e.targets[uint32(target)]
	switch {
	case !ok:
		return e2ee.LeaveNothing
	case t.ready():
		return e2ee.LeaveCiphertext
	case e.mayClear(t):
		e.sayClear(t)
		return e2ee.LeaveClear
	}
	return e2ee.LeaveNothing
}

// Whispers reports whether the own client has set up a whisper that may leave now,
// whatever the gate says about speech.
func (e *Endpoint) Whispers() bool {
	if e.groups == nil {
		return false
	}
	for _, t := range e.targets {
		if t.ready() || len(t.people()) > 0 && e.mayClear(t) {
			return true
		}
	}
	return false
}

// mayClear reports whether a whisper may leave in clear.
func (e *Endpoint) mayClear(t *target) bool {
	return (t.refused == "" || t.shouting) && slices.Equal(t.failed, t.people()) && e.groups.MayWhisperClear(t.people())
}

// packetOverhead is what servers add to a voice packet when they count it
// against max_bandwidth: 32 bytes of IP, UDP and OCB2, and on Murmur 1.3 the
// header of the voice packet.
const packetOverhead = 40

// room is how long a body may be so that a stream of such packets stays below
// the bandwidth that the server allows. Padding does not go beyond it.
func (e *Endpoint) room(length time.Duration) int {
	most := envelope.MaxVoice
	if e.bandwidth > 0 {
		perPacket := int(uint64(e.bandwidth) * uint64(length) / 8 / uint64(time.Second))
		most = min(most, max(0, perPacket-packetOverhead))
	}
	return envelope.MaxVoiceBody(length, most)
}

// Unprotect opens one packet from the server into out, whose payload is
// appended to dst. ErrNotSotto marks ordinary Opus: the caller plays it only
// if policy is off. Everything that comes out has passed the Opus firewall.
func (e *Endpoint) Unprotect(dst []byte, now time.Time, in, out *voice.Packet) error {
	if in.Codec != voice.Opus {
		return ErrCodec
	}
	length, vk, rest, ok := envelope.ParseVoice(in.Data)
	if !ok {
		e.stats.ClearVoice++
		e.heardClear(now, in)
		return ErrNotSotto
	}
	e.freshen(now)
	context, err := e.open(dst, now, in, vk, rest)
	// settle can begin an epoch and open what came too early, of anybody, in e.frame.
	f := e.frame
	e.settle(now) // a packet that opens can make its sender a holder
	if errors.Is(err, e2ee.ErrFuture) {
		e.early.keep(now, in)
		return err
	}
	if err != nil {
		e.stats.Unopened++
		e.unopened(now, in, err)
		return err
	}
	if len(f.Opus) == 0 && !f.Terminator {
		return ErrNothing // a keep-alive or an announcement
	}
	if len(f.Opus) > 0 {
		if err := opus.Check(f.Opus, length); err != nil {
			e.stats.Firewall++
			return err
		}
	}
	*out = voice.Packet{
		Codec: voice.Opus, Context: context, Session: in.Session, FrameNumber: in.FrameNumber,
		Data: f.Opus, Terminator: f.Terminator, HasPosition: f.HasPosition, Position: f.Position,
		HasVolume: in.HasVolume, Volume: in.Volume,
	}
	return nil
}

// open decrypts a packet into e.frame and returns the context it has for the own
// client. With groups that is never what the server says: a frame of a channel's
// group was spoken there, one of a direct group was whispered (Sotto protocol §7.3).
func (e *Endpoint) open(dst []byte, now time.Time, in *voice.Packet, vk byte, rest []byte) (uint8, error) {
	e.frame = e2ee.Frame{FrameNumber: in.FrameNumber, Terminator: in.Terminator}
	if e.typed != nil {
		return in.Context, e.typed.OpenVoice(dst, now, in.Session, vk, rest, &e.frame)
	}
	o, err := e.groups.OpenVoice(dst, now, in.Session, vk, rest, &e.frame)
	switch {
	case o.Direct:
		return voice.ContextWhisper, err
	case o.Home:
		return voice.ContextNormal, err
	}
	return voice.ContextListener, err
}

// announce wraps an announcement of the engine, which holds no speech.
func (e *Endpoint) announce(o e2ee.SendVoice) {
	data, err := envelope.AppendVoice(nil, announceLength, o.Body)
	if err != nil {
		return
	}
	e.emit(Voice{voice.Packet{
		Codec: voice.Opus, FrameNumber: voice.WrapFrameNumber(o.FrameNumber), Data: data,
	}})
}
