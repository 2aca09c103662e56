package e2ee

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/sframe"
)

// OpenVoice opens vk || rest that the server says session sent. f brings frame
// number and terminator of the Mumble packet and takes Opus, appended to dst, and
// position. At most one key is tried.
//
// A packet that opens makes the session a holder, so drain Next afterwards. The
// errors are the sentinels of this package; f then has neither Opus nor position. Nothing is
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
	if pkt.hasKey && !sameTime(now, pkt.minute) {
		return nil, false, ErrClock // withheld, or from another time
	}
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
