package e2ee

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/sframe"
)

// Errors of SealVoice and OpenVoice. None of them says anything about whether a
// later frame will do; drop the frame and go on.
var (
	// ErrHeld means that the gate lets nothing leave.
	ErrHeld = errors.New("e2ee: held")
	// ErrFrameTooLong means that a frame does not fit the limit.
	ErrFrameTooLong = errors.New("e2ee: frame too long")
	// ErrUnknownSession means that no World named the speaker.
	ErrUnknownSession = errors.New("e2ee: unknown session")
	// ErrMalformed means that bytes do not have their form.
	ErrMalformed = errors.New("e2ee: malformed")
	// ErrNoKey means that no key is held for the frame: its nonce has not been
	// heard, or its step is out of reach.
	ErrNoKey = errors.New("e2ee: no key")
	// ErrReplay means that the frame, or the nonce it names, was there before.
	ErrReplay = errors.New("e2ee: replay")
	// ErrStale means that the nonce is older than 30 min.
	ErrStale = errors.New("e2ee: nonce is too old")
	// ErrClock means that the minute of a new nonce, a SecretReady or a text is
	// more than 5 from the own clock.
	ErrClock = errors.New("e2ee: clocks differ")
	// ErrAuth means that the frame does not open: another secret, another
	// speaker, another frame number, or changed bytes.
	ErrAuth = errors.New("e2ee: frame does not authenticate")
	// ErrLimit means that a peer exceeds a bound of §12.
	ErrLimit = errors.New("e2ee: limit exceeded")
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
	s.size = max(s.size, step(n))

	minute := minuteOf(now)
	if header {
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

// OpenVoice opens vk || rest that the server says session sent. f brings frame
// number and terminator of the Mumble packet and takes Opus, appended to dst, and
// position. At most one key is tried.
//
// A packet that opens makes the session a holder, so drain Next afterwards. The
// errors are those of this file; f then has neither Opus nor position. Nothing is
// allocated, but for a new nonce or step, if dst has the room.
func (e *Engine) OpenVoice(dst []byte, now time.Time, session uint32, vk byte, rest []byte, f *Frame) error {
	f.Opus, f.HasPosition, f.Position = nil, false, [3]float32{}
	err := e.openVoice(dst, now, session, vk, rest, f)
	if err != nil {
		e.stats.count(err)
	}
	return err
}

func (e *Engine) openVoice(dst []byte, now time.Time, session uint32, vk byte, rest []byte, f *Frame) error {
	if e.cfg.Secret == nil {
		return ErrNoKey
	}
	p := e.peers[session]
	if p == nil {
		return ErrUnknownSession
	}
	pkt, err := parseVoice(vk, rest)
	if err != nil {
		return err
	}
	s, isNew, err := e.findStream(now, p, &pkt)
	if err != nil {
		return err
	}
	e.meta = e.appendMetadata(e.meta[:0], session, &s.nonce, pkt.hasKey, pkt.minute, f)
	plain, err := s.open(e.plain[:0], now, pkt.header, pkt.frame, e.meta)
	if err != nil {
		if errors.Is(err, ErrAuth) && pkt.hasKey {
			e.voiceFailed(now, p)
		}
		return err
	}
	defer clear(plain)
	if isNew {
		e.acceptStream(now, p, s)
	}
	if !p.holder {
		e.holds(now, p)
	}
	opus, position, ok := parsePlaintext(plain)
	if !ok {
		return ErrMalformed
	}
	f.Opus = append(dst, opus...)[len(dst):]
	if position != nil && e.context.value != nil {
		f.Position, f.HasPosition = readPosition(position, s.keys.positionTag(&e.context))
	}
	return nil
}

// voicePacket is a received packet taken apart.
type voicePacket struct {
	hasKey bool // vk 0x12
	nonce  [nonceLen]byte
	minute uint32
	header sframe.Header
	frame  []byte // the SFrame ciphertext, with its header
}

func parseVoice(vk byte, rest []byte) (p voicePacket, err error) {
	if len(rest) > maxVoiceBody {
		return p, ErrFrameTooLong
	}
	switch vk {
	case envelope.VoiceTyped:
	case envelope.VoiceTypedKey:
		if len(rest) < keyHeaderLen {
			return p, ErrMalformed
		}
		p.hasKey = true
		p.nonce = [nonceLen]byte(rest)
		p.minute = binary.BigEndian.Uint32(rest[nonceLen:])
		rest = rest[keyHeaderLen:]
	default:
		return p, ErrNoKey
	}
	p.frame = rest
	p.header, _, err = sframe.ParseHeader(rest)
	if err != nil {
		return p, ErrMalformed
	}
	if p.header.KID > 0xFF {
		return p, ErrNoKey
	}
	return p, nil
}

// findStream returns the one stream that a packet of p can belong to. A packet
// with a key header may bring a new one, which counts only once it has opened.
func (e *Engine) findStream(now time.Time, p *peer, pkt *voicePacket) (s *recvStream, isNew bool, err error) {
	if r := e.receivers[p.Session]; r != nil {
		for _, at := range [...]*recvStream{r.newest, r.prev} {
			if at == nil || pkt.hasKey && at.nonce != pkt.nonce || at.n%16 != pkt.header.KID>>4 {
				continue
			}
			if at == r.prev && !now.Before(r.prevEnd) {
				return nil, false, ErrReplay
			}
			if now.Sub(at.accepted) > nonceMaxAge {
				return nil, false, ErrStale
			}
			return at, false, nil
		}
		if pkt.hasKey && r.holds(pkt.nonce) {
			return nil, false, ErrNoKey // its nonce under another number
		}
	}
	if !pkt.hasKey {
		return nil, false, ErrNoKey
	}
	if e.nonces.has(now, p.Session, pkt.nonce) {
		return nil, false, ErrReplay
	}
	if !sameTime(now, pkt.minute) {
		return nil, false, ErrClock
	}
	if e.nonces.full() || !p.nonces.has(now, nonceRate, nonceBurst) {
		return nil, false, ErrLimit
	}
	s, err = newRecvStream(e.keysOf(p.Channel), p.Session, pkt.nonce, pkt.header.KID)
	return s, true, err
}

func (r *receiver) holds(nonce [nonceLen]byte) bool {
	return r.newest.nonce == nonce || r.prev != nil && r.prev.nonce == nonce
}

// acceptStream makes s the newest of its session. What it replaces is read for 10
// s more and never again.
func (e *Engine) acceptStream(now time.Time, p *peer, s *recvStream) {
	p.nonces.take(now, nonceRate, nonceBurst)
	s.accepted, s.last = now, now
	r := e.receivers[p.Session]
	if r == nil {
		r = &receiver{}
		e.receivers[p.Session] = r
	}
	if r.prev != nil {
		e.retire(p.Session, r.prev)
	}
	r.prev, r.prevEnd = r.newest, now.Add(keepNonce)
	r.newest = s
	e.sweepSoon(now)
}

// retire erases a stream and remembers its nonce, so that it cannot begin anew.
func (e *Engine) retire(session uint32, s *recvStream) {
	e.nonces.add(s.last, session, s.nonce)
	s.erase()
}
