package e2ee

import (
	"encoding/binary"
	"time"

	"github.com/sotto-voip/sotto/envelope"
)

// MaxGroupOverhead is the most by which the body of a Groups' SealVoice is longer
// than the Opus packet before padding: vk, SFrame header with a long KID, length,
// position and tag.
const MaxGroupOverhead = 1 + 9 + lengthLen + positionLen + sframeTag

// SealVoice appends vk || SFrame of f, at most limit bytes, to dst: the body of a
// voice envelope for the own channel's group. Errors are ErrHeld unless Leave is
// LeaveCiphertext, and ErrFrameTooLong. Nothing is allocated, but at a new step, if
// dst has limit bytes of room.
func (e *Groups) SealVoice(dst []byte, now time.Time, limit int, f *Frame) ([]byte, error) {
	if e.gate.Leave() != LeaveCiphertext {
		return dst, ErrHeld
	}
	g := e.media.groups[e.home]
	if g == nil {
		return dst, ErrHeld
	}
	return e.seal(dst, now, limit, f, g)
}

// SealDirect is SealVoice for a direct group: a whisper. It is an audience of its
// own, so the channel's gate does not decide; ErrHeld means that the group is gone,
// or that somebody in it has a changed identity that the user has not accepted.
func (e *Groups) SealDirect(dst []byte, now time.Time, limit int, f *Frame, group envelope.GroupID) ([]byte, error) {
	g := e.media.groups[group]
	if g == nil || !e.mayDirect(group) {
		return dst, ErrHeld
	}
	if now.Sub(g.used) >= proofEvery {
		g.used = now
		e.used(now, g) // what comes of it is for the next Handle
	}
	return e.seal(dst, now, limit, f, g)
}

// mayDirect reports whether something may be sent to a direct group.
func (e *Groups) mayDirect(group envelope.GroupID) bool {
	r := e.groupsOf[group]
	return r != nil && r.direct && !r.suspect && !e.watching.moving
}

func (e *Groups) seal(dst []byte, now time.Time, limit int, f *Frame, g *mediaGroup) ([]byte, error) {
	if len(f.Opus) > maxOpus {
		return dst, ErrFrameTooLong
	}
	if g.muted {
		return dst, ErrHeld
	}
	at := g.sending(now)
	s := &at.own
	if err := s.advance(now); err != nil {
		return dst, err
	}
	if g.spoke.IsZero() {
		g.spoke = now
	}
	// "Senders MUST use the long KID in direct groups and in the first 2 s of speech
	// in any newly joined group" (§7.2).
	key, err := s.keys.get(&s.ratchet, g.direct || now.Sub(g.spoke) < longKIDTime, g.id.Tag(), at.number)
	if err != nil {
		return dst, err
	}
	m := &e.media
	var tag *[tagLen]byte
	if f.HasPosition && e.context.value != nil {
		tag = at.positionTag(&e.context)
	}
	room := limit - 1 - key.Overhead(s.ctr)
	n := frameLen(f, tag != nil)
	if n > room {
		return dst, ErrFrameTooLong
	}
	size := paddedLen(n, g.size, room)
	g.size = max(g.size, rung(n))

	m.plain = appendPlaintext(m.plain[:0], f, tag, size)
	m.meta = appendGroupMetadata(m.meta[:0], g.id, at.number, s.leaf, f)
	m.sealed = key.Seal(m.sealed[:0], s.ctr, m.meta, m.plain)
	clear(m.plain)
	s.ctr++
	if s.first.IsZero() {
		s.first = now
		m.agesBy(s.ages())
	}
	dst = append(dst, envelope.VoiceMLS)
	return append(dst, m.sealed...), nil
}

// sending is the epoch that our voice uses now: the newest whose time has come
// (§7.4). The first of a group has no other before it.
func (g *mediaGroup) sending(now time.Time) *mediaEpoch {
	for i := len(g.epochs) - 1; i > 0; i-- {
		if !now.Before(g.epochs[i].from) {
			return g.epochs[i]
		}
	}
	return g.epochs[0]
}

// positionTag is the tag of §7.3 of the own plugin context in this epoch.
func (at *mediaEpoch) positionTag(c *pluginContext) *[tagLen]byte {
	if at.tagFor != c.number {
		at.tag = contextTag(at.context[:], c.value)
		at.tagFor = c.number
	}
	return &at.tag
}

// appendGroupMetadata appends what SFrame authenticates besides its header (§7.3).
func appendGroupMetadata(dst []byte, id envelope.GroupID, epoch uint64, leaf uint32, f *Frame) []byte {
	dst = append(dst, "sotto/1 voice"...)
	dst = append(dst, envelope.VoiceMLS)
	dst = append(dst, id[:]...)
	dst = binary.BigEndian.AppendUint64(dst, epoch)
	dst = binary.BigEndian.AppendUint32(dst, leaf)
	dst = binary.BigEndian.AppendUint16(dst, uint16(f.FrameNumber))
	if f.Terminator {
		return append(dst, 1)
	}
	return append(dst, 0)
}
