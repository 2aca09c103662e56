package e2ee

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/sotto-voip/sotto/envelope"
)

const (
	headerPackets = 5  // packets of a talk spurt with the key header
	headerEvery   = 25 // and then one in so many
	// spurtGap without a packet ends a talk spurt whose terminator was lost.
	spurtGap = time.Second

	keyHeaderLen = nonceLen + 4 // nonce and minute

	// maxVoiceBody bounds what OpenVoice looks at; a voice envelope is shorter.
	maxVoiceBody = 1024
)

// MaxVoiceOverhead is the most by which the body of SealVoice is longer than the
// Opus packet before padding: vk, key header, SFrame header, length, position and
// tag.
const MaxVoiceOverhead = 1 + keyHeaderLen + 4 + lengthLen + positionLen + sframeTag

// Frame is one voice packet: what the Mumble packet says openly, and what is
// encrypted.
type Frame struct {
	FrameNumber uint64 // of the Mumble packet; its low 16 bits are authenticated
	Terminator  bool   // of the Mumble packet, authenticated

	Opus        []byte // one Opus packet; empty: no sound, with Terminator the end of speech
	HasPosition bool
	Position    [3]float32 // x, y, z in metres, as in Mumble
}

// SealVoice appends vk || rest of f, at most limit bytes, to dst: the body of a
// voice envelope. A position goes along only if the own client has a plugin
// context. The frame is padded to the size of the stream where the limit allows.
//
// Errors are ErrHeld unless Leave is LeaveCiphertext, and ErrFrameTooLong.
// Nothing is allocated, but for a new nonce or step, if dst has limit bytes of room.
func (e *Engine) SealVoice(dst []byte, now time.Time, limit int, f *Frame) ([]byte, error) {
	if e.gate.Leave() != LeaveCiphertext {
		return dst, ErrHeld
	}
	s, err := e.sending(now)
	if err != nil {
		return dst, err
	}
	if now.Sub(s.last) >= spurtGap {
		s.spurt = 0
	}
	first := s.spurt < headerPackets
	out, err := e.seal(dst, now, limit, f, s, first || (s.spurt+1)%headerEvery == 0)
	if errors.Is(err, ErrFrameTooLong) && !first {
		// A repeated key header is worth less than the sound.
		out, err = e.seal(dst, now, limit, f, s, false)
	}
	if err != nil {
		return dst, err
	}
	s.last = now
	s.spurt++
	if f.Terminator {
		s.spurt = 0
	}
	return out, nil
}

// announce returns the body of a packet without sound that says the own nonce and
// proves the secret (§10.3).
func (e *Engine) announce(now time.Time) (SendVoice, error) {
	s, err := e.sending(now)
	if err != nil {
		return SendVoice{}, err
	}
	f := Frame{FrameNumber: e.announceNumber}
	body, err := e.seal(nil, now, envelope.MaxVoice, &f, s, true)
	return SendVoice{f.FrameNumber, body}, err
}

// seal is SealVoice without the gate.
func (e *Engine) seal(dst []byte, now time.Time, limit int, f *Frame, s *sendStream, header bool) ([]byte, error) {
	if len(f.Opus) > maxOpus {
		return dst, ErrFrameTooLong
	}
	var tag *[tagLen]byte
	if f.HasPosition && e.context.value != nil {
		tag = s.keys.positionTag(&e.context)
	}
	room := limit - 1 - s.key.Overhead(s.ctr)
	if header {
		room -= keyHeaderLen
	}
	n := frameLen(f, tag != nil)
	if n > room {
		return dst, ErrFrameTooLong
	}
	size := paddedLen(n, s.size, room)
	s.size = max(s.size, rung(n))

	minute := minuteOf(now)
	if header {
		s.named = now
		dst = append(dst, envelope.VoiceTypedKey)
		dst = append(dst, s.nonce[:]...)
		dst = binary.BigEndian.AppendUint32(dst, minute)
	} else {
		dst = append(dst, envelope.VoiceTyped)
	}
	e.plain = appendPlaintext(e.plain[:0], f, tag, size)
	e.meta = e.appendMetadata(e.meta[:0], e.session, &s.nonce, header, minute, f)
	e.sealed = s.key.Seal(e.sealed[:0], s.ctr, e.meta, e.plain)
	clear(e.plain)

	s.ctr++
	if s.first.IsZero() {
		s.first = now
	}
	e.announceNumber = (f.FrameNumber + announceStep) % frameNumbers
	return append(dst, e.sealed...), nil
}

// appendMetadata appends what SFrame authenticates besides its header (§10.3).
func (e *Engine) appendMetadata(dst []byte, session uint32, nonce *[nonceLen]byte, header bool, minute uint32, f *Frame) []byte {
	dst = append(dst, "sotto/1 secret voice"...)
	dst = append(dst, e.cfg.Server[:]...)
	dst = binary.BigEndian.AppendUint32(dst, session)
	dst = append(dst, nonce[:]...)
	if header {
		dst = binary.BigEndian.AppendUint32(dst, minute)
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(f.FrameNumber))
	if f.Terminator {
		return append(dst, 1)
	}
	return append(dst, 0)
}
